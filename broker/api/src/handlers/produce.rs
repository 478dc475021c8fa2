//! Produce, versions 3 – 13 (0 – 2 are advertised and refused).
//!
//! Each partition's batch is validated before the partition's lock is taken, then appended under it.
//! With `acks=all` the answer is parked until the batch is durable; partitions are independent, and
//! one that fails does not stop the others. With `acks=0` there is no answer, and an error closes
//! the connection.
//!
//! A batch for a slow log directory is queued for that directory's thread, and the request parked.
//!
//! - 7: zstd allowed (KIP-110); 8: record errors (KIP-467); 10: current leader (KIP-951);
//!   13: topic ids (KIP-516).
//! - A client over its quota of bytes is served and told how long its connection is not read (KIP-219).
//! - Stricter than Kafka: the same partition twice is INVALID_REQUEST for both.
//! - Not yet: transactions. A transactional batch is refused with 53 without a transactional id, as
//!   Kafka does, and with INVALID_TXN_STATE (48) with one, since no transaction can be open.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_model::{Instant, TopicId};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use millstream_protocol::records::{BatchRefusal, recompress, single_batch, validate};
use millstream_replica::{AckFailure, Acks, HostedPartition, Waiter};

use crate::answers::Parked;
use crate::append::{AppendRefusal, BatchToAppend, append};
use crate::client_rates::{Direction, wire_millis};
use crate::context::CloseReason;
use crate::dispatch::Request;
use crate::queued::{QueuedAppend, StoredAppend};
use crate::reply::Reply;
use crate::view::{compression, validation_rules};
use crate::{Broker, Context, Handled, HostedTopic};

/// The longest an `acks=all` answer is parked, whatever the client asks.
const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// From this version on a batch may be compressed with zstd.
const VERSION_ZSTD: i16 = 7;

/// Kafka's own tools write internal topics under this client id.
const ADMIN_CLIENT_ID: &str = "__admin_client";

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: ProduceRequest<'_>,
) -> Handled {
    let step = ProduceStep {
        broker,
        reply: request.reply,
        acks: check_acks(body.acks),
        frame_bytes: request.frame.len(),
        is_admin: request.client_id == ADMIN_CLIENT_ID,
        is_transactional: body.transactional_id.is_some(),
        twice: partitions_named_twice(&body),
        waiting: Vec::new(),
    };
    let timeout = Duration::from_millis(body.timeout_ms.max(0) as u64).min(TIMEOUT_MAX);
    let throttle = broker.count_bytes(
        Direction::Produced,
        request.client_id,
        request.frame.len(),
        context.now,
    );
    let handled = step.run(context, body.topic_data, timeout, throttle);
    handled.throttled(context.now, throttle)
}

