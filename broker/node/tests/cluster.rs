//! Requests that ask for the cluster and change its shape, as a client of a lone broker sees them.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::borrow::Cow;
use std::sync::Arc;

use common::connection::{Connection, read};
use common::disks::Disks;
use common::{NOW, TOPIC, create, create_topic, node, node_on, partition};
use millstream_env::sim::{SimClock, SimDisk};
use millstream_node::Node;
use millstream_protocol::messages::alter_partition_reassignments_request::{
    AlterPartitionReassignmentsRequest, ReassignablePartition, ReassignableTopic,
};
use millstream_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use millstream_protocol::messages::describe_quorum_request::{
    DescribeQuorumRequest, PartitionData, TopicData,
};
use millstream_protocol::messages::describe_topic_partitions_request::{
    Cursor, DescribeTopicPartitionsRequest, TopicRequest,
};
use millstream_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use millstream_protocol::messages::update_features_request::{
    FeatureUpdateKey, UpdateFeaturesRequest,
};
use millstream_protocol::messages::{
    AlterPartitionReassignmentsResponse, ApiVersionsRequest, ApiVersionsResponse,
    CreatePartitionsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeQuorumResponse, DescribeTopicPartitionsResponse, ElectLeadersResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, UpdateFeaturesResponse,
};

#[test]
fn the_cluster_is_this_broker() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let bytes = client.ask(
        2,
        &DescribeClusterRequest {
            include_cluster_authorized_operations: true,
            ..DescribeClusterRequest::default()
        },
    );
    let answer: DescribeClusterResponse<'_> = read::<DescribeClusterRequest, _>(&bytes, 2);
    assert_eq!((answer.error_code, answer.controller_id), (0, 1));
    assert_eq!(answer.cluster_id, node.broker.config.cluster_id);
    assert_eq!(answer.cluster_authorized_operations, 8096);
    let brokers: Vec<_> = answer
        .brokers
        .iter()
        .map(|broker| {
            (
                broker.broker_id,
                &*broker.host,
                broker.port,
                broker.is_fenced,
            )
        })
        .collect();
    assert_eq!(brokers, [(1, "10.0.0.9", 9092, false)]);
}

#[test]
fn another_kind_of_endpoint_is_refused() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    for (endpoint_type, code) in [(1, 0), (2, 114), (0, 115), (3, 115)] {
        let bytes = client.ask(
            1,
            &DescribeClusterRequest {
                endpoint_type,
                ..DescribeClusterRequest::default()
            },
        );
        let answer: DescribeClusterResponse<'_> = read::<DescribeClusterRequest, _>(&bytes, 1);
        assert_eq!(answer.error_code, code, "type {endpoint_type}");
        assert_eq!(answer.brokers.len(), usize::from(code == 0));
        assert_eq!(answer.cluster_authorized_operations, i32::MIN);
    }
}

/// Topics with their code and the indexes of their partitions, and the cursor.
type Page = (Vec<(String, i16, Vec<i32>)>, Option<(String, i32)>);

fn page(node: &Node, topics: &[&str], limit: i32, cursor: Option<(&str, i32)>) -> Page {
    let mut client = Connection::new(node, 1);
    let names = topics.iter();
    let request = DescribeTopicPartitionsRequest {
        topics: names
            .map(|name| TopicRequest {
                name: Cow::Borrowed(name),
            })
            .collect(),
        response_partition_limit: limit,
        cursor: cursor.map(|(name, partition_index)| Cursor {
            topic_name: Cow::Borrowed(name),
            partition_index,
        }),
    };
    let bytes = client.ask(0, &request);
    let answer: DescribeTopicPartitionsResponse<'_> =
        read::<DescribeTopicPartitionsRequest<'_>, _>(&bytes, 0);
    let topics = answer.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let indexes = partitions.map(|partition| partition.partition_index);
        let name = topic.name.as_ref().unwrap().to_string();
        (name, topic.error_code, indexes.collect())
    });
    let cursor = answer.next_cursor.as_ref();
    (
        topics.collect(),
        cursor.map(|cursor| (cursor.topic_name.to_string(), cursor.partition_index)),
    )
}

