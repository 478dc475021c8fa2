//! A disk whose power goes after so many operations: all that follow fail and do nothing.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_env::sim::SimDisk;
use millstream_env::{DirectoryEntry, Disk, File, Space, Volume};

#[derive(Clone)]
pub struct FailingDisk {
    disk: SimDisk,
    left: Arc<AtomicU64>,
}

impl FailingDisk {
    pub fn new(disk: SimDisk) -> FailingDisk {
        let left = Arc::new(AtomicU64::new(u64::MAX));
        FailingDisk { disk, left }
    }

    /// From now on so many operations that change or sync something succeed.
    pub fn fail_after(&self, operations: u64) {
        self.left.store(operations, Ordering::SeqCst);
    }

    fn change(&self) -> io::Result<()> {
        let take = |left: u64| left.checked_sub(1);
        let taken = self
            .left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::other("the power is gone")),
        }
    }
}

impl Disk for FailingDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.create_directory(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        if create {
            self.change()?;
        }
        let file = self.disk.open(path, create)?;
        let disk = self.clone();
        Ok(Arc::new(FailingFile { file, disk }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.rename(from, to)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.link(file, name)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.remove_directory(path)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        self.disk.length(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.disk.list(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        self.disk.sync_directory(path)
    }

    fn volume(&self, directory: &Path) -> io::Result<Arc<dyn Volume>> {
        self.disk.volume(directory)
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        self.disk.space(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.disk.lock(path)
    }
}

struct FailingFile {
    file: Arc<dyn File>,
    disk: FailingDisk,
}

impl File for FailingFile {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.disk.change()?;
        self.file.write_vectored_at(parts, position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.truncate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change()?;
        self.file.sync_data()
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.disk.change()?;
        self.file.forget_cached(position)
    }
}

/// The paths of a directory's files.
pub fn names(disk: &dyn Disk, directory: &Path) -> Vec<PathBuf> {
    let entries = disk.list(directory).unwrap_or_default();
    entries.into_iter().map(|entry| entry.path).collect()
}
