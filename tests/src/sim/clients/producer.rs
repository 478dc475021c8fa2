//! An idempotent producer that keeps several batches in flight and sends again what was not
//! acknowledged.

use std::borrow::Cow;
use std::collections::VecDeque;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};

use super::{Heard, TOPIC};
use crate::sim::checkers::Seen;
use crate::sim::wire::{PRODUCE_BY_NAME, call, code, decode, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

/// Batches of each producer.
const BATCHES: i32 = 80;
const IN_FLIGHT_MAX: usize = 5;
const INIT_PRODUCER_ID: i16 = 4;

/// One producer of one partition.
#[derive(Debug)]
pub(crate) struct Producer {
    id: i64,
    epoch: i16,
    partition: i32,
    connection: u64,
    acknowledged: i32,
    next: i32,
    in_flight: VecDeque<i32>,
    /// A batch in flight failed: those behind it must fail too unless it is in the log already, then all are sent again.
    has_hole: bool,
    /// Those below this were sent before, and may be in the log since then.
    sent_before: i32,
}

impl Producer {
    /// Gets a producer id.
    pub(crate) fn new(world: &mut World, partition: i32) -> Result<Producer, Violation> {
        let connection = world.connect();
        let request = InitProducerIdRequest {
            transactional_id: None,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let answer = call(world, connection, INIT_PRODUCER_ID, &request)?;
        let given: InitProducerIdResponse =
            decode::<InitProducerIdRequest<'_>, _>(&answer, INIT_PRODUCER_ID)?;
        if given.error_code != 0 {
            return violation(format!("no producer id: error {}", given.error_code));
        }
        Ok(Producer {
            id: given.producer_id,
            epoch: given.producer_epoch,
            partition,
            connection,
            acknowledged: 0,
            next: 0,
            in_flight: VecDeque::new(),
            has_hole: false,
            sent_before: 0,
        })
    }

    /// The broker started again: what has no answer is sent once more.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.connection = world.connect();
        self.send_again();
    }

    /// Whether every batch is acknowledged.
    pub(crate) fn is_done(&self) -> bool {
        self.acknowledged == BATCHES
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if world.random.chance(50) {
            self.send(world)?;
            return Ok(Heard::Nothing);
        }
        self.hear(world, seen)
    }

    fn send(&mut self, world: &mut World) -> Result<(), Violation> {
        // A partition takes any first sequence from a producer it does not know, as Kafka does, so a
        // first batch that failed would be passed over by those behind it.
        let in_flight_max = match self.acknowledged {
            0 => 1,
            _ => IN_FLIGHT_MAX,
        };
        if self.next == BATCHES || self.in_flight.len() == in_flight_max || self.has_hole {
            return Ok(());
        }
        let sequence = self.next;
        let mut builder = BatchBuilder::new(Codec::None).producer(self.id, self.epoch, sequence);
        let value = vec![sequence as u8; 40 + 97 * (sequence as usize % 7)];
        builder.push(world.now_ms(), None, Some(&value), []);
        let data = PartitionProduceData {
            index: self.partition,
            records: Some(builder.build(0, -1).into()),
        };
        let topic = TopicProduceData {
            name: Cow::Borrowed(TOPIC),
            partition_data: vec![data],
            ..TopicProduceData::default()
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 600_000,
            topic_data: vec![topic],
        };
        self.next += 1;
        self.in_flight.push_back(sequence);
        send(world, self.connection, PRODUCE_BY_NAME, &request)
    }

    fn hear(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(Heard::Nothing);
        };
        let answer: ProduceResponse<'_> =
            decode::<ProduceRequest<'_>, _>(&answer, PRODUCE_BY_NAME)?;
        let answer = &answer.responses[0].partition_responses[0];
        world.note(answer.base_offset as u64 ^ answer.error_code as u64);
        let Some(sequence) = self.in_flight.pop_front() else {
            return violation("a producer hears more answers than it sent requests");
        };
        let mut heard = Heard::Nothing;
        match code(answer.error_code)? {
            ErrorCode::None if !self.has_hole => {
                self.acknowledged = sequence + 1;
                let batch = (self.id, sequence);
                seen.records
                    .acknowledge(batch, self.partition, answer.base_offset)?;
            }
            // The one that failed is in the log since it was sent before.
            ErrorCode::None if self.acknowledged < self.sent_before => {
                let batch = (self.id, sequence);
                seen.records
                    .acknowledge(batch, self.partition, answer.base_offset)?;
            }
            // The queue of the slow disk is full: that has a message.
            ErrorCode::RequestTimedOut if answer.error_message.is_some() => {
                self.has_hole = true;
                world.queue_refusals += 1;
            }
            // It was queued for a slow disk and went to another: it was not written.
            ErrorCode::NotLeaderOrFollower if world.has_moved => self.has_hole = true,
            // The second: it waited while the disk failed, and may be kept.
            ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut => {
                self.has_hole = true;
                heard = Heard::DiskFailed;
            }
            ErrorCode::OutOfOrderSequenceNumber if self.has_hole => {}
            code => {
                let (id, has_hole) = (self.id, self.has_hole);
                return violation(format!(
                    "producer {id} sequence {sequence} (after a failed one: {has_hole}): {code:?}"
                ));
            }
        }
        if self.has_hole && self.in_flight.is_empty() {
            self.send_again();
        }
        Ok(heard)
    }

    fn send_again(&mut self) {
        self.sent_before = self.sent_before.max(self.next);
        self.next = self.acknowledged;
        self.in_flight.clear();
        self.has_hole = false;
    }
}
