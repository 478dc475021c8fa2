//! Moving partitions to other log directories (KIP-113), one at a time to each.
//!
//! ```text
//!   copy to <topic>-<partition>.<id>-future ─► lock ─► the rest, synced ─► checkpoint of the new directory
//!        a piece at a time, no lock                                             │
//!   go on in the new directory ◄─ rename -future ◄─ rename the old to -delete ◄─┴─ metadata: it lives there
//! ```
//!
//! The metadata decides. A crash before its record leaves the old partition and a copy that the start removes
//! (and begins anew); one after it leaves a copy that is whole, and the start ends the move
//! ([`crate::unfinished_moves`]). Nothing is appended between the record and the end, so nothing is lost
//! whichever of the two directories is found. Where the old folder cannot be put away, for its disk fails, the
//! new one says where it came from: a start that meets both knows which is older.
//!
//! Clients notice a moment's wait. Producers' batches that were queued for the old directory, while it was slow,
//! are refused with NOT_LEADER_OR_FOLLOWER and sent again.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};

use millstream_api::{Effect, Move};
use millstream_env::is_disk_failure;
use millstream_log::{CheckpointEntry, CopyError, LogCopy, forget_moved_from, topic_of};
use millstream_metadata::{DirectoryAssignment, OFFSETS_TOPIC, Record};
use millstream_model::{TopicId, TopicPartition};
use millstream_quorum::ProposeError;
use millstream_replica::{HostedPartition, Partition};

use crate::{LogDirectory, Node};

/// What a step of the moves did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveStep {
    /// There is nothing to do.
    Idle,
    /// So many bytes were copied, or a move has ended.
    Worked {
        /// The bytes.
        bytes: u64,
    },
    /// Somebody else is at work on the partition: again in a while.
    Wait,
}

/// The move that is under way.
pub(crate) struct RunningMove {
    wanted: Move,
    partition: Arc<HostedPartition>,
    copy: LogCopy,
}

/// Why a move has ended without success.
#[derive(Debug, thiserror::Error)]
enum MoveError {
    #[error("it is offline, or its topic was deleted")]
    Gone,
    #[error("another move of it ended meanwhile")]
    Overtaken,
    #[error("bytes that its start cut off wait to be set aside: free room in its log directory")]
    AwaitsCut,
    #[error("the log directory is offline")]
    DirectoryFailed,
    #[error("it needs {needed} bytes, and {free} are free above the reserve of {reserve}")]
    NoRoom {
        needed: u64,
        free: u64,
        reserve: u64,
    },
    #[error("{} is there, and nobody knows whose it is: move it away", .0.display())]
    Occupied(PathBuf),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the metadata log does not take it: {0}")]
    Refused(ProposeError),
}

impl Node {
    /// Does a piece of the work on moves to a log directory. To be called by one thread for each directory.
    pub fn move_step(&self, directory: usize, effects: &mut Vec<Effect>) -> MoveStep {
        let mut running = self.directories[directory].moving();
        let one = match running.take() {
            Some(one) if self.is_wanted(&one.wanted) => one,
            Some(one) => {
                one.copy.abandon();
                return MoveStep::Worked { bytes: 0 };
            }
            None => {
                let wanted = self.broker.moves.first_to(directory);
                let Some(wanted) = wanted.filter(|_| self.may_tidy()) else {
                    return MoveStep::Idle;
                };
                match self.begin_move(wanted.clone()) {
                    Ok(Some(one)) => one,
                    Ok(None) => return self.end_move(&wanted),
                    Err(error) => return self.give_up(&wanted, None, error, effects),
                }
            }
        };
        let mut one = one;
        match self.go_on(&mut one, effects) {
            Ok(Progress::Copied(bytes)) => {
                *running = Some(one);
                MoveStep::Worked { bytes }
            }
            Ok(Progress::Wait) => {
                *running = Some(one);
                MoveStep::Wait
            }
            Ok(Progress::Done { old }) => {
                if self.broker.moves.end_done(&one.partition, old) {
                    effects.push(Effect::MovePartitions);
                }
                MoveStep::Worked { bytes: 0 }
            }
            Err(MoveError::Overtaken) => {
                one.copy.abandon();
                MoveStep::Worked { bytes: 0 }
            }
            Err(error) => {
                let wanted = one.wanted.clone();
                self.give_up(&wanted, Some(one), error, effects)
            }
        }
    }

