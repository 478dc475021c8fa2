//! The timers of one shard in one ordered map.
//!
//! Heartbeats do not touch it. A member's timer is armed once; a heartbeat only moves the member's
//! own deadline, and when the timer fires early it is armed again for that deadline. So 100,000
//! members cost one map operation per session timeout each, not one per heartbeat.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_model::Instant;

/// What a timer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A group waits for its members to join.
    JoinPhase { group: Arc<str> },
    /// A group waits for its members to fetch their assignments.
    SyncPhase { group: Arc<str> },
    /// A member must show that it lives.
    Session { group: Arc<str>, member: Arc<str> },
    /// A member id was handed out and must be used.
    PendingId { group: Arc<str>, member: Arc<str> },
}

/// Names one armed timer: when it fires, and a number that keeps equal moments in arming order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerHandle {
    /// The moment it fires.
    pub(crate) at: Instant,
    number: u64,
}

/// All armed timers, the next one first.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: BTreeMap<TimerHandle, Timer>,
    next_number: u64,
}

impl Timers {
    /// Arms a timer.
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) -> TimerHandle {
        let handle = TimerHandle {
            at,
            number: self.next_number,
        };
        self.next_number += 1;
        self.armed.insert(handle, timer);
        handle
    }

    /// Takes a timer out. One that fired already is no error.
    pub(crate) fn disarm(&mut self, handle: TimerHandle) {
        self.armed.remove(&handle);
    }

    /// When the next timer fires.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.armed.first_key_value().map(|(handle, _)| handle.at)
    }

    /// Takes out the next timer if it is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.armed.first_entry()?;
        (entry.key().at <= now).then(|| entry.remove())
    }

    /// How many timers are armed.
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn timer(name: &str) -> Timer {
        Timer::JoinPhase { group: name.into() }
    }

    #[test]
    fn timers_fire_by_time_then_by_arming_order() {
        let mut timers = Timers::default();
        timers.arm(Instant(20), timer("c"));
        timers.arm(Instant(10), timer("a"));
        let disarmed = timers.arm(Instant(10), timer("x"));
        timers.arm(Instant(10), timer("b"));
        timers.disarm(disarmed);
        assert_eq!(timers.next_at(), Some(Instant(10)));
        assert_eq!(timers.pop_due(Instant(9)), None);
        assert_eq!(timers.pop_due(Instant(10)), Some(timer("a")));
        assert_eq!(timers.pop_due(Instant(10)), Some(timer("b")));
        assert_eq!(timers.pop_due(Instant(10)), None);
        assert_eq!(timers.len(), 1);
    }
}
