//! Answers that say no, in the shape each version has for it. The api uses them too, for groups
//! whose shard is not here.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::leave_group_response::MemberResponse;
use millstream_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use millstream_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use millstream_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use millstream_protocol::messages::{
    HeartbeatResponse, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse, SyncGroupResponse,
};

use crate::GroupAnswer;
use crate::describe::undescribed;

/// Refuses JoinGroup. `member_id` is what the answer names: the caller's id, or the one handed out.
#[must_use]
pub fn refuse_join(
    api_version: i16,
    member_id: &str,
    code: ErrorCode,
) -> JoinGroupResponse<'static> {
    JoinGroupResponse {
        error_code: code.code(),
        generation_id: -1,
        protocol_name: (api_version < 7).then_some(Cow::Borrowed("")),
        member_id: Cow::Owned(member_id.to_owned()),
        ..JoinGroupResponse::default()
    }
}

/// Refuses SyncGroup.
#[must_use]
pub fn refuse_sync(code: ErrorCode) -> SyncGroupResponse<'static> {
    SyncGroupResponse {
        error_code: code.code(),
        ..SyncGroupResponse::default()
    }
}

/// Refuses Heartbeat.
#[must_use]
pub fn refuse_heartbeat(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse {
        error_code: code.code(),
        ..HeartbeatResponse::default()
    }
}

/// Refuses LeaveGroup as a whole.
#[must_use]
pub fn refuse_leave(code: ErrorCode) -> LeaveGroupResponse<'static> {
    LeaveGroupResponse {
        error_code: code.code(),
        ..LeaveGroupResponse::default()
    }
}

/// Refuses every member of a LeaveGroup; the top level stays without error from version 3 on.
pub(crate) fn refuse_each_leave(
    api_version: i16,
    request: &LeaveGroupRequest<'_>,
    code: ErrorCode,
) -> LeaveGroupResponse<'static> {
    if api_version < 3 {
        return refuse_leave(code);
    }
    let members = request.members.iter().map(|member| MemberResponse {
        member_id: Cow::Owned(member.member_id.to_string()),
        group_instance_id: member
            .group_instance_id
            .as_deref()
            .map(|id| Cow::Owned(id.to_owned())),
        error_code: code.code(),
    });
    LeaveGroupResponse {
        members: members.collect(),
        ..LeaveGroupResponse::default()
    }
}

/// Refuses every partition of an OffsetCommit.
#[must_use]
pub fn refuse_commit(
    request: &OffsetCommitRequest<'_>,
    code: ErrorCode,
) -> OffsetCommitResponse<'static> {
    let topics = request
        .topics
        .iter()
        .map(|topic| OffsetCommitResponseTopic {
            name: Cow::Owned(topic.name.to_string()),
            topic_id: topic.topic_id,
            partitions: topic
                .partitions
                .iter()
                .map(|partition| OffsetCommitResponsePartition {
                    partition_index: partition.partition_index,
                    error_code: code.code(),
                })
                .collect(),
        });
    OffsetCommitResponse {
        topics: topics.collect(),
        ..OffsetCommitResponse::default()
    }
}

/// Refuses one group of an OffsetFetch. Version 1 knows errors of partitions only, later ones answer
/// no partitions.
#[must_use]
pub fn refuse_offset_fetch(
    api_version: i16,
    group: &OffsetFetchRequestGroup<'_>,
    code: ErrorCode,
) -> OffsetFetchResponseGroup<'static> {
    let asked = group.topics.iter().flatten().filter(|_| api_version < 2);
    let topics = asked.map(|topic| OffsetFetchResponseTopics {
        name: Cow::Owned(topic.name.to_string()),
        topic_id: topic.topic_id,
        partitions: topic
            .partition_indexes
            .iter()
            .map(|index| absent_offset(*index, code))
            .collect(),
    });
    OffsetFetchResponseGroup {
        group_id: Cow::Owned(group.group_id.to_string()),
        topics: topics.collect(),
        error_code: code.code(),
    }
}

/// The answer for a partition without an offset.
pub(crate) fn absent_offset(index: i32, code: ErrorCode) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Cow::Borrowed("")),
        error_code: code.code(),
    }
}

/// See [`GroupAnswer::into_refusal`].
pub(crate) fn refuse_answer(answer: GroupAnswer, api_version: i16, code: ErrorCode) -> GroupAnswer {
    match answer {
        GroupAnswer::Join(join) => {
            GroupAnswer::Join(refuse_join(api_version, &join.member_id, code))
        }
        GroupAnswer::Sync(_) => GroupAnswer::Sync(refuse_sync(code)),
        GroupAnswer::Heartbeat(_) => GroupAnswer::Heartbeat(refuse_heartbeat(code)),
        GroupAnswer::Leave(_) => GroupAnswer::Leave(refuse_leave(code)),
        GroupAnswer::Commit(mut commit) => {
            for topic in &mut commit.topics {
                for partition in &mut topic.partitions {
                    if partition.error_code == ErrorCode::None.code() {
                        partition.error_code = code.code();
                    }
                }
            }
            GroupAnswer::Commit(commit)
        }
        GroupAnswer::OffsetFetch(mut fetch) => {
            fetch.error_code = code.code();
            if api_version >= 2 {
                fetch.topics.clear();
            }
            for topic in &mut fetch.topics {
                for partition in &mut topic.partitions {
                    *partition = absent_offset(partition.partition_index, code);
                }
            }
            GroupAnswer::OffsetFetch(fetch)
        }
        GroupAnswer::OffsetDelete(_) => GroupAnswer::OffsetDelete(OffsetDeleteResponse {
            error_code: code.code(),
            ..OffsetDeleteResponse::default()
        }),
        GroupAnswer::Delete(mut delete) => {
            delete.error_code = code.code();
            GroupAnswer::Delete(delete)
        }
        GroupAnswer::Describe(describe) => {
            GroupAnswer::Describe(undescribed(&describe.group_id, "", code, None))
        }
        // Of the groups that are not coordinated here, nothing is listed.
        GroupAnswer::List(_) => GroupAnswer::List(Ok(Vec::new())),
    }
}
