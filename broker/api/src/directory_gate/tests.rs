use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{RequestToken, TopicId, TopicPartition};
use millstream_protocol::records::{BatchBuilder, BatchHeader, Codec, ValidatedBatch};
use millstream_replica::{Acks, Waiter};

use super::*;
use crate::append::BatchToAppend;
use crate::queued::QueuedAppend;

const TOKEN: RequestToken = RequestToken {
    connection: 1,
    request: 1,
};

/// One gate, and a clock that is moved by hand.
struct Bench {
    gates: DirectoryGates,
    now: Arc<AtomicU64>,
    partition: Arc<HostedPartition>,
}

impl Bench {
    fn new(threads: usize) -> Bench {
        let now = Arc::new(AtomicU64::new(1));
        let clock = Arc::clone(&now);
        let limits = GateLimits {
            health: HealthLimits {
                unflushed_bytes_max: 4000,
                ..HealthLimits::default()
            },
            queued_bytes_max: 3000,
            threads,
        };
        let name = TopicPartition {
            topic: "topic".into(),
            partition: 0,
        };
        Bench {
            gates: DirectoryGates::new(
                ["/data".to_owned()],
                limits,
                Box::new(move || Instant(clock.load(Ordering::Relaxed))),
            ),
            now,
            partition: Arc::new(HostedPartition::offline(name, TopicId::ZERO, 0)),
        }
    }

