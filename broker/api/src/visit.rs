//! The partitions that one step looks at, without waiting for a slow disk.

use std::sync::{Arc, MutexGuard};

use millstream_replica::{HostedPartition, Partition, PartitionOffline};

use crate::directory_gate::Entered;
use crate::queued::QueuedStep;
use crate::{Broker, Context};

/// One step among partitions. Locks are to be dropped before it is.
pub(crate) struct Visit<'a> {
    broker: &'a Broker,
    /// The directories asked for, and the leave to wait for locks there, if it was given.
    entered: Vec<(usize, Option<Entered<'a>>)>,
    has_met_busy: bool,
}

impl<'a> Visit<'a> {
    pub(crate) fn new(broker: &'a Broker) -> Visit<'a> {
        Visit {
            broker,
            entered: Vec::new(),
            has_met_busy: false,
        }
    }

    /// Takes a partition's lock. `None`: somebody is busy there, and the disk may be why.
    pub(crate) fn lock<'p>(
        &mut self,
        partition: &'p HostedPartition,
    ) -> Option<Result<MutexGuard<'p, Partition>, PartitionOffline>> {
        if self.may_wait_in(partition.directory()) {
            return Some(partition.lock());
        }
        let locked = partition.try_lock();
        self.has_met_busy |= locked.is_none();
        locked
    }

    /// Has the thread of a busy partition's directory take a long poll out of what waits there.
    pub(crate) fn unpark_later(&self, partition: &Arc<HostedPartition>, context: &mut Context<'_>) {
        let step = QueuedStep::Unpark {
            partition: Arc::clone(partition),
            token: context.token,
        };
        let queued = self
            .broker
            .queue(partition.directory(), step, context.effects);
        debug_assert!(queued.is_ok(), "it needs no room");
    }

    /// Whether a partition was busy since this was asked last.
    pub(crate) fn take_met_busy(&mut self) -> bool {
        std::mem::take(&mut self.has_met_busy)
    }

    /// The directory of one of these partitions in which the step must not wait, if there is one.
    pub(crate) fn find_slow<'p>(
        &mut self,
        mut partitions: impl Iterator<Item = &'p Arc<HostedPartition>>,
    ) -> Option<usize> {
        partitions.find_map(|partition| {
            let directory = partition.directory();
            (!self.may_wait_in(directory)).then_some(directory)
        })
    }

    /// Whether the step may wait for locks of this directory's partitions.
    pub(crate) fn may_wait_in(&mut self, directory: usize) -> bool {
        if let Some((_, entered)) = self.entered.iter().find(|(one, _)| *one == directory) {
            return entered.is_some();
        }
        let entered = self.broker.gates.enter(directory);
        let may_wait = entered.is_some();
        self.entered.push((directory, entered));
        may_wait
    }
}
