//! The simulated clients: idempotent producers that send again what was not acknowledged, and a
//! consumer that reads everything again and again.

use std::borrow::Cow;

use bytes::Bytes;
use millstream_protocol::Request;
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::messages::create_topics_request::CreatableTopic;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, InitProducerIdRequest,
    InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec, batches, check_crc};
use millstream_protocol::wire::{Decoder, Message};

use super::world::World;
use super::{Oracle, Violation, violation};

const TOPIC: &str = "simulated";
const PARTITIONS: i32 = 2;
const PRODUCERS: usize = 4;
/// Batches of each producer.
const BATCHES: i32 = 25;
const IN_FLIGHT_MAX: i32 = 5;
const PRODUCE_VERSION: i16 = 11;
const FETCH_VERSION: i16 = 12;
/// KAFKA_STORAGE_ERROR.
const STORAGE_ERROR: i16 = 56;
/// Turns of the broker's threads that a set-up request may take.
const SET_UP_TURNS: u32 = 10_000;

struct Producer {
    id: i64,
    epoch: i16,
    partition: i32,
    connection: u64,
    acknowledged: i32,
    sent: i32,
}

struct Consumer {
    connection: u64,
    waits: bool,
    next: Vec<i64>,
    high_watermarks: Vec<i64>,
}

/// All of them, and what they saw.
pub(crate) struct Clients {
    pub oracle: Oracle,
    /// A client was told that the disk failed.
    pub must_restart: bool,
    producers: Vec<Producer>,
    consumer: Consumer,
}

impl Clients {
    /// Makes the topic and gets the producer ids.
    pub(crate) fn new(world: &mut World) -> Result<Clients, Violation> {
        let mut clients = Clients {
            oracle: Oracle::default(),
            must_restart: false,
            producers: Vec::new(),
            consumer: Consumer {
                connection: world.connect(),
                waits: false,
                next: vec![0; PARTITIONS as usize],
                high_watermarks: vec![-1; PARTITIONS as usize],
            },
        };
        let connection = world.connect();
        let mut request = CreateTopicsRequest::default();
        request.topics.push(CreatableTopic {
            name: Cow::Borrowed(TOPIC),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            ..CreatableTopic::default()
        });
        let answer = call(world, connection, 7, &request)?;
        let created: CreateTopicsResponse<'_> = decode::<CreateTopicsRequest<'_>, _>(&answer, 7)?;
        if created.topics.iter().any(|topic| topic.error_code != 0) {
            return violation("the topic is not created");
        }
        for number in 0..PRODUCERS {
            let request = InitProducerIdRequest {
                transactional_id: None,
                producer_id: -1,
                producer_epoch: -1,
                ..InitProducerIdRequest::default()
            };
            let answer = call(world, connection, 4, &request)?;
            let given: InitProducerIdResponse = decode::<InitProducerIdRequest<'_>, _>(&answer, 4)?;
            if given.error_code != 0 {
                return violation(format!("no producer id: error {}", given.error_code));
            }
            clients.producers.push(Producer {
                id: given.producer_id,
                epoch: given.producer_epoch,
                partition: number as i32 % PARTITIONS,
                connection: world.connect(),
                acknowledged: 0,
                sent: 0,
            });
        }
        Ok(clients)
    }

    /// The broker started again: what has no answer is sent once more.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.must_restart = false;
        for producer in &mut self.producers {
            producer.connection = world.connect();
            producer.sent = producer.acknowledged;
        }
        self.consumer.connection = world.connect();
        self.consumer.waits = false;
        // What was seen once is read again.
        self.consumer.next.fill(0);
        self.consumer.high_watermarks.fill(-1);
    }

    /// One client sends or hears something.
    pub(crate) fn step(&mut self, world: &mut World) -> Result<(), Violation> {
        let who = world.random.below(PRODUCERS as u64 + 1) as usize;
        let sends = world.random.chance(50);
        match self.producers.get_mut(who) {
            Some(producer) if sends => producer.send(world),
            Some(producer) => {
                self.must_restart |= producer.hear(world, &mut self.oracle)?;
                Ok(())
            }
            None => {
                self.must_restart |= self.consumer.step(world, &mut self.oracle)?;
                Ok(())
            }
        }
    }

    /// Whether every batch is acknowledged and everything has been read.
    pub(crate) fn are_done(&self) -> bool {
        let all_sent = self
            .producers
            .iter()
            .all(|producer| producer.acknowledged == BATCHES);
        let offsets: i64 = self.consumer.next.iter().sum();
        all_sent && offsets >= PRODUCERS as i64 * i64::from(BATCHES)
    }
}

