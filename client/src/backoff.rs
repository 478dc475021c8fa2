//! How long to wait before another attempt: doubling from a first wait to a longest one, spread by a fifth so that
//! many clients do not come back together (KIP-580).

use std::time::Duration;

/// The waits between attempts.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Wait before the second attempt.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            longest: Duration::from_secs(1),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failed attempts (at least 1), spread by `random` within ± 20 %.
    pub fn after(&self, failures: u32, random: u64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let wait = self.first.saturating_mul(1 << doublings).min(self.longest);
        wait.mul_f64(0.8 + 0.4 * (random % 1024) as f64 / 1024.0)
    }
}

/// A small generator for spreading waits and choosing partitions; not for secrets (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Seeded by the process's random hash keys.
    pub(crate) fn from_entropy() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(0u8))
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff::default();
        let middle = 512;
        let waits: Vec<u128> = (1..=6)
            .map(|failures| backoff.after(failures, middle).as_millis())
            .collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert_eq!(backoff.after(1, 0).as_millis(), 80);
        assert!(backoff.after(u32::MAX, 1023) < Duration::from_millis(1201));
    }
}
