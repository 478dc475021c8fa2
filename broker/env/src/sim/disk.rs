//! The simulated file system: names, faults, crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::file::{FileState, SimFile};
use super::names::{Names, Node};
use super::{SimClock, SimCounts, SimRandom};
use crate::{DirectoryEntry, Disk, File, Space, SyncWork, Volume};

/// Bytes of the disk, as it says.
const SIZE: u64 = 1 << 40;
/// Bytes of a file's name.
const NAME_MAX: usize = 255;

/// Faults to come. Each is used up when it strikes.
#[derive(Clone, Copy, Debug, Default)]
pub struct SimFaults {
    /// The next sync fails, and what it should have made durable is lost at the next crash.
    pub fail_next_sync: bool,
    /// Bytes that may still be written before the disk is full.
    pub room: Option<u64>,
    /// The next write takes only half of its bytes.
    pub short_next_write: bool,
    /// A disk that lies: syncs succeed and make nothing durable. For planted mutants.
    pub syncs_do_nothing: bool,
    /// A slow disk: each write and each sync takes so long, by the clock that the disk was given.
    pub slow: Option<Duration>,
    /// Of the reads that are not to wait one of so many finds nothing in the page cache; 0: none.
    pub cold_every: u64,
}

/// A file system in memory.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Default)]
pub(super) struct DiskState {
    /// Names as programs see them.
    names: Names,
    /// Names that survive a crash for certain, with what they name.
    durable_names: Names,
    pub faults: SimFaults,
    pub counts: SimCounts,
    /// Below it no sync succeeds.
    broken: Option<PathBuf>,
    /// What a sync or a write failed of, in whole or in part, in this life.
    failed: BTreeSet<PathBuf>,
    clock: Option<Arc<SimClock>>,
    operations: u64,
    bytes_read: u64,
    /// Reads that were not to wait.
    cached_reads: u64,
    /// Counts crashes: handles and locks of an earlier life are dead.
    pub life: u64,
    locks: BTreeMap<PathBuf, u64>,
}

impl DiskState {
    /// A write or a sync takes its time.
    pub(super) fn pass_time(&self) {
        if let (Some(clock), Some(slow)) = (&self.clock, self.faults.slow) {
            clock.advance(slow);
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk {
            state: Arc::new(Mutex::new(DiskState::default())),
        }
    }
}

impl SimDisk {
    /// Sets the faults to come.
    pub fn set_faults(&self, faults: SimFaults) {
        lock(&self.state).faults = faults;
    }

    /// Gives the disk the clock that its time passes by.
    pub fn set_clock(&self, clock: Arc<SimClock>) {
        lock(&self.state).clock = Some(clock);
    }

    /// The faults still to come.
    #[must_use]
    pub fn faults(&self) -> SimFaults {
        lock(&self.state).faults
    }

    /// How many calls changed or synced something.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.state).operations
    }

