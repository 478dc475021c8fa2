//! A slow disk beside a fast one: a real broker process with two log directories, one of them throttled.
//!
//! ```text
//!   probes, at a fixed rate ──► partitions in the fast directory    p99 alone, p99 beside each load
//!   backfill, then load     ──► partitions in the slow directory    (1 MiB/s: blkio of a control group)
//!   GET /healthz            ──► the broker's HTTP
//! ```
//!
//! The probes measure from the time at which a batch was due, so that a broker that stops is not measured
//! less often. Beside them a file of the fast disk is synced as often without a broker: disks stall by
//! themselves. The backfill reads from the oldest record on what no cache holds. The load writes, reads the
//! tails and looks up offsets in the slow directory.

mod load;
mod probe;
mod throttle;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millstream_env::{Disk, RealDisk};

use crate::crash::wire::create_topic;
use crate::crash::{Broker, Failure, FileSystem, Options, ServeCommand, TOPIC, Volume};
use load::Loaded;
use throttle::Throttle;

/// Bytes of the slow volume.
const VOLUME_BYTES: u64 = 6 << 30;
/// Partitions of the topic, over both directories.
const PARTITIONS: i32 = 8;
/// How long the load goes on before it is measured beside.
const RAMP: Duration = Duration::from_secs(3);
/// Batches of each partition that the backfill reads: more than it gets to.
const BACKFILL_BATCHES: usize = 400;

/// What a run does.
#[derive(Clone, Debug)]
pub struct SlowDiskOptions {
    /// The broker's binary.
    pub millstream: PathBuf,
    /// Its port on 127.0.0.1; the next one is for HTTP.
    pub port: u16,
    /// Where the slow volume is made, and removed in the end.
    pub scratch: PathBuf,
    /// The fast log directory; it is emptied before.
    pub fast: PathBuf,
    /// Bytes a second that the slow disk writes, and reads.
    pub bytes_per_second: u64,
    /// How long each measurement takes.
    pub measured: Duration,
    /// The topic's `millstream.durability`.
    pub durability: String,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct SlowDiskSummary {
    /// The fast directory, alone.
    pub alone: Measured,
    /// Beside consumers that read what is in no cache.
    pub beside_backfill: Measured,
    /// Batches that these read.
    pub backfilled: u64,
    /// Beside the load.
    pub beside: Measured,
    /// The longest `GET /healthz` beside the load.
    pub health_max: Duration,
    /// What the slow directory did.
    pub slow: Loaded,
}

/// The fast directory and its disk at the same time.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Acknowledgement of batches.
    pub broker: Latencies,
    /// An append and a sync without a broker.
    pub disk: Latencies,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; the disk: p99 {:.2?}", self.broker, self.disk.p99)
    }
}

/// How long acknowledgements took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latencies {
    /// How many there were.
    pub count: usize,
    /// Half took no longer.
    pub p50: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// None took longer.
    pub max: Duration,
}

impl Latencies {
    pub(crate) fn of(mut all: Vec<Duration>) -> Latencies {
        all.sort_unstable();
        let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().max(1) - 1));
        Latencies {
            count: all.len(),
            p50: at(50).copied().unwrap_or_default(),
            p99: at(99).copied().unwrap_or_default(),
            max: all.last().copied().unwrap_or_default(),
        }
    }
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.2?} p99 {:.2?} max {:.2?} ({} batches)",
            self.p50, self.p99, self.max, self.count
        )
    }
}

impl SlowDiskSummary {
    /// How many times as long as alone a batch of the fast directory took beside the slow one.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        let p99 = self.beside.broker.p99.max(self.beside_backfill.broker.p99);
        p99.as_secs_f64() / self.alone.broker.p99.as_secs_f64()
    }

    /// Whether batches of the fast directory took so many times as long as alone, or as its disk did at that time, or
    /// this time, whichever is the longest.
    #[must_use]
    pub fn is_within(&self, ratio_max: f64, good_enough: Duration) -> bool {
        [self.beside, self.beside_backfill].iter().all(|beside| {
            let floor = self.alone.broker.p99.max(beside.disk.p99);
            beside.broker.p99 <= floor.mul_f64(ratio_max).max(good_enough)
        })
    }
}

impl fmt::Display for SlowDiskSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "fast directory alone:   {}", self.alone)?;
        writeln!(f, "beside a backfill:      {}", self.beside_backfill)?;
        writeln!(f, "                        of {} batches", self.backfilled)?;
        writeln!(f, "beside the slow one:    {}", self.beside)?;
        writeln!(f, "slowest /healthz:       {:.2?}", self.health_max)?;
        writeln!(f, "slow directory:         {}", self.slow)?;
        let ratio = self.ratio();
        write!(
            f,
            "slow disk: p99 {ratio:.2} times that of the fast disk alone"
        )
    }
}