    fn pass(&self, ms: u64) {
        self.now.fetch_add(ms * 1_000_000, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        Instant(self.now.load(Ordering::Relaxed))
    }

    /// An append that keeps about so many bytes alive.
    fn append(&self, size: usize) -> QueuedStep {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(0, None, Some(&vec![0; size]), []);
        let bytes: Bytes = builder.build(0, -1);
        let batch = BatchToAppend {
            queued_in: None,
            frame_bytes: bytes.len(),
            validated: ValidatedBatch::trusted(BatchHeader::read(&bytes).unwrap()),
            bytes,
            acks: Acks::All,
            waiter: Waiter {
                token: TOKEN,
                slot: 0,
            },
        };
        QueuedAppend::step(&self.partition, 0, batch)
    }

    fn unpark(&self) -> QueuedStep {
        QueuedStep::Unpark {
            partition: Arc::clone(&self.partition),
            token: TOKEN,
        }
    }

    fn make_slow(&self) {
        let entered = self.gates.enter_to_write(0).unwrap();
        self.pass(51);
        drop(entered);
        assert!(self.gates.is_closed(0));
    }

    fn take(&self) -> NextStep {
        self.gates.take_step(0, self.now())
    }
}

#[test]
fn a_gate_opens_when_the_last_step_is_done_and_not_before() {
    let bench = Bench::new(8);
    assert!(bench.gates.enter(0).is_some());
    bench.make_slow();
    assert!(bench.gates.enter(0).is_none());
    bench.gates.push(0, bench.append(10)).unwrap();
    bench.pass(5000);
    assert!(matches!(
        bench.take(),
        NextStep::Step(QueuedStep::Append(_))
    ));
    assert!(bench.gates.enter_to_write(0).is_none(), "it is being done");
    bench.gates.end_step(0);
    assert!(bench.gates.is_closed(0));
    assert!(matches!(bench.take(), NextStep::Nothing));
    assert!(bench.gates.enter_to_write(0).is_some());
}

#[test]
fn a_queued_step_closes_the_gate_of_a_fast_directory_too() {
    let bench = Bench::new(8);
    bench.gates.push(0, bench.append(10)).unwrap();
    assert!(bench.gates.enter(0).is_none());
    assert!(matches!(bench.take(), NextStep::Step(_)));
    bench.gates.end_step(0);
    assert!(matches!(bench.take(), NextStep::Nothing));
    assert!(bench.gates.enter(0).is_some());
}

#[test]
fn a_write_that_does_not_end_is_noticed_by_who_comes_next() {
    let bench = Bench::new(8);
    let stuck = bench.gates.enter_to_write(0).unwrap();
    bench.pass(50);
    drop(bench.gates.enter(0).unwrap());
    bench.pass(1);
    assert!(bench.gates.enter(0).is_none());
    assert!(bench.gates.is_closed(0));
    drop(stuck);
}

#[test]
fn the_last_free_thread_keeps_out_of_what_may_be_stuck() {
    let bench = Bench::new(2);
    let one = bench.gates.enter_to_write(0).unwrap();
    bench.pass(1);
    drop(bench.gates.enter_to_write(0).unwrap());
    bench.pass(2);
    assert!(bench.gates.enter_to_write(0).is_none());
    assert!(!bench.gates.is_closed(0), "nothing says that it is slow");
    drop(one);
    assert!(bench.gates.enter_to_write(0).is_some());
}

#[test]
fn a_round_that_goes_on_is_noticed_by_who_writes_next() {
    let bench = Bench::new(8);
    bench.gates.begin_round(0, bench.now());
    bench.pass(1000);
    assert!(bench.gates.enter_to_write(0).is_some());
    bench.pass(1);
    assert!(bench.gates.enter_to_write(0).is_none());
    assert!(bench.gates.is_closed(0));
}

#[test]
fn an_empty_queue_takes_any_append_and_a_full_one_none() {
    let bench = Bench::new(8);
    bench.gates.push(0, bench.append(5000)).unwrap();
    let full = bench.gates.push(0, bench.append(10)).unwrap_err();
    assert_eq!(full.directory, "/data");
    assert!(full.queued_bytes > 5000);
    bench.gates.push(0, bench.unpark()).unwrap();
    assert!(matches!(bench.take(), NextStep::Step(_)));
    bench.gates.end_step(0);
    assert!(matches!(bench.take(), NextStep::Step(_)));
    bench.gates.end_step(0);
    bench.gates.push(0, bench.append(10)).unwrap();
}

#[test]
fn appends_of_a_slow_directory_await_a_round_and_others_go_past_them() {
    let bench = Bench::new(8);
    bench.make_slow();
    bench.gates.note_appended(&bench.partition, 1000);
    bench.gates.push(0, bench.append(10)).unwrap();
    bench.gates.push(0, bench.unpark()).unwrap();
    assert!(matches!(
        bench.take(),
        NextStep::Step(QueuedStep::Unpark { .. })
    ));
    bench.gates.end_step(0);
    assert!(matches!(bench.take(), NextStep::AwaitsRound));
    assert!(bench.gates.note_flushed(0, 1), "its thread is called");
    assert!(matches!(
        bench.take(),
        NextStep::Step(QueuedStep::Append(_))
    ));
    bench.gates.end_step(0);
    // Both kinds take turns.
    bench.gates.push(0, bench.unpark()).unwrap();
    bench.gates.push(0, bench.unpark()).unwrap();
    bench.gates.push(0, bench.append(10)).unwrap();
    let mut kinds = Vec::new();
    while let NextStep::Step(step) = bench.take() {
        kinds.push(step.is_append());
        bench.gates.end_step(0);
    }
    assert_eq!(kinds, [false, true, false]);
}

#[test]
fn a_full_budget_closes_the_gate_and_a_failed_directory_opens_it() {
    let bench = Bench::new(8);
    bench.gates.note_appended(&bench.partition, 3999);
    assert!(!bench.gates.is_closed(0));
    bench.gates.note_appended(&bench.partition, 1);
    assert!(bench.gates.is_closed(0));
    bench.gates.push(0, bench.append(10)).unwrap();
    assert!(matches!(bench.take(), NextStep::AwaitsRound));
    bench.gates.handle_failed(0);
    assert!(matches!(
        bench.take(),
        NextStep::Step(QueuedStep::Append(_))
    ));
    bench.gates.end_step(0);
    assert!(matches!(bench.take(), NextStep::Nothing));
    assert!(!bench.gates.is_closed(0));
}

#[test]
fn who_comes_for_a_partition_in_no_directory_that_is_there_never_waits() {
    let bench = Bench::new(1);
    let nowhere = usize::MAX;
    let stuck = bench.gates.enter_to_write(nowhere).unwrap();
    bench.pass(60_000);
    drop(bench.gates.enter(nowhere).unwrap());
    drop(stuck);
    drop(bench.gates.time_write(nowhere));
    assert!(!bench.gates.is_closed(nowhere));
    let name = bench.partition.name.clone();
    let partition = HostedPartition::offline(name, TopicId::ZERO, nowhere);
    bench.gates.note_appended(&partition, 5000);
    assert!(bench.gates.enter_to_write(nowhere).is_some());
    assert!(bench.gates.enter_to_write(0).is_some());
}
