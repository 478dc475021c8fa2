#![allow(clippy::unwrap_used)]
//! The producer against a scripted broker, step by step.

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::MetadataResponse;
use millstream_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use millstream_protocol::records::BatchHeader;

use super::*;
use crate::producer::error::ProduceError;
use crate::producer::fake_broker::{FakeBroker, answer, refusal};
use crate::producer::queue::PartitionAnswer;

fn metadata(leaders: &[i32]) -> Metadata {
    let partitions = leaders.iter().enumerate();
    let partitions = partitions.map(|(index, &leader_id)| MetadataResponsePartition {
        partition_index: index as i32,
        leader_id,
        leader_epoch: -1,
        ..Default::default()
    });
    let topic = MetadataResponseTopic {
        name: Some("t".into()),
        topic_id: [1; 16],
        partitions: partitions.collect(),
        ..Default::default()
    };
    Metadata::default().with(&MetadataResponse {
        topics: vec![topic],
        ..Default::default()
    })
}

/// A producer with one partition, whose batches hold one record each.
struct Bench {
    core: Core,
    now: Instant,
    metadata: Metadata,
    broker: FakeBroker,
    orders: Vec<Order>,
    effects: Vec<Effect>,
    session: u64,
}

type Waiting = watch::Receiver<BatchResult>;

impl Bench {
    fn new(config: ProducerConfig) -> Self {
        let mut bench = Self {
            core: Core::new(&config, Dice::new(1)),
            now: Instant::now(),
            metadata: metadata(&[1]),
            broker: FakeBroker::default(),
            orders: Vec::new(),
            effects: Vec::new(),
            session: 0,
        };
        bench.broker.leaders.insert(0, 1);
        bench
    }

    fn idempotent() -> Self {
        Self::new(ProducerConfig {
            linger: Duration::ZERO,
            batch_bytes: 1,
            ..Default::default()
        })
    }

    /// With a connection, a producer id, and one acknowledged record `r0`.
    fn proven() -> Self {
        let mut bench = Self::idempotent();
        let first = bench.push("r0");
        bench.poll();
        bench.answer_next();
        assert_eq!(offset(&first), Some(0));
        bench
    }

    fn push(&mut self, value: &'static str) -> Waiting {
        let target = TopicPartition::new("t", 0);
        let record = Record::value(value);
        self.core.push(&target, &record, 5, 10, self.now).0
    }

    /// Polls, and does at once what is asked for; requests are kept.
    fn poll(&mut self) {
        loop {
            let mut effects = std::mem::take(&mut self.effects);
            self.core.poll(self.now, &self.metadata, &mut effects);
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Connect(node) => {
                        self.session += 1;
                        self.core.handle_connected(node, self.session);
                    }
                    Effect::AskProducerId => {
                        let producer = ProducerIdentity { id: 7, epoch: 0 };
                        self.core.handle_producer_id(producer);
                    }
                    Effect::RefreshMetadata(_) => self.core.handle_metadata(self.now),
                    Effect::Send(order) => self.orders.push(order),
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.poll();
    }

    /// Lets the broker answer the oldest request.
    fn answer_next(&mut self) {
        let order = self.orders.remove(0);
        let answer = self.broker.produce(order.node, 0, &order.batches[0].1);
        self.answer_with(&order, answer);
    }

    /// The oldest request is answered like this without being looked at.
    fn refuse_next(&mut self, code: ErrorCode) {
        let order = self.orders.remove(0);
        self.answer_with(&order, refusal(code));
    }

    fn answer_with(&mut self, order: &Order, answer: PartitionAnswer) {
        let find = |_: &TopicPartition| Some(answer.clone());
        self.core.handle_answer(order.request, self.now, find);
        self.poll();
    }

    /// The connection ends; what was on its way may have been written (`written` of the requests were).
    fn disconnect(&mut self, written: usize) {
        self.core.handle_disconnected(1, self.now);
        for (at, order) in std::mem::take(&mut self.orders).into_iter().enumerate() {
            if at < written {
                self.broker.produce(1, 0, &order.batches[0].1);
            }
            self.core.handle_lost(order.request, self.now, "closed");
        }
    }

    fn stamps(&self) -> Vec<(i16, i32)> {
        let batches = self.orders.iter().map(|order| &order.batches[0].1);
        batches
            .map(|batch| {
                let header = BatchHeader::read(batch).unwrap();
                (header.producer_epoch, header.base_sequence)
            })
            .collect()
    }

    fn log(&self) -> Vec<&str> {
        self.broker.logs[&0]
            .values
            .iter()
            .map(String::as_str)
            .collect()
    }

    /// Answers everything until nothing is on its way for a second.
    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.orders.is_empty() {
                self.answer_next();
            }
            self.pass(Duration::from_millis(50));
        }
        assert!(self.orders.is_empty());
    }
}

