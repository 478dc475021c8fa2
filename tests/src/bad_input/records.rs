//! Batches. Those that `answers/produce.txt` has are not repeated.

use bytes::Bytes;
use millstream_protocol::messages::ProduceResponse;
use millstream_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_protocol::records::{BatchBuilder, Codec, crc32c};
use millstream_protocol::wire::Records;

use super::wire::{good, read};
use super::{Case, Tell};

const VERSION: i16 = 11;
/// Below it a batch may not be compressed with zstd.
const VERSION_BEFORE_ZSTD: i16 = 6;
/// UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER.
const NOT_READY: [i16; 2] = [3, 6];
/// Where things stand in a batch.
const ATTRIBUTES: usize = 21;
const RECORDS: usize = 61;

fn request(topic: &str, acks: i16, batches: &[(i32, Vec<u8>)]) -> ProduceRequest<'static> {
    let partitions = batches.iter().map(|(index, batch)| PartitionProduceData {
        index: *index,
        records: Some(Records::from(Bytes::copy_from_slice(batch))),
    });
    ProduceRequest {
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.to_owned().into(),
            partition_data: partitions.collect(),
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}

fn told(version: i16, is_offset_told: bool) -> Tell {
    Box::new(move |answer| {
        let answer: ProduceResponse<'_> = read::<ProduceRequest<'_>, _>(answer, version)?;
        let partitions = answer
            .responses
            .iter()
            .flat_map(|topic| &topic.partition_responses);
        let each: Vec<String> = partitions
            .map(|partition| match partition.error_code {
                0 if is_offset_told => format!("offset {}", partition.base_offset),
                0 => "taken".to_owned(),
                code => format!("error {code}"),
            })
            .collect();
        let is_ready = !each
            .iter()
            .any(|one| NOT_READY.iter().any(|code| *one == format!("error {code}")));
        is_ready.then(|| each.join(", "))
    })
}

/// A good batch, until the topic is there.
pub(super) fn plain(topic: &str, now: i64) -> Case {
    Case {
        name: "a good batch",
        sent: vec![good(
            VERSION,
            &request(topic, -1, &[(0, batch(Codec::None, now, b"v"))]),
        )],
        tell: told(VERSION, true),
    }
}

fn batch(codec: Codec, timestamp: i64, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    builder.push(timestamp, Some(b"k"), Some(value), []);
    builder.build(0, -1).to_vec()
}

/// With a right checksum and length.
fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[ATTRIBUTES..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// The batch with these records.
fn around(records: &[u8], now: i64) -> Vec<u8> {
    let mut whole = batch(Codec::None, now, b"v");
    whole.truncate(RECORDS);
    whole.extend_from_slice(records);
    sealed(whole)
}

pub(super) fn cases(topic: &str, now: i64) -> Vec<Case> {
    let case = |name, acks, batches: &[(i32, Vec<u8>)]| Case {
        name,
        sent: vec![good(VERSION, &request(topic, acks, batches))],
        tell: told(VERSION, false),
    };
    let one = |name, batch| case(name, -1, &[(0, batch)]);
    let plain = || batch(Codec::None, now, b"v");
    let with_codec = |codec: u8| {
        let mut batch = plain();
        batch[ATTRIBUTES + 1] = codec;
        sealed(batch)
    };
    let mut wrong_checksum = plain();
    wrong_checksum[17] ^= 1;
    let mut too_short = plain();
    too_short.truncate(40);
    let mut length_past_the_data = plain();
    length_past_the_data[8..12].copy_from_slice(&100_000_i32.to_be_bytes());
    // length, attributes, timestamp delta, offset delta, then key, value and headers: zigzag varints.
    let record = |rest: &[u8]| {
        let body = [&[0, 0, 0][..], rest].concat();
        around(&[&[body.len() as u8 * 2][..], &body].concat(), now)
    };
    let bomb = batch(Codec::Gzip, now, &vec![0; 40 << 20]);
    vec![
        case("acks 2", 2, &[(0, plain())]),
        case("acks -2", -2, &[(0, plain())]),
        case(
            "acks 0 with a wrong checksum",
            0,
            &[(0, wrong_checksum.clone())],
        ),
        case(
            "acks 0 to a partition that is not there",
            0,
            &[(99, plain())],
        ),
        case(
            "the same partition twice in a Produce",
            -1,
            &[(0, plain()), (1, plain()), (0, plain())],
        ),
        one("wrong checksum", wrong_checksum),
        one("a batch of 40 bytes", too_short),
        one("a batch longer than its bytes", length_past_the_data),
        one("a good record", record(&[2, b'k', 2, b'v', 0])),
        one("a record with -1 headers", record(&[2, b'k', 2, b'v', 1])),
        one(
            "a record with more headers than bytes",
            record(&[2, b'k', 2, b'v', 120]),
        ),
        one(
            "a header with a key of length -1",
            record(&[2, b'k', 2, b'v', 2, 1, 0]),
        ),
        one("a record with a key of length -2", record(&[3, 2, b'v', 0])),
        one(
            "a record with a key past its end",
            record(&[120, b'k', 2, b'v', 0]),
        ),
        one("a record of length -1", around(&[1], now)),
        one(
            "a record of 2 GiB",
            around(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0], now),
        ),
        one("codec 5", with_codec(5)),
        one("codec 7", with_codec(7)),
        one("gzip that is none", with_codec(1)),
        Case {
            name: "zstd in a Produce that does not know it",
            sent: vec![good(
                VERSION_BEFORE_ZSTD,
                &request(topic, -1, &[(0, batch(Codec::Zstd, now, b"v"))]),
            )],
            tell: told(VERSION_BEFORE_ZSTD, false),
        },
        one("40 MiB in a small gzip batch", bomb),
        one("timestamp -2", batch(Codec::None, -2, b"v")),
        one(
            "timestamp of the year 9999",
            batch(Codec::None, 253_370_764_800_000, b"v"),
        ),
    ]
}
