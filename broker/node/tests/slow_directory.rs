//! A slow log directory, request by request: what is queued, in which order it is carried out, and that
//! nobody waits for a lock meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::disks::{Disks, EROFS};
use common::{create, node_on};
use millstream_api::{AnswerLimits, AnswerQueue, Client, Context, Effect, HostPort, handle_frame};
use millstream_env::sim::{SimClock, SimFaults};
use millstream_model::WallTime;
use millstream_node::{Node, QueueRest};
use millstream_protocol::frame::{self, Frame};
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millstream_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest, ProduceResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ApiKey, ErrorCode, Request};

const START: WallTime = WallTime(1_700_000_000_000);
const TOPIC: &str = "topic";
const PRODUCE: i16 = 9;
const FETCH: i16 = 11;
const LIST_OFFSETS: i16 = 4;
const LEADER_EPOCHS: i16 = 3;
const DATA: &str = "/data";
/// Slow enough to be noticed.
const SLOW: Duration = Duration::from_millis(60);

const MAY_BE_KEPT: (i16, i64) = (ErrorCode::RequestTimedOut as i16, -1);
const NOT_WRITTEN: (i16, i64) = (ErrorCode::KafkaStorageError as i16, -1);

/// A node, one connection to it, and the effects that are not carried out yet.
struct Bench {
    disks: Disks,
    clock: Arc<SimClock>,
    node: Node,
    answers: AnswerQueue,
    effects: Vec<Effect>,
    client: Client,
}

impl Bench {
    fn new() -> Bench {
        let clock = Arc::new(SimClock::new(START));
        let disks = Disks::at(&[DATA]);
        disks.get(DATA).disk.set_clock(Arc::clone(&clock));
        let node = node_on(&disks, &clock, &[]);
        create(&node, &[]);
        Bench {
            disks,
            clock,
            node,
            answers: AnswerQueue::new(1, AnswerLimits::default()),
            effects: Vec::new(),
            client: Client {
                host: "/127.0.0.1".to_owned(),
                advertised: HostPort {
                    host: "localhost".to_owned(),
                    port: 9092,
                },
            },
        }
    }

    /// A bench whose directory has just turned slow, by a write of the first partition.
    fn slow() -> Bench {
        let mut bench = Bench::new();
        bench.set_slow(Some(SLOW));
        bench.produce(0, 0, -1);
        assert!(bench.node.is_slow(0));
        bench
    }

    fn set_slow(&self, slow: Option<Duration>) {
        self.disks.get(DATA).disk.set_faults(SimFaults {
            slow,
            ..SimFaults::default()
        });
    }

    fn send<'m, R: Request + Message<'m>>(&mut self, version: i16, request: &R) {
        let frame = frame::encode_request(0, "test", version, request).unwrap();
        let mut context = Context {
            now: self.node.now(),
            wall: self.node.wall_time(),
            token: self.answers.next_token(),
            client: &self.client,
            effects: &mut self.effects,
            may_wait: false,
        };
        let handled = handle_frame(&self.node.broker, &mut context, &without_length(&frame));
        self.answers.push(handled).unwrap();
    }

