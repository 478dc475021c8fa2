//! The log directories of a broker (`log.dirs`).

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_env::{Disk, SyncWork, Volume};
use millstream_log::{Checkpoint, CheckpointEntry, FlushEnd, Noted, Room};
use millstream_model::{DirectoryId, Instant, TopicId, TopicPartition};
use millstream_replica::HostedPartition;

use crate::aside::{DELETED, FUTURE, Owned};
use crate::flush_queue::{Ended, FlushQueue, Running, Taken};
use crate::moves::RunningMove;
use crate::room::DirectoryRoom;

/// One log directory.
pub struct LogDirectory {
    /// Where it is.
    pub path: PathBuf,
    /// What `meta.properties` calls it; [`DirectoryId::UNASSIGNED`] when that could not be read.
    pub(crate) id: DirectoryId,
    /// The file system it is on. `None`: it could not be opened.
    volume: Option<Arc<dyn Volume>>,
    /// What the last run noted of its partitions.
    noted: Option<BTreeMap<(TopicId, i32), Noted>>,
    flushes: Mutex<FlushQueue>,
    has_failed: AtomicBool,
    /// Why it has.
    failure: Mutex<Option<String>>,
    /// Whether its partitions have been told.
    has_retired: AtomicBool,
    pub(crate) room: DirectoryRoom,
    /// The checkpoint as it was last written.
    written: Mutex<Option<Checkpoint>>,
    /// A partition that is about to be here, which its checkpoint must know before the metadata says so.
    arriving: Mutex<Option<CheckpointEntry>>,
    /// The move to it that is under way.
    moving: Mutex<Option<RunningMove>>,
}

impl LogDirectory {
    pub(crate) fn new(
        path: PathBuf,
        id: DirectoryId,
        volume: Arc<dyn Volume>,
        noted: Option<BTreeMap<(TopicId, i32), Noted>>,
        room: Room,
    ) -> LogDirectory {
        LogDirectory {
            room: DirectoryRoom::new(room),
            volume: Some(volume),
            noted,
            ..LogDirectory::unopened(path, id)
        }
    }

    /// One that cannot be served from, for this reason.
    pub(crate) fn offline(path: PathBuf, id: DirectoryId, reason: &dyn Display) -> LogDirectory {
        let directory = LogDirectory::unopened(path, id);
        directory.fail(reason);
        directory
    }

    fn unopened(path: PathBuf, id: DirectoryId) -> LogDirectory {
        let room = Room::new(&path, 0);
        LogDirectory {
            path,
            id,
            volume: None,
            noted: None,
            flushes: Mutex::default(),
            has_failed: AtomicBool::new(false),
            failure: Mutex::default(),
            has_retired: AtomicBool::new(false),
            room: DirectoryRoom::new(room),
            written: Mutex::new(None),
            arriving: Mutex::default(),
            moving: Mutex::default(),
        }
    }

    /// The folder of a partition: `<topic>-<partition>`.
    pub(crate) fn partition_path(&self, topic: &str, partition: i32) -> PathBuf {
        partition_path(&self.path, topic, partition)
    }

    /// The folder of a partition that is on its way here.
    pub(crate) fn future_path(&self, name: &TopicPartition, id: TopicId) -> PathBuf {
        self.path.join(owned(name, &id).name(FUTURE))
    }

    /// Renames the folder of a partition to be removed. Answers its new name, which is durable once the directory
    /// is synced.
    pub(crate) fn put_aside(
        &self,
        disk: &dyn Disk,
        name: &TopicPartition,
        id: TopicId,
    ) -> io::Result<PathBuf> {
        let from = self.partition_path(&name.topic, name.partition);
        owned(name, &id).put_aside(disk, &from, DELETED)
    }

    /// What the last run noted of a partition.
    pub(crate) fn noted(&self, topic: TopicId, partition: i32) -> Noted {
        match &self.noted {
            None => Noted::UNKNOWN,
            Some(noted) => noted.get(&(topic, partition)).copied().unwrap_or_default(),
        }
    }

