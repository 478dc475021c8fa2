//! How many bytes of answers the broker holds for clients that have not read them yet.
//!
//! Each connection is bounded by itself (`AnswerLimits`), which does not help where there are thousands of
//! them: one answer to a fetch may have `fetch.max.bytes`. So what a connection holds beyond a small part of
//! its own is counted here, and a look at records reads no more than there is room for:
//!
//! ```text
//!   ├────────── room for records ──────────┤── other answers ──┤
//!   0                                   bytes_max        2 × bytes_max
//! ```
//!
//! A fetch that finds no room looks again soon, and in the end answers without records. Other answers cannot
//! be shortened: whoever is owed one past the second mark is closed. Counting comes after reading, so the
//! first mark is passed by one answer for each thread at most.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of all answers that are not written yet.
#[derive(Debug)]
pub struct AnswerBudget {
    held: AtomicUsize,
    bytes_max: usize,
}

impl AnswerBudget {
    /// What a connection holds up to this is its own and not counted, so that what is small takes no
    /// shared memory and always passes.
    pub const OWN_BYTES: usize = 64 << 10;

    /// A budget of so many bytes of records.
    #[must_use]
    pub fn new(bytes_max: usize) -> AnswerBudget {
        AnswerBudget {
            held: AtomicUsize::new(0),
            bytes_max,
        }
    }

    /// What is counted.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes of records that may be read for another answer.
    #[must_use]
    pub fn room(&self) -> usize {
        self.bytes_max.saturating_sub(self.held())
    }

    /// A connection that had `counted` bytes here holds `held` now. Answers what is counted for it from now on,
    /// or nothing where that is more than there may be: the connection is to be closed.
    pub fn count(&self, counted: usize, held: usize) -> Option<usize> {
        let beyond = held.saturating_sub(AnswerBudget::OWN_BYTES);
        if beyond <= counted {
            self.held.fetch_sub(counted - beyond, Ordering::Relaxed);
            return Some(beyond);
        }
        let grow = |all: usize| {
            let all = all + (beyond - counted);
            (all <= self.bytes_max.saturating_mul(2)).then_some(all)
        };
        let grown = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow);
        grown.ok().map(|_| beyond)
    }
}

#[cfg(test)]
mod tests {
    use super::AnswerBudget;

    const OWN: usize = AnswerBudget::OWN_BYTES;

    #[test]
    fn what_is_held_beyond_a_connection_s_own_is_counted_and_given_back() {
        let budget = AnswerBudget::new(1000);
        assert_eq!(budget.count(0, OWN), Some(0));
        assert_eq!(budget.count(0, OWN + 700), Some(700));
        assert_eq!(budget.room(), 300);
        assert_eq!(budget.count(700, OWN + 200), Some(200));
        assert_eq!(budget.room(), 800);
        assert_eq!(budget.count(200, 0), Some(0));
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn past_the_second_mark_nothing_is_counted() {
        let budget = AnswerBudget::new(1000);
        assert_eq!(budget.count(0, OWN + 1900), Some(1900));
        assert_eq!(budget.room(), 0);
        assert_eq!(budget.count(0, OWN + 101), None);
        assert_eq!(budget.count(0, OWN + 100), Some(100));
        assert_eq!(budget.count(1900, OWN + 1901), None);
        assert_eq!(budget.held(), 2000);
    }
}
