//! The log directories of a broker (`log.dirs`).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use millstream_env::Disk;
use millstream_log::{Checkpoint, Noted};
use millstream_model::TopicId;
use millstream_replica::HostedPartition;

/// One log directory.
pub struct LogDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// What the last run noted of its partitions.
    noted: Option<BTreeMap<(TopicId, i32), Noted>>,
    /// Partitions with unflushed bytes, each once.
    dirty: Mutex<Vec<Arc<HostedPartition>>>,
    has_failed: AtomicBool,
    /// The checkpoint as it was last written.
    written: Mutex<Option<Checkpoint>>,
}

impl LogDirectory {
    pub(crate) fn new(
        path: PathBuf,
        noted: Option<BTreeMap<(TopicId, i32), Noted>>,
    ) -> LogDirectory {
        LogDirectory {
            path,
            noted,
            dirty: Mutex::new(Vec::new()),
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

    /// Adds a partition to the next flush round.
    pub(crate) fn queue(&self, partition: Arc<HostedPartition>) {
        self.dirty
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(partition);
    }

    /// Takes the partitions of the next flush round.
    pub(crate) fn take_dirty(&self) -> Vec<Arc<HostedPartition>> {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Writes what the next start needs to know, if it is not what was written last.
    pub(crate) fn write_checkpoint(&self, disk: &dyn Disk, new: Checkpoint) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
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

pub(crate) fn partition_path(directory: &Path, topic: &str, partition: i32) -> PathBuf {
    directory.join(format!("{topic}-{partition}"))
}
