//! Fetch sessions (KIP-227), as a client sees them.
#![allow(clippy::unwrap_used)]

mod common;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use common::connection::{Connection, read};
use common::{NOW, TOPIC, create, create_topic, fill, node, partition};
use millstream_api::Proposal;
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_metadata::TopicToDelete;
use millstream_model::TopicId;
use millstream_node::{Node, NodeConfig};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::fetch_request::{
    FetchPartition, FetchRequest, FetchTopic, ForgottenTopic,
};
use millstream_protocol::messages::fetch_response::FetchResponse;

/// The newest Fetch that names topics.
const BY_NAME: i16 = 12;
const BY_ID: i16 = 18;

/// What is answered of one partition: index, error, bytes of records, high watermark.
type Told = (i32, i16, usize, i64);

/// An answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    error: i16,
    session: i32,
    told: Vec<Told>,
}

fn error(code: ErrorCode) -> Answer {
    Answer {
        error: code.code(),
        session: 0,
        told: Vec::new(),
    }
}

fn topic(name: &str, partitions: &[(i32, i64)]) -> FetchTopic<'static> {
    FetchTopic {
        topic: Cow::Owned(name.to_owned()),
        partitions: wanted(partitions),
        ..FetchTopic::default()
    }
}

fn topic_of(id: TopicId, partitions: &[(i32, i64)]) -> FetchTopic<'static> {
    FetchTopic {
        topic_id: id.0,
        partitions: wanted(partitions),
        ..FetchTopic::default()
    }
}

fn wanted(partitions: &[(i32, i64)]) -> Vec<FetchPartition> {
    let of = |(partition, fetch_offset): &(i32, i64)| FetchPartition {
        partition: *partition,
        fetch_offset: *fetch_offset,
        partition_max_bytes: 1 << 20,
        ..FetchPartition::default()
    };
    partitions.iter().map(of).collect()
}

fn forgotten(name: &str, partitions: &[i32]) -> ForgottenTopic<'static> {
    ForgottenTopic {
        topic: Cow::Owned(name.to_owned()),
        partitions: partitions.to_vec(),
        ..ForgottenTopic::default()
    }
}

