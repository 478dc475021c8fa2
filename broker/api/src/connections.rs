//! How many connections are open and how fast new ones come: in all, of each listener and from each address
//! (KIP-402, KIP-612).
//!
//! Kafka takes no connection while all places are taken, so that clients wait unheard; here one too many is
//! closed, which sends its client to another broker. From one address too many are closed by both. New
//! connections that come too fast are served late, as in Kafka, and then hold up those behind them.
//!
//! Only addresses with open connections are remembered, so there are no more of them than connections.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use millstream_model::Instant;

use crate::client_rates::QuotaWindow;
use crate::rate::Rate;

/// What holds for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections in all (`max.connections`, and what the descriptors allow).
    pub all: usize,
    /// Connections of the listener (`listener.name.NAME.max.connections`).
    pub of_listener: usize,
    /// Connections from the address (`max.connections.per.ip` and its overrides).
    pub from_address: usize,
    /// New connections in a second (`max.connection.creation.rate`). `None`: as many as come.
    pub rate: Option<u32>,
    /// New connections of the listener in a second. `None`: as many as come.
    pub listener_rate: Option<u32>,
}

/// Nothing is limited.
impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            all: usize::MAX,
            of_listener: usize::MAX,
            from_address: usize::MAX,
            rate: None,
            listener_rate: None,
        }
    }
}

/// Why a connection is closed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionRefused {
    /// All are taken.
    #[error("all {0} connections are taken (max.connections)")]
    All(usize),
    /// Those of the listener are taken.
    #[error("all {0} connections of the listener are taken (its max.connections)")]
    OfListener(usize),
    /// Those from the address are taken.
    #[error("{0} connections from the address are open (max.connections.per.ip)")]
    FromAddress(usize),
}

/// The connections that are open, and how fast they came.
#[derive(Default)]
pub struct Connections {
    open: usize,
    rate: Rate,
    listeners: BTreeMap<String, OfListener>,
    addresses: BTreeMap<IpAddr, usize>,
}

#[derive(Default)]
struct OfListener {
    open: usize,
    rate: Rate,
}

