//! The seams: what a core may ask of the machine. Each has a real and a simulated side, and one
//! contract test runs against both.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_model::{Instant, WallTime};

use crate::SyncWork;

/// Reads the two clocks.
pub trait Clock: Send + Sync {
    /// The monotonic clock, for timers.
    fn now(&self) -> Instant;
    /// The wall clock, for records.
    fn wall_time(&self) -> WallTime;
}

/// A source of random bits: the operating system's, or a seed's.
pub trait Random: Send + Sync {
    /// 64 uniformly distributed bits.
    fn next_u64(&self) -> u64;
}

/// A file system, as far as a log needs one.
///
/// A created, renamed or removed name is durable only after [`Disk::sync_directory`] of its parent.
pub trait Disk: Send + Sync {
    /// Creates a directory and its missing parents. No error when it exists.
    fn create_directory(&self, path: &Path) -> io::Result<()>;
    /// Opens a file for reading and writing, creating an empty one where `create` allows it.
    /// *Errors*: `NotFound` when it is absent and `create` is false.
    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>>;
    /// Renames a file or directory, replacing a file of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second name, so that it stays when the first goes to another. *Errors*: `NotFound`;
    /// `AlreadyExists`; or the file system knows no second names.
    fn link(&self, file: &Path, name: &Path) -> io::Result<()>;
    /// Removes a file. *Errors*: `NotFound`.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all it holds.
    fn remove_directory(&self, path: &Path) -> io::Result<()>;
    /// Lists a directory's entries, sorted by name. *Errors*: `NotFound`.
    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>>;
    /// The length of a file in bytes, without opening it. *Errors*: `NotFound`.
    fn length(&self, path: &Path) -> io::Result<u64>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
    /// The file system that a directory is on.
    fn volume(&self, directory: &Path) -> io::Result<Arc<dyn Volume>>;
    /// How much room the file system of a directory has for this process.
    fn space(&self, directory: &Path) -> io::Result<Space>;
    /// Takes the exclusive lock of a file, creating it. The lock ends when the guard is dropped or
    /// the process dies. *Errors*: `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>>;
}

/// The file system of a log directory, to sync much of it at once.
pub trait Volume: Send + Sync {
    /// From how many files on [`Volume::sync`] syncs the file system as a whole: fewer are better
    /// given to it one by one, side by side. `usize::MAX`: never.
    fn whole_sync_files_min(&self) -> usize;
    /// Carries out all of this work. After an error none of it may be believed.
    fn sync(&self, work: &SyncWork) -> io::Result<()>;
}

/// The room of a file system. *Units*: bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// What programs without privileges may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Its path: the directory's joined with its name.
    pub path: PathBuf,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// An open file. Positions are explicit: there is no cursor.
pub trait File: Send + Sync {
    /// Its length in bytes.
    fn length(&self) -> io::Result<u64>;
    /// Reads up to `buffer.len()` bytes from `position`; fewer only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes up to the whole of `parts` at `position` and answers how many bytes it wrote. A short
    /// write is not an error: the caller decides.
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize>;
    /// Reads as [`File::read_at`] does, for a reader that comes once: what the page cache did not hold, it
    /// does not hold afterwards.
    fn read_once_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buffer, position)
    }
    /// Cuts or extends the file to `length` bytes.
    fn truncate(&self, length: u64) -> io::Result<()>;
    /// Makes all written bytes and the length durable (`fdatasync`). After an error nothing written
    /// since the last success may be believed, and the call is never repeated.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes later reads from `position` on see what the disk holds. Bytes of a write-back that failed
    /// under an earlier process stand in the page cache, marked clean, and are on no disk: what is
    /// dirty is written first, then the cache is dropped. The length stays as it is; what the disk
    /// does not hold reads as zeros. *Errors*: those of [`File::sync_data`].
    fn forget_cached(&self, position: u64) -> io::Result<()>;

    /// Writes the whole of `bytes`, going on after short writes. *Errors*: `WriteZero` when the file
    /// takes no more.
    fn write_all_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            let part = [IoSlice::new(&bytes[written..])];
            match self.write_vectored_at(&part, position + written as u64)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => written += count,
            }
        }
        Ok(())
    }

    /// Fills `buffer` from `position`. *Errors*: `UnexpectedEof` when the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        match self.read_at(buffer, position)? {
            count if count == buffer.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
