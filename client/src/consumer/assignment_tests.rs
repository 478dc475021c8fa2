#![allow(clippy::unwrap_used)]
use super::*;
use std::time::Duration;

use millstream_protocol::messages::MetadataResponse;
use millstream_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};
use millstream_protocol::records::{BatchBuilder, Codec};

fn metadata(leaders: &[i32]) -> Metadata {
    let partitions =
        leaders
            .iter()
            .enumerate()
            .map(|(index, &leader_id)| MetadataResponsePartition {
                partition_index: index as i32,
                leader_id,
                leader_epoch: 4,
                ..Default::default()
            });
    let topic = MetadataResponseTopic {
        name: Some("t".into()),
        topic_id: [1; 16],
        partitions: partitions.collect(),
        ..Default::default()
    };
    let response = MetadataResponse {
        topics: vec![topic],
        ..Default::default()
    };
    Metadata::default().with(&response)
}

fn consumer(reset: OffsetReset, count: i32) -> Assignment {
    let config = ConsumerConfig {
        offset_reset: reset,
        ..Default::default()
    };
    let mut assignment = Assignment::new(config, Dice::new(1));
    assignment.assign((0..count).map(|p| TopicPartition::new("t", p)).collect());
    assignment
}

fn at(offset: i64) -> Position {
    Position::At {
        offset,
        leader_epoch: -1,
    }
}

fn records(base: i64, count: usize) -> FetchedPartition {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..count {
        builder.push(1, None, Some(b"v"), []);
    }
    FetchedPartition {
        records: builder.build(base, 4),
        high_watermark: base + count as i64,
        ..Default::default()
    }
}

fn refused(code: ErrorCode) -> FetchedPartition {
    FetchedPartition {
        code: code.code(),
        ..Default::default()
    }
}

fn one_ask(assignment: &mut Assignment, now: Instant) -> Ask {
    let fetches = assignment.fetches(&metadata(&[1]), now, |_| false);
    fetches[&1][0].clone()
}

#[test]
fn partitions_are_grouped_by_leader_and_asked_once() {
    let now = Instant::now();
    let mut assignment = consumer(OffsetReset::Earliest, 3);
    for partition in 0..3 {
        let target = TopicPartition::new("t", partition);
        assignment.find(&target).unwrap().seek(at(7));
    }
    let image = metadata(&[1, 2, 1]);
    let fetches = assignment.fetches(&image, now, |node| node == 2);
    assert_eq!(fetches.keys().collect::<Vec<_>>(), [&1]);
    assert_eq!(fetches[&1].len(), 2);
    assert_eq!(fetches[&1][0].offset, 7);
    assert_eq!(fetches[&1][0].leader_epoch, 4);
    let rest = assignment.fetches(&image, now, |_| false);
    assert_eq!(rest.keys().collect::<Vec<_>>(), [&2]);
}

#[test]
fn the_next_fetch_continues_behind_the_last_record() {
    let now = Instant::now();
    let mut assignment = consumer(OffsetReset::Earliest, 1);
    assignment.partitions[0].seek(at(0));
    let ask = one_ask(&mut assignment, now);
    assignment.handle_fetched(&ask, records(0, 3), now);
    assert!(
        assignment
            .fetches(&metadata(&[1]), now, |_| false)
            .is_empty()
    );
    assert_eq!(assignment.take().unwrap().len(), 3);
    let ask = one_ask(&mut assignment, now);
    assert_eq!((ask.offset, ask.last_epoch), (3, 4));
}

#[test]
fn an_answer_from_before_a_seek_is_forgotten() {
    let now = Instant::now();
    let mut assignment = consumer(OffsetReset::Earliest, 1);
    assignment.partitions[0].seek(at(0));
    let ask = one_ask(&mut assignment, now);
    assignment.partitions[0].seek(at(50));
    assignment.handle_fetched(&ask, records(0, 3), now);
    assert_eq!(assignment.take().unwrap(), []);
    assert_eq!(assignment.partitions[0].position, at(50));
}

