//! How fast clients go, and how long who is too fast waits (KIP-13, KIP-219).
//!
//! The bytes of a client are counted as a [`Rate`].
//!
//! Above its quota it waits until the same bytes would be within it: bytes / quota − elapsed. A produce
//! request is taken and answered first, and its connection is not read meanwhile; the answer to a fetch is
//! kept back and its bytes are taken off again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use millstream_metadata::{AppliedQuota, CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE};
use millstream_model::Instant;

use crate::Broker;
use crate::context::ANONYMOUS;
use crate::rate::Rate;

/// Clients whose rate is known at once; past it the longest silent is forgotten.
const CLIENTS_MAX: usize = 10_000;
/// Client ids that begin with the same so many bytes share a rate.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// How long rates are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaWindow {
    /// Samples that count (`quota.window.num`). *Bounds*: at least 1.
    pub samples: u32,
    /// The length of one (`quota.window.size.seconds`). *Bounds*: above 0.
    pub length: Duration,
}

impl Default for QuotaWindow {
    fn default() -> QuotaWindow {
        QuotaWindow {
            samples: 11,
            length: Duration::from_secs(1),
        }
    }
}

impl QuotaWindow {
    /// The full samples before the running one.
    pub(crate) fn full(&self) -> Duration {
        self.length * (self.samples - 1)
    }

    /// After so much silence nothing counts any more.
    pub(crate) fn all(&self) -> Duration {
        self.length * self.samples
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    /// From producers.
    Produced,
    /// To consumers.
    Fetched,
}

/// Whose bytes are counted together. A part is empty where it makes no difference.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RateOf {
    pub direction: Direction,
    pub user: String,
    pub client_id: String,
}

/// The rates of all clients that a quota applies to.
#[derive(Default)]
pub(crate) struct ClientRates(Mutex<BTreeMap<RateOf, Rate>>);

impl ClientRates {
    /// Counts bytes. Answers how long the client waits; zero within its quota.
    pub(crate) fn record(
        &self,
        of: RateOf,
        limit: f64,
        bytes: usize,
        now: Instant,
        window: &QuotaWindow,
    ) -> Duration {
        let of = shortened(of);
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= CLIENTS_MAX && !rates.contains_key(&of) {
            forget_silent(&mut rates, now, window);
        }
        let rate = rates.entry(of).or_default();
        rate.record(bytes as u64, now, window);
        rate.excess(limit, now, window)
    }

    /// Takes off again what was just recorded.
    pub(crate) fn take_off(&self, of: RateOf, bytes: usize) {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rate) = rates.get_mut(&shortened(of)) {
            rate.take_off(bytes as u64);
        }
    }
}

impl Broker {
    /// Counts bytes that a client sends or gets. Answers how long it waits; zero within its quota, and for
    /// a client without one.
    pub(crate) fn count_bytes(
        &self,
        direction: Direction,
        client_id: &str,
        bytes: usize,
        now: Instant,
    ) -> Duration {
        let Some(quota) = self.quota_of(direction, client_id) else {
            return Duration::ZERO;
        };
        let of = rate_of(direction, &quota, client_id);
        let window = &self.config.quota_window;
        self.rates.record(of, quota.limit, bytes, now, window)
    }

    /// Takes off again what was just counted.
    pub(crate) fn uncount_bytes(&self, direction: Direction, client_id: &str, bytes: usize) {
        if let Some(quota) = self.quota_of(direction, client_id) {
            self.rates
                .take_off(rate_of(direction, &quota, client_id), bytes);
        }
    }

    /// The bytes that a client with a quota may get at once, after silence.
    pub(crate) fn burst_of(&self, direction: Direction, client_id: &str) -> Option<usize> {
        let quota = self.quota_of(direction, client_id)?;
        let bytes = quota.limit * self.config.quota_window.full().as_secs_f64();
        // Saturates.
        Some(bytes as usize)
    }

    fn quota_of(&self, direction: Direction, client_id: &str) -> Option<AppliedQuota> {
        let key = match direction {
            Direction::Produced => PRODUCER_BYTE_RATE,
            Direction::Fetched => CONSUMER_BYTE_RATE,
        };
        self.view().image.quota_of(key, ANONYMOUS, client_id)
    }
}

/// A throttle time as clients are told.
pub(crate) fn wire_millis(throttle: Duration) -> i32 {
    i32::try_from(throttle.as_millis()).unwrap_or(i32::MAX)
}

fn rate_of(direction: Direction, quota: &AppliedQuota, client_id: &str) -> RateOf {
    let only = |is_alone: bool, name: &str| match is_alone {
        true => name.to_owned(),
        false => String::new(),
    };
    RateOf {
        direction,
        user: only(quota.is_by_user, ANONYMOUS),
        client_id: only(quota.is_by_client_id, client_id),
    }
}

