//! Room on the file system of a log directory, and how much of it producers may use.
//!
//! ```text
//!   ├─────────────── free, as the file system last said ───────────────┤
//!   ├ appended since ┼ may be appended ──────────┼──── the reserve ────┤
//! ```
//!
//! A disk that is full to the last byte takes no committed offset and no change of metadata either, and
//! a start needs some room for what it recovers. So records of clients stop at a reserve, with an error
//! that says so, while the broker's own are written. The file system is asked about once a second and after
//! every deletion; in between, what was appended is taken off. What else grows (indexes, other programs)
//! is found out when it is asked again: the reserve is far larger than a second's worth.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is kept free by default, at most.
const RESERVE_MAX: u64 = 1 << 30;
/// And no more than this part of a file system.
const RESERVE_SHARE: u64 = 20;

/// The room of one log directory. Shared by its logs; takes no lock.
#[derive(Debug)]
pub struct Room {
    directory: PathBuf,
    /// *Units*: bytes, as all here.
    reserve: u64,
    free: AtomicU64,
    appended: AtomicU64,
}

/// There is no room for a client's records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{free} bytes are free in log directory {}, and {reserve} of them are kept for the broker (millstream.log.dir.reserve.bytes): records are taken again when there is more",
    directory.display()
)]
pub struct NoRoom {
    /// The directory.
    pub directory: PathBuf,
    /// Bytes that are free there.
    pub free: u64,
    /// Bytes that are to stay free.
    pub reserve: u64,
}

impl Room {
    /// The room of a directory of which so much is to stay free. Until it is told how much there is, there is
    /// enough.
    #[must_use]
    pub fn new(directory: &Path, reserve: u64) -> Room {
        Room {
            directory: directory.to_owned(),
            reserve,
            free: AtomicU64::new(u64::MAX),
            appended: AtomicU64::new(0),
        }
    }

    /// How much a file system of `total` bytes keeps free where nobody has said: 1 GiB, and of a small one a
    /// twentieth.
    #[must_use]
    pub fn default_reserve(total: u64) -> u64 {
        RESERVE_MAX.min(total / RESERVE_SHARE)
    }

    /// What the file system says is free.
    pub fn refresh(&self, free: u64) {
        // An append between the two is counted twice or not at all, until the next time.
        self.appended.store(0, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
    }

    /// What records of clients leave free. *Units*: bytes.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.reserve
    }

    /// Whether a client's records of so many bytes leave the reserve alone.
    pub fn check(&self, bytes: usize) -> Result<(), NoRoom> {
        let free = self.free();
        let need = self.reserve.saturating_add(bytes as u64);
        if self.reserve == 0 || free >= need {
            return Ok(());
        }
        Err(NoRoom {
            directory: self.directory.clone(),
            free,
            reserve: self.reserve,
        })
    }

    /// So many bytes were appended.
    pub fn note_appended(&self, bytes: usize) {
        self.appended.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that are free, as far as is known.
    #[must_use]
    pub fn free(&self) -> u64 {
        let appended = self.appended.load(Ordering::Relaxed);
        self.free.load(Ordering::Relaxed).saturating_sub(appended)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_was_appended_counts_until_the_file_system_is_asked_again() {
        let room = Room::new(Path::new("/data"), 100);
        assert_eq!(room.check(usize::MAX >> 1), Ok(()), "nobody has said");
        room.refresh(150);
        assert_eq!(room.check(50), Ok(()));
        room.note_appended(50);
        let refused = room.check(1).unwrap_err();
        assert_eq!((refused.free, refused.reserve), (100, 100));
        assert!(refused.to_string().contains("log directory /data"));
        room.refresh(101);
        assert_eq!(room.check(1), Ok(()));
        assert!(room.check(2).is_err());
        room.note_appended(1000);
        assert_eq!(room.free(), 0);
        assert!(room.check(0).is_err());
    }

    #[test]
    fn without_a_reserve_nothing_is_refused() {
        let room = Room::new(Path::new("/data"), 0);
        room.refresh(0);
        assert_eq!(room.check(1 << 20), Ok(()));
    }

    #[test]
    fn a_small_file_system_keeps_a_twentieth() {
        assert_eq!(Room::default_reserve(512 << 20), (512 << 20) / 20);
        assert_eq!(Room::default_reserve(1 << 40), 1 << 30);
    }
}
