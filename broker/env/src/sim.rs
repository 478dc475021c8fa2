//! A simulated machine: everything that happens is decided by its seed.
//!
//! **The disk.** A write is visible at once and durable after [`File::sync_data`]; a name is visible
//! at once and durable after [`Disk::sync_directory`] of its parent. [`SimDisk::crash`] loses what is
//! not durable, in the ways real disks do: each unsynced write is kept, lost or torn on its own, so a
//! later one may survive an earlier one; a file may have its new length and zeros where the data
//! should be; an unsynced name may be there or not. After a failed sync the unsynced writes are lost,
//! although they read back until a crash or [`File::forget_cached`] (as Linux marks failed pages
//! clean), and no later sync brings them back.
//!
//! ```text
//!   durable bytes ──sync──◄── pending writes (in order) ──► what readers see
//!                              └─ at a crash: kept | lost | torn, each by the seed
//! ```

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_model::{Instant, WallTime};

use crate::{Clock, DirectoryEntry, Disk, File, Random, Volume};

/// Disks write whole sectors: a torn write ends at a multiple of this in the file.
const SECTOR: u64 = 512;

/// Clocks that stand still until they are moved.
pub struct SimClock {
    now: AtomicU64,
    wall_start: i64,
}

impl SimClock {
    /// Both clocks begin here: the monotonic one at 0, the wall clock at `wall_start`.
    #[must_use]
    pub fn new(wall_start: WallTime) -> SimClock {
        SimClock {
            now: AtomicU64::new(0),
            wall_start: wall_start.0,
        }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: std::time::Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::SeqCst))
    }

    fn wall_time(&self) -> WallTime {
        let millis = self.now.load(Ordering::SeqCst) / 1_000_000;
        WallTime(self.wall_start + millis as i64)
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose by.
pub struct SimRandom {
    state: AtomicU64,
}

impl SimRandom {
    /// Begins the sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> SimRandom {
        SimRandom {
            state: AtomicU64::new(seed),
        }
    }

    /// A number below `bound`. *Bounds*: `bound` > 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True in `percent` of 100 calls.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for SimRandom {
    fn next_u64(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .state
            .fetch_add(GOLDEN, Ordering::SeqCst)
            .wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

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
}

/// A file system in memory.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<DiskState>>,
}

#[derive(Default)]
struct DiskState {
    /// Names as programs see them.
    names: BTreeMap<PathBuf, Node>,
    /// Names that survive a crash for certain, with what they name.
    durable_names: BTreeMap<PathBuf, Node>,
    faults: SimFaults,
    operations: u64,
    /// Counts crashes: handles and locks of an earlier life are dead.
    life: u64,
    locks: BTreeMap<PathBuf, u64>,
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<Mutex<FileState>>),
}

#[derive(Default)]
struct FileState {
    durable: Vec<u8>,
    visible: Vec<u8>,
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Truncate(u64),
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Truncate(length) => bytes.resize(*length as usize, 0),
        Change::Write {
            position,
            bytes: written,
        } => {
            let start = *position as usize;
            let end = start + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(written);
        }
    }
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

    /// A disk with the same content, whose later changes are its own.
    #[must_use]
    pub fn copy(&self) -> SimDisk {
        let state = lock(&self.state);
        let names = state.names.iter().map(|(path, node)| {
            let node = match node {
                Node::Directory => Node::Directory,
                Node::File(file) => {
                    let bytes = lock(file).visible.clone();
                    Node::File(Arc::new(Mutex::new(FileState {
                        durable: bytes.clone(),
                        visible: bytes,
                        pending: Vec::new(),
                    })))
                }
            };
            (path.clone(), node)
        });
        let names: BTreeMap<PathBuf, Node> = names.collect();
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
            Node::File(file) => Some((path.clone(), lock(file).visible.len() as u64)),
        });
        files.collect()
    }

    /// Flips one bit of a file, durably: what a bad disk does.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) {
        let state = lock(&self.state);
        if let Some(Node::File(file)) = state.names.get(path) {
            lock(file).flip(position as usize, 1 << (bit & 7));
        }
    }

    /// A clean stop of the process: all handles and locks end, the page cache stays.
    pub fn end_process(&self) {
        let mut state = lock(&self.state);
        state.life += 1;
        state.locks.clear();
    }

    /// The power goes: what is not durable is kept, lost or torn as `random` says. All handles and
    /// locks end.
    pub fn crash(&self, random: &SimRandom) {
        let mut state = lock(&self.state);
        state.life += 1;
        state.locks.clear();
        let mut survived = state.durable_names.clone();
        let paths: Vec<PathBuf> = state
            .names
            .keys()
            .chain(state.durable_names.keys())
            .cloned()
            .collect();
        for path in paths {
            let seen = state.names.get(&path).cloned();
            if !same(seen.as_ref(), survived.get(&path)) && random.chance(50) {
                match seen {
                    Some(node) => survived.insert(path, node),
                    None => survived.remove(&path),
                };
            }
        }
        // A name whose parent did not survive is gone with it.
        let names: Vec<PathBuf> = survived.keys().cloned().collect();
        for path in names {
            let parent = path
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty());
            if parent
                .is_some_and(|parent| parent != Path::new("/") && !survived.contains_key(parent))
            {
                survived.remove(&path);
            }
        }
        let mut seen_files: Vec<*const Mutex<FileState>> = Vec::new();
        for node in survived.values() {
            let Node::File(file) = node else { continue };
            if !seen_files.contains(&Arc::as_ptr(file)) {
                seen_files.push(Arc::as_ptr(file));
                lock(file).crash(random);
            }
        }
        state.names = survived.clone();
        state.durable_names = survived;
        state.faults = SimFaults {
            syncs_do_nothing: state.faults.syncs_do_nothing,
            ..SimFaults::default()
        };
    }

    fn change(&self) -> MutexGuard<'_, DiskState> {
        let mut state = lock(&self.state);
        state.operations += 1;
        state
    }
}

