//! The time index of a segment: where to begin to look for a timestamp.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 8 | largest timestamp so far, milliseconds |
//! | 8 | 4 | last offset of the first batch that has it, relative to the segment's base |
//!
//! An entry is added together with an offset index entry if the largest timestamp rose, and a last
//! one when the segment is sealed or the log closed. Entries rise in both fields.

use crate::index::IndexEntry;
use crate::names;

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub timestamp: i64,
    pub relative_offset: i32,
}

impl IndexEntry for TimeEntry {
    const BYTES: usize = 12;
    const EXTENSION: &'static str = names::TIME_INDEX;

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.relative_offset.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> TimeEntry {
        let (timestamp, relative_offset) = bytes[..12].split_at(8);
        TimeEntry {
            timestamp: i64::from_be_bytes(timestamp.try_into().expect("8 of 12 bytes")),
            relative_offset: i32::from_be_bytes(relative_offset.try_into().expect("4 of 12 bytes")),
        }
    }

    fn rises_over(&self, last: &TimeEntry) -> bool {
        last.timestamp < self.timestamp && last.relative_offset < self.relative_offset
    }

    fn is_plausible(&self) -> bool {
        self.timestamp >= 0 && self.relative_offset >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let first = TimeEntry {
            timestamp: 1_700_000_000_000,
            relative_offset: 4,
        };
        let second = TimeEntry {
            timestamp: 1_700_000_000_002,
            relative_offset: 0x0102_0304,
        };
        let mut bytes = Vec::new();
        first.write(&mut bytes);
        second.write(&mut bytes);
        let golden = [
            0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0, 0, 0, 0, 4, //
            0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 2, 1, 2, 3, 4,
        ];
        assert_eq!(bytes, golden);
        assert_eq!(TimeEntry::read(&golden[12..]), second);
        assert!(second.rises_over(&first));
    }
}