    /// How many bytes were read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        lock(&self.state).bytes_read
    }

    /// How often each kind of fault struck.
    #[must_use]
    pub fn counts(&self) -> SimCounts {
        lock(&self.state).counts
    }

    /// From now on every sync below this directory fails, until a crash, a clean end or another call.
    pub fn break_below(&self, directory: Option<&Path>) {
        lock(&self.state).broken = directory.map(Path::to_owned);
    }

    /// Whether a sync failed, or a write was refused or cut short, below this directory since the process
    /// began.
    #[must_use]
    pub fn has_failed_below(&self, directory: &Path) -> bool {
        let state = lock(&self.state);
        state.failed.iter().any(|path| path.starts_with(directory))
    }

    /// A disk with the same content, whose later changes are its own.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        self.copy_of(Path::new(""))
    }

    /// A disk with one directory, what is below it and what is above it, whose later changes are its own.
    #[must_use]
    pub fn copy_of(&self, directory: &Path) -> SimDisk {
        let state = lock(&self.state);
        let is_copied = |path: &Path| path.starts_with(directory) || directory.starts_with(path);
        let mut names = Names::default();
        for (path, node) in state.names.iter().filter(|(path, _)| is_copied(path)) {
            let node = match node {
                Node::Directory => Node::Directory,
                Node::File(file) => {
                    let bytes = Arc::clone(&lock(file).visible);
                    Node::File(Arc::new(Mutex::new(FileState::clean(bytes))))
                }
            };
            names.insert(path, node);
        }
        SimDisk {
            state: Arc::new(Mutex::new(DiskState {
                durable_names: names.clone(),
                names,
                ..DiskState::default()
            })),
        }
    }

    /// All files with their lengths, by path.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let state = lock(&self.state);
        let files = state.names.iter().filter_map(|(path, node)| match node {
            Node::Directory => None,
            Node::File(file) => Some((path.to_owned(), lock(file).visible.len() as u64)),
        });
        files.collect()
    }

    /// The bytes of a file, as readers see them.
    #[must_use]
    pub fn read(&self, path: &Path) -> Vec<u8> {
        let state = lock(&self.state);
        match state.names.get(path) {
            Some(Node::File(file)) => lock(file).visible.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Flips one bit of a file, durably: what a bad disk does.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) {
        let mut state = lock(&self.state);
        state.counts.flips += 1;
        if let Some(Node::File(file)) = state.names.get(path) {
            lock(file).flip(position as usize, 1 << (bit & 7));
        }
    }

    /// Flips one bit of a file on the disk only: the page cache hides it, as long as it lasts.
    pub fn flip_cold_bit(&self, path: &Path, position: u64, bit: u8) {
        let mut state = lock(&self.state);
        state.counts.flips += 1;
        if let Some(Node::File(file)) = state.names.get(path) {
            lock(file).flip_durable(position as usize, 1 << (bit & 7));
        }
    }

    /// Takes a write that waits for a sync, at most a sector of it, away from where it belongs.
    pub fn take_pending(&self, random: &SimRandom) -> Option<Vec<u8>> {
        let state = lock(&self.state);
        let files = state.names.iter().filter_map(|(_, node)| match node {
            Node::File(file) if lock(file).has_pending_write() => Some(Arc::clone(file)),
            _ => None,
        });
        let files: Vec<_> = files.collect();
        if files.is_empty() {
            return None;
        }
        let chosen = random.below(files.len() as u64) as usize;
        lock(&files[chosen]).take_pending(random)
    }

    /// Bytes land in a file although they were meant for another place.
    pub fn misdirect(&self, path: &Path, position: u64, bytes: &[u8]) {
        let mut state = lock(&self.state);
        state.counts.misdirected_writes += 1;
        if let Some(Node::File(file)) = state.names.get(path) {
            lock(file).overwrite(position, bytes);
        }
    }

    /// A clean stop of the process: all handles and locks end, the page cache stays.
    pub fn end_process(&self) {
        lock(&self.state).end_life();
    }

    /// The power goes: what is not durable is kept, lost or torn as `random` says. All handles and
    /// locks end.
    pub fn crash(&self, random: &SimRandom) {
        let state = &mut *lock(&self.state);
        state.end_life();
        let mut survived = state.durable_names.clone();
        for path in state.names.changed_from(&state.durable_names) {
            if random.chance(50) {
                match state.names.get(&path).cloned() {
                    Some(node) => survived.insert(&path, node),
                    None => survived.remove(&path),
                };
            }
        }
        survived.drop_orphans();
        let mut crashed = BTreeSet::new();
        for (_, node) in survived.iter() {
            if let Node::File(file) = node
                && crashed.insert(Arc::as_ptr(file))
            {
                lock(file).crash(random, &mut state.counts);
            }
        }
        state.names = survived.clone();
        state.durable_names = survived;
        state.faults = SimFaults {
            syncs_do_nothing: state.faults.syncs_do_nothing,
            ..SimFaults::default()
        };
    }

    /// Whether the next read that is not to wait for the disk would have to.
    pub(super) fn is_next_read_cold(&self) -> bool {
        let mut state = lock(&self.state);
        state.cached_reads += 1;
        // Scattered, so that no reader meets one at each try.
        let scattered = state.cached_reads.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let is_cold = scattered.checked_rem(state.faults.cold_every) == Some(0);
        state.counts.cold_reads += u64::from(is_cold);
        is_cold
    }

    pub(super) fn note_read(&self, bytes: usize) {
        lock(&self.state).bytes_read += bytes as u64;
    }

    pub(super) fn change(&self) -> MutexGuard<'_, DiskState> {
        let mut state = lock(&self.state);
        state.operations += 1;
        state
    }
}

impl DiskState {
    fn end_life(&mut self) {
        self.life += 1;
        self.locks.clear();
        self.broken = None;
        self.failed.clear();
    }

    /// Whether a sync of this path is to fail.
    pub(super) fn fails_sync(&mut self, path: &Path) -> bool {
        let is_broken = |broken: &PathBuf| path.starts_with(broken);
        let fails = std::mem::take(&mut self.faults.fail_next_sync)
            || self.broken.as_ref().is_some_and(is_broken);
        if fails {
            self.counts.failed_syncs += 1;
            self.failed.insert(path.to_owned());
        }
        fails
    }

    /// How many of so many bytes a write takes. *Errors*: the disk is full.
    pub(super) fn take_room(&mut self, path: &Path, bytes: usize) -> io::Result<usize> {
        let mut taken = bytes;
        if bytes > 1 && std::mem::take(&mut self.faults.short_next_write) {
            self.counts.short_writes += 1;
            taken = bytes / 2;
        }
        if let Some(room) = &mut self.faults.room {
            if *room == 0 {
                self.counts.refused_writes += 1;
                self.failed.insert(path.to_owned());
                return Err(io::ErrorKind::StorageFull.into());
            }
            taken = taken.min(usize::try_from(*room).unwrap_or(usize::MAX));
            *room -= taken as u64;
        }
        if taken < bytes {
            self.failed.insert(path.to_owned());
        }
        Ok(taken)
    }
}

