//! What groups must survive, over a whole node: the rows G1 – G6 of `tests/FAILURES.md`, each named in its tests.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::connection::{Connection, read};
use common::crowd::{Crowd, Phase};
use common::groups::{
    Bench, JOIN, JOIN_STATIC, NOBODY, SHARDS, SYNC, code, commit, commit_request, fetch, heartbeat,
    join_request, joined, leave, load, pass, settle, sync_request, synced,
};
use common::{TOKEN, TOPIC, create_topic};
use millstream_api::Proposal;
use millstream_coordinator::{GroupConfig, shard_of};
use millstream_env::sim::{SimFaults, SimRandom};
use millstream_metadata::{OFFSETS_TOPIC, TopicToDelete};
use millstream_node::Node;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic;
use millstream_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

const NONE: ErrorCode = ErrorCode::None;
const MINUTE: Duration = Duration::from_secs(60);
const SESSION: Duration = Duration::from_secs(10);

/// A sweep for what has expired, through all groups.
fn expire(node: &Node, client: &mut Connection<'_>) {
    for shard in 0..SHARDS as usize {
        let mut from = None;
        loop {
            let (effects, next) = node.expire_groups(shard, from.as_deref());
            client.carry_out(effects);
            from = next;
            if from.is_none() {
                break;
            }
        }
    }
    client.flush();
}

fn offset_records(node: &Node, group: &str) -> i64 {
    let shard = shard_of(group, SHARDS) as usize;
    let partition = common::partition(node, OFFSETS_TOPIC, shard);
    let locked = partition.lock().unwrap();
    locked.log().log_end_offset().0
}

/// "No offset" makes a client begin at an end of the log: it must be true.
#[test]
fn g1_a_coordinator_that_loads_says_so_and_never_that_there_are_no_offsets() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(commit(&mut client, "g", NOBODY, 0, 5), NONE);
    node.close().unwrap();
    drop(node);
    bench.disk.end_process();

    let node = bench.start();
    let mut client = Connection::new(&node, 1);
    let loading = ErrorCode::CoordinatorLoadInProgress;
    assert_eq!(fetch(&mut client, "g", &[0]), Err(loading));
    for (version, of_group) in [(1, false), (2, true), (7, true)] {
        let request = OffsetFetchRequest {
            group_id: "g".into(),
            topics: Some(vec![OffsetFetchRequestTopic {
                name: TOPIC.into(),
                partition_indexes: vec![0],
            }]),
            ..OffsetFetchRequest::default()
        };
        let bytes = client.ask(version, &request);
        let answer: OffsetFetchResponse<'_> = read::<OffsetFetchRequest<'_>, _>(&bytes, version);
        let error = match of_group {
            true => answer.error_code,
            false => answer.topics[0].partitions[0].error_code,
        };
        assert_eq!(code(error), loading, "version {version}");
    }
    assert_eq!(commit(&mut client, "g", NOBODY, 0, 6), loading);
    client.send(JOIN, &join_request("g", "", None)).unwrap();
    assert_eq!(joined(&mut client, JOIN).unwrap().error, loading);
    client.send(SYNC, &sync_request("g", "m", 1, &[])).unwrap();
    assert_eq!(synced(&mut client).unwrap().0, loading);
    // A heartbeat tells a member nothing that it could do better than wait.
    assert_eq!(heartbeat(&mut client, "g", "m", 1), NONE);
    load(&node);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![5]));
}

/// The append of a commit fails: the shard is loaded again, and who asks meanwhile hears no "no offset".
#[test]
fn g1_a_shard_that_lost_its_log_answers_no_offsets_until_it_is_read_again() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(commit(&mut client, "g", NOBODY, 0, 5), NONE);
    bench.disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    assert_eq!(
        commit(&mut client, "g", NOBODY, 0, 6),
        ErrorCode::NotCoordinator
    );
    let lost = fetch(&mut client, "g", &[0]);
    assert_eq!(lost, Err(ErrorCode::NotCoordinator));
}

