//! OffsetCommit, versions 2–10: a group stores how far it has read.
//!
//! A member commits under its generation; a client without group management commits with a negative
//! generation while the group has no members, which makes the group if need be. Versions 2–4 may
//! ask for a retention of their own, 6 adds the leader epoch (KIP-320), 7 static members, 10 names
//! topics by id (KIP-848). Partitions are judged one by one; the group is not looked at when none of
//! them exists.
//!
//! Stricter than Kafka, which takes the last one: the same partition twice is INVALID_REQUEST for both.
//!
//! Offsets are not compared with the log: a client may store what it likes.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_model::{Instant, TopicId, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use millstream_protocol::messages::{
    OffsetCommitKey, OffsetCommitRequest, OffsetCommitResponse, OffsetCommitValue,
};

use crate::group::{Group, State};
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::refusal::refuse_commit;
use crate::{CoordinatorRecord, RequestContext, Shard, TopicLookup};

/// A topic of a request, found.
struct Found<'a> {
    name: Cow<'a, str>,
    id: TopicId,
    partitions: i32,
}

impl Shard {
    /// Takes an OffsetCommit.
    pub fn handle_offset_commit(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &OffsetCommitRequest<'_>,
        topics: &dyn TopicLookup,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let body = match self.check_loaded() {
            Ok(()) => self.commit(now, wall, context, request, topics, &mut outcome),
            Err(code) => refuse_commit(request, code),
        };
        let after = if outcome.records.is_empty() {
            After::Immediate
        } else {
            After::Records
        };
        outcome.answer(context.token, after, GroupAnswer::Commit(body));
        outcome
    }

    fn commit(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &OffsetCommitRequest<'_>,
        topics: &dyn TopicLookup,
        outcome: &mut Outcome,
    ) -> OffsetCommitResponse<'static> {
        let found: Vec<_> = request
            .topics
            .iter()
            .map(|topic| find(topic, context.api_version, topics))
            .collect();
        let twice = partitions_named_twice(request);
        let mut checked = None;
        let mut response = OffsetCommitResponse::default();
        for (topic, found) in request.topics.iter().zip(&found) {
            let judged = topic.partitions.iter().map(|partition| {
                let found = check_partition(found, partition)?;
                if twice.contains(&named(topic, partition)) {
                    return Err(ErrorCode::InvalidRequest);
                }
                checked
                    .get_or_insert_with(|| self.check_commit(now, wall, context, request))
                    .as_ref()
                    .map_err(|code| *code)?;
                self.check_metadata(partition)?;
                outcome
                    .records
                    .push(record(request, wall, found, partition));
                Ok(())
            });
            let judged: Vec<Result<(), ErrorCode>> = judged.collect();
            response.topics.push(answer(topic, &judged));
        }
        let bytes: usize = outcome
            .records
            .iter()
            .map(CoordinatorRecord::size_in_bytes)
            .sum();
        if bytes > self.config().records_max_bytes {
            outcome.records.clear();
            return refuse_commit(request, ErrorCode::InvalidCommitOffsetSize);
        }
        response
    }

    /// Whether the group takes a commit of this client. A member that commits lives.
    fn check_commit(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &OffsetCommitRequest<'_>,
    ) -> Result<(), ErrorCode> {
        let mut outcome = Outcome::default();
        let Some((group, mut step)) = self.step(now, wall, &request.group_id, &mut outcome) else {
            return self.check_commit_to_new_group(context, request);
        };
        group.check_commit(request)?;
        if !matches!(group.state, State::CompletingRebalance) {
            group.restart_session(&mut step, &request.member_id);
        }
        Ok(())
    }

    fn check_commit_to_new_group(
        &self,
        context: &RequestContext<'_>,
        request: &OffsetCommitRequest<'_>,
    ) -> Result<(), ErrorCode> {
        if !Shard::is_storable(&request.group_id) {
            return Err(ErrorCode::InvalidGroupId);
        }
        if request.generation_id_or_member_epoch < 0 {
            let has_room = self.has_room_for_group();
            return if has_room {
                Ok(())
            } else {
                Err(ErrorCode::PolicyViolation)
            };
        }
        match context.api_version {
            ..=8 => Err(ErrorCode::IllegalGeneration),
            _ => Err(ErrorCode::GroupIdNotFound),
        }
    }

    fn check_metadata(
        &self,
        partition: &OffsetCommitRequestPartition<'_>,
    ) -> Result<(), ErrorCode> {
        let bytes = partition
            .committed_metadata
            .as_ref()
            .map_or(0, |metadata| metadata.len());
        if bytes > self.config().offset_metadata_max_bytes {
            return Err(ErrorCode::OffsetMetadataTooLarge);
        }
        Ok(())
    }
}

