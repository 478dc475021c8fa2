//! What a seed makes happen how often. Every seed draws its own rates, so that some are calm enough
//! for groups to settle and others never let anything be finished.

use millstream_env::sim::SimRandom;

/// Chances of each event, out of 1000 for every step, where nothing else is said.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// The machine loses its power.
    pub crash: u64,
    /// The broker is stopped and started.
    pub stop: u64,
    /// The broker is killed and started.
    pub kill: u64,
    /// The next sync fails.
    pub fail_sync: u64,
    /// The disk becomes full, or has room again.
    pub disk_room: u64,
    /// The disk becomes slow, or fast again.
    pub slow_disk: u64,
    /// The next write is cut short.
    pub short_write: u64,
    /// Recovery points are written.
    pub checkpoint: u64,
    /// Expired offsets are looked for.
    pub expiry: u64,
    /// A log is compacted.
    pub compaction: u64,
    /// Retention runs.
    pub retention: u64,
    /// A partition is to be in another log directory.
    pub moving: u64,
    /// A log directory fails for good.
    pub broken_directory: u64,
    /// A bit flips under the running broker, in seeds with damage.
    pub rot: u64,
    /// Damages while no broker runs: of 100 stops and crashes.
    pub damage_percent: u64,
    /// Nothing happens for a part of a second.
    pub pause: u64,
    /// Nothing happens for longer than a session.
    pub long_pause: u64,
    /// A thread of the broker works; what is left is the clients'.
    pub work: u64,
    /// How often of 100 a flush that could begin does: a slow disk leaves much that a crash can take.
    pub flush_percent: u64,
}

impl Rates {
    /// The rates of one seed.
    pub(crate) fn of(random: &SimRandom) -> Rates {
        let one_of = |rates: [u64; 4]| rates[random.below(4) as usize];
        let mut rates = Rates {
            crash: one_of([1, 1, 4, 20]),
            stop: one_of([0, 1, 2, 5]),
            kill: one_of([0, 1, 2, 8]),
            fail_sync: one_of([0, 1, 2, 5]),
            disk_room: one_of([0, 0, 4, 12]),
            slow_disk: one_of([0, 0, 3, 10]),
            short_write: one_of([0, 0, 3, 15]),
            checkpoint: one_of([0, 10, 40, 40]),
            expiry: one_of([0, 1, 3, 5]),
            compaction: one_of([0, 5, 20, 40]),
            retention: one_of([0, 2, 10, 30]),
            moving: one_of([0, 2, 5, 20]),
            broken_directory: one_of([0, 0, 1, 3]),
            rot: one_of([0, 0, 1, 3]),
            damage_percent: one_of([0, 0, 0, 20]),
            pause: one_of([0, 5, 20, 60]),
            long_pause: one_of([0, 0, 2, 5]),
            work: one_of([200, 300, 400, 500]),
            flush_percent: one_of([100, 100, 30, 8]),
        };
        if rates.rot > 0 || rates.damage_percent > 0 {
            // What was damaged is known by its directory.
            rates.moving = 0;
        }
        rates
    }

    /// How fast each log directory's disk is.
    pub(crate) fn flush_percents(&self, random: &SimRandom, directories: usize) -> Vec<u64> {
        let percent = |_| match random.chance(70) {
            true => self.flush_percent,
            false => 100,
        };
        (0..directories).map(percent).collect()
    }
}
