//! The simulated file system: names, faults, crashes.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SimRandom;
use super::file::{FileState, SimFile};
use crate::{DirectoryEntry, Disk, File, Space, Volume};

/// Bytes of the disk, as it says.
const SIZE: u64 = 1 << 40;

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
pub(super) struct DiskState {
    /// Names as programs see them.
    names: BTreeMap<PathBuf, Node>,
    /// Names that survive a crash for certain, with what they name.
    durable_names: BTreeMap<PathBuf, Node>,
    pub faults: SimFaults,
    operations: u64,
    /// Counts crashes: handles and locks of an earlier life are dead.
    pub life: u64,
    locks: BTreeMap<PathBuf, u64>,
}

#[derive(Clone)]
enum Node {
    Directory,
    File(Arc<Mutex<FileState>>),
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
        self.copy_of(Path::new(""))
    }

    /// A disk with one directory, what is below it and what is above it, whose later changes are its own.
    #[must_use]
    pub fn copy_of(&self, directory: &Path) -> SimDisk {
        let state = lock(&self.state);
        let is_copied = |path: &Path| path.starts_with(directory) || directory.starts_with(path);
        let copied = state.names.iter().filter(|(path, _)| is_copied(path));
        let names = copied.map(|(path, node)| {
            let node = match node {
                Node::Directory => Node::Directory,
                Node::File(file) => {
                    let bytes = Arc::clone(&lock(file).visible);
                    Node::File(Arc::new(Mutex::new(FileState {
                        durable: Arc::clone(&bytes),
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

    pub(super) fn change(&self) -> MutexGuard<'_, DiskState> {
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
