//! The records of one partition on their way: what may be sent next, and what an answer means.
//!
//! ```text
//!   enqueue ─► waiting (last one open) ─► unresolved: here │ on the wire ─► acknowledged, refused, or out of time
//!                                          stamped with producer identity and sequence
//! ```
//!
//! A broker accepts a stamped batch only right behind the one before it, and knows the last five again. So nothing is
//! written twice and nothing overtakes as long as this side keeps to these rules:
//!
//! 1. A batch keeps its records and its stamp through all attempts.
//! 2. At most five have been stamped since the oldest unresolved one, acknowledged ones among them counted, so that the
//!    oldest can still be recognised when it is tried again.
//! 3. After a failed attempt everything of the partition comes home before anything is sent again, oldest first; and a
//!    batch goes out beside others only on the same connection, where the broker sees them in order.
//! 4. Until the first batch under an identity is acknowledged, it travels alone: a broker that knows nothing of a
//!    producer takes any sequence for its first, also one from the middle.
//! 5. When a stamped batch is given up, the ones behind it cannot be accepted any more. If none of them can have been
//!    written (each attempt was refused), they are stamped anew under the next epoch, in order. If one may have been
//!    written, stamping it anew could write it twice: it is tried with its old stamp until it succeeds or runs out of
//!    time, and only then the epoch moves on.
//! 6. OUT_OF_ORDER_SEQUENCE_NUMBER for the oldest, with nothing given up before it, means that the broker lost
//!    acknowledged records and with them the producer's state: the next epoch, and on (as Kafka's own client, KIP-360).
//!
//! The epoch is counted per partition: brokers compare it per partition, and without transactions nobody else gives it
//! out. Without idempotence there are no stamps, and one batch travels at a time, which keeps the order.

mod answers;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use millstream_protocol::records::Codec;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Backoff;
use crate::cluster::TopicPartition;
use crate::producer::batch::{Batch, ProducerIdentity, Stamp, Whereabouts};
use crate::producer::error::ProduceError;
use crate::producer::record::{Appended, BatchResult, Record};

/// The answer for one batch.
#[derive(Debug, Clone)]
pub(crate) struct PartitionAnswer {
    pub(crate) code: i16,
    pub(crate) appended: Appended,
    pub(crate) message: Option<String>,
}

/// A batch that is done, and how it ended.
pub(crate) type Done = (Batch, Result<Appended, ProduceError>);

/// Limits that a queue needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) codec: Codec,
    pub(crate) idempotent: bool,
    pub(crate) batch_bytes: usize,
    pub(crate) linger: Duration,
    pub(crate) in_flight_max: usize,
    pub(crate) delivery_timeout: Duration,
    pub(crate) backoff: Backoff,
}

/// Why the sequence is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// A stamped batch was given up (rule 5).
    GivenUp,
    /// The broker lost its state (rule 6).
    StateLost,
}

/// The broker connection that batches are on: node and the number of the connection.
pub(crate) type Session = (i32, u64);

/// One partition's batches.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) target: TopicPartition,
    waiting: VecDeque<Batch>,
    unresolved: VecDeque<Batch>,
    producer: Option<ProducerIdentity>,
    /// A producer id that this partition cannot use any more.
    spent: Option<i64>,
    next_sequence: i32,
    /// Batches stamped so far (rule 2).
    stamped: u64,
    /// Whether the broker has acknowledged a batch under this identity (rule 4).
    proven: bool,
    gap: Option<Gap>,
    wire: Option<Session>,
    failures: u32,
    retry_at: Option<Instant>,
}

/// Where the next batch to send stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Retry(usize),
    First,
}

impl Queue {
    pub(crate) fn new(target: TopicPartition) -> Self {
        Self {
            target,
            waiting: VecDeque::new(),
            unresolved: VecDeque::new(),
            producer: None,
            spent: None,
            next_sequence: 0,
            stamped: 0,
            proven: false,
            gap: None,
            wire: None,
            failures: 0,
            retry_at: None,
        }
    }

    /// Adds a record; `fresh_id` names the batch if one is begun. Returns the batch's result and the record's place.
    pub(crate) fn push(
        &mut self,
        record: &Record,
        timestamp: i64,
        reserved: usize,
        fresh_id: &mut u64,
        rules: &Rules,
        now: Instant,
    ) -> (watch::Receiver<BatchResult>, i64) {
        if let Some(open) = self.waiting.back_mut()
            && let Some(index) = open.push(record, timestamp, reserved, rules.batch_bytes)
        {
            return (open.subscribe(), index);
        }
        *fresh_id += 1;
        let mut batch = Batch::new(*fresh_id, rules.codec, now);
        let index = batch
            .push(record, timestamp, reserved, rules.batch_bytes)
            .expect("the first record always fits");
        let result = batch.subscribe();
        self.waiting.push_back(batch);
        (result, index)
    }

    /// Whether the front of the waiting batches need not wait for more records.
    pub(crate) fn has_full_batch(&self) -> bool {
        self.waiting.len() > 1 || self.waiting.front().is_some_and(Batch::is_closed)
    }

