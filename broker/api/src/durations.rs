//! How long answers took, in buckets that are counted without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest time of each bucket; one more takes what is longer. Three to each power of ten tell a flush from a
/// stall, and a stall from a long poll.
const BOUNDS: [Duration; 11] = [
    Duration::from_micros(100),
    Duration::from_micros(300),
    Duration::from_millis(1),
    Duration::from_millis(3),
    Duration::from_millis(10),
    Duration::from_millis(30),
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(10),
];

/// Durations as they are counted.
#[derive(Default)]
pub(crate) struct Durations {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

/// Durations that were counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    /// How many were no longer than a bound and longer than the bound before it; the last have no bound.
    pub buckets: Vec<(Option<Duration>, u64)>,
    /// All of them together.
    pub sum: Duration,
}

impl Durations {
    pub(crate) fn note(&self, took: Duration) {
        let bucket = BOUNDS.partition_point(|bound| *bound < took);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// `None` while nothing is counted.
    pub(crate) fn read(&self) -> Option<Histogram> {
        let bounds = BOUNDS.iter().copied().map(Some).chain([None]);
        let counts = self.buckets.iter();
        let counts = counts.map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<_> = bounds.zip(counts).collect();
        buckets
            .iter()
            .any(|(_, count)| *count > 0)
            .then(|| Histogram {
                buckets,
                sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_bucket() {
        let durations = Durations::default();
        assert_eq!(durations.read(), None);
        let beyond = Duration::from_nanos(1);
        for bound in BOUNDS {
            durations.note(bound);
            durations.note(bound + beyond);
        }
        let histogram = durations.read().expect("something is counted");
        let counts: Vec<u64> = histogram.buckets.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]);
        let sum: Duration = BOUNDS.iter().sum();
        assert_eq!(histogram.sum, 2 * sum + 11 * beyond);
    }
}
