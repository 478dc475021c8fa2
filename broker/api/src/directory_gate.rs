//! Who may enter the partitions of a log directory: the thread that has a request while the directory is
//! fast, only the directory's own thread while it is slow.
//!
//! ```text
//!   request ──enter──► open: under the partition's lock, here and now
//!              │
//!              └─ closed ──push──► queue ──take──► the directory's thread, one step after the other
//! ```
//!
//! Appends wait until there is room in the directory's budget of unflushed bytes; what else is queued goes
//! past them then, each kind in its order.
//!
//! **Order.** A gate is closed when its directory turns slow, or anything is queued; it opens when the
//! queue is empty, its last step is done, and the directory is fast. So an append that follows a queued one
//! of the same connection is queued behind it, or finds it done: none of a producer's overtakes another,
//! whichever way the directory turns.
//!
//! **What one stall costs.** Until a write that does not end is noticed, others may wait behind it: for its
//! partition's lock, or in writes of their own. Whoever comes once no write has ended for the bound of a
//! write finds the gate closed. The last thread that is free has less patience, so that a stall leaves one
//! to serve the others; only in its first millisecond may it take all. Always keeping a thread out was
//! measured: 16 to 42 % of the throughput of two processors.
//!
//! **Bounds.** What is queued pins memory after its frame's charge is released, so the queue has a bound of
//! its own, and appends past it are refused. The alternative, not to read the connection, would stop all
//! that a client does with this broker, for it has one connection: the other directories' partitions
//! too, which are to go on. An empty queue takes any append.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_log::{DirectoryHealth, HealthLimits, SlowCause};
use millstream_model::Instant;
use millstream_replica::HostedPartition;

use crate::queued::QueuedStep;

/// The bounds of all gates.
#[derive(Clone, Copy, Debug)]
pub struct GateLimits {
    /// What a fast directory keeps to.
    pub health: HealthLimits,
    /// Bytes of appends that are queued for one directory, and as many of other requests.
    pub queued_bytes_max: usize,
    /// Threads that serve connections.
    pub threads: usize,
}

impl Default for GateLimits {
    fn default() -> Self {
        GateLimits {
            health: HealthLimits::default(),
            queued_bytes_max: 32 << 20,
            threads: usize::MAX,
        }
    }
}

/// The queue of a directory is full.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "log directory {directory} is slow: {queued_bytes} bytes of requests wait for it, of \
     millstream.log.dir.queue.bytes={queued_bytes_max}; try again later"
)]
pub struct QueueFull {
    /// Its path.
    pub directory: String,
    /// What waits there.
    pub queued_bytes: usize,
    /// The bound.
    pub queued_bytes_max: usize,
}

/// What the thread of a directory does next.
pub enum NextStep {
    /// This; then [`DirectoryGates::end_step`].
    Step(QueuedStep),
    /// Nothing before a flush round has ended.
    AwaitsRound,
    /// Nothing is queued; ask again at that time whether the directory is fast.
    At(Instant),
    /// Nothing is queued and the gate is open.
    Nothing,
}

/// The last free thread does not go where nothing has moved for so long.
const LAST_THREAD_PATIENCE: Duration = Duration::from_millis(1);

const NO_ROUND: u64 = u64::MAX;

/// The gates of all log directories, by their place in `log.dirs`. A partition may say that it lies past the
/// last of them, in none that is there: whoever comes for it never waits.
pub struct DirectoryGates {
    gates: Vec<DirectoryGate>,
    limits: GateLimits,
    clock: Box<dyn Fn() -> Instant + Send + Sync>,
}

/// One gate. The atomics are what a request looks at; they follow the state.
struct DirectoryGate {
    directory: String,
    is_closed: AtomicBool,
    /// Threads in the directory's partitions, its own thread aside.
    threads: AtomicUsize,
    /// Writes that have begun and not ended.
    writes: AtomicU32,
    /// When the first of them began, or the last one before ended, in nanoseconds.
    progress: AtomicU64,
    /// When the oldest flush round that is not over began, in nanoseconds; [`NO_ROUND`] if there is none.
    round: AtomicU64,
    unflushed_bytes: AtomicU64,
    state: Mutex<GateState>,
}

struct GateState {
    health: DirectoryHealth,
    /// Appends, which wait until there is room in the budget of unflushed bytes.
    appends: Queue,
    /// What need not wait for that.
    others: Queue,
    /// Whether the last step was one of the others: they take turns.
    is_appends_turn: bool,
    /// A step was taken and is not done.
    is_stepping: bool,
    /// Nothing in the directory is served any more.
    has_failed: bool,
}

#[derive(Default)]
struct Queue {
    steps: VecDeque<QueuedStep>,
    bytes: usize,
}

