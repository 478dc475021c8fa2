//! Groups as clients see them, over a connection to a whole node.

use std::sync::Arc;
use std::time::Duration;

use millstream_coordinator::GroupConfig;
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_metadata::OFFSETS_TOPIC;
use millstream_node::{Node, NodeConfig};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use millstream_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millstream_protocol::messages::{
    HeartbeatRequest, HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, SyncGroupResponse,
};

use super::connection::{Connection, read};
use super::{NOW, TOPIC, create_topic};

/// Partitions of `__consumer_offsets`.
pub const SHARDS: i32 = 3;
/// Joins without being sent back for a member id, and knows instance ids (from 5 on) or not.
pub const JOIN: i16 = 3;
pub const JOIN_STATIC: i16 = 9;

/// A node that may be restarted.
pub struct Bench {
    pub disk: SimDisk,
    pub clock: Arc<SimClock>,
    pub config: GroupConfig,
}

impl Bench {
    pub fn new(config: GroupConfig) -> Bench {
        Bench {
            disk: SimDisk::default(),
            clock: Arc::new(SimClock::new(NOW)),
            config,
        }
    }

    /// Starts it. Groups are not loaded yet.
    pub fn start(&self) -> Node {
        let config = NodeConfig {
            log_directories: vec!["/data".into()],
            auto_create_topics: false,
            groups: self.config.clone(),
            group_shards: SHARDS as usize,
            ..NodeConfig::default()
        };
        let clock = Arc::clone(&self.clock);
        let random = Arc::new(SimRandom::new(1));
        Node::open(Arc::new(self.disk.clone()), clock, random, config).unwrap()
    }

    /// Starts it for the first time: with the topic and loaded groups.
    pub fn start_new(&self) -> Node {
        let node = self.start();
        create_topic(&node, TOPIC, 3, &[]);
        create_topic(
            &node,
            OFFSETS_TOPIC,
            SHARDS,
            &[("cleanup.policy", "compact")],
        );
        load(&node);
        node
    }

    /// Ends it cleanly, and starts it with loaded groups.
    pub fn restart(&self, node: Node) -> Node {
        node.close().unwrap();
        drop(node);
        self.disk.end_process();
        let node = self.start();
        load(&node);
        node
    }
}

/// Loads all groups.
pub fn load(node: &Node) {
    for shard in 0..SHARDS as usize {
        node.load_groups(shard);
    }
}

/// Lets time pass and runs the timers of groups.
pub fn pass(client: &mut Connection<'_>, node: &Node, clock: &SimClock, time: Duration) {
    clock.advance(time);
    for shard in 0..SHARDS as usize {
        client.carry_out(node.group_timeout(shard));
    }
    client.flush();
}

pub fn code(error: i16) -> ErrorCode {
    ErrorCode::from_code(error).unwrap()
}

/// What the members of the tests subscribe to: the topic.
pub fn subscription() -> Vec<u8> {
    let mut bytes = b"\x00\x00\x00\x00\x00\x01".to_vec();
    bytes.extend((TOPIC.len() as u16).to_be_bytes());
    bytes.extend(TOPIC.as_bytes());
    bytes.extend(b"\x00\x00\x00\x00");
    bytes
}

/// A JoinGroup of a consumer with a session of 10 s.
pub fn join_request(
    group: &str,
    member: &str,
    instance: Option<&str>,
) -> JoinGroupRequest<'static> {
    JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        member_id: member.to_owned().into(),
        group_instance_id: instance.map(|instance| instance.to_owned().into()),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: subscription().into(),
        }],
        ..JoinGroupRequest::default()
    }
}

/// What a JoinGroup was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    pub error: ErrorCode,
    pub member: String,
    pub generation: i32,
    pub leader: String,
    pub members: Vec<String>,
}

pub fn joined(client: &mut Connection<'_>, version: i16) -> Option<Joined> {
    let bytes = client.receive()?;
    let answer: JoinGroupResponse<'_> = read::<JoinGroupRequest<'_>, _>(&bytes, version);
    let members = answer.members.iter();
    Some(Joined {
        error: code(answer.error_code),
        member: answer.member_id.to_string(),
        generation: answer.generation_id,
        leader: answer.leader.to_string(),
        members: members.map(|member| member.member_id.to_string()).collect(),
    })
}

/// Joins a group alone, and is answered at once.
pub fn join(client: &mut Connection<'_>, group: &str, member: &str) -> Joined {
    client
        .send(JOIN, &join_request(group, member, None))
        .unwrap();
    joined(client, JOIN).expect("an answer")
}

