//! Reading: from the cache at the log's end, else from one segment.
//!
//! What comes from disk is checked before it is served for the first time: checksum, base offsets
//! without a gap (rising and within the segment, where compaction was), leader epochs as the log knows them. What was checked, or written by this process,
//! is remembered.

use std::ops::Range;

use bytes::Bytes;
use millstream_env::{ColdRead, without_waiting};
use millstream_model::{LeaderEpoch, Offset};
use millstream_protocol::records::{BatchHeader, batches, check_crc};

use crate::segment::{Located, Segment};
use crate::{Log, ReadError};

/// Whole batches, as they stand in the log.
#[derive(Debug, Default)]
pub struct LogRead {
    /// Their bytes, to be sent one after the other.
    pub parts: Vec<Bytes>,
    /// From the base offset of the first batch, which may be before the offset asked for, or after it
    /// where compaction took that out, to the offset after the last. `None` when there is nothing to read.
    pub range: Option<Range<Offset>>,
}

impl LogRead {
    /// The size of all parts.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

impl Log {
    /// Reads whole batches, beginning with the one that holds `offset`, up to `upper` (exclusive) and
    /// `max_bytes`. With `at_least_one_batch` the first is given whatever its size. An answer from
    /// disk ends with its segment.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        upper: Offset,
        at_least_one_batch: bool,
    ) -> Result<LogRead, ReadError> {
        if self.is_offline {
            return Err(ReadError::Offline);
        }
        if offset < self.log_start_offset || offset > self.log_end_offset {
            return Err(ReadError::OutOfRange {
                offset,
                valid: self.log_start_offset..self.log_end_offset,
            });
        }
        if offset >= upper || offset == self.log_end_offset {
            return Ok(LogRead::default());
        }
        if let Some(run) = self
            .cache
            .read(offset, upper, max_bytes, at_least_one_batch)
        {
            return Ok(LogRead {
                parts: run.parts,
                range: run.end.map(|(base, end)| base..end),
            });
        }
        self.read_from_disk(offset, max_bytes, upper, at_least_one_batch)
    }

    /// As [`Log::read`], but reads only what the page cache holds. *Errors*: what it does not.
    pub fn read_cached(
        &self,
        offset: Offset,
        max_bytes: usize,
        upper: Offset,
        at_least_one_batch: bool,
    ) -> Result<Result<LogRead, ReadError>, ColdRead> {
        without_waiting(|| self.read(offset, max_bytes, upper, at_least_one_batch))
    }

    fn read_from_disk(
        &self,
        offset: Offset,
        max_bytes: usize,
        upper: Offset,
        at_least_one_batch: bool,
    ) -> Result<LogRead, ReadError> {
        let segment = self.segment_of(offset);
        let Some(first) = segment.find(&self.place, &self.config, offset)? else {
            return Err(self.damaged(
                segment,
                segment.size,
                format!("ends before offset {offset}"),
            ));
        };
        let first_size = first.header.size_in_bytes();
        if first.header.next_offset() > upper.0 {
            // The bound lies between batches, unless this header is damaged.
            self.whole_batch(segment, &first)?;
            return Ok(LogRead::default());
        }
        if first_size > max_bytes && !at_least_one_batch {
            return Ok(LogRead::default());
        }
        let left = segment.size - first.position;
        let size = (max_bytes.max(first_size) as u64).min(left) as usize;
        let mut bytes = vec![0; size];
        let file = segment
            .file(&self.place)
            .map_err(|error| self.io(segment, error))?;
        file.read_exact_at(&mut bytes, first.position)
            .map_err(|error| self.io(segment, error))?;
        let (size, range) = self.check_run(segment, &first, &bytes, upper)?;
        bytes.truncate(size);
        Ok(LogRead {
            parts: vec![Bytes::from(bytes)],
            range: Some(range),
        })
    }

    /// Reads one batch. *Errors*: its checksum is wrong.
    pub(crate) fn whole_batch(
        &self,
        segment: &Segment,
        batch: &Located,
    ) -> Result<Vec<u8>, ReadError> {
        let mut bytes = vec![0; batch.header.size_in_bytes()];
        let file = segment
            .file(&self.place)
            .map_err(|error| self.io(segment, error))?;
        file.read_exact_at(&mut bytes, batch.position)
            .map_err(|error| self.io(segment, error))?;
        let checked = check_crc(&bytes);
        checked.map_err(|error| self.damaged(segment, batch.position, error.to_string()))?;
        Ok(bytes)
    }

    /// Walks the whole batches of `bytes` that end at or before `upper`, and checks those that were
    /// not checked before. Answers their size and offsets. The first batch is one of them.
    fn check_run(
        &self,
        segment: &Segment,
        first: &Located,
        bytes: &[u8],
        upper: Offset,
    ) -> Result<(usize, Range<Offset>), ReadError> {
        let base = first.header.base_offset;
        let mut expected = base;
        let mut size = 0;
        let mut walk = batches(bytes);
        while let Some(found) = walk.next() {
            let position = first.position + size as u64;
            let damaged = |what: String| self.damaged(segment, position, what);
            let (header, batch) = match found {
                Ok(found) => found,
                Err(_) if size > 0 => break,
                Err(error) => return Err(damaged(error.to_string())),
            };
            if header.next_offset() > upper.0 {
                break;
            }
            let range = position..position + batch.len() as u64;
            if !segment.is_verified(&range) {
                let checked = self
                    .check_batch(segment, &header, batch, expected)
                    .map_err(damaged)
                    .and_then(|()| segment.check_blocks(&self.place, range.clone()));
                match checked {
                    Ok(()) => segment.note_verified(range),
                    // What lies before the damage is served.
                    Err(_) if size > 0 => break,
                    Err(error) => return Err(error),
                }
            }
            expected = header.next_offset();
            size = walk.position();
        }
        if size == 0 {
            let what = "batch changed while it was read".to_owned();
            return Err(self.damaged(segment, first.position, what));
        }
        Ok((size, Offset(base)..Offset(expected)))
    }

    /// Checks the next batch of a run, which must have `expected` as base offset. *Errors*: what is wrong.
    fn check_batch(
        &self,
        segment: &Segment,
        header: &BatchHeader,
        batch: &[u8],
        expected: i64,
    ) -> Result<(), String> {
        check_crc(batch).map_err(|error| error.to_string())?;
        let found = header.base_offset;
        let is_next = match segment.may_have_gaps {
            false => found == expected,
            true => found >= expected && header.next_offset() <= segment.end.0,
        };
        if !is_next || header.last_offset_delta < 0 {
            return Err(format!("base offset is {found}, expected {expected}"));
        }
        let known = self.epochs.of(Offset(found));
        let epoch = LeaderEpoch(header.partition_leader_epoch);
        if known.is_some_and(|known| known != epoch) {
            return Err(format!("leader epoch is {epoch}, not the log's"));
        }
        Ok(())
    }

    /// The segment that holds an offset of the log.
    pub(crate) fn segment_of(&self, offset: Offset) -> &Segment {
        let count = self
            .segments
            .partition_point(|segment| segment.base <= offset);
        &self.segments[count.saturating_sub(1)]
    }

    pub(crate) fn damaged(&self, segment: &Segment, position: u64, what: String) -> ReadError {
        ReadError::Damaged {
            path: segment.log_path(&self.place),
            position,
            what,
        }
    }

    pub(crate) fn io(&self, segment: &Segment, source: std::io::Error) -> ReadError {
        ReadError::Io {
            path: segment.log_path(&self.place),
            source,
        }
    }
}
