//! Produce as a client sees it, and what is in the log then.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::connection::Connection;
use common::{create, node, node_on};
use millstream_api::Proposal;
use millstream_env::sim::{SimClock, SimDisk, SimFaults};
use millstream_metadata::TopicToDelete;
use millstream_model::{RequestToken, WallTime};
use millstream_node::Node;
use millstream_protocol::records::{BatchBuilder, BatchHeader, Codec, batches, check_crc, crc32c};

const NOW: WallTime = WallTime(1_700_000_000_000);
const ALL: i16 = -1;
const LEADER: i16 = 1;

/// The batches of the first partition, each checked.
fn stored(node: &Node) -> Vec<BatchHeader> {
    let view = node.broker.view();
    let partition = view.topic(common::TOPIC).unwrap().partitions[0]
        .lock()
        .unwrap();
    let start = partition.log().log_start_offset();
    let read = partition.read(start, 1 << 20, true).unwrap();
    let bytes = read.parts.concat();
    let mut all = Vec::new();
    for found in batches(&bytes) {
        let (header, batch) = found.unwrap();
        check_crc(batch).unwrap();
        all.push(header);
    }
    all
}

fn idempotent(node: &Node, codec: Codec, sequence: i32, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec).producer(7, 0, sequence);
    let now = node.wall_time().0;
    builder.push(now - 1, Some(b"k"), Some(value), []);
    builder.push(now - 5, Some(b"k"), Some(value), []);
    builder.build(0, -1).to_vec()
}

#[test]
fn batches_are_stored_in_the_codec_of_their_topic() {
    for (codec, sent) in [
        ("lz4", Codec::Gzip),
        ("zstd", Codec::None),
        ("uncompressed", Codec::Zstd),
    ] {
        let node = node(&[
            ("compression.type", "snappy"),
            ("compression.gzip.level", "9"),
        ]);
        create(
            &node,
            &[
                ("compression.type", codec),
                ("message.timestamp.type", "LogAppendTime"),
            ],
        );
        let mut client = Connection::new(&node, 1);
        let batch = idempotent(&node, sent, 0, &[7; 1000]);
        client.produce(ALL, 0, &batch);
        client.produce(ALL, 0, &idempotent(&node, sent, 2, b"more"));
        // Known again by its sequence, whatever it looks like now.
        client.produce(ALL, 0, &batch);
        client.flush();
        let answers = [(); 3].map(|()| client.produced().unwrap());
        let offsets = answers
            .each_ref()
            .map(|answer| (answer.error, answer.base_offset));
        assert_eq!(offsets, [(0, 0), (0, 2), (0, 0)]);
        let now = node.wall_time().0;
        let stored = stored(&node);
        assert_eq!(stored.len(), 2);
        for (header, sequence) in stored.iter().zip([0, 2]) {
            assert_eq!(header.codec(), Ok(Codec::from_name(codec).unwrap()));
            assert_eq!((header.producer_id, header.base_sequence), (7, sequence));
            assert_eq!((header.max_timestamp, header.record_count), (now, 2));
            assert_eq!(header.base_offset, i64::from(sequence));
        }
    }
}

