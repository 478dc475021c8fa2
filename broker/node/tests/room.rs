//! A disk that runs full: records of clients are refused before it is, all else goes on, and they are taken
//! again by themselves (FAILURES.md S11, S12).
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{NOW, TOKEN, batch, create_topic};
use millstream_api::Proposal;
use millstream_env::Disk;
use millstream_env::sim::{SimClock, SimDisk, SimFaults, SimRandom};
use millstream_log::AppendError;
use millstream_metadata::{OFFSETS_TOPIC, TopicToDelete};
use millstream_model::TopicId;
use millstream_node::{Node, NodeConfig};
use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchHeader, ValidatedBatch};
use millstream_replica::{Acks, HostedPartition, Waiter};

const RESERVE: u64 = 100_000;

struct Bench {
    disk: SimDisk,
    node: Node,
}

fn open(disk: &SimDisk) -> Node {
    let config = NodeConfig {
        log_directories: vec!["/data".into()],
        auto_create_topics: false,
        group_shards: 1,
        reserve_bytes: Some(RESERVE),
        ..NodeConfig::default()
    };
    let clock = Arc::new(SimClock::new(NOW));
    let random = Arc::new(SimRandom::new(1));
    Node::open(Arc::new(disk.clone()), clock, random, config).unwrap()
}

impl Bench {
    fn new() -> Bench {
        let disk = SimDisk::default();
        let node = open(&disk);
        let bench = Bench { disk, node };
        bench.create("topic", 1);
        bench.create(OFFSETS_TOPIC, 1);
        bench
    }

    fn restart(self) -> Bench {
        let Bench { disk, node } = self;
        drop(node);
        disk.end_process();
        let node = open(&disk);
        Bench { disk, node }
    }

    /// The disk has so much room, and the broker has looked.
    fn set_room(&self, room: Option<u64>) {
        let faults = self.disk.faults();
        self.disk.set_faults(SimFaults { room, ..faults });
        self.node.refresh_room();
    }

    fn create(&self, name: &str, partitions: i32) {
        create_topic(&self.node, name, partitions, &[]);
    }

    fn partition(&self, topic: &str) -> Arc<HostedPartition> {
        let view = self.node.broker.view();
        Arc::clone(&view.topic(topic).unwrap().partitions[0])
    }

    /// Appends a record of so many bytes and flushes it.
    fn append(&self, topic: &str, bytes: usize) -> Result<(), AppendError> {
        let partition = self.partition(topic);
        let batch = batch(NOW.0, bytes);
        let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
        let waiter = Waiter {
            token: TOKEN,
            slot: 0,
        };
        let mut locked = partition.lock().unwrap();
        locked.handle_append(batch, usize::MAX, &validated, Acks::Leader, waiter, NOW)?;
        drop(locked);
        if partition.mark_awaits_flush() {
            self.node.queue_flush(Arc::clone(&partition));
        }
        self.node.flush(0);
        Ok(())
    }

    fn end(&self, topic: &str) -> i64 {
        self.partition(topic).lock().unwrap().high_watermark().0
    }
}

#[test]
fn records_stop_at_the_reserve_and_all_else_goes_on() {
    let bench = Bench::new();
    bench.append("topic", 1000).unwrap();
    bench.set_room(Some(RESERVE + 3000));
    bench.append("topic", 1000).unwrap();
    bench.append("topic", 1000).unwrap();
    let refused = bench.append("topic", 1000).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::KafkaStorageError);
    let message = refused.to_string();
    for part in ["/data", "100000", "millstream.log.dir.reserve.bytes"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(
        bench.node.short_directories().len(),
        0,
        "small ones still fit"
    );
    bench.set_room(Some(RESERVE / 2));
    assert!(bench.append("topic", 0).is_err());
    assert_eq!(bench.node.short_directories().len(), 1);
    // Reading, committed offsets, changes of metadata.
    let partition = bench.partition("topic");
    let locked = partition.lock().unwrap();
    let read = locked
        .read(millstream_model::Offset(0), 1 << 20, true)
        .unwrap();
    assert_eq!(read.range.unwrap().end.0, 3);
    drop(locked);
    bench.append(OFFSETS_TOPIC, 1000).unwrap();
    bench.create("other", 2);
    assert_eq!(
        bench
            .node
            .broker
            .view()
            .topic("other")
            .unwrap()
            .partitions
            .len(),
        2
    );
    // By itself, once there is room.
    bench.set_room(None);
    bench.append("topic", 1000).unwrap();
    assert_eq!((bench.end("topic"), bench.end(OFFSETS_TOPIC)), (4, 1));
}