/// Leave to be in the partitions of a directory, until it is dropped. Drop the partitions' locks before.
pub struct Entered<'a> {
    gates: &'a DirectoryGates,
    /// `None`: of a directory that is not there.
    gate: Option<&'a DirectoryGate>,
    is_counted: bool,
    /// For a write: when it began.
    write_began: Option<Instant>,
}

impl DirectoryGates {
    /// Open gates of the directories with these paths. `clock` times writes.
    #[must_use]
    pub fn new(
        directories: impl IntoIterator<Item = String>,
        limits: GateLimits,
        clock: Box<dyn Fn() -> Instant + Send + Sync>,
    ) -> DirectoryGates {
        let gates = directories.into_iter().map(|directory| DirectoryGate {
            directory,
            is_closed: AtomicBool::new(false),
            threads: AtomicUsize::new(0),
            writes: AtomicU32::new(0),
            progress: AtomicU64::new(0),
            round: AtomicU64::new(NO_ROUND),
            unflushed_bytes: AtomicU64::new(0),
            state: Mutex::new(GateState {
                health: DirectoryHealth::new(limits.health),
                appends: Queue::default(),
                others: Queue::default(),
                is_appends_turn: false,
                is_stepping: false,
                has_failed: false,
            }),
        });
        DirectoryGates {
            gates: gates.collect(),
            limits,
            clock,
        }
    }

    /// Asks to take locks of a directory's partitions. `None`: the gate is closed, queue the step.
    pub fn enter(&self, directory: usize) -> Option<Entered<'_>> {
        let gate = self.gates.get(directory);
        if let Some(gate) = gate {
            if gate.is_closed.load(Ordering::Acquire) || self.finds_stuck(gate) {
                return None;
            }
            gate.threads.fetch_add(1, Ordering::AcqRel);
        }
        Some(Entered {
            gates: self,
            gate,
            is_counted: true,
            write_began: None,
        })
    }

    /// As [`DirectoryGates::enter`], to append: the time until the leave is dropped is that of a write.
    pub fn enter_to_write(&self, directory: usize) -> Option<Entered<'_>> {
        let mut entered = self.enter(directory)?;
        let Some(gate) = entered.gate else {
            return Some(entered);
        };
        let now = (self.clock)();
        let round = Instant(gate.round.load(Ordering::Relaxed));
        if now.since(round) > self.limits.health.round_max {
            gate.note(|health| health.handle_time(now));
            return None;
        }
        entered.begin_write(now);
        Some(entered)
    }

    /// Whether a write has begun, and none has ended for longer than one may take, or than the last thread
    /// that is free waits.
    fn finds_stuck(&self, gate: &DirectoryGate) -> bool {
        if gate.writes.load(Ordering::Acquire) == 0 {
            return false;
        }
        let now = (self.clock)();
        let stuck = now.since(Instant(gate.progress.load(Ordering::Relaxed)));
        if stuck > self.limits.health.write_max {
            gate.note(|health| health.handle_write(stuck, now));
            return true;
        }
        let is_last = gate.threads.load(Ordering::Acquire) + 1 >= self.limits.threads;
        is_last && stuck > LAST_THREAD_PATIENCE
    }

    /// Times a write of the directory's own thread.
    pub fn time_write(&self, directory: usize) -> Entered<'_> {
        let mut entered = Entered {
            gates: self,
            gate: self.gates.get(directory),
            is_counted: false,
            write_began: None,
        };
        entered.begin_write((self.clock)());
        entered
    }

    /// Queues a step for the directory's thread, and closes the gate until it is done. *Errors*: the queue
    /// is full.
    pub fn push(&self, directory: usize, step: QueuedStep) -> Result<(), QueueFull> {
        let gate = &self.gates[directory];
        let mut state = gate.lock();
        let bytes = step.bytes();
        let queue = match step.is_append() {
            true => &mut state.appends,
            false => &mut state.others,
        };
        let queued_bytes_max = self.limits.queued_bytes_max;
        if bytes > 0 && queue.bytes > 0 && queue.bytes + bytes > queued_bytes_max {
            return Err(QueueFull {
                directory: gate.directory.clone(),
                queued_bytes: queue.bytes,
                queued_bytes_max,
            });
        }
        queue.bytes += bytes;
        queue.steps.push_back(step);
        gate.is_closed.store(true, Ordering::Release);
        Ok(())
    }

    /// Takes the next step of a directory. *Bounds*: by one thread, which ends each step.
    pub fn take_step(&self, directory: usize, now: Instant) -> NextStep {
        let gate = &self.gates[directory];
        let unflushed = gate.unflushed_bytes.load(Ordering::Acquire);
        let mut state = gate.lock();
        assert!(!state.is_stepping, "one step at a time");
        gate.log(state.health.handle_time(now));
        gate.log(state.health.handle_unflushed(unflushed, now));
        if let Some(step) = state.take() {
            return NextStep::Step(step);
        }
        if !state.appends.steps.is_empty() {
            return NextStep::AwaitsRound;
        }
        let was_slow = state.health.is_slow();
        if !state.has_failed && !state.health.try_become_fast(now) {
            return NextStep::At(state.health.next_try(now).expect("it is slow"));
        }
        if was_slow {
            tracing::info!(directory = gate.directory, "log directory is fast again");
        }
        gate.is_closed.store(false, Ordering::Release);
        NextStep::Nothing
    }

    /// The step that was taken is done.
    pub fn end_step(&self, directory: usize) {
        self.gates[directory].lock().is_stepping = false;
    }

    /// So many bytes were appended to a partition, which a round is to sync.
    pub fn note_appended(&self, partition: &HostedPartition, bytes: usize) {
        let (Some(gate), bytes) = (self.gates.get(partition.directory()), bytes as u64) else {
            return;
        };
        // First here: a round that begins now may take them from both already.
        let unflushed = gate.unflushed_bytes.fetch_add(bytes, Ordering::AcqRel) + bytes;
        partition.note_unflushed(bytes);
        let max = self.limits.health.unflushed_bytes_max;
        if unflushed >= max && !gate.is_closed.load(Ordering::Acquire) {
            let now = (self.clock)();
            gate.note(|health| health.handle_unflushed(unflushed, now));
        }
    }

    /// A flush round of a directory begins.
    pub fn begin_round(&self, directory: usize, now: Instant) {
        self.gates[directory].note(|health| {
            health.begin_round(now);
            None
        });
    }

    /// The round that began then is over.
    pub fn end_round(&self, directory: usize, began: Instant, now: Instant) {
        self.gates[directory].note(|health| health.end_round(began, now));
    }

    /// So many bytes are no longer unflushed. Answers whether the directory's thread has something to do.
    pub fn note_flushed(&self, directory: usize, bytes: u64) -> bool {
        let gate = &self.gates[directory];
        let before = gate.unflushed_bytes.fetch_sub(bytes, Ordering::AcqRel);
        assert!(before >= bytes, "what is flushed was appended");
        gate.is_closed.load(Ordering::Acquire)
    }

    /// The directory failed: what is queued is answered with that, at once.
    pub fn handle_failed(&self, directory: usize) {
        self.gates[directory].lock().has_failed = true;
    }

    /// Whether the directory failed.
    #[must_use]
    pub fn has_failed(&self, directory: usize) -> bool {
        self.gates[directory].lock().has_failed
    }

    /// Whether steps are queued.
    #[must_use]
    pub fn is_closed(&self, directory: usize) -> bool {
        let gate = self.gates.get(directory);
        gate.is_some_and(|gate| gate.is_closed.load(Ordering::Acquire))
    }
}

