//! Compaction as the log sees it: what of it is dirty, and one segment in the place of several.
//!
//! ```text
//!   [ compacted ][ compacted ][ dirty ][ dirty ][ too young ][ active ]
//!                             │                 └ never past what is durable and visible
//!                             └ first dirty offset: remembered in the partition's `compaction` file
//! ```
//!
//! Of each key the last record stays, with its offset: offsets never change, they get gaps. When a log
//! is worth a pass is Kafka's rule: its dirty part is more than `min.cleanable.dirty.ratio` of it, or
//! the oldest dirty record is older than `max.compaction.lag.ms`. What is younger than
//! `min.compaction.lag.ms` is left alone.

mod cleaned_batch;
mod cleaned_segment;
pub(crate) mod file;
mod offset_map;
mod pass;
pub(crate) mod replacement;
mod siphash;
mod source;

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::path::PathBuf;

use millstream_model::{Offset, WallTime};

use crate::listing::rename_away;
use crate::segment::{Digested, Segment};
use crate::{CompactionError, Log, ReadError, names};
use file::CompactionFile;
use pass::{Stage, index_bytes};
use replacement::{cleaned_file, rename_cleaned};
use source::Source;

pub use offset_map::OffsetMap;
pub use pass::{CompactionPass, PassStep};

/// When a log is compacted, and what stays of it. Durations are milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionRules {
    /// The dirty share of the log above which a pass is worth it (`min.cleanable.dirty.ratio`).
    pub min_dirty_ratio: f64,
    /// Records younger than this stay as they are (`min.compaction.lag.ms`).
    pub min_lag_ms: i64,
    /// Records older than this are compacted whatever the ratio (`max.compaction.lag.ms`).
    pub max_lag_ms: i64,
    /// How long a tombstone stays for readers to see (`delete.retention.ms`).
    pub delete_retention_ms: i64,
}

/// How much a log would gain by a pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dirtiness {
    /// Dirty bytes by all bytes that a pass would read.
    pub ratio: f64,
    /// Whether the rules ask for a pass.
    pub is_due: bool,
}

impl Log {
    /// How dirty the log is below `upper`, which consumers see and is not taken back. `None`: not at
    /// all. *Errors*: the timestamps of a segment cannot be found.
    pub fn dirtiness(
        &self,
        rules: &CompactionRules,
        upper: Offset,
        now: WallTime,
    ) -> Result<Option<Dirtiness>, ReadError> {
        let (mut clean_bytes, mut dirty_bytes, mut oldest) = (0, 0, None);
        for segment in &self.segments[self.cleanable(rules, upper, now)?] {
            match segment.end <= self.first_dirty_offset() {
                true => clean_bytes += segment.size,
                false => {
                    dirty_bytes += segment.size;
                    oldest = oldest.or(Some(segment));
                }
            }
        }
        let Some(oldest) = oldest else {
            return Ok(None);
        };
        let ratio = dirty_bytes as f64 / (clean_bytes + dirty_bytes) as f64;
        let is_due = ratio > rules.min_dirty_ratio || self.is_past_lag(oldest, rules, now)?;
        Ok(Some(Dirtiness { ratio, is_due }))
    }

    fn is_past_lag(
        &self,
        oldest: &Segment,
        rules: &CompactionRules,
        now: WallTime,
    ) -> Result<bool, ReadError> {
        if rules.max_lag_ms == i64::MAX {
            return Ok(false);
        }
        let first = oldest.first_timestamp(&self.place)?;
        Ok(first.is_some_and(|first| now.0.saturating_sub(first) > rules.max_lag_ms))
    }

    /// The first offset that is not compacted.
    #[must_use]
    pub fn first_dirty_offset(&self) -> Offset {
        self.first_dirty.max(self.log_start_offset)
    }

    /// The sealed segments from the log's start up to the first that is not durable, not wholly before
    /// `upper`, or dirty and too young.
    fn cleanable(
        &self,
        rules: &CompactionRules,
        upper: Offset,
        now: WallTime,
    ) -> Result<Range<usize>, ReadError> {
        let first = self.segments_before_start();
        let upper = upper.min(self.flushed_offset);
        let sealed = self.segments.len() - 1;
        let mut end = first;
        for segment in &self.segments[first..sealed] {
            let is_dirty = segment.end > self.first_dirty_offset();
            let is_too_young = is_dirty && rules.min_lag_ms > 0 && {
                let largest = segment.largest_timestamp(&self.place, &self.config)?;
                let newest = largest.map_or(segment.created, |(timestamp, _)| timestamp);
                newest.0 > now.0.saturating_sub(rules.min_lag_ms)
            };
            if segment.end > upper || is_too_young {
                break;
            }
            end += 1;
        }
        Ok(first..end)
    }

