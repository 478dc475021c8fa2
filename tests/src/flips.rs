//! One flipped bit anywhere in a data directory: what a disk does that rots.
//!
//! A broker fills a simulated disk and stops. For every byte, a copy of that disk gets one wrong bit, and a
//! broker starts on it. It may refuse to start, naming the file; it may hold a partition offline or refuse
//! a batch. It may never serve a byte that was not written, lose a record without an error, or panic.
//!
//! One field is left out: the leader epoch of a log's last batch. No checksum covers it, and nothing follows
//! that could contradict it; a log whose file of epochs is old must believe it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_model::{Offset, WallTime};
use millstream_node::{Node, OpenError};
use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    CreateTopicsRequest, FindCoordinatorRequest, OffsetCommitRequest, OffsetCommitResponse,
    ProduceRequest, ProduceResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};

use crate::sim::wire::{COMMIT_BY_NAME, PRODUCE_BY_NAME, call, decode};
use crate::sim::{Planted, Violation, World, config, violation};

const TOPIC: &str = "flipped";
const PARTITIONS: i32 = 2;
const SEGMENT_BYTES: &str = "20000";
const CREATE_TOPICS: i16 = 7;
const FIND_COORDINATOR: i16 = 4;
/// Tries of a commit while the group's shard is loaded.
const TRIES: u32 = 100;

/// A filled data directory, and what was written to it.
pub struct Directory {
    disk: SimDisk,
    /// Batches by partition and base offset, as the log gave them before anything was damaged.
    batches: BTreeMap<(i32, Offset), Bytes>,
    /// Offsets that a look-up by timestamp gave, by partition and timestamp.
    by_time: BTreeMap<(i32, i64), Option<i64>>,
}

/// What a broker did about a flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It serves everything.
    Unhurt,
    /// It refuses some batches, or a partition.
    Contained,
    /// It does not start, and says which file is why.
    Refused,
}

impl Directory {
    /// Fills a disk with at least so many bytes of records, of every codec.
    pub fn fill(bytes: usize) -> Result<Directory, Violation> {
        let mut world = World::new(1, Planted::Nothing)?;
        create_topic(&mut world)?;
        produce(&mut world, bytes)?;
        commit(&mut world)?;
        world.stop_cleanly()?;
        let view = world.node().broker.view();
        let Some(topic) = view.topic(TOPIC).map(Arc::clone) else {
            return violation("the topic is gone");
        };
        let mut directory = Directory {
            disk: world.power_off()?,
            batches: BTreeMap::new(),
            by_time: BTreeMap::new(),
        };
        for partition in &topic.partitions {
            let index = partition.name.partition;
            let Ok(locked) = partition.lock() else {
                return violation("a partition is offline");
            };
            let mut offset = Offset::ZERO;
            while offset < locked.high_watermark() {
                let read = locked.read(offset, 1, true);
                let read = read.map_err(|error| Violation {
                    what: error.to_string(),
                })?;
                let Some(range) = read.range else { break };
                directory
                    .batches
                    .insert((index, range.start), whole(&read.parts));
                offset = range.end;
            }
            for timestamp in timestamps() {
                let found = look_up(&locked, timestamp).map_err(|what| Violation { what })?;
                directory.by_time.insert((index, timestamp), found);
            }
        }
        Ok(directory)
    }

    /// All files with their lengths.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.disk.files()
    }

    /// How many batches are in it.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Starts a broker on a copy with this bit flipped. *Errors*: a promise it broke.
    pub fn check_flip(&self, path: &Path, position: u64, bit: u8) -> Result<Outcome, String> {
        let disk = self.disk.copy();
        disk.flip_bit(path, position, bit);
        let checked = catch_unwind(AssertUnwindSafe(|| self.check(&disk, path)));
        let outcome = checked.unwrap_or_else(|_| Err("panic".to_owned()));
        outcome.map_err(|what| format!("{} byte {position} bit {bit}: {what}", path.display()))
    }

    fn is_last(&self, partition: i32, base: Offset) -> bool {
        let later = (partition, base.next())..(partition + 1, Offset::ZERO);
        self.batches.range(later).next().is_none()
    }

    fn check(&self, disk: &SimDisk, flipped: &Path) -> Result<Outcome, String> {
        let clock = Arc::new(SimClock::new(WallTime(1_760_000_000_000)));
        let random = Arc::new(SimRandom::new(7));
        let node = match Node::open(Arc::new(disk.clone()), clock, random, config()) {
            Ok(node) => node,
            Err(error) => {
                let said = match &error {
                    OpenError::Refused { path, .. } | OpenError::Failed { path, .. } => {
                        format!("{}: {error}", path.display())
                    }
                };
                let name = flipped.file_name().and_then(|name| name.to_str());
                return match name.is_some_and(|name| said.contains(name)) {
                    true => Ok(Outcome::Refused),
                    false => Err(format!("refused without naming the file: {said}")),
                };
            }
        };
        for shard in 0..node.broker.group_shards().len() {
            node.load_groups(shard);
        }
        let view = node.broker.view();
        let topic = view.topic(TOPIC).ok_or("the topic is gone")?;
        let mut outcome = Outcome::Unhurt;
        for ((index, base), expected) in &self.batches {
            let partition = topic.partition(*index).ok_or("a partition is gone")?;
            let Some(locked) = partition.lock().ok().filter(|locked| !locked.is_offline()) else {
                outcome = Outcome::Contained;
                continue;
            };
            match locked.read(*base, 1, true) {
                Ok(read) if whole(&read.parts) == *expected => {}
                Ok(read)
                    if self.is_last(*index, *base)
                        && but_epoch(&whole(&read.parts)) == but_epoch(expected) => {}
                Ok(read) => {
                    return Err(format!("{index} at {base} gives {:?}", read.range));
                }
                Err(error) if error.code() == millstream_protocol::ErrorCode::OffsetOutOfRange => {
                    return Err(format!("{index} at {base} is lost: {error}"));
                }
                Err(_) => outcome = Outcome::Contained,
            }
        }
        for ((index, timestamp), expected) in &self.by_time {
            let partition = topic.partition(*index).ok_or("a partition is gone")?;
            let Some(locked) = partition.lock().ok().filter(|locked| !locked.is_offline()) else {
                continue;
            };
            match look_up(&locked, *timestamp) {
                Ok(found) if found == *expected => {}
                Ok(found) => {
                    return Err(format!(
                        "{index} at time {timestamp} gives {found:?}, not {expected:?}"
                    ));
                }
                Err(_) => outcome = Outcome::Contained,
            }
        }
        Ok(outcome)
    }
}

