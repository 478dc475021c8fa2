//! Which partitions of a log directory wait for a flush round, and which are in one.
//!
//! On a disk that syncs quickly a partition is in one round at a time, and what is appended to it
//! meanwhile gathers for its next: group commit. Where a sync takes milliseconds, that makes a batch wait
//! for a sync that it is too late for before its own begins. There a partition may be in a few rounds
//! side by side. Their ends are published in the order in which the rounds began: a later round says
//! nothing of what an earlier one is still syncing, and after one that failed nothing is published.
//! They begin evenly spread over the time of a sync. All at once, each would take a batch or two, and the
//! batches that come after would wait for a whole sync to end before their own begins.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millstream_log::FlushEnd;
use millstream_model::{Instant, TopicId};
use millstream_replica::HostedPartition;

/// Rounds of one partition at a time on a disk that syncs slowly.
const ROUNDS_MAX: usize = 4;
/// From here on a sync is slow, beside the time that its bytes take: a few times what another one costs the
/// processor.
const SLOW_SYNC: Duration = Duration::from_millis(2);
/// The time that the bytes of a sync take: 400 MB/s. Rounds side by side would not make it shorter.
const PICOSECONDS_PER_BYTE: u64 = 2_500;
/// Up to here whoever appended may as well sync as wake another thread for it and be woken by that.
const QUICK_SYNC: Duration = Duration::from_millis(1);
/// How many rounds that nothing else was beside tell how long a sync takes: the shortest of them.
const SAMPLES: usize = 4;
/// After so many rounds beside others partitions are in one at a time until one was alone.
const ROUNDS_BETWEEN_SAMPLES: u64 = 256;
/// The longest that a round lets batches gather while an earlier one of its partition is syncing.
const GATHER_MAX: Duration = Duration::from_millis(5);
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
    /// How long the last rounds that nothing was beside took, without the time of their bytes.
    alone: [Duration; SAMPLES],
    /// Rounds that ended since the last of those.
    since_alone: u64,
    begun: u64,
    running: u64,
}

/// A partition that a round takes.
pub(crate) struct Taken {
    pub(crate) partition: Arc<HostedPartition>,
    /// Which of the partition's rounds under way this is.
    pub(crate) ticket: Ticket,
    /// Whether an earlier round of the partition is still syncing.
    pub(crate) is_beside_another: bool,
}