#[test]
fn out_of_range_follows_the_reset_policy() {
    let now = Instant::now();
    let mut assignment = consumer(OffsetReset::Earliest, 1);
    assignment.partitions[0].seek(at(99));
    let ask = one_ask(&mut assignment, now);
    assignment.handle_fetched(&ask, refused(ErrorCode::OffsetOutOfRange), now);
    let lookups = assignment.lookups(now);
    let target = TopicPartition::new("t", 0);
    assert_eq!(lookups.specs[&target].0, OffsetSpec::Earliest);
    let generation = lookups.specs[&target].1;
    let first = ListedOffset {
        offset: Some(12),
        timestamp: -1,
        leader_epoch: 3,
    };
    assignment.handle_listed(&target, generation, first);
    assert_eq!(assignment.partitions[0].position, at(12));

    let mut strict = consumer(OffsetReset::Fail, 1);
    strict.partitions[0].seek(at(99));
    let ask = one_ask(&mut strict, now);
    strict.handle_fetched(&ask, refused(ErrorCode::OffsetOutOfRange), now);
    let error = strict.take().unwrap_err();
    assert!(matches!(
        error,
        ConsumeError::OffsetOutOfRange { offset: 99, .. }
    ));
    assert_eq!(strict.partitions[0].position, at(99));
}

#[test]
fn lost_leadership_waits_and_asks_for_metadata() {
    let now = Instant::now();
    let mut assignment = consumer(OffsetReset::Earliest, 1);
    assignment.partitions[0].seek(at(0));
    let ask = one_ask(&mut assignment, now);
    assignment.handle_fetched(&ask, refused(ErrorCode::NotLeaderOrFollower), now);
    assert!(std::mem::take(&mut assignment.wants_metadata));
    assert!(
        assignment
            .fetches(&metadata(&[1]), now, |_| false)
            .is_empty()
    );
    let wake = assignment.next_wake(now).unwrap();
    assert!(wake > now && wake < now + Duration::from_millis(200));
    assert_eq!(one_ask(&mut assignment, wake).offset, 0);
    assert_eq!(assignment.take().unwrap(), []);
}

#[test]
fn a_log_that_was_cut_back_is_never_read_on_in_silence() {
    let now = Instant::now();
    let diverging = FetchedPartition {
        diverging: Some((3, 20)),
        ..Default::default()
    };
    let mut strict = consumer(OffsetReset::Fail, 1);
    strict.partitions[0].seek(at(30));
    let ask = one_ask(&mut strict, now);
    strict.handle_fetched(&ask, diverging.clone(), now);
    let error = strict.take().unwrap_err();
    assert!(matches!(
        error,
        ConsumeError::Truncated {
            offset: 30,
            end_offset: 20,
            ..
        }
    ));

    let mut lenient = consumer(OffsetReset::Latest, 1);
    lenient.partitions[0].seek(at(30));
    let ask = one_ask(&mut lenient, now);
    lenient.handle_fetched(&ask, diverging, now);
    assert_eq!(lenient.partitions[0].position, at(20));
}

#[test]
fn without_group_and_policy_the_missing_position_is_named() {
    let mut assignment = consumer(OffsetReset::Fail, 1);
    assert_eq!(assignment.lookups(Instant::now()), Lookups::default());
    let error = assignment.take().unwrap_err();
    assert_eq!(
        error.to_string(),
        "t-0 has no committed offset; seek, or choose an offset_reset"
    );
}

#[test]
fn partitions_take_turns() {
    let now = Instant::now();
    let config = ConsumerConfig {
        offset_reset: OffsetReset::Earliest,
        poll_records_max: 4,
        ..Default::default()
    };
    let mut assignment = Assignment::new(config, Dice::new(1));
    assignment.assign((0..2).map(|p| TopicPartition::new("t", p)).collect());
    for state in &mut assignment.partitions {
        state.seek(at(0));
    }
    for ask in &assignment.fetches(&metadata(&[1, 1]), now, |_| false)[&1] {
        assignment.handle_fetched(ask, records(0, 6), now);
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let taken = assignment.take().unwrap();
        order.push(taken.iter().map(|r| r.partition).collect::<Vec<_>>());
    }
    assert_eq!(order, [[0, 0, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]);
}