impl Group {
    fn check_commit(&self, request: &OffsetCommitRequest<'_>) -> Result<(), ErrorCode> {
        let generation_id = request.generation_id_or_member_epoch;
        let instance_id = request.group_instance_id.as_deref();
        if generation_id < 0 && self.is_empty() {
            return Ok(());
        }
        if generation_id < 0 && request.member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_generation(&request.member_id, instance_id, generation_id)?;
        match self.state {
            State::CompletingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::PreparingRebalance(_) | State::Stable => Ok(()),
        }
    }
}

/// A partition as a request names it.
type Named<'a> = (&'a str, [u8; 16], i32);

fn named<'a>(
    topic: &'a OffsetCommitRequestTopic<'_>,
    partition: &OffsetCommitRequestPartition<'_>,
) -> Named<'a> {
    (&topic.name, topic.topic_id, partition.partition_index)
}

/// The partitions that a request names more than once.
fn partitions_named_twice<'a>(request: &'a OffsetCommitRequest<'_>) -> BTreeSet<Named<'a>> {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    for topic in &request.topics {
        for partition in &topic.partitions {
            let name = named(topic, partition);
            if !seen.insert(name) {
                twice.insert(name);
            }
        }
    }
    twice
}

fn find<'a>(
    topic: &'a OffsetCommitRequestTopic<'_>,
    api_version: i16,
    topics: &'a dyn TopicLookup,
) -> Result<Found<'a>, ErrorCode> {
    let (name, code) = if api_version >= 10 {
        (
            topics.topic_name(TopicId(topic.topic_id)),
            ErrorCode::UnknownTopicId,
        )
    } else {
        (Some(&*topic.name), ErrorCode::UnknownTopicOrPartition)
    };
    let name = name.ok_or(code)?;
    let (id, partitions) = topics.topic(name).ok_or(code)?;
    Ok(Found {
        name: Cow::Borrowed(name),
        id,
        partitions,
    })
}

fn check_partition<'a, 'b>(
    found: &'b Result<Found<'a>, ErrorCode>,
    partition: &OffsetCommitRequestPartition<'_>,
) -> Result<&'b Found<'a>, ErrorCode> {
    let found = found.as_ref().map_err(|code| *code)?;
    if (0..found.partitions).contains(&partition.partition_index) {
        Ok(found)
    } else {
        Err(ErrorCode::UnknownTopicOrPartition)
    }
}

fn record(
    request: &OffsetCommitRequest<'_>,
    wall: WallTime,
    found: &Found<'_>,
    partition: &OffsetCommitRequestPartition<'_>,
) -> CoordinatorRecord {
    let key = OffsetCommitKey {
        group: Cow::Borrowed(&request.group_id),
        topic: Cow::Borrowed(&found.name),
        partition: partition.partition_index,
    };
    let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
    let expire_timestamp = match request.retention_time_ms {
        ..0 => -1,
        retention => wall.0.saturating_add(retention),
    };
    let value = OffsetCommitValue {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: Cow::Borrowed(metadata),
        commit_timestamp: wall.0,
        expire_timestamp,
        topic_id: found.id.0,
    };
    CoordinatorRecord::offset(&key, Some(&value))
}

fn answer(
    topic: &OffsetCommitRequestTopic<'_>,
    judged: &[Result<(), ErrorCode>],
) -> OffsetCommitResponseTopic<'static> {
    let partitions = topic
        .partitions
        .iter()
        .zip(judged)
        .map(|(partition, judged)| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: judged.err().unwrap_or(ErrorCode::None).code(),
        });
    OffsetCommitResponseTopic {
        name: Cow::Owned(topic.name.to_string()),
        topic_id: topic.topic_id,
        partitions: partitions.collect(),
    }
}
