//! The requests of a group's member.

use std::borrow::Cow;

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
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest,
    OffsetCommitRequest, OffsetFetchRequest, SyncGroupRequest,
};

use super::TOPIC;
use super::assignment::{assignment, subscription};
use crate::sim::Violation;

pub(super) const GROUP: &str = "group";
const PROTOCOL_TYPE: &str = "consumer";
const PROTOCOL: &str = "range";
/// The shortest the broker allows.
const SESSION_TIMEOUT_MS: i32 = 6_000;
const REBALANCE_TIMEOUT_MS: i32 = 10_000;

/// Who a member is to the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who<'a> {
    pub member_id: &'a str,
    /// Set for static members.
    pub instance_id: Option<&'a str>,
}

impl<'a> Who<'a> {
    fn instance_id(&self) -> Option<Cow<'a, str>> {
        self.instance_id.map(Cow::Borrowed)
    }
}

pub(crate) fn find_coordinator() -> FindCoordinatorRequest<'static> {
    FindCoordinatorRequest {
        coordinator_keys: vec![Cow::Borrowed(GROUP)],
        ..FindCoordinatorRequest::default()
    }
}

pub(crate) fn join<'a>(who: &Who<'a>) -> Result<JoinGroupRequest<'a>, Violation> {
    let protocol = JoinGroupRequestProtocol {
        name: Cow::Borrowed(PROTOCOL),
        metadata: Cow::Owned(subscription()?.to_vec()),
    };
    Ok(JoinGroupRequest {
        group_id: Cow::Borrowed(GROUP),
        session_timeout_ms: SESSION_TIMEOUT_MS,
        rebalance_timeout_ms: REBALANCE_TIMEOUT_MS,
        member_id: Cow::Borrowed(who.member_id),
        group_instance_id: who.instance_id(),
        protocol_type: Cow::Borrowed(PROTOCOL_TYPE),
        protocols: vec![protocol],
        ..JoinGroupRequest::default()
    })
}

/// `plan` is the leader's: who gets what. Empty from all others.
pub(crate) fn sync<'a>(
    who: &Who<'a>,
    generation_id: i32,
    plan: &'a [(String, Vec<i32>)],
) -> Result<SyncGroupRequest<'a>, Violation> {
    let mut assignments = Vec::new();
    for (member_id, partitions) in plan {
        assignments.push(SyncGroupRequestAssignment {
            member_id: Cow::Borrowed(member_id),
            assignment: Cow::Owned(assignment(partitions)?.to_vec()),
        });
    }
    Ok(SyncGroupRequest {
        group_id: Cow::Borrowed(GROUP),
        generation_id,
        member_id: Cow::Borrowed(who.member_id),
        group_instance_id: who.instance_id(),
        protocol_type: Some(Cow::Borrowed(PROTOCOL_TYPE)),
        protocol_name: Some(Cow::Borrowed(PROTOCOL)),
        assignments,
    })
}

pub(crate) fn heartbeat<'a>(who: &Who<'a>, generation_id: i32) -> HeartbeatRequest<'a> {
    HeartbeatRequest {
        group_id: Cow::Borrowed(GROUP),
        generation_id,
        member_id: Cow::Borrowed(who.member_id),
        group_instance_id: who.instance_id(),
    }
}

pub(crate) fn leave<'a>(who: &Who<'a>) -> LeaveGroupRequest<'a> {
    LeaveGroupRequest {
        group_id: Cow::Borrowed(GROUP),
        members: vec![MemberIdentity {
            member_id: Cow::Borrowed(who.member_id),
            group_instance_id: who.instance_id(),
            ..MemberIdentity::default()
        }],
        ..LeaveGroupRequest::default()
    }
}

pub(crate) fn commit<'a>(
    who: &Who<'a>,
    generation_id: i32,
    offsets: &[(i32, i64)],
) -> OffsetCommitRequest<'a> {
    let partitions = offsets
        .iter()
        .map(|(partition, offset)| OffsetCommitRequestPartition {
            partition_index: *partition,
            committed_offset: *offset,
            ..OffsetCommitRequestPartition::default()
        });
    OffsetCommitRequest {
        group_id: Cow::Borrowed(GROUP),
        generation_id_or_member_epoch: generation_id,
        member_id: Cow::Borrowed(who.member_id),
        group_instance_id: who.instance_id(),
        topics: vec![OffsetCommitRequestTopic {
            name: Cow::Borrowed(TOPIC),
            partitions: partitions.collect(),
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

pub(crate) fn offsets(partitions: impl Iterator<Item = i32>) -> OffsetFetchRequest<'static> {
    offsets_of(Some(vec![OffsetFetchRequestTopics {
        name: Cow::Borrowed(TOPIC),
        partition_indexes: partitions.collect(),
        ..OffsetFetchRequestTopics::default()
    }]))
}

/// Every offset that the group has committed.
pub(crate) fn all_offsets() -> OffsetFetchRequest<'static> {
    offsets_of(None)
}

fn offsets_of(
    topics: Option<Vec<OffsetFetchRequestTopics<'static>>>,
) -> OffsetFetchRequest<'static> {
    let group = OffsetFetchRequestGroup {
        group_id: Cow::Borrowed(GROUP),
        topics,
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest {
        groups: vec![group],
        require_stable: true,
        ..OffsetFetchRequest::default()
    }
}
