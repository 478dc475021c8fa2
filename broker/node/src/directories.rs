//! The log directories of a broker (`log.dirs`).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_env::{Disk, Volume};
use millstream_log::{Checkpoint, Noted};
use millstream_model::TopicId;
use millstream_replica::HostedPartition;

/// One log directory.
pub struct LogDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// The file system it is on.
    pub(crate) volume: Arc<dyn Volume>,
    /// What the last run noted of its partitions.
    noted: Option<BTreeMap<(TopicId, i32), Noted>>,
    dirty: Mutex<Dirty>,
    has_failed: AtomicBool,
    /// The checkpoint as it was last written.
    written: Mutex<Option<Checkpoint>>,
}

impl LogDirectory {
    pub(crate) fn new(
        path: PathBuf,
        volume: Arc<dyn Volume>,
        noted: Option<BTreeMap<(TopicId, i32), Noted>>,
    ) -> LogDirectory {
        LogDirectory {
            path,
            volume,
            noted,
            dirty: Mutex::default(),
            has_failed: AtomicBool::new(false),
            written: Mutex::new(None),
        }
    }

    /// The folder of a partition: `<topic>-<partition>`.
    pub(crate) fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        partition_path(&self.path, topic, partition)
    }

    /// What the last run noted of a partition.
    pub(crate) fn noted(&self, topic: TopicId, partition: i32) -> Noted {
        match &self.noted {
            None => Noted::UNKNOWN,
            Some(noted) => noted.get(&(topic, partition)).copied().unwrap_or_default(),
        }
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a partition with unflushed bytes to those that wait for a flush round. Answers whether it
    /// waits for one to begin; otherwise it is in one, whose end takes it to the next.
    pub(crate) fn queue(&self, partition: Arc<HostedPartition>) -> bool {
        let mut dirty = self.dirty();
        match dirty.in_flight.get_mut(&key(&partition)) {
            Some(is_dirty_again) => {
                *is_dirty_again = true;
                false
            }
            None => {
                dirty.waiting.push_back(partition);
                true
            }
        }
    }

    /// Takes partitions for a round: the one that has waited longest, or all where one sync of the
    /// whole file system is cheaper. They are in flight until [`LogDirectory::release`]. After a failed
    /// sync there is nothing to take any more.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<HostedPartition>> {
        let mut dirty = self.dirty();
        if self.has_failed() {
            dirty.waiting.clear();
        }
        let count = match dirty.waiting.len() {
            all if all >= self.volume.whole_sync_files_min() => all,
            some => some.min(1),
        };
        let taken: Vec<_> = dirty.waiting.drain(..count).collect();
        for partition in &taken {
            dirty.in_flight.insert(key(partition), false);
        }
        taken
    }

    /// A round with this partition has ended: what was appended meanwhile waits for the next.
    pub(crate) fn release(&self, partition: &Arc<HostedPartition>) {
        let mut dirty = self.dirty();
        if dirty.in_flight.remove(&key(partition)) == Some(true) {
            dirty.waiting.push_back(Arc::clone(partition));
        }
    }

    /// Whether partitions wait for a round.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty().waiting.is_empty()
    }

    /// Writes what the next start needs to know, if it is not what was written last. It is gathered under
    /// the lock, so that what is older is never written over what is newer.
    pub(crate) fn write_checkpoint(
        &self,
        disk: &dyn Disk,
        gather: impl FnOnce() -> Checkpoint,
    ) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let new = gather();
        if written.as_ref() == Some(&new) {
            return Ok(());
        }
        new.write(disk, &self.path)?;
        *written = Some(new);
        Ok(())
    }

    /// Whether a sync failed here: nothing in it is served until the broker is started again.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    pub(crate) fn mark_failed(&self) {
        self.has_failed.store(true, Ordering::Release);
    }
}

/// Partitions with unflushed bytes, each in one place once.
#[derive(Default)]
struct Dirty {
    waiting: VecDeque<Arc<HostedPartition>>,
    /// In a round that syncs, and whether it was appended to since. A second round would publish an
    /// end whose earlier bytes the first is still syncing.
    in_flight: BTreeMap<(TopicId, i32), bool>,
}

fn key(partition: &HostedPartition) -> (TopicId, i32) {
    (partition.topic_id, partition.name.partition)
}

pub(crate) fn partition_path(directory: &Path, topic: &str, partition: i32) -> PathBuf {
    directory.join(format!("{topic}-{partition}"))
}
