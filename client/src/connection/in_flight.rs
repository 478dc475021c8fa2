//! The requests of a connection that wait for their answers.
//!
//! Answers leave a broker in the order of the requests, so the waiting requests are a queue and an answer belongs to its
//! front. Any other correlation id means that the two sides have lost each other, and the connection must end.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// One request on its way.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) correlation_id: i32,
    pub(crate) api: &'static str,
    pub(crate) sent: Instant,
    pub(crate) limit: Duration,
    pub(crate) tag: T,
}

/// An answer that does not belong to the oldest waiting request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unexpected {
    pub(crate) expected: Option<i32>,
    pub(crate) got: i32,
}

/// Requests in the order they were written.
#[derive(Debug)]
pub(crate) struct InFlight<T> {
    waiting: VecDeque<Waiting<T>>,
}

impl<T> InFlight<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
        }
    }

    pub(crate) fn push(&mut self, waiting: Waiting<T>) {
        self.waiting.push_back(waiting);
    }

    /// Takes the request an answer belongs to.
    pub(crate) fn take(&mut self, correlation_id: i32) -> Result<Waiting<T>, Unexpected> {
        match self.waiting.pop_front() {
            Some(front) if front.correlation_id == correlation_id => Ok(front),
            other => {
                let expected = other.as_ref().map(|front| front.correlation_id);
                self.waiting.extend(other);
                Err(Unexpected {
                    expected,
                    got: correlation_id,
                })
            }
        }
    }

    /// A request whose time is over, if there is one.
    pub(crate) fn expired(&self, now: Instant) -> Option<&Waiting<T>> {
        self.waiting
            .iter()
            .find(|waiting| now.duration_since(waiting.sent) >= waiting.limit)
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Waiting<T>> + '_ {
        self.waiting.drain(..)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(ids: &[i32], now: Instant) -> InFlight<i32> {
        let mut in_flight = InFlight::new();
        for &id in ids {
            in_flight.push(Waiting {
                correlation_id: id,
                api: "Produce",
                sent: now,
                limit: Duration::from_secs(id as u64),
                tag: id * 10,
            });
        }
        in_flight
    }

    #[test]
    fn answers_are_matched_in_order() {
        let mut in_flight = with(&[1, 2], Instant::now());
        assert_eq!(in_flight.take(1).unwrap().tag, 10);
        assert_eq!(in_flight.take(2).unwrap().tag, 20);
        assert_eq!(
            in_flight.take(3).unwrap_err(),
            Unexpected {
                expected: None,
                got: 3
            }
        );
    }

    #[test]
    fn an_answer_out_of_order_is_refused_and_nothing_is_lost() {
        let mut in_flight = with(&[1, 2], Instant::now());
        assert_eq!(
            in_flight.take(2).unwrap_err(),
            Unexpected {
                expected: Some(1),
                got: 2
            }
        );
        assert_eq!(in_flight.drain().count(), 2);
    }

    #[test]
    fn the_shortest_limit_expires_first_wherever_it_stands() {
        let now = Instant::now();
        let in_flight = with(&[9, 2, 5], now);
        assert!(
            in_flight
                .expired(now + Duration::from_millis(1999))
                .is_none()
        );
        let expired = in_flight.expired(now + Duration::from_secs(2)).unwrap();
        assert_eq!(expired.correlation_id, 2);
    }
}
