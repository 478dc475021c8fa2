//! A whole broker and its clients in one thread, where a seed decides everything that happens.
//!
//! ```text
//!   producers, a consumer ──frames──► api ─► node ─► SimDisk ──crash: unsynced writes kept, lost or torn
//!        │  ▲                          │
//!        ▼  └──────── answers ◄────────┴─ effects, carried out when the seed says so
//!     Oracle: knows only what the clients saw
//! ```
//!
//! The real cores run: request handlers, node, log, metadata. The threads of the shell are queues here,
//! each in order, picked by chance. Safety is checked throughout; at the end faults stop, and everything
//! that was begun must come to its end.

mod clients;
mod oracle;
mod world;

use std::fmt;

pub use oracle::Oracle;
pub use world::Planted;

use clients::Clients;
use world::World;

/// Steps of a seed before the faults stop.
const STEPS: u32 = 400;
/// Steps that everything begun may take to come to its end.
const STEPS_TO_THE_END: u32 = 5_000;

/// What happened, as a number: the same seed gives the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// A hash over every answer and every fault.
    pub hash: u64,
    /// Batches that were acknowledged.
    pub acknowledged: usize,
    /// Crashes of the machine.
    pub crashes: u32,
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
    let mut world = World::new(seed, planted)?;
    let mut clients = Clients::new(&mut world)?;
    for _ in 0..STEPS {
        match world.random.below(100) {
            0..=2 => {
                world.crash()?;
                clients.reconnect(&mut world);
            }
            3 => {
                world.stop_cleanly()?;
                clients.reconnect(&mut world);
            }
            4 => world.fail_a_sync(),
            5 => {
                world.kill()?;
                clients.reconnect(&mut world);
            }
            6..=8 => world.checkpoint(),
            9..=45 => world.work()?,
            _ => clients.step(&mut world)?,
        }
        if clients.must_restart {
            // A log directory that failed is offline until its broker is started again, with the
            // machine or without it.
            match world.random.chance(50) {
                true => world.crash()?,
                false => world.kill()?,
            }
            clients.reconnect(&mut world);
        }
    }
    world.heal();
    world.crash()?;
    clients.reconnect(&mut world);
    for _ in 0..STEPS_TO_THE_END {
        if clients.are_done() {
            clients.oracle.check_the_end()?;
            return Ok(Trace {
                hash: world.trace,
                acknowledged: clients.oracle.acknowledged(),
                crashes: world.crashes,
            });
        }
        match world.random.below(2) {
            0 => world.work()?,
            _ => clients.step(&mut world)?,
        }
    }
    violation("clients do not come to their end although nothing fails any more")
}