/// A request that does not wait.
fn request(session: (i32, i32), topics: Vec<FetchTopic<'static>>) -> FetchRequest<'static> {
    FetchRequest {
        max_wait_ms: 0,
        session_id: session.0,
        session_epoch: session.1,
        topics,
        ..FetchRequest::default()
    }
}

fn answer(bytes: &bytes::Bytes, version: i16) -> Answer {
    let response: FetchResponse<'_> = read::<FetchRequest<'_>, _>(bytes, version);
    let partitions = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    let told = partitions.map(|one| {
        let bytes = one.records.as_ref().map_or(0, |records| records.len());
        (
            one.partition_index,
            one.error_code,
            bytes,
            one.high_watermark,
        )
    });
    Answer {
        error: response.error_code,
        session: response.session_id,
        told: told.collect(),
    }
}

fn ask(connection: &mut Connection<'_>, version: i16, request: &FetchRequest<'static>) -> Answer {
    answer(&connection.ask(version, request), version)
}

/// A node with the topic, of which partition 0 holds two records.
fn filled() -> Node {
    let node = node(&[]);
    let partitions = create(&node, &[]);
    fill(&node, &partitions[0], None, 2);
    node
}

#[test]
fn a_session_tells_only_what_is_new() {
    let node = filled();
    let mut connection = Connection::new(&node, 1);
    let full = request((0, 0), vec![topic(TOPIC, &[(0, 2), (1, 0), (2, 0)])]);
    let first = ask(&mut connection, BY_NAME, &full);
    assert_eq!(first.told, [(0, 0, 0, 2), (1, 0, 0, 0), (2, 0, 0, 0)]);
    assert!(first.session > 0, "{first:?}");
    let id = first.session;

    let nothing = ask(&mut connection, BY_NAME, &request((id, 1), vec![]));
    let expected = Answer {
        error: 0,
        session: id,
        told: vec![],
    };
    assert_eq!(nothing, expected);

    fill(&node, &partition(&node, TOPIC, 1), None, 1);
    let told = ask(&mut connection, BY_NAME, &request((id, 2), vec![])).told;
    let size = told[0].2;
    assert!(size > 100);
    assert_eq!(told, [(1, 0, size, 1)]);
    // Its offset is as it was asked for last.
    let again = ask(&mut connection, BY_NAME, &request((id, 3), vec![])).told;
    assert_eq!(again, [(1, 0, size, 1)]);
    let moved = request((id, 4), vec![topic(TOPIC, &[(1, 1)])]);
    assert_eq!(ask(&mut connection, BY_NAME, &moved).told, []);

    // Another connection goes on with it.
    fill(&node, &partition(&node, TOPIC, 2), None, 1);
    let mut other = Connection::new(&node, 2);
    let told = ask(&mut other, BY_NAME, &request((id, 5), vec![])).told;
    assert_eq!(told, [(2, 0, size, 1)]);
}

#[test]
fn an_epoch_that_is_not_the_next_is_refused_and_not_counted() {
    let node = filled();
    let mut connection = Connection::new(&node, 1);
    let full = request((0, 0), vec![topic(TOPIC, &[(0, 2)])]);
    let id = ask(&mut connection, BY_NAME, &full).session;
    for epoch in [2, 7, -2, i32::MAX] {
        let refused = ask(&mut connection, BY_NAME, &request((id, epoch), vec![]));
        assert_eq!(refused, error(ErrorCode::InvalidFetchSessionEpoch));
    }
    let by_id = ask(&mut connection, BY_ID, &request((id, 1), vec![]));
    assert_eq!(by_id, error(ErrorCode::FetchSessionTopicIdError));
    assert_eq!(
        ask(&mut connection, BY_NAME, &request((id, 1), vec![])).session,
        id
    );
    let repeated = ask(&mut connection, BY_NAME, &request((id, 1), vec![]));
    assert_eq!(repeated, error(ErrorCode::InvalidFetchSessionEpoch));
    for (unknown, epoch) in [(0, 1), (0, -2), (id ^ 1, 1), (-5, 1)] {
        let refused = ask(&mut connection, BY_NAME, &request((unknown, epoch), vec![]));
        assert_eq!(refused, error(ErrorCode::FetchSessionIdNotFound));
    }
}

#[test]
fn sessions_end_when_asked_and_when_they_are_empty() {
    let node = filled();
    let mut connection = Connection::new(&node, 1);
    let full = |session| request(session, vec![topic(TOPIC, &[(0, 2), (1, 0)])]);
    let first = ask(&mut connection, BY_NAME, &full((0, 0))).session;
    // A full request of the session begins another in its place.
    let second = ask(&mut connection, BY_NAME, &full((first, 0))).session;
    assert_ne!(first, second);
    assert_eq!(node.broker.fetch_sessions.count(), 1);
    let gone = ask(&mut connection, BY_NAME, &request((first, 1), vec![]));
    assert_eq!(gone, error(ErrorCode::FetchSessionIdNotFound));

    let mut partly = request((second, 1), vec![topic(TOPIC, &[(2, 0)])]);
    partly.forgotten_topics_data = vec![forgotten(TOPIC, &[0, 9]), forgotten("other", &[0])];
    assert_eq!(ask(&mut connection, BY_NAME, &partly).told, [(2, 0, 0, 0)]);
    assert_eq!(node.broker.fetch_sessions.partitions(), 2);
    let mut wholly = request((second, 2), vec![]);
    wholly.forgotten_topics_data = vec![forgotten(TOPIC, &[1, 2])];
    assert_eq!(
        ask(&mut connection, BY_NAME, &wholly),
        error(ErrorCode::None)
    );
    assert_eq!(node.broker.fetch_sessions.count(), 0);

    let third = ask(&mut connection, BY_NAME, &full((0, 0))).session;
    let last = ask(&mut connection, BY_NAME, &full((third, -1)));
    assert_eq!((last.session, last.told.len()), (0, 2));
    assert_eq!(node.broker.fetch_sessions.count(), 0);
    assert_eq!(node.broker.fetch_sessions.partitions(), 0);
}

#[test]
fn an_error_is_told_each_time_and_its_end_once() {
    let node = filled();
    let mut connection = Connection::new(&node, 1);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let full = request(
        (0, 0),
        vec![topic(TOPIC, &[(0, 2)]), topic("later", &[(0, 0)])],
    );
    let first = ask(&mut connection, BY_NAME, &full);
    assert_eq!(first.told, [(0, 0, 0, 2), (0, unknown, 0, -1)]);
    let id = first.session;
    let again = ask(&mut connection, BY_NAME, &request((id, 1), vec![]));
    assert_eq!(again.told, [(0, unknown, 0, -1)]);
    create_topic(&node, "later", 1, &[]);
    let known = ask(&mut connection, BY_NAME, &request((id, 2), vec![]));
    assert_eq!(known.told, [(0, 0, 0, 0)]);
    assert_eq!(
        ask(&mut connection, BY_NAME, &request((id, 3), vec![])).told,
        []
    );
}

#[test]
fn a_topic_that_is_made_again_is_another_to_those_who_know_its_id() {
    let node = filled();
    let mut connection = Connection::new(&node, 1);
    let id = node.broker.view().topic(TOPIC).unwrap().id;
    let by_id = request((0, 0), vec![topic_of(id, &[(0, 2)])]);
    let by_id = ask(&mut connection, BY_ID, &by_id).session;
    let by_name = request((0, 0), vec![topic(TOPIC, &[(0, 2)])]);
    let by_name = ask(&mut connection, BY_NAME, &by_name).session;
    let told = |connection: &mut Connection<'_>, session, version| {
        let told = ask(connection, version, &request(session, vec![])).told;
        told.iter().map(|told| told.1).collect::<Vec<_>>()
    };
    connection.carry_out(node.propose(Proposal::DeleteTopics {
        token: common::TOKEN,
        topics: vec![TopicToDelete { name: None, id }],
    }));
    let unknown = [ErrorCode::UnknownTopicOrPartition.code()];
    assert_eq!(told(&mut connection, (by_id, 1), BY_ID), unknown);
    assert_eq!(told(&mut connection, (by_name, 1), BY_NAME), unknown);
    create(&node, &[]);
    let inconsistent = [ErrorCode::InconsistentTopicId.code()];
    assert_eq!(told(&mut connection, (by_id, 2), BY_ID), inconsistent);
    // The offset is behind the end of the new one.
    let out_of_range = [ErrorCode::OffsetOutOfRange.code()];
    assert_eq!(told(&mut connection, (by_name, 2), BY_NAME), out_of_range);
    let never = request((0, -1), vec![topic_of(TopicId([9; 16]), &[(0, 0)])]);
    let never = ask(&mut connection, BY_ID, &never).told;
    assert_eq!(never[0].1, ErrorCode::UnknownTopicId.code());
}