fn check_acks(acks: i16) -> Option<Acks> {
    match acks {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

/// A partition as a request names it.
type Named = (String, [u8; 16], i32);

/// The partitions a request names more than once. Nearly always it names few, each once.
fn partitions_named_twice(body: &ProduceRequest<'_>) -> BTreeSet<Named> {
    let mut twice = BTreeSet::new();
    let count: usize = body
        .topic_data
        .iter()
        .map(|topic| topic.partition_data.len())
        .sum();
    if count < 2 {
        return twice;
    }
    let mut seen = BTreeSet::new();
    for topic in &body.topic_data {
        for partition in &topic.partition_data {
            let key = (topic.name.as_ref(), topic.topic_id, partition.index);
            if !seen.insert(key) {
                twice.insert((key.0.to_owned(), key.1, key.2));
            }
        }
    }
    twice
}

/// One request on its way through its partitions.
struct ProduceStep<'a> {
    broker: &'a Broker,
    reply: Reply,
    acks: Option<Acks>,
    frame_bytes: usize,
    is_admin: bool,
    is_transactional: bool,
    twice: BTreeSet<Named>,
    /// What waits; a waiter's slot is an index here.
    waiting: Vec<Waiting>,
}

/// A batch whose answer is not there yet.
struct Waiting {
    /// Its place in the answer, as (topic, partition).
    place: (u32, u32),
    /// Whether it is queued and not in the log yet.
    is_queued: bool,
    /// Whether it is durable, if that was heard before it was heard to be in the log.
    durable: Option<Result<(), AckFailure>>,
}

impl ProduceStep<'_> {
    fn run(
        mut self,
        context: &mut Context<'_>,
        topics: Vec<TopicProduceData<'_>>,
        timeout: Duration,
        throttle: Duration,
    ) -> Handled {
        let mut response = ProduceResponse {
            throttle_time_ms: wire_millis(throttle),
            ..ProduceResponse::default()
        };
        response.responses.reserve_exact(topics.len());
        for (topic_index, topic) in topics.into_iter().enumerate() {
            let answer = self.produce_to_topic(context, topic_index as u32, topic);
            response.responses.push(answer);
        }
        let is_silent = self.acks == Some(Acks::None);
        let produce = ParkedProduce {
            reply: self.reply,
            response,
            is_silent,
            still_waiting: self.waiting.len(),
            waiting: self.waiting.into_iter().map(Some).collect(),
            deadline: (!is_silent).then(|| context.now.after(timeout)),
        };
        match produce.still_waiting {
            0 => produce.answer(),
            _ => Handled::Parked(Box::new(Parked::Produce(produce))),
        }
    }

    fn produce_to_topic(
        &mut self,
        context: &mut Context<'_>,
        topic_index: u32,
        topic: TopicProduceData<'_>,
    ) -> TopicProduceResponse<'static> {
        let view = self.broker.view();
        let uses_ids = self.reply.version >= 13;
        let hosted = if uses_ids {
            view.topic_by_id(TopicId(topic.topic_id))
        } else {
            view.topic(&topic.name)
        };
        let mut answers = Vec::with_capacity(topic.partition_data.len());
        for (index, data) in topic.partition_data.into_iter().enumerate() {
            let place = (topic_index, index as u32);
            let partition_index = data.index;
            let outcome = match hosted {
                _ if self.is_named_twice(&topic.name, topic.topic_id, partition_index) => {
                    Err(Refusal::code(ErrorCode::InvalidRequest))
                }
                None if uses_ids => Err(Refusal::code(ErrorCode::UnknownTopicId)),
                None => Err(Refusal::code(ErrorCode::UnknownTopicOrPartition)),
                Some(hosted) => self.produce_to_partition(context, hosted, data, place),
            };
            answers.push(match outcome {
                Ok(answer) => answer,
                Err(refusal) => refusal.into_answer(partition_index),
            });
        }
        TopicProduceResponse {
            name: if uses_ids {
                Cow::Borrowed("")
            } else {
                Cow::Owned(topic.name.into_owned())
            },
            topic_id: topic.topic_id,
            partition_responses: answers,
        }
    }

    fn is_named_twice(&self, name: &str, id: [u8; 16], partition: i32) -> bool {
        !self.twice.is_empty() && self.twice.contains(&(name.to_owned(), id, partition))
    }

    fn produce_to_partition(
        &mut self,
        context: &mut Context<'_>,
        topic: &HostedTopic,
        data: PartitionProduceData,
        place: (u32, u32),
    ) -> Result<PartitionProduceResponse<'static>, Refusal> {
        let partition = topic
            .partition(data.index)
            .ok_or(Refusal::code(ErrorCode::UnknownTopicOrPartition))?;
        let records = data
            .records
            .ok_or(Refusal::code(ErrorCode::InvalidRecord))?
            .to_bytes();
        let acks = self
            .acks
            .ok_or(Refusal::code(ErrorCode::InvalidRequiredAcks))?;
        if topic.is_internal && !self.is_admin {
            return Err(Refusal::code(ErrorCode::InvalidTopicException));
        }
        if let Some(why) = &self.broker.config.safe_mode {
            return Err(Refusal {
                message: Some(why.clone()),
                ..Refusal::code(ErrorCode::KafkaStorageError)
            });
        }
        let is_zstd_allowed = self.reply.version >= VERSION_ZSTD;
        let mut batch = single_batch(&records, is_zstd_allowed).map_err(Refusal::batch)?;
        let mut frame_bytes = self.frame_bytes;
        let rules = validation_rules(&topic.config, context.wall);
        let mut validated = validate(&batch, &rules).map_err(Refusal::batch)?;
        if let Some(target) = compression(&topic.config)
            && validated.header.codec() != Ok(target.codec)
        {
            let anew = recompress(&batch, &validated, target, rules.max_message_bytes);
            (batch, validated) = anew.map_err(|error| Refusal::batch(error.into()))?;
            frame_bytes = batch.len();
        }
        if validated.header.is_transactional() {
            return Err(Refusal::code(if self.is_transactional {
                ErrorCode::InvalidTxnState
            } else {
                ErrorCode::TransactionalIdAuthorizationFailed
            }));
        }
        let waiter = Waiter {
            token: context.token,
            slot: self.waiting.len() as u32,
        };
        let batch = BatchToAppend {
            bytes: batch,
            frame_bytes,
            validated,
            acks,
            waiter,
            queued_in: None,
        };
        let Some(entered) = self.broker.gates.enter_to_write(partition.directory()) else {
            self.queue(context, partition, batch, place)?;
            return Ok(PartitionProduceResponse {
                index: data.index,
                ..PartitionProduceResponse::default()
            });
        };
        let append = append(self.broker, partition, batch, context.wall, context.effects)?;
        drop(entered);
        if append.is_parked {
            self.waiting.push(Waiting {
                place,
                is_queued: false,
                durable: None,
            });
        }
        Ok(PartitionProduceResponse {
            index: data.index,
            base_offset: append.appended.base_offset.0,
            log_append_time_ms: append.appended.log_append_time.0,
            log_start_offset: append.appended.log_start_offset.0,
            ..PartitionProduceResponse::default()
        })
    }

    /// Hands the batch over to the thread of its directory.
    fn queue(
        &mut self,
        context: &mut Context<'_>,
        partition: &Arc<HostedPartition>,
        batch: BatchToAppend,
        place: (u32, u32),
    ) -> Result<(), AppendRefusal> {
        let directory = partition.directory();
        let step = QueuedAppend::step(partition, directory, batch);
        self.broker.queue(directory, step, context.effects)?;
        self.waiting.push(Waiting {
            place,
            is_queued: true,
            durable: None,
        });
        Ok(())
    }
}