    /// Begins a pass, with an empty map. One at a time. `None`: there is nothing to compact. Nothing is
    /// read or written yet.
    pub fn begin_compaction(
        &self,
        rules: &CompactionRules,
        upper: Offset,
        now: WallTime,
        map: OffsetMap,
    ) -> Result<Option<CompactionPass>, ReadError> {
        if self.is_offline {
            return Err(ReadError::Offline);
        }
        let segments = &self.segments[self.cleanable(rules, upper, now)?];
        let sources: Vec<Source> = segments.iter().map(source_of).collect();
        let Some(end) = sources.last().map(|source| source.end) else {
            return Ok(None);
        };
        let last_of_producers: BTreeMap<i64, Offset> = self
            .producers
            .iter()
            .filter_map(|(id, producer)| Some((id, producer.batches.last()?.last_offset)))
            .filter(|(_, last)| *last < end)
            .collect();
        Ok(Some(CompactionPass {
            place: self.place.clone(),
            config: self.config,
            sources,
            first_dirty: self.first_dirty_offset(),
            durable_end: self.flushed_offset,
            delete_retention_ms: rules.delete_retention_ms,
            now,
            last_of_producers,
            map,
            map_end: self.first_dirty_offset(),
            known: CompactionFile::default(),
            replaced: None,
            stage: Stage::Begin,
        }))
    }

    /// Puts a compacted segment in the place of those it was made from. Readers that hold a file of an
    /// old one open go on. *Errors*: retention took one of them out, or the file could not be renamed;
    /// the log is as it was.
    pub fn install_cleaned(&mut self, pass: &mut CompactionPass) -> Result<(), CompactionError> {
        let Stage::Install { group, cleaned } = mem::replace(&mut pass.stage, Stage::Done) else {
            unreachable!("a pass asks for it");
        };
        if self.is_offline {
            return Err(ReadError::Offline.into());
        }
        let sources = &pass.sources[group.clone()];
        let base = sources[0].base;
        let first = self.segments.partition_point(|segment| segment.base < base);
        let old = first..first + sources.len();
        let is_there = self
            .segments
            .get(old.clone())
            .is_some_and(|old| old.iter().map(source_of).eq(sources.iter().copied()));
        if !is_there {
            return Err(CompactionError::TakenOut { base });
        }
        let renamed = rename_cleaned(&self.place, base);
        let in_place = renamed.map_err(|source| CompactionError::Write {
            path: cleaned_file(&self.place, base, names::LOG),
            source,
        })?;
        pass.replaced = in_place.replaced;
        let mut cleaned = cleaned;
        if in_place.has_digest {
            cleaned.digested = Digested::Yes;
        }
        self.replacements += 1;
        self.cache.forget_before(cleaned.end);
        self.segments.splice(old, [cleaned]);
        self.check_invariants();
        pass.stage = Stage::Installed(group);
        Ok(())
    }

    /// Renames the files of the segments that were replaced. Answers them and the log file of the first, for the
    /// owner to remove. *Errors*: one could not be renamed. The log is offline then: the next start ends the replacement.
    pub fn put_away_replaced(
        &mut self,
        pass: &mut CompactionPass,
    ) -> Result<Vec<PathBuf>, CompactionError> {
        let Stage::PutAway(group) = mem::replace(&mut pass.stage, Stage::Done) else {
            unreachable!("a pass asks for it");
        };
        let mut files = Vec::new();
        for source in &pass.sources[group.start + 1..group.end] {
            match rename_away(&self.place, source.base) {
                Ok(renamed) => files.extend(renamed),
                Err(error) => {
                    self.is_offline = true;
                    let path = names::offset_file(&self.place.directory, source.base, names::LOG);
                    return Err(CompactionError::Write {
                        path,
                        source: error,
                    });
                }
            }
        }
        pass.stage = match files.is_empty() {
            true => Stage::Next(group.end),
            false => Stage::AwayPut(group),
        };
        files.extend(pass.replaced.take());
        Ok(files)
    }

    /// Notes how far a finished pass has come.
    pub fn complete_compaction(&mut self, pass: &CompactionPass) {
        self.first_dirty = pass.compacted_end();
    }
}

fn source_of(segment: &Segment) -> Source {
    let (offset_index_bytes, time_index_bytes) = index_bytes(segment.index_entries());
    Source {
        base: segment.base,
        end: segment.end,
        size: segment.size,
        offset_index_bytes,
        time_index_bytes,
        may_have_gaps: segment.may_have_gaps,
    }
}
