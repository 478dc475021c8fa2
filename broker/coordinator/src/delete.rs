//! Deletions that are asked for: DeleteGroups (versions 0–3) and OffsetDelete (version 0). They are
//! tombstones; the order lets a batch be cut anywhere: offsets first, their group last.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::delete_groups_response::DeletableGroupResult;
use millstream_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use millstream_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use millstream_protocol::messages::{OffsetCommitKey, OffsetDeleteRequest, OffsetDeleteResponse};

use crate::group::Group;
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::subscription::Subscriptions;
use crate::{CoordinatorRecord, RequestContext, Shard, TopicLookup};

/// The protocol type of consumers, whose subscriptions can be read.
pub(crate) const CONSUMER: &str = "consumer";

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
                let offsets = group.offsets.iter();
                records
                    .extend(offsets.map(|(topic, index, _)| group.offset_tombstone(topic, index)));
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
}

impl Group {
    pub(crate) fn offset_tombstone(&self, topic: &str, partition: i32) -> CoordinatorRecord {
        let key = OffsetCommitKey {
            group: Cow::Borrowed(&*self.id),
            topic: Cow::Borrowed(topic),
            partition,
        };
        CoordinatorRecord::offset(&key, None)
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
}
