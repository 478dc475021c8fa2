//! How fast something happens, as Kafka measures what has a quota.
//!
//! What happens is counted in samples of a second, of which the last eleven count (`quota.window.num`,
//! `quota.window.size.seconds`). The rate is their sum over the time since the oldest of them began, taken as
//! ten full samples at least, so that a burst after silence is not called fast:
//!
//! ```text
//!    ├─────┼─────┼─  …  ─┼─────┼──┤ now           rate = count / elapsed
//!    oldest                     running sample    elapsed ≥ (samples − 1) · length
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use millstream_model::Instant;

use crate::client_rates::QuotaWindow;

struct Sample {
    began: Instant,
    last: Instant,
    count: u64,
}

/// The last samples, oldest first.
#[derive(Default)]
pub(crate) struct Rate(VecDeque<Sample>);

impl Rate {
    /// Counts what happens now.
    pub(crate) fn record(&mut self, count: u64, now: Instant, window: &QuotaWindow) {
        match self.0.back_mut() {
            Some(running) if now.since(running.began) < window.length => {
                running.count += count;
                running.last = now;
            }
            _ => self.0.push_back(Sample {
                began: now,
                last: now,
                count,
            }),
        }
    }

    /// Takes off again what was recorded last.
    pub(crate) fn take_off(&mut self, mut count: u64) {
        for sample in self.0.iter_mut().rev() {
            let taken = count.min(sample.count);
            sample.count -= taken;
            count -= taken;
        }
    }

    /// How long to wait to be within `limit` a second.
    pub(crate) fn excess(&mut self, limit: f64, now: Instant, window: &QuotaWindow) -> Duration {
        while self.is_front_over(now, window) {
            self.0.pop_front();
        }
        let count: u64 = self.0.iter().map(|sample| sample.count).sum();
        let excess = count as f64 / limit - self.elapsed(now, window).as_secs_f64();
        // A client is told milliseconds.
        let millis = (excess * 1000.0).round();
        match millis >= 1.0 {
            true => Duration::from_millis(millis as u64),
            false => Duration::ZERO,
        }
    }

    fn is_front_over(&self, now: Instant, window: &QuotaWindow) -> bool {
        let front = self.0.front();
        front.is_some_and(|sample| now.since(sample.last) >= window.all())
    }

    fn elapsed(&self, now: Instant, window: &QuotaWindow) -> Duration {
        let oldest = self.0.front().map_or(now, |sample| sample.began);
        let elapsed = now.since(oldest);
        let full = elapsed.as_nanos() / window.length.as_nanos();
        let full = u32::try_from(full).unwrap_or(u32::MAX);
        elapsed + window.length * (window.samples - 1).saturating_sub(full)
    }

    /// When something was recorded last.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.0.back().map(|sample| sample.last)
    }
}