    fn is_wanted(&self, wanted: &Move) -> bool {
        let partition = wanted.name.partition;
        let moves = &self.broker.moves;
        moves.is_wanted(wanted.topic_id, partition, wanted.directory)
    }

    fn end_move(&self, wanted: &Move) -> MoveStep {
        let partition = wanted.name.partition;
        let moves = &self.broker.moves;
        moves.end(wanted.topic_id, partition, wanted.directory);
        MoveStep::Worked { bytes: 0 }
    }

    /// A move cannot go on: the partition stays where it is.
    fn give_up(
        &self,
        wanted: &Move,
        running: Option<RunningMove>,
        error: MoveError,
        effects: &mut Vec<Effect>,
    ) -> MoveStep {
        let to = self.directories[wanted.directory].path.display();
        tracing::error!(partition = %wanted.name, %to, %error, "partition is not moved");
        if let Some(running) = running {
            running.copy.abandon();
        }
        match &error {
            MoveError::Copy(CopyError::Sync { .. }) => {
                self.lose_directory(wanted.directory, &error, effects);
            }
            MoveError::Copy(CopyError::Write { source, .. }) | MoveError::Io(source)
                if is_disk_failure(source) =>
            {
                self.lose_directory(wanted.directory, &error, effects);
            }
            _ => {}
        }
        self.end_move(wanted)
    }

    /// `None`: there is nothing to do.
    fn begin_move(&self, wanted: Move) -> Result<Option<RunningMove>, MoveError> {
        let target = &self.directories[wanted.directory];
        if target.has_failed() {
            return Err(MoveError::DirectoryFailed);
        }
        let view = self.broker.view();
        let topic = view.topic_by_id(wanted.topic_id).ok_or(MoveError::Gone)?;
        let partition = topic.partition(wanted.name.partition);
        let partition = Arc::clone(partition.ok_or(MoveError::Gone)?);
        if partition.directory() == wanted.directory {
            return Ok(None);
        }
        let locked = in_service(&partition)?;
        let (plan, needed) = (locked.log().copy_plan(), locked.log().size_in_bytes());
        let from = locked.log().place().directory.clone();
        drop(locked);
        let (free, reserve) = (
            self.disk.space(&target.path)?.free,
            target.room.room.reserve(),
        );
        if needed.saturating_add(reserve) > free {
            let free = free.saturating_sub(reserve);
            return Err(MoveError::NoRoom {
                needed,
                free,
                reserve,
            });
        }
        let to = target.future_path(&partition.name, partition.topic_id);
        tracing::info!(partition = %partition.name, to = %target.path.display(), bytes = needed, "partition is being moved");
        let copy = LogCopy::begin(Arc::clone(&self.disk), &from, &to, &plan)?;
        Ok(Some(RunningMove {
            wanted,
            partition,
            copy,
        }))
    }

    fn go_on(
        &self,
        one: &mut RunningMove,
        effects: &mut Vec<Effect>,
    ) -> Result<Progress, MoveError> {
        if self.directories[one.wanted.directory].has_failed() {
            return Err(MoveError::DirectoryFailed);
        }
        let plan = still_there(&one.partition, &one.copy)?.log().copy_plan();
        let bytes_max = self.config.move_bytes_max;
        let bytes = one.copy.step(&plan, bytes_max)?;
        let (key, index) = (one.wanted.topic_id, one.wanted.name.partition);
        let (copied, end) = (one.copy.bytes(), one.copy.end(&plan));
        self.broker.moves.note_copied(key, index, copied, end);
        if bytes > 0 && !one.copy.is_nearly_done(&plan, bytes_max) {
            return Ok(Progress::Copied(bytes));
        }
        one.copy.sync()?;
        self.finish_move(one, effects)
    }

