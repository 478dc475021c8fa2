//! Which partitions of a log directory wait for a flush round, and which are in one.
//!
//! On a disk that syncs quickly a partition is in one round at a time, and what is appended to it
//! meanwhile gathers for its next: group commit. Where a sync takes milliseconds, that makes a batch wait
//! for a sync that it is too late for before its own begins. There a partition may be in a few rounds
//! side by side. Their ends are published in the order in which the rounds began: a later round says
//! nothing of what an earlier one is still syncing, and after one that failed nothing is published.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millstream_log::FlushEnd;
use millstream_model::TopicId;
use millstream_replica::HostedPartition;

/// Rounds of one partition at a time on a disk that syncs slowly.
const ROUNDS_MAX: usize = 4;
/// From here on a sync is slow: a few times what another one costs the processor.
const SLOW_SYNC: Duration = Duration::from_millis(2);
/// Of how many rounds the last ones are the mean of.
const MEMORY: u32 = 8;

type Key = (TopicId, i32);

/// The partitions of a log directory with unflushed bytes.
#[derive(Default)]
pub(crate) struct FlushQueue {
    waiting: VecDeque<Arc<HostedPartition>>,
    in_rounds: BTreeMap<Key, Rounds>,
    /// A moving mean of how long a round takes to sync.
    usual: Duration,
}

/// A partition that a round takes.
pub(crate) struct Taken {
    pub(crate) partition: Arc<HostedPartition>,
    /// Which of the partition's rounds under way this is.
    pub(crate) ticket: Ticket,
    /// Whether an earlier round of the partition is still syncing.
    pub(crate) is_beside_another: bool,
}

/// The place of a round among those of its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// How a partition's part in a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It is durable up to here.
    Synced(FlushEnd),
    /// There was nothing to sync, or it was not begun.
    Idle,
    /// The sync failed.
    Failed,
}

/// The rounds that a partition is in.
#[derive(Default)]
struct Rounds {
    /// The ticket of the first of `ends`.
    first: u64,
    /// In the order in which they began; `None` while they run.
    ends: VecDeque<Option<Ended>>,
    /// It was appended to since, and waits until it may be in another round.
    is_dirty: bool,
}

impl FlushQueue {
    /// Adds a partition with unflushed bytes. Answers whether it waits for a round to begin; otherwise it
    /// is in as many as it may be, and the end of one takes it to the next.
    pub(crate) fn push(&mut self, partition: Arc<HostedPartition>) -> bool {
        let rounds_max = self.rounds_max();
        match self.in_rounds.get_mut(&key(&partition)) {
            Some(rounds) if rounds.ends.len() >= rounds_max => {
                rounds.is_dirty = true;
                false
            }
            _ => {
                self.waiting.push_back(partition);
                true
            }
        }
    }

    /// Takes partitions for a round: the one that has waited longest, or all if they are as many as
    /// `all_from`.
    pub(crate) fn take(&mut self, all_from: usize) -> Vec<Taken> {
        let count = match self.waiting.len() {
            all if all >= all_from => all,
            some => some.min(1),
        };
        let in_rounds = &mut self.in_rounds;
        let taken = self.waiting.drain(..count).map(|partition| {
            let rounds = in_rounds.entry(key(&partition)).or_default();
            let ticket = Ticket(rounds.first + rounds.ends.len() as u64);
            let is_beside_another = !rounds.ends.is_empty();
            rounds.ends.push_back(None);
            Taken {
                partition,
                ticket,
                is_beside_another,
            }
        });
        taken.collect()
    }

    /// A partition was taken and cannot be in this round: it waits for the end of another.
    pub(crate) fn put_back(
        &mut self,
        partition: &Arc<HostedPartition>,
        ticket: Ticket,
    ) -> Vec<FlushEnd> {
        if let Some(rounds) = self.in_rounds.get_mut(&key(partition)) {
            // Otherwise its own end would take it to the next round at once.
            rounds.is_dirty = false;
        }
        let durable = self.release(partition, ticket, Ended::Idle);
        match self.in_rounds.get_mut(&key(partition)) {
            Some(rounds) => rounds.is_dirty = true,
            None => self.waiting.push_back(Arc::clone(partition)),
        }
        durable
    }

    /// A partition's part in a round has ended. Answers the ends that may be published now, in order:
    /// those of rounds that no earlier round under way, and no failed one, is before. What was appended
    /// meanwhile waits for the next round.
    pub(crate) fn release(
        &mut self,
        partition: &Arc<HostedPartition>,
        ticket: Ticket,
        ended: Ended,
    ) -> Vec<FlushEnd> {
        let key = key(partition);
        let Some(rounds) = self.in_rounds.get_mut(&key) else {
            return Vec::new();
        };
        let place = (ticket.0 - rounds.first) as usize;
        rounds.ends[place] = Some(ended);
        let mut durable = Vec::new();
        while let Some(Some(ended)) = rounds.ends.front() {
            match ended {
                Ended::Synced(end) => durable.push(*end),
                Ended::Idle => {}
                // Stays in front for good: nothing behind it is ever published.
                Ended::Failed => return durable,
            }
            rounds.ends.pop_front();
            rounds.first += 1;
        }
        if std::mem::take(&mut rounds.is_dirty) {
            self.waiting.push_back(Arc::clone(partition));
        }
        if rounds.ends.is_empty() {
            self.in_rounds.remove(&key);
        }
        durable
    }

