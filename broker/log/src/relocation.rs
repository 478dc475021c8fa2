//! A copy of a log for another log directory, and the log's step over to it.
//!
//! ```text
//!   plan (lock) ─► copy a piece ─► plan … caught up ─► plan, rest, other files, sync ─► relocate
//!                  └────────── no lock ───────────┘    └────────────── lock ──────────────────┘
//! ```
//!
//! Segments are copied while the log goes on: appended bytes never change, so a segment that has grown is
//! copied from where its copy ends. What is sealed is synced, with its indexes, as soon as it is copied. At
//! the end, under the lock, only the last bytes and the small files are left.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_env::{Disk, File};
use millstream_model::{DirectoryId, Offset};

use crate::config::UNSYNCED_MAX;
use crate::derived::read_small;
use crate::{Log, Noted, Room, names};

/// Bytes that are read and written at once.
const PIECE: usize = 1 << 20;
/// The files of a segment beside its records, and the producers as it began.
const BESIDE: [&str; 4] = [
    names::OFFSET_INDEX,
    names::TIME_INDEX,
    names::DIGEST,
    names::SNAPSHOT,
];

/// What there is to copy of a log at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// Base offset and bytes of each segment, in their order. The last one is active.
    segments: Vec<(Offset, u64)>,
    replacements: u32,
    log_end_offset: Offset,
    /// The file of leader epochs, which may be older on the disk.
    epochs: String,
}

