//! How many bytes a client with a quota moves (KIP-13, KIP-219): its quota in the long run, a burst after silence,
//! and the one request that was too much.

use crate::sim::{Violation, violation};

/// Milliseconds of its quota that a client may use at once: the ten full samples of a rate, and the running one.
const BURST_MS: i64 = 11_000;

/// One direction of a client, as it saw it since it knew its quota.
#[derive(Debug, Default)]
pub struct Pace {
    /// Bytes a second; none is known.
    quota: Option<u64>,
    since_ms: i64,
    bytes: u64,
    largest: u64,
}

impl Pace {
    /// The quota that is known to be in force now, if one is.
    pub fn know(&mut self, quota: Option<u64>, now_ms: i64) {
        if self.quota != quota {
            *self = Pace {
                quota,
                since_ms: now_ms,
                ..Pace::default()
            };
        }
    }

    /// Nobody counted what was before.
    pub fn forget(&mut self) {
        *self = Pace::default();
    }

    /// A request that was sent at a time moved bytes until now. One that was sent before its quota was known may
    /// not have been counted.
    pub fn moved(&mut self, bytes: usize, sent_ms: i64, now_ms: i64) -> Result<(), Violation> {
        let Some(quota) = self.quota.filter(|_| sent_ms > self.since_ms) else {
            return Ok(());
        };
        self.bytes += bytes as u64;
        self.largest = self.largest.max(bytes as u64);
        let elapsed = now_ms - self.since_ms;
        let allowed = quota * (elapsed + BURST_MS) as u64 / 1000 + self.largest;
        match self.bytes > allowed {
            true => violation(format!(
                "{} bytes in {elapsed} ms with a quota of {quota} a second, {allowed} at most",
                self.bytes
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_burst_and_the_quota_and_one_request_are_allowed() {
        let mut pace = Pace::default();
        pace.moved(1_000_000, 0, 0).unwrap();
        pace.know(Some(1000), 5_000);
        pace.moved(1_000_000, 5_000, 5_100).unwrap();
        pace.moved(11_000, 5_500, 5_500).unwrap();
        pace.moved(11_000, 5_500, 5_500).unwrap();
        pace.know(Some(1000), 6_000);
        assert!(pace.moved(1_001, 6_000, 6_000).is_err());
        pace.know(None, 6_000);
        pace.moved(1_000_000, 7_000, 7_000).unwrap();
    }
}
