//! What Produce answers to batches good and bad, one line each. The same questions are put to any broker:
//! what Apache Kafka 4.3.1 said is kept in `tests/conformance/answers/produce.txt`.
//!
//! Left out is where we are stricter than Kafka on purpose (`protocol/src/records/validate.rs`), the text of
//! messages, and the log's start beside an error. Two lines of ours differ: a client that sets the broker's
//! timestamp type is refused as a batch, not record by record; and bytes behind a batch that are none are
//! passed over whatever they are.

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use millstream_env::Clock;
use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millstream_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse, ProduceResponse};
use millstream_protocol::records::{BatchBuilder, Codec, crc32c};
use millstream_protocol::wire::{Message, Records};
use millstream_protocol::{ErrorCode, Request};

use crate::crash::Connection;
use crate::sim::{Planted, World, wire};

const PRODUCE: i16 = 11;
const CREATE: i16 = 5;
const HOUR: i64 = 3_600_000;
/// Kafka answers "unknown", then "not leader", for a moment after it has created a topic.
const TRIES: u32 = 100;

type Answer = Result<Bytes, String>;

/// Whoever answers.
trait Asked {
    fn ask<'m, R: Request + Message<'m>>(&mut self, version: i16, request: &R) -> Answer;
}

struct Simulated(World, u64);

impl Asked for Simulated {
    fn ask<'m, R: Request + Message<'m>>(&mut self, version: i16, request: &R) -> Answer {
        wire::call(&mut self.0, self.1, version, request).map_err(|violation| violation.what)
    }
}

impl Asked for Connection {
    fn ask<'m, R: Request + Message<'m>>(&mut self, version: i16, request: &R) -> Answer {
        let answer = self.call(version, request);
        answer
            .map(|(_, bytes)| bytes)
            .map_err(|error| format!("{error:?}"))
    }
}

/// The lines of `produce.txt` as our broker must say them: where we differ, ours stands below Kafka's.
#[must_use]
pub fn expected(recorded: &str) -> Vec<&str> {
    let mut lines = Vec::new();
    for line in recorded.lines() {
        match line.strip_prefix("  ours: ") {
            Some(ours) => *lines.last_mut().expect("below Kafka's line") = ours,
            None => lines.push(line),
        }
    }
    lines
}

/// The answers of our broker, in this process.
pub fn of_node() -> Result<String, String> {
    let mut world = World::new(1, Planted::Nothing, 1).map_err(|violation| violation.what)?;
    let connection = world.connect();
    let now = world.clock.wall_time().0;
    transcript(&mut Simulated(world, connection), now)
}

/// The answers of a broker that listens on this port of this machine.
pub fn of_broker(port: u16) -> Result<String, String> {
    let mut connection = Connection::open(port).map_err(|error| format!("{error:?}"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_err(|error| error.to_string())?.as_millis() as i64;
    transcript(&mut connection, now)
}

/// A topic and what is sent to it, in order.
struct Case {
    name: &'static str,
    configs: &'static [(&'static str, &'static str)],
    batches: Vec<Vec<u8>>,
}

fn transcript(asked: &mut impl Asked, now: i64) -> Result<String, String> {
    let mut text = String::new();
    for (number, case) in cases(now).iter().enumerate() {
        let topic = format!("answers-{now}-{number}");
        create(asked, &topic, case.configs)?;
        for batch in &case.batches {
            let answer = produce(asked, &topic, batch, now)?;
            text += &format!("{}: {answer}\n", case.name);
        }
    }
    Ok(text)
}

fn create(asked: &mut impl Asked, topic: &str, configs: &[(&str, &str)]) -> Result<(), String> {
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: (*name).into(),
        value: Some((*value).into()),
    });
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: topic.into(),
            num_partitions: 1,
            replication_factor: 1,
            configs: configs.collect(),
            ..CreatableTopic::default()
        }],
        timeout_ms: 10_000,
        ..CreateTopicsRequest::default()
    };
    let answer = asked.ask(CREATE, &request)?;
    let answer: CreateTopicsResponse<'_> =
        wire::decode::<CreateTopicsRequest<'_>, _>(&answer, CREATE).map_err(|e| e.what)?;
    match answer.topics[0].error_code {
        0 => Ok(()),
        code => Err(format!("creating {topic}: error {code}")),
    }
}

