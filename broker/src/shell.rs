//! The threads and tasks around the node: they call its steps and carry out what the steps ask for.
//!
//! ```text
//!   connection tasks ─┐                       ┌─ flushers, a few threads per log directory
//!   flushers, queues ─┼─► carry_out(effects) ─┼─ queues, one thread per log directory: steps for a slow one
//!                     │                       ├─ metadata, one thread: decide, append, fsync, apply
//!   metadata, groups ─┘                       ├─ groups, one thread: run timers
//!                                             ├─ load, a few threads: load shards of groups
//!                                             ├─ retention, one thread: move and shorten logs, describe them
//!                                             ├─ compaction, one thread: one log after the other
//!                                             ├─ scrub, one thread: one sealed segment after the other
//!                                             ├─ moves, a thread for each directory: partitions come to it
//!                                             └─ inboxes of parked requests
//! ```
//!
//! A connection that appended while nothing else is to be synced, on a disk that syncs quickly, syncs itself.
//! Otherwise nothing on the network's runtime waits for a disk's sync: what waits is parked, and these threads
//! bring the news. A panic in one of them ends the process, for nobody would bring that news any more; one
//! that only clears up begins again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millstream_api::{Effect, Proposal, RecordsToDelete};
use millstream_coordinator::SweepCursor;
use millstream_env::waiting;
use millstream_model::{Instant, RequestToken, TopicPartition};
use millstream_node::{MoveStep, NextRound, Node, QueueRest};
use millstream_replica::HostedPartition;

use crate::net::Inboxes;
use crate::throttle::Throttle;

/// How often what changed is noted for the next recovery.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Flush rounds of a directory that may run side by side.
const FLUSHERS: usize = 24;

/// Threads that load shards of groups, at most one for each processor.
const LOADERS_MAX: usize = 4;

/// How long what only clears up rests after a panic.
const PANIC_PAUSE: Duration = Duration::from_secs(60);

/// When retention runs for the first time.
const RETENTION_DELAY: Duration = Duration::from_secs(30);

/// How often it is looked for what is to be removed, at least. Only deletions of topics wake the thread that does it,
/// and records may be refused until it is gone.
const REMOVAL_POLL: Duration = Duration::from_secs(5);

/// How often as long as a piece of a removal took the next one waits.
const REMOVAL_REST: u32 = 3;

/// How often as long as a step of a compaction pass took the next one waits: half of the time is for others.
const COMPACTION_REST: u32 = 1;

/// How often a segment that may be scrubbed is looked for while there is none.
const SCRUB_POLL: Duration = Duration::from_secs(10);
/// How long a move of a partition waits that somebody else is in the way of.
const MOVE_POLL: Duration = Duration::from_millis(50);

/// The node with everything that runs it.
pub struct Shell {
    /// The node.
    pub node: Arc<Node>,
    /// The mailboxes of the connections.
    pub inboxes: Inboxes,
    /// Connections that ended by a panic.
    pub panics: AtomicU64,
    flushers: Vec<Work<()>>,
    queues: Vec<Work<()>>,
    proposals: Work<VecDeque<Proposal>>,
    /// Timers of group shards.
    groups: Work<BTreeMap<usize, Instant>>,
    /// Shards to be loaded. One is always loaded by the same thread, so never twice at a time.
    loads: Vec<Work<BTreeSet<usize>>>,
    checkpoints: Work<()>,
    log_requests: Work<Vec<LogRequest>>,
    compaction: Work<()>,
    scrub: Work<()>,
    /// Moves to each directory.
    moves: Vec<Work<()>>,
    /// What they share of the disks.
    move_throttle: Mutex<Throttle>,
}

/// A request that may wait for disks.
enum LogRequest {
    DeleteRecords(RequestToken, Vec<RecordsToDelete>),
    Describe(RequestToken, Option<BTreeSet<TopicPartition>>),
}

/// The threads of a shell, to be joined at its end.
pub struct Threads(Vec<JoinHandle<()>>);

