//! The flush rounds of a log directory, as bookkeeping: which logs have unflushed bytes, what a round
//! took of them, and what it may publish.
//!
//! ```text
//!   note_dirty ─► waiting ──begin──► in flight: (key, end) ──complete──► those ends are durable
//!                    ▲                                     └──fail────► the directory has failed
//!                    └── appends during the round wait for the next one
//! ```
//!
//! A round takes each log's end *before* anything is synced and publishes that end, never a newer one:
//! bytes written while the sync runs may or may not be covered by it. One round runs at a time; what
//! is appended meanwhile gathers for the next, which is all that group commit needs. After a failed
//! sync nothing unflushed may be believed, and no further round begins.

use std::collections::BTreeSet;

use millstream_model::Offset;

/// The rounds of one log directory; `K` names a log.
#[derive(Debug)]
pub struct FlushRound<K> {
    waiting: BTreeSet<K>,
    in_flight: Option<Vec<(K, Offset)>>,
    has_failed: bool,
}

impl<K> Default for FlushRound<K> {
    fn default() -> Self {
        FlushRound {
            waiting: BTreeSet::new(),
            in_flight: None,
            has_failed: false,
        }
    }
}

impl<K: Ord + Clone> FlushRound<K> {
    /// Notes that a log has unflushed bytes. Answers whether a round should begin now.
    pub fn note_dirty(&mut self, log: K) -> bool {
        self.waiting.insert(log);
        self.in_flight.is_none() && !self.has_failed
    }

    /// Begins a round with all waiting logs. `end_of` takes a log's end, or `None` when it has
    /// nothing unflushed. Answers the logs taken: none while a round runs or after a failure.
    pub fn begin(&mut self, mut end_of: impl FnMut(&K) -> Option<Offset>) -> &[(K, Offset)] {
        if self.in_flight.is_some() || self.has_failed {
            return &[];
        }
        let taken: Vec<(K, Offset)> = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter_map(|log| end_of(&log).map(|end| (log, end)))
            .collect();
        if taken.is_empty() {
            return &[];
        }
        self.in_flight.insert(taken)
    }

    /// Everything the round took is synced: the ends it took are durable. Answers them.
    pub fn complete(&mut self) -> Vec<(K, Offset)> {
        self.in_flight.take().unwrap_or_default()
    }

    /// A sync of the round failed. Answers all logs whose unflushed bytes are lost: those of the
    /// round and those that wait.
    pub fn fail(&mut self) -> Vec<K> {
        self.has_failed = true;
        let mut lost = std::mem::take(&mut self.waiting);
        lost.extend(
            self.in_flight
                .take()
                .into_iter()
                .flatten()
                .map(|(log, _)| log),
        );
        lost.into_iter().collect()
    }

    /// Whether logs wait for the next round.
    #[must_use]
    pub fn is_due(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight.is_none() && !self.has_failed
    }

    /// Whether a sync failed: no round begins any more.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_round_publishes_the_ends_it_took() {
        let mut ends = BTreeMap::from([("a", Offset(3)), ("b", Offset(5))]);
        let mut round = FlushRound::default();
        assert!(round.note_dirty("a"));
        assert!(round.note_dirty("b"));
        assert_eq!(round.begin(|log| ends.get(log).copied()).len(), 2);
        // Appends fall between the beginning and the end of the round.
        ends.insert("b", Offset(9));
        assert!(!round.note_dirty("b"));
        assert!(!round.is_due());
        assert!(round.begin(|log| ends.get(log).copied()).is_empty());
        assert_eq!(round.complete(), [("a", Offset(3)), ("b", Offset(5))]);
        assert!(round.is_due());
        assert_eq!(
            round.begin(|log| ends.get(log).copied()),
            [("b", Offset(9))]
        );
    }

    #[test]
    fn after_a_failure_nothing_is_published() {
        let mut round = FlushRound::default();
        round.note_dirty(1);
        round.begin(|_| Some(Offset(1)));
        round.note_dirty(2);
        assert_eq!(round.fail(), [1, 2]);
        assert!(round.complete().is_empty());
        assert!(!round.note_dirty(3));
        assert!(round.begin(|_| Some(Offset(1))).is_empty());
        assert!(round.has_failed());
    }

    #[test]
    fn a_log_without_unflushed_bytes_is_not_in_the_round() {
        let mut round = FlushRound::default();
        round.note_dirty(1);
        assert!(round.begin(|_| None).is_empty());
        assert!(!round.is_due());
    }
}