fn shortened(mut of: RateOf) -> RateOf {
    let end = of.client_id.floor_char_boundary(CLIENT_ID_BYTES_MAX);
    of.client_id.truncate(end);
    of
}

/// Forgets who has been silent so long that nothing counts, or else the longest silent.
fn forget_silent(rates: &mut BTreeMap<RateOf, Rate>, now: Instant, window: &QuotaWindow) {
    rates.retain(|_, rate| {
        rate.last()
            .is_some_and(|last| now.since(last) < window.all())
    });
    if rates.len() >= CLIENTS_MAX {
        let silent = rates.iter().min_by_key(|(_, rate)| rate.last());
        if let Some(of) = silent.map(|(of, _)| of.clone()) {
            rates.remove(&of);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const LIMIT: f64 = 1000.0;

    fn at(millis: u64) -> Instant {
        Instant(0).after(Duration::from_millis(millis))
    }

    fn of(client_id: &str) -> RateOf {
        RateOf {
            direction: Direction::Produced,
            user: String::new(),
            client_id: client_id.to_owned(),
        }
    }

    fn record(rates: &ClientRates, bytes: usize, millis: u64) -> u128 {
        let window = QuotaWindow::default();
        let wait = rates.record(of("a"), LIMIT, bytes, at(millis), &window);
        wait.as_millis()
    }

    #[test]
    fn a_burst_after_silence_has_ten_seconds() {
        let rates = ClientRates::default();
        assert_eq!(record(&rates, 10_000, 0), 0);
        // 15,600 bytes in 10.2 seconds.
        assert_eq!(record(&rates, 5_600, 200), 5_400);
        // Time that the ten full samples stand for already makes it no slower.
        assert_eq!(record(&rates, 0, 5_200), 5_400);
        assert_eq!(record(&rates, 0, 5_600), 5_000);
        assert_eq!(record(&rates, 0, 11_199), 4_401);
        assert_eq!(record(&rates, 0, 11_200), 0);
    }

    #[test]
    fn a_steady_client_below_its_quota_never_waits() {
        let rates = ClientRates::default();
        for tenth in 0..1000 {
            assert_eq!(record(&rates, 90, tenth * 100), 0, "{tenth}");
        }
        // At twice the quota it waits soon, and ever longer.
        let waits: Vec<u128> = (1000..1200)
            .map(|tenth| record(&rates, 200, tenth * 100))
            .collect();
        assert_eq!(waits[0], 0);
        assert!(*waits.last().unwrap() >= 10_000, "{waits:?}");
    }

    #[test]
    fn what_is_taken_off_did_not_happen() {
        let rates = ClientRates::default();
        assert_eq!(record(&rates, 10_000, 0), 0);
        assert_eq!(record(&rates, 3_000, 1_500), 2_500);
        rates.take_off(of("a"), 3_000);
        assert_eq!(record(&rates, 0, 1_500), 0);
        // More than the running sample holds comes off the ones before.
        rates.take_off(of("a"), 10_000);
        assert_eq!(record(&rates, 10_000, 1_500), 0);
        rates.take_off(of("nobody"), 1);
    }

    #[test]
    fn clients_have_rates_of_their_own_and_their_number_is_bounded() {
        let rates = ClientRates::default();
        let window = QuotaWindow::default();
        let wait = |id: &str, millis| rates.record(of(id), LIMIT, 20_000, at(millis), &window);
        assert_eq!(wait("first", 0), Duration::from_secs(10));
        assert_eq!(wait("second", 1), Duration::from_secs(10));
        for id in 2..CLIENTS_MAX {
            wait(&id.to_string(), 2);
        }
        // No room: the first is forgotten, and the second is not.
        assert_eq!(wait("another", 3), Duration::from_secs(10));
        assert!(wait("second", 3) > Duration::from_secs(29));
        assert_eq!(rates.0.lock().unwrap().len(), CLIENTS_MAX);
        // After a silence of all nobody is known.
        assert_eq!(wait("late", 60_000), Duration::from_secs(10));
        assert_eq!(rates.0.lock().unwrap().len(), 1);
    }

    #[test]
    fn long_client_ids_share_a_rate() {
        let rates = ClientRates::default();
        let window = QuotaWindow::default();
        let long = |end: &str| of(&("ä".repeat(CLIENT_ID_BYTES_MAX) + end));
        rates.record(long("1"), LIMIT, 10_000, at(0), &window);
        let wait = rates.record(long("2"), LIMIT, 10_000, at(0), &window);
        assert_eq!(wait, Duration::from_secs(10));
    }
}