impl Disk for SimDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        check_name(path)?;
        let mut state = self.change();
        for ancestor in path
            .ancestors()
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
        {
            if let Some(Node::File(_)) = state.names.get(ancestor) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            if state.names.get(ancestor).is_none() {
                state.names.insert(ancestor, Node::Directory);
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let mut state = self.change();
        let file = match state.names.get(path) {
            Some(Node::File(file)) => Arc::clone(file),
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            None if !create => return Err(io::ErrorKind::NotFound.into()),
            None => {
                check_name(path)?;
                let parent = path.parent().unwrap_or(Path::new(""));
                if !matches!(state.names.get(parent), Some(Node::Directory)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let file = Arc::default();
                state.names.insert(path, Node::File(Arc::clone(&file)));
                file
            }
        };
        let failures_told = AtomicU64::new(lock(&file).failed_syncs);
        Ok(Arc::new(SimFile {
            file,
            failures_told,
            path: path.to_owned(),
            disk: self.clone(),
            life: state.life,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        check_name(to)?;
        let state = &mut *self.change();
        if !state.names.below(to).is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let Some(node) = state.names.remove(from) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        state.names.insert(to, node);
        for path in state.names.below(from) {
            let rest = path.strip_prefix(from).map_err(io::Error::other)?;
            let target = to.join(rest);
            if let Some(node) = state.names.remove(&path) {
                state.names.insert(&target, node);
            }
            // What was durable below a directory moves with it once the move is durable.
            if let Some(durable) = state.durable_names.get(&path).cloned() {
                state.durable_names.insert(&target, durable);
            }
        }
        Ok(())
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        check_name(name)?;
        let mut state = self.change();
        if state.names.get(name).is_some() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match state.names.get(file).cloned() {
            Some(node @ Node::File(_)) => state.names.insert(name, node),
            Some(Node::Directory) => return Err(io::ErrorKind::PermissionDenied.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change();
        match state.names.get(path) {
            Some(Node::File(_)) => state.names.remove(path),
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(())
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change();
        match state.names.remove_all(path) {
            true => Ok(()),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let state = lock(&self.state);
        if !matches!(state.names.get(path), Some(Node::Directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let children = state.names.children(path).into_iter();
        let entries = children.map(|(path, node)| DirectoryEntry {
            path,
            is_directory: matches!(node, Node::Directory),
        });
        Ok(entries.collect())
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        match lock(&self.state).names.get(path) {
            Some(Node::File(file)) => Ok(lock(file).visible.len() as u64),
            Some(Node::Directory) => Ok(0),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.change();
        let Some(node @ Node::Directory) = state.names.get(path).cloned() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        if state.fails_sync(path) {
            return Err(io::Error::other("simulated sync failure"));
        }
        if state.faults.syncs_do_nothing {
            return Ok(());
        }
        let children = state.names.children(path);
        // What was renamed or removed here is durably gone, with all below it.
        for (name, _) in state.durable_names.children(path) {
            if state.names.get(&name).is_none() {
                state.durable_names.remove_all(&name);
            }
        }
        for (name, child) in children {
            state.durable_names.insert(&name, child);
        }
        // A synced directory is itself reached by name on every file system that matters here only
        // after its own parent was synced; its ancestors are left as they are.
        if path
            .parent()
            .is_none_or(|parent| parent.as_os_str().is_empty())
        {
            state.durable_names.insert(path, node);
        }
        Ok(())
    }

    fn volume(&self, _directory: &Path) -> io::Result<Arc<dyn Volume>> {
        Ok(Arc::new(self.clone()))
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        self.list(directory)?;
        let room = lock(&self.state).faults.room;
        Ok(Space {
            free: room.unwrap_or(SIZE),
            total: SIZE,
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        self.open(path, true)?;
        let mut state = lock(&self.state);
        if state.locks.contains_key(path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let life = state.life;
        state.locks.insert(path.to_owned(), life);
        Ok(Box::new(SimLock {
            disk: self.clone(),
            path: path.to_owned(),
            life,
        }))
    }
}

impl Volume for SimDisk {
    fn whole_sync_files_min(&self) -> usize {
        3
    }

    fn sync(&self, work: &SyncWork) -> io::Result<()> {
        work.carry_out(self)
    }
}

struct SimLock {
    disk: SimDisk,
    path: PathBuf,
    life: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut state = lock(&self.disk.state);
        if state.locks.get(&self.path) == Some(&self.life) {
            state.locks.remove(&self.path);
        }
    }
}

/// Refuses names that no file system takes.
fn check_name(path: &Path) -> io::Result<()> {
    match path.file_name().is_some_and(|name| name.len() > NAME_MAX) {
        true => Err(io::ErrorKind::InvalidFilename.into()),
        false => Ok(()),
    }
}