    /// Batches without a result, oldest first.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.unresolved.iter().chain(&self.waiting)
    }

    /// What could be sent now, and when to ask again if nothing can.
    pub(crate) fn next(
        &mut self,
        now: Instant,
        hurry: bool,
        rules: &Rules,
        wake: &mut Option<Instant>,
    ) -> Option<Next> {
        if let Some(at) = self.retry_at.filter(|at| *at > now) {
            earlier(wake, at);
            return None;
        }
        let on_wire = self.on_wire();
        if on_wire == 0 {
            self.mend();
        }
        if !self.proven && on_wire > 0 && rules.idempotent {
            return None;
        }
        let is_here = |batch: &Batch| batch.whereabouts == Whereabouts::Here;
        if let Some(first) = self.unresolved.iter().position(is_here) {
            let alone = self.gap.is_some() || !rules.idempotent;
            let all_home = self.unresolved.iter().skip(first).all(is_here);
            return (all_home && (on_wire == 0 || !alone)).then_some(Next::Retry(first));
        }
        if self.gap.is_some() || !self.has_room(rules) {
            return None;
        }
        let front = self.waiting.front()?;
        let due = front.created + rules.linger;
        if hurry || self.has_full_batch() || due <= now {
            return Some(Next::First);
        }
        earlier(wake, due);
        None
    }

    /// Whether batches may go out on this connection (rule 3).
    pub(crate) fn may_use(&self, session: Session) -> bool {
        self.on_wire() == 0 || self.wire == Some(session)
    }

    /// Whether an identity must be given before anything is sent.
    pub(crate) fn needs_identity(&self) -> bool {
        self.producer.is_none()
    }

    /// Whether this producer id cannot be used here any more.
    pub(crate) fn has_spent(&self, producer_id: i64) -> bool {
        self.spent == Some(producer_id)
    }

    pub(crate) fn set_identity(&mut self, producer: ProducerIdentity) {
        self.producer = Some(producer);
        self.next_sequence = 0;
        self.proven = false;
    }

    /// Puts a batch on the wire: its id and its bytes.
    pub(crate) fn send(&mut self, next: Next, session: Session) -> (u64, Bytes) {
        let at = match next {
            Next::Retry(at) => at,
            Next::First => {
                let front = self.waiting.pop_front();
                self.unresolved
                    .push_back(front.expect("only named when there is one"));
                self.unresolved.len() - 1
            }
        };
        let (producer, base_sequence) = (self.producer, self.next_sequence);
        let batch = &mut self.unresolved[at];
        if let Some(producer) = producer
            && batch.stamp.is_none()
        {
            batch.stamp = Some(Stamp {
                producer,
                base_sequence,
            });
            batch.ordinal = self.stamped;
            self.stamped += 1;
            self.next_sequence = sequence_after(base_sequence, batch.record_count());
        }
        batch.whereabouts = Whereabouts::OnWire;
        batch.attempts += 1;
        self.wire = Some(session);
        (batch.id, batch.bytes())
    }

    /// The size of the batch in bytes, at most, as it would be sent.
    pub(crate) fn peek(&mut self, next: Next) -> usize {
        match next {
            Next::Retry(at) => self.unresolved[at].reserved,
            Next::First => self.waiting.front().map_or(0, |batch| batch.reserved),
        }
    }

    /// Moves to the next epoch when that can neither repeat nor reorder anything (rules 5 and 6).
    fn mend(&mut self) {
        let safe = match self.gap {
            None => false,
            Some(Gap::StateLost) => true,
            Some(Gap::GivenUp) => self.unresolved.iter().all(|batch| !batch.uncertain),
        };
        if !safe {
            return;
        }
        self.gap = None;
        self.next_sequence = 0;
        self.proven = false;
        if let Some(producer) = self.producer.take() {
            match producer.epoch.checked_add(1) {
                Some(epoch) => self.producer = Some(ProducerIdentity { epoch, ..producer }),
                // After the last epoch comes another producer id.
                None => self.spent = Some(producer.id),
            }
        }
        for batch in &mut self.unresolved {
            batch.stamp = None;
            batch.uncertain = false;
        }
    }

    /// Whether one more batch may be stamped (rule 2), or sent at all without idempotence.
    fn has_room(&self, rules: &Rules) -> bool {
        match self.unresolved.front() {
            None => true,
            Some(_) if !rules.idempotent => false,
            Some(oldest) => self.stamped - oldest.ordinal < rules.in_flight_max as u64,
        }
    }

    fn position_of(&self, id: u64) -> Option<usize> {
        self.unresolved.iter().position(|batch| batch.id == id)
    }

    fn on_wire(&self) -> usize {
        self.unresolved
            .iter()
            .filter(|batch| batch.whereabouts == Whereabouts::OnWire)
            .count()
    }
}

/// What tests look at and set.
#[cfg(test)]
impl Queue {
    pub(crate) fn identity(&self) -> Option<ProducerIdentity> {
        self.producer
    }

    pub(crate) fn set_next_sequence(&mut self, sequence: i32) {
        self.next_sequence = sequence;
    }

    /// Makes the oldest batch older than it is.
    pub(crate) fn make_older(&mut self, by: Duration) {
        if let Some(oldest) = self.unresolved.front_mut() {
            oldest.created -= by;
        }
    }
}

/// Keeps the earlier of two times.
pub(crate) fn earlier(wake: &mut Option<Instant>, at: Instant) {
    *wake = Some(wake.map_or(at, |wake| wake.min(at)));
}

/// After 2³¹−1 comes 0.
fn sequence_after(sequence: i32, count: i32) -> i32 {
    (sequence.wrapping_add(count)) & i32::MAX
}