#[test]
fn g2_offsets_expire_from_their_commit_on_however_often_they_are_loaded() {
    let retention = GroupConfig {
        offsets_retention: MINUTE,
        ..GroupConfig::default()
    };
    let bench = Bench::new(retention);
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(commit(&mut client, "simple", NOBODY, 0, 5), NONE);
    let member = settle(&mut client, "members");
    let who = (member.member.as_str(), member.generation);
    assert_eq!(commit(&mut client, "members", who, 0, 7), NONE);
    // Members that live keep what they read, for ever.
    for _ in 0..6 {
        pass(
            &mut client,
            &node,
            &bench.clock,
            SESSION - Duration::from_millis(1),
        );
        assert_eq!(heartbeat(&mut client, "members", who.0, who.1), NONE);
    }
    expire(&node, &mut client);
    assert_eq!(
        fetch(&mut client, "simple", &[0]),
        Ok(vec![5]),
        "6 ms are left"
    );
    drop(client);

    let node = bench.restart(node);
    let mut client = Connection::new(&node, 2);
    expire(&node, &mut client);
    assert_eq!(fetch(&mut client, "simple", &[0]), Ok(vec![5]));
    pass(&mut client, &node, &bench.clock, Duration::from_millis(6));
    expire(&node, &mut client);
    assert_eq!(fetch(&mut client, "simple", &[0]), Ok(vec![-1]));
    // The group is empty from when its member's session ends: a minute begins.
    assert_eq!(fetch(&mut client, "members", &[0]), Ok(vec![7]));
    pass(&mut client, &node, &bench.clock, SESSION);
    pass(
        &mut client,
        &node,
        &bench.clock,
        MINUTE - Duration::from_secs(1),
    );
    drop(client);
    let node = bench.restart(node);
    let mut client = Connection::new(&node, 3);
    expire(&node, &mut client);
    assert_eq!(fetch(&mut client, "members", &[0]), Ok(vec![7]));
    pass(&mut client, &node, &bench.clock, Duration::from_secs(1));
    let before = offset_records(&node, "members");
    expire(&node, &mut client);
    assert_eq!(fetch(&mut client, "members", &[0]), Ok(vec![-1]));
    let tombstones = offset_records(&node, "members") - before;
    assert_eq!(
        tombstones, 2,
        "the offset's, and the group's that has nothing left"
    );
    expire(&node, &mut client);
    assert_eq!(offset_records(&node, "members") - before, 2);
    drop(client);
    let node = bench.restart(node);
    let mut client = Connection::new(&node, 4);
    assert_eq!(fetch(&mut client, "members", &[0]), Ok(vec![-1]));
}

/// FAILURES.md C1, for offsets.
#[test]
fn g2_a_wall_clock_set_forward_by_years_expires_no_offsets() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(commit(&mut client, "g", NOBODY, 0, 5), NONE);
    bench.clock.set_wall(10 * 365 * 24 * 60 * MINUTE);
    expire(&node, &mut client);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![5]));
    // A week later they go.
    bench.clock.set_wall(Duration::ZERO);
    bench.clock.advance(7 * 24 * 60 * MINUTE);
    expire(&node, &mut client);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![-1]));
}

#[test]
fn g3_commits_of_fenced_members_and_generations_change_nothing() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    let first = settle(&mut client, "g");
    let who = (first.member.as_str(), first.generation);
    assert_eq!(commit(&mut client, "g", who, 0, 5), NONE);
    // A generation that is over: the group began another one without asking.
    let second = common::groups::join(&mut client, "g", who.0);
    assert_eq!(second.generation, who.1 + 1);
    let request = sync_request("g", who.0, second.generation, &[who.0]);
    client.send(SYNC, &request).unwrap();
    client.flush();
    assert_eq!(synced(&mut client).unwrap().0, NONE);
    let refused = [
        (who, ErrorCode::IllegalGeneration),
        ((who.0, who.1 + 2), ErrorCode::IllegalGeneration),
        (("somebody", second.generation), ErrorCode::UnknownMemberId),
        (("", second.generation), ErrorCode::UnknownMemberId),
        (NOBODY, ErrorCode::UnknownMemberId),
    ];
    for (who, error) in refused {
        assert_eq!(commit(&mut client, "g", who, 0, 99), error, "{who:?}");
    }
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![5]));
    // A member whose session is over.
    pass(&mut client, &node, &bench.clock, SESSION);
    let late = commit(&mut client, "g", (who.0, second.generation), 0, 99);
    assert_eq!(late, ErrorCode::UnknownMemberId);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![5]));
}

const IN_TIME: Duration = Duration::from_secs(10 + 3);

