//! One partition of `__consumer_offsets`: its groups, their timers, and how records become state.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{Instant, Offset, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{GroupMetadataValue, OffsetCommitKey, OffsetCommitValue};

use crate::group::{Group, State, Step};
use crate::member::Waiting;
use crate::offsets::CommittedOffset;
use crate::outcome::{After, Outcome, ParkedAnswer};
use crate::record::{Change, change_of};
use crate::timers::{Timer, Timers};
use crate::{CoordinatorRecord, GroupConfig, LoggedRecord, ReplayError};

/// The groups of one partition of `__consumer_offsets`.
///
/// It begins loading; after [`Shard::finish_loading`] it decides. Whoever holds it appends the
/// records of every [`Outcome`] and calls [`Shard::replay`] for each before the next decision.
#[derive(Debug)]
pub struct Shard {
    config: GroupConfig,
    is_loading: bool,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    timers: Timers,
    /// Exclusive end of the last deletion of a group: what reads of unknown groups wait for.
    removed_end: Offset,
    unknown_records: u64,
}

/// The part of a group that its records say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableGroup {
    /// The group's id.
    pub group_id: Arc<str>,
    /// `Empty` or `Stable`, the states that are stored. `None` while the group rebalances.
    pub state: Option<&'static str>,
    /// The stored generation; −1 while the group rebalances.
    pub generation_id: i32,
    /// The protocol of the stored generation.
    pub protocol: Option<Arc<str>>,
    /// The leader of the stored generation.
    pub leader: Option<Arc<str>>,
    /// The members of the stored generation by id; none while the group rebalances.
    pub members: Vec<DurableMember>,
    /// Offsets by topic and partition.
    pub offsets: Vec<(Arc<str>, i32, CommittedOffset)>,
}

/// The part of a member that a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableMember {
    /// The member's id.
    pub member_id: Arc<str>,
    /// Its instance id, when static.
    pub instance_id: Option<Arc<str>>,
    /// What it told the leader.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}

impl Shard {
    /// A shard whose records are still to be read.
    #[must_use]
    pub fn loading(config: GroupConfig) -> Shard {
        Shard {
            config,
            is_loading: true,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            removed_end: Offset::ZERO,
            unknown_records: 0,
        }
    }

    /// Takes records of the log, as read from it, in their order. Those of control batches are not for
    /// here.
    ///
    /// *Errors*: as those of [`Shard::replay`]. The records before it are taken.
    pub fn load(
        &mut self,
        records: impl IntoIterator<Item = LoggedRecord>,
    ) -> Result<(), ReplayError> {
        let mut records = records.into_iter();
        let mut next = records.next();
        while let Some(record) = next {
            next = match record.change()? {
                // A commit's records are of one group, which is looked for once.
                Change::Offset {
                    key,
                    value: Some(value),
                } => {
                    let group = self.replay_offset(record.offset, &key, &value);
                    group.load_offsets(&mut records)?
                }
                change => {
                    self.apply(record.offset, change);
                    records.next()
                }
            };
        }
        Ok(())
    }

    /// Applies one record right after it was appended at `offset`.
    ///
    /// *Errors*: the record is not of a known shape. Nothing has changed then. For a record of our own it
    /// is a bug.
    pub fn replay(
        &mut self,
        offset: Offset,
        record: &CoordinatorRecord,
    ) -> Result<(), ReplayError> {
        self.apply(
            offset,
            change_of(offset, &record.key, record.value.as_ref())?,
        );
        Ok(())
    }

    fn apply(&mut self, offset: Offset, change: Change<'_>) {
        match change {
            Change::Offset {
                key,
                value: Some(value),
            } => {
                self.replay_offset(offset, &key, &value);
            }
            Change::Offset { key, value: None } => {
                if let Some(group) = self.groups.get_mut(&*key.group) {
                    group.offsets.remove(&key.topic, key.partition);
                    group.applied_end = offset.next();
                }
            }
            Change::Group {
                key,
                value: Some(value),
            } => {
                self.replay_group(offset, &key.group, &value);
            }
            Change::Group { key, value: None } => self.replay_deletion(offset, &key.group),
            Change::Unknown => self.unknown_records += 1,
        }
    }

