//! How fast group shards are loaded: writes partitions of `__consumer_offsets` full of committed offsets into a new
//! directory, opens the node again and has it load the shards, as a start does.
//!
//!     cargo run --release -p millstream-node --example load_groups -- DIRECTORY [RECORDS] [KEYS] [RECORDS_PER_BATCH] [SHARDS] [THREADS]
//!
//! By default 5,000,000 records over 1,000,000 keys, 10 in a batch, in one partition, loaded by one thread. The directory is
//! removed at the end.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use millstream_api::Proposal;
use millstream_env::{RealClock, RealDisk, RealRandom};
use millstream_metadata::{NewTopic, OFFSETS_TOPIC};
use millstream_model::{RequestToken, WallTime};
use millstream_node::{Node, NodeConfig};
use millstream_protocol::messages::{OffsetCommitKey, OffsetCommitValue};
use millstream_protocol::records::{BatchBuilder, BatchHeader, Codec, ValidatedBatch};
use millstream_protocol::wire::{Encoder, Message};
use millstream_replica::{Acks, Waiter};

/// Partitions of a group's topic: a group has so many keys.
const PARTITIONS_PER_GROUP: u64 = 20;
const TOKEN: RequestToken = RequestToken {
    connection: 0,
    request: 0,
};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().expect("name a directory"));
    let mut number = |default: u64| {
        let given = arguments.next();
        given.map_or(default, |text| text.parse().expect("a number"))
    };
    let (records, keys, per_batch) = (number(5_000_000), number(1_000_000), number(10));
    let (shards, threads) = (number(1) as usize, number(1) as usize);
    assert!(!directory.exists(), "{} exists", directory.display());
    write(&directory, records, keys, per_batch, shards);

    let began = Instant::now();
    let node = open(&directory, shards);
    let opened = began.elapsed();
    let began = Instant::now();
    thread::scope(|scope| {
        for loader in 0..threads {
            let node = &node;
            scope.spawn(move || {
                for shard in (loader..shards).step_by(threads) {
                    node.load_groups(shard);
                }
            });
        }
    });
    let took = began.elapsed();
    let all = node.broker.group_shards();
    assert!(all.len() == shards && all.iter().all(|shard| shard.is_active()));
    let rate = records as f64 / took.as_secs_f64();
    println!(
        "{records} records of {keys} keys, {per_batch} in a batch, {shards} partitions, {threads} threads: opened in {:.3} s, loaded in {:.3} s, {:.2} million records/s, {} MiB resident",
        opened.as_secs_f64(),
        took.as_secs_f64(),
        rate / 1e6,
        resident_mib(),
    );
    drop(node);
    std::fs::remove_dir_all(&directory).unwrap();
}

fn open(directory: &Path, shards: usize) -> Node {
    let config = NodeConfig {
        log_directories: vec![directory.to_owned()],
        group_shards: shards,
        ..NodeConfig::default()
    };
    let clock = Arc::new(RealClock::default());
    Node::open(Arc::new(RealDisk), clock, Arc::new(RealRandom), config).unwrap()
}

fn write(directory: &Path, records: u64, keys: u64, per_batch: u64, shards: usize) {
    let node = open(directory, shards);
    let topic = NewTopic {
        name: OFFSETS_TOPIC.to_owned(),
        partitions: shards as i32,
        replication_factor: 1,
        assignments: Default::default(),
        configs: vec![("cleanup.policy".to_owned(), Some("compact".to_owned()))],
    };
    let _answered = node.propose(Proposal::CreateTopics {
        token: TOKEN,
        topics: vec![topic],
        validate_only: false,
    });
    let view = node.broker.view();
    let partitions = &view.topic(OFFSETS_TOPIC).unwrap().partitions;
    let wall = node.wall_time();
    let groups = keys.div_ceil(PARTITIONS_PER_GROUP);
    let mut record = 0;
    for commit in 0_u64.. {
        if record >= records {
            break;
        }
        // A batch is one commit of a group; the next is of another, for clients commit side by side.
        let group = commit.wrapping_mul(7_919) % groups;
        let partition = &partitions[group as usize % shards];
        let mut builder = BatchBuilder::new(Codec::None);
        for _ in 0..per_batch.min(records - record) {
            let number = (commit / groups * per_batch + record) % PARTITIONS_PER_GROUP;
            let (key, value) = offset_record(group, number, record, wall);
            builder.push(wall.0, Some(&key), Some(&value), []);
            record += 1;
        }
        let batch = builder.build(0, 0);
        let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
        let waiter = Waiter {
            token: TOKEN,
            slot: 0,
        };
        let mut locked = partition.lock().unwrap();
        locked
            .handle_append(batch, usize::MAX, &validated, Acks::Leader, waiter, wall)
            .unwrap();
        drop(locked);
        if partition.mark_awaits_flush() {
            node.queue_flush(Arc::clone(partition));
        }
        if record % 1_000_000 < per_batch {
            node.flush(0);
        }
    }
    node.close().unwrap();
}

fn offset_record(group: u64, partition: u64, offset: u64, wall: WallTime) -> (Vec<u8>, Vec<u8>) {
    let group = format!("consumers-of-orders-{group}");
    let key = OffsetCommitKey {
        group: group.into(),
        topic: "orders".into(),
        partition: partition as i32,
    };
    let value = OffsetCommitValue {
        offset: offset as i64,
        leader_epoch: 3,
        commit_timestamp: wall.0,
        expire_timestamp: -1,
        topic_id: [7; 16],
        ..OffsetCommitValue::default()
    };
    (encode(1, 0, &key), encode(4, 4, &value))
}

fn encode<'a>(leading: i16, version: i16, message: &impl Message<'a>) -> Vec<u8> {
    let mut encoder = Encoder::with_capacity(64);
    encoder.i16(leading);
    message.encode(&mut encoder, version).unwrap();
    encoder.into_parts().concat()
}

fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