impl Connections {
    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open
    }

    /// Counts a new connection towards the rates. Answers how long it waits before it is served; a second at
    /// most, the length of a sample.
    pub fn handle_accepted(
        &mut self,
        listener: &str,
        limits: &ConnectionLimits,
        now: Instant,
        window: &QuotaWindow,
    ) -> Duration {
        let count = |rate: &mut Rate, limit: Option<u32>| match limit {
            None => Duration::ZERO,
            Some(limit) => {
                rate.record(1, now, window);
                rate.excess(f64::from(limit), now, window)
            }
        };
        let of_all = count(&mut self.rate, limits.rate);
        let of_listener = count(&mut self.listener(listener).rate, limits.listener_rate);
        of_all.max(of_listener).min(window.length)
    }

    /// Takes a place for a connection from an address. *Errors*: there is none; nothing was taken.
    pub fn enter(
        &mut self,
        listener: &str,
        address: IpAddr,
        limits: &ConnectionLimits,
    ) -> Result<(), ConnectionRefused> {
        let address = address.to_canonical();
        if self.open >= limits.all {
            return Err(ConnectionRefused::All(limits.all));
        }
        if self.listener(listener).open >= limits.of_listener {
            return Err(ConnectionRefused::OfListener(limits.of_listener));
        }
        if self.from(address) >= limits.from_address {
            return Err(ConnectionRefused::FromAddress(limits.from_address));
        }
        self.open += 1;
        self.listener(listener).open += 1;
        *self.addresses.entry(address).or_default() += 1;
        Ok(())
    }

    /// Gives back the place of a connection that entered.
    pub fn leave(&mut self, listener: &str, address: IpAddr) {
        let address = address.to_canonical();
        self.open -= 1;
        self.listener(listener).open -= 1;
        let left = self.from(address) - 1;
        match left {
            0 => self.addresses.remove(&address),
            _ => self.addresses.insert(address, left),
        };
    }

    fn listener(&mut self, name: &str) -> &mut OfListener {
        if !self.listeners.contains_key(name) {
            self.listeners
                .insert(name.to_owned(), OfListener::default());
        }
        self.listeners.get_mut(name).expect("it was just put there")
    }

    fn from(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const A: &str = "a";
    const B: &str = "b";

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(millis: u64) -> Instant {
        Instant(0).after(Duration::from_millis(millis))
    }

    #[test]
    fn a_connection_too_many_is_refused_by_the_limit_that_it_meets() {
        let mut connections = Connections::default();
        let limits = ConnectionLimits {
            all: 4,
            of_listener: 3,
            from_address: 2,
            ..ConnectionLimits::default()
        };
        let mut enter = |listener, address| connections.enter(listener, ip(address), &limits);
        assert_eq!(enter(A, "10.0.0.1"), Ok(()));
        assert_eq!(enter(A, "::ffff:10.0.0.1"), Ok(()));
        let from_address = Err(ConnectionRefused::FromAddress(2));
        assert_eq!(enter(A, "10.0.0.1"), from_address);
        // From whichever listener it comes.
        assert_eq!(enter(B, "10.0.0.1"), from_address);
        assert_eq!(enter(A, "10.0.0.2"), Ok(()));
        assert_eq!(enter(A, "10.0.0.3"), Err(ConnectionRefused::OfListener(3)));
        assert_eq!(enter(B, "10.0.0.3"), Ok(()));
        assert_eq!(enter(B, "10.0.0.4"), Err(ConnectionRefused::All(4)));
        connections.leave(A, ip("10.0.0.1"));
        assert_eq!(connections.open(), 3);
        assert_eq!(connections.enter(B, ip("10.0.0.1"), &limits), Ok(()));
    }

    #[test]
    fn addresses_without_connections_are_forgotten() {
        let mut connections = Connections::default();
        let limits = ConnectionLimits::default();
        for number in 0..1000_u32 {
            let address = IpAddr::from(std::net::Ipv4Addr::from(number));
            for _ in 0..2 {
                connections.enter(A, address, &limits).unwrap();
            }
            connections.leave(A, address);
            assert_eq!(connections.addresses.len(), 1);
            connections.leave(A, address);
            assert_eq!(connections.addresses.len(), 0);
        }
        assert_eq!(connections.open(), 0);
        // One that is refused leaves nothing behind.
        let none = ConnectionLimits {
            from_address: 0,
            ..limits
        };
        connections.enter(A, ip("::1"), &none).unwrap_err();
        assert_eq!(connections.addresses.len(), 0);
    }

    #[test]
    fn new_connections_that_come_too_fast_wait() {
        let (mut connections, window) = (Connections::default(), QuotaWindow::default());
        let limits = ConnectionLimits {
            rate: Some(2),
            listener_rate: Some(1),
            ..ConnectionLimits::default()
        };
        let mut wait = |listener, millis| {
            let wait = connections.handle_accepted(listener, &limits, at(millis), &window);
            wait.as_millis()
        };
        // Ten full samples' worth at once, then none for the listener, but for the other.
        for _ in 0..10 {
            assert_eq!(wait(A, 0), 0);
        }
        assert_eq!(wait(A, 100), 900);
        assert_eq!(wait(A, 100), 1000);
        for _ in 0..8 {
            assert_eq!(wait(B, 100), 0);
        }
        // In all there were twenty.
        assert_eq!(wait(B, 100), 400);
        assert_eq!(wait(A, 20_000), 0);
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let (mut connections, window) = (Connections::default(), QuotaWindow::default());
        let limits = ConnectionLimits::default();
        for _ in 0..1000 {
            assert_eq!(
                connections.handle_accepted(A, &limits, at(0), &window),
                Duration::ZERO
            );
        }
        let limits = ConnectionLimits {
            rate: Some(0),
            ..limits
        };
        let wait = connections.handle_accepted(A, &limits, at(0), &window);
        assert_eq!(wait, window.length);
        assert!(connections.rate.last().is_some());
    }
}