    /// Sends a batch of the producer whose id is 7.
    fn produce(&mut self, partition: i32, sequence: i32, acks: i16) {
        let mut builder = BatchBuilder::new(Codec::None).producer(7, 0, sequence);
        builder.push(START.0, None, Some(&[1; 100]), []);
        let data = PartitionProduceData {
            index: partition,
            records: Some(builder.build(0, -1).into()),
        };
        let request = ProduceRequest {
            transactional_id: None,
            acks,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                partition_data: vec![data],
                ..TopicProduceData::default()
            }],
        };
        self.send(PRODUCE, &request);
    }

    fn fetch(&mut self, max_wait_ms: i32) {
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms,
            min_bytes: 1,
            max_bytes: 1 << 20,
            session_epoch: -1,
            topics: vec![FetchTopic {
                topic: TOPIC.into(),
                partitions: vec![FetchPartition {
                    partition: 0,
                    current_leader_epoch: -1,
                    fetch_offset: 0,
                    last_fetched_epoch: -1,
                    partition_max_bytes: 1 << 20,
                    ..FetchPartition::default()
                }],
                ..FetchTopic::default()
            }],
            ..FetchRequest::default()
        };
        self.send(FETCH, &request);
    }

    /// Carries out what steps asked for, but for steps of the directory's thread.
    fn settle(&mut self) {
        while !self.effects.is_empty() {
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Flush(partition) => {
                        self.node.queue_flush(partition);
                        let flushed = self.node.flush(0);
                        self.effects.extend(flushed);
                    }
                    Effect::Complete(news) => self.hear(|answers, node, context| {
                        answers
                            .handle_completion(&node.broker, context, news)
                            .unwrap();
                    }),
                    _ => {}
                }
            }
        }
    }

    fn hear(&mut self, step: impl FnOnce(&mut AnswerQueue, &Node, &mut Context<'_>)) {
        let mut context = Context {
            now: self.node.now(),
            wall: self.node.wall_time(),
            token: self.answers.next_token(),
            client: &self.client,
            effects: &mut self.effects,
            may_wait: false,
        };
        step(&mut self.answers, &self.node, &mut context);
    }

    fn time_out(&mut self) {
        self.hear(|answers, node, context| {
            answers.handle_timeout(&node.broker, context).unwrap();
        });
    }

    /// One step of the directory's thread.
    fn run_queue(&mut self) -> QueueRest {
        self.node.run_queue(0, &mut self.effects)
    }

    fn answer<T>(&mut self, read: impl FnOnce(&Bytes) -> T) -> Option<T> {
        let frame = self.answers.pop_ready()?;
        Some(read(&without_length(&frame)))
    }

    /// The error and the offset of the next answer, if it is there, which is one to a produce request.
    fn produced(&mut self) -> Option<(i16, i64)> {
        self.answer(|frame| {
            let answer: ProduceResponse<'_> = decode(frame, ApiKey::Produce, PRODUCE);
            let partition = &answer.responses[0].partition_responses[0];
            (partition.error_code, partition.base_offset)
        })
    }

    /// How many bytes of records the next answer has, if it is there, which is one to a fetch.
    fn fetched(&mut self) -> Option<usize> {
        self.answer(|frame| {
            let answer: FetchResponse<'_> = decode(frame, ApiKey::Fetch, FETCH);
            let partition = &answer.responses[0].partitions[0];
            assert_eq!(partition.error_code, 0);
            partition.records.as_ref().unwrap().len()
        })
    }

    fn log_end(&self) -> i64 {
        let partition = Arc::clone(&self.node.broker.view().topic(TOPIC).unwrap().partitions[0]);
        let locked = partition.lock().unwrap();
        locked.log().log_end_offset().0
    }
}

fn without_length(frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frame.len());
    for part in &frame.parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze().slice(4..)
}

fn decode<'f, M: Message<'f>>(frame: &'f Bytes, api_key: ApiKey, version: i16) -> M {
    let mut decoder = Decoder::new(frame);
    frame::decode_response_header(&mut decoder, api_key, version).unwrap();
    M::decode(&mut decoder, version).unwrap()
}

#[test]
fn what_comes_after_a_slow_write_is_queued_and_keeps_its_order() {
    let mut bench = Bench::slow();
    for sequence in 1..4 {
        bench.produce(0, sequence, -1);
    }
    assert_eq!(bench.log_end(), 1, "the others are not written here");
    // It is fast again, which the directory's thread finds out when it has done what is queued.
    bench.set_slow(None);
    bench.clock.advance(Duration::from_secs(5));
    assert_eq!(bench.run_queue(), QueueRest::None);
    assert_eq!(bench.log_end(), 2);
    bench.produce(0, 4, -1);
    assert_eq!(bench.log_end(), 2, "this one does not overtake");
    while bench.run_queue() == QueueRest::None {}
    assert!(!bench.node.is_slow(0));
    bench.produce(0, 5, -1);
    assert_eq!(bench.log_end(), 6, "this one is written at once");
    bench.settle();
    let answers: Vec<_> = std::iter::from_fn(|| bench.produced()).collect();
    assert_eq!(
        answers,
        (0..6).map(|offset| (0, offset)).collect::<Vec<_>>()
    );
}