/// Runs it.
pub fn run(options: &SlowDiskOptions) -> Result<SlowDiskSummary, Failure> {
    let volume = Volume::make(&options.scratch, FileSystem::Ext4, VOLUME_BYTES)?;
    let slow = volume.path().join("data");
    if options.fast.exists() {
        let removed = fs::remove_dir_all(&options.fast);
        removed.map_err(|error| format!("{}: {error}", options.fast.display()))?;
    }
    let broker_options = broker_options(options, &slow);
    let broker = Broker::start(&broker_options)?;
    create_topic(&broker_options, TOPIC, PARTITIONS)?;
    let (in_fast, in_slow) = (partitions_in(&options.fast)?, partitions_in(&slow)?);
    if in_fast.is_empty() || in_slow.is_empty() {
        return Err(format!(
            "partitions {in_fast:?} are in the fast directory, {in_slow:?} in the slow one"
        ));
    }
    load::fill(options.port, &in_slow, BACKFILL_BATCHES)?;
    forget_cached(&slow, &in_slow)?;
    // An append would have to read the page that it begins in.
    load::fill(options.port, &in_slow, 1)?;
    let throttle = Throttle::begin(volume.path(), options.bytes_per_second, broker.id())?;
    let file = options.fast.with_extension("floor");
    let measure_for = |time| probe::measure(options.port, &in_fast, &file, time);
    let measure = || measure_for(options.measured);
    // The first second of a broker's life is not what is asked for.
    measure_for(Duration::from_secs(1))?;
    let alone = measure()?;
    throttle.limit_reads(Some(options.bytes_per_second))?;
    let (beside_backfill, backfilled) = beside_backfill(options.port, &in_slow, measure)?;
    throttle.limit_reads(None)?;
    let stop = AtomicBool::new(false);
    let (beside, health_max, slow) = thread::scope(|scope| {
        let load = scope.spawn(|| load::run(options.port, &in_slow, &stop));
        thread::sleep(RAMP);
        let health = scope.spawn(|| probe::health(options.port + 1, options.measured));
        let beside = measure();
        let health = health.join().map_err(|_| "a thread ended by a panic");
        stop.store(true, Ordering::Relaxed);
        let loaded = load.join().map_err(|_| "a thread ended by a panic");
        Ok::<_, Failure>((beside?, health??, loaded??))
    })?;
    throttle.lift()?;
    // What is queued and not flushed is written first.
    let began = Instant::now();
    broker.stop_cleanly()?;
    drop(throttle);
    println!("stopped in {:.1?}", began.elapsed());
    Ok(SlowDiskSummary {
        alone,
        beside_backfill,
        backfilled,
        beside,
        health_max,
        slow,
    })
}

/// Measures while a consumer of each partition reads it from its oldest record on.
fn beside_backfill(
    port: u16,
    partitions: &[i32],
    measure: impl Fn() -> Result<Measured, Failure>,
) -> Result<(Measured, u64), Failure> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let backfill = scope.spawn(|| load::backfill(port, partitions, &stop));
        let beside = measure();
        stop.store(true, Ordering::Relaxed);
        let backfilled = backfill.join().map_err(|_| "a thread ended by a panic");
        Ok((beside?, backfilled??))
    })
}

/// Has the page cache forget what partitions have in their first segment.
fn forget_cached(directory: &Path, partitions: &[i32]) -> Result<(), Failure> {
    for partition in partitions {
        let folder = directory.join(format!("{TOPIC}-{partition}"));
        let path = folder.join("00000000000000000000.log");
        let forgotten = RealDisk
            .open(&path, false)
            .and_then(|file| file.forget_cached(0));
        forgotten.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

fn broker_options(options: &SlowDiskOptions, slow: &Path) -> Options {
    Options {
        command: ServeCommand::Millstream {
            binary: options.millstream.clone(),
            arguments: vec!["--data-dir".to_owned(), slow.display().to_string()],
        },
        port: options.port,
        data_dir: options.fast.clone(),
        second_data_dir: None,
        moves: false,
        endings: 0,
        seed: 1,
        base_timestamp: 0,
        producers: 0,
        partitions: PARTITIONS,
        rate: 0,
        durability: Some(options.durability.clone()),
    }
}

/// Which partitions of the topic a log directory holds.
fn partitions_in(directory: &Path) -> Result<Vec<i32>, Failure> {
    let entries = fs::read_dir(directory);
    let entries = entries.map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut partitions: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name();
            let number = name.to_str()?.strip_prefix(TOPIC)?.strip_prefix('-')?;
            number.parse().ok()
        })
        .collect();
    partitions.sort_unstable();
    Ok(partitions)
}
