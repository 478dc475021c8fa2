//! A partition as the rest of the broker holds it: its names beside the lock around it.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, TryLockError};

use millstream_model::{TopicId, TopicPartition};

use crate::Partition;

/// A partition this broker hosts. The lock is held for one step and never across a wait.
pub struct HostedPartition {
    /// Its name.
    pub name: TopicPartition,
    /// The id of its topic.
    pub topic_id: TopicId,
    /// Which log directory it lies in. Changes under the lock.
    directory: AtomicUsize,
    /// `None` when its log could not be opened.
    partition: Option<Mutex<Partition>>,
    is_offline: AtomicBool,
    awaits_flush: AtomicBool,
    /// Bytes that were appended and that no flush round has taken.
    unflushed_bytes: AtomicU64,
    is_deleted: AtomicBool,
    /// Whether a compaction pass has files of it in hand. Begins under the lock.
    is_compacted: AtomicBool,
}

/// The partition could not be opened, or failed, and takes no requests until the next start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionOffline;

impl HostedPartition {
    /// Wraps an opened partition.
    #[must_use]
    pub fn new(
        name: TopicPartition,
        topic_id: TopicId,
        directory: usize,
        partition: Partition,
    ) -> HostedPartition {
        HostedPartition {
            partition: Some(Mutex::new(partition)),
            is_offline: AtomicBool::new(false),
            ..HostedPartition::offline(name, topic_id, directory)
        }
    }

    /// Stands for a partition whose log is not there or could not be opened: it exists and takes no requests.
    #[must_use]
    pub fn offline(name: TopicPartition, topic_id: TopicId, directory: usize) -> HostedPartition {
        HostedPartition {
            name,
            topic_id,
            directory: AtomicUsize::new(directory),
            partition: None,
            is_offline: AtomicBool::new(true),
            awaits_flush: AtomicBool::new(false),
            unflushed_bytes: AtomicU64::new(0),
            is_deleted: AtomicBool::new(false),
            is_compacted: AtomicBool::new(false),
        }
    }

    /// Which log directory it lies in, counted from 0. Past the last one: in none that is there. Without
    /// the lock it may be in another one by the time that the answer is used.
    #[must_use]
    pub fn directory(&self) -> usize {
        self.directory.load(Ordering::Acquire)
    }

    /// Notes that its log goes on in another directory. *Bounds*: only under the lock.
    pub fn set_directory(&self, directory: usize) {
        self.directory.store(directory, Ordering::Release);
    }

    /// Notes that a compaction pass begins, under the lock, or has ended.
    pub fn note_compaction(&self, is_compacted: bool) {
        self.is_compacted.store(is_compacted, Ordering::Release);
    }

    /// Whether a compaction pass has files of it in hand.
    #[must_use]
    pub fn is_compacted(&self) -> bool {
        self.is_compacted.load(Ordering::Acquire)
    }

    /// Takes the partition's lock. *Errors*: its log could not be opened, or a panic under the lock
    /// left the state unknown. The partition is out of service then; the others go on.
    pub fn lock(&self) -> Result<MutexGuard<'_, Partition>, PartitionOffline> {
        let partition = self.partition.as_ref().ok_or(PartitionOffline)?;
        partition.lock().map_err(|_| PartitionOffline)
    }

    /// As [`HostedPartition::lock`], but does not wait: `None` when somebody has the lock.
    pub fn try_lock(&self) -> Option<Result<MutexGuard<'_, Partition>, PartitionOffline>> {
        let Some(partition) = &self.partition else {
            return Some(Err(PartitionOffline));
        };
        match partition.try_lock() {
            Ok(locked) => Some(Ok(locked)),
            Err(TryLockError::Poisoned(_)) => Some(Err(PartitionOffline)),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Notes that it takes no requests until the next start.
    pub fn mark_offline(&self) {
        self.is_offline.store(true, Ordering::Release);
    }

    /// Whether it takes no requests until the next start. Takes no lock.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        let is_poisoned = self.partition.as_ref().is_some_and(Mutex::is_poisoned);
        is_poisoned || self.is_offline.load(Ordering::Acquire)
    }

    /// Counts bytes that were appended.
    pub fn note_unflushed(&self, bytes: u64) {
        self.unflushed_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Takes the count of bytes that were appended since it was taken last.
    pub fn take_unflushed(&self) -> u64 {
        self.unflushed_bytes.swap(0, Ordering::AcqRel)
    }

    /// Notes that the partition has unflushed bytes. Answers whether this is news, so that each
    /// partition stands in its directory's list of dirty ones once.
    pub fn mark_awaits_flush(&self) -> bool {
        !self.awaits_flush.swap(true, Ordering::AcqRel)
    }

    /// Notes that a flush round takes the partition now. Must come before the round reads the log's
    /// end: bytes appended after it queue the partition again.
    pub fn clear_awaits_flush(&self) {
        self.awaits_flush.store(false, Ordering::Release);
    }

    /// Notes that its topic is gone: a flush of it has nothing left to do.
    pub fn mark_deleted(&self) {
        self.is_deleted.store(true, Ordering::Release);
    }

    /// Whether its topic is gone.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }
}