#[test]
fn with_a_size_limit_partitions_take_turns() {
    let node = filled();
    for index in [1, 2] {
        fill(&node, &partition(&node, TOPIC, index), None, 2);
    }
    let mut connection = Connection::new(&node, 1);
    let small = |session, topics| FetchRequest {
        max_bytes: 1,
        ..request(session, topics)
    };
    let full = small((0, 0), vec![topic(TOPIC, &[(0, 0), (1, 0), (2, 0)])]);
    let first = ask(&mut connection, BY_NAME, &full);
    let with_records = |answer: &Answer| -> Vec<i32> {
        let full = answer.told.iter().filter(|told| told.2 > 0);
        full.map(|told| told.0).collect()
    };
    let mut turns = vec![with_records(&first)];
    for epoch in 1..5 {
        let next = ask(
            &mut connection,
            BY_NAME,
            &small((first.session, epoch), vec![]),
        );
        turns.push(with_records(&next));
    }
    assert_eq!(turns, [[0], [1], [2], [0], [1]]);
}

#[test]
fn a_partition_that_is_asked_for_twice_is_answered_once() {
    let node = filled();
    let mut connection = Connection::new(&node, 1);
    let twice = request((0, -1), vec![topic(TOPIC, &[(0, 0), (1, 0), (0, 2)])]);
    let told = ask(&mut connection, BY_NAME, &twice).told;
    assert_eq!(told, [(0, 0, 0, 2), (1, 0, 0, 0)]);
}