    pub(crate) fn moving(&self) -> MutexGuard<'_, Option<RunningMove>> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flushes(&self) -> MutexGuard<'_, FlushQueue> {
        self.flushes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a partition with unflushed bytes to those that wait for a flush round. Answers whether one
    /// must begin.
    pub(crate) fn queue(&self, partition: Arc<HostedPartition>) -> bool {
        self.flushes().push(partition)
    }

    /// Takes partitions for a round: the one that has waited longest, or all where one sync of the
    /// whole file system is cheaper, and how long the round may wait before it begins. After a failed sync
    /// there is nothing to take any more.
    pub(crate) fn take_dirty(&self, now: Instant) -> (Vec<Taken>, Duration) {
        let mut flushes = self.flushes();
        if self.has_failed() {
            flushes.clear();
        }
        flushes.take(self.whole_sync_files_min(), now)
    }

    /// A partition's part in a round has ended. Answers what may be published now.
    pub(crate) fn release(&self, taken: &Taken, ended: Ended) -> Vec<FlushEnd> {
        self.flushes()
            .release(&taken.partition, taken.ticket, ended)
    }

    /// A partition was taken that cannot be in this round. Answers what may be published now.
    pub(crate) fn put_back(&self, taken: &Taken) -> Vec<FlushEnd> {
        self.flushes().put_back(&taken.partition, taken.ticket)
    }

    /// A round begins.
    pub(crate) fn begin_round(&self) -> Running {
        self.flushes().begin_round()
    }

    /// A round had nothing to sync.
    pub(crate) fn drop_round(&self, round: Running) {
        self.flushes().drop_round(round);
    }

    /// A round has ended, and has taken so long to sync so many bytes.
    pub(crate) fn end_round(&self, round: Running, took: Duration, bytes: u64) {
        self.flushes().end_round(round, took, bytes);
    }

    /// Whether whoever appends here next does best to begin the round itself.
    pub(crate) fn is_quick(&self) -> bool {
        self.flushes().is_quick()
    }

    /// Whether partitions wait for a round.
    pub(crate) fn is_dirty(&self) -> bool {
        self.flushes().is_waiting()
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

    /// Notes a partition that is about to be here, or that none is.
    pub(crate) fn set_arriving(&self, entry: Option<CheckpointEntry>) {
        *self.arriving.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }

    /// The partition that is about to be here.
    pub(crate) fn arriving(&self) -> Option<CheckpointEntry> {
        *self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn whole_sync_files_min(&self) -> usize {
        let volume = self.volume.as_ref();
        volume.map_or(usize::MAX, |volume| volume.whole_sync_files_min())
    }

    /// Makes bytes and names durable. *Errors*: nothing in the directory is to be believed any more.
    pub(crate) fn sync(&self, work: &SyncWork) -> io::Result<()> {
        match &self.volume {
            Some(volume) => volume.sync(work),
            None => Err(io::Error::other("the log directory could not be opened")),
        }
    }

    /// Whether it failed: nothing in it is served until the broker is started again.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Takes it out of service. Its partitions are told by [`crate::Node`], once.
    pub(crate) fn fail(&self, reason: &dyn Display) {
        if self.has_failed.swap(true, Ordering::AcqRel) {
            return;
        }
        let directory = self.path.display();
        tracing::error!(%directory, %reason, "the log directory is offline until the next start");
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        *failure = Some(reason.to_string());
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> Option<String> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone()
    }

    /// Whether it failed and nobody has told its partitions yet: the caller does now.
    pub(crate) fn begin_retiring(&self) -> bool {
        self.has_failed() && !self.has_retired.swap(true, Ordering::AcqRel)
    }
}

pub(crate) fn partition_path(directory: &Path, topic: &str, partition: i32) -> PathBuf {
    directory.join(format!("{topic}-{partition}"))
}

fn owned<'a>(name: &'a TopicPartition, id: &'a TopicId) -> Owned<'a> {
    Owned {
        topic: &name.topic,
        partition: name.partition,
        owner: id,
    }
}