#[test]
fn g4_a_member_dies_in_any_phase_and_the_others_are_stable_in_time() {
    let phases = [
        Phase::Joining,
        Phase::Joined,
        Phase::Syncing,
        Phase::Stable,
        Phase::ToldToJoin,
    ];
    for phase in phases {
        for with_connection in [false, true] {
            for victim in 0..4 {
                let bench = Bench::new(GroupConfig::default());
                let node = bench.start_new();
                let mut crowd = Crowd::new(&node, &bench.clock, "g", 7);
                for _ in 0..3 {
                    crowd.add(None, None);
                }
                assert!(crowd.settle(IN_TIME).is_some());
                // A fourth comes: everybody goes through all phases. It may be the one that dies.
                let doom = Some((phase, with_connection)).filter(|_| victim == 3);
                crowd.add(None, doom);
                if victim < 3 && phase != Phase::Stable {
                    crowd.doom(victim, phase, with_connection);
                }
                let what = format!("member {victim} in {phase:?}, connection: {with_connection}");
                crowd.settle(IN_TIME).unwrap_or_else(|| panic!("{what}"));
                if victim < 3 && phase == Phase::Stable {
                    crowd.doom(victim, phase, with_connection);
                }
                for _ in 0..25 {
                    crowd.tick();
                }
                crowd.settle(IN_TIME).unwrap_or_else(|| panic!("{what}"));
                let expected = 4 - usize::from(victim < 3 || phase != Phase::ToldToJoin);
                assert_eq!(crowd.alive().count(), expected, "{what}");
            }
        }
    }
}

#[test]
fn g4_a_thousand_members_join_at_once() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut crowd = Crowd::new(&node, &bench.clock, "g", 1500);
    for _ in 0..1000 {
        crowd.add(None, None);
    }
    let took = crowd.settle(IN_TIME).expect("stable in time");
    assert!(took <= Duration::from_secs(3), "{took:?}");
    assert_eq!(crowd.alive().count(), 1000);
}

#[test]
fn g5_an_instance_id_that_comes_twice_fences_the_first_and_serves_the_second() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    let enter = |client: &mut Connection<'_>| {
        let request = join_request("g", "", Some("i"));
        client.send(JOIN_STATIC, &request).unwrap();
        client.flush();
        joined(client, JOIN_STATIC).unwrap()
    };
    let first = enter(&mut client);
    let sync = |member: &str, generation| SyncGroupRequest {
        group_instance_id: Some("i".into()),
        ..sync_request("g", member, generation, &[member])
    };
    client
        .send(SYNC, &sync(&first.member, first.generation))
        .unwrap();
    client.flush();
    assert_eq!(synced(&mut client).unwrap().0, NONE);

    let second = enter(&mut client);
    assert_ne!(second.member, first.member);
    assert_eq!(
        (second.error, second.generation),
        (NONE, first.generation),
        "no rebalance"
    );
    let fenced = ErrorCode::FencedInstanceId;
    let beat = |client: &mut Connection<'_>, member: &str| {
        let request = HeartbeatRequest {
            group_id: "g".into(),
            generation_id: first.generation,
            member_id: member.to_owned().into(),
            group_instance_id: Some("i".into()),
        };
        let bytes = client.ask(3, &request);
        let answer: HeartbeatResponse = read::<HeartbeatRequest<'_>, _>(&bytes, 3);
        code(answer.error_code)
    };
    let put = |client: &mut Connection<'_>, member: &str, offset| {
        let request = OffsetCommitRequest {
            group_instance_id: Some("i".into()),
            ..commit_request("g", (member, first.generation), (TOPIC, 0), offset)
        };
        let bytes = client.ask(8, &request);
        let answer: OffsetCommitResponse<'_> = read::<OffsetCommitRequest<'_>, _>(&bytes, 8);
        code(answer.topics[0].partitions[0].error_code)
    };
    assert_eq!(beat(&mut client, &first.member), fenced);
    assert_eq!(put(&mut client, &first.member, 99), fenced);
    let bytes = client.ask(SYNC, &sync(&first.member, first.generation));
    let answer: SyncGroupResponse<'_> = read::<SyncGroupRequest<'_>, _>(&bytes, SYNC);
    assert_eq!(code(answer.error_code), fenced);
    let again = join_request("g", &first.member, Some("i"));
    client.send(JOIN_STATIC, &again).unwrap();
    assert_eq!(joined(&mut client, JOIN_STATIC).unwrap().error, fenced);
    // The second one has its assignment, lives and commits.
    let bytes = client.ask(SYNC, &sync(&second.member, second.generation));
    let answer: SyncGroupResponse<'_> = read::<SyncGroupRequest<'_>, _>(&bytes, SYNC);
    assert_eq!(answer.error_code, 0);
    assert_eq!(
        &*answer.assignment,
        format!("for {}", first.member).as_bytes()
    );
    assert_eq!(beat(&mut client, &second.member), NONE);
    assert_eq!(put(&mut client, &second.member, 5), NONE);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![5]));
    // So it is after a restart: the old id stays fenced.
    drop(client);
    let node = bench.restart(node);
    let mut client = Connection::new(&node, 2);
    assert_eq!(beat(&mut client, &first.member), fenced);
    assert_eq!(beat(&mut client, &second.member), NONE);
}

