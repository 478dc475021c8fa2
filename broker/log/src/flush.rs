//! Making appends durable, and keeping what a restart needs.
//!
//! A flush is three steps, so that the syncing in the middle holds no lock: [`Log::begin_flush`]
//! takes the log's end and the files that hold unflushed bytes below it; the owner syncs them;
//! [`Log::complete_flush`] publishes that end, and not a newer one.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_env::{File, Rename, SyncWork};
use millstream_model::{Offset, WallTime};

use crate::derived::write_epochs;
use crate::listing::remove_segment;
use crate::producer_files::ProducerFiles;
use crate::segment::Segment;
use crate::{Log, Noted, names, partition_metadata, producer_file};

/// Checkpoints without an append after which a log's files are closed: about as many seconds.
const IDLE_CHECKPOINTS: u8 = 10;
/// Bytes after which a checkpoint of the producers is worth its file: what recovery reads again.
const PRODUCERS_FILE_INTERVAL: u64 = 4 << 20;

/// What to sync to make a log durable up to `end`.
pub struct FlushWork {
    /// What [`Log::complete_flush`] is to be called with.
    pub end: FlushEnd,
    /// What to sync.
    pub sync: SyncWork,
}

/// How far a flush makes a log durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushEnd {
    /// The log's end when the flush began, exclusive.
    pub offset: Offset,
    /// The newest checkpoint of the producers that it took.
    producers: Option<Offset>,
}

impl FlushEnd {
    /// The end of a flush that takes nothing but the bytes up to here.
    #[must_use]
    pub fn of_bytes(offset: Offset) -> FlushEnd {
        FlushEnd {
            offset,
            producers: None,
        }
    }
}

/// A flush that begins while an earlier one of the same log is still syncing.
pub enum FlushBeside {
    /// It may.
    Work(FlushWork),
    /// There is nothing to sync.
    Nothing,
    /// It must wait: files are to be synced that the earlier one may be syncing.
    Wait,
}

/// What of a log is not durable, beside the active segment.
#[derive(Default)]
pub(crate) struct Dirty {
    files: Vec<Arc<dyn File>>,
    directory: bool,
    parent: bool,
    epochs: bool,
    /// Bytes appended since the last checkpoint of the producers.
    bytes: u64,
    pub(crate) producers: ProducerFiles,
}

impl std::fmt::Debug for Dirty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dirty")
            .field("files", &self.files.len())
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

impl Dirty {
    pub(crate) fn note_appended(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn note_epochs(&mut self) {
        self.epochs = true;
    }

    /// All of the log's files are synced, under their names.
    pub(crate) fn note_all_synced(&mut self) {
        self.files.clear();
        self.directory = false;
        self.parent = false;
        self.epochs = false;
        let written = self.producers.written();
        self.producers.note_durable(written);
    }

    pub(crate) fn note_renamed(&mut self) {
        self.directory = true;
    }

    pub(crate) fn note_created(&mut self) {
        self.directory = true;
        self.parent = true;
    }

    /// Names alone need no flush: they go with the first bytes.
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty() && !self.epochs
    }
}

