//! A budget of bytes per second, kept to by waiting after they were spent.

use std::time::Duration;

use millstream_model::Instant;

/// No single wait is longer; the rest of it is waited after the next bytes.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// When the budget has caught up with what was spent.
#[derive(Debug)]
pub struct Throttle {
    bytes_per_second: f64,
    even_at: Instant,
}

impl Throttle {
    /// A budget that nothing was spent of. *Bounds*: above 0.
    #[must_use]
    pub fn new(bytes_per_second: f64, now: Instant) -> Throttle {
        assert!(bytes_per_second > 0.0, "a budget of nothing never ends");
        Throttle {
            bytes_per_second,
            even_at: now,
        }
    }

    /// From now on the budget is this. *Bounds*: above 0.
    pub fn set_budget(&mut self, bytes_per_second: f64) {
        assert!(bytes_per_second > 0.0, "a budget of nothing never ends");
        self.bytes_per_second = bytes_per_second;
    }

    /// Spends bytes, and answers how long to wait. What was not spent in time before is lost.
    pub fn spend(&mut self, bytes: u64, now: Instant) -> Duration {
        let seconds = bytes as f64 / self.bytes_per_second;
        let cost = Duration::try_from_secs_f64(seconds).unwrap_or(WAIT_MAX);
        self.even_at = self.even_at.max(now).after(cost);
        self.even_at.since(now).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_spent_is_waited_for() {
        let start = Instant(0);
        let mut throttle = Throttle::new(1000.0, start);
        assert_eq!(throttle.spend(500, start), Duration::from_millis(500));
        let later = start.after(Duration::from_millis(400));
        assert_eq!(throttle.spend(500, later), Duration::from_millis(600));
        let idle = start.after(Duration::from_secs(60));
        assert_eq!(throttle.spend(100, idle), Duration::from_millis(100));
        assert_eq!(throttle.spend(1 << 40, idle), WAIT_MAX);
    }

    #[test]
    fn without_a_limit_nothing_is_waited_for() {
        let mut throttle = Throttle::new(f64::MAX, Instant(5));
        assert_eq!(throttle.spend(u64::MAX, Instant(5)), Duration::ZERO);
    }
}
