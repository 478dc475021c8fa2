//! One flipped bit anywhere in a data directory: what a disk does that rots.
//!
//! A broker fills a simulated disk, in several epochs, compacts what is to be, scrubs, and stops. For every
//! byte, a copy of that disk gets one wrong bit. A broker that starts on it may refuse to, naming the file;
//! it may hold a partition offline or refuse a batch. It may never serve a byte that was not written, lose a
//! record without an error, refuse another segment than the damaged one, or panic.
//!
//! A file in a partition's folder is that partition's alone. So only its log is opened, with what a start
//! would give it: a directory of a MiB has a million bytes. That nothing else is touched is shown by whole
//! starts, for a part of the flips.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_log::{CacheBudget, Checkpoint, Log, LogConfig, LogPlace, Noted};
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
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

/// A topic, and one of which half of the records are compacted away.
const TOPICS: [(&str, &str); 2] = [("flipped", "delete"), ("compacted", "compact")];
/// Bytes of records in a partition, about.
const PARTITION_BYTES: usize = 60_000;
const SEGMENT_BYTES: &str = "20000";
const CREATE_TOPICS: i16 = 7;
const FIND_COORDINATOR: i16 = 4;
/// Tries of a commit while the group's shard is loaded.
const TRIES: u32 = 100;
/// Lives of the broker that fills the disk: each writes in an epoch of its own.
const LIVES: usize = 3;
/// More than a log has.
const ALL_BYTES: usize = 1 << 30;

/// A filled data directory, and what was written to it.
pub struct Directory {
    disk: SimDisk,
    /// By folder.
    partitions: BTreeMap<PathBuf, Written>,
}

/// What a partition gave before anything was damaged.
struct Written {
    topic: String,
    index: i32,
    topic_id: TopicId,
    config: LogConfig,
    noted: Noted,
    leads_in: LeaderEpoch,
    end: Offset,
    segments: Vec<Segment>,
    /// Offsets that a look-up by timestamp gave.
    by_time: Vec<(i64, Option<i64>)>,
}

/// One segment, and what a read at an offset gives: each batch by its own, and where something is compacted
/// away before it by the first offset of that too.
struct Segment {
    range: Range<Offset>,
    reads: Vec<(Offset, Bytes)>,
    /// All batches.
    whole: Bytes,
}

/// What a broker did about a flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It serves everything.
    Unhurt,
    /// It refuses some batches, or the look-up of a timestamp.
    Contained,
    /// It holds a partition offline.
    Offline,
    /// It does not start, and says which file is why.
    Refused,
}

impl Directory {
    /// Fills a disk with at least so many bytes of records, of every codec.
    pub fn fill(bytes: usize) -> Result<Directory, Violation> {
        let mut world = World::new(1, Planted::Nothing, 1)?;
        let partitions = bytes.div_ceil(PARTITION_BYTES * TOPICS.len()).max(1) as i32;
        for (topic, policy) in TOPICS {
            create_topic(&mut world, topic, policy, partitions)?;
        }
        let mut numbers = BTreeMap::new();
        for life in 1..=LIVES {
            produce(&mut world, bytes / LIVES, partitions, &mut numbers)?;
            commit(&mut world)?;
            if life < LIVES {
                world.stop_cleanly()?;
            }
        }
        for directory in 0..world.node().directories() {
            world.node().flush(directory);
        }
        while world.node().compact_once(&mut |_| true, &mut Vec::new()) {}
        while world.node().scrub_once(&mut |_| true).is_some() {}
        let mut directory = Directory {
            disk: world.power_off()?,
            partitions: BTreeMap::new(),
        };
        directory.partitions = written(&directory.disk.copy())?;
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
        let segments = self.partitions.values().flat_map(|one| &one.segments);
        segments.map(|segment| segment.reads.len()).sum()
    }

    /// Opens what the file belongs to, on a copy with this bit flipped. *Errors*: a promise it broke.
    pub fn check_flip(&self, path: &Path, position: u64, bit: u8) -> Result<Outcome, String> {
        let folder = path.parent().unwrap_or(path);
        match self.partitions.get(folder) {
            Some(written) => self.flip(path, position, bit, folder, |disk| {
                check_partition(written, disk, folder, path)
            }),
            None => self.check_start(path, position, bit),
        }
    }

