//! OffsetFetch, versions 1–10: what a group has committed.
//!
//! Up to version 7 a request asks for one group, from 8 on for several (KIP-709), which may live in
//! different shards: [`split_offset_fetch`] makes the groups of any version look alike and
//! [`join_offset_fetch`] puts their answers together. A null list of topics (from 2 on) asks for
//! all. Version 10 names topics by id.
//!
//! "No offset" makes a client start from an end of the log, so it is only answered when it is true:
//! not while loading, and not because a topic is not known at this moment. An offset of a deleted
//! topic is not given out for a new topic of the same name.
//!
//! Not here: `RequireStable` (7, KIP-447) has nothing to wait for until there are transactions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_model::TopicId;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use millstream_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use millstream_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use crate::group::Group;
use crate::offsets::CommittedOffset;
use crate::outcome::{GroupAnswer, Outcome};
use crate::refusal::{absent_offset, refuse_offset_fetch};
use crate::{After, RequestContext, Shard, TopicLookup};

/// The groups a request asks for, whatever its version.
#[must_use]
pub fn split_offset_fetch(
    api_version: i16,
    request: &OffsetFetchRequest<'_>,
) -> Vec<OffsetFetchRequestGroup<'static>> {
    if api_version >= 8 {
        return request.groups.iter().map(owned_group).collect();
    }
    let topics = request.topics.as_ref().map(|topics| {
        let owned = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: Cow::Owned(topic.name.to_string()),
            partition_indexes: topic.partition_indexes.clone(),
            ..OffsetFetchRequestTopics::default()
        });
        owned.collect()
    });
    let group_id = Cow::Owned(request.group_id.to_string());
    vec![OffsetFetchRequestGroup {
        group_id,
        topics,
        ..OffsetFetchRequestGroup::default()
    }]
}

fn owned_group(group: &OffsetFetchRequestGroup<'_>) -> OffsetFetchRequestGroup<'static> {
    let topics = group.topics.as_ref().map(|topics| {
        let owned = topics.iter().map(|topic| OffsetFetchRequestTopics {
            name: Cow::Owned(topic.name.to_string()),
            topic_id: topic.topic_id,
            partition_indexes: topic.partition_indexes.clone(),
        });
        owned.collect()
    });
    OffsetFetchRequestGroup {
        group_id: Cow::Owned(group.group_id.to_string()),
        member_id: group
            .member_id
            .as_deref()
            .map(|id| Cow::Owned(id.to_owned())),
        member_epoch: group.member_epoch,
        topics,
    }
}

/// The response of a version from the answers of its groups, in the order of the request.
#[must_use]
pub fn join_offset_fetch(
    api_version: i16,
    groups: Vec<OffsetFetchResponseGroup<'static>>,
) -> OffsetFetchResponse<'static> {
    if api_version >= 8 {
        return OffsetFetchResponse {
            groups,
            ..OffsetFetchResponse::default()
        };
    }
    let mut response = OffsetFetchResponse::default();
    for group in groups {
        response.error_code = group.error_code;
        response
            .topics
            .extend(group.topics.into_iter().map(single_group_topic));
    }
    response
}

fn single_group_topic(
    topic: OffsetFetchResponseTopics<'static>,
) -> OffsetFetchResponseTopic<'static> {
    let partitions = topic
        .partitions
        .into_iter()
        .map(|partition| OffsetFetchResponsePartition {
            partition_index: partition.partition_index,
            committed_offset: partition.committed_offset,
            committed_leader_epoch: partition.committed_leader_epoch,
            metadata: partition.metadata,
            error_code: partition.error_code,
        });
    OffsetFetchResponseTopic {
        name: topic.name,
        partitions: partitions.collect(),
    }
}

