//! Produce as a client sees it, and what is in the log then.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::connection::Connection;
use common::{create, node};
use millstream_node::Node;
use millstream_protocol::records::{BatchBuilder, BatchHeader, Codec, batches, check_crc, crc32c};

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