#[test]
fn what_was_deleted_waits_for_nobody_while_there_is_no_room() {
    let bench = Bench::new();
    bench.create("other", 1);
    bench.set_room(Some(RESERVE));
    assert!(bench.append("topic", 1000).is_err());
    bench.node.propose(Proposal::DeleteTopics {
        token: TOKEN,
        topics: vec![TopicToDelete {
            name: Some("other".to_owned()),
            id: TopicId::ZERO,
        }],
    });
    let faults = bench.disk.faults();
    bench.disk.set_faults(SimFaults {
        room: None,
        ..faults
    });
    while bench.node.remove_step() {}
    let folders = bench.disk.list(Path::new("/data")).unwrap();
    let is_other = |path: &Path| path.to_string_lossy().contains("other");
    assert!(!folders.iter().any(|entry| is_other(&entry.path)));
    bench.append("topic", 1000).unwrap();
}

#[test]
fn a_start_below_the_reserve_reads_and_refuses_records() {
    let bench = Bench::new();
    bench.append("topic", 1000).unwrap();
    bench.node.close().unwrap();
    bench.disk.set_faults(SimFaults {
        room: Some(RESERVE / 2),
        ..SimFaults::default()
    });
    let bench = bench.restart();
    assert_eq!(bench.end("topic"), 1);
    assert!(bench.append("topic", 1000).is_err());
    bench.append(OFFSETS_TOPIC, 1000).unwrap();
}

/// What is behind a torn batch is to be set aside, and there is no room for it.
#[test]
fn a_log_whose_end_cannot_be_set_aside_is_read_and_takes_records_when_there_is_room() {
    let bench = Bench::new();
    bench.append("topic", 1000).unwrap();
    let file = std::path::Path::new("/data/topic-0/00000000000000000000.log");
    let log = bench.disk.open(file, false).unwrap();
    let end = log.length().unwrap();
    bench.node.checkpoint();
    for _ in 0..2 {
        // Never synced, as far as the checkpoint knows.
        bench.append("topic", 60_000).unwrap();
    }
    bench.disk.flip_bit(file, end + 500, 0);
    bench.disk.set_faults(SimFaults {
        room: Some(RESERVE / 2),
        ..SimFaults::default()
    });
    let bench = bench.restart();
    assert_eq!(bench.end("topic"), 1);
    let refused = bench.append("topic", 10).unwrap_err();
    assert!(
        matches!(refused, AppendError::AwaitsCut { .. }),
        "{refused}"
    );
    let aside = std::path::Path::new("/data/topic-0/00000000000000000000.log.cut-1");
    assert!(bench.disk.length(aside).is_err(), "half of it is not kept");
    let length = bench.disk.length(file).unwrap();
    assert!(length > end + 100_000, "nothing is lost for want of room");
    // A start meanwhile finds the same. (A disk that is full takes no checkpoint either.)
    assert!(bench.node.close().is_err());
    bench.disk.set_faults(SimFaults {
        room: Some(RESERVE / 2),
        ..SimFaults::default()
    });
    let bench = bench.restart();
    assert_eq!(bench.end("topic"), 1);
    bench.node.refresh_room();
    assert!(bench.append("topic", 10).is_err());
    bench.set_room(None);
    bench.append("topic", 10).unwrap();
    assert_eq!(bench.end("topic"), 2);
    assert_eq!(bench.disk.length(aside).unwrap(), length - end);
    let bench = bench.restart();
    assert_eq!(bench.end("topic"), 2);
}
