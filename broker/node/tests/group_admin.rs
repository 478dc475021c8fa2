//! ListGroups, DescribeGroups, DeleteGroups and OffsetDelete as an administrator sees them.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::TOPIC;
use common::connection::{Connection, read};
use common::groups::{
    Bench, NOBODY, SHARDS, code, commit, fetch, join, leave, load, settle, subscription,
};
use millstream_coordinator::{GroupConfig, shard_of};
use millstream_env::sim::SimFaults;
use millstream_metadata::OFFSETS_TOPIC;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millstream_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    ListGroupsRequest, ListGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse,
};

/// Groups as `id:protocol type:state:type`, in order, and the error of the whole.
fn list(
    client: &mut Connection<'_>,
    version: i16,
    states: &[&'static str],
    types: &[&'static str],
) -> (ErrorCode, Vec<String>) {
    let request = ListGroupsRequest {
        states_filter: states.iter().map(|name| (*name).into()).collect(),
        types_filter: types.iter().map(|name| (*name).into()).collect(),
    };
    let bytes = client.ask(version, &request);
    let answer: ListGroupsResponse<'_> = read::<ListGroupsRequest<'_>, _>(&bytes, version);
    let mut groups: Vec<String> = answer
        .groups
        .iter()
        .map(|group| {
            format!(
                "{}:{}:{}:{}",
                group.group_id, group.protocol_type, group.group_state, group.group_type
            )
        })
        .collect();
    groups.sort();
    (code(answer.error_code), groups)
}

fn describe(
    client: &mut Connection<'_>,
    version: i16,
    groups: &[&'static str],
    operations: bool,
) -> DescribeGroupsResponse<'static> {
    let request = DescribeGroupsRequest {
        groups: groups.iter().map(|name| (*name).into()).collect(),
        include_authorized_operations: operations,
    };
    let bytes = Box::leak(Box::new(client.ask(version, &request)));
    read::<DescribeGroupsRequest<'_>, _>(bytes, version)
}

fn delete(client: &mut Connection<'_>, groups: &[&'static str]) -> Vec<(String, ErrorCode)> {
    let request = DeleteGroupsRequest {
        groups_names: groups.iter().map(|name| (*name).into()).collect(),
    };
    let bytes = client.ask(3, &request);
    let answer: DeleteGroupsResponse<'_> = read::<DeleteGroupsRequest<'_>, _>(&bytes, 3);
    let results = answer.results.iter();
    results
        .map(|result| (result.group_id.to_string(), code(result.error_code)))
        .collect()
}

fn delete_offsets(
    client: &mut Connection<'_>,
    group: &'static str,
    topic: &'static str,
    partitions: &[i32],
) -> (ErrorCode, Vec<ErrorCode>) {
    let partitions = partitions.iter().map(|index| OffsetDeleteRequestPartition {
        partition_index: *index,
    });
    let request = OffsetDeleteRequest {
        group_id: group.into(),
        topics: vec![OffsetDeleteRequestTopic {
            name: topic.into(),
            partitions: partitions.collect(),
        }],
    };
    let bytes = client.ask(0, &request);
    let answer: OffsetDeleteResponse<'_> = read::<OffsetDeleteRequest<'_>, _>(&bytes, 0);
    let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
    let codes = partitions.map(|partition| code(partition.error_code));
    (code(answer.error_code), codes.collect())
}

const LOADING: ErrorCode = ErrorCode::CoordinatorLoadInProgress;
const NONE: ErrorCode = ErrorCode::None;

#[test]
fn groups_of_all_shards_are_listed_and_filtered() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(list(&mut client, 5, &[], &[]), (NONE, vec![]));
    let shards: std::collections::BTreeSet<i32> = ["a", "b", "c"]
        .map(|group| shard_of(group, SHARDS))
        .into_iter()
        .collect();
    assert_eq!(shards.len(), 3, "one group in each shard");
    settle(&mut client, "a");
    assert_eq!(commit(&mut client, "b", NOBODY, 0, 5), NONE);
    join(&mut client, "c", "");

    let (a, b) = ("a:consumer:Stable:Classic", "b::Empty:Classic");
    let c = "c:consumer:CompletingRebalance:Classic";
    let mut listed = |states: &[&'static str], types: &[&'static str]| {
        let (error, groups) = list(&mut client, 5, states, types);
        assert_eq!(error, NONE);
        groups
    };
    assert_eq!(listed(&[], &[]), [a, b, c]);
    assert_eq!(listed(&["stable", "EMPTY"], &[]), [a, b]);
    assert_eq!(listed(&["CompletingRebalance"], &["classic"]), [c]);
    assert_eq!(listed(&["nonsense"], &[]), [""; 0]);
    assert_eq!(listed(&[], &["consumer"]), [""; 0]);
    // Before there were states, and before there were types.
    let (_, old) = list(&mut client, 3, &[], &[]);
    assert_eq!(old, ["a:consumer::", "b:::", "c:consumer::"]);
    let (_, old) = list(&mut client, 4, &["stable"], &[]);
    assert_eq!(old, ["a:consumer:Stable:"]);
}

