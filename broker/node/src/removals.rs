//! Files and folders that were taken out of their logs, and go later, a piece at a time.
//!
//! Freeing the blocks of a large file at once holds up the syncs of all others on its disk: a GiB on ext4 with
//! `discard` for 130 ms, pieces of 4 MiB for 4. So it is shortened first, with rests in between. Whoever still reads
//! it would find it short: only after a delay is nobody there any more. While records are refused for want of room
//! nothing waits, and goes whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use millstream_model::Instant;

use crate::Node;

/// Bytes that go at once.
const PIECE: u64 = 4 << 20;

/// What was taken out, by when it goes and in the order in which it was.
#[derive(Default)]
pub(crate) struct Removals {
    all: BTreeMap<(Instant, u64), Removal>,
    last: u64,
}

#[derive(Clone)]
struct Removal {
    path: PathBuf,
    is_folder: bool,
    /// Somebody may read it still when it goes.
    is_whole: bool,
}

impl Removals {
    fn next(&self) -> Option<Instant> {
        self.all.keys().next().map(|(due, _)| *due)
    }
}

impl Node {
    /// Removes files, or folders of partitions, so many milliseconds from now.
    pub(crate) fn remove_later(&self, paths: Vec<PathBuf>, is_folder: bool, delay_ms: i64) {
        let delay = Duration::from_millis(u64::try_from(delay_ms).unwrap_or(0));
        self.add_removals(paths, self.now().after(delay), is_folder, delay.is_zero());
    }

    /// Removes folders of partitions that nobody has open.
    pub(crate) fn remove_unread(&self, folders: Vec<PathBuf>) {
        self.add_removals(folders, self.now(), true, false);
    }

    fn add_removals(&self, paths: Vec<PathBuf>, due: Instant, is_folder: bool, is_whole: bool) {
        let removals = &mut *self.removals();
        for path in paths {
            removals.last += 1;
            let removal = Removal {
                path,
                is_folder,
                is_whole,
            };
            removals.all.insert((due, removals.last), removal);
        }
    }

    /// When something is to be removed next.
    #[must_use]
    pub fn next_removal(&self) -> Option<Instant> {
        let due = self.removals().next()?;
        Some(match self.short_directories().is_empty() {
            true => due,
            false => due.min(self.now()),
        })
    }

    /// Removes a piece of what is due. Answers whether there was any. To be called by one thread.
    pub fn remove_step(&self) -> bool {
        let now = self.now();
        let is_short = !self.short_directories().is_empty();
        let removals = self.removals();
        let first = removals.all.first_key_value();
        let Some((key, removal)) = first.filter(|((due, _), _)| is_short || *due <= now) else {
            return false;
        };
        let (key, mut removal) = (*key, removal.clone());
        drop(removals);
        removal.is_whole |= key.0 > now;
        match self.remove_piece(&removal) {
            // One after the other.
            Ok(false) => return true,
            Ok(true) => {}
            // Its topic was deleted meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let path = removal.path.display();
                tracing::warn!(%path, %error, "what was taken out could not be removed");
            }
        }
        let mut removals = self.removals();
        removals.all.remove(&key);
        let was_last = removals.next().is_none_or(|due| due > now);
        drop(removals);
        if was_last || is_short {
            self.ask_for_room();
        }
        true
    }

    /// Answers whether nothing is left.
    fn remove_piece(&self, removal: &Removal) -> io::Result<bool> {
        let path = &removal.path;
        match (removal.is_folder, removal.is_whole) {
            (false, true) => self.disk.remove_file(path).map(|()| true),
            (false, false) => self.shorten(path),
            (true, true) => self.disk.remove_directory(path).map(|()| true),
            (true, false) => {
                let entries = self.disk.list(path)?;
                match entries.iter().find(|entry| !entry.is_directory) {
                    Some(file) => self.shorten(&file.path).map(|_| false),
                    None => self.disk.remove_directory(path).map(|()| true),
                }
            }
        }
    }

    /// Takes a piece off a file's end. Answers whether it is gone.
    fn shorten(&self, path: &Path) -> io::Result<bool> {
        match self.disk.length(path)?.checked_sub(PIECE) {
            Some(left) if left > 0 => {
                let file = self.disk.open(path, false)?;
                file.truncate(left)?;
                // Blocks are freed, and discarded, when the file system's journal is written.
                file.sync_data()?;
                Ok(false)
            }
            _ => self.disk.remove_file(path).map(|()| true),
        }
    }

    fn removals(&self) -> MutexGuard<'_, Removals> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
