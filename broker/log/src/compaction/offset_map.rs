//! The last offset of each key, in memory that is fixed beforehand.
//!
//! ```text
//!   slots  [ hash, hash, offset + 1 ][ 0, 0, 0 ][ … ]      24 bytes each, open addressing
//! ```
//!
//! A key is known by its 128-bit hash under a secret (see [`super::siphash`]), so a slot's size does not
//! depend on the key's. At nine tenths the map is full: it takes no further keys, and a pass of
//! compaction goes no further than what it holds.

use millstream_model::Offset;

use super::siphash::{self, Secret};

/// Bytes of a slot.
const SLOT_BYTES: usize = size_of::<Slot>();
/// A map of fewer would fill before it is of use.
const SLOTS_MIN: usize = 2;

type Slot = [u64; 3];

/// The map.
pub struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    secret: Secret,
}

impl OffsetMap {
    /// An empty map in `bytes` of memory. `secret` is random, and nobody else's.
    #[must_use]
    pub fn new(bytes: usize, secret: [u64; 2]) -> OffsetMap {
        let slots = (bytes / SLOT_BYTES).max(SLOTS_MIN);
        OffsetMap {
            slots: vec![[0; 3]; slots],
            used: 0,
            used_max: slots * 9 / 10,
            secret,
        }
    }

    /// How many keys it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// Notes a key's offset, which is above all noted before. `false`: the key is new and the map full.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let (at, hash) = self.place_of(key);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.used == self.used_max {
                return false;
            }
            self.used += 1;
        }
        *slot = [hash[0], hash[1], offset.0 as u64 + 1];
        true
    }

    /// The last offset of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let (at, _) = self.place_of(key);
        let above = self.slots[at][2].checked_sub(1)?;
        Some(Offset(above as i64))
    }

    /// The slot that holds a key, or the one where it would stand. There is always an empty one.
    fn place_of(&self, key: &[u8]) -> (usize, [u64; 2]) {
        let hash = siphash::hash(self.secret, key);
        let count = self.slots.len();
        let mut at = ((u128::from(hash[0]) * count as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0] == hash[0] && slot[1] == hash[1]) {
                return (at, hash);
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_counts_until_the_map_is_full() {
        let mut map = OffsetMap::new(100 * SLOT_BYTES, [1, 2]);
        for offset in 0..180_i64 {
            let key = (offset % 90).to_be_bytes();
            assert!(map.put(&key, Offset(offset)));
        }
        assert_eq!(map.len(), 90);
        assert!(!map.put(b"another", Offset(180)), "nine tenths are taken");
        assert!(map.put(&7_i64.to_be_bytes(), Offset(181)), "not a new key");
        for number in 0..90_i64 {
            let expected = if number == 7 { 181 } else { 90 + number };
            assert_eq!(map.get(&number.to_be_bytes()), Some(Offset(expected)));
        }
        assert_eq!(map.get(b"another"), None);
        assert_eq!(map.get(b""), None);
    }

    #[test]
    fn the_smallest_map_holds_a_key() {
        let mut map = OffsetMap::new(0, [0, 0]);
        assert!(map.is_empty() && map.put(b"", Offset(0)));
        assert!(!map.put(b"b", Offset(1)));
        assert_eq!((map.get(b""), map.get(b"b")), (Some(Offset(0)), None));
    }
}