/// Why a copy cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The log's own files.
    #[error("{} cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The copy.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The copy, so that nothing in its directory may be believed.
    #[error("{} could not be synced: {source}", path.display())]
    Sync {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The copy of one segment.
#[derive(Default)]
struct SegmentCopy {
    bytes: u64,
    /// The file, while it has bytes that are not synced.
    unsynced: Option<Arc<dyn File>>,
    /// It is sealed, all of it is there, and its indexes: synced.
    is_complete: bool,
    /// Its digest is there. The scrub may write one after the segment was copied, and never another.
    has_digest: bool,
}

/// A copy of a log that is being made.
pub struct LogCopy {
    disk: Arc<dyn Disk>,
    from: PathBuf,
    to: PathBuf,
    segments: BTreeMap<Offset, SegmentCopy>,
    /// Of the log when the copy began: after another replacement it is of segments that are gone.
    replacements: u32,
    unsynced_bytes: u64,
    buffer: Vec<u8>,
}

impl Log {
    /// What there is to copy now.
    #[must_use]
    pub fn copy_plan(&self) -> CopyPlan {
        let segments = self.segments.iter();
        CopyPlan {
            segments: segments
                .map(|segment| (segment.base, segment.size))
                .collect(),
            replacements: self.replacements,
            log_end_offset: self.log_end_offset,
            epochs: self.epochs.to_text(),
        }
    }

    /// What the checkpoint of the directory with a whole, synced copy has to say of it.
    #[must_use]
    pub fn noted_of_copy(&self) -> Noted {
        Noted {
            recovery_point: self.log_end_offset,
            log_start_offset: self.log_start_offset,
            epochs_checksum: Some(
                self.epochs
                    .checksum(self.log_start_offset, self.log_end_offset),
            ),
        }
    }

    /// Goes on with a whole, synced copy of its files in another directory. What was checked there is
    /// checked again when it is read here.
    pub fn relocate(&mut self, directory: PathBuf, room: Arc<Room>) {
        self.place.directory = directory;
        self.room = Some(room);
        // Who looks at a segment without the lock looks at one of the old directory.
        self.replacements += 1;
        for segment in &mut self.segments {
            segment.forget_files();
        }
        self.dirty.note_all_synced();
        self.flushed_offset = self.log_end_offset;
        self.check_invariants();
    }
}

impl LogCopy {
    /// Begins a copy of the log at `from`. What an earlier one left at `to` goes.
    pub fn begin(
        disk: Arc<dyn Disk>,
        from: &Path,
        to: &Path,
        plan: &CopyPlan,
    ) -> Result<LogCopy, CopyError> {
        let copy = LogCopy {
            disk,
            from: from.to_owned(),
            to: to.to_owned(),
            segments: BTreeMap::new(),
            replacements: plan.replacements,
            unsynced_bytes: 0,
            buffer: vec![0; PIECE],
        };
        copy.make_room()?;
        Ok(copy)
    }

    /// Where the log is.
    #[must_use]
    pub fn source(&self) -> &Path {
        &self.from
    }

    /// Where it is.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.to
    }

    /// Bytes of records that it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.values().map(|copy| copy.bytes).sum()
    }

    /// The end of what it has of a plan, exclusive, by whole segments.
    #[must_use]
    pub fn end(&self, plan: &CopyPlan) -> Offset {
        let has = |&&(base, size): &&(Offset, u64)| {
            self.segments
                .get(&base)
                .is_none_or(|copy| copy.bytes < size)
        };
        let missing = plan.segments.iter().find(has);
        missing.map_or(plan.log_end_offset, |(base, _)| *base)
    }

    /// Whether no more than so many bytes are left of a plan, and nothing of its sealed segments.
    #[must_use]
    pub fn is_nearly_done(&self, plan: &CopyPlan, bytes: u64) -> bool {
        let mut left = 0;
        for (number, (base, size)) in plan.segments.iter().enumerate() {
            let is_active = number + 1 == plan.segments.len();
            let copied = self.segments.get(base);
            if !is_active && !copied.is_some_and(|copy| copy.is_complete) {
                return false;
            }
            left += size.saturating_sub(copied.map_or(0, |copy| copy.bytes));
        }
        left <= bytes
    }

    /// Copies about so many bytes. Answers how many; 0: it has all of the plan. What retention has taken out
    /// since the plan was made is passed over.
    pub fn step(&mut self, plan: &CopyPlan, bytes_max: u64) -> Result<u64, CopyError> {
        let mut copied = 0;
        while copied < bytes_max {
            match self.piece(plan)? {
                0 => break,
                bytes => copied += bytes,
            }
        }
        Ok(copied)
    }

    fn piece(&mut self, plan: &CopyPlan) -> Result<u64, CopyError> {
        if plan.replacements != self.replacements {
            self.replacements = plan.replacements;
            self.segments.clear();
            self.make_room()?;
        }
        let sealed = plan.segments.len().saturating_sub(1);
        for (number, (base, size)) in plan.segments.iter().enumerate() {
            let copied = self.copy_piece(*base, *size);
            let copied = match copied.and_then(|bytes| match bytes {
                0 if number < sealed => self.complete(*base),
                bytes => Ok(bytes),
            }) {
                Err(CopyError::Read { source, .. }) if is_gone(&source) => continue,
                copied => copied?,
            };
            if copied > 0 {
                return Ok(copied);
            }
        }
        Ok(0)
    }

    /// Makes what was copied so far durable.
    pub fn sync(&mut self) -> Result<(), CopyError> {
        for (base, copy) in &mut self.segments {
            if let Some(file) = &copy.unsynced {
                let path = || names::offset_file(&self.to, *base, names::LOG);
                sync(&**file, path)?;
                copy.unsynced = None;
            }
        }
        self.unsynced_bytes = 0;
        Ok(())
    }

    /// Copies what is left, all other files, and syncs it. The log stands still meanwhile. The copy says that
    /// what is in the log directory of this id is older.
    pub fn finish(&mut self, plan: &CopyPlan, directory: DirectoryId) -> Result<(), CopyError> {
        while self.piece(plan)? > 0 {}
        self.sync()?;
        let bases: BTreeSet<_> = plan.segments.iter().map(|(base, _)| *base).collect();
        let gone: Vec<_> = self.segments.keys().copied().collect();
        for base in gone.into_iter().filter(|base| !bases.contains(base)) {
            for extension in BESIDE.into_iter().chain([names::LOG]) {
                let path = names::offset_file(&self.to, base, extension);
                match self.disk.remove_file(&path) {
                    Err(source) if !is_gone(&source) => {
                        return Err(CopyError::Write { path, source });
                    }
                    _ => {}
                }
            }
            self.segments.remove(&base);
        }
        let active = bases.last().copied();
        let entries = self.disk.list(&self.from);
        let entries = entries.map_err(|source| CopyError::Read {
            path: self.from.clone(),
            source,
        })?;
        for path in entries.into_iter().map(|entry| entry.path) {
            if self.is_to_be_copied(&path, active) {
                self.copy_file(&path)?;
            }
        }
        self.write(names::LEADER_EPOCHS, &plan.epochs)?;
        self.write(names::MOVED_FROM, &directory.to_string())?;
        let synced = self.disk.sync_directory(&self.to);
        synced.map_err(|source| CopyError::Sync {
            path: self.to.clone(),
            source,
        })
    }

    /// Removes it.
    pub fn abandon(self) {
        if let Err(error) = self.disk.remove_directory(&self.to)
            && !is_gone(&error)
        {
            tracing::warn!(directory = %self.to.display(), %error, "copy could not be removed");
        }
    }

    /// Whether a file that is no log belongs to the partition now, and is not there already.
    fn is_to_be_copied(&self, path: &Path, active: Option<Offset>) -> bool {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let passes = [names::LOG, names::TEMPORARY, names::DELETED, names::CLEANED];
        if extension.is_some_and(|extension| passes.contains(&extension)) {
            return false;
        }
        if path.ends_with(names::LEADER_EPOCHS) || path.ends_with(names::MOVED_FROM) {
            return false;
        }
        let mut beside = BESIDE
            .iter()
            .map(|kind| (*kind, names::offset_of(path, kind)));
        let Some((kind, base)) = beside.find(|(_, base)| base.is_some()) else {
            return true;
        };
        let Some(copy) = base.and_then(|base| self.segments.get(&base)) else {
            // Of a segment that retention has taken out; producers are noted elsewhere too.
            return kind == names::SNAPSHOT;
        };
        let is_new_digest = kind == names::DIGEST && !copy.has_digest;
        base == active || !copy.is_complete || is_new_digest
    }

    /// An empty directory for it.
    fn make_room(&self) -> Result<(), CopyError> {
        let write = |source| CopyError::Write {
            path: self.to.clone(),
            source,
        };
        match self.disk.remove_directory(&self.to) {
            Err(source) if !is_gone(&source) => return Err(write(source)),
            _ => {}
        }
        self.disk.create_directory(&self.to).map_err(write)
    }

    /// Copies the next piece of a segment.
    fn copy_piece(&mut self, base: Offset, size: u64) -> Result<u64, CopyError> {
        let is_new = !self.segments.contains_key(&base);
        let copy = self.segments.entry(base).or_default();
        if copy.bytes == size && !is_new {
            return Ok(0);
        }
        let from = names::offset_file(&self.from, base, names::LOG);
        let to = names::offset_file(&self.to, base, names::LOG);
        let read = |source| CopyError::Read {
            path: from.clone(),
            source,
        };
        let source = match self.disk.open(&from, false) {
            Ok(source) => source,
            Err(error) => {
                if is_new {
                    self.segments.remove(&base);
                }
                return Err(read(error));
            }
        };
        let piece = usize::try_from(size.saturating_sub(copy.bytes))
            .unwrap_or(PIECE)
            .min(PIECE);
        let buffer = &mut self.buffer[..piece];
        let count = source.read_once_at(buffer, copy.bytes).map_err(read)?;
        if count < piece {
            return Err(read(io::ErrorKind::UnexpectedEof.into()));
        }
        let written = self.disk.open(&to, true).and_then(|file| {
            file.write_all_at(buffer, copy.bytes)?;
            Ok(file)
        });
        let file = written.map_err(|source| CopyError::Write { path: to, source })?;
        copy.bytes += piece as u64;
        copy.unsynced = Some(file);
        self.unsynced_bytes += piece as u64;
        if self.unsynced_bytes >= UNSYNCED_MAX {
            self.sync()?;
        }
        Ok(piece as u64)
    }

    /// Copies the indexes of a sealed segment, and syncs all of it. Answers what it copied, at least 1 the
    /// first time.
    fn complete(&mut self, base: Offset) -> Result<u64, CopyError> {
        if self.segments.get(&base).is_none_or(|copy| copy.is_complete) {
            return Ok(0);
        }
        let (mut bytes, mut has_digest) = (1, false);
        for extension in BESIDE {
            let path = names::offset_file(&self.from, base, extension);
            match self.copy_file(&path) {
                // It may have none, or none yet.
                Err(CopyError::Read { source, .. }) if is_gone(&source) => {}
                copied => {
                    bytes += copied?;
                    has_digest |= extension == names::DIGEST;
                }
            }
        }
        self.sync()?;
        if let Some(copy) = self.segments.get_mut(&base) {
            copy.is_complete = true;
            copy.has_digest = has_digest;
        }
        Ok(bytes)
    }

    fn write(&self, name: &str, text: &str) -> Result<(), CopyError> {
        let path = self.to.join(name);
        let written = self.disk.open(&path, true).and_then(|file| {
            file.truncate(0)?;
            file.write_all_at(text.as_bytes(), 0)?;
            Ok(file)
        });
        match written {
            Ok(file) => sync(&*file, || path),
            Err(source) => Err(CopyError::Write { path, source }),
        }
    }

    /// Copies a file that does not grow, and syncs it.
    fn copy_file(&mut self, from: &Path) -> Result<u64, CopyError> {
        let read = |source| CopyError::Read {
            path: from.to_owned(),
            source,
        };
        let source = self.disk.open(from, false).map_err(read)?;
        let to = self.to.join(from.file_name().unwrap_or_default());
        let write = |source| CopyError::Write {
            path: to.clone(),
            source,
        };
        let file = self.disk.open(&to, true).map_err(write)?;
        file.truncate(0).map_err(write)?;
        let mut position = 0;
        loop {
            let count = source.read_once_at(&mut self.buffer, position);
            let count = count.map_err(read)?;
            if count == 0 {
                break;
            }
            file.write_all_at(&self.buffer[..count], position)
                .map_err(write)?;
            position += count as u64;
        }
        sync(&*file, || to)?;
        Ok(position)
    }
}

/// Whether a partition's folder is a copy of what was in the log directory of this id.
pub fn moved_from(disk: &dyn Disk, folder: &Path, directory: DirectoryId) -> io::Result<bool> {
    let said = read_small(disk, &folder.join(names::MOVED_FROM))?;
    Ok(said.is_some_and(|said| said == directory.to_string().as_bytes()))
}

/// Notes that nothing is left in the log directory that a partition was moved from. Needs no sync: said twice
/// is as good.
pub fn forget_moved_from(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    match disk.remove_file(&folder.join(names::MOVED_FROM)) {
        Err(error) if is_gone(&error) => Ok(()),
        removed => removed,
    }
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
}

fn sync(file: &dyn File, path: impl FnOnce() -> PathBuf) -> Result<(), CopyError> {
    file.sync_data().map_err(|source| CopyError::Sync {
        path: path(),
        source,
    })
}