fn topic(name: &str, code: i16, partitions: std::ops::Range<i32>) -> (String, i16, Vec<i32>) {
    (name.to_owned(), code, partitions.collect())
}

fn at(name: &str, partition: i32) -> Option<(String, i32)> {
    Some((name.to_owned(), partition))
}

#[test]
fn topics_are_described_page_by_page() {
    let node = node(&[]);
    for (name, partitions) in [("b", 3), ("a", 2), ("c", 1)] {
        create_topic(&node, name, partitions, &[]);
    }
    let all = vec![
        topic("a", 0, 0..2),
        topic("b", 0, 0..3),
        topic("c", 0, 0..1),
    ];
    assert_eq!(page(&node, &[], 2000, None), (all, None));
    // The end of a topic, and the middle of one.
    let first = vec![topic("a", 0, 0..2)];
    assert_eq!(page(&node, &[], 2, None), (first, at("b", 0)));
    let first = vec![topic("a", 0, 0..2), topic("b", 0, 0..1)];
    assert_eq!(page(&node, &[], 3, None), (first, at("b", 1)));
    let rest = vec![topic("b", 0, 1..3), topic("c", 0, 0..1)];
    assert_eq!(page(&node, &[], 3, Some(("b", 1))), (rest, None));
    // No limit is below one.
    let one = vec![topic("a", 0, 0..1)];
    assert_eq!(page(&node, &[], -5, None), (one, at("a", 1)));
}

#[test]
fn named_topics_are_sorted_once_each_and_errors_take_no_room() {
    let node = node(&[]);
    create_topic(&node, "b", 2, &[]);
    create_topic(&node, "d", 2, &[]);
    let names = ["d", "b", "none", "d", "not/legal"];
    let expected = vec![
        topic("b", 0, 0..2),
        topic("d", 0, 0..2),
        topic("none", 3, 0..0),
        topic("not/legal", 17, 0..0),
    ];
    assert_eq!(page(&node, &names, 10, None), (expected, None));
    // Full at the end of `d`: the next page begins with what is missing.
    let full = vec![topic("b", 0, 0..2), topic("d", 0, 0..2)];
    assert_eq!(page(&node, &names, 4, None), (full, at("none", 0)));
}

#[test]
fn a_cursor_that_points_nowhere() {
    let node = node(&[]);
    create_topic(&node, "b", 2, &[]);
    create_topic(&node, "d", 2, &[]);
    let refused = vec![topic("b", 42, 0..0), topic("d", 42, 0..0)];
    let both = ["b", "d"];
    assert_eq!(
        page(&node, &both, 9, Some(("c", 0))),
        (refused.clone(), None)
    );
    assert_eq!(page(&node, &both, 9, Some(("b", -1))), (refused, None));
    let past = vec![topic("b", 0, 0..0), topic("d", 0, 0..2)];
    assert_eq!(page(&node, &both, 9, Some(("b", 7))), (past.clone(), None));
    assert_eq!(page(&node, &both, 9, Some(("b", i32::MAX))), (past, None));
    // In a list of all it need not be there.
    let after = vec![topic("d", 0, 0..2)];
    assert_eq!(page(&node, &[], 9, Some(("c", 1))), (after, None));
}

fn more(name: &str, count: i32) -> CreatePartitionsTopic<'_> {
    CreatePartitionsTopic {
        name: Cow::Borrowed(name),
        count,
        assignments: None,
    }
}