    /// All records are read: sessions begin, requests are answered from now on.
    pub fn finish_loading(&mut self, now: Instant) {
        assert!(self.is_loading, "a shard is loaded once");
        self.is_loading = false;
        for group in self.groups.values_mut() {
            for member in group.members.values_mut() {
                member.restart_session(&group.id, &mut self.timers, now);
            }
        }
    }

    /// Whether it is still loading.
    #[must_use]
    pub fn is_loading(&self) -> bool {
        self.is_loading
    }

    /// When [`Shard::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.timers.next_at()
    }

    /// Runs timers that are due, up to the first that makes records. The caller repeats it while
    /// [`Shard::next_timeout`] is not in the future.
    pub fn handle_timeout(&mut self, now: Instant, wall: WallTime) -> Outcome {
        let mut outcome = Outcome::default();
        while outcome.records.is_empty()
            && let Some(timer) = self.timers.pop_due(now)
        {
            self.handle_timer(now, wall, timer, &mut outcome);
        }
        outcome
    }

    fn handle_timer(&mut self, now: Instant, wall: WallTime, timer: Timer, outcome: &mut Outcome) {
        let id = match &timer {
            Timer::JoinPhase { group } | Timer::SyncPhase { group } => group,
            Timer::Session { group, .. } | Timer::PendingId { group, .. } => group,
        };
        let Some((group, mut step)) = self.step(now, wall, id, outcome) else {
            return;
        };
        match &timer {
            Timer::JoinPhase { .. } => group.handle_join_timer(&mut step),
            Timer::SyncPhase { .. } => group.handle_sync_timer(&mut step),
            Timer::Session { member, .. } => group.handle_session_timer(&mut step, member),
            Timer::PendingId { member, .. } => {
                group.take_pending_id(&mut step, member);
                group.complete_join_phase_if_ready(&mut step);
            }
        }
    }

    /// Takes out every call that waits, answered NOT_COORDINATOR: an append failed or the partition
    /// moved away, and this shard is dropped.
    #[must_use]
    pub fn drain_parked(&mut self) -> Vec<ParkedAnswer> {
        let mut outcome = Outcome::default();
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            let (now, wall) = (Instant::default(), WallTime::NONE);
            let Some((group, mut step)) = self.step(now, wall, &id, &mut outcome) else {
                continue;
            };
            for member in group.ids_where(|member| !matches!(member.waiting, Waiting::Nothing)) {
                group.refuse_waiting(&mut step, &member, ErrorCode::NotCoordinator);
            }
        }
        outcome.answers
    }

    /// How many records were skipped because this release does not keep their type.
    #[must_use]
    pub fn unknown_records(&self) -> u64 {
        self.unknown_records
    }

    /// How many groups it has.
    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// What would be the same if the log were loaded again: the groups that have records.
    #[must_use]
    pub fn durable_groups(&self) -> Vec<DurableGroup> {
        let stored = self
            .groups
            .values()
            .filter(|group| group.applied_end > Offset::ZERO);
        stored.map(Group::durable).collect()
    }

    pub(crate) fn config(&self) -> &GroupConfig {
        &self.config
    }

    pub(crate) fn check_loaded(&self) -> Result<(), ErrorCode> {
        if self.is_loading {
            Err(ErrorCode::CoordinatorLoadInProgress)
        } else {
            Ok(())
        }
    }

    /// Whether records can name the group: their keys hold strings of 32767 bytes at most.
    pub(crate) fn is_storable(id: &str) -> bool {
        id.len() <= i16::MAX as usize
    }

    pub(crate) fn has_group(&self, id: &str) -> bool {
        self.groups.contains_key(id)
    }

    pub(crate) fn has_room_for_group(&self) -> bool {
        self.groups.len() < self.config.groups_max
    }

    pub(crate) fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    pub(crate) fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// The condition of an answer that tells a group's durable state.
    pub(crate) fn after_reading(&self, group: Option<&Group>) -> After {
        After::Committed(group.map_or(self.removed_end, |group| group.applied_end))
    }

    /// A group, and what a step on it may touch.
    pub(crate) fn step<'a>(
        &'a mut self,
        now: Instant,
        wall: WallTime,
        id: &str,
        outcome: &'a mut Outcome,
    ) -> Option<(&'a mut Group, Step<'a>)> {
        let group = self.groups.get_mut(id)?;
        let step = Step {
            now,
            wall,
            config: &self.config,
            timers: &mut self.timers,
            outcome,
        };
        Some((group, step))
    }

    /// As [`Shard::step`], on a group that is made if need be.
    pub(crate) fn step_or_new_group<'a>(
        &'a mut self,
        now: Instant,
        wall: WallTime,
        id: &str,
        outcome: &'a mut Outcome,
    ) -> (&'a mut Group, Step<'a>) {
        let id: Arc<str> = id.into();
        let group = self
            .groups
            .entry(id.clone())
            .or_insert_with(|| Group::new(id, wall));
        let step = Step {
            now,
            wall,
            config: &self.config,
            timers: &mut self.timers,
            outcome,
        };
        (group, step)
    }

    /// Answers the group that committed it.
    fn replay_offset(
        &mut self,
        offset: Offset,
        key: &OffsetCommitKey<'_>,
        value: &OffsetCommitValue<'_>,
    ) -> &mut Group {
        let group = self.group_to_replay(&key.group, WallTime(value.commit_timestamp));
        group.replay_offset(offset, key, value);
        group
    }

    fn replay_group(&mut self, offset: Offset, id: &str, value: &GroupMetadataValue<'_>) {
        self.group_to_replay(id, WallTime::NONE).applied_end = offset.next();
        if let Some(group) = self.groups.get_mut(id) {
            group.replay(value, &mut self.timers);
        }
    }

    /// A deleted group loses all but offsets that were committed to it since.
    fn replay_deletion(&mut self, offset: Offset, id: &str) {
        self.removed_end = offset.next();
        let Some(mut group) = self.groups.remove(id) else {
            return;
        };
        group.disarm(&mut self.timers);
        if group.offsets.is_empty() {
            return;
        }
        let mut simple = Group::new(group.id.clone(), group.state_since);
        simple.offsets = group.offsets;
        simple.applied_end = offset.next();
        self.groups.insert(group.id, simple);
    }

    fn group_to_replay(&mut self, id: &str, wall: WallTime) -> &mut Group {
        if !self.groups.contains_key(id) {
            let id: Arc<str> = id.into();
            self.groups.insert(id.clone(), Group::new(id, wall));
        }
        self.groups.get_mut(id).expect("just made")
    }
}