fn produce(asked: &mut impl Asked, topic: &str, batch: &[u8], now: i64) -> Result<String, String> {
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(Records::from(Bytes::copy_from_slice(batch))),
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    for _ in 0..TRIES {
        let answer = asked.ask(PRODUCE, &request)?;
        let answer: ProduceResponse<'_> =
            wire::decode::<ProduceRequest<'_>, _>(&answer, PRODUCE).map_err(|e| e.what)?;
        let answer = &answer.responses[0].partition_responses[0];
        let is_new = [
            ErrorCode::UnknownTopicOrPartition,
            ErrorCode::NotLeaderOrFollower,
        ];
        if is_new.iter().any(|code| code.code() == answer.error_code) {
            thread::sleep(Duration::from_millis(100));
            continue;
        }
        let time = match answer.log_append_time_ms {
            -1 => "none".to_owned(),
            // What a batch of ours carries is some milliseconds before now, or long before.
            time if (-100..0).contains(&(time - now)) => format!("now{}", time - now),
            time if (0..60_000).contains(&(time - now)) => "the broker's".to_owned(),
            time => time.to_string(),
        };
        let indexes: Vec<i32> = answer.record_errors.iter().map(|e| e.batch_index).collect();
        return Ok(match answer.error_code {
            0 => format!(
                "offset {}, time {time}, log start {}",
                answer.base_offset, answer.log_start_offset
            ),
            code => format!(
                "error {code}, offset {}, records {indexes:?}",
                answer.base_offset
            ),
        });
    }
    Err(format!("{topic} stays unknown"))
}

/// A batch of records with these timestamps; each has a key if `keys` says so.
fn batch(codec: Codec, records: &[(i64, bool)]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for (timestamp, has_key) in records {
        builder.push(
            *timestamp,
            has_key.then_some(&b"k"[..]),
            Some(&[b'v'; 50]),
            [],
        );
    }
    builder.build(0, -1).to_vec()
}

fn idempotent(epoch: i16, sequence: i32, records: usize, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(4000, epoch, sequence);
    for _ in 0..records {
        builder.push(timestamp, Some(b"k"), Some(b"v"), []);
    }
    builder.build(0, -1).to_vec()
}

