//! One pass of compaction over one log: which offset of each key is the last, then segments without the
//! others.
//!
//! ```text
//!   Begin ─► Map ─► Next ─► Write ─► Install ─► Installed ─► PutAway ─► AwayPut ─► Next … ─► Done
//!            │              │        └ the log: one for several └ the log: the others go
//!            │              └ a group of neighbours becomes one segment, from the oldest on
//!            └ the dirty segments, until their end or until the map is full
//! ```
//!
//! Sealed segments do not change, so reading and writing needs no lock: [`CompactionPass::step`] does a
//! chunk and says what it cost, for its owner to pause by. Only the two steps that change the log itself
//! are the log's ([`Log::install_cleaned`], [`Log::put_away_replaced`]). Retention and DeleteRecords go
//! before: a pass whose segment is gone when it is to be replaced ends there. Memory is the map, one
//! window, and one batch with its records.
//!
//! What must stay: a segment's last batch, so that the segment still ends where the next begins; and the
//! last batch of each producer the log remembers, should it ever have to be remembered from the log.
//!
//! [`Log::install_cleaned`]: crate::Log::install_cleaned
//! [`Log::put_away_replaced`]: crate::Log::put_away_replaced

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::ops::Range;
use std::path::PathBuf;

use millstream_model::{Offset, WallTime};
use millstream_protocol::records::{BatchError, BatchHeader, records_of};

use super::cleaned_batch::{BatchCleaner, CleanedBatch};
use super::cleaned_segment::CleanedSegment;
use super::file::{CompactionFile, NOTHING};
use super::offset_map::OffsetMap;
use super::replacement::{cleaned_file, remove_cleaned};
use super::source::{Cursor, Source, damaged};
use crate::index::IndexEntry;
use crate::offset_index::OffsetEntry;
use crate::segment::Segment;
use crate::time_index::TimeEntry;
use crate::{CompactionError, LogConfig, LogPlace, names};

/// What is to happen after a step of a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassStep {
    /// The next step, after a pause for so many bytes that were read or written.
    Worked {
        /// The bytes.
        bytes: u64,
    },
    /// [`Log::install_cleaned`](crate::Log::install_cleaned), then the next step.
    Install,
    /// [`Log::put_away_replaced`](crate::Log::put_away_replaced), then the next step.
    PutAway,
    /// [`Log::complete_compaction`](crate::Log::complete_compaction); the pass is over.
    Finished,
}

/// A pass over one log.
pub struct CompactionPass {
    pub(crate) place: LogPlace,
    pub(crate) config: LogConfig,
    /// Neighbours, from the log's start on.
    pub(crate) sources: Vec<Source>,
    pub(crate) first_dirty: Offset,
    /// What was durable when the pass began, exclusive.
    pub(crate) durable_end: Offset,
    pub(crate) delete_retention_ms: i64,
    pub(crate) now: WallTime,
    /// Last offset of the last batch of each producer.
    pub(crate) last_of_producers: BTreeMap<i64, Offset>,
    pub(crate) map: OffsetMap,
    /// Up to where the map knows the keys, exclusive.
    pub(crate) map_end: Offset,
    pub(crate) known: CompactionFile,
    /// The log file that was replaced last, until its owner is told.
    pub(crate) replaced: Option<PathBuf>,
    pub(crate) stage: Stage,
}

/// How far a pass is. A group is named by the numbers of its sources.
pub(crate) enum Stage {
    Begin,
    Map(Cursor),
    Next(usize),
    Write {
        group: Range<usize>,
        cursor: Cursor,
        output: Box<CleanedSegment>,
    },
    Install {
        group: Range<usize>,
        cleaned: Segment,
    },
    Installed(Range<usize>),
    PutAway(Range<usize>),
    AwayPut(Range<usize>),
    Done,
}

impl CompactionPass {
    /// Goes on by one step. *Errors*: the pass is over, and is to be given to
    /// [`CompactionPass::abandon`].
    pub fn step(&mut self) -> Result<PassStep, CompactionError> {
        let (stage, step) = match mem::replace(&mut self.stage, Stage::Done) {
            Stage::Begin => self.begin()?,
            Stage::Map(cursor) => self.fill_map(cursor)?,
            Stage::Next(first) => self.begin_group(first)?,
            Stage::Write {
                group,
                cursor,
                output,
            } => self.write(group, cursor, output)?,
            stage @ Stage::Install { .. } => (stage, PassStep::Install),
            Stage::Installed(group) => {
                self.sync_directory()?;
                (Stage::PutAway(group), PassStep::PutAway)
            }
            stage @ Stage::PutAway(_) => (stage, PassStep::PutAway),
            Stage::AwayPut(group) => {
                self.sync_directory()?;
                (Stage::Next(group.end), PassStep::Worked { bytes: 0 })
            }
            Stage::Done => (Stage::Done, PassStep::Finished),
        };
        self.stage = stage;
        Ok(step)
    }

