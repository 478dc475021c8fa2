//! What a record says: who sent it, its number, and bytes that follow from both.
//!
//! *Shape*: the key is `producer u32`, `partition i32`, `number u64`, big-endian; the value is random
//! bytes drawn from the seed and the key, of a random length. So the oracle knows every record's bytes
//! without keeping them.

use millstream_env::Random;
use millstream_env::sim::SimRandom;

/// Names a record: a producer numbers those of each partition from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordId {
    pub(crate) producer: u32,
    pub(crate) partition: i32,
    pub(crate) number: u64,
}

impl RecordId {
    /// The record's key.
    pub(crate) fn key(self) -> [u8; 16] {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&self.producer.to_be_bytes());
        key[4..8].copy_from_slice(&self.partition.to_be_bytes());
        key[8..].copy_from_slice(&self.number.to_be_bytes());
        key
    }

    /// The record of this key.
    pub(crate) fn of_key(key: &[u8]) -> Option<RecordId> {
        let key: &[u8; 16] = key.try_into().ok()?;
        let (producer, rest) = key.split_first_chunk()?;
        let (partition, number) = rest.split_first_chunk()?;
        Some(RecordId {
            producer: u32::from_be_bytes(*producer),
            partition: i32::from_be_bytes(*partition),
            number: u64::from_be_bytes(number.try_into().ok()?),
        })
    }

    /// The record's value.
    pub(crate) fn value(self, seed: u64) -> Vec<u8> {
        let place = (u64::from(self.producer) << 40) ^ ((self.partition as u64) << 32);
        let random = SimRandom::new(seed ^ place ^ self.number.wrapping_mul(0x1_0000_0001));
        let length = 10 + random.below(800) as usize;
        let mut value = Vec::with_capacity(length + 8);
        while value.len() < length {
            value.extend(random.next_u64().to_be_bytes());
        }
        value.truncate(length);
        value
    }

    /// The record's timestamp: later numbers have later ones, from the start of the run on. (Brokers
    /// forget producers whose last record is days old, and retention deletes such records.)
    pub(crate) fn timestamp(self, base_timestamp: i64) -> i64 {
        base_timestamp + self.number as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_values_differ() {
        let id = RecordId {
            producer: 7,
            partition: 3,
            number: 1 << 40,
        };
        assert_eq!(RecordId::of_key(&id.key()), Some(id));
        assert_eq!(RecordId::of_key(&id.key()[1..]), None);
        assert_eq!(id.value(1), id.value(1));
        assert_ne!(id.value(1), id.value(2));
        let next = RecordId {
            number: id.number + 1,
            ..id
        };
        assert_ne!(id.value(1), next.value(1));
    }
}