impl Shard {
    /// Takes one group of an OffsetFetch.
    pub fn handle_offset_fetch(
        &self,
        context: &RequestContext<'_>,
        request: &OffsetFetchRequestGroup<'_>,
        topics: &dyn TopicLookup,
    ) -> Outcome {
        if let Err(code) = self.check_loaded() {
            let body = refuse_offset_fetch(context.api_version, request, code);
            return Outcome::of(
                context.token,
                After::Immediate,
                GroupAnswer::OffsetFetch(body),
            );
        }
        let group = self.group(&request.group_id);
        let answered = match &request.topics {
            Some(asked) => {
                let by_id = context.api_version >= 10;
                asked
                    .iter()
                    .map(|topic| fetch_topic(group, topic, by_id, topics))
                    .collect()
            }
            None => {
                let by_id = context.api_version >= 10;
                group.map_or_else(Vec::new, |group| fetch_all(group, by_id, topics))
            }
        };
        let body = OffsetFetchResponseGroup {
            group_id: Cow::Owned(request.group_id.to_string()),
            topics: answered,
            error_code: ErrorCode::None.code(),
        };
        let after = self.after_reading(group);
        Outcome::of(context.token, after, GroupAnswer::OffsetFetch(body))
    }
}

fn fetch_topic(
    group: Option<&Group>,
    asked: &OffsetFetchRequestTopics<'_>,
    by_id: bool,
    topics: &dyn TopicLookup,
) -> OffsetFetchResponseTopics<'static> {
    let asked_id = TopicId(asked.topic_id);
    let name = if by_id {
        topics.topic_name(asked_id)
    } else {
        Some(&*asked.name)
    };
    let present = match name {
        _ if by_id => Some(asked_id),
        Some(name) => topics.topic(name).map(|(id, _)| id),
        None => None,
    };
    let partitions = asked.partition_indexes.iter().map(|&index| {
        let Some(name) = name else {
            return absent_offset(index, ErrorCode::UnknownTopicId);
        };
        let committed = group.and_then(|group| group.offsets.get(name, index));
        match committed.filter(|committed| !committed.is_of_other_topic(present)) {
            Some(committed) => present_offset(index, committed),
            None => absent_offset(index, ErrorCode::None),
        }
    });
    OffsetFetchResponseTopics {
        name: Cow::Owned(asked.name.to_string()),
        topic_id: asked.topic_id,
        partitions: partitions.collect(),
    }
}

/// By id, a topic whose id nobody knows is left out: it cannot be named.
fn fetch_all(
    group: &Group,
    by_id: bool,
    topics: &dyn TopicLookup,
) -> Vec<OffsetFetchResponseTopics<'static>> {
    let mut answered = Vec::new();
    for (name, partitions) in group.offsets.topics() {
        let present = topics.topic(name).map(|(id, _)| id);
        let topic = fetch_whole_topic(name, partitions, present);
        if let Some(topic) = topic.filter(|topic| !by_id || topic.topic_id != TopicId::ZERO.0) {
            answered.push(topic);
        }
    }
    answered
}

fn fetch_whole_topic(
    name: &str,
    partitions: &BTreeMap<i32, CommittedOffset>,
    present: Option<TopicId>,
) -> Option<OffsetFetchResponseTopics<'static>> {
    let of_this_topic = partitions
        .iter()
        .filter(|(_, offset)| !offset.is_of_other_topic(present));
    let answered: Vec<_> = of_this_topic
        .map(|(index, offset)| present_offset(*index, offset))
        .collect();
    let stored_id = partitions
        .values()
        .next_back()
        .map(|offset| offset.topic_id);
    (!answered.is_empty()).then(|| OffsetFetchResponseTopics {
        name: Cow::Owned(name.to_owned()),
        topic_id: present.or(stored_id).unwrap_or_default().0,
        partitions: answered,
    })
}

fn present_offset(
    index: i32,
    committed: &CommittedOffset,
) -> OffsetFetchResponsePartitions<'static> {
    OffsetFetchResponsePartitions {
        partition_index: index,
        committed_offset: committed.offset.0,
        committed_leader_epoch: committed.leader_epoch.0,
        metadata: Some(Cow::Owned(committed.metadata.to_string())),
        error_code: ErrorCode::None.code(),
    }
}
