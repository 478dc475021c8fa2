//! Which partitions are to be in another log directory (AlterReplicaLogDirs, KIP-113).
//!
//! A request only notes the wish; whoever copies takes one after the other and says how far it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use millstream_model::{Offset, TopicId, TopicPartition};
use millstream_replica::HostedPartition;

/// A partition that is to be in another log directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// Its name.
    pub name: TopicPartition,
    /// The id of its topic.
    pub topic_id: TopicId,
    /// The directory that it is to be in.
    pub directory: usize,
    /// Bytes of records that are there.
    pub copied_bytes: u64,
    /// The offset up to which they are.
    pub copied_end: Offset,
}

/// The partitions that are to be in another log directory, each once.
#[derive(Debug, Default)]
pub struct Moves(Mutex<BTreeMap<(TopicId, i32), Move>>);

impl Moves {
    /// Notes where a partition is to be: what was asked for last. Where it is already, nothing is left to do.
    /// Answers whether there is.
    pub fn ask(&self, partition: &HostedPartition, directory: usize) -> bool {
        let key = (partition.topic_id, partition.name.partition);
        let mut all = self.lock();
        if partition.directory() == directory {
            all.remove(&key);
            return false;
        }
        if all
            .get(&key)
            .is_none_or(|known| known.directory != directory)
        {
            let wish = Move {
                name: partition.name.clone(),
                topic_id: partition.topic_id,
                directory,
                copied_bytes: 0,
                copied_end: Offset::ZERO,
            };
            all.insert(key, wish);
        }
        true
    }

    /// The first of those to a directory.
    #[must_use]
    pub fn first_to(&self, directory: usize) -> Option<Move> {
        let all = self.lock();
        all.values()
            .find(|wish| wish.directory == directory)
            .cloned()
    }

    /// Whether this is wanted still.
    #[must_use]
    pub fn is_wanted(&self, topic_id: TopicId, partition: i32, directory: usize) -> bool {
        let all = self.lock();
        let known = all.get(&(topic_id, partition));
        known.is_some_and(|known| known.directory == directory)
    }

    /// Says how far a copy is.
    pub fn note_copied(&self, topic_id: TopicId, partition: i32, bytes: u64, end: Offset) {
        if let Some(known) = self.lock().get_mut(&(topic_id, partition)) {
            known.copied_bytes = bytes;
            known.copied_end = end;
        }
    }

    /// It cannot be done.
    pub fn end(&self, topic_id: TopicId, partition: i32, directory: usize) {
        let mut all = self.lock();
        let key = (topic_id, partition);
        if all
            .get(&key)
            .is_some_and(|known| known.directory == directory)
        {
            all.remove(&key);
        }
    }

    /// A partition was moved to the directory that it is in now. Whoever asked for the one that it was in, too
    /// late to end this move, has it moved back. Answers whether it is.
    pub fn end_done(&self, partition: &HostedPartition, old: usize) -> bool {
        let key = (partition.topic_id, partition.name.partition);
        let known = self.lock().remove(&key);
        self.ask(partition, known.map_or(old, |known| known.directory))
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Move> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TopicId, i32), Move>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