impl Shell {
    /// Wraps an opened node. Nothing runs until [`Shell::start`].
    #[must_use]
    pub fn new(node: Arc<Node>) -> Arc<Shell> {
        let directories = node.directories();
        let move_throttle = Mutex::new(Throttle::new(node.move_bytes_per_second_max(), node.now()));
        let processors = thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Shell {
            node,
            inboxes: Inboxes::default(),
            panics: AtomicU64::new(0),
            flushers: (0..directories).map(|_| Work::default()).collect(),
            queues: (0..directories).map(|_| Work::default()).collect(),
            proposals: Work::default(),
            groups: Work::default(),
            loads: (0..processors.min(LOADERS_MAX))
                .map(|_| Work::default())
                .collect(),
            checkpoints: Work::default(),
            log_requests: Work::default(),
            compaction: Work::default(),
            scrub: Work::default(),
            moves: (0..directories).map(|_| Work::default()).collect(),
            move_throttle,
        })
    }

    /// Starts the threads.
    pub fn start(self: &Arc<Self>) -> std::io::Result<Threads> {
        let mut threads = Vec::new();
        for directory in 0..self.flushers.len() {
            for _ in 0..FLUSHERS {
                threads.push(self.spawn("flush", move |shell| shell.run_flusher(directory))?);
            }
            threads.push(self.spawn("queue", move |shell| shell.run_queue(directory))?);
        }
        threads.push(self.spawn("metadata", |shell| shell.run_metadata())?);
        threads.push(self.spawn("groups", |shell| shell.run_groups())?);
        for loader in 0..self.loads.len() {
            threads.push(self.spawn("load", move |shell| shell.run_loader(loader))?);
        }
        threads.push(self.spawn("checkpoint", |shell| shell.run_checkpoints())?);
        threads.push(self.spawn("retention", |shell| shell.run_retention())?);
        if self.node.compaction_config().is_enabled {
            let rest = |shell: &Shell| shell.compaction.take(Some(PANIC_PAUSE)).is_some();
            let body = move |shell: &Shell| {
                begin_again("compaction", || shell.run_compaction(), || rest(shell))
            };
            threads.push(self.spawn("compaction", body)?);
        }
        if self.node.scrub_config().bytes_per_second_max > 0 {
            let rest = |shell: &Shell| shell.scrub.take(Some(PANIC_PAUSE)).is_some();
            let body =
                move |shell: &Shell| begin_again("scrub", || shell.run_scrub(), || rest(shell));
            threads.push(self.spawn("scrub", body)?);
        }
        // With one directory there is nowhere to go.
        for directory in (0..self.moves.len()).filter(|_| self.moves.len() > 1) {
            let rest =
                move |shell: &Shell| shell.moves[directory].take(Some(PANIC_PAUSE)).is_some();
            let body = move |shell: &Shell| {
                begin_again("moves", || shell.run_moves(directory), || rest(shell))
            };
            threads.push(self.spawn("moves", body)?);
        }
        Ok(Threads(threads))
    }

    fn spawn(
        self: &Arc<Self>,
        name: &str,
        body: impl FnOnce(&Shell) + Send + 'static,
    ) -> std::io::Result<JoinHandle<()>> {
        let shell = Arc::clone(self);
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            or_abort(|| body(&shell));
        })
    }

    /// Ends the threads once their work is done, and waits for them.
    pub fn stop(&self, threads: Threads) {
        for work in self.flushers.iter().chain(&self.queues) {
            work.close();
        }
        self.proposals.close();
        self.groups.close();
        self.loads.iter().for_each(Work::close);
        self.checkpoints.close();
        self.log_requests.close();
        self.compaction.close();
        self.scrub.close();
        self.moves.iter().for_each(Work::close);
        for thread in threads.0 {
            if thread.join().is_err() {
                tracing::error!("a broker thread ended by a panic");
            }
        }
    }

    /// Carries out the effects of one step, in order.
    pub fn carry_out(&self, effects: Vec<Effect>) {
        let mut news = Vec::new();
        for effect in effects {
            match effect {
                Effect::Flush(partition) => {
                    if let Some(directory) = self.node.queue_flush(partition) {
                        self.flushers[directory].give(|()| {});
                    }
                }
                Effect::RunQueue(directory) => self.queues[directory].give(|()| {}),
                Effect::Propose(proposal) => self.proposals.give(|all| all.push_back(proposal)),
                Effect::DeleteRecords { token, records } => {
                    let request = LogRequest::DeleteRecords(token, records);
                    self.log_requests.give(|all| all.push(request));
                }
                Effect::DescribeLogDirs { token, wanted } => {
                    let request = LogRequest::Describe(token, wanted);
                    self.log_requests.give(|all| all.push(request));
                }
                Effect::MovePartitions => self.moves.iter().for_each(|moves| moves.give(|()| {})),
                Effect::Complete(completion) => news.push(completion),
                Effect::GroupTimer { shard, at } => self.groups.give(|timers| {
                    timers.insert(shard, at);
                }),
                Effect::ReloadGroups { shard } => {
                    let loader = shard % self.loads.len();
                    self.loads[loader].give(|shards| {
                        shards.insert(shard);
                    });
                }
            }
        }
        if !news.is_empty() {
            self.inboxes.deliver(news);
        }
    }

    /// Runs the flush round that a step asks for on this thread, if that is all it asks for and the quickest way
    /// to its end: no other thread is woken, and none has to wake this one. What the round asks for takes its
    /// place.
    pub fn flush_here(&self, effects: &mut Vec<Effect>) {
        let [Effect::Flush(partition)] = effects.as_slice() else {
            return;
        };
        if !self.node.flushes_quickly(partition) {
            return;
        }
        let partition = Arc::clone(partition);
        effects.clear();
        // A panic is the broker's, as in a flusher, and not the connection's.
        or_abort(|| self.run_one_round(partition, effects));
    }

    fn run_one_round(&self, partition: Arc<HostedPartition>, effects: &mut Vec<Effect>) {
        let Some(directory) = self.node.queue_flush(partition) else {
            return;
        };
        if let Some(next) = self.node.next_flush(directory) {
            self.run_round(next, effects);
        }
        if self.node.awaits_flush(directory) {
            self.flushers[directory].give(|()| {});
        }
    }

    fn run_flusher(&self, directory: usize) {
        let work = &self.flushers[directory];
        let mut effects = Vec::new();
        while work.take(None).is_some() {
            while let Some(next) = self.node.next_flush(directory) {
                if self.node.awaits_flush(directory) {
                    // For another thread, side by side with this one.
                    work.give(|()| {});
                }
                thread::sleep(next.gather);
                self.run_round(next, &mut effects);
                self.carry_out(std::mem::take(&mut effects));
            }
        }
    }

    fn run_round(&self, next: NextRound, effects: &mut Vec<Effect>) {
        if let Some(round) = self.node.begin_flush(next, effects) {
            // A thread of the runtime hands its other connections to another one, for even a quick disk stalls now
            // and then.
            let synced = waiting(|| self.node.sync(&round));
            self.node.end_flush(round, synced, effects);
        }
    }

    fn run_queue(&self, directory: usize) {
        let work = &self.queues[directory];
        let mut wait = None;
        while work.take(wait).is_some() {
            wait = loop {
                let mut effects = Vec::new();
                let step = AssertUnwindSafe(|| self.node.run_queue(directory, &mut effects));
                // A panic under a partition's lock takes that partition out of service, and no other.
                let rest = catch_unwind(step).unwrap_or(QueueRest::None);
                self.carry_out(effects);
                match rest {
                    QueueRest::None => {}
                    QueueRest::Until(at) => break Some(at.since(self.node.now())),
                    QueueRest::UntilCalled => break None,
                }
            };
        }
    }

    fn run_metadata(&self) {
        while let Some(proposals) = self.proposals.take(None) {
            for proposal in proposals {
                self.carry_out(self.node.propose(proposal));
            }
            // Of a topic that was deleted the files go at once where there is no room.
            self.log_requests.give(|_| {});
        }
    }

    fn run_loader(&self, loader: usize) {
        while let Some(shards) = self.loads[loader].take(None) {
            for shard in shards {
                self.carry_out(self.node.load_groups(shard));
            }
        }
    }

    /// Timers of all groups, and the sweeps for what has expired: a step of a sweep at a time, so that no timer waits
    /// for more than that.
    fn run_groups(&self) {
        let mut timers: BTreeMap<usize, Instant> = BTreeMap::new();
        let interval = self.node.group_expiry_interval();
        let mut expiry = self.node.now().after(interval);
        let mut sweeps: VecDeque<(usize, Option<SweepCursor>)> = VecDeque::new();
        loop {
            let next = timers.values().copied().min().unwrap_or(expiry).min(expiry);
            let wait = match sweeps.is_empty() {
                true => next.since(self.node.now()),
                false => Duration::ZERO,
            };
            let Some(news) = self.groups.take(Some(wait)) else {
                return;
            };
            timers.extend(news);
            let now = self.node.now();
            let due: Vec<usize> = timers
                .iter()
                .filter(|(_, at)| **at <= now)
                .map(|(shard, _)| *shard)
                .collect();
            for shard in due {
                timers.remove(&shard);
                self.carry_out(self.node.group_timeout(shard));
            }
            if expiry <= now {
                expiry = now.after(interval);
                if sweeps.is_empty() {
                    let shards = 0..self.node.broker.group_shards().len();
                    sweeps.extend(shards.map(|shard| (shard, None)));
                }
            }
            if let Some((shard, from)) = sweeps.pop_front() {
                let (effects, next) = self.node.expire_groups(shard, from.as_deref());
                self.carry_out(effects);
                if next.is_some() {
                    sweeps.push_front((shard, next));
                }
            }
        }
    }

    fn run_retention(&self) {
        let interval = self.node.retention_interval();
        let mut next = self.node.now().after(interval.min(RETENTION_DELAY));
        let mut wait = interval.min(REMOVAL_POLL);
        while let Some(requests) = self.log_requests.take(Some(wait)) {
            for request in requests {
                self.carry_out(match request {
                    LogRequest::DeleteRecords(token, records) => {
                        self.node.delete_records(token, records)
                    }
                    LogRequest::Describe(token, wanted) => {
                        self.node.describe_log_dirs(token, wanted.as_ref())
                    }
                });
            }
            if self.node.now() >= next {
                self.carry_out(self.node.enforce_retention());
                next = self.node.now().after(interval);
            }
            let began = self.node.now();
            wait = match self.node.remove_step() {
                // The disk is for others most of the time.
                true => self.node.now().since(began) * REMOVAL_REST,
                false => {
                    let due = self.node.next_removal().map_or(next, |due| due.min(next));
                    due.since(began).min(REMOVAL_POLL)
                }
            };
        }
    }

    /// A pass ends early when the broker stops: its next start removes what was written of it.
    fn run_compaction(&self) {
        let mut config = self.node.compaction_config();
        let mut throttle = Throttle::new(config.bytes_per_second_max, self.node.now());
        while self.compaction.take(Some(config.backoff)).is_some() {
            let (mut has_compacted, mut goes_on) = (true, true);
            while has_compacted && goes_on {
                let mut effects = Vec::new();
                let mut resumed = self.node.now();
                let mut pause = |bytes| {
                    throttle.set_budget(self.node.compaction_config().bytes_per_second_max);
                    let now = self.node.now();
                    let rest = now.since(resumed) * COMPACTION_REST;
                    let wait = throttle.spend(bytes, now).max(rest);
                    goes_on = self.compaction.take(Some(wait)).is_some();
                    resumed = self.node.now();
                    goes_on
                };
                has_compacted = self.node.compact_once(&mut pause, &mut effects);
                self.carry_out(effects);
            }
            config = self.node.compaction_config();
        }
    }

    /// A segment that is half read when the broker stops is read again.
    fn run_scrub(&self) {
        let budget = self.node.scrub_config().bytes_per_second_max as f64;
        let mut throttle = Throttle::new(budget, self.node.now());
        while self.scrub.take(Some(SCRUB_POLL)).is_some() {
            let (mut has_scrubbed, mut goes_on) = (true, true);
            while has_scrubbed && goes_on {
                let mut pause = |bytes| {
                    let wait = throttle.spend(bytes, self.node.now());
                    goes_on = self.scrub.take(Some(wait)).is_some();
                    goes_on
                };
                has_scrubbed = self.node.scrub_once(&mut pause).is_some();
            }
        }
    }

    /// A copy that is half made when the broker stops is begun again by its next start.
    fn run_moves(&self, directory: usize) {
        loop {
            let mut effects = Vec::new();
            let step = self.node.move_step(directory, &mut effects);
            self.carry_out(effects);
            let wait = match step {
                MoveStep::Idle => None,
                MoveStep::Wait => Some(MOVE_POLL),
                MoveStep::Worked { bytes } => {
                    let throttle = self.move_throttle.lock();
                    let mut throttle = throttle.unwrap_or_else(PoisonError::into_inner);
                    throttle.set_budget(self.node.move_bytes_per_second_max());
                    Some(throttle.spend(bytes, self.node.now()))
                }
            };
            if self.moves[directory].take(wait).is_none() {
                return;
            }
        }
    }

    fn run_checkpoints(&self) {
        while self.checkpoints.take(Some(CHECKPOINT_INTERVAL)).is_some() {
            self.carry_out(self.node.refresh_room());
            self.carry_out(self.node.checkpoint());
        }
    }
}

