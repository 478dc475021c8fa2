//! `compaction`: how far a log is compacted, and which replacement of segments is under way.
//!
//! One file per partition, in the envelope of all our formats with magic `MSCC` and version 1. Its
//! payload is:
//!
//! | size | field |
//! | --- | --- |
//! | 16 | topic id: the file of an earlier topic of the name says nothing |
//! | 8 | first dirty offset: what lies before it was compacted |
//! | 8 | end of gaps: batches before it may leave gaps between their offsets, and all of it is durable |
//! | 8 | base of the segment that replaces others |
//! | 8 | its end, exclusive; equal to the base: nothing is being replaced |
//!
//! It is replaced as a whole. Without it a log was never compacted.

use std::io;
use std::ops::Range;

use millstream_model::{Offset, TopicId};

use crate::derived::read_small;
use crate::envelope::{self, Fields};
use crate::{LogPlace, names};

const MAGIC: [u8; 4] = *b"MSCC";
const VERSION: u16 = 1;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CompactionFile {
    pub first_dirty: Offset,
    pub gaps_end: Offset,
    pub replaced: Range<Offset>,
}

/// Nothing is being replaced.
pub(crate) const NOTHING: Range<Offset> = Offset::ZERO..Offset::ZERO;

impl Default for CompactionFile {
    fn default() -> CompactionFile {
        CompactionFile {
            first_dirty: Offset::ZERO,
            gaps_end: Offset::ZERO,
            replaced: NOTHING,
        }
    }
}

impl CompactionFile {
    /// Reads a partition's file. `None` when it is there and not whole.
    pub(crate) fn read(place: &LogPlace) -> io::Result<Option<CompactionFile>> {
        let path = place.directory.join(names::COMPACTION);
        let Some(bytes) = read_small(&*place.disk, &path)? else {
            return Ok(Some(CompactionFile::default()));
        };
        Ok(match CompactionFile::parse(&bytes) {
            Some((owner, file)) if owner == place.topic_id => Some(file),
            Some(_) => Some(CompactionFile::default()),
            None => None,
        })
    }

    /// Replaces it; durable once the directory is synced.
    pub(crate) fn write(&self, place: &LogPlace) -> io::Result<()> {
        let path = place.directory.join(names::COMPACTION);
        let temporary = path.with_extension(names::TEMPORARY);
        let file = place.disk.open(&temporary, true)?;
        file.truncate(0)?;
        file.write_all_at(&self.to_bytes(place.topic_id), 0)?;
        file.sync_data()?;
        place.disk.rename(&temporary, &path)
    }

    fn to_bytes(&self, owner: TopicId) -> Vec<u8> {
        let mut payload = owner.0.to_vec();
        for offset in [
            self.first_dirty,
            self.gaps_end,
            self.replaced.start,
            self.replaced.end,
        ] {
            payload.extend_from_slice(&offset.0.to_be_bytes());
        }
        envelope::wrap(MAGIC, VERSION, &payload)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<(TopicId, CompactionFile)> {
        let (version, payload) = envelope::unwrap(MAGIC, bytes)?;
        if version != VERSION {
            return None;
        }
        let mut fields = Fields(payload);
        let owner = TopicId(fields.array()?);
        let file = CompactionFile {
            first_dirty: Offset(fields.i64()?),
            gaps_end: Offset(fields.i64()?),
            replaced: Offset(fields.i64()?)..Offset(fields.i64()?),
        };
        fields.0.is_empty().then_some((owner, file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let file = CompactionFile {
            first_dirty: Offset(0x10),
            gaps_end: Offset(0x20),
            replaced: Offset(3)..Offset(0x0102_0304),
        };
        let bytes = file.to_bytes(TopicId([9; 16]));
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "4d534343",
            "0001",
            "0000",
            "00000030",
            "6637db8a",
            "09090909090909090909090909090909",
            "0000000000000010",
            "0000000000000020",
            "0000000000000003",
            "0000000001020304",
        );
        assert_eq!(hex, golden);
        assert_eq!(
            CompactionFile::parse(&bytes),
            Some((TopicId([9; 16]), file))
        );
    }
}
