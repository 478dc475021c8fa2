//! Flush rounds: making a log directory's appends durable, many at a time.
//!
//! ```text
//!   queue_flush ─► waiting ──begin_flush──► FlushRound: ends, files ──sync──► end_flush: those ends are durable
//!                    ▲                                                         └─ failed: directory offline
//!                    └── what is appended to them during the round waits for the next
//! ```
//!
//! 1. A round takes its partitions' ends and all files that hold bytes below it, syncs them, and
//!    then publishes those ends, never newer ones: what is written while the sync runs may or may not
//!    be covered by it.
//! 2. A file with unflushed bytes is kept open, for closing it would lose the error of a failed
//!    write-back: the log holds it until a round takes it.
//! 3. Directories with new names are synced in the same round as the first bytes under those names. A file
//!    that replaces another gets its name between the two: its bytes are durable then.
//! 4. Appends with `acks=0` and `acks=1` are flushed by the same rounds.
//! 5. After a failed sync the directory is offline, and nothing above the ends published before is
//!    believed, now or at the next start. The same goes for a write that fails as only those of a broken
//!    file system do ([`millstream_env::is_disk_failure`]): what waited to be synced is lost with it.
//!    A full disk and a read that fails take nothing offline.
//!
//! Several rounds of a directory may run side by side, for a device syncs many files in little more time
//! than one. Which partitions they take, and what may be published when they end, `flush_queue` says.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millstream_api::Effect;
use millstream_env::SyncWork;
use millstream_log::{FlushBeside, FlushEnd, FlushWork};
use millstream_model::Instant;
use millstream_replica::HostedPartition;

use crate::flush_queue::{Ended, Running, Taken};
use crate::{LogDirectory, Node};

/// What is next: a round that may begin after a while.
pub struct NextRound {
    directory: usize,
    taken: Vec<Taken>,
    /// How long it lets batches gather first, while an earlier round of its partition is syncing.
    pub gather: Duration,
}

impl NextRound {
    /// Which log directory it is of.
    #[must_use]
    pub fn directory(&self) -> usize {
        self.directory
    }
}

/// What a round took.
pub struct FlushRound {
    directory: usize,
    running: Running,
    ends: Vec<(Taken, FlushEnd)>,
    began: Instant,
    work: SyncWork,
    /// Bytes that were appended to its partitions since the rounds before took theirs.
    bytes: u64,
}

impl Node {
    /// Adds a partition with unflushed bytes to its directory's next round. *Bounds*: only after
    /// [`HostedPartition::mark_awaits_flush`] said that it waits for none. Answers the directory if somebody
    /// must begin that round: a partition that is being synced is taken on by whoever syncs it.
    pub fn queue_flush(&self, partition: Arc<HostedPartition>) -> Option<usize> {
        let directory = partition.directory();
        self.directories[directory]
            .queue(partition)
            .then_some(directory)
    }

    /// Whether whoever appended to a partition does best to run its round itself, for that is sooner over than
    /// two threads are woken.
    #[must_use]
    pub fn flushes_quickly(&self, partition: &HostedPartition) -> bool {
        self.directories[partition.directory()].is_quick()
    }

    /// Runs flush rounds of a directory, one after the other, until nothing waits.
    pub fn flush(&self, directory: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(next) = self.next_flush(directory) {
            let Some(round) = self.begin_flush(next, &mut effects) else {
                continue;
            };
            let synced = self.sync(&round);
            self.end_flush(round, synced, &mut effects);
        }
        effects
    }

    /// Whether partitions of a directory wait for a round.
    pub fn awaits_flush(&self, directory: usize) -> bool {
        self.directories[directory].is_dirty()
    }

    /// Takes the partitions of the next round. `None` when none waits. What is appended to them until
    /// the round begins is in it.
    pub fn next_flush(&self, directory: usize) -> Option<NextRound> {
        let (taken, gather) = self.directories[directory].take_dirty(self.now());
        (!taken.is_empty()).then_some(NextRound {
            directory,
            taken,
            gather,
        })
    }

    /// Begins a round: takes the ends of partitions and what must be synced for them. `None` when
    /// none has anything to sync.
    pub fn begin_flush(&self, next: NextRound, effects: &mut Vec<Effect>) -> Option<FlushRound> {
        let directory = &self.directories[next.directory];
        let mut round = FlushRound {
            directory: next.directory,
            running: directory.begin_round(),
            ends: Vec::with_capacity(next.taken.len()),
            began: self.now(),
            work: SyncWork::default(),
            bytes: 0,
        };
        self.take_ends(&mut round, next.taken, effects);
        if round.ends.is_empty() {
            directory.drop_round(round.running);
            self.note_flushed(round.directory, round.bytes, effects);
            return None;
        }
        self.broker.gates.begin_round(round.directory, round.began);
        Some(round)
    }

    fn take_ends(&self, round: &mut FlushRound, taken: Vec<Taken>, effects: &mut Vec<Effect>) {
        let directory = &self.directories[round.directory];
        for taken in taken {
            let durable = match self.take_end(round, &taken, effects) {
                FlushBeside::Work(work) => {
                    round.work.append(work.sync);
                    round.ends.push((taken, work.end));
                    continue;
                }
                FlushBeside::Nothing => directory.release(&taken, Ended::Idle),
                FlushBeside::Wait => directory.put_back(&taken),
            };
            self.publish(&taken.partition, durable, effects);
        }
    }