fn offset(result: &Waiting) -> Option<i64> {
    let result = result.borrow();
    Some(result.as_ref()?.as_ref().unwrap().base_offset)
}

fn error(result: &Waiting) -> ProduceError {
    result
        .borrow()
        .as_ref()
        .unwrap()
        .as_ref()
        .unwrap_err()
        .clone()
}

#[test]
fn the_first_batch_travels_alone_and_then_five_at_a_time() {
    let mut bench = Bench::idempotent();
    for value in ["a", "b", "c", "d", "e", "f", "g"] {
        bench.push(value);
    }
    bench.poll();
    assert_eq!(bench.stamps(), [(0, 0)]);
    bench.answer_next();
    assert_eq!(bench.stamps(), [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]);
    bench.answer_next();
    assert_eq!(bench.orders.len(), 5);
    bench.settle();
    assert_eq!(bench.log(), ["a", "b", "c", "d", "e", "f", "g"]);
}

#[test]
fn after_a_refusal_everything_comes_home_and_goes_out_in_order_with_the_same_stamps() {
    let mut bench = Bench::proven();
    let results = ["a", "b", "c"].map(|value| bench.push(value));
    bench.poll();
    let stamps = bench.stamps();
    bench.refuse_next(ErrorCode::NotEnoughReplicas);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.orders.len(), 2, "nothing is sent while some are out");
    bench.answer_next();
    bench.answer_next();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.stamps(), stamps);
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b", "c"]);
    assert_eq!(results.each_ref().map(offset), [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_lost_acknowledgement_is_answered_by_the_duplicate() {
    let mut bench = Bench::proven();
    let results = ["a", "b", "c"].map(|value| bench.push(value));
    bench.poll();
    bench.disconnect(2);
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b", "c"]);
    assert_eq!(results.each_ref().map(offset), [Some(1), Some(2), Some(3)]);
}

#[test]
fn a_batch_in_doubt_is_not_left_more_than_five_behind() {
    let mut bench = Bench::proven();
    for value in ["a", "b", "c", "d", "e", "f", "g"] {
        bench.push(value);
    }
    bench.poll();
    // `a` is written but refused afterwards; the four behind it are acknowledged.
    let order = bench.orders.remove(0);
    bench.broker.produce(1, 0, &order.batches[0].1);
    bench.answer_with(&order, refusal(ErrorCode::NotEnoughReplicasAfterAppend));
    for _ in 0..4 {
        bench.answer_next();
    }
    bench.pass(Duration::from_secs(1));
    assert_eq!(
        bench.stamps(),
        [(0, 1)],
        "a sixth would push `a` out of the broker's memory"
    );
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b", "c", "d", "e", "f", "g"]);
}

#[test]
fn a_batch_refused_for_good_fails_alone_and_the_rest_goes_on_under_the_next_epoch() {
    let mut bench = Bench::proven();
    let results = ["big", "b", "c"].map(|value| bench.push(value));
    bench.poll();
    bench.refuse_next(ErrorCode::MessageTooLarge);
    bench.answer_next();
    bench.answer_next();
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.stamps(), [(1, 0)]);
    bench.settle();
    assert_eq!(bench.log(), ["r0", "b", "c"]);
    assert!(matches!(error(&results[0]), ProduceError::Refused { .. }));
    assert_eq!(offset(&results[2]), Some(2));
}

#[test]
fn out_of_time_with_doubt_is_never_sent_anew_under_another_epoch() {
    let mut bench = Bench::proven();
    let first = bench.push("first");
    bench.poll();
    // Nobody knows whether it was written; it was not. Its time runs out while no broker is there.
    bench.disconnect(0);
    bench.metadata = metadata(&[-1]);
    bench.pass(Duration::from_secs(100));
    let second = bench.push("second");
    bench.pass(Duration::from_secs(30));
    let ProduceError::Timeout { attempts: 1, .. } = error(&first) else {
        panic!("{:?}", error(&first));
    };
    bench.metadata = metadata(&[1]);
    bench.settle();
    assert_eq!(bench.log(), ["r0", "second"]);
    assert_eq!(offset(&second), Some(1));
}

#[test]
fn doubt_about_a_later_batch_keeps_its_old_stamp_until_it_is_resolved() {
    let mut bench = Bench::proven();
    let results = ["a", "b"].map(|value| bench.push(value));
    bench.poll();
    let old = bench.stamps();
    // Both were written and neither answer came; then `a` runs out of time, `b` has a little left.
    bench.disconnect(2);
    bench.metadata = metadata(&[-1]);
    bench.core.queues[0].make_older(Duration::from_secs(10));
    bench.pass(Duration::from_secs(111));
    assert!(matches!(error(&results[0]), ProduceError::Timeout { .. }));
    bench.metadata = metadata(&[1]);
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.stamps(), old[1..], "the old stamp");
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b"]);
    assert_eq!(offset(&results[1]), Some(2));
    bench.push("c");
    bench.poll();
    assert_eq!(bench.stamps(), [(1, 0)]);
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b", "c"]);
}

