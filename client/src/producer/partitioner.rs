//! Which partition a record goes to.
//!
//! A record with a key goes where its hash says, the same as with every other client: murmur2 of the key. Records without
//! a key stick to one partition until a batch's worth of bytes went there, and then move on (KIP-480, KIP-794), so that
//! batches fill up.

use std::collections::HashMap;
use std::sync::Arc;

use crate::backoff::Dice;
use crate::cluster::TopicMetadata;

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// Kafka's hash of keys (murmur2, seed 0x9747b28c).
pub fn murmur2(data: &[u8]) -> i32 {
    // The length is mixed in as 32 bits; longer keys do not exist.
    let mut hash = SEED ^ data.len() as u32;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    (hash ^ (hash >> 15)) as i32
}

/// The partition of a key among `count` (at least 1).
pub fn partition_of_key(key: &[u8], count: usize) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as usize;
    (positive % count.max(1)) as i32
}

/// Where the records without a key of each topic go now.
#[derive(Debug)]
pub(crate) struct Sticky {
    bytes_max: usize,
    current: HashMap<Arc<str>, (i32, usize)>,
    dice: Dice,
}

impl Sticky {
    /// Moves on after `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize, dice: Dice) -> Self {
        Self {
            bytes_max,
            current: HashMap::new(),
            dice,
        }
    }

    /// The partition for a record of `bytes`: one with a leader, if any has one. The topic must have partitions.
    pub(crate) fn next(&mut self, topic: &TopicMetadata, bytes: usize) -> i32 {
        let has_leader = |index| topic.partition(index).is_some_and(|p| p.leader.is_some());
        if let Some((partition, used)) = self.current.get_mut(&topic.name)
            && *used < self.bytes_max
            && has_leader(*partition)
        {
            *used += bytes;
            return *partition;
        }
        let chosen = self.choose(topic);
        self.current
            .insert(Arc::clone(&topic.name), (chosen, bytes));
        chosen
    }

    fn choose(&mut self, topic: &TopicMetadata) -> i32 {
        let last = self.current.get(&topic.name).map(|(last, _)| *last);
        let mut candidates: Vec<i32> = topic
            .partitions
            .iter()
            .filter(|partition| partition.leader.is_some() && Some(partition.index) != last)
            .map(|partition| partition.index)
            .collect();
        if candidates.is_empty() {
            candidates = topic.partitions.iter().map(|p| p.index).collect();
        }
        let roll = self.dice.roll() as usize % candidates.len();
        candidates[roll]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::PartitionMetadata;

    #[test]
    fn murmur2_agrees_with_kafka() {
        let vectors: [(&[u8], i32); 11] = [
            (b"", 275_646_681),
            (b"a", -1_563_381_124),
            (b"ab", 316_155_434),
            (b"abc", 479_470_107),
            (b"abcd", -1_323_649_548),
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"kafka", -798_503_068),
            (b"a-little-bit-long-string", -985_981_536),
            ("ключ".as_bytes(), 2_122_343_024),
            (&[0xff, 0x80, 0x7f, 0x00], -1_059_522_114),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key), hash, "{key:?}");
        }
    }

    #[test]
    fn keys_go_to_kafkas_partitions() {
        let vectors: [(&str, i32, i32); 10] = [
            ("", 2, 9),
            ("a", 5, 4),
            ("ab", 0, 2),
            ("abc", 4, 3),
            ("abcd", 5, 8),
            ("21", 3, 0),
            ("foobar", 0, 6),
            ("kafka", 3, 4),
            ("a-little-bit-long-string", 1, 8),
            ("ключ", 4, 8),
        ];
        for (key, of_7, of_12) in vectors {
            assert_eq!(partition_of_key(key.as_bytes(), 7), of_7, "{key}");
            assert_eq!(partition_of_key(key.as_bytes(), 12), of_12, "{key}");
        }
    }

    fn topic(leaders: &[Option<i32>]) -> TopicMetadata {
        let partition = |(index, leader): (usize, &Option<i32>)| PartitionMetadata {
            index: index as i32,
            leader: *leader,
            leader_epoch: 0,
            replicas: vec![],
            in_sync_replicas: vec![],
            error: None,
        };
        TopicMetadata {
            name: "t".into(),
            id: [1; 16],
            is_internal: false,
            partitions: leaders.iter().enumerate().map(partition).collect(),
        }
    }

    #[test]
    fn records_without_key_stick_until_a_batch_is_full() {
        let all = topic(&[Some(1), Some(1), Some(1)]);
        let mut sticky = Sticky::new(100, Dice::new(7));
        let first = sticky.next(&all, 60);
        assert_eq!(sticky.next(&all, 60), first);
        let second = sticky.next(&all, 60);
        assert_ne!(second, first);
        let mut leaders = [None; 3];
        leaders[first as usize] = Some(1);
        assert_eq!(sticky.next(&topic(&leaders), 10), first, "the leader went");
        assert!((0..3).contains(&sticky.next(&topic(&[None; 3]), 10)));
    }
}