/// A batch without its leader epoch.
fn but_epoch(batch: &Bytes) -> Option<(Bytes, Bytes)> {
    (batch.len() > 16).then(|| (batch.slice(..12), batch.slice(16..)))
}

fn whole(parts: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze()
}

fn look_up(
    partition: &millstream_replica::Partition,
    timestamp: i64,
) -> Result<Option<i64>, String> {
    let upper = partition.high_watermark();
    let found = partition
        .log()
        .offset_for_timestamp(WallTime(timestamp), upper);
    found
        .map(|found| found.map(|(offset, _)| offset.0))
        .map_err(|error| error.to_string())
}

/// The record with number `n` of a partition has time `FIRST + 10 n`.
const FIRST_TIME: i64 = 1_749_999_000_000;

fn timestamps() -> impl Iterator<Item = i64> {
    (0..40).map(|step| FIRST_TIME - 5 + step * 97)
}

fn create_topic(world: &mut World) -> Result<(), Violation> {
    let connection = world.connect();
    let mut request = CreateTopicsRequest::default();
    request.topics.push(CreatableTopic {
        name: Cow::Borrowed(TOPIC),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs: vec![CreatableTopicConfig {
            name: Cow::Borrowed("internal.segment.bytes"),
            value: Some(Cow::Borrowed(SEGMENT_BYTES)),
        }],
        ..CreatableTopic::default()
    });
    call(world, connection, CREATE_TOPICS, &request)?;
    Ok(())
}

fn produce(world: &mut World, bytes: usize) -> Result<(), Violation> {
    const CODECS: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];
    let connection = world.connect();
    let mut written = 0;
    let mut numbers = [0_i64; PARTITIONS as usize];
    for batch in 0.. {
        if written >= bytes {
            return Ok(());
        }
        let index = batch % PARTITIONS;
        let number = &mut numbers[index as usize];
        let mut builder = BatchBuilder::new(CODECS[batch as usize % CODECS.len()]);
        for _ in 0..3 {
            // Not compressible, so that codecs have something to keep.
            let random = |_| world.random.below(256) as u8;
            let value: Vec<u8> = (0..150).map(random).collect();
            builder.push(FIRST_TIME + 10 * *number, Some(b"key"), Some(&value), []);
            *number += 1;
        }
        let records = builder.build(0, -1);
        written += records.len();
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 60_000,
            topic_data: vec![TopicProduceData {
                name: Cow::Borrowed(TOPIC),
                partition_data: vec![PartitionProduceData {
                    index,
                    records: Some(records.into()),
                }],
                ..TopicProduceData::default()
            }],
        };
        let answer = call(world, connection, PRODUCE_BY_NAME, &request)?;
        let answer: ProduceResponse<'_> =
            decode::<ProduceRequest<'_>, _>(&answer, PRODUCE_BY_NAME)?;
        let error = answer.responses[0].partition_responses[0].error_code;
        if error != 0 {
            return violation(format!("a batch is refused with {error}"));
        }
    }
    Ok(())
}

/// Commits offsets for a group without members, so that its topic is there too.
fn commit(world: &mut World) -> Result<(), Violation> {
    let connection = world.connect();
    let find = FindCoordinatorRequest {
        key_type: 0,
        coordinator_keys: vec![Cow::Borrowed("readers")],
        ..FindCoordinatorRequest::default()
    };
    for _ in 0..TRIES {
        call(world, connection, FIND_COORDINATOR, &find)?;
        let request = OffsetCommitRequest {
            group_id: Cow::Borrowed("readers"),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: Cow::Borrowed(TOPIC),
                partitions: vec![OffsetCommitRequestPartition {
                    committed_offset: 3,
                    ..OffsetCommitRequestPartition::default()
                }],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let answer = call(world, connection, COMMIT_BY_NAME, &request)?;
        let answer: OffsetCommitResponse<'_> =
            decode::<OffsetCommitRequest<'_>, _>(&answer, COMMIT_BY_NAME)?;
        if answer.topics[0].partitions[0].error_code == 0 {
            return Ok(());
        }
        world.work()?;
    }
    violation("the commit is never taken")
}