    /// Removes what an ended pass has not brought into the log.
    pub fn abandon(self) {
        for source in &self.sources {
            if let Err(error) = remove_cleaned(&self.place, source.base) {
                let directory = self.place.directory.display();
                tracing::warn!(%directory, %error, "a compacted segment could not be removed");
            }
        }
    }

    /// The end of what is compacted after the pass, exclusive.
    #[must_use]
    pub fn compacted_end(&self) -> Offset {
        self.map_end
    }

    /// Notes that gaps are about to come, before there are any.
    fn begin(&mut self) -> Result<(Stage, PassStep), CompactionError> {
        let read = CompactionFile::read(&self.place);
        let read = read.map_err(|source| self.write_error(names::COMPACTION, source))?;
        let gaps_end = read.map_or(self.durable_end, |file| file.gaps_end);
        let last = self.sources.last().expect("a pass has a source");
        self.known = CompactionFile {
            first_dirty: self.first_dirty,
            gaps_end: gaps_end.max(last.end),
            replaced: NOTHING,
        };
        self.note()?;
        let dirty = self
            .sources
            .partition_point(|source| source.end <= self.first_dirty);
        let stage = match self.sources.get(dirty) {
            Some(source) => Stage::Map(Cursor::at(dirty, source)),
            None => Stage::Next(0),
        };
        self.map_end = self.first_dirty;
        Ok((stage, PassStep::Worked { bytes: 0 }))
    }

    /// Reads a chunk of the dirty segments.
    fn fill_map(&mut self, mut cursor: Cursor) -> Result<(Stage, PassStep), CompactionError> {
        let source = self.sources[cursor.source];
        let (map, map_end) = (&mut self.map, &mut self.map_end);
        let place = &self.place;
        let mut is_full = false;
        let read = cursor.read(place, &source, |position, header, batch| {
            let fits = note_keys(map, map_end, header, batch)
                .map_err(|error| damaged(place, &source, position, error.to_string()))?;
            is_full = !fits;
            Ok(fits)
        })?;
        let following = cursor.source + 1;
        let stage = match self.sources.get(following) {
            _ if is_full => Stage::Next(0),
            _ if !read.is_at_end => Stage::Map(cursor),
            Some(next) => Stage::Map(Cursor::at(following, next)),
            None => Stage::Next(0),
        };
        Ok((stage, PassStep::Worked { bytes: read.bytes }))
    }

    fn begin_group(&mut self, first: usize) -> Result<(Stage, PassStep), CompactionError> {
        let in_reach = self
            .sources
            .partition_point(|source| source.base < self.map_end);
        if first >= in_reach {
            self.known.first_dirty = self.map_end;
            self.known.replaced = NOTHING;
            self.note()?;
            return Ok((Stage::Done, PassStep::Finished));
        }
        let group = first..self.end_of_group(first, in_reach);
        let base = self.sources[first].base;
        let output = CleanedSegment::create(&self.place, base, self.now);
        let output = Box::new(output.map_err(|source| self.output_error(base, source))?);
        let cursor = Cursor::at(first, &self.sources[first]);
        let stage = Stage::Write {
            group,
            cursor,
            output,
        };
        Ok((stage, PassStep::Worked { bytes: 0 }))
    }

    /// How many neighbours fit into one segment, by what they are now.
    fn end_of_group(&self, first: usize, in_reach: usize) -> usize {
        let index_bytes_max = self.config.segment_index_bytes as usize;
        let base = self.sources[first].base;
        let (mut size, mut offsets, mut times) = (0, 0, 0);
        for (number, source) in self.sources[..in_reach].iter().enumerate().skip(first) {
            size += source.size;
            offsets += source.offset_index_bytes;
            // Each gets a last entry.
            times += source.time_index_bytes + TimeEntry::BYTES;
            let fits = size <= self.config.segment_bytes_max()
                && offsets <= index_bytes_max
                && times <= index_bytes_max
                && source.end.0 - 1 - base.0 <= i64::from(i32::MAX);
            if !fits {
                return number.max(first + 1);
            }
        }
        in_reach
    }

