//! What clients may ask for, at the bound and past it.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::connection::{Connection, read};
use common::groups::{Bench, NOBODY, commit_request, fetch};
use common::{TOPIC, create, create_topic, node, node_on};
use millstream_api::{AnswerBudget, CloseReason};
use millstream_coordinator::GroupConfig;
use millstream_env::sim::{SimClock, SimDisk};
use millstream_model::WallTime;
use millstream_node::Node;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::{
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};

const FETCH: i16 = 12;
const KIB: usize = 1 << 10;

fn batch(node: &Node, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(node.wall_time().0, None, Some(&vec![7; bytes]), []);
    builder.build(0, -1).to_vec()
}

/// A fetch from the beginning of these partitions, up to a mebibyte from each.
fn fetch_of(partitions: impl Iterator<Item = i32>, wait_ms: i32) -> FetchRequest<'static> {
    let wanted = partitions.map(|partition| FetchPartition {
        partition,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    });
    FetchRequest {
        max_wait_ms: wait_ms,
        min_bytes: 1,
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: wanted.collect(),
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// Bytes of records in the answer, and what was said of each partition.
fn fetched(bytes: &bytes::Bytes) -> (usize, Vec<i16>) {
    let answer: FetchResponse<'_> = read::<FetchRequest<'_>, _>(bytes, FETCH);
    assert_eq!(answer.error_code, 0);
    let partitions = || answer.responses.iter().flat_map(|topic| &topic.partitions);
    let records = partitions().map(|partition| partition.records.as_ref().unwrap().len());
    let codes = partitions().map(|partition| partition.error_code);
    (records.sum(), codes.collect())
}

#[test]
fn o4_a_fetch_of_ten_thousand_partitions_is_as_large_as_it_may_be_and_no_larger() {
    let node = node(&[]);
    create_topic(&node, TOPIC, 10_000, &[]);
    let mut client = Connection::new(&node, 1);
    let batch = batch(&node, 100 * KIB);
    for partition in 0..30 {
        client.produce(1, partition, &batch);
        client.flush();
        assert_eq!(client.produced().unwrap().error, 0);
    }
    // The node answers with no more than a mebibyte, whatever is asked.
    let request = fetch_of(0..10_000, 0);
    let (records, codes) = fetched(&client.ask(FETCH, &request));
    assert_eq!(records, batch.len() * ((1 << 20) / batch.len()));
    assert_eq!(codes, vec![0; 10_000]);
    // Nor with more than there is room for, which is known before it is read.
    let max = node.broker.config.answer_bytes_max;
    let taken = node
        .broker
        .answers
        .count(0, max + AnswerBudget::OWN_BYTES - 300 * KIB);
    assert_eq!(node.broker.answers.room(), 300 * KIB);
    let (records, _) = fetched(&client.ask(FETCH, &request));
    assert_eq!(records, 2 * batch.len());
    assert_eq!(node.broker.answers.count(taken.unwrap(), 0), Some(0));
}

#[test]
fn a_fetch_that_finds_no_room_waits_for_it() {
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000)));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    client.produce(1, 0, &batch(&node, 100 * KIB));
    client.produce(1, 1, &batch(&node, 10 * KIB));
    client.flush();
    let _both = (client.produced().unwrap(), client.produced().unwrap());
    let answers = &node.broker.answers;
    let max = node.broker.config.answer_bytes_max;
    let taken = answers.count(0, max + AnswerBudget::OWN_BYTES).unwrap();
    assert_eq!(answers.room(), 0);
    // What is small passes.
    let (records, _) = fetched(&client.ask(FETCH, &fetch_of(1..2, 500)));
    assert!(records > 10 * KIB);
    client.send(FETCH, &fetch_of(0..1, 500)).unwrap();
    assert_eq!(client.receive(), None);
    clock.advance(Duration::from_millis(20));
    client.time_out();
    assert_eq!(client.receive(), None, "there is no room still");
    answers.count(taken, 0).unwrap();
    clock.advance(Duration::from_millis(20));
    client.time_out();
    let (records, _) = fetched(&client.receive().unwrap());
    assert!(records > 100 * KIB);
    // In the end there is an answer without records.
    answers.count(0, max + AnswerBudget::OWN_BYTES).unwrap();
    client.send(FETCH, &fetch_of(0..1, 500)).unwrap();
    clock.advance(Duration::from_millis(500));
    client.time_out();
    assert_eq!(fetched(&client.receive().unwrap()), (0, vec![0]));
}

