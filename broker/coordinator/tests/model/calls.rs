//! The calls that clients make.

use millstream_coordinator::{RequestContext, TopicLookup};
use millstream_model::{RequestToken, TopicId};
use millstream_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millstream_protocol::messages::leave_group_request::MemberIdentity;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use millstream_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millstream_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, OffsetCommitRequest, SyncGroupRequest,
};

use crate::client::PARTITIONS;
use crate::world::{SESSION, World};

/// A call under way.
pub struct Call {
    pub client: usize,
    pub life: u64,
    pub version: i16,
    /// For a commit what it stores, for a fetch what it must at least give.
    pub offset: Option<(i32, i64)>,
}

struct OneTopic;

impl TopicLookup for OneTopic {
    fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        (name == "t").then_some((TopicId([1; 16]), PARTITIONS))
    }

    fn topic_name(&self, _: TopicId) -> Option<&str> {
        Some("t")
    }
}

impl World {
    /// Registers a call and names who makes it.
    pub fn call(
        &mut self,
        number: usize,
        version: i16,
        offset: Option<(i32, i64)>,
    ) -> RequestContext<'static> {
        self.call_count += 1;
        let client = &mut self.clients[number];
        client.call = Some(self.call_count);
        let call = Call {
            client: number,
            life: client.life,
            version,
            offset,
        };
        self.calls.insert(self.call_count, call);
        RequestContext {
            token: RequestToken {
                connection: number as u64,
                request: self.call_count,
            },
            client_id: "client",
            client_host: "/host",
            api_version: version,
        }
    }

    pub fn join(&mut self, number: usize) {
        let context = self.call(number, self.clients[number].version, None);
        let client = &self.clients[number];
        let protocol = JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: vec![number as u8].into(),
        };
        let request = JoinGroupRequest {
            group_id: client.group.to_string().into(),
            session_timeout_ms: SESSION.as_millis() as i32,
            rebalance_timeout_ms: 10_000,
            member_id: client.member_id.clone().into(),
            group_instance_id: client.instance_id.clone().map(Into::into),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..JoinGroupRequest::default()
        };
        let bits = u128::from(self.below(u64::MAX)) << 64 | u128::from(self.below(u64::MAX));
        let (now, wall) = (self.instant(), self.wall());
        let outcome = self
            .shard
            .handle_join_group(now, wall, &context, &request, bits);
        self.take(outcome);
    }

    pub fn sync(&mut self, number: usize, shares: Vec<(String, Vec<u8>)>) {
        let context = self.call(number, 5, None);
        let client = &self.clients[number];
        let assignments = shares
            .into_iter()
            .map(|(member_id, share)| SyncGroupRequestAssignment {
                member_id: member_id.into(),
                assignment: share.into(),
            });
        let request = SyncGroupRequest {
            group_id: client.group.to_string().into(),
            generation_id: client.generation,
            member_id: client.member_id.clone().into(),
            group_instance_id: client.instance_id.clone().map(Into::into),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        let (now, wall) = (self.instant(), self.wall());
        let outcome = self.shard.handle_sync_group(now, wall, &context, &request);
        self.take(outcome);
    }

    pub fn beat(&mut self, number: usize) {
        let context = self.call(number, 4, None);
        let client = &self.clients[number];
        let request = HeartbeatRequest {
            group_id: client.group.to_string().into(),
            generation_id: client.generation,
            member_id: client.member_id.clone().into(),
            group_instance_id: client.instance_id.clone().map(Into::into),
        };
        let (now, wall) = (self.instant(), self.wall());
        let outcome = self.shard.handle_heartbeat(now, wall, &context, &request);
        self.take(outcome);
    }

    /// Commits a number larger than all before, so that a lost or mixed-up commit is seen.
    pub fn commit(&mut self, number: usize) {
        let offset = self.call_count as i64 + 1;
        let partition = self.clients[number]
            .partitions
            .first()
            .copied()
            .unwrap_or(0);
        let context = self.call(number, 9, Some((partition, offset)));
        let client = &self.clients[number];
        let partition = OffsetCommitRequestPartition {
            partition_index: partition,
            committed_offset: offset,
            committed_metadata: Some("".into()),
            ..OffsetCommitRequestPartition::default()
        };
        let topic = OffsetCommitRequestTopic {
            name: "t".into(),
            partitions: vec![partition],
            ..OffsetCommitRequestTopic::default()
        };
        let request = OffsetCommitRequest {
            group_id: client.group.to_string().into(),
            generation_id_or_member_epoch: client.generation,
            member_id: client.member_id.clone().into(),
            group_instance_id: client.instance_id.clone().map(Into::into),
            topics: vec![topic],
            ..OffsetCommitRequest::default()
        };
        let (now, wall) = (self.instant(), self.wall());
        let outcome = self
            .shard
            .handle_offset_commit(now, wall, &context, &request, &OneTopic);
        self.take(outcome);
    }

    pub fn fetch(&mut self, number: usize) {
        let partition = self.below(PARTITIONS as u64) as i32;
        let group = self.clients[number].group;
        let floor = self.checker.floor(group, partition);
        let context = self.call(number, 9, Some((partition, floor)));
        let topic = OffsetFetchRequestTopics {
            name: "t".into(),
            partition_indexes: vec![partition],
            ..OffsetFetchRequestTopics::default()
        };
        let request = OffsetFetchRequestGroup {
            group_id: group.to_string().into(),
            topics: Some(vec![topic]),
            ..OffsetFetchRequestGroup::default()
        };
        let outcome = self
            .shard
            .handle_offset_fetch(&context, &request, &OneTopic);
        self.take(outcome);
    }

    pub fn leave(&mut self, number: usize) {
        let client = &self.clients[number];
        let (group, member_id) = (client.group.to_string(), client.member_id.clone());
        // Real clients leave over the connection of their other calls, after these.
        self.kill_client(number);
        if member_id.is_empty() {
            return;
        }
        let context = self.call(number, 5, None);
        self.clients[number].call = None;
        let request = LeaveGroupRequest {
            group_id: group.into(),
            members: vec![MemberIdentity {
                member_id: member_id.into(),
                ..MemberIdentity::default()
            }],
            ..LeaveGroupRequest::default()
        };
        let (now, wall) = (self.instant(), self.wall());
        let outcome = self.shard.handle_leave_group(now, wall, &context, &request);
        self.take(outcome);
    }
}