impl Producer {
    fn send(&mut self, world: &mut World) -> Result<(), Violation> {
        if self.sent == BATCHES || self.sent - self.acknowledged == IN_FLIGHT_MAX {
            return Ok(());
        }
        let sequence = self.sent;
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
        self.sent += 1;
        send(world, self.connection, PRODUCE_VERSION, &request)
    }

    /// Takes the next answer. Answers whether the disk failed.
    fn hear(&mut self, world: &mut World, oracle: &mut Oracle) -> Result<bool, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(false);
        };
        let answer: ProduceResponse<'_> =
            decode::<ProduceRequest<'_>, _>(&answer, PRODUCE_VERSION)?;
        let partition = &answer.responses[0].partition_responses[0];
        world.note(partition.base_offset as u64 ^ partition.error_code as u64);
        match partition.error_code {
            0 => {
                let batch = (self.id, self.acknowledged);
                self.acknowledged += 1;
                oracle.acknowledge(batch, self.partition, partition.base_offset)?;
                Ok(false)
            }
            STORAGE_ERROR => Ok(true),
            code => violation(format!(
                "producer {} sequence {}: error {code}",
                self.id, self.acknowledged
            )),
        }
    }
}

impl Consumer {
    fn step(&mut self, world: &mut World, oracle: &mut Oracle) -> Result<bool, Violation> {
        if self.waits {
            return self.hear(world, oracle);
        }
        let wanted = self
            .next
            .iter()
            .enumerate()
            .map(|(partition, offset)| FetchPartition {
                partition: partition as i32,
                fetch_offset: *offset,
                partition_max_bytes: 1000,
                ..FetchPartition::default()
            });
        let topic = FetchTopic {
            topic: Cow::Borrowed(TOPIC),
            partitions: wanted.collect(),
            ..FetchTopic::default()
        };
        let request = FetchRequest {
            max_bytes: 4000,
            session_epoch: -1,
            topics: vec![topic],
            ..FetchRequest::default()
        };
        self.waits = true;
        send(world, self.connection, FETCH_VERSION, &request)?;
        Ok(false)
    }

    fn hear(&mut self, world: &mut World, oracle: &mut Oracle) -> Result<bool, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(false);
        };
        self.waits = false;
        let answer: FetchResponse<'_> = decode::<FetchRequest<'_>, _>(&answer, FETCH_VERSION)?;
        for data in &answer.responses[0].partitions {
            let partition = data.partition_index;
            match data.error_code {
                0 => {}
                STORAGE_ERROR => return Ok(true),
                code => return violation(format!("fetch of {partition}: error {code}")),
            }
            let high_watermark = &mut self.high_watermarks[partition as usize];
            if data.high_watermark < *high_watermark {
                return violation(format!("the high watermark of {partition} went back"));
            }
            *high_watermark = data.high_watermark;
            let records = data.records.as_ref().map(|records| records.to_bytes());
            self.take(world, oracle, partition, &records.unwrap_or_default())?;
        }
        Ok(false)
    }

    fn take(
        &mut self,
        world: &mut World,
        oracle: &mut Oracle,
        partition: i32,
        records: &Bytes,
    ) -> Result<(), Violation> {
        for batch in batches(records) {
            let damaged = || Violation {
                what: format!("fetch of {partition}: a batch is damaged"),
            };
            let (header, bytes) = batch.map_err(|_| damaged())?;
            check_crc(bytes).map_err(|_| damaged())?;
            let name = (header.producer_id, header.base_sequence);
            oracle.see(name, partition, header.base_offset)?;
            world.note(header.base_offset as u64);
            let next = &mut self.next[partition as usize];
            *next = (*next).max(header.next_offset());
        }
        Ok(())
    }
}

fn send<'m, R: Request + Message<'m>>(
    world: &mut World,
    connection: u64,
    version: i16,
    request: &R,
) -> Result<(), Violation> {
    let frame = encode_request(0, "simulated", version, request).map_err(|error| Violation {
        what: format!("a request cannot be encoded: {error}"),
    })?;
    world.send(connection, &frame)
}

/// Sends a request and lets the broker work until it is answered.
fn call<'m, R: Request + Message<'m>>(
    world: &mut World,
    connection: u64,
    version: i16,
    request: &R,
) -> Result<Bytes, Violation> {
    send(world, connection, version, request)?;
    for _ in 0..SET_UP_TURNS {
        if let Some(answer) = world.receive(connection) {
            return Ok(answer);
        }
        world.work()?;
    }
    violation("a request to set things up is not answered")
}

fn decode<'a, R: Request, M: Message<'a>>(answer: &'a Bytes, version: i16) -> Result<M, Violation> {
    let mut decoder = Decoder::new(answer);
    decode_response_header(&mut decoder, R::API_KEY, version)
        .and_then(|_| M::decode(&mut decoder, version))
        .map_err(|error| Violation {
            what: format!("an answer cannot be decoded: {error}"),
        })
}
