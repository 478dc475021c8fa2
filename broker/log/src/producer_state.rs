//! What a partition knows of its idempotent producers (KIP-98).
//!
//! Per producer: its epoch and its last five batches. A batch that comes again is recognised and
//! answered with its old place; one that leaves a gap is refused; an older incarnation of the
//! producer is fenced. Five is how many batches a producer may have in flight.
//!
//! ```text
//!   unknown producer            any sequence          begins here
//!   older epoch                 any sequence          InvalidProducerEpoch
//!   newer epoch                 0                     begins anew; else OutOfOrderSequence
//!   same epoch                  one of the five       duplicate: first and last sequence are equal
//!                               last + 1              next
//!                               anything else         OutOfOrderSequence
//! ```
//!
//! After sequence 2³¹−1 comes 0, also within a batch.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_model::{Offset, WallTime};
use millstream_protocol::records::BatchHeader;

use crate::AppendError;

/// Batches remembered per producer.
pub(crate) const BATCHES_MAX: usize = 5;
/// Producers remembered per partition; past it the longest silent are forgotten.
pub(crate) const PRODUCERS_MAX: usize = 1 << 16;

/// A batch of a producer, as far as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProducerBatch {
    pub last_sequence: i32,
    pub last_offset: Offset,
    /// Last minus first offset, which is last minus first sequence too.
    pub offset_delta: i32,
    /// The largest timestamp of its records.
    pub timestamp: WallTime,
}

impl ProducerBatch {
    fn of(header: &BatchHeader) -> ProducerBatch {
        ProducerBatch {
            last_sequence: header.last_sequence(),
            last_offset: Offset(header.last_offset()),
            offset_delta: header.last_offset_delta,
            timestamp: WallTime(header.max_timestamp),
        }
    }

    pub(crate) fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub epoch: i16,
    /// When it last wrote, by the broker's clock.
    pub seen: WallTime,
    /// Its last batches, oldest first. Empty only after a marker.
    pub batches: Vec<ProducerBatch>,
}

/// A producer as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveProducer {
    /// Its id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
    /// The last sequence of its last batch; −1: none is known.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch, or when it last wrote.
    pub last_timestamp: WallTime,
}

/// The producers of a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProducerState {
    producers: BTreeMap<i64, Producer>,
}

/// What an acceptable batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is to be appended.
    New,
    /// It is in the log already.
    Duplicate(ProducerBatch),
}

impl ProducerState {
    /// Checks a batch against what its producer wrote before. Changes nothing.
    pub(crate) fn check(
        &self,
        header: &BatchHeader,
        now: WallTime,
        expiration: Duration,
    ) -> Result<Verdict, AppendError> {
        let known = self.producers.get(&header.producer_id);
        let Some(producer) = known.filter(|producer| !is_expired(producer, now, expiration)) else {
            return Ok(Verdict::New);
        };
        if header.producer_epoch < producer.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer_id: header.producer_id,
                epoch: header.producer_epoch,
                current: producer.epoch,
            });
        }
        let is_same_epoch = header.producer_epoch == producer.epoch;
        if is_same_epoch && let Some(batch) = producer.duplicate_of(header) {
            return Ok(Verdict::Duplicate(batch));
        }
        let last = match producer.batches.last() {
            Some(batch) if is_same_epoch => batch.last_sequence,
            // After a marker of the same epoch the sequence goes on, but it is no longer known.
            None if is_same_epoch => return Ok(Verdict::New),
            _ => -1,
        };
        if header.base_sequence != next_sequence(last) {
            return Err(AppendError::OutOfOrderSequence {
                producer_id: header.producer_id,
                sequence: header.base_sequence,
                last,
            });
        }
        Ok(Verdict::New)
    }

    /// Notes a batch that is in the log.
    pub(crate) fn apply(&mut self, header: &BatchHeader, seen: WallTime) {
        if !header.has_producer_id() {
            return;
        }
        let producer = self
            .producers
            .entry(header.producer_id)
            .or_insert_with(|| Producer {
                epoch: header.producer_epoch,
                seen,
                batches: Vec::new(),
            });
        producer.seen = producer.seen.max(seen);
        if producer.epoch != header.producer_epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        // A transaction's marker has no sequence.
        if !header.is_control() {
            if producer.batches.len() == BATCHES_MAX {
                producer.batches.remove(0);
            }
            producer.batches.push(ProducerBatch::of(header));
        }
        if self.producers.len() > PRODUCERS_MAX {
            self.forget_silent();
        }
    }

    /// Forgets producers that were silent for too long.
    pub(crate) fn expire(&mut self, now: WallTime, expiration: Duration) {
        self.producers
            .retain(|_, producer| !is_expired(producer, now, expiration));
    }

    /// Forgets the eighth that was silent longest.
    fn forget_silent(&mut self) {
        let mut seen: Vec<WallTime> = self.producers.values().map(|known| known.seen).collect();
        let count = PRODUCERS_MAX / 8;
        let (_, limit, _) = seen.select_nth_unstable(count);
        let limit = *limit;
        let mut forgotten = 0;
        self.producers.retain(|_, producer| {
            let goes = forgotten < count && producer.seen <= limit;
            forgotten += usize::from(goes);
            !goes
        });
    }

    /// All producers that are not expired, by id.
    pub(crate) fn active(
        &self,
        now: WallTime,
        expiration: Duration,
    ) -> impl Iterator<Item = ActiveProducer> {
        let active = self.iter();
        let active = active.filter(move |(_, producer)| !is_expired(producer, now, expiration));
        active.map(|(producer_id, producer)| {
            let last = producer.batches.last();
            ActiveProducer {
                producer_id,
                producer_epoch: producer.epoch,
                last_sequence: last.map_or(-1, |batch| batch.last_sequence),
                last_timestamp: last.map_or(producer.seen, |batch| batch.timestamp),
            }
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.producers.len()
    }

    /// All producers, by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    pub(crate) fn insert(&mut self, id: i64, producer: Producer) {
        self.producers.insert(id, producer);
    }
}