    fn take_end(
        &self,
        round: &mut FlushRound,
        taken: &Taken,
        effects: &mut Vec<Effect>,
    ) -> FlushBeside {
        let partition = &taken.partition;
        let is_here = || partition.directory() == round.directory;
        // Cleared before the look at the end, so that an append after it queues the partition again.
        partition.clear_awaits_flush();
        // Of one that is gone or offline the bytes count as flushed too: nobody will flush them.
        if partition.is_deleted() {
            if is_here() {
                round.bytes += partition.take_unflushed();
            }
            return FlushBeside::Nothing;
        }
        let (work, is_offline, has_disk_failed) = match partition.lock() {
            // It has moved since it was queued: another directory's round takes it.
            Ok(_) if !is_here() => {
                if partition.mark_awaits_flush() {
                    effects.push(Effect::Flush(Arc::clone(partition)));
                }
                return FlushBeside::Nothing;
            }
            Ok(mut locked) => {
                let work = match taken.is_beside_another {
                    true => locked.begin_flush_beside(),
                    false => alone(locked.begin_flush()),
                };
                if !matches!(work, FlushBeside::Wait) {
                    round.bytes += partition.take_unflushed();
                }
                let log = locked.log();
                (work, log.is_offline(), log.has_disk_failed())
            }
            Err(_) => {
                round.bytes += partition.take_unflushed();
                return FlushBeside::Nothing;
            }
        };
        if has_disk_failed {
            let reason = format_args!("it takes no writes, first to {}", partition.name);
            self.lose_directory(partition.directory(), &reason, effects);
        }
        if is_offline {
            self.fail_partition(partition, effects);
            return FlushBeside::Nothing;
        }
        work
    }

    /// Syncs all that a round took. Holds no lock.
    pub fn sync(&self, round: &FlushRound) -> io::Result<()> {
        let directory = &self.directories[round.directory];
        let synced = directory.sync(&round.work);
        if let Err(error) = &synced {
            // A failed sync leaves unknown what of the unflushed bytes is on disk, and the kernel may have
            // marked them clean. At once: it tells one of several rounds, and the others that all is well.
            directory.fail(&format_args!("a sync failed: {error}"));
        }
        synced
    }

    /// Ends a round: publishes its ends, or takes the directory offline.
    pub fn end_flush(&self, round: FlushRound, synced: io::Result<()>, effects: &mut Vec<Effect>) {
        let gates = &self.broker.gates;
        gates.end_round(round.directory, round.began, self.now());
        let directory = &self.directories[round.directory];
        let took = self.now().since(round.began);
        directory.end_round(round.running, took, round.bytes);
        // Another round may have been told of what this one lost.
        if synced.is_err() || directory.has_failed() {
            for (taken, _) in &round.ends {
                directory.release(taken, Ended::Failed);
            }
            self.retire_failed(effects);
            return;
        }
        self.note_flushed(round.directory, round.bytes, effects);
        for (taken, end) in round.ends {
            let durable = directory.release(&taken, Ended::Synced(end));
            self.publish(&taken.partition, durable, effects);
        }
    }

    /// Publishes the ends of rounds that are durable, in their order.
    fn publish(
        &self,
        partition: &Arc<HostedPartition>,
        durable: Vec<FlushEnd>,
        effects: &mut Vec<Effect>,
    ) {
        for end in durable {
            let released = match partition.lock() {
                Ok(mut locked) => locked.handle_flushed(end),
                Err(_) => continue,
            };
            self.broker.handle_released(partition, released, effects);
        }
    }

    /// Bytes are no longer unflushed, for which the queue of the directory may have waited.
    pub(crate) fn note_flushed(&self, directory: usize, bytes: u64, effects: &mut Vec<Effect>) {
        if self.broker.gates.note_flushed(directory, bytes) {
            effects.push(Effect::RunQueue(directory));
        }
    }

    /// Takes a directory out of service, and its partitions with it.
    pub(crate) fn lose_directory(
        &self,
        directory: usize,
        reason: &dyn std::fmt::Display,
        effects: &mut Vec<Effect>,
    ) {
        self.directories[directory].fail(reason);
        self.retire_failed(effects);
    }

    /// Takes the partitions of directories that have failed since out of service.
    pub(crate) fn retire_failed(&self, effects: &mut Vec<Effect>) {
        let failed: Vec<bool> = self
            .directories
            .iter()
            .map(LogDirectory::begin_retiring)
            .collect();
        if !failed.contains(&true) {
            return;
        }
        for (directory, _) in failed.iter().enumerate().filter(|(_, failed)| **failed) {
            // What is queued need not wait for a round any more: there will be none.
            self.broker.gates.handle_failed(directory);
            effects.push(Effect::RunQueue(directory));
        }
        let view = self.broker.view();
        for topic in view.topics() {
            for partition in &topic.partitions {
                if failed.get(partition.directory()) == Some(&true) {
                    self.fail_partition(partition, effects);
                }
            }
        }
    }

    pub(crate) fn fail_partition(&self, partition: &HostedPartition, effects: &mut Vec<Effect>) {
        partition.mark_offline();
        let released = match partition.lock() {
            Ok(mut locked) => locked.handle_storage_failure(),
            Err(_) => return,
        };
        self.broker.handle_released(partition, released, effects);
        self.broker.handle_partition_lost(partition, effects);
    }
}

fn alone(work: Option<FlushWork>) -> FlushBeside {
    work.map_or(FlushBeside::Nothing, FlushBeside::Work)
}