fn first_error(response: &ProduceResponse<'_>) -> Option<ErrorCode> {
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partition_responses);
    let failed = partitions
        .map(|partition| partition.error_code)
        .find(|code| *code != 0)?;
    Some(ErrorCode::from_code(failed).unwrap_or(ErrorCode::UnknownServerError))
}

/// Why one partition's batch was not taken.
struct Refusal {
    code: ErrorCode,
    message: Option<String>,
    record_errors: Vec<(i32, String)>,
}

impl Refusal {
    fn code(code: ErrorCode) -> Refusal {
        Refusal {
            code,
            message: None,
            record_errors: Vec::new(),
        }
    }

    fn batch(refusal: BatchRefusal) -> Refusal {
        Refusal {
            code: refusal.error_code(),
            message: Some(refusal.to_string()),
            record_errors: refusal.record_errors,
        }
    }

    fn into_answer(self, index: i32) -> PartitionProduceResponse<'static> {
        let record_errors = self
            .record_errors
            .into_iter()
            .map(|(batch_index, message)| BatchIndexAndErrorMessage {
                batch_index,
                batch_index_error_message: Some(Cow::Owned(message)),
            });
        PartitionProduceResponse {
            index,
            error_code: self.code.code(),
            base_offset: -1,
            record_errors: record_errors.collect(),
            error_message: self.message.map(Cow::Owned),
            ..PartitionProduceResponse::default()
        }
    }
}