    /// The end of a move. The partition stands still meanwhile, and so does the metadata.
    fn finish_move(
        &self,
        one: &mut RunningMove,
        effects: &mut Vec<Effect>,
    ) -> Result<Progress, MoveError> {
        let mut owner = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = Arc::clone(&one.partition);
        let began = self.now();
        let mut locked = still_there(&partition, &one.copy)?;
        let (old, new) = (partition.directory(), one.wanted.directory);
        let is_group_log = &*partition.name.topic == OFFSETS_TOPIC;
        // Nobody on the network is to wait for a slow disk. What is queued for a slow directory is refused once
        // the partition has left it, which groups would not survive.
        let is_slow = self.is_slow(new) || (is_group_log && self.is_slow(old));
        if partition.is_compacted() || is_slow {
            return Ok(Progress::Wait);
        }
        if !self.is_wanted(&one.wanted) {
            // The next step sees to it.
            return Ok(Progress::Wait);
        }
        let target = &self.directories[new];
        let from = locked.log().place().directory.clone();
        let prepared = locked.log_mut().prepare_close();
        prepared.map_err(|source| CopyError::Read { path: from, source })?;
        self.clear_place(&partition, target)?;
        let id = self.directories[old].id;
        one.copy.finish(&locked.log().copy_plan(), id)?;
        let synced = self.disk.sync_directory(&target.path);
        synced.map_err(|source| CopyError::Sync {
            path: target.path.clone(),
            source,
        })?;
        let (topic_id, index) = (partition.topic_id, partition.name.partition);
        target.set_arriving(Some(CheckpointEntry {
            topic_id,
            partition: index,
            noted: locked.log().noted_of_copy(),
        }));
        let _arriving = Arriving(target);
        let before = Arc::clone(&self.broker.view());
        let topic = before.topic_by_id(topic_id).ok_or(MoveError::Gone)?;
        let delay_ms = topic.config.file_delete_delay_ms;
        self.write_checkpoint(&before, new, false)?;

        let assignment = DirectoryAssignment {
            topic_id,
            partition: index,
            directory: target.id,
        };
        let node = self.config.node_id;
        let records =
            owner
                .controller
                .decide_assign_directories(&before.image, node, &[assignment]);
        let encoded: Vec<_> = records.iter().map(Record::encode).collect();
        match owner.quorum.propose(&encoded) {
            Ok(_) => {}
            Err(error @ ProposeError::Failed { .. }) => {
                // Nobody knows whether the record is there. What is appended from now on must not be missed by a
                // start that finds it: without the copy it says that the partition is not where it belongs.
                if let Err(error) = self.forget_copy(one, target) {
                    tracing::error!(partition = %partition.name, %error, "partition is offline until the next start: nobody knows where it lives");
                    partition.mark_offline();
                    let released = locked.handle_storage_failure();
                    drop(locked);
                    self.broker.handle_released(&partition, released, effects);
                    self.broker.handle_partition_lost(&partition, effects);
                }
                return Err(MoveError::Refused(error));
            }
            Err(error) => return Err(MoveError::Refused(error)),
        }
        let (image, _) = (before.image.apply(&records)).expect("a record of our own applies");
        let view = before.changed(Arc::new(image), owner.log(), &[], Vec::new());
        self.broker.publish(view);

        let directory = target.partition_path(&partition.name.topic, index);
        let away = self.put_away(&partition.name, topic_id, old);
        let renamed = self
            .disk
            .rename(one.copy.directory(), &directory)
            .and_then(|()| self.disk.sync_directory(&target.path));
        if away.is_ok()
            && let Err(error) = forget_moved_from(&*self.disk, &directory)
        {
            tracing::debug!(path = %directory.display(), %error, "it is said still that the partition was moved");
        }
        locked
            .log_mut()
            .relocate(directory, Arc::clone(&target.room.room));
        partition.set_directory(new);
        // What was appended is synced in the new directory.
        let bytes = partition.take_unflushed();
        let released = locked.handle_relocated();
        drop(locked);
        drop(owner);
        let stood_still = self.now().since(began);
        self.note_flushed(old, bytes, effects);
        if let Err(error) = renamed {
            let reason = format_args!("a partition that was moved there has not its name: {error}");
            self.lose_directory(new, &reason, effects);
        }
        // The old directory may have failed.
        self.retire_failed(effects);
        self.broker.handle_released(&partition, released, effects);
        match away {
            Ok(away) => self.remove_later(vec![away], true, delay_ms),
            Err(error) => {
                tracing::warn!(partition = %partition.name, %error, "the old files of a partition that was moved are left to the next start");
            }
        }
        let to = target.path.display();
        tracing::info!(partition = %partition.name, %to, ?stood_still, "partition was moved");
        self.ask_for_room();
        Ok(Progress::Done { old })
    }