fn add(node: &Node, topics: Vec<CreatePartitionsTopic<'_>>, validate_only: bool) -> Vec<i16> {
    let mut client = Connection::new(node, 1);
    let request = CreatePartitionsRequest {
        topics,
        timeout_ms: 1000,
        validate_only,
    };
    let bytes = client.ask(3, &request);
    let answer: CreatePartitionsResponse<'_> = read::<CreatePartitionsRequest<'_>, _>(&bytes, 3);
    for result in &answer.results {
        assert_eq!(result.error_code == 0, result.error_message.is_none());
    }
    let results = answer.results.iter();
    results.map(|result| result.error_code).collect()
}

#[test]
fn added_partitions_take_records_and_outlive_the_process() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node = node_on(&disk, &clock, &[]);
    let before = create(&node, &[]);
    assert_eq!(add(&node, vec![more(TOPIC, 5)], true), [0]);
    assert_eq!(page(&node, &[], 9, None).0, [topic(TOPIC, 0, 0..3)]);
    assert_eq!(add(&node, vec![more(TOPIC, 5)], false), [0]);
    let now: Vec<_> = (0..5).map(|index| partition(&node, TOPIC, index)).collect();
    assert!(Arc::ptr_eq(&now[2], &before[2]), "the others stay open");
    common::fill(&node, &now[4], None, 3);
    node.close().unwrap();
    drop(node);
    let node = node_on(&disk, &clock, &[]);
    let last = partition(&node, TOPIC, 4);
    assert_eq!(last.lock().unwrap().high_watermark().0, 3);
}

#[test]
fn partitions_that_cannot_be_added() {
    let node = node(&[]);
    create(&node, &[]);
    let asked = vec![more(TOPIC, 3), more("none", 9)];
    assert_eq!(add(&node, asked, false), [37, 3]);
    assert_eq!(
        add(&node, vec![more(TOPIC, 5), more(TOPIC, 6)], false),
        [42]
    );
    assert_eq!(add(&node, vec![more(TOPIC, 20_000)], false), [-1]);
    for brokers in [vec![], vec![vec![1], vec![1]], vec![vec![7]]] {
        let assignments = brokers
            .into_iter()
            .map(|broker_ids| CreatePartitionsAssignment { broker_ids });
        let assigned = CreatePartitionsTopic {
            assignments: Some(assignments.collect()),
            ..more(TOPIC, 4)
        };
        assert_eq!(add(&node, vec![assigned], false), [39]);
    }
    assert_eq!(page(&node, &[], 9, None).0, [topic(TOPIC, 0, 0..3)]);
}

/// The top-level code, and for each topic its partitions with their codes.
type Elected = (i16, Vec<(String, Vec<(i32, i16)>)>);

fn elect(node: &Node, kind: i8, listed: Option<&[(&str, &[i32])]>) -> Elected {
    let mut client = Connection::new(node, 1);
    let request = ElectLeadersRequest {
        election_type: kind,
        topic_partitions: listed.map(|listed| {
            let topics = listed.iter();
            topics
                .map(|(topic, partitions)| TopicPartitions {
                    topic: Cow::Borrowed(topic),
                    partitions: partitions.to_vec(),
                })
                .collect()
        }),
        timeout_ms: 1000,
    };
    let bytes = client.ask(2, &request);
    let answer: ElectLeadersResponse<'_> = read::<ElectLeadersRequest<'_>, _>(&bytes, 2);
    let results = answer.replica_election_results.iter().map(|topic| {
        let partitions = topic.partition_result.iter();
        let codes = partitions.map(|result| (result.partition_id, result.error_code));
        (topic.topic.to_string(), codes.collect())
    });
    (answer.error_code, results.collect())
}

