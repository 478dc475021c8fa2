//! Brokers that end badly under load: a real broker process, real sockets, and an oracle in this process.
//!
//! ```text
//!   producers (threads) ── Produce, 5 in flight each ──►  broker process  ◄── an ending, again and again
//!        │ what was acknowledged, at which offset            ▲
//!        ▼                                                   │ Fetch, from the first to the last record
//!      oracle  ◄───────────────────────────────────────── reader
//! ```
//!
//! The producers are idempotent and written against the wire, so that they know of every batch what
//! became of it: after a lost connection they send what is unanswered again, in order, with its
//! sequence numbers. Every batch is acknowledged in the end. Then the broker is stopped cleanly and
//! started once more, everything is read, and the oracle demands: nothing acknowledged lost, nothing
//! there twice, the order of each producer, the bytes that were sent, the offsets that were answered.
//! A second reader follows all the time and must find in the end what it saw before.
//!
//! Seeds decide payloads, batch sizes and the moments of the endings; the scheduler decides the rest, so
//! a seed repeats a load and not a run.

mod beside;
mod broker;
mod crash_loop;
mod directory;
mod ending;
mod mover;
mod oracle;
mod payload;
mod producer;
mod reader;
mod reserve;
mod volume;
pub(crate) mod wire;

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millstream_env::Random;
use millstream_env::sim::SimRandom;

pub(crate) use broker::Broker;
pub use broker::ServeCommand;
pub use ending::Ending;
use oracle::Oracle;
use producer::Acked;
pub use volume::{FileSystem, Volume};
pub(crate) use wire::Connection;

/// Why a run ended without a verdict, or what the verdict is.
pub type Failure = String;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the broker is started.
    pub command: ServeCommand,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// A second one, where there are two.
    pub second_data_dir: Option<PathBuf>,
    /// Whether partitions are moved between the two all the time.
    pub moves: bool,
    /// How often its life is ended.
    pub endings: u32,
    /// Decides payloads, sizes and moments.
    pub seed: u64,
    /// The first records' timestamp, in milliseconds since 1970: about now.
    pub base_timestamp: i64,
    /// Producers, each with a connection of its own.
    pub producers: u32,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Batches a second that a producer makes at most.
    pub rate: u32,
    /// Replaces `millstream.durability` of the topic where it is given.
    pub durability: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// What was done to the broker, and how often.
    pub endings: String,
    /// Moves of partitions that ended, where they are moved.
    pub moves: Option<u64>,
    /// Batches acknowledged.
    pub acked: u64,
    /// Records of them.
    pub records: u64,
    /// Acknowledged records that are not there, or not at their offset, or with other bytes.
    pub lost: u64,
    /// Records that are there more than once.
    pub duplicated: u64,
    /// Records that come before an earlier one of their producer.
    pub reordered: u64,
    /// Records that nobody sent, and records a reader saw that changed afterwards.
    pub foreign: u64,
    /// The first findings in words.
    pub findings: Vec<String>,
}

impl Summary {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.reordered == 0 && self.foreign == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {} acked batches, {} lost, {} duplicated, {} reordered",
            self.endings, self.acked, self.lost, self.duplicated, self.reordered
        )?;
        if self.foreign > 0 {
            write!(f, ", {} foreign or changed", self.foreign)?;
        }
        match self.moves {
            Some(moves) => write!(f, ", {moves} moves"),
            None => Ok(()),
        }
    }
}

/// The topic that all write to.
pub(crate) const TOPIC: &str = "crash";

/// What all threads of a run share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    /// Set when no new batches are to be made.
    is_draining: AtomicBool,
    /// Set when the run is over or has failed.
    is_over: AtomicBool,
    /// Batches acknowledged so far, to see that the load goes on.
    pub(crate) acked: AtomicU64,
    /// Batches refused with a storage error so far.
    pub(crate) refused: AtomicU64,
    /// Records that the follower has read so far.
    pub(crate) seen: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