/// Two processes with one instance id: the group goes on, with one of them and everybody else.
#[test]
fn g5_a_group_with_an_instance_twice_makes_progress() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut crowd = Crowd::new(&node, &bench.clock, "g", 7);
    for instance in ["a", "b", "c"] {
        crowd.add(Some(instance), None);
    }
    assert!(crowd.settle(IN_TIME).is_some());
    crowd.add(Some("b"), None);
    for _ in 0..20 {
        crowd.tick();
    }
    assert!(crowd.settle(IN_TIME).is_some());
    assert_eq!(crowd.members[1].phase, Phase::Dead, "the first b is fenced");
    assert_eq!(crowd.alive().count(), 3);
}

fn delete(node: &Node, client: &mut Connection<'_>) {
    let id = node.broker.view().topic(TOPIC).unwrap().id;
    let topics = vec![TopicToDelete { name: None, id }];
    let effects = node.propose(Proposal::DeleteTopics {
        token: TOKEN,
        topics,
    });
    client.carry_out(effects);
}

#[test]
fn g6_offsets_of_a_deleted_topic_go_with_it() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    create_topic(&node, "other", 1, &[]);
    let groups = ["a", "b", "c"];
    for group in groups {
        assert_eq!(commit(&mut client, group, NOBODY, 0, 50), NONE);
        let other = commit_request(group, NOBODY, ("other", 0), 7);
        client.ask(8, &other);
    }
    delete(&node, &mut client);
    client.flush();
    create_topic(&node, TOPIC, 3, &[]);
    for group in groups {
        assert_eq!(fetch(&mut client, group, &[0]), Ok(vec![-1]));
        assert_eq!(commit(&mut client, group, NOBODY, 1, 3), NONE);
    }
    drop(client);
    let node = bench.restart(node);
    let mut client = Connection::new(&node, 2);
    for group in groups {
        assert_eq!(fetch(&mut client, group, &[0, 1]), Ok(vec![-1, 3]));
        let all = OffsetFetchRequest {
            group_id: group.into(),
            topics: None,
            ..OffsetFetchRequest::default()
        };
        let bytes = client.ask(7, &all);
        let answer: OffsetFetchResponse<'_> = read::<OffsetFetchRequest<'_>, _>(&bytes, 7);
        let names: Vec<&str> = answer.topics.iter().map(|topic| &*topic.name).collect();
        assert_eq!(names, ["other", TOPIC]);
    }
}

/// The power goes after the topic is deleted and before its offsets are: they are not those of the new topic.
#[test]
fn g6_offsets_that_outlived_their_topic_are_not_those_of_a_new_one() {
    let bench = Bench::new(GroupConfig::default());
    let node = bench.start_new();
    let mut client = Connection::new(&node, 1);
    assert_eq!(commit(&mut client, "g", NOBODY, 0, 50), NONE);
    delete(&node, &mut client);
    drop(client);
    drop(node);
    bench.disk.end_process();
    bench.disk.crash(&SimRandom::new(7));
    let node = bench.start();
    load(&node);
    create_topic(&node, TOPIC, 3, &[]);
    let mut client = Connection::new(&node, 2);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![-1]));
    // The new topic's own offset takes the place of the old one.
    assert_eq!(commit(&mut client, "g", NOBODY, 0, 1), NONE);
    assert_eq!(fetch(&mut client, "g", &[0]), Ok(vec![1]));
    assert_eq!(leave(&mut client, "g", "m"), ErrorCode::UnknownMemberId);
}
