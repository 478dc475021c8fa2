//! Clocks of the simulated machine.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use millstream_model::{Instant, WallTime};

use crate::Clock;

/// Clocks that stand still until they are moved.
pub struct SimClock {
    now: AtomicU64,
    wall_start: i64,
    /// Milliseconds that the wall clock is ahead of where it should be.
    wall_ahead: AtomicI64,
}

impl SimClock {
    /// Both clocks begin here: the monotonic one at 0, the wall clock at `wall_start`.
    #[must_use]
    pub fn new(wall_start: WallTime) -> SimClock {
        SimClock {
            now: AtomicU64::new(0),
            wall_start: wall_start.0,
            wall_ahead: AtomicI64::new(0),
        }
    }

    /// Sets the wall clock so far ahead of where it should be, as an operator who errs does.
    pub fn set_wall(&self, ahead: Duration) {
        let millis = i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX);
        self.wall_ahead.store(millis, Ordering::SeqCst);
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.now.fetch_add(nanos, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::SeqCst))
    }

    fn wall_time(&self) -> WallTime {
        let millis = self.now.load(Ordering::SeqCst) / 1_000_000;
        WallTime(self.wall_start + millis as i64 + self.wall_ahead.load(Ordering::SeqCst))
    }
}
