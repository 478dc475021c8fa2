//! Several simulated disks, each mounted at a directory of its own, and each of which may die.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use millstream_env::sim::{SimDisk, SimFaults, SimRandom};
use millstream_env::{DirectoryEntry, Disk, File, Space, SyncWork, Volume, is_disk_failure};

pub const EIO: i32 = 5;
pub const EROFS: i32 = 30;

/// One disk.
#[derive(Clone, Default)]
pub struct Mounted {
    pub disk: SimDisk,
    /// The error of every call that changes something; 0: none.
    writes_fail: Arc<AtomicI32>,
    /// The error of every call.
    all_fails: Arc<AtomicI32>,
}

impl Mounted {
    pub fn of(disk: SimDisk) -> Mounted {
        Mounted {
            disk,
            ..Mounted::default()
        }
    }

    /// From now on every call that changes something ends in this error.
    pub fn fail_writes(&self, errno: i32) {
        self.writes_fail.store(errno, Ordering::SeqCst);
    }

    /// From now on every call ends in this error.
    pub fn fail_all(&self, errno: i32) {
        self.all_fails.store(errno, Ordering::SeqCst);
    }

    pub fn fail_next_sync(&self) {
        self.disk.set_faults(SimFaults {
            fail_next_sync: true,
            ..self.disk.faults()
        });
    }

    fn check(&self) -> io::Result<()> {
        match self.all_fails.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    fn change(&self) -> io::Result<()> {
        self.check()?;
        match self.writes_fail.load(Ordering::SeqCst) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Disks by where they are mounted.
#[derive(Clone, Default)]
pub struct Disks(BTreeMap<PathBuf, Mounted>);

impl Disks {
    pub fn at(paths: &[&str]) -> Disks {
        let mounted = paths.iter().map(|path| (path.into(), Mounted::default()));
        Disks(mounted.collect())
    }

    /// Puts another disk in the place of this one: it is empty, or one that was elsewhere before.
    pub fn replace(&mut self, path: &str, with: Mounted) -> Mounted {
        self.0.insert(path.into(), with).unwrap()
    }

    /// The process ends; disks that failed are well again.
    pub fn end_process(&self) {
        for mounted in self.0.values() {
            mounted.disk.end_process();
            mounted.fail_writes(0);
            mounted.fail_all(0);
        }
    }

    /// The power goes.
    pub fn crash(&self, random: &SimRandom) {
        for mounted in self.0.values() {
            mounted.disk.crash(random);
        }
    }

    pub fn get(&self, path: &str) -> &Mounted {
        &self.0[Path::new(path)]
    }

    /// Copies a folder with the files in it to another disk.
    pub fn copy_folder(&self, from: &str, to: &str) {
        let (source, target) = (self.of(Path::new(from)), self.of(Path::new(to)));
        target.disk.create_directory(Path::new(to)).unwrap();
        for entry in source.disk.list(Path::new(from)).unwrap() {
            let file = source.disk.open(&entry.path, false).unwrap();
            let mut bytes = vec![0; file.length().unwrap() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            let copy = Path::new(to).join(entry.path.file_name().unwrap());
            let copy = target.disk.open(&copy, true).unwrap();
            copy.write_all_at(&bytes, 0).unwrap();
        }
    }

    fn of(&self, path: &Path) -> &Mounted {
        let mounted = self.0.iter().find(|(at, _)| path.starts_with(at));
        // What lies above all of them is on the first.
        let first = self.0.values().next();
        mounted.map(|(_, mounted)| mounted).or(first).unwrap()
    }
}

impl Disk for Disks {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mounted = self.of(path);
        mounted.change()?;
        mounted.disk.create_directory(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let mounted = self.of(path).clone();
        match create && mounted.disk.length(path).is_err() {
            true => mounted.change()?,
            false => mounted.check()?,
        }
        let file = mounted.disk.open(path, create)?;
        Ok(Arc::new(MountedFile { file, mounted }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mounted = self.of(from);
        mounted.change()?;
        mounted.disk.rename(from, to)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        let mounted = self.of(file);
        mounted.change()?;
        mounted.disk.link(file, name)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mounted = self.of(path);
        mounted.change()?;
        mounted.disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mounted = self.of(path);
        mounted.change()?;
        mounted.disk.remove_directory(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mounted = self.of(path);
        mounted.check()?;
        mounted.disk.list(path)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        let mounted = self.of(path);
        mounted.check()?;
        mounted.disk.length(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        if !self.0.keys().any(|at| path.starts_with(at)) {
            // Each disk keeps the names of what lies above it.
            let mut having = self.0.values().filter(|one| one.disk.list(path).is_ok());
            return having.try_for_each(|one| one.disk.sync_directory(path));
        }
        let mounted = self.of(path);
        mounted.check()?;
        mounted.disk.sync_directory(path)
    }

    fn volume(&self, directory: &Path) -> io::Result<Arc<dyn Volume>> {
        let mounted = self.of(directory);
        mounted.check()?;
        Ok(Arc::new(mounted.clone()))
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        let mounted = self.of(directory);
        mounted.check()?;
        mounted.disk.space(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mounted = self.of(path);
        mounted.change()?;
        mounted.disk.lock(path)
    }
}

impl Volume for Mounted {
    fn whole_sync_files_min(&self) -> usize {
        self.disk.whole_sync_files_min()
    }

    fn sync(&self, work: &SyncWork) -> io::Result<()> {
        self.check()?;
        self.disk.sync(work)
    }
}

struct MountedFile {
    file: Arc<dyn File>,
    mounted: Mounted,
}

impl File for MountedFile {
    fn length(&self) -> io::Result<u64> {
        self.mounted.check()?;
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.mounted.check()?;
        self.file.read_at(buffer, position)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.mounted.change()?;
        self.file.write_vectored_at(parts, position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        match self.mounted.change() {
            Err(error) if is_disk_failure(&error) => return Err(error),
            // Cutting needs no room and no descriptor.
            _ => {}
        }
        self.file.truncate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.mounted.check()?;
        self.file.sync_data()
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.mounted.check()?;
        self.file.forget_cached(position)
    }
}