impl Producer {
    fn duplicate_of(&self, header: &BatchHeader) -> Option<ProducerBatch> {
        let is_equal = |batch: &&ProducerBatch| {
            batch.last_sequence == header.last_sequence()
                && batch.offset_delta == header.last_offset_delta
        };
        self.batches.iter().find(is_equal).copied()
    }
}

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

fn is_expired(producer: &Producer, now: WallTime, expiration: Duration) -> bool {
    let silent = now.0.saturating_sub(producer.seen.0);
    u128::try_from(silent).is_ok_and(|silent| silent >= expiration.as_millis())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millstream_protocol::ErrorCode;
    use millstream_protocol::records::{BatchBuilder, BatchHeader, Codec};

    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn batch(id: i64, epoch: i16, sequence: i32, records: i32, offset: i64) -> BatchHeader {
        let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, sequence);
        for record in 0..records {
            builder.push(i64::from(record), None, Some(b"v"), []);
        }
        BatchHeader::read(&builder.build(offset, 0)).unwrap()
    }

    fn check(state: &ProducerState, header: BatchHeader) -> Result<Option<i64>, ErrorCode> {
        match state.check(&header, WallTime(0), DAY) {
            Ok(Verdict::New) => Ok(None),
            Ok(Verdict::Duplicate(old)) => Ok(Some(old.base_offset().0)),
            Err(error) => Err(error.code()),
        }
    }

    #[test]
    fn sequences_duplicates_and_epochs() {
        use ErrorCode::{InvalidProducerEpoch, OutOfOrderSequenceNumber};
        let mut state = ProducerState::default();
        assert_eq!(check(&state, batch(1, 3, 77, 1, 0)), Ok(None), "unknown");
        state.apply(&batch(1, 3, 5, 2, 100), WallTime(0));
        assert_eq!(check(&state, batch(1, 3, 5, 2, 0)), Ok(Some(100)));
        let refused = Err(OutOfOrderSequenceNumber);
        assert_eq!(check(&state, batch(1, 3, 5, 1, 0)), refused, "overlap");
        assert_eq!(check(&state, batch(1, 3, 6, 1, 0)), refused, "overlap");
        assert_eq!(check(&state, batch(1, 3, 8, 1, 0)), refused, "gap");
        assert_eq!(check(&state, batch(1, 3, 7, 1, 0)), Ok(None));
        assert_eq!(check(&state, batch(1, 5, 7, 1, 0)), refused, "new epoch");
        assert_eq!(check(&state, batch(1, 5, 0, 1, 0)), Ok(None), "skips one");
        assert_eq!(
            check(&state, batch(1, 2, 7, 1, 0)),
            Err(InvalidProducerEpoch)
        );
        state.apply(&batch(1, 5, 0, 1, 102), WallTime(0));
        assert_eq!(
            check(&state, batch(1, 5, 5, 2, 0)),
            refused,
            "of the old epoch"
        );
        assert_eq!(check(&state, batch(2, -1, 0, 1, 0)), Ok(None));
    }

    #[test]
    fn five_batches_are_remembered() {
        let mut state = ProducerState::default();
        for number in 0..7 {
            state.apply(&batch(1, 0, number, 1, i64::from(number)), WallTime(0));
        }
        let answers: Vec<_> = (0..8)
            .map(|number| check(&state, batch(1, 0, number, 1, 0)))
            .collect();
        let old = Err(ErrorCode::OutOfOrderSequenceNumber);
        let expected = [
            old,
            old,
            Ok(Some(2)),
            Ok(Some(3)),
            Ok(Some(4)),
            Ok(Some(5)),
            Ok(Some(6)),
            Ok(None),
        ];
        assert_eq!(answers, expected);
    }

    #[test]
    fn sequences_wrap_between_and_within_batches() {
        let mut state = ProducerState::default();
        state.apply(&batch(1, 0, i32::MAX - 1, 2, 0), WallTime(0));
        assert_eq!(check(&state, batch(1, 0, 0, 1, 0)), Ok(None));
        let mut state = ProducerState::default();
        state.apply(&batch(1, 0, i32::MAX, 3, 0), WallTime(0));
        assert_eq!(check(&state, batch(1, 0, 2, 1, 0)), Ok(None));
        assert_eq!(check(&state, batch(1, 0, i32::MAX, 3, 0)), Ok(Some(0)));
    }

    #[test]
    fn the_silent_are_forgotten() {
        let mut state = ProducerState::default();
        state.apply(&batch(1, 0, 0, 1, 0), WallTime(1000));
        let day_later = WallTime(1000 + 86_400_000);
        let gap = batch(1, 0, 9, 1, 0);
        assert!(state.check(&gap, WallTime(day_later.0 - 1), DAY).is_err());
        assert!(state.check(&gap, day_later, DAY).is_ok());
        state.expire(day_later, DAY);
        assert_eq!(state.len(), 0);
    }

    #[test]
    fn the_number_of_producers_is_bounded() {
        let mut state = ProducerState::default();
        let mut header = batch(0, 0, 0, 1, 0);
        for id in 0..=PRODUCERS_MAX as i64 {
            header.producer_id = id;
            state.apply(&header, WallTime(id));
        }
        assert_eq!(state.len(), PRODUCERS_MAX + 1 - PRODUCERS_MAX / 8);
        header.producer_id = PRODUCERS_MAX as i64;
        assert!(matches!(check(&state, header), Ok(Some(_))));
    }
}