#[test]
fn the_broker_s_codec_is_for_topics_without_one() {
    let node = node(&[("compression.type", "zstd")]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    client.produce(LEADER, 0, &idempotent(&node, Codec::Gzip, 0, b"v"));
    client.flush();
    assert_eq!(stored(&node)[0].codec(), Ok(Codec::Zstd));
}

#[test]
fn what_is_too_large_in_the_codec_of_its_topic_is_refused() {
    let node = node(&[]);
    let limit = ("max.message.bytes", "2000");
    create(&node, &[("compression.type", "uncompressed"), limit]);
    let mut client = Connection::new(&node, 1);
    client.produce(LEADER, 0, &idempotent(&node, Codec::Gzip, 0, &[0; 1000]));
    let refused = client.produced().unwrap();
    assert_eq!((refused.error, refused.base_offset), (10, -1));
    // It left no trace: the sequence goes on.
    client.produce(LEADER, 0, &idempotent(&node, Codec::Gzip, 0, &[0; 900]));
    let taken = client.produced().unwrap();
    assert_eq!((taken.error, taken.base_offset), (0, 0));
}

#[test]
fn relaxed_validation_is_asked_for_by_topic_or_broker() {
    let relaxed = ("millstream.produce.validation", "relaxed");
    let strict = ("millstream.produce.validation", "strict");
    let anew = ("compression.type", "zstd");
    let compacted = ("cleanup.policy", "compact");
    for (broker, topic, error) in [
        (&[][..], &[][..], 2),
        (&[relaxed], &[], 0),
        (&[], &[relaxed], 0),
        (&[relaxed], &[strict], 2),
        (&[relaxed], &[anew], 2),
        (&[relaxed], &[compacted], 2),
    ] {
        let node = node(broker);
        create(&node, topic);
        let mut batch = idempotent(&node, Codec::Gzip, 0, b"v");
        let last = batch.len() - 1;
        batch[last] ^= 1; // The codec's own checksum is wrong,
        let crc = crc32c(&batch[21..]); // that of the batch is not.
        batch[17..21].copy_from_slice(&crc.to_be_bytes());
        let mut client = Connection::new(&node, 1);
        client.produce(LEADER, 0, &batch);
        assert_eq!(
            client.produced().unwrap().error,
            error,
            "{broker:?} {topic:?}"
        );
    }
}

/// What an idempotent client sends again as it is. Any other error of a batch that is in the log has one
/// of them send its records again under new sequences (FAILURES.md P6).
fn sends_again_as_it_is(error: i16) -> bool {
    // UNKNOWN_TOPIC_OR_PARTITION, REQUEST_TIMED_OUT.
    [3, 7].contains(&error)
}

#[test]
fn p6_a_batch_that_may_be_in_the_log_is_never_refused_for_good() {
    // Its time runs out before it is durable; what it is answered when it comes again.
    let clock = Arc::new(SimClock::new(NOW));
    let disk = SimDisk::default();
    let node = node_on(&disk, &clock, &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let batch = idempotent(&node, Codec::None, 0, b"v");
    client.produce(ALL, 0, &batch);
    assert_eq!(client.produced(), None, "it waits");
    clock.advance(Duration::from_millis(1001));
    client.time_out();
    assert_eq!(client.produced().unwrap().error, 7);
    client.produce(ALL, 0, &batch);
    assert_eq!(
        client.produced(),
        None,
        "a duplicate waits like the original"
    );
    client.flush();
    let again = client.produced().unwrap();
    assert_eq!((again.error, again.base_offset), (0, 0));

    // The sync fails: whether it is kept, nobody knows until the next start.
    let next = idempotent(&node, Codec::None, 2, b"v");
    client.produce(ALL, 0, &next);
    client.produce(ALL, 0, &next);
    disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    client.flush();
    for _ in 0..2 {
        let lost = client.produced().unwrap();
        assert!(sends_again_as_it_is(lost.error), "{lost:?}");
        assert_eq!(lost.base_offset, -1);
    }
    // What comes now was not appended, and says so.
    client.produce(ALL, 0, &next);
    assert_eq!(client.produced().unwrap().error, 56);
}

#[test]
fn p6_a_batch_of_a_topic_that_is_deleted_meanwhile_is_sent_again_as_it_is() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    client.produce(ALL, 0, &idempotent(&node, Codec::None, 0, b"v"));
    let id = node.broker.view().topic(common::TOPIC).unwrap().id;
    let token = RequestToken {
        connection: 3,
        request: 0,
    };
    let effects = node.propose(Proposal::DeleteTopics {
        token,
        topics: vec![TopicToDelete { name: None, id }],
    });
    client.carry_out(effects);
    let lost = client.produced().unwrap();
    assert!(sends_again_as_it_is(lost.error), "{lost:?}");
}

#[test]
fn five_in_flight_come_again_in_any_order_and_wait() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let batches: Vec<Vec<u8>> = (0..5)
        .map(|number| (i64::from(i32::MAX) - 3 + 2 * number) % (1 << 31))
        .map(|sequence| idempotent(&node, Codec::None, sequence as i32, b"v"))
        .collect();
    for batch in &batches {
        client.produce(ALL, 0, batch);
    }
    // The answers are lost with the connection; all five are sent again on another one, before the sync.
    let mut other = Connection::new(&node, 2);
    for batch in batches.iter().rev() {
        other.produce(ALL, 0, batch);
    }
    assert_eq!(other.produced(), None);
    other.flush();
    let offsets: Vec<(i16, i64)> = std::iter::from_fn(|| other.produced())
        .map(|answer| (answer.error, answer.base_offset))
        .collect();
    assert_eq!(offsets, [(0, 8), (0, 6), (0, 4), (0, 2), (0, 0)]);
    assert_eq!(stored(&node).len(), 5);
}
