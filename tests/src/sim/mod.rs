//! A whole broker and its clients in one thread, where a seed decides everything that happens.
//!
//! ```text
//!   producers, consumers ───frames──► api ─► node ─► SimDisk ──crash: unsynced writes kept, lost or torn
//!        │  ▲                          │
//!        ▼  └──────── answers ◄────────┴─ effects, carried out when the seed says so
//!     checkers: know only what the clients saw, and what was damaged on purpose
//! ```
//!
//! The real cores run: request handlers, node, log, metadata, coordinator. The threads of the shell are queues here,
//! each in order, picked by chance. There are one to three log directories. Safety is checked throughout; at the end faults stop, and everything
//! that was begun must come to its end.

mod checkers;
mod clients;
mod connections;
mod damage;
mod rates;
pub(crate) mod wire;
mod world;

use std::fmt;

use millstream_env::sim::SimCounts;

pub use world::Planted;

use clients::{Clients, Heard};
use rates::Rates;
pub(crate) use world::{World, config};

/// Steps of a seed before the faults stop.
const STEPS: u32 = 5_000;
/// Steps that everything begun may take to come to its end.
const STEPS_TO_THE_END: u32 = 20_000;
/// Log directories, at most.
const DIRECTORIES_MAX: u64 = 3;
/// Turns of clients and threads after a directory failed, before the others are looked at, at most.
const WORK_WITH_A_BROKEN_DIRECTORY: u64 = 200;
/// Of 100 clients that hear of a failed disk, so many have the machine started again.
const RESTARTS: u64 = 30;
/// Longest pause of each kind, in milliseconds.
const PAUSE_MAX: u64 = 700;
const LONG_PAUSE_MAX: u64 = 15_000;
/// While everything comes to its end a step takes so long, at most: sessions of members that died must
/// run out.
const CALM_PAUSE_MAX: u64 = 20;

/// What happened, as a number: the same seed gives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// A hash over every answer and every fault.
    pub hash: u64,
    /// Batches that were acknowledged.
    pub acknowledged: usize,
    /// Offsets that were committed and acknowledged.
    pub commits: usize,
    /// The group's last generation.
    pub generations: i32,
    /// Ids of the topic that was deleted and created again.
    pub lives: usize,
    /// Crashes of the machine.
    pub crashes: u32,
    /// Passes of compaction that were begun.
    pub compactions: u32,
    /// Walks over the compacted topic.
    pub scans: u32,
    /// Deletions of first records that were acknowledged.
    pub deletions: u32,
    /// Whether retention by size moved a log's start.
    pub expirations: u32,
    /// Changes of settings that were acknowledged.
    pub settings: u32,
    /// Deletions of the offsets of a group that were acknowledged.
    pub forgotten: u32,
    /// Whether a static member came back to a stable group at the end.
    pub returns: u32,
    /// Partitions that acknowledged while another log directory had failed.
    pub probed: u32,
    /// Reads that were refused because of damage.
    pub refused_reads: u32,
    /// Starts that were refused because of damage.
    pub refused_starts: u32,
    /// Flushes that a slow disk put off.
    pub put_off: u64,
    /// Faults of the disk.
    pub faults: SimCounts,
    /// Steps that were queued for a slow disk.
    pub queued_steps: u32,
    /// Batches that its queue had no room for.
    pub queue_refusals: u32,
    /// Partitions that went to another log directory.
    pub moves: u32,
    /// How often a client with a quota was told to wait.
    pub throttled: u32,
}

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What was seen.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

pub(crate) fn violation<T>(what: impl Into<String>) -> Result<T, Violation> {
    Err(Violation { what: what.into() })
}

/// Runs one seed.
pub fn run(seed: u64, planted: Planted) -> Result<Trace, Violation> {
    let directories = 1 + (seed % DIRECTORIES_MAX) as usize;
    let mut world = World::new(seed, planted, directories)?;
    let rates = Rates::of(&world.random);
    let mut clients = Clients::new(&mut world)?;
    let outcome = run_in(&mut world, &mut clients, &rates, directories);
    outcome.map_err(|broken| {
        let marks = world.damage.marks.iter().map(ToString::to_string);
        Violation {
            what: format!("{broken} (damaged: {:?})", marks.collect::<Vec<_>>()),
        }
    })
}