/// The batch with these bytes at this place, and a right checksum.
fn edited(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn cases(now: i64) -> Vec<Case> {
    let case = |name, configs, batches| Case {
        name,
        configs,
        batches,
    };
    let times = |times: &[i64]| {
        batch(
            Codec::None,
            &times.iter().map(|t| (*t, true)).collect::<Vec<_>>(),
        )
    };
    let plain = times(&[now - 1, now - 2]);
    let exact = batch(Codec::None, &[(now, true)]);
    let mut wrong_crc = plain.clone();
    wrong_crc[17] ^= 1;
    let with_magic = |magic| {
        let mut batch = plain.clone();
        batch[16] = magic;
        batch
    };
    let sized = |records: usize| batch(Codec::None, &vec![(now, true); records]);
    let zeros = {
        let mut builder = BatchBuilder::new(Codec::Gzip);
        builder.push(now, None, Some(&[0; 2000]), []);
        builder.build(0, -1).to_vec()
    };
    vec![
        case(
            "plain",
            &[],
            vec![plain.clone(), batch(Codec::Zstd, &[(now - 1, false)])],
        ),
        case(
            "log append time",
            &[("message.timestamp.type", "LogAppendTime")],
            vec![
                times(&[5, now + 9 * HOUR, -1]),
                batch(Codec::Lz4, &[(now + 9 * HOUR, false)]),
                edited(plain.clone(), 22, &[8]),
            ],
        ),
        case(
            "create time",
            &[],
            vec![
                times(&[now, now + 2 * HOUR, now, now + 3 * HOUR]),
                batch(Codec::Gzip, &[(now, false), (now + 2 * HOUR, false)]),
                times(&[-1, 0]),
                edited(plain.clone(), 22, &[8]),
                edited(plain.clone(), 35, &(now + 7 * HOUR).to_be_bytes()),
            ],
        ),
        case(
            "before and after",
            &[
                ("message.timestamp.before.max.ms", "7200000"),
                ("message.timestamp.after.max.ms", "7200000"),
            ],
            vec![
                times(&[now - HOUR, now + HOUR]),
                times(&[now - 3 * HOUR, now, now + 3 * HOUR]),
                times(&[-1]),
            ],
        ),
        case(
            "compacted",
            &[("cleanup.policy", "compact")],
            vec![
                batch(
                    Codec::None,
                    &[(now, true), (now, false), (now, true), (now, false)],
                ),
                batch(Codec::Zstd, &[(now, false)]),
                batch(Codec::None, &[(now, false), (now + 2 * HOUR, true)]),
                batch(Codec::None, &[(now, true)]),
            ],
        ),
        case(
            "max.message.bytes",
            &[("max.message.bytes", "1000")],
            vec![sized(14), sized(15), sized(16), sized(17)],
        ),
        case(
            "max.message.bytes after gzip",
            &[
                ("max.message.bytes", "1000"),
                ("compression.type", "uncompressed"),
            ],
            vec![zeros],
        ),
        case(
            "compression.type",
            &[("compression.type", "zstd")],
            vec![exact, batch(Codec::Gzip, &[(now - 1, true)])],
        ),
        case(
            "malformed",
            &[],
            vec![
                wrong_crc,
                with_magic(0),
                with_magic(1),
                with_magic(3),
                edited(plain.clone(), 57, &3_i32.to_be_bytes()),
                edited(plain.clone(), 57, &0_i32.to_be_bytes()),
                edited(plain.clone(), 23, &2_i32.to_be_bytes()),
                edited(plain.clone(), 22, &[0x20]),
                edited(plain.clone(), 7, &[1]),
                edited(idempotent(0, 0, 1, now), 53, &(-1_i32).to_be_bytes()),
                [&plain[..], &plain].concat(),
                [&plain[..], b"bytes that are no batch"].concat(),
                Vec::new(),
            ],
        ),
        case(
            "transactional without an id",
            &[],
            vec![edited(idempotent(0, 0, 1, now), 22, &[0x10])],
        ),
        case(
            "idempotent",
            &[],
            vec![
                idempotent(0, 5, 2, now - 3),
                idempotent(0, 5, 2, now - 3),
                idempotent(0, 5, 1, now),
                idempotent(0, 6, 1, now),
                idempotent(0, 9, 1, now),
                idempotent(0, 7, 1, now),
                idempotent(1, 8, 1, now),
                idempotent(1, 0, 1, now),
                idempotent(0, 8, 1, now),
                idempotent(1, 1, 1, now),
                idempotent(1, 2, 1, now),
                idempotent(1, 3, 1, now),
                idempotent(1, 4, 1, now),
                idempotent(1, 5, 1, now - 9),
                idempotent(1, 0, 1, now),
                idempotent(1, 1, 1, now - 4),
                idempotent(1, 5, 1, now),
            ],
        ),
        case(
            "sequences wrap",
            &[],
            vec![
                idempotent(0, i32::MAX - 1, 2, now),
                idempotent(0, 0, 1, now),
            ],
        ),
        case(
            "sequences wrap within a batch",
            &[],
            vec![
                idempotent(0, i32::MAX, 3, now - 7),
                idempotent(0, 3, 1, now),
                idempotent(0, 2, 1, now),
                idempotent(0, i32::MAX, 3, now),
            ],
        ),
    ]
}
