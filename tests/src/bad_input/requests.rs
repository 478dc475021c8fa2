//! Requests that are well formed and ask for too much, or for what nobody should.

use millstream_protocol::ApiKey;
use millstream_protocol::messages::create_topics_request::CreatableTopic;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, FetchRequest, FetchResponse, FindCoordinatorRequest,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse,
};

use super::wire::{good, raw, read};
use super::{Case, Tell};

const FETCH: i16 = 12;
const CREATE: i16 = 5;
const METADATA: i16 = 8;
const COMMIT: i16 = 8;
const FIND: i16 = 3;
/// COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR.
const NOT_READY: [i16; 3] = [14, 15, 16];

fn join(codes: impl Iterator<Item = i16>) -> String {
    let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
    codes.join(", ")
}

pub(super) fn cases(topic: &str) -> Vec<Case> {
    [
        fetches(topic),
        creations(topic),
        names(),
        commits(topic),
        internal(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn fetch(topic: &str, wanted: &[(i32, i64)]) -> FetchRequest<'static> {
    let partitions = wanted.iter().map(|(partition, offset)| FetchPartition {
        partition: *partition,
        current_leader_epoch: -1,
        fetch_offset: *offset,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        partition_max_bytes: i32::MAX,
        ..FetchPartition::default()
    });
    FetchRequest {
        replica_id: -1,
        min_bytes: 0,
        max_bytes: i32::MAX,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: topic.to_owned().into(),
            partitions: partitions.collect(),
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

fn fetched() -> Tell {
    Box::new(|answer| {
        let answer: FetchResponse<'_> = read::<FetchRequest<'_>, _>(answer, FETCH)?;
        let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let codes = join(partitions.map(|partition| partition.error_code));
        Some(format!("error {}, partitions [{codes}]", answer.error_code))
    })
}

fn fetches(topic: &str) -> Vec<Case> {
    let case = |name, requests: &[FetchRequest<'_>]| Case {
        name,
        sent: requests
            .iter()
            .map(|request| good(FETCH, request))
            .collect(),
        tell: fetched(),
    };
    let plain = || fetch(topic, &[(0, 0)]);
    let in_session = |session_id, session_epoch| FetchRequest {
        session_id,
        session_epoch,
        ..plain()
    };
    vec![
        case("a good Fetch", &[plain()]),
        case("Fetch from offset -1", &[fetch(topic, &[(0, -1)])]),
        case("Fetch from past the end", &[fetch(topic, &[(0, 1 << 40)])]),
        case("Fetch of a partition -1", &[fetch(topic, &[(-1, 0)])]),
        case(
            "the same partition twice in a Fetch",
            &[fetch(topic, &[(0, 0), (1, 0), (0, 0)])],
        ),
        case("Fetch of a session nobody has", &[in_session(12345, 1)]),
        case("Fetch without a session at epoch 7", &[in_session(0, 7)]),
        case(
            "Fetch as a replica",
            &[FetchRequest {
                replica_id: 1,
                ..plain()
            }],
        ),
        case(
            "Fetch as a replica that is not there",
            &[FetchRequest {
                replica_id: 77,
                ..plain()
            }],
        ),
        case(
            "Fetch of -1 bytes",
            &[FetchRequest {
                max_bytes: -1,
                ..plain()
            }],
        ),
    ]
}

fn creations(topic: &str) -> Vec<Case> {
    let case = |name, topics: Vec<(String, i32, i16)>| {
        let topics = topics
            .into_iter()
            .map(|(name, partitions, factor)| CreatableTopic {
                name: name.into(),
                num_partitions: partitions,
                replication_factor: factor,
                ..CreatableTopic::default()
            });
        let request = CreateTopicsRequest {
            topics: topics.collect(),
            timeout_ms: 10_000,
            validate_only: true,
        };
        Case {
            name,
            sent: vec![good(CREATE, &request)],
            tell: Box::new(|answer| {
                let answer: CreateTopicsResponse<'_> =
                    read::<CreateTopicsRequest<'_>, _>(answer, CREATE)?;
                let mut topics: Vec<_> = answer.topics.iter().collect();
                topics.sort_by_key(|topic| topic.name.to_string());
                Some(format!(
                    "errors [{}]",
                    join(topics.iter().map(|topic| topic.error_code))
                ))
            }),
        }
    };
    let named = |name: &str| vec![(name.to_owned(), 1, 1)];
    let new = format!("{topic}-new");
    vec![
        case("a good topic", named(&new)),
        case("topic without a name", named("")),
        case("topic .", named(".")),
        case("topic ..", named("..")),
        case("topic of 249 letters", named(&"x".repeat(249))),
        case("topic of 250 letters", named(&"x".repeat(250))),
        case("topic with a slash", named("a/b")),
        case("topic with a NUL", named("a\0b")),
        case("the same topic twice", [named(&new), named(&new)].concat()),
        case(
            "topic of 2^31 - 1 partitions",
            vec![(new.clone(), i32::MAX, 1)],
        ),
        case("topic of 0 partitions", vec![(new.clone(), 0, 1)]),
        case("topic of -2 partitions", vec![(new.clone(), -2, 1)]),
        case(
            "topic with a replication factor of 0",
            vec![(new.clone(), 1, 0)],
        ),
        case(
            "topic with a replication factor of 2 on one broker",
            vec![(new.clone(), 1, 2)],
        ),
        case(
            "20000 topics",
            (0..20_000)
                .map(|number| (format!("{new}-{number}"), 1, 1))
                .collect(),
        ),
    ]
    .into_iter()
    .map(|case| Case {
        // Of many all have the same error.
        tell: match case.name {
            "20000 topics" => first_of_many(case.tell),
            _ => case.tell,
        },
        ..case
    })
    .collect()
}

/// Tells of codes that are all the same only one.
fn first_of_many(tell: Tell) -> Tell {
    Box::new(move |answer| {
        let told = tell(answer)?;
        let (before, codes) = told.split_once('[')?;
        let mut codes: Vec<&str> = codes.trim_end_matches(']').split(", ").collect();
        codes.dedup();
        Some(format!("{before}[{}] for all", codes.join(", ")))
    })
}

fn names() -> Vec<Case> {
    let request = |names: &[&'static str]| MetadataRequest {
        topics: Some(
            names
                .iter()
                .map(|name| MetadataRequestTopic {
                    name: Some((*name).into()),
                    ..MetadataRequestTopic::default()
                })
                .collect(),
        ),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    vec![Case {
        name: "Metadata of topics nobody can have",
        sent: vec![good(METADATA, &request(&["", ".", "a/b", "not-there"]))],
        tell: Box::new(|answer| {
            let answer: MetadataResponse<'_> = read::<MetadataRequest<'_>, _>(answer, METADATA)?;
            let mut codes: Vec<i16> = answer.topics.iter().map(|topic| topic.error_code).collect();
            codes.sort_unstable();
            Some(format!("errors [{}]", join(codes.into_iter())))
        }),
    }]
}

fn commits(topic: &str) -> Vec<Case> {
    let case = |name, wanted: &[(i32, usize)]| {
        let partitions = wanted
            .iter()
            .map(|(partition, bytes)| OffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: 5,
                committed_leader_epoch: -1,
                committed_metadata: Some("m".repeat(*bytes).into()),
            });
        let request = OffsetCommitRequest {
            group_id: topic.to_owned().into(),
            generation_id_or_member_epoch: -1,
            retention_time_ms: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: topic.to_owned().into(),
                partitions: partitions.collect(),
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let coordinator = FindCoordinatorRequest {
            key: topic.to_owned().into(),
            ..FindCoordinatorRequest::default()
        };
        Case {
            name,
            // Who asks for it first, makes the topic of committed offsets.
            sent: vec![good(FIND, &coordinator), good(COMMIT, &request)],
            tell: Box::new(|answer| {
                let answer: OffsetCommitResponse<'_> =
                    read::<OffsetCommitRequest<'_>, _>(answer, COMMIT)?;
                let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
                let codes: Vec<i16> = partitions.map(|partition| partition.error_code).collect();
                let is_ready = !codes.iter().any(|code| NOT_READY.contains(code));
                is_ready.then(|| format!("errors [{}]", join(codes.into_iter())))
            }),
        }
    };
    vec![
        case("OffsetCommit with 4096 bytes of metadata", &[(0, 4096)]),
        case(
            "OffsetCommit with 4097 bytes of metadata",
            &[(0, 4097), (1, 0)],
        ),
        case(
            "the same partition twice in an OffsetCommit",
            &[(0, 0), (1, 0), (0, 0)],
        ),
        case(
            "OffsetCommit of a partition that is not there",
            &[(99, 0), (-1, 0)],
        ),
    ]
}

/// What brokers ask each other.
fn internal() -> Vec<Case> {
    let case = |name, sent| Case {
        name,
        sent: vec![sent],
        tell: super::wire::answered(),
    };
    vec![
        case(
            "WriteTxnMarkers 1 of nothing",
            raw(ApiKey::WriteTxnMarkers, 1, &[&[1, 0]]),
        ),
        case(
            "Vote, which is for controllers",
            raw(ApiKey::Vote, 0, &[&[0, 1, 0]]),
        ),
    ]
}
