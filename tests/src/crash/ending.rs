//! The ways in which a broker's life ends, or its disk fails it, each again and again under load.
//!
//! | ending | what happens | what is demanded meanwhile |
//! | --- | --- | --- |
//! | kill | SIGKILL | |
//! | power cut | the disk keeps only what was synced; some cuts right after a reader has read what a killed broker left (S23) | the files verify before every start |
//! | failed sync | one `fdatasync` fails and succeeds afterwards (S10) | nothing is acknowledged any more, and reading goes on or fails with a storage error; then SIGKILL |
//! | failed directory | one `fdatasync` in the second of two log directories fails (S13) | its partitions have no leader and take nothing, the others take all; then SIGKILL |
//! | nearly full disk | no space but the reserve (S11) | records are refused with the setting's name, reading and committing offsets go on, and writing once a topic is deleted |
//! | crash loop | five times SIGKILL (S19) | safe mode: `/readyz` says so, records are refused, reading goes on; a clean stop ends it |
//! | full disk | no reserve, and no space for what is appended (S11), or at a start (S12) | reading goes on, and writing by itself once there is space |

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use millstream_env::sim::SimRandom;

use super::beside::readyz;
use super::broker::Broker;
use super::crash_loop::{CRASHES, crash_in_a_loop};
use super::directory::fail_directory;
use super::reserve::{RESERVE, use_up_room};
use super::volume::Volume;
use super::{Failure, Shared, reader};

/// One of them.
#[derive(Debug)]
pub enum Ending {
    /// SIGKILL: the page cache stays.
    Kill,
    /// The power of the volume is cut.
    PowerCut(Volume),
    /// A sync fails.
    FailedSync,
    /// One of two log directories fails.
    FailedDirectory,
    /// The volume is full.
    FullDisk(Volume),
    /// The volume has no room but its reserve.
    NearlyFullDisk(Volume),
    /// SIGKILL, too often in too short a time.
    CrashLoop,
}

/// Bytes left on a disk that is about to be full.
const ROOM: u64 = 4 << 20;
/// Without an acknowledgement for so long, there are none.
const STANDSTILL: Duration = Duration::from_millis(1500);
/// A load meets a fault, or goes on after it, within this time.
const WITHIN: Duration = Duration::from_secs(60);

impl Ending {
    /// What a run counts.
    pub(crate) fn counted(&self, count: u32) -> String {
        match self {
            Ending::Kill => format!("crash: {count} kills"),
            Ending::PowerCut(volume) => {
                format!("powercut: {count} cuts on {}", volume.kind().name())
            }
            Ending::FailedSync => format!("failed sync: {count} times"),
            Ending::FailedDirectory => format!("failed directory: {count} times"),
            Ending::NearlyFullDisk(volume) => {
                let name = volume.kind().name();
                format!("nearly full disk: {count} times on {name}")
            }
            Ending::CrashLoop => format!("crash loop: {count} times"),
            Ending::FullDisk(volume) => {
                format!("full disk: {count} times on {}", volume.kind().name())
            }
        }
    }

    /// What the broker is started with.
    #[must_use]
    pub fn settings(&self) -> Vec<String> {
        let (reserve, crashes) = match self {
            Ending::NearlyFullDisk(_) => (RESERVE, 0),
            Ending::CrashLoop => (0, CRASHES),
            _ => (0, 0),
        };
        vec![
            format!("millstream.log.dir.reserve.bytes={reserve}"),
            format!("millstream.safe.mode.crashes={crashes}"),
        ]
    }

    /// Ends a broker under load once, and leaves another one that serves.
    pub(crate) fn strike(
        &mut self,
        shared: &Shared,
        broker: &mut Broker,
        random: &SimRandom,
    ) -> Result<(), Failure> {
        match self {
            Ending::Kill => kill(shared, broker, random),
            Ending::PowerCut(volume) => cut_power(shared, broker, random, volume),
            Ending::FailedSync => fail_sync(shared, broker, random),
            Ending::FailedDirectory => {
                work(shared, random);
                fail_directory(shared, broker)
            }
            Ending::NearlyFullDisk(volume) => {
                work(shared, random);
                use_up_room(shared, broker, random, volume)
            }
            Ending::CrashLoop => {
                work(shared, random);
                crash_in_a_loop(shared, broker)
            }
            Ending::FullDisk(volume) => fill_disk(shared, broker, random, volume),
        }
    }
}

/// Most endings meet a broker at work, some one that has just begun.
fn work(shared: &Shared, random: &SimRandom) {
    if random.chance(80) {
        shared.wait_for_more_than(shared.acked.load(Ordering::SeqCst));
        shared.sleep(Duration::from_millis(random.below(1000)));
    } else {
        shared.sleep(Duration::from_millis(random.below(50)));
    }
}

fn kill(shared: &Shared, broker: &mut Broker, random: &SimRandom) -> Result<(), Failure> {
    work(shared, random);
    broker.kill()?;
    if random.chance(15) {
        // And some meet it while it starts.
        let mut starting = Broker::spawn(&shared.options)?;
        shared.sleep(Duration::from_millis(random.below(60)));
        starting.kill()?;
    }
    *broker = Broker::start(&shared.options)?;
    Ok(())
}