impl Shared {
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::SeqCst)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }

    /// Ends the run: nothing it finds after this counts.
    fn fail(&self, failure: Failure) {
        let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert(failure);
        self.is_over.store(true, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), Failure> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.clone().map_or(Ok(()), Err)
    }

    /// Waits until more than `acked` batches are acknowledged, for a while.
    fn wait_for_more_than(&self, acked: u64) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.is_over() && self.acked.load(Ordering::SeqCst) <= acked && Instant::now() < end
        {
            self.sleep(Duration::from_millis(2));
        }
    }

    /// Sleeps until the time is over or the run is.
    fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while !self.is_over() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        }
    }
}

/// Runs the whole test. *Errors*: it could not be brought to a verdict, or the broker answered what it
/// must not.
pub fn run(options: Options, ending: &mut Ending) -> Result<Summary, Failure> {
    let random = SimRandom::new(options.seed);
    let mut broker = Broker::start(&options)?;
    wire::create_topic(&options, TOPIC, options.partitions)?;
    let shared = Arc::new(Shared {
        options,
        is_draining: AtomicBool::new(false),
        is_over: AtomicBool::new(false),
        acked: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        seen: AtomicU64::new(0),
        failure: Mutex::new(None),
    });
    let producers: Vec<_> = (0..shared.options.producers)
        .map(|number| spawn(&shared, move |shared| producer::run(shared, number)))
        .collect();
    let follower = spawn(&shared, reader::follow);
    let mover = shared.options.moves.then(|| spawn(&shared, mover::run));

    let ended = end_again_and_again(&shared, &mut broker, &random, ending);
    shared.is_draining.store(true, Ordering::SeqCst);
    if let Err(failure) = ended {
        shared.fail(failure);
    }
    let acked = join_all(producers);
    shared.is_over.store(true, Ordering::SeqCst);
    let seen = follower.join().unwrap_or_default();
    let moves = mover.map(|mover| mover.join().unwrap_or_default());
    shared.check()?;
    if moves == Some(0) {
        return Err("no partition was moved".to_owned());
    }

    broker.stop_cleanly()?;
    let broker = Broker::start(&shared.options)?;
    let mut oracle = Oracle::new(&shared.options, acked, seen);
    reader::read_all(&shared.options, &mut |record| oracle.take(record))?;
    broker.stop_cleanly()?;
    Broker::verify(&shared.options)?;
    let mut summary = oracle.verdict();
    summary.endings = ending.counted(shared.options.endings);
    summary.moves = moves;
    Ok(summary)
}

/// Runs a part of the test on a thread of its own; its failure ends the run.
fn spawn<T: Send + Default + 'static>(
    shared: &Arc<Shared>,
    part: impl FnOnce(&Shared) -> Result<T, Failure> + Send + 'static,
) -> JoinHandle<T> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        part(&shared).unwrap_or_else(|failure| {
            shared.fail(failure);
            T::default()
        })
    })
}

fn join_all(producers: Vec<JoinHandle<Vec<Acked>>>) -> Vec<Acked> {
    let joined = producers.into_iter().map(JoinHandle::join);
    joined.flat_map(Result::unwrap_or_default).collect()
}

fn end_again_and_again(
    shared: &Shared,
    broker: &mut Broker,
    random: &SimRandom,
    ending: &mut Ending,
) -> Result<(), Failure> {
    for number in 1..=shared.options.endings {
        let acked_before = shared.acked.load(Ordering::SeqCst);
        ending.strike(shared, broker, random)?;
        shared.check()?;
        let acked = shared.acked.load(Ordering::SeqCst) - acked_before;
        println!(
            "{}: {acked} batches acknowledged since",
            ending.counted(number)
        );
    }
    // What is in flight in the end is acknowledged by a broker that lives.
    shared.sleep(Duration::from_millis(500 + random.next_u64() % 500));
    shared.check()
}
