//! Opening a log.

use std::io;

use millstream_env::DirectoryEntry;
use millstream_model::{LeaderEpoch, Offset, WallTime};

use crate::cache::TailCache;
use crate::compaction::file::CompactionFile;
use crate::compaction::replacement;
use crate::derived::write_epochs;
use crate::flush::Dirty;
use crate::listing::{Listing, entries, list, remove_segment};
use crate::opening_epochs::OpeningEpochs;
use crate::producer_files::ProducerFiles;
use crate::recovery::{Opening, Unsynced};
use crate::segment::Segment;
use crate::{Cut, Log, LogConfig, LogPlace, OpenError, names, partition_metadata};

/// What the last run noted of a log. The default is that of a log which was created since: it begins
/// at offset 0, and everything in it is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Everything below it was durable.
    pub recovery_point: Offset,
    /// Where the log begins.
    pub log_start_offset: Offset,
    /// Of the leader epochs between the two; `None` if the last run did not note it.
    pub epochs_checksum: Option<u32>,
}

impl Noted {
    /// Nothing is known: the checkpoint was lost. The first segment says where the log begins.
    pub const UNKNOWN: Noted = Noted {
        recovery_point: Offset::ZERO,
        log_start_offset: Offset::NONE,
        epochs_checksum: None,
    };
}

/// What opening a log found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes whose checksums were checked.
    pub scanned_bytes: u64,
    /// What was cut off the end, if anything.
    pub cut: Option<Cut>,
    /// Whether the leader epochs had to be gathered from all batches.
    pub epochs_rebuilt: bool,
    /// Whether the producers had to be gathered from all batches.
    pub producers_rebuilt: bool,
}

/// What opening leaves to the first flush.
struct Left {
    /// The names of the directory and its files are to be synced, with the first bytes.
    names: bool,
    /// The epochs' file is to be written.
    epochs: bool,
}

impl Log {
    /// Opens a partition's log, creating it where it does not exist, and recovers it past the
    /// recovery point. `leads_in` is the epoch that it is led in from now on, if that is a new one: no
    /// batch in it can have that one, or a later.
    pub fn open(
        place: LogPlace,
        config: LogConfig,
        noted: Noted,
        leads_in: Option<LeaderEpoch>,
        now: WallTime,
    ) -> Result<(Log, Recovery), OpenError> {
        let io = |source| OpenError::Io {
            path: place.directory.clone(),
            source,
        };
        let mut found = entries(&place).map_err(io)?;
        let is_new = noted.recovery_point == Offset::ZERO;
        partition_metadata::check_or_write(&*place.disk, &place.directory, place.topic_id, is_new)?;
        let has_compacted = |entry: &DirectoryEntry| entry.path.ends_with(names::COMPACTION);
        let compacted = match found.iter().any(has_compacted) {
            true => {
                let settled = replacement::settle(&place, &config, now).map_err(io)?;
                found = entries(&place).map_err(io)?;
                settled
            }
            false => Some(CompactionFile::default()),
        };
        let listing = list(&place, found, noted).map_err(io)?;
        let mut opening = Opening {
            gaps_end: compacted
                .as_ref()
                .map_or(noted.recovery_point, |file| file.gaps_end),
            recovery: Recovery::default(),
            segments: Vec::new(),
            epochs: OpeningEpochs::new(leads_in),
            unsynced: Unsynced::Nothing,
            unfinished_cut: None,
            place: &place,
            config,
            now,
        };
        opening.begin(&listing, noted)?;
        let log_end_offset = opening.segments.last().expect("one was made or found").end;
        let producers = opening.load_producers(&listing, noted.recovery_point, log_end_offset)?;
        let left = opening.finish(noted).map_err(io)?;
        let Opening {
            recovery,
            segments,
            epochs,
            unfinished_cut,
            ..
        } = opening;
        let mut epochs = epochs.known;
        let first = segments.first().expect("one was made or found").base;
        let mut dirty = Dirty::default();
        dirty.producers = ProducerFiles::found(producers.1);
        if left.names {
            dirty.note_created();
        }
        if left.epochs {
            dirty.note_epochs();
        }
        let log_start_offset = noted.log_start_offset.max(first).min(log_end_offset);
        epochs.advance_start(log_start_offset);
        let compacted = compacted.unwrap_or_default();
        let is_within = (log_start_offset..=log_end_offset).contains(&compacted.first_dirty);
        let mut log = Log {
            first_dirty: match is_within {
                true => compacted.first_dirty,
                false => log_start_offset,
            },
            cache: TailCache::new(config.cache_bytes_max, place.cache_budget.clone()),
            log_start_offset,
            log_end_offset,
            flushed_offset: log_end_offset,
            producers: producers.0,
            is_offline: false,
            has_disk_failed: false,
            place,
            config,
            segments,
            epochs,
            dirty,
            room: None,
            unfinished_cut,
            replacements: 0,
            idle_checkpoints: 0,
        };
        log.check_invariants();
        log.release_files();
        Ok((log, recovery))
    }
}

