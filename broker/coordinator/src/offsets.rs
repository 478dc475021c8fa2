//! The offsets one group has committed.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
use millstream_protocol::messages::OffsetCommitValue;

/// One committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record the group wants. Not checked: clients may store any number.
    pub offset: Offset,
    /// The leader epoch of the last record consumed, or [`LeaderEpoch::NONE`].
    pub leader_epoch: LeaderEpoch,
    /// The client's note.
    pub metadata: Box<str>,
    /// When it was committed.
    pub commit_timestamp: WallTime,
    /// When it expires, where the client said so (OffsetCommit 2–4), else [`WallTime::NONE`].
    pub expire_timestamp: WallTime,
    /// The topic's id at the commit, or [`TopicId::ZERO`] in records of old.
    pub topic_id: TopicId,
}

impl CommittedOffset {
    /// Reads a record's value.
    pub(crate) fn from_value(value: &OffsetCommitValue<'_>) -> CommittedOffset {
        CommittedOffset {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch(value.leader_epoch),
            metadata: value.metadata.as_ref().into(),
            commit_timestamp: WallTime(value.commit_timestamp),
            expire_timestamp: WallTime(value.expire_timestamp),
            topic_id: TopicId(value.topic_id),
        }
    }

    /// Whether it was committed for another topic of the same name than `present`. An id that is
    /// not known on either side tells nothing: never forget an offset on a guess.
    pub(crate) fn is_of_other_topic(&self, present: Option<TopicId>) -> bool {
        let known = !self.topic_id.is_zero();
        known && present.is_some_and(|present| !present.is_zero() && present != self.topic_id)
    }
}

/// A group's offsets by topic name and partition.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, CommittedOffset>>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// The offset of a partition.
    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    /// Sets the offset of a partition.
    pub(crate) fn insert(&mut self, topic: &str, partition: i32, offset: CommittedOffset) {
        if let Some(partitions) = self.topics.get_mut(topic) {
            partitions.insert(partition, offset);
        } else {
            self.topics
                .insert(topic.into(), BTreeMap::from([(partition, offset)]));
        }
    }

    /// Forgets the offset of a partition.
    pub(crate) fn remove(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else {
            return;
        };
        partitions.remove(&partition);
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    /// The partitions of one topic.
    pub(crate) fn of_topic(&self, topic: &str) -> Option<&BTreeMap<i32, CommittedOffset>> {
        self.topics.get(topic)
    }

    /// All topics, in order of their names.
    pub(crate) fn topics(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<i32, CommittedOffset>)> {
        self.topics.iter()
    }

    /// Every offset, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions
                .iter()
                .map(move |(partition, offset)| (topic, *partition, offset))
        })
    }
}
