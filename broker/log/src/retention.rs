//! Where a log begins, and which segments go.
//!
//! ```text
//!   [ segment ][ segment ][ segment ][ active ]
//!                  │  log_start_offset: moved by age, by size, or by DeleteRecords
//!    └── whole segments before it are taken out, once the new start is durable
//! ```
//!
//! Two steps, because of what a crash may leave. [`Log::retain`] and [`Log::advance_start`] move the
//! start; readers are refused below it from then on. The owner makes that durable in the log
//! directory's checkpoint, and flushes the log: [`Log::checkpoint`] has written down the producers that
//! only those segments know. Then [`Log::take_out_segments`] renames files away: a log whose first
//! segments are missing is damaged, unless its checkpoint says that it begins later. Files that come
//! back after a crash lie before the start, and go with the next run.

use std::io;
use std::path::PathBuf;

use millstream_model::{Offset, WallTime};

use crate::listing::rename_away;
use crate::segment::Segment;
use crate::{Log, ReadError};

/// How long records are kept (`retention.ms`, `retention.bytes`). `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments go when their newest record is older than so many milliseconds.
    pub ms: Option<i64>,
    /// The oldest segments go while the others hold at least so many bytes.
    pub bytes: Option<u64>,
}

impl Log {
    /// Moves the log's start behind what retention no longer keeps, in whole segments from the oldest
    /// on, and never past `upper`. The active segment goes too, if it holds records and all of them
    /// are too old: a new one is begun. Answers whether the start has moved. *Errors*: the largest
    /// timestamp of a segment cannot be found, or no segment begun.
    pub fn retain(
        &mut self,
        retention: Retention,
        upper: Offset,
        now: WallTime,
    ) -> Result<bool, ReadError> {
        if self.is_offline {
            return Ok(false);
        }
        let mut size = self.size_in_bytes();
        let mut start = self.log_start_offset;
        let mut takes_active = false;
        for (index, segment) in self.segments.iter().enumerate() {
            if segment.end > upper || segment.size == 0 {
                break;
            }
            let is_active = index + 1 == self.segments.len();
            let is_surplus = retention
                .bytes
                .is_some_and(|max| size - segment.size >= max);
            let is_before_start = segment.end <= self.log_start_offset && !is_active;
            if !is_before_start && !is_surplus && !self.is_too_old(segment, retention, now)? {
                break;
            }
            size -= segment.size;
            start = start.max(segment.end);
            takes_active = is_active;
        }
        if takes_active {
            self.roll(now).map_err(|source| ReadError::Io {
                path: self.place.directory.clone(),
                source,
            })?;
        }
        Ok(self.advance_start(start))
    }

    fn is_too_old(
        &self,
        segment: &Segment,
        retention: Retention,
        now: WallTime,
    ) -> Result<bool, ReadError> {
        let Some(max) = retention.ms else {
            return Ok(false);
        };
        let largest = segment.largest_timestamp(&self.place, &self.config)?;
        let newest = largest.map_or(segment.created, |(timestamp, _)| timestamp);
        Ok(now.0.saturating_sub(newest.0) > max)
    }

    /// Moves the log's start to `offset`, never back. Answers whether it has moved. *Bounds*: not past
    /// the log's end.
    pub fn advance_start(&mut self, offset: Offset) -> bool {
        assert!(offset <= self.log_end_offset, "a log starts before its end");
        if offset <= self.log_start_offset {
            return false;
        }
        self.log_start_offset = offset;
        if self.epochs.advance_start(offset) {
            self.dirty.note_epochs();
        }
        self.check_invariants();
        true
    }

    /// Whether segments lie wholly before the log's start.
    #[must_use]
    pub fn has_surplus_segments(&self) -> bool {
        self.segments_before_start() > 0
    }

    /// How many segments lie wholly before the log's start.
    pub(crate) fn segments_before_start(&self) -> usize {
        self.surplus(self.log_start_offset)
    }

    /// Whether producers would be forgotten after a power cut if the surplus segments were gone.
    pub(crate) fn must_keep_producers(&self) -> bool {
        match self.segments_before_start() {
            0 => false,
            count => !self.keeps_producers_of(&self.segments[count - 1]),
        }
    }

    /// A durable checkpoint of producers behind a segment also says that the names of the segments that
    /// follow it are durable: both go with the same flush.
    fn keeps_producers_of(&self, segment: &Segment) -> bool {
        self.dirty.producers.are_durable_at(segment.end)
    }

    /// Takes the segments that end at or before `durable_start` out of the log, as far as their
    /// producers are kept elsewhere. Answers their files, renamed with `.deleted` added, for the owner
    /// to remove. Readers that hold one open go on. *Errors*: a file could not be renamed; its segment
    /// stays in the log.
    pub fn take_out_segments(&mut self, durable_start: Offset) -> io::Result<Vec<PathBuf>> {
        assert!(durable_start <= self.log_start_offset);
        let mut renamed = Vec::new();
        for _ in 0..self.surplus(durable_start) {
            if !self.keeps_producers_of(&self.segments[0]) {
                break;
            }
            renamed.extend(rename_away(&self.place, self.segments[0].base)?);
            self.segments.remove(0);
        }
        Ok(renamed)
    }

    /// How many segments lie wholly before an offset; the active one stays.
    fn surplus(&self, start: Offset) -> usize {
        let sealed = &self.segments[..self.segments.len() - 1];
        sealed.partition_point(|segment| segment.end <= start)
    }
}
