//! What the tests of the node share: a node on a simulated disk, a topic, records in it.
#![allow(dead_code, clippy::unwrap_used)]

pub mod configs;
pub mod connection;
pub mod crowd;
pub mod disks;
pub mod groups;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millstream_api::Proposal;
use millstream_env::Disk;
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_metadata::{ControllerSettings, NewTopic};
use millstream_model::{RequestToken, WallTime};
use millstream_node::{Node, NodeConfig};
use millstream_protocol::records::{
    BatchBuilder, BatchHeader, Codec, ValidatedBatch, batches, records_of,
};
use millstream_replica::{Acks, HostedPartition, Waiter};

/// When a test begins.
pub const NOW: WallTime = WallTime(1_700_000_000_000);
pub const TOPIC: &str = "topic";
pub const TOKEN: RequestToken = RequestToken {
    connection: 1,
    request: 1,
};

/// A node with these settings in its file, on a disk and a clock of its own.
pub fn node(settings: &[(&str, &str)]) -> Node {
    let clock = Arc::new(SimClock::new(NOW));
    node_on(&SimDisk::default(), &clock, settings)
}

/// The same on these.
pub fn node_on<D>(disk: &D, clock: &Arc<SimClock>, settings: &[(&str, &str)]) -> Node
where
    D: Disk + Clone + 'static,
{
    let given = settings.iter();
    let config = NodeConfig {
        log_directories: vec!["/data".into()],
        auto_create_topics: false,
        controller: ControllerSettings {
            file_configs: given.map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            ..ControllerSettings::default()
        },
        fetch_bytes_max: 1 << 20,
        fetch_wait_max: Duration::from_secs(1),
        group_shards: 1,
        producer_expiration: Duration::from_secs(7),
        ..NodeConfig::default()
    };
    let clock = Arc::clone(clock);
    let random = Arc::new(SimRandom::new(1));
    Node::open(Arc::new(disk.clone()), clock, random, config).unwrap()
}

/// Creates the topic with these configs and three partitions.
pub fn create(node: &Node, configs: &[(&str, &str)]) -> Vec<Arc<HostedPartition>> {
    create_topic(node, TOPIC, 3, configs);
    node.broker.view().topic(TOPIC).unwrap().partitions.clone()
}

/// Creates a topic.
pub fn create_topic(node: &Node, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let given = configs.iter();
    let topic = NewTopic {
        name: name.to_owned(),
        partitions,
        replication_factor: 1,
        assignments: Default::default(),
        configs: given
            .map(|(key, value)| (key.to_string(), Some(value.to_string())))
            .collect(),
    };
    let _answered = node.propose(Proposal::CreateTopics {
        token: TOKEN,
        topics: vec![topic],
        validate_only: false,
    });
}

/// One partition of a topic.
pub fn partition(node: &Node, name: &str, index: usize) -> Arc<HostedPartition> {
    Arc::clone(&node.broker.view().topic(name).unwrap().partitions[index])
}

/// Appends so many records of 100 bytes, with this key, each a batch, and flushes.
pub fn fill(node: &Node, partition: &Arc<HostedPartition>, key: Option<&[u8]>, records: usize) {
    let waiter = Waiter {
        token: TOKEN,
        slot: 0,
    };
    for _ in 0..records {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(NOW.0, key, Some(&[b'v'; 100]), []);
        let batch = builder.build(0, -1);
        let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
        let mut locked = partition.lock().unwrap();
        let appended =
            locked.handle_append(batch, usize::MAX, &validated, Acks::Leader, waiter, NOW);
        appended.unwrap();
        drop(locked);
        if partition.mark_awaits_flush() {
            node.queue_flush(Arc::clone(partition));
        }
    }
    node.flush(partition.directory());
}

/// A batch of one record.
pub fn batch(timestamp: i64, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(timestamp, None, Some(&vec![7; size]), []);
    builder.build(0, -1)
}

/// Appends a batch to the first partition, durably.
pub fn append(node: &Node, batch: Bytes) {
    let partition = partition(node, TOPIC, 0);
    let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
    let waiter = Waiter {
        token: TOKEN,
        slot: 0,
    };
    let mut locked = partition.lock().unwrap();
    let now = node.wall_time();
    locked
        .handle_append(batch, usize::MAX, &validated, Acks::Leader, waiter, now)
        .unwrap();
    drop(locked);
    assert!(partition.mark_awaits_flush());
    node.queue_flush(partition);
    node.flush(0);
}

/// The timestamps of the first partition's records.
pub fn timestamps_left(node: &Node) -> Vec<i64> {
    let partition = partition(node, TOPIC, 0);
    let locked = partition.lock().unwrap();
    let mut offset = locked.log().log_start_offset();
    let mut timestamps = Vec::new();
    while offset < locked.high_watermark() {
        let read = locked.read(offset, 1 << 20, true).unwrap();
        for part in &read.parts {
            for found in batches(part) {
                let (header, batch) = found.unwrap();
                let records = records_of(&header, batch).unwrap();
                timestamps.extend(records.iter().map(|record| record.unwrap().timestamp));
            }
        }
        offset = read.range.unwrap().end;
    }
    timestamps
}