fn same(a: Option<&Node>, b: Option<&Node>) -> bool {
    match (a, b) {
        (None, None) | (Some(Node::Directory), Some(Node::Directory)) => true,
        (Some(Node::File(a)), Some(Node::File(b))) => Arc::ptr_eq(a, b),
        _ => false,
    }
}

impl FileState {
    /// In what is seen, what is durable, and what the next sync would write.
    fn flip(&mut self, at: usize, mask: u8) {
        let flip = |bytes: &mut [u8], at: usize| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        };
        flip(&mut self.visible, at);
        flip(&mut self.durable, at);
        for change in &mut self.pending {
            if let Change::Write { position, bytes } = change
                && let Some(at) = at.checked_sub(*position as usize)
            {
                flip(bytes, at);
            }
        }
    }

    fn crash(&mut self, random: &SimRandom) {
        for change in std::mem::take(&mut self.pending) {
            match random.below(4) {
                0 | 1 => apply(&mut self.durable, &change),
                2 => {}
                _ => apply(&mut self.durable, &torn(change, random)),
            }
        }
        self.visible = self.durable.clone();
    }
}

/// Part of a write: a prefix up to a sector's end, or the new length with zeros.
fn torn(change: Change, random: &SimRandom) -> Change {
    let Change::Write { position, bytes } = change else {
        return change;
    };
    if random.chance(30) {
        let zeros = vec![0; bytes.len()];
        return Change::Write {
            position,
            bytes: zeros,
        };
    }
    let end = position + random.below(bytes.len() as u64 + 1);
    let end = if random.chance(50) {
        end / SECTOR * SECTOR
    } else {
        end
    };
    let keep = end.saturating_sub(position) as usize;
    Change::Write {
        position,
        bytes: bytes[..keep].to_vec(),
    }
}