impl Log {
    /// Begins a flush. `None` when everything is durable, or the log is offline.
    pub fn begin_flush(&mut self) -> Option<FlushWork> {
        let is_flushed = self.flushed_offset == self.log_end_offset;
        if self.is_offline || (is_flushed && self.dirty.is_empty()) {
            return None;
        }
        if self.active().has_many_pending_entries() {
            self.write_pending_entries();
        }
        let renames = match self.dirty.epochs {
            true => self.write_leader_epochs(),
            false => None,
        };
        let mut files = std::mem::take(&mut self.dirty.files);
        let active = self.segments.last().expect("segment list is never empty");
        match active.file(&self.place) {
            Ok(file) => files.push(file),
            Err(error) => {
                // Cannot happen while it has unflushed bytes: it is kept open then.
                tracing::error!(directory = %self.place.directory.display(), %error, "log is offline");
                self.is_offline = true;
                return None;
            }
        }
        let mut directories = BTreeSet::new();
        if std::mem::take(&mut self.dirty.directory) {
            directories.insert(self.place.directory.clone());
        }
        if std::mem::take(&mut self.dirty.parent) {
            let metadata = partition_metadata::path_in(&self.place.directory);
            match self.place.disk.open(&metadata, false) {
                Ok(metadata) => files.push(metadata),
                Err(error) => {
                    tracing::error!(path = %metadata.display(), %error, "log is offline");
                    self.is_offline = true;
                    return None;
                }
            }
            directories.extend(self.place.directory.parent().map(PathBuf::from));
        }
        Some(FlushWork {
            end: FlushEnd {
                offset: self.log_end_offset,
                producers: self.dirty.producers.written(),
            },
            sync: SyncWork {
                files,
                renames: renames.into_iter().collect(),
                directories,
            },
        })
    }

    /// Begins a flush while an earlier one is still syncing. Its end is to be completed after the earlier
    /// one's. The kernel tells of a failed write-back once for each open file: two syncs through one would
    /// share one error, and the other would believe its bytes. So this one opens the segment anew.
    pub fn begin_flush_beside(&mut self) -> FlushBeside {
        let is_flushed = self.flushed_offset == self.log_end_offset;
        if self.is_offline || (is_flushed && self.dirty.is_empty()) {
            return FlushBeside::Nothing;
        }
        if !self.dirty.is_empty() || self.dirty.directory || self.dirty.parent {
            return FlushBeside::Wait;
        }
        let active = self.segments.last().expect("segment list is never empty");
        let path = active.log_path(&self.place);
        match self.place.disk.open(&path, false) {
            Err(_) => FlushBeside::Wait,
            Ok(file) => FlushBeside::Work(FlushWork {
                end: FlushEnd::of_bytes(self.log_end_offset),
                sync: SyncWork {
                    files: vec![file],
                    ..SyncWork::default()
                },
            }),
        }
    }

    /// Everything that the flush with this end took is synced, and all that earlier flushes took.
    pub fn complete_flush(&mut self, end: FlushEnd) {
        assert!(
            end.offset <= self.log_end_offset,
            "a flush ends within the log"
        );
        if !self.is_offline {
            self.flushed_offset = self.flushed_offset.max(end.offset);
            self.dirty.producers.note_durable(end.producers);
        }
    }

    /// A sync failed: what of the unflushed bytes is on disk is unknown, and the kernel may have
    /// marked them clean. The log is offline until it is opened again.
    pub fn fail_flush(&mut self) {
        self.is_offline = true;
        self.cache.clear();
    }

    /// Prepares a checkpoint of the log directory: where recovery may begin, and the log's start.
    /// Now and then this writes what recovery would have to read again; the next flush syncs it.
    pub fn checkpoint(&mut self) -> Noted {
        let last = self.dirty.producers.last();
        let is_settled = last.is_none_or(|last| last <= self.flushed_offset);
        let is_long_ago = self.dirty.bytes >= PRODUCERS_FILE_INTERVAL && is_settled;
        if (is_long_ago || self.must_keep_producers()) && !self.is_offline {
            let written = self.write_producers();
            if let Err(error) = written {
                let directory = self.place.directory.display();
                tracing::warn!(%directory, %error, "producers not written");
            }
        }
        self.idle_checkpoints = self.idle_checkpoints.saturating_add(1);
        if self.idle_checkpoints >= IDLE_CHECKPOINTS {
            self.release_files();
        }
        Noted {
            recovery_point: self.flushed_offset,
            log_start_offset: self.log_start_offset,
            epochs_checksum: Some(
                self.epochs
                    .checksum(self.log_start_offset, self.flushed_offset),
            ),
        }
    }