impl Group {
    fn replay_offset(
        &mut self,
        offset: Offset,
        key: &OffsetCommitKey<'_>,
        value: &OffsetCommitValue<'_>,
    ) {
        let committed = CommittedOffset::from_value(value);
        self.offsets.insert(&key.topic, key.partition, committed);
        self.applied_end = offset.next();
    }

    /// Takes records as long as they are offsets of this group. Answers the first that is not.
    fn load_offsets(
        &mut self,
        records: &mut impl Iterator<Item = LoggedRecord>,
    ) -> Result<Option<LoggedRecord>, ReplayError> {
        for record in records {
            match record.change()? {
                Change::Offset {
                    key,
                    value: Some(value),
                } if *key.group == *self.id => self.replay_offset(record.offset, &key, &value),
                _ => return Ok(Some(record)),
            }
        }
        Ok(None)
    }

    fn handle_session_timer(&mut self, step: &mut Step<'_>, member_id: &str) {
        let Some(member) = self.members.get_mut(member_id) else {
            return;
        };
        if member.handle_session_timer(&self.id, step.timers, step.now) {
            self.remove_member(step, member_id, ErrorCode::UnknownMemberId);
            self.rebalance(step);
        }
    }

    fn durable(&self) -> DurableGroup {
        let is_stored = matches!(self.state, State::Empty | State::Stable);
        let protocol = self.protocol.clone().filter(|_| is_stored);
        let members = self
            .members
            .values()
            .filter(|_| is_stored)
            .map(|member| DurableMember {
                member_id: member.id.clone(),
                instance_id: member.instance_id.clone(),
                subscription: member.metadata_of(protocol.as_deref().unwrap_or_default()),
                assignment: member.assignment.clone(),
            });
        let offsets = self
            .offsets
            .iter()
            .map(|(topic, partition, offset)| (topic.clone(), partition, offset.clone()));
        DurableGroup {
            group_id: self.id.clone(),
            state: is_stored.then(|| self.state_name()),
            generation_id: if is_stored { self.generation_id } else { -1 },
            members: members.collect(),
            leader: self.leader.clone().filter(|_| is_stored),
            offsets: offsets.collect(),
            protocol,
        }
    }
}
