//! The offset index of a segment: where to begin to read for an offset.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | last offset of a batch, relative to the segment's base |
//! | 4 | 4 | position of that batch in the `.log` file |
//!
//! An entry is added for a batch when more than `index.interval.bytes` were appended since the last
//! one. Entries rise in both fields.

use crate::index::IndexEntry;
use crate::names;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub relative_offset: i32,
    pub position: u32,
}

impl IndexEntry for OffsetEntry {
    const BYTES: usize = 8;
    const EXTENSION: &'static str = names::OFFSET_INDEX;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> OffsetEntry {
        let [a, b, c, d, e, f, g, h] = bytes[..8].try_into().expect("an entry has 8 bytes");
        OffsetEntry {
            relative_offset: i32::from_be_bytes([a, b, c, d]),
            position: u32::from_be_bytes([e, f, g, h]),
        }
    }

    fn rises_over(&self, last: &OffsetEntry) -> bool {
        last.relative_offset < self.relative_offset && last.position < self.position
    }

    fn is_plausible(&self) -> bool {
        self.relative_offset >= 0 && self.position > 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::path::Path;

    use millstream_env::Disk;
    use millstream_env::sim::SimDisk;

    use super::*;
    use crate::index::Index;

    fn entry(relative_offset: i32, position: u32) -> OffsetEntry {
        OffsetEntry {
            relative_offset,
            position,
        }
    }

    #[test]
    fn golden_bytes() {
        let mut bytes = Vec::new();
        entry(9, 100).write(&mut bytes);
        entry(0x0102_0304, 4300).write(&mut bytes);
        let golden = [0, 0, 0, 9, 0, 0, 0, 100, 1, 2, 3, 4, 0, 0, 0x10, 0xcc];
        assert_eq!(bytes, golden);
        assert_eq!(OffsetEntry::read(&golden[8..]), entry(0x0102_0304, 4300));
    }

    #[test]
    fn look_ups_agree_in_file_and_memory() {
        let disk = SimDisk::default();
        disk.create_directory(Path::new("/p")).unwrap();
        let path = Path::new("/p/index");
        let mut index = Index::empty();
        for number in 1..2000 {
            index.push(entry(number * 10, number as u32 * 100));
            if number % 700 == 0 {
                index.persist(&disk, path).unwrap();
            }
        }
        for wanted in [
            0, 10, 11, 20, 6999, 7000, 7001, 13_999, 14_001, 19_990, 30_000,
        ] {
            let floor = index.floor(&disk, path, |entry| entry.relative_offset < wanted);
            let expected = ((wanted - 1).min(19_990)) / 10;
            let found = floor.unwrap().map_or(0, |entry| entry.relative_offset / 10);
            assert_eq!(found, expected.max(0), "floor of {wanted}");
        }
    }

    #[test]
    fn loading_keeps_what_rises() {
        let disk = SimDisk::default();
        disk.create_directory(Path::new("/p")).unwrap();
        let path = Path::new("/p/index");
        let mut bytes = Vec::new();
        for (offset, position) in [(9, 100), (19, 200), (15, 300), (40, 400)] {
            entry(offset, position).write(&mut bytes);
        }
        disk.open(path, true)
            .unwrap()
            .write_all_at(&bytes, 0)
            .unwrap();
        let load = |limit: u32| {
            Index::load(&disk, path, 32, |entry: &OffsetEntry| {
                entry.position < limit
            })
            .unwrap()
        };
        assert_eq!(load(1000).last_known(), Some(entry(19, 200)));
        assert_eq!(load(200).last_known(), Some(entry(9, 100)));
        let mut index = load(1000);
        index.push(entry(30, 350));
        index.persist(&disk, path).unwrap();
        assert_eq!(disk.open(path, false).unwrap().length().unwrap(), 24);
    }
}
