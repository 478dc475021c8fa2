//! A log directory without a broker, or one partition's folder in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use millstream_env::{DirectoryEntry, Disk};

use super::{Finding, FindingKind, InspectError};
use crate::partition_metadata::topic_of;
use crate::{Checkpoint, CheckpointEntry, Noted, checkpoint, names};

/// The file that a running broker holds.
const LOCK: &str = ".lock";

/// Names of partitions that an error lists.
const NAMES_MAX: usize = 10;

/// A log directory, locked.
pub struct StoppedDirectory {
    pub(super) disk: Arc<dyn Disk>,
    /// The directory with the checkpoint.
    pub root: PathBuf,
    /// Its partitions, or those that were asked for, by name.
    pub partitions: Vec<PartitionFolder>,
    /// Folders that look like a partition's that was removed, has no topic, or is on its way to this directory.
    pub skipped: Vec<PathBuf>,
    /// What is wrong with the directory itself.
    pub damage: Vec<Finding>,
    /// What the last run noted; `None` when that is not known.
    pub(super) checkpoint: Option<Checkpoint>,
    _lock: Option<Box<dyn Send + Sync>>,
}

/// One partition's folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionFolder {
    /// `<topic>-<partition>`.
    pub name: String,
    /// The partition's number.
    pub partition: i32,
    /// Where it is.
    pub directory: PathBuf,
    /// What the last run noted of it.
    pub noted: Noted,
    /// Whether the broker stopped by itself.
    pub is_clean: bool,
}

impl StoppedDirectory {
    /// Locks a log directory, or that of a partition's folder, and finds the partitions: all, or the one
    /// of a name.
    pub fn open(
        disk: Arc<dyn Disk>,
        path: &Path,
        only: Option<&str>,
    ) -> Result<StoppedDirectory, InspectError> {
        let entries = list(&*disk, path)?;
        let is_partition = entries.iter().any(is_of_partition);
        let root = match path.parent() {
            Some(parent) if is_partition => parent,
            _ => path,
        };
        let folders: Vec<PathBuf> = match is_partition {
            true => vec![path.to_owned()],
            false => entries
                .into_iter()
                .filter(|entry| entry.is_directory)
                .map(|entry| entry.path)
                .collect(),
        };
        let mut partitions = Vec::new();
        let mut skipped = Vec::new();
        for folder in folders {
            match named(&folder) {
                Some((name, partition)) => partitions.push(PartitionFolder {
                    name,
                    partition,
                    directory: folder,
                    noted: Noted::UNKNOWN,
                    is_clean: false,
                }),
                None if looks_put_aside(&folder) => skipped.push(folder),
                None => {}
            }
        }
        let has_lock = has_file(&*disk, root, LOCK);
        let has_checkpoint = has_file(&*disk, root, checkpoint::NAME);
        if partitions.is_empty() && !has_checkpoint {
            let path = path.to_owned();
            return Err(InspectError::NoPartitions { path });
        }
        // Where there is none, no broker has run; a copy of one folder is not to get a file beside it.
        let lock = match has_lock || !is_partition {
            true => Some(lock(&*disk, root)?),
            false => None,
        };
        let mut directory = StoppedDirectory {
            checkpoint: None,
            root: root.to_owned(),
            partitions,
            skipped,
            damage: Vec::new(),
            disk,
            _lock: lock,
        };
        directory.choose(only)?;
        directory.read_checkpoint(has_checkpoint)?;
        Ok(directory)
    }

    fn choose(&mut self, only: Option<&str>) -> Result<(), InspectError> {
        let Some(only) = only else { return Ok(()) };
        let known: Vec<&str> = self.partitions.iter().map(|one| &*one.name).collect();
        if !known.contains(&only) {
            let count = known.len();
            let mut text = known[..count.min(NAMES_MAX)].join(", ");
            if count > NAMES_MAX {
                text.push_str(&format!(" and {} more", count - NAMES_MAX));
            }
            return Err(InspectError::UnknownPartition {
                path: self.root.clone(),
                name: only.to_owned(),
                known: text,
            });
        }
        self.partitions.retain(|one| one.name == only);
        Ok(())
    }

    fn read_checkpoint(&mut self, is_there: bool) -> Result<(), InspectError> {
        let read = Checkpoint::read(&*self.disk, &self.root);
        self.checkpoint = read.map_err(|source| io(&self.root, source))?;
        if is_there && self.checkpoint.is_none() {
            self.damage.push(Finding {
                kind: FindingKind::File,
                path: self.root.join(checkpoint::NAME),
                position: None,
                offset: None,
                what: "it is not whole: nothing is known to have been durable".to_owned(),
            });
        }
        let Some(checkpoint) = &self.checkpoint else {
            return Ok(());
        };
        for folder in &mut self.partitions {
            let topic = topic_of(&*self.disk, &folder.directory)
                .map_err(|source| io(&folder.directory, source))?;
            let is_its = |entry: &&CheckpointEntry| {
                Some(entry.topic_id) == topic && entry.partition == folder.partition
            };
            let entry = checkpoint.entries.iter().find(is_its);
            folder.is_clean = checkpoint.is_clean;
            folder.noted = match entry {
                Some(entry) => entry.noted,
                None if topic.is_some() => Noted::default(),
                None => Noted::UNKNOWN,
            };
        }
        Ok(())
    }

    /// The disk it is on.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
}

pub(super) fn io(path: &Path, source: std::io::Error) -> InspectError {
    InspectError::Io {
        path: path.to_owned(),
        source,
    }
}

fn list(disk: &dyn Disk, path: &Path) -> Result<Vec<DirectoryEntry>, InspectError> {
    disk.list(path).map_err(|source| io(path, source))
}

fn lock(disk: &dyn Disk, root: &Path) -> Result<Box<dyn Send + Sync>, InspectError> {
    let path = root.join(LOCK);
    disk.lock(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock => InspectError::InUse {
            path: root.to_owned(),
        },
        _ => io(&path, error),
    })
}

fn has_file(disk: &dyn Disk, root: &Path, name: &str) -> bool {
    disk.open(&root.join(name), false).is_ok()
}

fn is_of_partition(entry: &DirectoryEntry) -> bool {
    entry.path.file_name() == Some("partition.metadata".as_ref())
        || names::offset_of(&entry.path, names::LOG).is_some()
}

/// The name and number of a partition's folder.
fn named(folder: &Path) -> Option<(String, i32)> {
    let name = folder.file_name()?.to_str()?;
    let (topic, number) = name.rsplit_once('-')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.parse().ok().filter(|_| is_number)?;
    (!topic.is_empty()).then(|| (name.to_owned(), number))
}

fn looks_put_aside(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str());
    let ends = ["-stray", "-delete", "-future"];
    name.is_some_and(|name| ends.iter().any(|end| name.ends_with(end)))
}