/// Runs what nobody could go on without. A panic in it ends the process.
fn or_abort<T>(step: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(step)).unwrap_or_else(|_told_by_the_hook| {
        let thread = thread::current().name().unwrap_or_default().to_owned();
        tracing::error!(thread, "a thread ended by a panic: a bug; the broker ends");
        std::process::abort()
    })
}

/// Runs something again after a panic, once `rest` says that there is still reason to.
fn begin_again(thread: &str, body: impl Fn(), rest: impl Fn() -> bool) {
    while catch_unwind(AssertUnwindSafe(&body)).is_err() {
        tracing::error!(thread, "a panic: a bug; it begins again in a minute");
        if !rest() {
            return;
        }
    }
}

/// Work handed to a thread: whatever has gathered is taken at once.
struct Work<T> {
    state: Mutex<WorkState<T>>,
    changed: Condvar,
}

struct WorkState<T> {
    gathered: T,
    has_work: bool,
    is_closed: bool,
}

impl<T: Default> Default for Work<T> {
    fn default() -> Self {
        let state = WorkState {
            gathered: T::default(),
            has_work: false,
            is_closed: false,
        };
        Work {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }
}

impl<T: Default> Work<T> {
    fn give(&self, add: impl FnOnce(&mut T)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut state.gathered);
        if !std::mem::replace(&mut state.has_work, true) {
            self.changed.notify_one();
        }
    }

    /// Waits for work, or for `timeout` to pass. `None` when closed and everything is taken.
    fn take(&self, timeout: Option<Duration>) -> Option<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.has_work && !state.is_closed {
            match timeout {
                None => {
                    let woken = self.changed.wait(state);
                    state = woken.unwrap_or_else(PoisonError::into_inner);
                }
                Some(timeout) => {
                    let woken = self.changed.wait_timeout(state, timeout);
                    let (woken, outcome) = woken.unwrap_or_else(PoisonError::into_inner);
                    state = woken;
                    if outcome.timed_out() {
                        break;
                    }
                }
            }
        }
        if !state.has_work && state.is_closed {
            return None;
        }
        state.has_work = false;
        Some(std::mem::take(&mut state.gathered))
    }

    fn close(&self) {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_closed = true;
        self.changed.notify_all();
    }
}