/// A round between its beginning and its end.
#[derive(Debug)]
pub(crate) struct Running {
    number: u64,
    began_alone: bool,
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
    /// When the last of them began.
    began: Instant,
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
    /// `all_from`. Answers also how long the round may wait before it begins.
    pub(crate) fn take(&mut self, all_from: usize, now: Instant) -> (Vec<Taken>, Duration) {
        let count = match self.waiting.len() {
            all if all >= all_from => all,
            some => some.min(1),
        };
        let spread = (self.usual / ROUNDS_MAX as u32).min(GATHER_MAX);
        let in_rounds = &mut self.in_rounds;
        let mut gather = Duration::ZERO;
        let taken = self.waiting.drain(..count).map(|partition| {
            let rounds = in_rounds.entry(key(&partition)).or_default();
            let ticket = Ticket(rounds.first + rounds.ends.len() as u64);
            let is_beside_another = !rounds.ends.is_empty();
            if is_beside_another && count == 1 {
                gather = rounds.began.after(spread).since(now);
            }
            rounds.began = now.after(gather);
            rounds.ends.push_back(None);
            Taken {
                partition,
                ticket,
                is_beside_another,
            }
        });
        (taken.collect(), gather)
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

    /// A round begins.
    pub(crate) fn begin_round(&mut self) -> Running {
        self.begun += 1;
        self.running += 1;
        Running {
            number: self.begun,
            began_alone: self.running == 1,
        }
    }

    /// A round had nothing to sync.
    pub(crate) fn drop_round(&mut self, _round: Running) {
        self.running -= 1;
    }

    /// A round has ended, and has taken so long to sync so many bytes.
    pub(crate) fn end_round(&mut self, round: Running, took: Duration, bytes: u64) {
        self.running -= 1;
        self.usual = (self.usual * (MEMORY - 1) + took) / MEMORY;
        self.since_alone += 1;
        if round.began_alone && round.number == self.begun {
            let of_bytes = Duration::from_nanos(bytes.saturating_mul(PICOSECONDS_PER_BYTE) / 1_000);
            self.alone.rotate_right(1);
            self.alone[0] = took.saturating_sub(of_bytes);
            self.since_alone = 0;
        }
    }

    /// The directory has failed: there is nothing to take any more.
    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Whether partitions wait for a round to begin.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether whoever appends next does best to sync it itself: nothing else is to be synced, and it does not
    /// take long.
    pub(crate) fn is_quick(&self) -> bool {
        self.running == 0 && self.waiting.is_empty() && self.usual < QUICK_SYNC
    }

    fn rounds_max(&self) -> usize {
        let is_slow = self.alone.iter().all(|took| *took >= SLOW_SYNC);
        match is_slow && self.since_alone < ROUNDS_BETWEEN_SAMPLES {
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
            alone: [SLOW_SYNC; SAMPLES],
            ..FlushQueue::default()
        }
    }

    fn end(offset: i64) -> FlushEnd {
        FlushEnd::of_bytes(Offset(offset))
    }

    /// Takes the one partition that waits.
    fn take(queue: &mut FlushQueue) -> Ticket {
        let (taken, _) = queue.take(usize::MAX, Instant(0));
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
        assert_eq!(queue.take(6, Instant(0)).0.len(), 1);
        assert_eq!(queue.take(4, Instant(0)).0.len(), 4);
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
    fn rounds_of_a_partition_begin_evenly_spread() {
        let mut queue = on_slow_disk();
        let one = partition(0);
        let spread = SLOW_SYNC / ROUNDS_MAX as u32;
        let mut begins = |now: u64| {
            let now = Instant(0).after(Duration::from_micros(now));
            queue.push(Arc::clone(&one));
            let (taken, gather) = queue.take(usize::MAX, now);
            assert_eq!(taken.len(), 1);
            gather
        };
        assert_eq!(begins(10_000), Duration::ZERO, "none before it");
        assert_eq!(begins(10_100), spread - Duration::from_micros(100));
        assert_eq!(begins(10_600), spread - Duration::from_micros(100));
        assert_eq!(begins(12_000), Duration::ZERO, "long after the last began");
    }

    #[test]
    fn a_round_does_not_gather_for_long_on_a_disk_that_stalls() {
        let mut queue = on_slow_disk();
        round(&mut queue, Duration::from_secs(60), 0);
        let one = partition(0);
        queue.push(Arc::clone(&one));
        take(&mut queue);
        queue.push(Arc::clone(&one));
        assert_eq!(queue.take(usize::MAX, Instant(0)).1, GATHER_MAX);
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
        let (second, _) = queue.take(usize::MAX, Instant(0));
        assert!(second[0].is_beside_another);
        assert_eq!(queue.put_back(&one, second[0].ticket), []);
        assert!(!queue.is_waiting(), "or a flusher would spin");
        queue.push(Arc::clone(&one));
        let (again, _) = queue.take(usize::MAX, Instant(0));
        assert_eq!(queue.put_back(&one, again[0].ticket), []);
        assert!(!queue.is_waiting(), "or a flusher would spin");
        assert_eq!(queue.release(&one, first, Ended::Synced(end(1))), [end(1)]);
        let (third, _) = queue.take(usize::MAX, Instant(0));
        assert!(!third[0].is_beside_another);
        // The one it waited for may have ended meanwhile.
        assert_eq!(queue.put_back(&one, third[0].ticket), []);
        assert!(queue.is_waiting());
    }

    /// A round that nothing is beside.
    fn round(queue: &mut FlushQueue, took: Duration, bytes: u64) {
        let round = queue.begin_round();
        queue.end_round(round, took, bytes);
    }

    #[test]
    fn a_disk_is_slow_by_the_quickest_of_the_last_rounds_alone() {
        let mut queue = FlushQueue::default();
        for _ in 1..SAMPLES {
            round(&mut queue, SLOW_SYNC, 0);
        }
        assert_eq!(queue.rounds_max(), 1);
        round(&mut queue, SLOW_SYNC, 0);
        assert_eq!(queue.rounds_max(), ROUNDS_MAX);
        round(&mut queue, SLOW_SYNC / 2, 0);
        assert_eq!(queue.rounds_max(), 1);
    }

    #[test]
    fn whoever_appends_syncs_where_that_is_quick_and_nothing_else_is_to_be_synced() {
        let mut queue = FlushQueue::default();
        assert!(queue.is_quick());
        queue.push(partition(0));
        assert!(!queue.is_quick(), "one waits");
        take(&mut queue);
        let running = queue.begin_round();
        assert!(!queue.is_quick(), "one is syncing");
        queue.end_round(running, Duration::ZERO, 0);
        assert!(queue.is_quick());
        for _ in 0..2 * MEMORY {
            round(&mut queue, 2 * QUICK_SYNC, 0);
        }
        assert!(!queue.is_quick(), "syncs take long");
    }

    #[test]
    fn a_disk_is_not_slow_because_a_sync_has_many_bytes() {
        let mut queue = FlushQueue::default();
        for _ in 0..SAMPLES {
            round(&mut queue, Duration::from_micros(2_100), 640 << 10);
        }
        assert_eq!(queue.rounds_max(), 1);
        for _ in 0..SAMPLES {
            round(&mut queue, Duration::from_micros(7_100), 640 << 10);
        }
        assert_eq!(queue.rounds_max(), ROUNDS_MAX);
    }

    #[test]
    fn a_disk_is_not_slow_because_rounds_are_beside_each_other() {
        let mut queue = FlushQueue::default();
        let took = 2 * SLOW_SYNC;
        let mut last = queue.begin_round();
        for _ in 0..10 {
            let next = queue.begin_round();
            queue.end_round(std::mem::replace(&mut last, next), took, 0);
        }
        assert_eq!(queue.rounds_max(), 1);
    }

    #[test]
    fn on_a_slow_disk_a_round_is_alone_now_and_then() {
        let mut queue = on_slow_disk();
        let mut last = queue.begin_round();
        for _ in 0..ROUNDS_BETWEEN_SAMPLES {
            assert_eq!(queue.rounds_max(), ROUNDS_MAX);
            let next = queue.begin_round();
            queue.end_round(std::mem::replace(&mut last, next), SLOW_SYNC, 0);
        }
        assert_eq!(queue.rounds_max(), 1);
        queue.end_round(last, SLOW_SYNC, 0);
        round(&mut queue, SLOW_SYNC, 0);
        assert_eq!(queue.rounds_max(), ROUNDS_MAX);
    }
}
