//! Which errors say that a disk as a whole is gone, and which only that one request was refused.
//!
//! | error of a write, a truncation, a creation, a rename | what it says |
//! | --- | --- |
//! | EIO, ENXIO, ENODEV, EROFS, ESTALE, ESHUTDOWN, EUCLEAN | the file system takes nothing any more |
//! | ENOSPC, EDQUOT | there is no room now |
//! | EMFILE, ENFILE, ENOMEM, EINTR, ENOENT … | the process or the request is at fault |
//!
//! A write goes to the page cache, so EIO there is no bad sector but a file system that has given up (its
//! journal failed, its device is gone); so is EROFS where writing went well before. What was written and
//! not synced is lost then, as after a failed sync. A *read* that fails with EIO may well be one bad
//! sector, and is no reason to give up on the rest.

use std::io;

use rustix::io::Errno;

const FAILURES: [Errno; 7] = [
    Errno::IO,
    Errno::NXIO,
    Errno::NODEV,
    Errno::ROFS,
    Errno::STALE,
    Errno::SHUTDOWN,
    Errno::UCLEAN,
];

/// Whether an error of a call that changes something says that its file system has failed.
#[must_use]
pub fn is_disk_failure(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    errno.is_some_and(|errno| FAILURES.contains(&errno))
}

/// Whether an error says that there is no room, which may change.
#[must_use]
pub fn is_out_of_room(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_disk_a_full_one_and_a_busy_process_are_told_apart() {
        let of = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(FAILURES.iter().all(|errno| is_disk_failure(&of(*errno))));
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(is_out_of_room(&of(errno)), "{errno:?}");
            assert!(!is_disk_failure(&of(errno)), "{errno:?}");
        }
        for errno in [Errno::MFILE, Errno::NOMEM, Errno::NOENT, Errno::ACCESS] {
            assert!(!is_out_of_room(&of(errno)), "{errno:?}");
            assert!(!is_disk_failure(&of(errno)), "{errno:?}");
        }
        assert!(!is_disk_failure(&io::ErrorKind::WriteZero.into()));
    }
}