impl Disk for SimDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        let mut state = self.change();
        for ancestor in path
            .ancestors()
            .filter(|ancestor| !ancestor.as_os_str().is_empty())
        {
            if let Some(Node::File(_)) = state.names.get(ancestor) {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            state
                .names
                .entry(ancestor.to_owned())
                .or_insert(Node::Directory);
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
                let parent = path.parent().unwrap_or(Path::new(""));
                if !matches!(state.names.get(parent), Some(Node::Directory)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let file = Arc::default();
                state
                    .names
                    .insert(path.to_owned(), Node::File(Arc::clone(&file)));
                file
            }
        };
        Ok(Arc::new(SimFile {
            file,
            disk: self.clone(),
            life: state.life,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let moved: Vec<PathBuf> = state
            .names
            .keys()
            .filter(|path| path.starts_with(from))
            .cloned()
            .collect();
        for path in moved {
            let rest = path.strip_prefix(from).map_err(io::Error::other)?;
            let target = if rest.as_os_str().is_empty() {
                to.to_owned()
            } else {
                to.join(rest)
            };
            if let Some(node) = state.names.remove(&path) {
                // What was durable below a directory moves with it once the move is durable.
                if let Some(durable) = state.durable_names.get(&path).cloned()
                    && !rest.as_os_str().is_empty()
                {
                    state.durable_names.insert(target.clone(), durable);
                }
                state.names.insert(target, node);
            }
        }
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
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.names.retain(|name, _| !name.starts_with(path));
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let state = lock(&self.state);
        if !matches!(state.names.get(path), Some(Node::Directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let children = state
            .names
            .iter()
            .filter(|(name, _)| name.parent() == Some(path));
        let entries = children.map(|(name, node)| DirectoryEntry {
            path: name.clone(),
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
        let mut state = self.change();
        if !matches!(state.names.get(path), Some(Node::Directory)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if std::mem::take(&mut state.faults.fail_next_sync) {
            return Err(io::Error::other("simulated sync failure"));
        }
        if state.faults.syncs_do_nothing {
            return Ok(());
        }
        let is_child = |name: &Path| name.parent() == Some(path);
        let children: Vec<(PathBuf, Node)> = state
            .names
            .iter()
            .filter(|(name, _)| is_child(name))
            .map(|(name, node)| (name.clone(), node.clone()))
            .collect();
        // What was renamed or removed here is durably gone, with all below it.
        let gone: Vec<PathBuf> = state
            .durable_names
            .keys()
            .filter(|name| is_child(name) && !state.names.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            state
                .durable_names
                .retain(|other, _| !other.starts_with(&name));
        }
        state.durable_names.extend(children);
        // A synced directory is itself reached by name on every file system that matters here only
        // after its own parent was synced; its ancestors are left as they are.
        if let Some(node) = state.names.get(path).cloned()
            && path
                .parent()
                .is_none_or(|parent| parent.as_os_str().is_empty())
        {
            state.durable_names.insert(path.to_owned(), node);
        }
        Ok(())
    }

    fn volume(&self, _directory: &Path) -> io::Result<Arc<dyn Volume>> {
        Ok(Arc::new(self.clone()))
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

    fn sync(&self, files: &[Arc<dyn File>], directories: &[PathBuf]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync_data())?;
        directories
            .iter()
            .try_for_each(|directory| self.sync_directory(directory))
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

struct SimFile {
    file: Arc<Mutex<FileState>>,
    disk: SimDisk,
    life: u64,
}

impl SimFile {
    /// A handle of a process that ended does nothing any more.
    fn check_life(&self, state: &DiskState) -> io::Result<()> {
        if state.life == self.life {
            Ok(())
        } else {
            Err(io::Error::other("process has ended"))
        }
    }
}

impl File for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.file).visible.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let file = lock(&self.file);
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(file.visible.len());
        let there = &file.visible[start..];
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut state = self.disk.change();
        self.check_life(&state)?;
        if bytes.len() > 1 && std::mem::take(&mut state.faults.short_next_write) {
            bytes.truncate(bytes.len() / 2);
        }
        if let Some(room) = &mut state.faults.room {
            if *room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(usize::try_from(*room).unwrap_or(usize::MAX));
            *room -= bytes.len() as u64;
        }
        drop(state);
        let count = bytes.len();
        let change = Change::Write { position, bytes };
        let mut file = lock(&self.file);
        apply(&mut file.visible, &change);
        file.pending.push(change);
        Ok(count)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let state = self.disk.change();
        self.check_life(&state)?;
        drop(state);
        let change = Change::Truncate(length);
        let mut file = lock(&self.file);
        apply(&mut file.visible, &change);
        file.pending.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.change();
        self.check_life(&state)?;
        let fails = std::mem::take(&mut state.faults.fail_next_sync);
        let lies = state.faults.syncs_do_nothing;
        drop(state);
        let mut file = lock(&self.file);
        if fails {
            // The pages are marked clean: a later sync has nothing to write.
            file.pending.clear();
            return Err(io::Error::other("simulated sync failure"));
        }
        if !lies {
            // Only what is dirty is written: the bytes of a failed sync are clean, and stay lost.
            let file = &mut *file;
            for change in file.pending.drain(..) {
                apply(&mut file.durable, &change);
            }
        }
        Ok(())
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.sync_data()?;
        let mut file = lock(&self.file);
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        // What waits for a sync that lies is dirty still, and dirty pages are not dropped.
        let mut on_disk = file.durable.clone();
        for change in &file.pending {
            apply(&mut on_disk, change);
        }
        on_disk.resize(file.visible.len(), 0);
        if start < on_disk.len() {
            file.visible[start..].copy_from_slice(&on_disk[start..]);
        }
        Ok(())
    }
}