#[test]
fn a_waiting_request_is_answered_when_records_come_and_not_once_its_session_went_on() {
    let node = filled();
    let full = request((0, 0), vec![topic(TOPIC, &[(0, 2), (1, 0)])]);
    let mut connection = Connection::new(&node, 1);
    let id = ask(&mut connection, BY_NAME, &full).session;
    let waiting = |epoch| FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        ..request((id, epoch), vec![])
    };
    connection.send(BY_NAME, &waiting(1)).unwrap();
    assert!(connection.receive().is_none());
    produce_and_flush(&mut connection, 1);
    let told = answer(&connection.receive().unwrap(), BY_NAME).told;
    assert_eq!((told.len(), told[0].0), (1, 1));

    let moved = FetchRequest {
        topics: vec![topic(TOPIC, &[(1, 1)])],
        ..waiting(2)
    };
    connection.send(BY_NAME, &moved).unwrap();
    assert!(connection.receive().is_none());
    let mut other = Connection::new(&node, 2);
    assert_eq!(ask(&mut other, BY_NAME, &request((id, 3), vec![])).told, []);
    produce_and_flush(&mut connection, 0);
    let late = answer(&connection.receive().unwrap(), BY_NAME);
    assert_eq!(late, error(ErrorCode::InvalidFetchSessionEpoch));
}

/// Appends a record and flushes it; who waits for it hears of it.
fn produce_and_flush(connection: &mut Connection<'_>, index: i32) {
    connection.produce(0, index, &common::batch(NOW.0, 100));
    connection.flush();
}

#[test]
fn a_full_cache_gives_up_only_old_sessions() {
    let clock = Arc::new(SimClock::new(NOW));
    let config = NodeConfig {
        log_directories: vec!["/data".into()],
        fetch_sessions_max: 2,
        fetch_wait_max: Duration::from_secs(1),
        group_shards: 1,
        ..NodeConfig::default()
    };
    let disk = Arc::new(SimDisk::default());
    let random = Arc::new(SimRandom::new(1));
    let node = Node::open(disk, Arc::clone(&clock) as _, random, config).unwrap();
    create(&node, &[]);
    let mut connection = Connection::new(&node, 1);
    let mut begin = |partitions: &[(i32, i64)]| {
        let full = request((0, 0), vec![topic(TOPIC, partitions)]);
        ask(&mut connection, BY_NAME, &full).session
    };
    let small = begin(&[(0, 0)]);
    let large = begin(&[(0, 0), (1, 0)]);
    assert_eq!(begin(&[(0, 0), (1, 0), (2, 0)]), 0, "both are young");
    let mut connection = Connection::new(&node, 2);
    let mut go_on = |session| ask(&mut connection, BY_NAME, &request(session, vec![])).error;
    clock.advance(Duration::from_secs(121));
    assert_eq!(go_on((small, 1)), 0);
    assert_eq!(go_on((large, 1)), 0);
    let mut connection = Connection::new(&node, 3);
    let mut begin = |partitions: &[(i32, i64)]| {
        let full = request((0, 0), vec![topic(TOPIC, partitions)]);
        ask(&mut connection, BY_NAME, &full).session
    };
    assert_eq!(begin(&[]), 0, "smaller than all");
    assert_ne!(begin(&[(0, 0), (1, 0)]), 0, "in the place of the small one");
    assert_eq!(go_on((small, 2)), ErrorCode::FetchSessionIdNotFound.code());
    assert_eq!(go_on((large, 2)), 0);
    clock.advance(Duration::from_secs(121));
    assert_ne!(begin(&[]), 0, "nobody used them");
    assert_eq!(node.broker.fetch_sessions.count(), 2);
}