impl From<AppendRefusal> for Refusal {
    fn from(refusal: AppendRefusal) -> Refusal {
        Refusal {
            code: refusal.code,
            message: refusal.message,
            record_errors: Vec::new(),
        }
    }
}

/// A produce request that waits for its batches to be in the log, or durable.
pub struct ParkedProduce {
    reply: Reply,
    response: ProduceResponse<'static>,
    /// Whether the client wants no answer (`acks=0`).
    is_silent: bool,
    /// Per slot what waits, until its answer is there.
    waiting: Vec<Option<Waiting>>,
    still_waiting: usize,
    /// `None` where nobody waits for an answer.
    deadline: Option<Instant>,
}

impl ParkedProduce {
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// One of its batches, which was queued, is in the log, or was refused.
    pub(crate) fn handle_stored(
        &mut self,
        slot: u32,
        outcome: Result<StoredAppend, AppendRefusal>,
    ) -> Result<Option<Handled>, CloseReason> {
        let slot = slot as usize;
        let Some(Some(waiting)) = self.waiting.get_mut(slot) else {
            return Ok(None);
        };
        match outcome {
            Err(refusal) => self.settle(slot, Some(refusal.into())),
            Ok(stored) => {
                waiting.is_queued = false;
                let durable = waiting.durable.take();
                let (topic, partition) = waiting.place;
                let topic = &mut self.response.responses[topic as usize];
                let answer = &mut topic.partition_responses[partition as usize];
                answer.base_offset = stored.base_offset;
                answer.log_append_time_ms = stored.log_append_time_ms;
                answer.log_start_offset = stored.log_start_offset;
                match durable {
                    Some(result) => self.settle(slot, not_durable(result)),
                    None if !stored.is_parked => self.settle(slot, None),
                    None => {}
                }
            }
        }
        Ok(self.answer_if_settled())
    }

    /// One of its batches is durable, or never will be.
    pub(crate) fn handle_appended(
        &mut self,
        slot: u32,
        result: Result<(), AckFailure>,
    ) -> Result<Option<Handled>, CloseReason> {
        let slot = slot as usize;
        match self.waiting.get_mut(slot) {
            // The flush was faster than the news that there is something to flush.
            Some(Some(waiting)) if waiting.is_queued => waiting.durable = Some(result),
            _ => self.settle(slot, not_durable(result)),
        }
        Ok(self.answer_if_settled())
    }

    /// Answers REQUEST_TIMED_OUT for what still waits. The batches stay in the log, or in the queue.
    pub(crate) fn handle_timeout(&mut self) -> Result<Option<Handled>, CloseReason> {
        for slot in 0..self.waiting.len() {
            self.settle(slot, Some(Refusal::code(ErrorCode::RequestTimedOut)));
        }
        Ok(self.answer_if_settled())
    }

    fn settle(&mut self, slot: usize, failure: Option<Refusal>) {
        let Some(waiting) = self.waiting.get_mut(slot).and_then(Option::take) else {
            return;
        };
        self.still_waiting -= 1;
        let Some(refusal) = failure else { return };
        let (topic, partition) = waiting.place;
        let topic = &mut self.response.responses[topic as usize];
        let answer = &mut topic.partition_responses[partition as usize];
        *answer = refusal.into_answer(answer.index);
    }

    fn answer_if_settled(&self) -> Option<Handled> {
        (self.still_waiting == 0).then(|| self.answer())
    }

    fn answer(&self) -> Handled {
        if !self.is_silent {
            return self.reply.answered(&self.response);
        }
        match first_error(&self.response) {
            Some(error) => Handled::Close(CloseReason::SilentProduceFailed(error)),
            None => Handled::Silent,
        }
    }
}

fn not_durable(result: Result<(), AckFailure>) -> Option<Refusal> {
    let failure = result.err()?;
    Some(Refusal::code(match failure {
        // The batch may be kept: every client sends it again as it is, and none calls it lost.
        AckFailure::Storage => ErrorCode::RequestTimedOut,
        AckFailure::Deleted => ErrorCode::UnknownTopicOrPartition,
    }))
}
