//! Deletions that nobody asks for: what has expired, and the offsets of topics that are gone.
//!
//! A sweep goes through all groups of a shard, in order of their ids, and is cut into steps: none looks at more
//! than so many groups or writes more than so many tombstones, and between them the shard answers requests. A
//! step begins where the one before it ended, and is right whatever has happened in between.
//!
//! An offset is kept for the retention time (`offsets.retention.minutes`) after it was committed, and
//!
//! | group | is kept |
//! |---|---|
//! | simple: never had a member | no longer |
//! | empty | and for that time after its last member left |
//! | stable, of consumers | and as long as a member subscribes to its topic, or may |
//! | any other | always |
//!
//! All this is read from the records, so a restart shortens nothing (KAFKA-8069). A client may ask for a time of its
//! own (OffsetCommit 2–4). An empty group without offsets is removed.

use std::ops::Bound;
use std::sync::Arc;

use millstream_model::{TopicId, WallTime};

use crate::delete::CONSUMER;
use crate::group::{Group, State};
use crate::offsets::CommittedOffset;
use crate::outcome::Outcome;
use crate::subscription::Subscriptions;
use crate::{CoordinatorRecord, Shard};

/// How much one step of a sweep may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SweepLimits {
    /// Groups that are looked at.
    pub groups_max: usize,
    /// Tombstones that are written, one more for a group that goes with its last offset.
    pub records_max: usize,
}

/// A step takes a millisecond or two.
impl Default for SweepLimits {
    fn default() -> Self {
        SweepLimits {
            groups_max: 1000,
            records_max: 1000,
        }
    }
}

/// Where the next step of a sweep begins: the first group that was not looked through.
pub type SweepCursor = Arc<str>;

impl Shard {
    /// A step of the sweep for what has expired, from the first group or from `from` on. The sweep is over when there
    /// is no cursor.
    pub fn handle_expiry(
        &self,
        wall: WallTime,
        from: Option<&str>,
        limits: SweepLimits,
    ) -> (Outcome, Option<SweepCursor>) {
        let retention_ms =
            i64::try_from(self.config().offsets_retention.as_millis()).unwrap_or(i64::MAX);
        self.sweep(from, limits, |group, room, records| {
            group.expire(wall, retention_ms, room, records)
        })
    }

    /// A step of the sweep that forgets the offsets of deleted topics. Offsets of a newer topic of the same name stay.
    /// The groups stay too.
    pub fn handle_topics_deleted(
        &self,
        deleted: &[(Arc<str>, TopicId)],
        from: Option<&str>,
        limits: SweepLimits,
    ) -> (Outcome, Option<SweepCursor>) {
        self.sweep(from, limits, |group, room, records| {
            group.forget_topics(deleted, room, records)
        })
    }

    /// `look` is given a group, how many records it may write, and where; it answers whether it is done with the group.
    fn sweep(
        &self,
        from: Option<&str>,
        limits: SweepLimits,
        mut look: impl FnMut(&Group, usize, &mut Vec<CoordinatorRecord>) -> bool,
    ) -> (Outcome, Option<SweepCursor>) {
        let mut outcome = Outcome::default();
        if self.is_loading() {
            return (outcome, None);
        }
        for (looked_at, group) in self.groups_from(from).enumerate() {
            let room = limits.records_max.saturating_sub(outcome.records.len());
            let is_full = looked_at == limits.groups_max.max(1) || room == 0;
            if is_full || !look(group, room, &mut outcome.records) {
                return (outcome, Some(group.id.clone()));
            }
        }
        (outcome, None)
    }

    fn groups_from(&self, from: Option<&str>) -> impl Iterator<Item = &Group> {
        let start = from.map_or(Bound::Unbounded, Bound::Included);
        let range = self.groups.range::<str, _>((start, Bound::Unbounded));
        range.map(|(_, group)| group)
    }
}

impl Group {
    fn expire(
        &self,
        wall: WallTime,
        retention_ms: i64,
        room: usize,
        records: &mut Vec<CoordinatorRecord>,
    ) -> bool {
        let may_be_read = match self.state {
            State::Empty => false,
            State::Stable if self.protocol_type.as_deref() == Some(CONSUMER) => true,
            _ => return true,
        };
        let had_members = self.protocol_type.is_some() && self.is_empty();
        let kept_since = if had_members {
            self.state_since
        } else {
            WallTime::NONE
        };
        let is_old = |offset: &CommittedOffset| match offset.expire_timestamp {
            WallTime::NONE => {
                let since = offset.commit_timestamp.max(kept_since);
                wall.0.saturating_sub(since.0) >= retention_ms
            }
            asked_for => wall >= asked_for,
        };
        let mut subscriptions = None;
        let mut is_read = |topic: &str| {
            let known = || Subscriptions::of(self);
            may_be_read && subscriptions.get_or_insert_with(known).may_include(topic)
        };
        let (mut written, mut is_anything_left) = (0, false);
        for (topic, partition, offset) in self.offsets.iter() {
            if !is_old(offset) || is_read(topic) {
                is_anything_left = true;
            } else if written == room {
                return false;
            } else {
                records.push(self.offset_tombstone(topic, partition));
                written += 1;
            }
        }
        if !is_anything_left && self.is_empty() && self.pending_ids.is_empty() {
            records.push(CoordinatorRecord::group(&self.id, None));
        }
        true
    }

    fn forget_topics(
        &self,
        deleted: &[(Arc<str>, TopicId)],
        room: usize,
        records: &mut Vec<CoordinatorRecord>,
    ) -> bool {
        let offsets = deleted.iter().flat_map(|(name, id)| {
            let of_topic = self.offsets.of_topic(name).into_iter().flatten();
            let dead =
                of_topic.filter(|(_, offset)| offset.topic_id.is_zero() || offset.topic_id == *id);
            dead.map(move |(partition, _)| (name, *partition))
        });
        let mut tombstones =
            offsets.map(|(name, partition)| self.offset_tombstone(name, partition));
        records.extend(tombstones.by_ref().take(room));
        tombstones.next().is_none()
    }
}