/// The flusher may be faster than the news that there is something to flush.
#[test]
fn answers_come_when_the_batch_is_durable_in_whichever_order_it_is_told() {
    for flush_first in [true, false] {
        let mut bench = Bench::slow();
        bench.settle();
        assert_eq!(bench.produced(), Some((0, 0)));
        bench.produce(0, 1, -1);
        bench.run_queue();
        if flush_first {
            let (flushes, others): (Vec<_>, Vec<_>) = std::mem::take(&mut bench.effects)
                .into_iter()
                .partition(|effect| matches!(effect, Effect::Flush(_)));
            bench.effects = flushes;
            bench.settle();
            assert_eq!(bench.produced(), None);
            bench.effects = others;
        }
        bench.settle();
        assert_eq!(bench.produced(), Some((0, 1)));
    }
}

#[test]
fn one_that_awaits_no_flush_is_answered_from_the_queue_and_one_without_answer_is_silent() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    bench.produce(0, 1, 0);
    bench.produce(0, 2, 1);
    bench.effects.clear();
    assert_eq!(bench.produced(), None);
    while bench.run_queue() == QueueRest::None {}
    let news = std::mem::take(&mut bench.effects).into_iter();
    bench.effects = news
        .filter(|effect| matches!(effect, Effect::Complete(_)))
        .collect();
    bench.settle();
    assert_eq!(bench.produced(), Some((0, 2)));
    assert!(bench.answers.is_empty());
}

#[test]
fn a_queued_batch_that_its_partition_refuses_is_answered_with_that() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    bench.produce(0, 3, -1);
    while bench.run_queue() == QueueRest::None {}
    bench.settle();
    let code = ErrorCode::OutOfOrderSequenceNumber.code();
    assert_eq!(bench.produced(), Some((code, -1)));
}

/// Whoever holds the lock holds it for as long as the disk likes.
#[test]
fn a_fetch_passes_by_a_busy_partition_and_looks_again() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    let partition = Arc::clone(&bench.node.broker.view().topic(TOPIC).unwrap().partitions[0]);
    let held = partition.lock().unwrap();
    bench.fetch(500);
    assert_eq!(bench.fetched(), None, "it waits");
    let next = bench.answers.next_timeout().unwrap();
    let wait = next.since(bench.node.now());
    assert!(wait < Duration::from_millis(100), "{wait:?}");
    bench.clock.advance(wait);
    bench.time_out();
    assert_eq!(bench.fetched(), None);
    drop(held);
    bench.clock.advance(wait);
    bench.time_out();
    assert!(bench.fetched().unwrap() > 100);
    // One whose time is over is answered with nothing new, and leaves nothing behind.
    let held = partition.lock().unwrap();
    bench.fetch(0);
    assert_eq!(bench.fetched(), Some(0));
    drop(held);
    while bench.run_queue() == QueueRest::None {}
}

#[test]
fn offsets_of_a_slow_directory_are_looked_up_by_its_thread() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    let request = ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: TOPIC.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: 0,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..ListOffsetsRequest::default()
    };
    let partition = Arc::clone(&bench.node.broker.view().topic(TOPIC).unwrap().partitions[0]);
    let held = partition.lock().unwrap();
    bench.send(LIST_OFFSETS, &request);
    drop(held);
    assert!(bench.answers.pop_ready().is_none());
    while bench.run_queue() == QueueRest::None {}
    bench.settle();
    let offset = bench.answer(|frame| {
        let answer: ListOffsetsResponse<'_> = decode(frame, ApiKey::ListOffsets, LIST_OFFSETS);
        answer.topics[0].partitions[0].offset
    });
    assert_eq!(offset, Some(1));
}

