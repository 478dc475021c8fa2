//! Room in the log directories: asking how much there is, and what follows when it runs out or comes back.
//!
//! Records of clients are refused by their logs as long as they would take the reserve ([`Room`]); all
//! else goes on: reading, deleting, committed offsets, changes of metadata.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use millstream_api::{Effect, HostedTopic};
use millstream_env::{Disk, is_disk_failure, is_out_of_room};
use millstream_log::{NoRoom, Room};
use millstream_replica::HostedPartition;

use crate::{LogDirectory, Node};

/// The room of a directory, and whether it was said that it is short.
pub(crate) struct DirectoryRoom {
    pub room: Arc<Room>,
    is_short: AtomicBool,
}

impl DirectoryRoom {
    pub(crate) fn new(room: Room) -> DirectoryRoom {
        DirectoryRoom {
            room: Arc::new(room),
            is_short: AtomicBool::new(false),
        }
    }
}

/// Partitions that wait for room to set something aside that recovery found.
#[derive(Default)]
pub(crate) struct AwaitingCut(Mutex<Vec<Arc<HostedPartition>>>);

impl AwaitingCut {
    pub(crate) fn push(&self, partition: Arc<HostedPartition>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(partition);
    }

    fn take(&self) -> Vec<Arc<HostedPartition>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LogDirectory {
    /// Asks the file system how much room there is. Says when there is none for clients' records, and when there
    /// is again.
    pub(crate) fn refresh_room(&self, disk: &dyn Disk) -> io::Result<()> {
        let space = disk.space(&self.path)?;
        let DirectoryRoom { room, is_short } = &self.room;
        room.refresh(space.free);
        let directory = self.path.display();
        let refusal = room.check(1).err();
        let was_short = is_short.swap(refusal.is_some(), Ordering::AcqRel);
        match refusal {
            Some(NoRoom { free, reserve, .. }) if !was_short => {
                tracing::error!(
                    %directory, free, reserve,
                    "no room: producers are refused until there is more than the reserve (millstream.log.dir.reserve.bytes)"
                );
            }
            None if was_short => {
                tracing::info!(%directory, free = space.free, "room again: producers are served");
            }
            _ => {}
        }
        Ok(())
    }

    /// Why records of clients are refused, if they are.
    pub(crate) fn check_room(&self) -> Result<(), NoRoom> {
        self.room.room.check(1)
    }
}

/// How a log directory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryState {
    /// Which one.
    pub path: PathBuf,
    /// Whether its partitions are out of service until the next start.
    pub is_offline: bool,
    /// Whether writes wait in a queue of its own, for its syncs are slow.
    pub is_slow: bool,
    /// Bytes that are free, as far as is known.
    pub free_bytes: u64,
}

impl Node {
    /// Asks all file systems how much room there is, and does what waited for room. To be called every
    /// second or so, by one thread.
    pub fn refresh_room(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.ask_for_room();
        for partition in self.awaiting_cut.take() {
            if !partition.is_deleted() && !self.finish_cut(&partition, &mut effects) {
                self.awaiting_cut.push(partition);
            }
        }
        effects
    }

    /// The same without the work: after something was deleted.
    pub(crate) fn ask_for_room(&self) {
        for directory in self.directories.iter().filter(|one| !one.has_failed()) {
            if let Err(error) = directory.refresh_room(&*self.disk) {
                let directory = directory.path.display();
                tracing::warn!(%directory, %error, "how much room there is cannot be found out");
            }
        }
    }

    /// Whether nothing waits any more.
    fn finish_cut(&self, partition: &Arc<HostedPartition>, effects: &mut Vec<Effect>) -> bool {
        let Ok(mut locked) = partition.lock() else {
            return true;
        };
        let finished = locked.log_mut().finish_cut();
        drop(locked);
        let Err(error) = finished else { return true };
        if is_out_of_room(&error) {
            return false;
        }
        tracing::error!(partition = %partition.name, %error, "the end of the log cannot be cut");
        if is_disk_failure(&error) {
            self.lose_directory(partition.directory(), &error, effects);
        }
        self.fail_partition(partition, effects);
        true
    }

    /// How each log directory is, in the order of the settings.
    #[must_use]
    pub fn directory_states(&self) -> Vec<DirectoryState> {
        let states = (0..)
            .zip(&self.directories)
            .map(|(index, one)| DirectoryState {
                path: one.path.clone(),
                is_offline: one.has_failed(),
                is_slow: self.broker.gates.is_closed(index),
                free_bytes: one.room.room.free(),
            });
        states.collect()
    }

    /// The log directories without room for records of clients.
    #[must_use]
    pub fn short_directories(&self) -> Vec<NoRoom> {
        let served = self.directories.iter().filter(|one| !one.has_failed());
        served.filter_map(|one| one.check_room().err()).collect()
    }

    /// Whether a compaction may write into a partition's directory: one of a client's topic is put off while
    /// there is no room, for it writes before it removes.
    pub(crate) fn has_room_to_compact(
        &self,
        topic: &HostedTopic,
        partition: &HostedPartition,
    ) -> bool {
        let directory = self.directories.get(partition.directory());
        topic.is_internal || directory.is_none_or(|one| one.check_room().is_ok())
    }
}