#[test]
fn leaders_in_place_need_no_election() {
    let node = node(&[]);
    create(&node, &[]);
    let listed: &[(&str, &[i32])] = &[(TOPIC, &[2, 3]), ("none", &[0])];
    let expected = vec![
        (TOPIC.to_owned(), vec![(2, 84), (3, 3)]),
        ("none".to_owned(), vec![(0, 3)]),
    ];
    assert_eq!(elect(&node, 0, Some(listed)), (0, expected.clone()));
    assert_eq!(elect(&node, 1, Some(listed)), (0, expected));
    let all = vec![(TOPIC.to_owned(), vec![])];
    assert_eq!(elect(&node, 0, None), (0, all));
    let refused = vec![(TOPIC.to_owned(), vec![(2, 42)])];
    assert_eq!(elect(&node, 7, Some(&[(TOPIC, &[2])])), (42, refused));
}

#[test]
fn nobody_can_be_elected_where_the_directory_has_failed() {
    let disks = Disks::at(&["/data"]);
    let node = node_on(&disks, &Arc::new(SimClock::new(NOW)), &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    disks.get("/data").fail_next_sync();
    client.produce(1, 1, &common::batch(NOW.0, 10));
    client.flush();
    assert!(partition(&node, TOPIC, 0).is_offline());
    let lost = |code| {
        vec![(
            TOPIC.to_owned(),
            (0..3).map(|index| (index, code)).collect(),
        )]
    };
    assert_eq!(elect(&node, 0, None), (0, lost(80)));
    assert_eq!(elect(&node, 1, None), (0, lost(83)));
}

fn reassign(node: &Node, topic: &str, partition: i32, replicas: Option<&[i32]>) -> i16 {
    let mut client = Connection::new(node, 1);
    let request = AlterPartitionReassignmentsRequest {
        topics: vec![ReassignableTopic {
            name: Cow::Borrowed(topic),
            partitions: vec![ReassignablePartition {
                partition_index: partition,
                replicas: replicas.map(<[i32]>::to_vec),
            }],
        }],
        ..AlterPartitionReassignmentsRequest::default()
    };
    let bytes = client.ask(1, &request);
    let answer: AlterPartitionReassignmentsResponse<'_> =
        read::<AlterPartitionReassignmentsRequest<'_>, _>(&bytes, 1);
    assert_eq!(answer.error_code, 0);
    assert!(answer.allow_replication_factor_change);
    answer.responses[0].partitions[0].error_code
}

#[test]
fn partitions_are_reassigned_to_where_they_are() {
    let node = node(&[]);
    create(&node, &[]);
    assert_eq!(reassign(&node, TOPIC, 2, Some(&[1])), 0);
    for replicas in [&[][..], &[1, 1], &[-1], &[2], &[1, 2]] {
        assert_eq!(
            reassign(&node, TOPIC, 2, Some(replicas)),
            39,
            "{replicas:?}"
        );
    }
    assert_eq!(reassign(&node, TOPIC, 2, None), 85);
    assert_eq!(reassign(&node, TOPIC, 3, Some(&[1])), 3);
    assert_eq!(reassign(&node, "none", 0, None), 3);

    let mut client = Connection::new(&node, 1);
    let bytes = client.ask(0, &ListPartitionReassignmentsRequest::default());
    let none: ListPartitionReassignmentsResponse<'_> =
        read::<ListPartitionReassignmentsRequest<'_>, _>(&bytes, 0);
    assert_eq!((none.error_code, none.topics.len()), (0, 0));
}

fn quorum_of<'a>(topic: &'a str, partitions: &[i32]) -> DescribeQuorumRequest<'a> {
    let partitions = partitions.iter();
    DescribeQuorumRequest {
        topics: vec![TopicData {
            topic_name: Cow::Borrowed(topic),
            partitions: partitions
                .map(|index| PartitionData {
                    partition_index: *index,
                })
                .collect(),
        }],
    }
}

