//! What an answer, a lost connection or the passing of time means for the batches of a partition.

use millstream_protocol::ErrorCode;
use tokio::time::Instant;

use super::{Done, Gap, PartitionAnswer, Queue, Rules, earlier};
use crate::error::BrokerCode;
use crate::producer::batch::{Batch, Whereabouts};
use crate::producer::error::ProduceError;
use crate::producer::record::Appended;

impl Queue {
    /// Takes the broker's answer for a batch. Returns the batch if it is done.
    pub(crate) fn handle_answer(
        &mut self,
        id: u64,
        answer: PartitionAnswer,
        now: Instant,
        rules: &Rules,
        random: u64,
    ) -> Option<Done> {
        let at = self.position_of(id)?;
        let Some(code) = BrokerCode::of(answer.code) else {
            return self.succeed(at, answer.appended);
        };
        match code.known() {
            // Written before, and acknowledged before others were: the offset is not known any more.
            Some(ErrorCode::DuplicateSequenceNumber) => {
                let unknown = Appended {
                    base_offset: -1,
                    log_append_time: -1,
                };
                return self.succeed(at, unknown);
            }
            Some(ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId)
                if rules.idempotent =>
            {
                self.handle_out_of_order(at, code, now, rules, random);
                return None;
            }
            Some(ErrorCode::InvalidProducerEpoch) => {
                self.spent = self.producer.take().map(|producer| producer.id);
            }
            _ if code.is_retriable() => {
                self.unresolved[at].uncertain |= !is_certain_refusal(code);
                self.come_home(at, code.to_string(), now, rules, random);
                return None;
            }
            _ => {}
        }
        let error = ProduceError::Refused {
            topic: self.target.topic.to_string(),
            partition: self.target.partition,
            batch_bytes: self.unresolved[at].reserved,
            code,
            message: answer.message,
        };
        self.give_up(at, error)
    }

    /// Takes the news that no answer will come for a batch.
    pub(crate) fn handle_lost(
        &mut self,
        id: u64,
        why: &str,
        now: Instant,
        rules: &Rules,
        random: u64,
    ) {
        if let Some(at) = self.position_of(id) {
            self.unresolved[at].uncertain = true;
            self.come_home(at, why.to_owned(), now, rules, random);
        }
    }

    /// Fails a batch that was never sent, for a reason that will not go away.
    pub(crate) fn handle_unsendable(&mut self, id: u64, error: ProduceError) -> Option<Done> {
        let at = self.position_of(id)?;
        self.give_up(at, error)
    }

    /// Gives up what is out of time and not on the wire.
    pub(crate) fn expire(
        &mut self,
        now: Instant,
        rules: &Rules,
        wake: &mut Option<Instant>,
    ) -> Vec<Done> {
        let mut expired = Vec::new();
        let mut at = 0;
        while let Some(batch) = self.unresolved.get(at) {
            let deadline = batch.created + rules.delivery_timeout;
            if batch.whereabouts == Whereabouts::OnWire || deadline > now {
                if batch.whereabouts == Whereabouts::Here {
                    earlier(wake, deadline);
                }
                at += 1;
                continue;
            }
            let error = self.out_of_time(&self.unresolved[at], rules);
            expired.extend(self.give_up(at, error));
        }
        while let Some(batch) = self.waiting.front() {
            let deadline = batch.created + rules.delivery_timeout;
            if deadline > now {
                earlier(wake, deadline);
                break;
            }
            let error = self.out_of_time(batch, rules);
            expired.extend(self.waiting.pop_front().map(|batch| (batch, Err(error))));
        }
        expired
    }

    /// Takes everything out, to fail it.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Batch> + '_ {
        if self.unresolved.iter().any(|batch| batch.stamp.is_some()) {
            self.gap = Some(Gap::GivenUp);
        }
        self.unresolved.drain(..).chain(self.waiting.drain(..))
    }

    fn succeed(&mut self, at: usize, appended: Appended) -> Option<Done> {
        self.proven = true;
        self.failures = 0;
        self.retry_at = None;
        Some((self.unresolved.remove(at)?, Ok(appended)))
    }

    fn handle_out_of_order(
        &mut self,
        at: usize,
        code: BrokerCode,
        now: Instant,
        rules: &Rules,
        random: u64,
    ) {
        if at > 0 {
            // Refused because of the one before it, which is being seen to.
            let batch = &mut self.unresolved[at];
            batch.whereabouts = Whereabouts::Here;
            batch.last_error = Some(code.to_string());
            return;
        }
        if self.gap.is_none() {
            tracing::warn!(partition = %self.target, "the broker lost this producer's state; continuing under a new epoch");
            self.gap = Some(Gap::StateLost);
        }
        self.come_home(at, code.to_string(), now, rules, random);
    }

    fn come_home(&mut self, at: usize, why: String, now: Instant, rules: &Rules, random: u64) {
        let batch = &mut self.unresolved[at];
        batch.whereabouts = Whereabouts::Here;
        batch.last_error = Some(why);
        // One failure of the connection fails several batches: it counts once.
        if at == 0 || self.retry_at.is_none_or(|at| at <= now) {
            self.failures += 1;
        }
        self.retry_at = Some(now + rules.backoff.after(self.failures, random));
    }

    fn give_up(&mut self, at: usize, error: ProduceError) -> Option<Done> {
        let batch = self.unresolved.remove(at)?;
        if batch.stamp.is_some() {
            self.gap = Some(Gap::GivenUp);
        }
        Some((batch, Err(error)))
    }

    fn out_of_time(&self, batch: &Batch, rules: &Rules) -> ProduceError {
        ProduceError::Timeout {
            topic: self.target.topic.to_string(),
            partition: self.target.partition,
            after: rules.delivery_timeout,
            attempts: batch.attempts,
            last: batch
                .last_error
                .clone()
                .unwrap_or_else(|| "it was never sent".to_owned()),
        }
    }
}

/// Whether an answer says for sure that nothing was written. NOT_LEADER_OR_FOLLOWER is not among them: a leader that
/// lost its place while a batch waited for replicas answers so too.
fn is_certain_refusal(code: BrokerCode) -> bool {
    matches!(
        code.known(),
        Some(
            ErrorCode::CorruptMessage
                | ErrorCode::NotEnoughReplicas
                | ErrorCode::ThrottlingQuotaExceeded
        )
    )
}