#[test]
fn leader_epochs_of_a_slow_directory_are_looked_up_by_its_thread() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    let request = OffsetForLeaderEpochRequest {
        replica_id: -1,
        topics: vec![OffsetForLeaderTopic {
            topic: TOPIC.into(),
            partitions: vec![OffsetForLeaderPartition {
                partition: 0,
                current_leader_epoch: -1,
                leader_epoch: 0,
            }],
        }],
    };
    let partition = Arc::clone(&bench.node.broker.view().topic(TOPIC).unwrap().partitions[0]);
    let held = partition.lock().unwrap();
    bench.send(LEADER_EPOCHS, &request);
    drop(held);
    assert!(bench.answers.pop_ready().is_none());
    while bench.run_queue() == QueueRest::None {}
    bench.settle();
    let end = bench.answer(|frame| {
        let key = ApiKey::OffsetForLeaderEpoch;
        let answer: OffsetForLeaderEpochResponse<'_> = decode(frame, key, LEADER_EPOCHS);
        answer.topics[0].partitions[0].end_offset
    });
    assert_eq!(end, Some(1));
}

/// A failed disk is not waited for.
#[test]
fn what_is_queued_for_a_directory_that_fails_is_answered() {
    let mut bench = Bench::slow();
    bench.produce(0, 1, -1);
    bench.produce(0, 2, -1);
    bench.disks.get(DATA).fail_next_sync();
    bench.settle();
    while bench.run_queue() == QueueRest::None {}
    bench.settle();
    // The first may be kept; the others were never written.
    let answers: Vec<_> = std::iter::from_fn(|| bench.produced()).collect();
    assert_eq!(answers, [MAY_BE_KEPT, NOT_WRITTEN, NOT_WRITTEN]);
    assert!(!bench.node.is_slow(0), "nobody waits any more");
}

/// The kernel tells one of them that bytes are lost, and the others that all is well.
#[test]
fn a_round_that_synced_beside_one_that_failed_is_not_believed() {
    let mut bench = Bench::new();
    bench.set_slow(Some(Duration::from_millis(10)));
    for sequence in 0..9 {
        bench.produce(0, sequence, -1);
        bench.settle();
        assert_eq!(bench.produced(), Some((0, i64::from(sequence))));
    }
    let rounds = [9, 10].map(|sequence| {
        bench.produce(0, sequence, -1);
        for effect in std::mem::take(&mut bench.effects) {
            let Effect::Flush(partition) = effect else {
                continue;
            };
            bench.node.queue_flush(partition);
        }
        let next = bench.node.next_flush(0).unwrap();
        bench.node.begin_flush(next, &mut bench.effects).unwrap()
    });
    let [first, second] = rounds;
    bench.disks.get(DATA).fail_next_sync();
    let failed = bench.node.sync(&second);
    assert!(failed.is_err());
    assert!(bench.node.sync(&first).is_err(), "both files are told");
    // Even if it had not been told.
    bench.node.end_flush(first, Ok(()), &mut bench.effects);
    bench.node.end_flush(second, failed, &mut bench.effects);
    bench.settle();
    assert_eq!(bench.produced(), Some(MAY_BE_KEPT));
    assert_eq!(bench.produced(), Some(MAY_BE_KEPT));
}

/// The directory's thread may be the first that meets a broken file system.
#[test]
fn a_queued_append_that_a_broken_disk_refuses_takes_the_directory_with_it() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    bench.produce(0, 1, -1);
    bench.produce(1, 0, -1);
    bench.disks.get(DATA).fail_writes(EROFS);
    bench.run_queue();
    bench.settle();
    assert_eq!(bench.produced(), Some(NOT_WRITTEN));
    let partitions = bench
        .node
        .broker
        .view()
        .topic(TOPIC)
        .unwrap()
        .partitions
        .clone();
    assert!(partitions.iter().all(|partition| partition.is_offline()));
    while bench.run_queue() == QueueRest::None {}
    bench.settle();
    assert_eq!(bench.produced(), Some(NOT_WRITTEN), "of another partition");
    assert!(!bench.node.is_slow(0), "nobody waits any more");
}

#[test]
fn what_a_topic_that_is_deleted_has_queued_is_refused_as_unknown() {
    let mut bench = Bench::slow();
    bench.settle();
    bench.produced().unwrap();
    bench.produce(0, 1, -1);
    bench.node.broker.view().topic(TOPIC).unwrap().partitions[0].mark_deleted();
    while bench.run_queue() == QueueRest::None {}
    bench.settle();
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(bench.produced(), Some((unknown, -1)));
}
