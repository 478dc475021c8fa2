//! The queue of a slow log directory: one step at a time, by the directory's own thread.

use millstream_api::{DirectoryGates, Effect, NextStep, QueuedStep, ShardStep};
use millstream_model::Instant;

use crate::Node;

/// When [`Node::run_queue`] is to be called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueRest {
    /// At once.
    None,
    /// At this time, or when [`Effect::RunQueue`] says so.
    Until(Instant),
    /// When [`Effect::RunQueue`] says so: something is queued, or a flush round has ended.
    UntilCalled,
}

impl Node {
    /// Carries out the next step that is queued for a directory, and what is to happen after it.
    /// *Bounds*: one call at a time for a directory.
    pub fn run_queue(&self, directory: usize, effects: &mut Vec<Effect>) -> QueueRest {
        let gates = &self.broker.gates;
        let step = match gates.take_step(directory, self.now()) {
            NextStep::Step(step) => step,
            NextStep::At(at) => return QueueRest::Until(at),
            NextStep::AwaitsRound | NextStep::Nothing => return QueueRest::UntilCalled,
        };
        let _stepping = Stepping { gates, directory };
        match step {
            QueuedStep::Shard {
                shard,
                step: ShardStep::Load,
            } => effects.extend(self.load_groups_here(shard)),
            step => {
                let (now, wall) = (self.now(), self.wall_time());
                self.broker.carry_out_queued(step, now, wall, effects);
            }
        }
        QueueRest::None
    }

    /// Whether steps of a directory are queued, or it is slow.
    #[must_use]
    pub fn is_slow(&self, directory: usize) -> bool {
        self.broker.gates.is_closed(directory)
    }
}

/// A step being carried out. It ends by a panic too: the next one is another partition's.
struct Stepping<'a> {
    gates: &'a DirectoryGates,
    directory: usize,
}

impl Drop for Stepping<'_> {
    fn drop(&mut self) {
        self.gates.end_step(self.directory);
    }
}