#[test]
fn a_broker_that_lost_acknowledged_records_gets_the_rest_under_the_next_epoch() {
    let mut bench = Bench::proven();
    let kept = bench.push("kept");
    bench.poll();
    bench.answer_next();
    assert_eq!(offset(&kept), Some(1));
    bench.broker.logs.get_mut(&0).unwrap().lose_from(1);
    let results = ["a", "b", "c"].map(|value| bench.push(value));
    bench.poll();
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b", "c"]);
    assert_eq!(offset(&results[2]), Some(3));
}

#[test]
fn sequences_begin_anew_after_the_largest() {
    let mut bench = Bench::proven();
    bench.core.queues[0].set_next_sequence(i32::MAX);
    bench.push("a");
    bench.push("b");
    bench.poll();
    assert_eq!(bench.stamps(), [(0, i32::MAX), (0, 0)]);
}

#[test]
fn after_the_last_epoch_comes_another_producer_id() {
    let mut bench = Bench::idempotent();
    let last = ProducerIdentity {
        id: 6,
        epoch: i16::MAX,
    };
    bench.core.handle_producer_id(last);
    bench.push("big");
    bench.poll();
    assert_eq!(bench.stamps(), [(i16::MAX, 0)]);
    bench.refuse_next(ErrorCode::MessageTooLarge);
    bench.push("a");
    bench.settle();
    assert_eq!(bench.log(), ["a"]);
    assert_eq!(bench.core.queues[0].identity().unwrap().id, 7);
}

#[test]
fn a_new_leader_is_found_and_batches_never_overtake_on_two_connections() {
    let mut bench = Bench::proven();
    bench.push("a");
    bench.poll();
    bench.metadata = metadata(&[2]);
    bench.broker.leaders.insert(0, 2);
    bench.push("b");
    bench.poll();
    assert_eq!(bench.orders.len(), 1, "b waits until a is home");
    bench.answer_next();
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a", "b"]);
}

#[test]
fn linger_waits_for_more_and_a_full_batch_does_not() {
    let mut bench = Bench::new(ProducerConfig {
        linger: Duration::from_millis(5),
        batch_bytes: 200,
        ..Default::default()
    });
    bench.push("a");
    bench.push("b");
    bench.poll();
    assert!(bench.orders.is_empty());
    bench.pass(Duration::from_millis(5));
    assert_eq!(bench.orders.len(), 1);
    bench.answer_next();
    for _ in 0..20 {
        bench.push("c");
    }
    bench.poll();
    assert!(!bench.orders.is_empty(), "full batches do not wait");
    bench.core.begin_hurry();
    bench.settle();
    assert_eq!(bench.log().len(), 22);
}

#[test]
fn memory_is_given_back_when_batches_are_done() {
    let mut bench = Bench::proven();
    assert_eq!(bench.core.take_released(), 10);
    bench.push("a");
    bench.push("b");
    bench.poll();
    bench.refuse_next(ErrorCode::MessageTooLarge);
    assert_eq!(bench.core.take_released(), 10);
    bench.core.fail_all(&ProduceError::Closed);
    assert_eq!(bench.core.take_released(), 10);
}

#[test]
fn without_idempotence_one_batch_travels_at_a_time() {
    let mut bench = Bench::new(ProducerConfig {
        idempotent: false,
        linger: Duration::ZERO,
        batch_bytes: 1,
        ..Default::default()
    });
    let results = ["a", "b"].map(|value| bench.push(value));
    bench.poll();
    assert_eq!(bench.stamps(), [(-1, -1)]);
    bench.refuse_next(ErrorCode::RequestTimedOut);
    bench.settle();
    assert_eq!(bench.log(), ["a", "b"]);
    assert_eq!(offset(&results[1]), Some(1));
}

#[test]
fn an_answer_without_the_partition_is_an_answer_in_doubt() {
    let mut bench = Bench::proven();
    let result = bench.push("a");
    bench.poll();
    let order = bench.orders.remove(0);
    let written = bench.broker.produce(1, 0, &order.batches[0].1);
    assert_eq!(written.code, answer(0, 1).code);
    bench.core.handle_answer(order.request, bench.now, |_| None);
    bench.settle();
    assert_eq!(bench.log(), ["r0", "a"]);
    assert_eq!(offset(&result), Some(1));
}