#[test]
fn a_fetch_waits_no_longer_than_the_broker_lets_it() {
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000)));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    client.send(FETCH, &fetch_of(0..1, i32::MAX)).unwrap();
    clock.advance(Duration::from_millis(999));
    client.time_out();
    assert_eq!(client.receive(), None);
    clock.advance(Duration::from_millis(1));
    client.time_out();
    assert_eq!(fetched(&client.receive().unwrap()), (0, vec![0]));
}

/// A long poll of many partitions is memory that its client makes the broker hold.
#[test]
fn a_large_long_poll_is_the_only_one_of_its_connection() {
    let node = node(&[]);
    create_topic(&node, TOPIC, 5000, &[]);
    let mut client = Connection::new(&node, 1);
    client.send(FETCH, &fetch_of(0..100, 500)).unwrap();
    assert!(client.may_send());
    client.send(FETCH, &fetch_of(0..5000, 500)).unwrap();
    assert!(!client.may_send());
    client.produce(1, 0, &batch(&node, 10));
    client.flush();
    assert_eq!(fetched(&client.receive().unwrap()).1, vec![0; 100]);
    assert_eq!(fetched(&client.receive().unwrap()).1, vec![0; 5000]);
    assert!(client.may_send());
}

#[test]
fn nobody_fetches_as_a_follower() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let request = FetchRequest {
        replica_id: 1,
        ..fetch_of(0..1, 0)
    };
    let not_leader = 6;
    assert_eq!(fetched(&client.ask(FETCH, &request)), (0, vec![not_leader]));
}

#[test]
fn metadata_of_more_than_a_hundred_thousand_topics_is_not_answered() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let named = |count: usize| MetadataRequest {
        topics: Some(
            (0..count)
                .map(|number| MetadataRequestTopic {
                    name: Some(format!("t{number}").into()),
                    ..MetadataRequestTopic::default()
                })
                .collect(),
        ),
        ..MetadataRequest::default()
    };
    let bytes = client.ask(9, &named(100_000));
    let answer: MetadataResponse<'_> = read::<MetadataRequest<'_>, _>(&bytes, 9);
    assert_eq!(answer.topics.len(), 100_000);
    let refused = client.send(9, &named(100_001)).unwrap_err();
    assert!(matches!(refused, CloseReason::TooManyTopics { .. }));
    assert!(refused.to_string().contains("split it"), "{refused}");
}

fn commit(client: &mut Connection<'_>, request: &OffsetCommitRequest<'static>) -> Vec<i16> {
    let bytes = client.ask(8, request);
    let answer: OffsetCommitResponse<'_> = read::<OffsetCommitRequest<'_>, _>(&bytes, 8);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

#[test]
fn a_partition_that_is_committed_twice_is_refused_and_the_others_are_taken() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    let mut request = commit_request("g", NOBODY, (TOPIC, 0), 5);
    let partition = request.topics[0].partitions[0].clone();
    let mut third = partition.clone();
    third.partition_index = 2;
    request.topics[0].partitions.push(third);
    let mut again = request.topics[0].clone();
    again.partitions = vec![partition];
    request.topics.push(again);
    let invalid_request = 42;
    let answered = commit(&mut client, &request);
    assert_eq!(answered, [invalid_request, 0, invalid_request]);
    assert_eq!(fetch(&mut client, "g", &[0, 2]), Ok(vec![-1, 5]));
}

#[test]
fn a_committed_offset_has_4096_bytes_of_metadata_at_most() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    let with_metadata = |bytes: usize| {
        let mut request = commit_request("g", NOBODY, (TOPIC, 0), 5);
        request.topics[0].partitions[0].committed_metadata = Some("m".repeat(bytes).into());
        request
    };
    let too_large = 12;
    assert_eq!(commit(&mut client, &with_metadata(4097)), [too_large]);
    assert_eq!(commit(&mut client, &with_metadata(4096)), [0]);
}
