//! A broker that has little memory, and clients that make it hold much.
//!
//! ```text
//!   idle crowd ── churn beside it ─┐
//!   halves, a byte a second ───────┼─ probes: produce at a fixed rate, all the time
//!   producers of maximal requests ─┤
//!   consumers that never read ─────┘
//! ```
//!
//! The broker runs in a control group of its own, so that a byte too many kills it. What it held is read from
//! `/proc`; the probes tell what the others notice of the crowd.

mod consumers;
mod crowd;
mod halves;
mod memory_group;
mod probe;
mod producers;

use std::fmt;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use millstream_env::raise_descriptor_limit;
use millstream_protocol::messages::CreateTopicsRequest;
use millstream_protocol::messages::create_topics_request::CreatableTopic;

use crate::crash::{Broker, Connection, Failure, Options, ServeCommand};
use crate::slow_disk::Latencies;
use memory_group::MemoryGroup;

const TOPIC: &str = "bounds";
/// Descriptors that are not the crowd's: of the broker's files, and of the other passages.
const SPARE: usize = 64;
/// Half requests that stay as long as the broker lets them.
const KEPT: usize = 5000;

/// What a run does.
#[derive(Clone, Debug)]
pub struct BoundsOptions {
    /// The broker's binary.
    pub millstream: PathBuf,
    /// Its port on 127.0.0.1; the next one is for HTTP.
    pub port: u16,
    /// Its data directory. Anything in it is removed.
    pub data: PathBuf,
    /// Memory of its control group.
    pub memory_bytes: u64,
    /// Connections that are idle: as many of them as the descriptors allow.
    pub idle: usize,
    /// How long each measurement of the probes takes.
    pub measured: Duration,
    /// Connections that are made and closed in a second.
    pub churn: u32,
    /// Half requests in all.
    pub halves: usize,
    /// Producers, each with one request.
    pub producers: usize,
    /// The largest request. Four of them are the budget.
    pub request_bytes: usize,
    /// Consumers that never read.
    pub consumers: usize,
}

/// What was seen.
#[derive(Debug)]
pub struct BoundsSummary {
    /// How many connections were idle.
    pub idle: usize,
    /// What the broker held with all of them, in bytes.
    pub idle_bytes: u64,
    /// The probes without a crowd.
    pub alone: Latencies,
    /// With it.
    pub beside_idle: Latencies,
    /// With it and connections that come and go.
    pub beside_churn: Latencies,
    /// Half requests, and the longest that one of those who kept their connection was kept.
    pub halves: (usize, Duration),
    /// Producers that were answered, and how long all of them took.
    pub producers: (usize, Duration),
    /// Consumers that never read and were closed, and how long until there was room for others.
    pub consumers: (usize, Duration),
    /// The most memory that the broker ever had, in bytes.
    pub peak_bytes: u64,
    /// Whether the limit was the system's to keep.
    pub is_limited: bool,
}

impl fmt::Display for BoundsSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes >> 20;
        writeln!(f, "probes alone:             {}", self.alone)?;
        writeln!(f, "beside {} idle:        {}", self.idle, self.beside_idle)?;
        writeln!(f, "and connections that come and go: {}", self.beside_churn)?;
        writeln!(
            f,
            "half requests:            {}, none kept longer than {:.1?}",
            self.halves.0, self.halves.1
        )?;
        writeln!(
            f,
            "producers:                {} answered in {:.1?}",
            self.producers.0, self.producers.1
        )?;
        writeln!(
            f,
            "consumers that never read: {} closed, room for others after {:.1?}",
            self.consumers.0, self.consumers.1
        )?;
        let kept = match self.is_limited {
            true => "in a control group",
            false => "without a control group",
        };
        write!(
            f,
            "bounds: {} idle connections hold {} MiB; {} MiB at most, {kept}",
            self.idle,
            mebibytes(self.idle_bytes),
            mebibytes(self.peak_bytes),
        )
    }
}

/// Runs it. *Errors*: a bound was passed, or the broker ended.
pub fn run(options: &BoundsOptions) -> Result<BoundsSummary, Failure> {
    if options.data.exists() {
        let removed = std::fs::remove_dir_all(&options.data);
        removed.map_err(|error| format!("{}: {error}", options.data.display()))?;
    }
    // The broker takes three of four descriptors for connections, and has as many as this process.
    let descriptors = raise_descriptor_limit().unwrap_or(u64::MAX);
    let room = usize::try_from(descriptors / 4 * 3).unwrap_or(usize::MAX) - SPARE;
    let idle = options.idle.min(room);
    let group = MemoryGroup::make(options.memory_bytes);
    let enter = group.as_ref().map(MemoryGroup::enter).unwrap_or_default();
    let enter: Vec<&str> = enter.iter().map(String::as_str).collect();
    let broker = Broker::start_under(&broker_options(options), &enter)?;
    create_topic(options.port)?;
    let port = options.port;
    probe::measure(port, Duration::from_millis(500))?;
    let alone = probe::measure(port, options.measured)?;

    let crowd = crowd::Crowd::open(port, idle)?;
    // A silent connection gives its buffer back after a second.
    thread::sleep(Duration::from_secs(2));
    let idle_bytes = memory_group::resident(broker.id())?;
    let beside_idle = probe::measure(port, options.measured)?;
    let beside_churn = crowd::beside_churn(port, options.churn, || {
        probe::measure(port, options.measured)
    })?;
    let idle = crowd.close()?;
    // Until the broker has seen that they are gone, it has no place for as many others.
    for _ in 0..100 {
        if memory_group::descriptors(broker.id())? < SPARE * 4 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }

    let producers = producers::send(port, options.producers, options.request_bytes)?;
    // These two wait for deadlines.
    let (halves, consumers) = thread::scope(|scope| {
        let halves = scope.spawn(|| halves::send(port, options.halves, room.min(KEPT)));
        let consumers = consumers::ask_and_not_read(port, options.consumers);
        let halves = halves.join().map_err(|_| "a thread ended by a panic")?;
        Ok::<_, Failure>((halves?, consumers?))
    })?;
    let peak_bytes = memory_group::peak(broker.id())?;
    let is_limited = group.is_some();
    if let Some(group) = &group {
        group.check_nobody_was_killed()?;
    }
    broker.stop_cleanly()?;
    Ok(BoundsSummary {
        idle,
        idle_bytes,
        alone,
        beside_idle,
        beside_churn,
        halves,
        producers,
        consumers,
        peak_bytes,
        is_limited,
    })
}

fn broker_options(options: &BoundsOptions) -> Options {
    let setting = |text: String| ["--set".to_owned(), text];
    let arguments = [
        setting(format!(
            "socket.request.max.bytes={}",
            options.request_bytes
        )),
        setting(format!(
            "queued.max.request.bytes={}",
            4 * options.request_bytes
        )),
    ];
    Options {
        command: ServeCommand::Millstream {
            binary: options.millstream.clone(),
            arguments: arguments.concat(),
        },
        port: options.port,
        data_dir: options.data.clone(),
        second_data_dir: None,
        moves: false,
        endings: 0,
        seed: 1,
        base_timestamp: 0,
        producers: 0,
        partitions: 1,
        rate: 0,
        durability: None,
    }
}

fn create_topic(port: u16) -> Result<(), Failure> {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: TOPIC.into(),
            num_partitions: 2,
            replication_factor: 1,
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    let failed = |error| format!("the topic cannot be created: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    connection.call(5, &request).map(drop).map_err(failed)
}