#[test]
fn a_shard_that_loads_refuses_the_list_and_one_that_is_offline_has_no_part_in_it() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    for group in ["a", "b", "c"] {
        assert_eq!(commit(&mut client, group, NOBODY, 0, 1), NONE);
    }
    node.close().unwrap();
    drop(node);
    bench.disk.end_process();
    let node = bench.start();
    let mut client = Connection::new(&node, 1);
    let loaded = shard_of("a", SHARDS) as usize;
    node.load_groups(loaded);
    assert_eq!(list(&mut client, 5, &[], &[]), (LOADING, vec![]));
    let described = describe(&mut client, 6, &["a", "b"], true);
    let [a, b] = described.groups.as_slice() else {
        panic!("two groups: {described:?}");
    };
    assert_eq!((a.error_code, &*a.group_state), (0, "Empty"));
    assert_eq!((code(b.error_code), &*b.group_state), (LOADING, ""));
    assert_eq!(b.authorized_operations, i32::MIN, "only of what is there");
    let answer = delete(&mut client, &["b"]);
    assert_eq!(answer, [("b".to_owned(), LOADING)]);
    assert_eq!(
        delete_offsets(&mut client, "b", TOPIC, &[0]),
        (LOADING, vec![])
    );

    load(&node);
    assert_eq!(list(&mut client, 5, &[], &[]).1.len(), 3);
    // The directory of all shards fails: they are unloaded, and nobody here coordinates their groups.
    bench.disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    let refused = commit(&mut client, "a", NOBODY, 0, 2);
    assert_eq!(refused, ErrorCode::NotCoordinator);
    assert_eq!(list(&mut client, 5, &[], &[]), (NONE, vec![]));
    let described = describe(&mut client, 6, &["a"], true);
    let group = &described.groups[0];
    let told = (code(group.error_code), &*group.group_state);
    assert_eq!(told, (ErrorCode::NotCoordinator, ""));
    let answer = delete(&mut client, &["a"]);
    assert_eq!(answer, [("a".to_owned(), ErrorCode::NotCoordinator)]);
    let answer = delete_offsets(&mut client, "a", TOPIC, &[0]);
    assert_eq!(answer, (ErrorCode::NotCoordinator, vec![]));
}

#[test]
fn groups_are_described_each_by_its_shard_in_the_order_of_the_request() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    let member = settle(&mut client, "a");
    assert_eq!(commit(&mut client, "b", NOBODY, 0, 5), NONE);

    let described = describe(&mut client, 6, &["b", "nobody", "a", "b"], true);
    let names: Vec<&str> = described
        .groups
        .iter()
        .map(|group| &*group.group_id)
        .collect();
    assert_eq!(names, ["b", "nobody", "a"], "each once");
    let [b, nobody, a] = described.groups.as_slice() else {
        panic!("three groups");
    };
    assert_eq!((b.error_code, &*b.group_state), (0, "Empty"));
    assert_eq!(b.authorized_operations, 3400);
    assert_eq!(code(nobody.error_code), ErrorCode::GroupIdNotFound);
    assert_eq!(&*nobody.group_state, "Dead");
    assert_eq!(
        nobody.error_message.as_deref(),
        Some("Group nobody not found.")
    );
    assert_eq!(nobody.authorized_operations, i32::MIN);
    assert_eq!(
        (&*a.group_state, &*a.protocol_type, &*a.protocol_data),
        ("Stable", "consumer", "range")
    );
    let told = &a.members[0];
    assert_eq!(
        (&*told.member_id, &*told.client_id),
        (member.member.as_str(), "test")
    );
    assert_eq!(&*told.client_host, "/10.0.0.1");
    assert_eq!(&*told.member_metadata, subscription());
    assert_eq!(
        &*told.member_assignment,
        format!("for {}", member.member).as_bytes()
    );

    // Before version 6 an unknown group is dead, and operations are told from 3 on if asked for.
    for version in [0, 2, 5] {
        let described = describe(&mut client, version, &["nobody"], false);
        let group = &described.groups[0];
        assert_eq!((group.error_code, &*group.group_state), (0, "Dead"));
        assert_eq!(group.authorized_operations, i32::MIN);
    }
    assert_eq!(describe(&mut client, 6, &[], true).groups, []);
}