#[test]
fn the_quorum_is_this_node_and_its_log_grows() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node = node_on(&disk, &clock, &[]);
    let state = |node: &Node| {
        let mut client = Connection::new(node, 1);
        let bytes = client.ask(2, &quorum_of("__cluster_metadata", &[0]));
        let answer: DescribeQuorumResponse<'_> = read::<DescribeQuorumRequest<'_>, _>(&bytes, 2);
        let node = &answer.nodes[0];
        let listener = &node.listeners[0];
        assert_eq!((node.node_id, listener.port), (1, 9092));
        assert_eq!(listener.name, "CONTROLLER");
        let partition = &answer.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id), (0, 1));
        let voter = &partition.current_voters[0];
        assert_eq!(voter.log_end_offset, partition.high_watermark);
        assert_eq!(voter.last_caught_up_timestamp, NOW.0);
        assert!(partition.observers.is_empty());
        (partition.leader_epoch, partition.high_watermark)
    };
    let (epoch, end) = state(&node);
    assert!(end > 0, "the start is in the log");
    create(&node, &[]);
    let (same_epoch, later) = state(&node);
    assert_eq!(
        (same_epoch, later - end),
        (epoch, 4),
        "a topic and partitions"
    );
    node.close().unwrap();
    drop(node);
    let (next_epoch, after) = state(&node_on(&disk, &clock, &[]));
    assert_eq!(next_epoch, epoch + 1);
    assert!(after > later);
}

#[test]
fn other_topics_have_no_quorum() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    for (topic, partitions) in [(TOPIC, &[0][..]), ("__cluster_metadata", &[0, 1])] {
        let bytes = client.ask(1, &quorum_of(topic, partitions));
        let answer: DescribeQuorumResponse<'_> = read::<DescribeQuorumRequest<'_>, _>(&bytes, 1);
        assert_eq!(answer.error_code, 0);
        let of_topic = &answer.topics[0].partitions;
        let codes: Vec<_> = of_topic.iter().map(|one| one.error_code).collect();
        assert_eq!(codes, vec![3; partitions.len()]);
    }
}

/// Features with their lowest and highest level.
type Levels = Vec<(String, i16, i16)>;

/// What is supported and finalized, and the epoch of that.
fn api_versions(node: &Node, version: i16) -> (Levels, Levels, i64) {
    let mut client = Connection::new(node, 1);
    let bytes = client.ask(
        version,
        &ApiVersionsRequest {
            client_software_name: "test".into(),
            client_software_version: "1".into(),
            ..ApiVersionsRequest::default()
        },
    );
    let answer: ApiVersionsResponse<'_> = read::<ApiVersionsRequest<'_>, _>(&bytes, version);
    let supported = answer.supported_features.iter();
    let finalized = answer.finalized_features.iter();
    (
        supported
            .map(|one| (one.name.to_string(), one.min_version, one.max_version))
            .collect(),
        finalized
            .map(|one| {
                (
                    one.name.to_string(),
                    one.min_version_level,
                    one.max_version_level,
                )
            })
            .collect(),
        answer.finalized_features_epoch,
    )
}

fn levels(features: &[(&str, i16, i16)]) -> Levels {
    let features = features.iter();
    features
        .map(|(name, min, max)| (name.to_string(), *min, *max))
        .collect()
}

const FINALIZED: &[(&str, i16, i16)] = &[
    ("eligible.leader.replicas.version", 1, 1),
    ("group.version", 1, 1),
    ("metadata.version", 33, 33),
    ("share.version", 2, 2),
    ("streams.version", 1, 1),
    ("transaction.version", 2, 2),
];

#[test]
fn features_stand_beside_the_versions() {
    let node = node(&[]);
    let (supported, finalized, epoch) = api_versions(&node, 4);
    let expected = [
        ("eligible.leader.replicas.version", 0, 1),
        ("group.version", 0, 1),
        ("kraft.version", 0, 1),
        ("metadata.version", 7, 33),
        ("share.version", 0, 2),
        ("streams.version", 0, 1),
        ("transaction.version", 0, 2),
    ];
    assert_eq!(supported, levels(&expected));
    assert_eq!(finalized, levels(FINALIZED));
    let (supported, finalized, same_epoch) = api_versions(&node, 3);
    assert_eq!(supported, levels(&[("metadata.version", 7, 33)]));
    assert_eq!(finalized, levels(FINALIZED));
    assert_eq!(same_epoch, epoch);
    let (supported, finalized, none) = api_versions(&node, 2);
    assert_eq!((supported, finalized, none), (vec![], vec![], -1));
}