    /// Reads a chunk of a group, and writes what is left of it.
    fn write(
        &mut self,
        group: Range<usize>,
        mut cursor: Cursor,
        mut output: Box<CleanedSegment>,
    ) -> Result<(Stage, PassStep), CompactionError> {
        let source = self.sources[cursor.source];
        let base = self.sources[group.start].base;
        let last_offset = self.sources[group.end - 1].end.0 - 1;
        let cleaner = BatchCleaner {
            map: &self.map,
            map_end: self.map_end,
            now: self.now,
            delete_retention_ms: self.delete_retention_ms,
        };
        let mut written = 0;
        let read = cursor.read(&self.place, &source, |position, header, batch| {
            let is_last = header.last_offset() == last_offset;
            let must_stay = is_last || self.is_last_of_producer(header);
            let cleaned = cleaner
                .clean(header, batch, must_stay)
                .map_err(|error| damaged(&self.place, &source, position, error.to_string()))?;
            let changed;
            let (header, batch) = match cleaned {
                CleanedBatch::Unchanged => (header, batch),
                CleanedBatch::Gone => return Ok(true),
                CleanedBatch::Changed(bytes) => {
                    changed = bytes;
                    let header = &BatchHeader::read(&changed).expect("it was just built");
                    (&header.clone(), &changed[..])
                }
            };
            written += batch.len() as u64;
            let pushed = output.push(&self.place, &self.config, header, batch);
            pushed.map_err(|source| self.output_error(base, source))?;
            Ok(true)
        })?;
        let step = PassStep::Worked {
            bytes: read.bytes + written,
        };
        let following = cursor.source + 1;
        if read.is_at_end && following == group.end {
            let cleaned = output
                .finish(&self.place)
                .map_err(|source| self.output_error(base, source))?;
            assert!(
                cleaned.end.0 == last_offset + 1,
                "the last batch of a segment stays"
            );
            self.known.replaced = base..cleaned.end;
            self.note()?;
            return Ok((Stage::Install { group, cleaned }, step));
        }
        if read.is_at_end {
            cursor = Cursor::at(following, &self.sources[following]);
        }
        let stage = Stage::Write {
            group,
            cursor,
            output,
        };
        Ok((stage, step))
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        header.has_producer_id()
            && self
                .last_of_producers
                .get(&header.producer_id)
                .is_some_and(|last| last.0 == header.last_offset())
    }

    /// Makes what is known durable, in the `compaction` file.
    fn note(&self) -> Result<(), CompactionError> {
        let written = self.known.write(&self.place);
        written.map_err(|source| self.write_error(names::COMPACTION, source))?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<(), CompactionError> {
        let path = &self.place.directory;
        let synced = self.place.disk.sync_directory(path);
        synced.map_err(|source| CompactionError::Sync {
            path: path.clone(),
            source,
        })
    }

    fn output_error(&self, base: Offset, source: io::Error) -> CompactionError {
        let path = cleaned_file(&self.place, base, names::LOG);
        CompactionError::Write { path, source }
    }

    fn write_error(&self, name: &str, source: io::Error) -> CompactionError {
        let path = self.place.directory.join(name);
        CompactionError::Write { path, source }
    }
}

/// Adds the keys of a batch to the map, from its end on, and moves the end behind them. `false`: the map
/// is full, and ends before the first record that it has no room for.
fn note_keys(
    map: &mut OffsetMap,
    map_end: &mut Offset,
    header: &BatchHeader,
    batch: &[u8],
) -> Result<bool, BatchError> {
    if header.next_offset() <= map_end.0 {
        return Ok(true);
    }
    if !header.is_control() {
        for record in &records_of(header, batch)? {
            let record = record?;
            let offset = Offset(record.offset);
            if offset < *map_end {
                continue;
            }
            if let Some(key) = record.key
                && !map.put(key, offset)
            {
                *map_end = offset;
                return Ok(false);
            }
        }
    }
    *map_end = Offset(header.next_offset());
    Ok(true)
}

/// The bytes of a segment's two indexes.
pub(crate) fn index_bytes(entries: (usize, usize)) -> (usize, usize) {
    (entries.0 * OffsetEntry::BYTES, entries.1 * TimeEntry::BYTES)
}