    /// Renames the folder of a partition that lives in another directory, to be removed. Answers its new name.
    pub(crate) fn put_away(
        &self,
        name: &TopicPartition,
        id: TopicId,
        directory: usize,
    ) -> io::Result<PathBuf> {
        let directory = &self.directories[directory];
        let away = directory.put_aside(&*self.disk, name, id)?;
        let synced = self.disk.sync_directory(&directory.path);
        synced.inspect_err(|error| directory.fail(&format_args!("a sync failed: {error}")))?;
        Ok(away)
    }

    /// Takes away what an earlier move could not put away where the partition is to be now.
    fn clear_place(
        &self,
        partition: &HostedPartition,
        target: &LogDirectory,
    ) -> Result<(), MoveError> {
        let (name, id) = (&partition.name, partition.topic_id);
        let place = target.partition_path(&name.topic, name.partition);
        match self.disk.list(&place) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => {}
        }
        if topic_of(&*self.disk, &place)? != Some(id) {
            return Err(MoveError::Occupied(place));
        }
        let away = target.put_aside(&*self.disk, name, id)?;
        self.remove_unread(vec![away]);
        Ok(())
    }

    /// Removes a copy so that no start finds it.
    fn forget_copy(&self, one: &RunningMove, target: &LogDirectory) -> io::Result<()> {
        self.disk.remove_directory(one.copy.directory())?;
        self.disk.sync_directory(&target.path)
    }
}

/// How far a step came.
enum Progress {
    Copied(u64),
    Wait,
    /// It was in this directory.
    Done {
        old: usize,
    },
}

/// A directory that knows of an arriving partition, until its end.
struct Arriving<'a>(&'a LogDirectory);

impl Drop for Arriving<'_> {
    fn drop(&mut self) {
        self.0.set_arriving(None);
    }
}

fn in_service(partition: &HostedPartition) -> Result<MutexGuard<'_, Partition>, MoveError> {
    if partition.is_deleted() || partition.is_offline() {
        return Err(MoveError::Gone);
    }
    let locked = partition.lock().map_err(|_| MoveError::Gone)?;
    match locked.is_offline() || locked.log().is_offline() {
        true => Err(MoveError::Gone),
        false if locked.log().awaits_cut() => Err(MoveError::AwaitsCut),
        false => Ok(locked),
    }
}

/// The same where a copy is being made of it, from where it was.
fn still_there<'a>(
    partition: &'a HostedPartition,
    copy: &LogCopy,
) -> Result<MutexGuard<'a, Partition>, MoveError> {
    let locked = in_service(partition)?;
    match locked.log().place().directory == copy.source() {
        true => Ok(locked),
        false => Err(MoveError::Overtaken),
    }
}