/// A feature, its level and the type of upgrade.
type Wanted<'a> = (&'a str, i16, i8);

fn update(node: &Node, version: i16, wanted: &[Wanted<'_>], validate_only: bool) -> (i16, usize) {
    let mut client = Connection::new(node, 1);
    let updates = wanted.iter();
    let request = UpdateFeaturesRequest {
        feature_updates: updates
            .map(|(name, level, upgrade_type)| FeatureUpdateKey {
                feature: Cow::Borrowed(name),
                max_version_level: *level,
                allow_downgrade: false,
                upgrade_type: *upgrade_type,
            })
            .collect(),
        validate_only,
        ..UpdateFeaturesRequest::default()
    };
    let bytes = client.ask(version, &request);
    let answer: UpdateFeaturesResponse<'_> = read::<UpdateFeaturesRequest<'_>, _>(&bytes, version);
    assert_eq!(answer.error_code == 0, answer.error_message.is_none());
    (answer.error_code, answer.results.len())
}

#[test]
fn features_go_down_and_up_and_outlive_the_process() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node = node_on(&disk, &clock, &[]);
    let (_, _, epoch) = api_versions(&node, 4);
    let down: &[Wanted<'_>] = &[("group.version", 0, 2), ("share.version", 1, 3)];
    assert_eq!(update(&node, 1, down, true), (0, 2));
    assert_eq!(api_versions(&node, 4).1, levels(FINALIZED));
    assert_eq!(update(&node, 1, down, false), (0, 2));
    let mut lowered = levels(FINALIZED);
    lowered.remove(1);
    lowered[2] = ("share.version".to_owned(), 1, 1);
    let (_, finalized, later) = api_versions(&node, 4);
    assert_eq!((&finalized, later - epoch), (&lowered, 2));
    node.close().unwrap();
    drop(node);
    let node = node_on(&disk, &clock, &[]);
    assert_eq!(api_versions(&node, 4).1, lowered);
    let up: &[Wanted<'_>] = &[("group.version", 1, 1), ("share.version", 2, 1)];
    assert_eq!(update(&node, 2, up, false), (0, 0));
    assert_eq!(api_versions(&node, 4).1, levels(FINALIZED));
}

#[test]
fn features_that_cannot_be_updated_stop_all_of_the_request() {
    let node = node(&[]);
    let good = ("group.version", 0, 2);
    for bad in [
        ("none.version", 1, 1),
        ("group.version", 2, 1),
        ("group.version", -1, 2),
        ("group.version", 0, 1),
        ("group.version", 1, 0),
        ("group.version", 1, 4),
        ("metadata.version", 6, 2),
        ("metadata.version", 32, 2),
        ("metadata.version", 32, 3),
        ("metadata.version", 0, 3),
        ("kraft.version", 1, 1),
    ] {
        let others = [("share.version", 1, 2), bad];
        assert_eq!(update(&node, 1, &others, false), (95, 0), "{bad:?}");
    }
    assert_eq!(api_versions(&node, 4).1, levels(FINALIZED));
    // What is so already, and nothing at all.
    assert_eq!(
        update(&node, 2, &[("metadata.version", 33, 1)], false),
        (0, 0)
    );
    assert_eq!(update(&node, 2, &[], false), (0, 0));
    // Down first: then up by a downgrade is none.
    assert_eq!(update(&node, 2, &[good], false), (0, 0));
    assert_eq!(update(&node, 2, &[("group.version", 1, 2)], false), (95, 0));
}