    /// Starts a whole broker on a copy with this bit flipped. *Errors*: a promise it broke.
    pub fn check_start(&self, path: &Path, position: u64, bit: u8) -> Result<Outcome, String> {
        self.flip(path, position, bit, Path::new(""), |disk| {
            self.check_node(disk, path)
        })
    }

    fn flip(
        &self,
        path: &Path,
        position: u64,
        bit: u8,
        copied: &Path,
        check: impl FnOnce(SimDisk) -> Result<Outcome, String>,
    ) -> Result<Outcome, String> {
        let disk = self.disk.copy_of(copied);
        disk.flip_bit(path, position, bit);
        let checked = catch_unwind(AssertUnwindSafe(|| check(disk)));
        let outcome = checked.unwrap_or_else(|_| Err("panic".to_owned()));
        outcome.map_err(|what| format!("{} byte {position} bit {bit}: {what}", path.display()))
    }

    fn check_node(&self, disk: SimDisk, flipped: &Path) -> Result<Outcome, String> {
        let node = match open(&disk) {
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
        let mut outcome = Outcome::Unhurt;
        for (folder, written) in &self.partitions {
            let topic = view.topic(&written.topic).ok_or("a topic is gone")?;
            let partition = topic
                .partition(written.index)
                .ok_or("a partition is gone")?;
            let locked = partition.lock().ok().filter(|locked| !locked.is_offline());
            let found = match locked {
                Some(locked) => check_log(locked.log(), written, flipped, folder)?,
                None => Outcome::Offline,
            };
            if found != Outcome::Unhurt {
                let is_its = flipped.starts_with(folder) || !self.is_in_partition(flipped);
                if !is_its {
                    return Err(format!("{} is {found:?}", folder.display()));
                }
                outcome = found;
            }
        }
        Ok(outcome)
    }

    fn is_in_partition(&self, path: &Path) -> bool {
        path.parent()
            .is_some_and(|folder| self.partitions.contains_key(folder))
    }
}

fn open(disk: &SimDisk) -> Result<Node, OpenError> {
    let clock = Arc::new(SimClock::new(now()));
    let random = Arc::new(SimRandom::new(7));
    Node::open(Arc::new(disk.clone()), clock, random, config())
}

fn now() -> WallTime {
    WallTime(1_760_000_000_000)
}

/// What a broker that starts on the disk finds and answers.
fn written(disk: &SimDisk) -> Result<BTreeMap<PathBuf, Written>, Violation> {
    let said = |what: String| Violation { what };
    let checkpoint = Checkpoint::read(disk, Path::new("/data"));
    let checkpoint = checkpoint.map_err(|error| said(error.to_string()))?;
    let Some(checkpoint) = checkpoint else {
        return violation("there is no checkpoint");
    };
    let files = disk.files();
    let node = open(disk).map_err(|error| said(error.to_string()))?;
    let view = node.broker.view();
    let mut all = BTreeMap::new();
    for topic in view.topics() {
        for partition in &topic.partitions {
            let index = partition.name.partition;
            let Ok(locked) = partition.lock() else {
                return violation("a partition is offline");
            };
            let log = locked.log();
            let folder = log.place().directory.clone();
            let entry = checkpoint
                .entries
                .iter()
                .find(|entry| (entry.topic_id, entry.partition) == (topic.id, index));
            let image = view
                .image
                .topic(&topic.name)
                .and_then(|topic| topic.partition(index));
            let (Some(entry), Some(image)) = (entry, image) else {
                return violation("a partition is not in the checkpoint");
            };
            let mut bases: Vec<Offset> = files
                .iter()
                .filter(|(path, length)| path.starts_with(&folder) && *length > 0)
                .filter_map(|(path, _)| base_of(path, ".log"))
                .collect();
            bases.push(log.log_end_offset());
            let segments = bases.windows(2).map(|pair| segment(log, pair[0]..pair[1]));
            let written = Written {
                topic: topic.name.to_string(),
                index,
                topic_id: topic.id,
                config: *log.config(),
                noted: entry.noted,
                leads_in: image.leader_epoch,
                end: log.log_end_offset(),
                segments: segments.collect::<Result<_, _>>().map_err(said)?,
                by_time: timestamps()
                    .map(|timestamp| Ok((timestamp, look_up(log, timestamp)?)))
                    .collect::<Result<_, String>>()
                    .map_err(said)?,
            };
            all.insert(folder, written);
        }
    }
    Ok(all)
}

/// The 20 digits of a segment's file.
fn base_of(path: &Path, end: &str) -> Option<Offset> {
    let digits = path.file_name()?.to_str()?.strip_suffix(end)?;
    digits.parse().ok().map(Offset)
}

fn segment(log: &Log, range: Range<Offset>) -> Result<Segment, String> {
    let mut reads = Vec::new();
    let mut whole_segment = BytesMut::new();
    let mut offset = range.start;
    while offset < range.end {
        let read = log.read(offset, 1, range.end, true);
        let read = read.map_err(|error| error.to_string())?;
        let Some(found) = read.range else {
            return Err(format!("nothing at {offset}"));
        };
        let batch = whole(&read.parts);
        whole_segment.extend_from_slice(&batch);
        if found.start > offset {
            reads.push((offset, batch.clone()));
        }
        reads.push((found.start, batch));
        offset = found.end;
    }
    Ok(Segment {
        range,
        reads,
        whole: whole_segment.freeze(),
    })
}

/// Opens one log as a start does, and checks it.
fn check_partition(
    written: &Written,
    disk: SimDisk,
    folder: &Path,
    flipped: &Path,
) -> Result<Outcome, String> {
    let place = LogPlace {
        disk: Arc::new(disk),
        directory: folder.to_owned(),
        topic_id: written.topic_id,
        cache_budget: CacheBudget::default(),
    };
    let leads_in = Some(written.leads_in);
    match Log::open(place, written.config, written.noted, leads_in, now()) {
        Ok((log, _)) => check_log(&log, written, flipped, folder),
        Err(error) => {
            let said = error.to_string();
            match said.contains(&*folder.to_string_lossy()) {
                true => Ok(Outcome::Offline),
                false => Err(format!("offline without naming the folder: {said}")),
            }
        }
    }
}

/// Reads everything, where the flip may be batch by batch.
fn check_log(
    log: &Log,
    written: &Written,
    flipped: &Path,
    folder: &Path,
) -> Result<Outcome, String> {
    if log.log_end_offset() != written.end {
        return Err(format!(
            "the log ends at {}, not {}",
            log.log_end_offset(),
            written.end
        ));
    }
    let is_here = flipped.parent() == Some(folder);
    let base = ["log", "index", "timeindex", "digest"]
        .iter()
        .find_map(|end| base_of(flipped, &format!(".{end}")).filter(|_| is_here));
    let mut outcome = Outcome::Unhurt;
    for segment in &written.segments {
        let is_flipped = base == Some(segment.range.start);
        let found = match is_flipped {
            true => check_batches(log, segment)?,
            false => check_whole(log, segment)?,
        };
        // Where epochs are not known any more, more than a segment may be refused.
        if found != Outcome::Unhurt && base.is_some() && !is_flipped {
            return Err(format!("{:?} is refused", segment.range));
        }
        outcome = if found == Outcome::Unhurt {
            outcome
        } else {
            found
        };
    }
    for (timestamp, expected) in &written.by_time {
        match look_up(log, *timestamp) {
            Ok(found) if found == *expected => {}
            Ok(found) => {
                return Err(format!(
                    "time {timestamp} gives {found:?}, not {expected:?}"
                ));
            }
            Err(_) => outcome = Outcome::Contained,
        }
    }
    Ok(outcome)
}

fn check_batches(log: &Log, segment: &Segment) -> Result<Outcome, String> {
    let mut outcome = Outcome::Unhurt;
    for (offset, expected) in &segment.reads {
        match log.read(*offset, 1, segment.range.end, true) {
            Ok(read) if whole(&read.parts) == *expected => {}
            Ok(read) => return Err(format!("{offset} gives {:?}", read.range)),
            Err(error) if error.code() == millstream_protocol::ErrorCode::OffsetOutOfRange => {
                return Err(format!("{offset} is lost: {error}"));
            }
            Err(_) => outcome = Outcome::Contained,
        }
    }
    // In one go it gives what lies before the damage.
    let run = log.read(segment.range.start, ALL_BYTES, segment.range.end, true);
    match run {
        Ok(read) if !segment.whole.starts_with(&whole(&read.parts)) => {
            Err(format!("a run gives {:?}", read.range))
        }
        _ => Ok(outcome),
    }
}

fn check_whole(log: &Log, segment: &Segment) -> Result<Outcome, String> {
    match log.read(segment.range.start, ALL_BYTES, segment.range.end, true) {
        Ok(read) if whole(&read.parts) == segment.whole => Ok(Outcome::Unhurt),
        _ => match check_batches(log, segment)? {
            Outcome::Unhurt => Err(format!("{:?} is whole and not given", segment.range)),
            outcome => Ok(outcome),
        },
    }
}

fn whole(parts: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze()
}

fn look_up(log: &Log, timestamp: i64) -> Result<Option<i64>, String> {
    let found = log.offset_for_timestamp(WallTime(timestamp), log.log_end_offset());
    found
        .map(|found| found.map(|(offset, _)| offset.0))
        .map_err(|error| error.to_string())
}

/// The record with number `n` of a partition has time `FIRST + 10 n`.
const FIRST_TIME: i64 = 1_749_999_000_000;

fn timestamps() -> impl Iterator<Item = i64> {
    (0..16).map(|step| FIRST_TIME - 5 + step * 241)
}

fn create_topic(
    world: &mut World,
    topic: &str,
    policy: &str,
    partitions: i32,
) -> Result<(), Violation> {
    let connection = world.connect();
    let mut request = CreateTopicsRequest::default();
    let configs = [
        ("internal.segment.bytes", SEGMENT_BYTES),
        ("cleanup.policy", policy),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    request.topics.push(CreatableTopic {
        name: Cow::Borrowed(topic),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs
            .map(|(name, value)| CreatableTopicConfig {
                name: Cow::Borrowed(name),
                value: Some(Cow::Borrowed(value)),
            })
            .into(),
        ..CreatableTopic::default()
    });
    call(world, connection, CREATE_TOPICS, &request)?;
    Ok(())
}

/// Produces to all partitions in turn. `numbers`: of the next record of each.
fn produce(
    world: &mut World,
    bytes: usize,
    partitions: i32,
    numbers: &mut BTreeMap<(&'static str, i32), i64>,
) -> Result<(), Violation> {
    const CODECS: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];
    let connection = world.connect();
    let mut written = 0;
    for batch in 0.. {
        if written >= bytes {
            return Ok(());
        }
        let (topic, _) = TOPICS[batch % TOPICS.len()];
        let index = (batch / TOPICS.len()) as i32 % partitions;
        let number = numbers.entry((topic, index)).or_default();
        let round = batch / TOPICS.len() / partitions as usize;
        let mut builder = BatchBuilder::new(CODECS[round % CODECS.len()]);
        for _ in 0..3 {
            // Not compressible, so that codecs have something to keep.
            let random = |_| world.random.below(256) as u8;
            let value: Vec<u8> = (0..150).map(random).collect();
            // Of two keys in three there is a later record.
            let key = (*number % 3 + *number / 30 * 3).to_be_bytes();
            builder.push(FIRST_TIME + 10 * *number, Some(&key), Some(&value), []);
            *number += 1;
        }
        let records = builder.build(0, -1);
        written += records.len();
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 60_000,
            topic_data: vec![TopicProduceData {
                name: Cow::Borrowed(topic),
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
                name: Cow::Borrowed(TOPICS[0].0),
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
