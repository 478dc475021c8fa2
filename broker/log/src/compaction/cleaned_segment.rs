//! The segment that compaction writes, under names of its own until it is in place.

use std::io;
use std::sync::Arc;

use millstream_env::File;
use millstream_model::{Offset, WallTime};
use millstream_protocol::records::BatchHeader;

use super::replacement::cleaned_file;
use crate::config::UNSYNCED_MAX;
use crate::digest::{BlockChecksums, Digest, partition_of};
use crate::segment::Segment;
use crate::{LogConfig, LogPlace, names};

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 256 << 10;
/// Positions in index files are 31 bits wide.
const SIZE_MAX: u64 = i32::MAX as u64;

/// A segment that is being written.
pub(crate) struct CleanedSegment {
    segment: Segment,
    file: Arc<dyn File>,
    buffer: Vec<u8>,
    /// Bytes that are in the file.
    written: u64,
    /// Of these, bytes since the last sync.
    unsynced: u64,
    /// Of what is written, not of what could be read back.
    checksums: BlockChecksums,
}

impl CleanedSegment {
    pub(crate) fn create(
        place: &LogPlace,
        base: Offset,
        now: WallTime,
    ) -> io::Result<CleanedSegment> {
        for extension in [names::OFFSET_INDEX, names::TIME_INDEX] {
            let path = cleaned_file(place, base, extension);
            place.disk.open(&path, true)?.truncate(0)?;
        }
        let path = cleaned_file(place, base, names::LOG);
        let file = place.disk.open(&path, true)?;
        file.truncate(0)?;
        Ok(CleanedSegment {
            segment: Segment::sealed(base..base, 0, (0, 0), now).with_gaps(true),
            file,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            written: 0,
            unsynced: 0,
            checksums: BlockChecksums::default(),
        })
    }

    /// Adds a batch. *Errors*: a batch that got a delete horizon may be larger than it was, and the
    /// segment too large for an index; or the disk failed.
    pub(crate) fn push(
        &mut self,
        place: &LogPlace,
        config: &LogConfig,
        header: &BatchHeader,
        batch: &[u8],
    ) -> io::Result<()> {
        if self.segment.size + batch.len() as u64 > SIZE_MAX {
            return Err(io::Error::other(format!(
                "the compacted segment would be larger than {SIZE_MAX} bytes; lower segment.bytes"
            )));
        }
        if self.buffer.len() + batch.len() > BUFFER_BYTES {
            self.write_buffer()?;
        }
        self.buffer.extend_from_slice(batch);
        self.segment.note_batch(header, config);
        if self.segment.has_many_pending_entries() {
            self.write_entries(place)?;
        }
        Ok(())
    }

    /// Writes what is left and makes all of it durable, but for the names.
    pub(crate) fn finish(mut self, place: &LogPlace) -> io::Result<Segment> {
        self.write_buffer()?;
        self.segment.complete_time_index(place);
        let indexes = self.write_entries(place)?;
        self.sync()?;
        indexes.iter().try_for_each(|index| index.sync_data())?;
        self.segment.note_verified(0..self.segment.size);
        let segment = &self.segment;
        let digest = Digest {
            topic_id: place.topic_id,
            partition: partition_of(&place.directory),
            range: segment.base..segment.end,
            size: segment.size,
            largest: segment.largest_known(),
            time_index: segment.time_index_digest().unwrap_or_default(),
            blocks: self.checksums.finish(),
        };
        digest.write(place, &cleaned_file(place, segment.base, names::DIGEST))?;
        segment.set_digest(Some(Arc::new(digest)));
        Ok(self.segment)
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.buffer, self.written)?;
        self.checksums.add(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.unsynced += self.buffer.len() as u64;
        if self.unsynced >= UNSYNCED_MAX {
            self.sync()?;
        }
        self.buffer.clear();
        // One large batch does not keep its room.
        self.buffer.shrink_to(BUFFER_BYTES);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced = 0;
        Ok(())
    }

    fn write_entries(&mut self, place: &LogPlace) -> io::Result<[Arc<dyn File>; 2]> {
        let base = self.segment.base;
        let offsets = cleaned_file(place, base, names::OFFSET_INDEX);
        let times = cleaned_file(place, base, names::TIME_INDEX);
        self.segment.persist_indexes_at(place, &offsets, &times)
    }
}
