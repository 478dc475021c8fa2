//! Random bits of the simulated machine: a seed's.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Random;

/// SplitMix64 (Steele, Lea, Flood 2014): small, seeded, good enough to choose by.
pub struct SimRandom {
    state: AtomicU64,
}

impl SimRandom {
    /// Begins the sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> SimRandom {
        SimRandom {
            state: AtomicU64::new(seed),
        }
    }

    /// A number below `bound`. *Bounds*: `bound` > 0.
    pub fn below(&self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True in `percent` of 100 calls.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for SimRandom {
    fn next_u64(&self) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self
            .state
            .fetch_add(GOLDEN, Ordering::SeqCst)
            .wrapping_add(GOLDEN);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