#[test]
fn empty_groups_are_deleted_with_their_offsets_and_stay_so() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    let member = settle(&mut client, "a");
    assert_eq!(commit(&mut client, "b", NOBODY, 0, 5), NONE);
    let answers = delete(&mut client, &["a", "b", "nobody", "b"]);
    let expected = [
        ("a", ErrorCode::NonEmptyGroup),
        ("b", NONE),
        ("nobody", ErrorCode::GroupIdNotFound),
    ];
    assert_eq!(
        answers,
        expected.map(|(name, code)| (name.to_owned(), code))
    );
    assert_eq!(fetch(&mut client, "b", &[0]), Ok(vec![-1]));
    assert_eq!(delete(&mut client, &[]), []);
    assert_eq!(leave(&mut client, "a", &member.member), NONE);
    assert_eq!(delete(&mut client, &["a"]), [("a".to_owned(), NONE)]);
    assert_eq!(list(&mut client, 5, &[], &[]), (NONE, vec![]));
    drop(client);
    let node = bench.restart(node);
    let mut client = Connection::new(&node, 2);
    assert_eq!(list(&mut client, 5, &[], &[]), (NONE, vec![]));
    assert_eq!(fetch(&mut client, "b", &[0]), Ok(vec![-1]));
}

/// The answer says that the deletion is durable.
#[test]
fn a_deletion_is_answered_when_it_is_flushed() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(commit(&mut client, "a", NOBODY, 0, 5), NONE);
    let request = DeleteGroupsRequest {
        groups_names: vec!["a".into()],
    };
    client.send(3, &request).unwrap();
    assert_eq!(client.receive(), None, "it waits");
    // What others are told meanwhile waits as well: it could be taken back.
    let mut other = Connection::new(&node, 2);
    let all = ListGroupsRequest::default();
    other.send(5, &all).unwrap();
    assert_eq!(
        other.receive(),
        None,
        "the list lacks a group that may come back"
    );
    client.flush();
    assert!(client.receive().is_some());
}

#[test]
fn offsets_are_deleted_unless_a_member_may_read_their_topic() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    common::create_topic(&node, "other", 1, &[]);
    let mut client = Connection::new(&node, 1);
    let member = settle(&mut client, "g");
    let who = (member.member.as_str(), member.generation);
    assert_eq!(commit(&mut client, "g", who, 0, 5), NONE);
    let subscribed = ErrorCode::GroupSubscribedToTopic;
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let answer = delete_offsets(&mut client, "g", TOPIC, &[0, 3]);
    assert_eq!(answer, (NONE, vec![subscribed, unknown]));
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![5]));
    // A topic nobody reads, without an offset: nothing to do and no error.
    let answer = delete_offsets(&mut client, "g", "other", &[0]);
    assert_eq!(answer, (NONE, vec![NONE]));
    let answer = delete_offsets(&mut client, "g", "gone", &[0]);
    assert_eq!(answer, (NONE, vec![unknown]));
    let answer = delete_offsets(&mut client, "nobody", TOPIC, &[0]);
    assert_eq!(answer, (ErrorCode::GroupIdNotFound, vec![]));

    assert_eq!(leave(&mut client, "g", who.0), NONE);
    let answer = delete_offsets(&mut client, "g", TOPIC, &[0]);
    assert_eq!(answer, (NONE, vec![NONE]));
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![-1]));
    drop(client);
    let node = bench.restart(node);
    let mut client = Connection::new(&node, 2);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![-1]));
    assert_eq!(list(&mut client, 4, &[], &[]).1, ["g:consumer:Empty:"]);
}

#[test]
fn without_a_topic_of_offsets_there_are_no_groups() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start();
    assert!(node.broker.view().topic(OFFSETS_TOPIC).is_none());
    let mut client = Connection::new(&node, 1);
    assert_eq!(list(&mut client, 5, &[], &[]), (NONE, vec![]));
    let answer = delete(&mut client, &["a"]);
    assert_eq!(answer, [("a".to_owned(), ErrorCode::NotCoordinator)]);
}