impl Opening<'_> {
    /// Finds the log's beginning, and walks it from the recovery point.
    fn begin(&mut self, listing: &Listing, noted: Noted) -> Result<(), OpenError> {
        let first = listing.logs.first().map(|(base, _)| *base);
        let point = noted.recovery_point.max(self.gaps_end);
        let start = match first {
            Some(first) if noted == Noted::UNKNOWN => first,
            _ => noted.log_start_offset.max(Offset::ZERO),
        };
        match first {
            Some(first) if first <= start => {
                match self.walk(listing, noted, point, start) {
                    // All that was durable lies before the log's start, and retention has taken out some
                    // of it.
                    Err(OpenError::Damaged(_)) if point <= start => {
                        self.begin_after_deleted(listing, start)
                    }
                    outcome => outcome,
                }
            }
            _ if point > start => {
                let what = format!(
                    "offsets {start} to {point} were durable, but no segment holds the first"
                );
                Err(self.damaged(self.place.directory.clone(), 0, what))
            }
            Some(_) => self.begin_again(listing, start),
            None if listing.empty == Some(start) => {
                let segment = Segment::found_empty(start, self.now);
                self.segments.push(segment);
                Ok(())
            }
            None => {
                if let Some(elsewhere) = listing.empty {
                    remove_segment(self.place, elsewhere).map_err(|error| self.io(error))?;
                }
                self.begin_empty(start)
            }
        }
    }

    /// Syncs what was kept, and writes what was made again, as far as there is room: what is derived
    /// from batches can wait, for a full disk is to be read. Answers what the first flush has to do.
    fn finish(&mut self, noted: Noted) -> io::Result<Left> {
        let place = self.place;
        // A flush that moved the recovery point has synced the names.
        let is_new = noted.recovery_point <= noted.log_start_offset.max(Offset::ZERO);
        if self.unsynced == Unsynced::Nothing {
            return Ok(Left {
                names: is_new,
                epochs: false,
            });
        }
        let active = self.segments.last_mut().expect("one was made or found");
        // Entries that were not written stay in memory.
        if_room(active.persist_indexes(place).map(drop))?;
        active.file(place)?.sync_data()?;
        if self.unsynced == Unsynced::Bytes && !is_new && self.epochs.are_as_noted() {
            return Ok(Left {
                names: false,
                epochs: false,
            });
        }
        let epochs = !if_room(self.replace_epochs())?;
        if is_new {
            let metadata = partition_metadata::path_in(&place.directory);
            place.disk.open(&metadata, false)?.sync_data()?;
        }
        place.disk.sync_directory(&place.directory)?;
        if is_new && let Some(parent) = place.directory.parent() {
            place.disk.sync_directory(parent)?;
        }
        Ok(Left {
            names: false,
            epochs,
        })
    }

    fn replace_epochs(&self) -> io::Result<()> {
        let (file, rename) = write_epochs(self.place, &self.epochs.known)?;
        file.sync_data()?;
        self.place.disk.rename(&rename.from, &rename.to)
    }
}

/// Whether something was written; not being written for want of room is no error.
fn if_room(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if millstream_env::is_out_of_room(&error) => {
            tracing::warn!(%error, "no room for what recovery made again: it is written later");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
