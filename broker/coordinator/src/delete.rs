//! Deletions: DeleteGroups (versions 0–3), OffsetDelete (version 0), the offsets of deleted topics,
//! and what has expired. All of them are tombstones; the order lets a batch be cut anywhere:
//! offsets first, their group last.

use std::borrow::Cow;
use std::sync::Arc;

use millstream_model::{TopicId, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::delete_groups_response::DeletableGroupResult;
use millstream_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use millstream_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use millstream_protocol::messages::{OffsetCommitKey, OffsetDeleteRequest, OffsetDeleteResponse};

use crate::group::{Group, State};
use crate::offsets::CommittedOffset;
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::subscription::Subscriptions;
use crate::{CoordinatorRecord, RequestContext, Shard, TopicLookup};

const CONSUMER: &str = "consumer";

impl Shard {
    /// Takes one group of a DeleteGroups.
    pub fn handle_delete_group(&self, context: &RequestContext<'_>, group_id: &str) -> Outcome {
        let mut records = Vec::new();
        let group = self.group(group_id);
        let (after, code) = match (self.check_loaded(), group) {
            (Err(code), _) => (After::Immediate, code),
            (Ok(()), None) => (self.after_reading(None), ErrorCode::GroupIdNotFound),
            (Ok(()), Some(group)) if !group.is_empty() => {
                (After::Immediate, ErrorCode::NonEmptyGroup)
            }
            (Ok(()), Some(group)) => {
                records.extend(group.offset_tombstones(|_, _| true));
                records.push(CoordinatorRecord::group(&group.id, None));
                (After::Records, ErrorCode::None)
            }
        };
        let body = DeletableGroupResult {
            group_id: Cow::Owned(group_id.to_owned()),
            error_code: code.code(),
            ..DeletableGroupResult::default()
        };
        let mut outcome = Outcome::of(context.token, after, GroupAnswer::Delete(body));
        outcome.records = records;
        outcome
    }

    /// Takes an OffsetDelete. A partition that does not exist is refused; one without an offset is not.
    pub fn handle_offset_delete(
        &self,
        context: &RequestContext<'_>,
        request: &OffsetDeleteRequest<'_>,
        topics: &dyn TopicLookup,
    ) -> Outcome {
        let mut records = Vec::new();
        let mut response = OffsetDeleteResponse::default();
        match self.check_offset_delete(&request.group_id) {
            Err(code) => response.error_code = code.code(),
            Ok((group, subscriptions)) => {
                for topic in &request.topics {
                    let is_refused = subscriptions
                        .as_ref()
                        .is_some_and(|s| s.may_include(&topic.name));
                    let partitions = topics.topic(&topic.name).map_or(0, |(_, count)| count);
                    let answer = group.delete_offsets(topic, partitions, is_refused, &mut records);
                    response.topics.push(answer);
                }
            }
        }
        let group = self.group(&request.group_id);
        let after = if records.is_empty() {
            self.after_reading(group)
        } else {
            After::Records
        };
        let body = GroupAnswer::OffsetDelete(response);
        let mut outcome = Outcome::of(context.token, after, body);
        outcome.records = records;
        outcome
    }

    fn check_offset_delete(
        &self,
        group_id: &str,
    ) -> Result<(&Group, Option<Subscriptions>), ErrorCode> {
        self.check_loaded()?;
        let group = self.group(group_id).ok_or(ErrorCode::GroupIdNotFound)?;
        if group.is_empty() {
            return Ok((group, None));
        }
        if group.protocol_type.as_deref() != Some(CONSUMER) {
            return Err(ErrorCode::NonEmptyGroup);
        }
        Ok((group, Some(Subscriptions::of(group))))
    }

    /// Topics were deleted: forgets their offsets in all groups. Offsets of a newer topic of the same
    /// name stay. The groups stay too.
    pub fn handle_topics_deleted(&self, deleted: &[(Arc<str>, TopicId)]) -> Outcome {
        let mut outcome = Outcome::default();
        for group in self.groups() {
            let records = deleted.iter().flat_map(|(name, id)| {
                let of_topic = group.offsets.of_topic(name).into_iter().flatten();
                let dead = of_topic
                    .filter(|(_, offset)| offset.topic_id.is_zero() || offset.topic_id == *id);
                dead.map(|(partition, _)| group.offset_tombstone(name, *partition))
            });
            outcome.records.extend(records);
        }
        outcome
    }

    /// Forgets what has expired: offsets nobody has used for the retention time, and groups that have
    /// nothing left. Stops after the group that brings the records past `records_max`; the rest
    /// waits for the next run.
    pub fn handle_expiry(&self, wall: WallTime, records_max: usize) -> Outcome {
        let mut outcome = Outcome::default();
        if self.is_loading() {
            return outcome;
        }
        for group in self.groups() {
            group.expire(
                wall,
                self.config().offsets_retention.as_millis(),
                &mut outcome.records,
            );
            if outcome.records.len() >= records_max {
                break;
            }
        }
        outcome
    }
}

impl Group {
    fn offset_tombstone(&self, topic: &str, partition: i32) -> CoordinatorRecord {
        let key = OffsetCommitKey {
            group: Cow::Borrowed(&*self.id),
            topic: Cow::Borrowed(topic),
            partition,
        };
        CoordinatorRecord::offset(&key, None)
    }

    fn offset_tombstones(
        &self,
        is_dead: impl Fn(&str, &CommittedOffset) -> bool,
    ) -> Vec<CoordinatorRecord> {
        let dead = self
            .offsets
            .iter()
            .filter(|(topic, _, offset)| is_dead(topic, offset));
        dead.map(|(topic, partition, _)| self.offset_tombstone(topic, partition))
            .collect()
    }

    fn delete_offsets(
        &self,
        topic: &OffsetDeleteRequestTopic<'_>,
        present: i32,
        is_refused: bool,
        records: &mut Vec<CoordinatorRecord>,
    ) -> OffsetDeleteResponseTopic<'static> {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let code = if !(0..present).contains(&index) {
                ErrorCode::UnknownTopicOrPartition
            } else if is_refused {
                ErrorCode::GroupSubscribedToTopic
            } else {
                ErrorCode::None
            };
            if code == ErrorCode::None && self.offsets.get(&topic.name, index).is_some() {
                records.push(self.offset_tombstone(&topic.name, index));
            }
            OffsetDeleteResponsePartition {
                partition_index: index,
                error_code: code.code(),
            }
        });
        OffsetDeleteResponseTopic {
            name: Cow::Owned(topic.name.to_string()),
            partitions: partitions.collect(),
        }
    }

    /// An offset counts from its commit, and while the group has members not at all, unless they are
    /// consumers that no longer subscribe to its topic. In a group that became empty it counts from
    /// then at the earliest.
    fn expire(&self, wall: WallTime, retention_ms: u128, records: &mut Vec<CoordinatorRecord>) {
        let subscriptions = match self.state {
            State::Empty => None,
            State::Stable if self.protocol_type.as_deref() == Some(CONSUMER) => {
                Some(Subscriptions::of(self))
            }
            _ => return,
        };
        let became_empty = self.protocol_type.is_some() && self.is_empty();
        let retention_ms = i64::try_from(retention_ms).unwrap_or(i64::MAX);
        let is_dead = |topic: &str, offset: &CommittedOffset| {
            if subscriptions
                .as_ref()
                .is_some_and(|known| known.may_include(topic))
            {
                return false;
            }
            if offset.expire_timestamp != WallTime::NONE {
                return wall >= offset.expire_timestamp;
            }
            let since = offset.commit_timestamp.0;
            let since = if became_empty {
                since.max(self.state_since.0)
            } else {
                since
            };
            wall.0.saturating_sub(since) >= retention_ms
        };
        let tombstones = self.offset_tombstones(is_dead);
        let nothing_left = tombstones.len() == self.offsets.iter().count();
        records.extend(tombstones);
        if nothing_left && self.is_empty() && self.pending_ids.is_empty() {
            records.push(CoordinatorRecord::group(&self.id, None));
        }
    }
}