    /// Writes what a clean restart reads in place of the log: the last index entries, producers and
    /// epochs. A flush must follow, and after it the directory's checkpoint.
    pub fn prepare_close(&mut self) -> io::Result<()> {
        if self.is_offline {
            return Ok(());
        }
        let place = self.place.clone();
        let active = self.active();
        active.complete_time_index(&place);
        if active.has_pending_entries() {
            active.persist_indexes(&place)?;
        }
        let is_noted = self.dirty.producers.last() == Some(self.log_end_offset);
        let is_empty = self.segments[0].base == self.log_end_offset;
        if !is_noted && !is_empty {
            self.write_producers()?;
            self.write_snapshot()?;
        }
        Ok(())
    }

    /// Seals the active segment and begins a new one at the log's end. On an error the log is as it
    /// was before.
    pub(crate) fn roll(&mut self, now: WallTime) -> io::Result<()> {
        let place = self.place.clone();
        let base = self.log_end_offset;
        let begun = self.begin_segment(base, now);
        if begun.is_err()
            && let Err(error) = remove_segment(&place, base)
        {
            tracing::warn!(directory = %place.directory.display(), %base, %error, "a segment that was not begun is left");
        }
        self.segments.push(begun?);
        Ok(())
    }

    fn begin_segment(&mut self, base: Offset, now: WallTime) -> io::Result<Segment> {
        let place = self.place.clone();
        let segment = Segment::create(&place, base, now)?;
        self.dirty.directory = true;
        self.write_producers()?;
        self.write_snapshot()?;
        let active = self.active();
        active.complete_time_index(&place);
        let indexes = active.persist_indexes(&place)?;
        // Even if all its batches are durable: that a failed append was taken back may not be, and
        // the next segment must begin where this one ends.
        let sealed = active.file(&place)?;
        self.dirty.files.push(sealed);
        self.dirty.files.extend(indexes);
        Ok(segment)
    }

    /// Writes the file that is to replace that of the epochs. Recovery notices an old one by the last
    /// batch's epoch, so a failure costs time later and is tried again.
    fn write_leader_epochs(&mut self) -> Option<Rename> {
        match write_epochs(&self.place, &self.epochs) {
            Ok((file, rename)) => {
                self.dirty.files.push(file);
                self.dirty.directory = true;
                self.dirty.epochs = false;
                Some(rename)
            }
            Err(error) => {
                let directory = self.place.directory.display();
                tracing::warn!(%directory, %error, "leader epochs not written");
                None
            }
        }
    }

    /// Writes our checkpoint of the producers as of the log's end, and removes the oldest.
    fn write_producers(&mut self) -> io::Result<()> {
        let end = self.log_end_offset;
        if self.dirty.producers.is_written(end) {
            return Ok(());
        }
        let bytes = producer_file::to_bytes(&self.producers, end);
        self.write_offset_file(names::PRODUCERS, &bytes)?;
        self.dirty.producers.note_written(end);
        self.dirty.bytes = 0;
        while let Some(oldest) = self.dirty.producers.take_surplus() {
            let path = names::offset_file(&self.place.directory, oldest, names::PRODUCERS);
            self.place.disk.remove_file(&path)?;
        }
        Ok(())
    }

    fn write_snapshot(&mut self) -> io::Result<()> {
        let bytes = producer_file::to_snapshot(&self.producers);
        self.write_offset_file(names::SNAPSHOT, &bytes)
    }

    /// Writes a file named by the log's end, to be synced by the next flush.
    fn write_offset_file(&mut self, extension: &str, bytes: &[u8]) -> io::Result<()> {
        let path = names::offset_file(&self.place.directory, self.log_end_offset, extension);
        let file = self.place.disk.open(&path, true)?;
        file.truncate(0)?;
        file.write_all_at(bytes, 0)?;
        self.dirty.files.push(file);
        self.dirty.directory = true;
        Ok(())
    }
}