impl DirectoryGate {
    fn lock(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the health of something, and closes the gate if that makes the directory slow.
    fn note(&self, tell: impl FnOnce(&mut DirectoryHealth) -> Option<SlowCause>) {
        let mut state = self.lock();
        let cause = tell(&mut state.health);
        let round = state.health.oldest_round();
        self.round
            .store(round.map_or(NO_ROUND, |at| at.0), Ordering::Relaxed);
        if state.health.is_slow() && !state.has_failed {
            self.is_closed.store(true, Ordering::Release);
        }
        self.log(cause);
    }

    fn log(&self, cause: Option<SlowCause>) {
        if let Some(cause) = cause {
            let directory = &self.directory;
            tracing::warn!(directory, %cause, "log directory is slow: its requests are queued");
        }
    }
}

impl GateState {
    /// The next step, if there is one that need not wait for a round.
    fn take(&mut self) -> Option<QueuedStep> {
        let has_room = !self.health.is_slow() || self.health.has_room() || self.has_failed;
        let is_append_next = has_room && (self.is_appends_turn || self.others.steps.is_empty());
        let queue = match is_append_next && !self.appends.steps.is_empty() {
            true => &mut self.appends,
            false => &mut self.others,
        };
        let step = queue.steps.pop_front()?;
        queue.bytes -= step.bytes();
        self.is_appends_turn = !step.is_append();
        self.is_stepping = true;
        Some(step)
    }
}

impl Entered<'_> {
    fn begin_write(&mut self, now: Instant) {
        let Some(gate) = self.gate else { return };
        if gate.writes.fetch_add(1, Ordering::AcqRel) == 0 {
            gate.progress.store(now.0, Ordering::Relaxed);
        }
        self.write_began = Some(now);
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let Some(gate) = self.gate else { return };
        if self.is_counted {
            gate.threads.fetch_sub(1, Ordering::AcqRel);
        }
        let Some(began) = self.write_began else {
            return;
        };
        let now = (self.gates.clock)();
        gate.progress.store(now.0, Ordering::Relaxed);
        gate.writes.fetch_sub(1, Ordering::AcqRel);
        let took = now.since(began);
        if took > self.gates.limits.health.write_max {
            gate.note(|health| health.handle_write(took, now));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