/// A SyncGroup; `members` are those that the leader gives something.
pub fn sync_request(
    group: &str,
    member: &str,
    generation: i32,
    members: &[&str],
) -> SyncGroupRequest<'static> {
    let given = members.iter().map(|member| SyncGroupRequestAssignment {
        member_id: member.to_string().into(),
        assignment: format!("for {member}").into_bytes().into(),
    });
    SyncGroupRequest {
        group_id: group.to_owned().into(),
        generation_id: generation,
        member_id: member.to_owned().into(),
        assignments: given.collect(),
        ..SyncGroupRequest::default()
    }
}

pub const SYNC: i16 = 3;

pub fn synced(client: &mut Connection<'_>) -> Option<(ErrorCode, Vec<u8>)> {
    let bytes = client.receive()?;
    let answer: SyncGroupResponse<'_> = read::<SyncGroupRequest<'_>, _>(&bytes, SYNC);
    Some((code(answer.error_code), answer.assignment.to_vec()))
}

/// Becomes the only member of a group, in a generation that is stable. Its id.
pub fn settle(client: &mut Connection<'_>, group: &str) -> Joined {
    let joined = join(client, group, "");
    assert_eq!(joined.error, ErrorCode::None);
    let member = joined.member.as_str();
    client
        .send(
            SYNC,
            &sync_request(group, member, joined.generation, &[member]),
        )
        .unwrap();
    client.flush();
    let (error, _) = synced(client).expect("an answer");
    assert_eq!(error, ErrorCode::None);
    joined
}

pub fn heartbeat(
    client: &mut Connection<'_>,
    group: &str,
    member: &str,
    generation: i32,
) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: group.to_owned().into(),
        generation_id: generation,
        member_id: member.to_owned().into(),
        ..HeartbeatRequest::default()
    };
    let bytes = client.ask(2, &request);
    let answer: HeartbeatResponse = read::<HeartbeatRequest<'_>, _>(&bytes, 2);
    code(answer.error_code)
}

pub fn leave(client: &mut Connection<'_>, group: &str, member: &str) -> ErrorCode {
    let request = LeaveGroupRequest {
        group_id: group.to_owned().into(),
        member_id: member.to_owned().into(),
        ..LeaveGroupRequest::default()
    };
    let bytes = client.ask(2, &request);
    let answer: LeaveGroupResponse<'_> = read::<LeaveGroupRequest<'_>, _>(&bytes, 2);
    code(answer.error_code)
}

/// A commit of this member; generation −1: of a client without membership.
pub fn commit_request(
    group: &str,
    (member, generation): (&str, i32),
    (topic, partition): (&str, i32),
    offset: i64,
) -> OffsetCommitRequest<'static> {
    OffsetCommitRequest {
        group_id: group.to_owned().into(),
        generation_id_or_member_epoch: generation,
        member_id: member.to_owned().into(),
        topics: vec![OffsetCommitRequestTopic {
            name: topic.to_owned().into(),
            partitions: vec![OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset,
                ..OffsetCommitRequestPartition::default()
            }],
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

/// Commits one offset of the topic and is told whether it is taken.
pub fn commit(
    client: &mut Connection<'_>,
    group: &str,
    who: (&str, i32),
    partition: i32,
    offset: i64,
) -> ErrorCode {
    let request = commit_request(group, who, (TOPIC, partition), offset);
    let bytes = client.ask(8, &request);
    let answer: OffsetCommitResponse<'_> = read::<OffsetCommitRequest<'_>, _>(&bytes, 8);
    code(answer.topics[0].partitions[0].error_code)
}

/// A client without membership.
pub const NOBODY: (&str, i32) = ("", -1);

/// The offsets of these partitions of the topic, or why not.
pub fn fetch(
    client: &mut Connection<'_>,
    group: &str,
    partitions: &[i32],
) -> Result<Vec<i64>, ErrorCode> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.to_owned().into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.into(),
                partition_indexes: partitions.to_vec(),
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let bytes = client.ask(8, &request);
    let answer: OffsetFetchResponse<'_> = read::<OffsetFetchRequest<'_>, _>(&bytes, 8);
    let group = &answer.groups[0];
    if group.error_code != 0 {
        return Err(code(group.error_code));
    }
    let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
    Ok(partitions
        .map(|partition| partition.committed_offset)
        .collect())
}