fn cut_power(
    shared: &Shared,
    broker: &mut Broker,
    random: &SimRandom,
    volume: &mut Volume,
) -> Result<(), Failure> {
    work(shared, random);
    if random.chance(30) {
        // What a killed broker had not synced is in the page cache. Nobody may see it before the next
        // one has synced it.
        broker.kill()?;
        let seen = shared.seen.load(Ordering::SeqCst);
        *broker = Broker::start(&shared.options)?;
        wait_until(shared, || shared.seen.load(Ordering::SeqCst) > seen)
            .ok_or("nothing is read after a restart")?;
    }
    // A sync that is under way when ext4 is shut down may succeed with nothing on the disk (seen with a
    // loop of pwrite and fdatasync alone), where a real power cut lets nothing return.
    broker.freeze()?;
    volume.cut_power()?;
    if random.chance(50) {
        // What it does on a dead disk must not count as done.
        broker.thaw()?;
        shared.sleep(Duration::from_millis(random.below(30)));
    }
    broker.kill_or_find_dead()?;
    volume.remount()?;
    if random.chance(15) {
        let mut starting = Broker::spawn(&shared.options)?;
        shared.sleep(Duration::from_millis(random.below(60)));
        starting.freeze()?;
        volume.cut_power()?;
        starting.kill_or_find_dead()?;
        volume.remount()?;
    }
    Broker::verify(&shared.options)?;
    *broker = Broker::start(&shared.options)?;
    Ok(())
}

fn fail_sync(shared: &Shared, broker: &mut Broker, random: &SimRandom) -> Result<(), Failure> {
    work(shared, random);
    broker.kill()?;
    // Every thread that syncs counts on its own.
    let when = 3 + random.below(60);
    let started = Broker::start_under(
        &shared.options,
        &[
            "strace",
            "-D",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            "trace=fdatasync",
            "-e",
            &format!("inject=fdatasync:error=EIO:when={when}"),
        ],
    );
    let acked = match started {
        // It may be one of the start's own syncs.
        Err(failure) => {
            println!("not started where a sync fails: {failure}");
            shared.acked.load(Ordering::SeqCst)
        }
        Ok(started) => {
            *broker = started;
            let acked = offline_after_failed_sync(shared)?;
            broker.kill()?;
            acked
        }
    };
    *broker = Broker::start(&shared.options)?;
    wait_until(shared, || shared.acked.load(Ordering::SeqCst) > acked)
        .ok_or("nothing is acknowledged after a restart")?;
    Ok(())
}

/// Waits until a sync has failed; answers how much was acknowledged, and that must stay all.
fn offline_after_failed_sync(shared: &Shared) -> Result<u64, Failure> {
    wait_for_standstill(shared).ok_or("acknowledgements go on after a sync has failed")?;
    let acked = shared.acked.load(Ordering::SeqCst);
    shared.sleep(Duration::from_millis(500));
    if shared.acked.load(Ordering::SeqCst) > acked {
        return Err("a batch is acknowledged long after a sync has failed".to_owned());
    }
    // A sync of a start's recovery takes its partition only.
    match readyz(&shared.options)? {
        (503, text) if !text.contains("a sync failed") => Err(format!("/readyz says {text:?}")),
        _ => Ok(acked),
    }
}

fn fill_disk(
    shared: &Shared,
    broker: &mut Broker,
    random: &SimRandom,
    volume: &Volume,
) -> Result<(), Failure> {
    work(shared, random);
    volume.fill_up(ROOM)?;
    wait_for_standstill(shared).ok_or("acknowledgements go on, on a full disk")?;
    let refused = shared.refused.load(Ordering::SeqCst);
    wait_until(shared, || shared.refused.load(Ordering::SeqCst) > refused)
        .ok_or("producers are not told KAFKA_STORAGE_ERROR")?;
    reader::read_all(&shared.options, &mut |_| {})
        .map_err(|failure| format!("on a full disk: {failure}"))?;
    if random.chance(50) {
        // A start finds no space.
        broker.kill()?;
        *broker = match Broker::start(&shared.options) {
            Ok(started) => {
                println!("started on a full disk");
                reader::read_all(&shared.options, &mut |_| {})
                    .map_err(|failure| format!("started on a full disk: {failure}"))?;
                started
            }
            Err(failure) => {
                println!("not started on a full disk: {failure}");
                volume.make_room()?;
                *broker = Broker::start(&shared.options)?;
                return resume(shared);
            }
        };
    }
    volume.make_room()?;
    resume(shared)
}

/// What was refused is taken once there is space, without anybody's help.
pub(crate) fn resume(shared: &Shared) -> Result<(), Failure> {
    let acked = shared.acked.load(Ordering::SeqCst);
    wait_until(shared, || shared.acked.load(Ordering::SeqCst) > acked + 20)
        .ok_or("nothing is acknowledged although there is space again")?;
    Ok(())
}

pub(crate) fn wait_until(shared: &Shared, mut holds: impl FnMut() -> bool) -> Option<()> {
    let end = Instant::now() + WITHIN;
    while !holds() {
        if shared.is_over() || Instant::now() > end {
            return None;
        }
        shared.sleep(Duration::from_millis(1));
    }
    Some(())
}

/// Waits until nothing is acknowledged any more.
pub(crate) fn wait_for_standstill(shared: &Shared) -> Option<()> {
    let end = Instant::now() + WITHIN;
    let mut since = (Instant::now(), shared.acked.load(Ordering::SeqCst));
    while since.0.elapsed() < STANDSTILL {
        let acked = shared.acked.load(Ordering::SeqCst);
        if acked != since.1 {
            since = (Instant::now(), acked);
        }
        if shared.is_over() || Instant::now() > end {
            return None;
        }
        shared.sleep(Duration::from_millis(10));
    }
    Some(())
}
