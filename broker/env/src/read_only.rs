//! The machine's file systems, to look at and not to change.

use std::fs::{File as StdFile, TryLockError};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::{DirectoryEntry, Disk, File, RealDisk, Space, Volume};

/// A disk that nothing is written to: no permission to write is needed. What would change something is
/// refused with `ReadOnlyFilesystem`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOnlyDisk;

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnlyDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.list(path).map(drop).or_else(|_| refused())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        match StdFile::open(path) {
            Ok(file) => Ok(Arc::new(ReadOnlyFile(crate::real::file(file)))),
            Err(error) if create && error.kind() == io::ErrorKind::NotFound => refused(),
            Err(error) => Err(error),
        }
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn link(&self, _file: &Path, _name: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_file(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_directory(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        RealDisk.list(path)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        RealDisk.length(path)
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        RealDisk.space(directory)
    }

    fn sync_directory(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn volume(&self, directory: &Path) -> io::Result<Arc<dyn Volume>> {
        RealDisk.volume(directory)
    }

    /// Nobody holds the lock of a file that is not there.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = match StdFile::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Box::new(())),
            Err(error) => return Err(error),
        };
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

struct ReadOnlyFile(Arc<dyn File>);

impl File for ReadOnlyFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn write_vectored_at(&self, _parts: &[IoSlice<'_>], _position: u64) -> io::Result<usize> {
        refused()
    }

    fn truncate(&self, _length: u64) -> io::Result<()> {
        refused()
    }

    fn sync_data(&self) -> io::Result<()> {
        refused()
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.0.forget_cached(position)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn nothing_is_changed_and_a_held_lock_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        assert!(ReadOnlyDisk.open(&path, true).is_err());
        drop(ReadOnlyDisk.lock(&path).unwrap());
        assert!(ReadOnlyDisk.list(directory.path()).unwrap().is_empty());
        let held = RealDisk.lock(&path).unwrap();
        let error = ReadOnlyDisk.lock(&path).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(held);
        RealDisk
            .open(&path, true)
            .unwrap()
            .write_all_at(b"there", 0)
            .unwrap();
        let file = ReadOnlyDisk.open(&path, false).unwrap();
        let mut bytes = [0; 5];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!(&bytes, b"there");
        assert!(file.write_all_at(b"other", 0).is_err());
        assert!(file.truncate(0).is_err());
        assert!(ReadOnlyDisk.rename(&path, &path).is_err());
        assert!(ReadOnlyDisk.remove_file(&path).is_err());
        file.forget_cached(0).unwrap();
        assert_eq!(ReadOnlyDisk.length(&path).unwrap(), 5);
    }
}