    /// A round has taken so long to sync.
    pub(crate) fn note_synced(&mut self, took: Duration) {
        self.usual = (self.usual * (MEMORY - 1) + took) / MEMORY;
    }

    /// The directory has failed: there is nothing to take any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether partitions wait for a round to begin.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn rounds_max(&self) -> usize {
        match self.usual >= SLOW_SYNC {
            true => ROUNDS_MAX,
            false => 1,
        }
    }
}

fn key(partition: &HostedPartition) -> Key {
    (partition.topic_id, partition.name.partition)
}

#[cfg(test)]
mod tests {
    use millstream_model::{Offset, TopicPartition};

    use super::*;

    fn partition(number: i32) -> Arc<HostedPartition> {
        let name = TopicPartition {
            topic: "topic".into(),
            partition: number,
        };
        Arc::new(HostedPartition::offline(name, TopicId([1; 16]), 0))
    }

    fn on_slow_disk() -> FlushQueue {
        FlushQueue {
            usual: SLOW_SYNC,
            ..FlushQueue::default()
        }
    }

    fn end(offset: i64) -> FlushEnd {
        FlushEnd::of_bytes(Offset(offset))
    }

    /// Takes the one partition that waits.
    fn take(queue: &mut FlushQueue) -> Ticket {
        let taken = queue.take(usize::MAX);
        assert_eq!(taken.len(), 1);
        taken[0].ticket
    }

    #[test]
    fn on_a_fast_disk_a_partition_is_in_one_round() {
        let mut queue = FlushQueue::default();
        let one = partition(0);
        assert!(queue.push(Arc::clone(&one)));
        let first = take(&mut queue);
        assert!(!queue.push(Arc::clone(&one)));
        assert!(!queue.is_waiting());
        assert_eq!(queue.release(&one, first, Ended::Synced(end(1))), [end(1)]);
        let second = take(&mut queue);
        assert_eq!(queue.release(&one, second, Ended::Idle), []);
        assert!(!queue.is_waiting());
    }

    #[test]
    fn all_are_taken_where_they_are_enough() {
        let mut queue = FlushQueue::default();
        for number in 0..5 {
            assert!(queue.push(partition(number)));
        }
        assert_eq!(queue.take(6).len(), 1);
        assert_eq!(queue.take(4).len(), 4);
    }

    #[test]
    fn rounds_side_by_side_publish_in_the_order_they_began() {
        let mut queue = on_slow_disk();
        let one = partition(0);
        let tickets: Vec<Ticket> = (0..ROUNDS_MAX)
            .map(|_| {
                assert!(queue.push(Arc::clone(&one)));
                take(&mut queue)
            })
            .collect();
        assert!(!queue.push(Arc::clone(&one)), "in as many as it may be");
        assert_eq!(queue.release(&one, tickets[1], Ended::Synced(end(2))), []);
        assert!(queue.is_waiting(), "one has ended");
        assert_eq!(queue.release(&one, tickets[2], Ended::Idle), []);
        let first = queue.release(&one, tickets[0], Ended::Synced(end(1)));
        assert_eq!(first, [end(1), end(2)]);
        let last = queue.release(&one, tickets[3], Ended::Synced(end(4)));
        assert_eq!(last, [end(4)]);
    }

    #[test]
    fn nothing_is_published_after_a_failed_round() {
        let mut queue = on_slow_disk();
        let one = partition(0);
        queue.push(Arc::clone(&one));
        let first = take(&mut queue);
        queue.push(Arc::clone(&one));
        let second = take(&mut queue);
        assert_eq!(queue.release(&one, first, Ended::Failed), []);
        assert_eq!(queue.release(&one, second, Ended::Synced(end(2))), []);
    }

    #[test]
    fn what_must_wait_is_taken_after_the_round_it_waits_for() {
        let mut queue = on_slow_disk();
        let one = partition(0);
        queue.push(Arc::clone(&one));
        let first = take(&mut queue);
        queue.push(Arc::clone(&one));
        let second = queue.take(usize::MAX);
        assert!(second[0].is_beside_another);
        assert_eq!(queue.put_back(&one, second[0].ticket), []);
        assert!(!queue.is_waiting(), "or a flusher would spin");
        queue.push(Arc::clone(&one));
        let again = queue.take(usize::MAX);
        assert_eq!(queue.put_back(&one, again[0].ticket), []);
        assert!(!queue.is_waiting(), "or a flusher would spin");
        assert_eq!(queue.release(&one, first, Ended::Synced(end(1))), [end(1)]);
        let third = queue.take(usize::MAX);
        assert!(!third[0].is_beside_another);
        // The one it waited for may have ended meanwhile.
        assert_eq!(queue.put_back(&one, third[0].ticket), []);
        assert!(queue.is_waiting());
    }

    #[test]
    fn a_disk_is_slow_by_the_mean_of_its_rounds() {
        let mut queue = FlushQueue::default();
        queue.note_synced(8 * SLOW_SYNC);
        assert_eq!(queue.rounds_max(), ROUNDS_MAX);
        for _ in 0..4 {
            queue.note_synced(Duration::ZERO);
        }
        assert_eq!(queue.rounds_max(), 1);
    }
}