fn run_in(
    world: &mut World,
    clients: &mut Clients,
    rates: &Rates,
    directories: usize,
) -> Result<Trace, Violation> {
    world.damage.percent = rates.damage_percent;
    world.flush_percents = rates.flush_percents(&world.random, directories);
    for _ in 0..STEPS {
        step(world, clients, rates)?;
    }
    world.damage.percent = 0;
    world.flush_percents = vec![100; directories];
    world.heal();
    world.crash()?;
    clients.reconnect(world);
    clients.calm_down(world);
    for _ in 0..STEPS_TO_THE_END {
        if clients.are_done() && !world.is_moving() {
            clients.check_the_end(world)?;
            return Ok(Trace {
                hash: world.trace,
                acknowledged: clients.seen.records.acknowledged(),
                commits: clients.seen.commits.acknowledged(),
                generations: clients.seen.owners.newest(),
                lives: clients.seen.lives.count(),
                crashes: world.crashes,
                compactions: world.compactions,
                scans: clients.seen.table.scans,
                deletions: clients.seen.trimmed.deletions,
                expirations: u32::from(clients.seen.trimmed.expired_to > 0),
                settings: clients.seen.settings.acknowledged,
                forgotten: clients.forgotten(),
                returns: u32::from(clients.has_returned),
                probed: clients.probed,
                refused_reads: clients.refused(),
                refused_starts: world.damage.refused_starts,
                put_off: world.put_off,
                faults: world.counts(),
                queued_steps: world.queued_steps,
                queue_refusals: world.queue_refusals,
                moves: world.moves,
                throttled: clients.throttled(),
            });
        }
        world.pause(CALM_PAUSE_MAX);
        match world.random.below(2) {
            0 => world.work()?,
            _ => {
                if clients.step(world)? == Heard::DiskFailed {
                    return violation(
                        "a client hears of a failed disk, but nothing fails any more",
                    );
                }
            }
        }
    }
    violation(format!(
        "clients do not come to their end although nothing fails any more: {}",
        clients.where_they_stand()
    ))
}

/// One thing happens, as the rates say.
fn step(world: &mut World, clients: &mut Clients, rates: &Rates) -> Result<(), Violation> {
    let drawn = world.random.below(1000);
    let mut end = 0;
    let mut falls_to = |rate: u64| {
        end += rate;
        drawn < end
    };
    if falls_to(rates.crash) {
        world.crash()?;
        clients.reconnect(world);
    } else if falls_to(rates.stop) {
        world.stop_cleanly()?;
        clients.reconnect(world);
    } else if falls_to(rates.kill) {
        world.kill()?;
        clients.reconnect(world);
    } else if falls_to(rates.fail_sync) {
        world.fail_a_sync();
    } else if falls_to(rates.disk_room) {
        world.change_disk_room();
    } else if falls_to(rates.slow_disk) {
        world.change_disk_speed();
    } else if falls_to(rates.short_write) {
        world.cut_a_write_short();
    } else if falls_to(rates.checkpoint) {
        world.checkpoint();
    } else if falls_to(rates.expiry) {
        // An empty group without offsets is forgotten at once, and its generations begin anew.
        if clients.seen.commits.acknowledged() > 0 {
            world.expire_groups();
        }
    } else if falls_to(rates.compaction) {
        if world.compact() && world.random.chance(30) {
            world.crash()?;
            clients.reconnect(world);
        }
    } else if falls_to(rates.retention) {
        world.retain();
        if world.random.chance(30) {
            world.crash()?;
            clients.reconnect(world);
        }
    } else if falls_to(rates.moving) {
        world.ask_for_a_move();
    } else if falls_to(rates.broken_directory) {
        world.call_off_faults();
        world.break_a_directory();
        for _ in 0..world.random.below(WORK_WITH_A_BROKEN_DIRECTORY) {
            world.work()?;
            clients.step(world)?;
        }
        clients.check_the_healthy(world)?;
    } else if falls_to(rates.rot) {
        world.rot();
    } else if falls_to(rates.pause) {
        world.pause(PAUSE_MAX);
    } else if falls_to(rates.long_pause) {
        world.pause(LONG_PAUSE_MAX);
    } else if falls_to(rates.work) {
        world.work()?;
    } else if clients.step(world)? == Heard::DiskFailed && world.random.chance(RESTARTS) {
        // A log directory whose sync failed is offline until its broker is started again, with the
        // machine or without it.
        match world.random.chance(50) {
            true => world.crash()?,
            false => world.kill()?,
        }
        clients.reconnect(world);
    }
    Ok(())
}
