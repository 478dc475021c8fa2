//! A classic group: its members and the state they are in together.
//!
//! ```text
//!            a member is added                     all joined, or the phase's time is over
//!   Empty ────────────────────► PreparingRebalance ─────────────────► CompletingRebalance
//!     ▲                           │   ▲      ▲                           │         │
//!     │   no member is left       │   │      │  member added, left,      │         │ the leader's
//!     └───────────────────────────┘   │      │  expired or changed,      │         │ assignment
//!        stored, generation + 1       │      │  or did not sync in time  │         │ is stored
//!                                     │      └───────────────────────────┘         ▼
//!                                     └───────────────────────────────────────── Stable
//!                                        the same, or the leader joins again
//! ```
//!
//! Entering Empty and Stable is durable: a record says it and replaying that record does it. The two
//! rebalancing states are volatile, the generation they count included; after a failover the group
//! stands where its last record left it and its members find out by their next heartbeat. A group
//! that is deleted is gone at once, so Kafka's fifth state, Dead, does not occur.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use millstream_model::{Instant, Offset, WallTime};
use millstream_protocol::ErrorCode;

use crate::GroupConfig;
use crate::member::{Joining, Member, ParkedCall, Waiting};
use crate::offsets::Offsets;
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::protocols::{Protocol, ProtocolCounts};
use crate::refusal::{refuse_join, refuse_sync};
use crate::timers::{Timer, TimerHandle, Timers};

/// What a step may look at and write to beside its group.
pub(crate) struct Step<'a> {
    pub(crate) now: Instant,
    pub(crate) wall: WallTime,
    pub(crate) config: &'a GroupConfig,
    pub(crate) timers: &'a mut Timers,
    pub(crate) outcome: &'a mut Outcome,
}

/// Where a group stands; see the drawing above.
#[derive(Debug)]
pub(crate) enum State {
    Empty,
    PreparingRebalance(JoinPhase),
    CompletingRebalance,
    Stable,
}

impl State {
    /// Kafka's names of them.
    pub(crate) const NAMES: [&'static str; 4] = [
        "Empty",
        "PreparingRebalance",
        "CompletingRebalance",
        "Stable",
    ];
}

/// The wait for members to join.
#[derive(Debug)]
pub(crate) struct JoinPhase {
    pub(crate) timer: TimerHandle,
    /// Set in a group that was empty and is given time to gather its first members: it ends by time
    /// only.
    pub(crate) initial: Option<InitialDelay>,
}

/// The first join phase of a group, prolonged while members keep coming.
#[derive(Debug)]
pub(crate) struct InitialDelay {
    /// How much longer it may get.
    pub(crate) budget: Duration,
    pub(crate) has_new_member: bool,
}

/// The wait for members to call SyncGroup; it outlasts CompletingRebalance.
#[derive(Debug)]
pub(crate) struct SyncPhase {
    pub(crate) timer: TimerHandle,
    pub(crate) missing: BTreeSet<Arc<str>>,
}

/// A classic group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) state: State,
    /// When it entered the last stored state.
    pub(crate) state_since: WallTime,
    pub(crate) generation_id: i32,
    /// None until a first member brings one; kept when the group becomes empty.
    pub(crate) protocol_type: Option<Arc<str>>,
    /// The protocol of this generation.
    pub(crate) protocol: Option<Arc<str>>,
    /// The member that assigns; set while there are members.
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Member by instance id.
    pub(crate) static_members: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids handed out to clients that must join again with them (KIP-394).
    pub(crate) pending_ids: BTreeMap<Arc<str>, TimerHandle>,
    pub(crate) protocol_counts: ProtocolCounts,
    /// How many members wait in JoinGroup.
    pub(crate) joining_count: usize,
    pub(crate) sync_phase: Option<SyncPhase>,
    pub(crate) offsets: Offsets,
    /// Exclusive end of the records that made its durable state.
    pub(crate) applied_end: Offset,
}

impl Group {
    /// A group nobody has joined.
    pub(crate) fn new(id: Arc<str>, wall: WallTime) -> Group {
        Group {
            id,
            state: State::Empty,
            state_since: wall,
            generation_id: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_ids: BTreeMap::new(),
            protocol_counts: ProtocolCounts::default(),
            joining_count: 0,
            sync_phase: None,
            offsets: Offsets::default(),
            applied_end: Offset::ZERO,
        }
    }

    /// Kafka's name of the state.
    pub(crate) fn state_name(&self) -> &'static str {
        let index = match self.state {
            State::Empty => 0,
            State::PreparingRebalance(_) => 1,
            State::CompletingRebalance => 2,
            State::Stable => 3,
        };
        State::NAMES[index]
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.state, State::Empty)
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether a member with this protocol type and these protocols fits in.
    pub(crate) fn accepts_protocols(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if self.is_empty() {
            return true;
        }
        let is_common = |own: &Protocol| {
            self.protocol_counts
                .is_common(&own.name, self.members.len())
        };
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(is_common)
    }

    /// The protocol that the next generation would choose.
    pub(crate) fn next_protocol(&self) -> Option<Arc<str>> {
        let lists = self
            .members
            .values()
            .map(|member| member.protocols.as_slice());
        self.protocol_counts.choose(self.members.len(), lists)
    }

    /// The largest rebalance timeout of the members: how long a phase may last.
    pub(crate) fn rebalance_timeout(&self) -> Duration {
        let timeouts = self.members.values().map(|member| member.rebalance_timeout);
        timeouts.max().unwrap_or_default()
    }

    /// The checks every call of a member begins with: its instance is known, and by this member id;
    /// the member is known.
    pub(crate) fn check_member(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.static_members.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(owner) if **owner != *member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) {
            Ok(())
        } else {
            Err(ErrorCode::UnknownMemberId)
        }
    }

    /// [`Group::check_member`], then the generation.
    pub(crate) fn check_generation(
        &self,
        member_id: &str,
        instance_id: Option<&str>,
        generation_id: i32,
    ) -> Result<(), ErrorCode> {
        self.check_member(member_id, instance_id)?;
        if generation_id == self.generation_id {
            Ok(())
        } else {
            Err(ErrorCode::IllegalGeneration)
        }
    }

    /// Adds a member that waits in its first JoinGroup.
    pub(crate) fn add_member(&mut self, id: Arc<str>, protocol_type: &str, joining: Joining) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.into());
        }
        let mut member = Member::new(id.clone());
        member.is_new = true;
        member.take_over(joining);
        self.insert_member(member);
        self.leader.get_or_insert(id);
    }

    pub(crate) fn insert_member(&mut self, member: Member) {
        self.protocol_counts.add(&member.protocols);
        if let Some(instance_id) = &member.instance_id {
            self.static_members
                .insert(instance_id.clone(), member.id.clone());
        }
        if let Some(double) = self.members.insert(member.id.clone(), member) {
            // Only a record that is not ours names a member twice.
            self.protocol_counts.remove(&double.protocols);
        }
    }

    /// Replaces what a member brought with what it brings now.
    pub(crate) fn update_member(&mut self, member_id: &str, joining: Joining) {
        let member = self
            .members
            .get_mut(member_id)
            .expect("the caller looked the member up");
        self.protocol_counts.remove(&member.protocols);
        self.protocol_counts.add(&joining.protocols);
        member.take_over(joining);
    }

    /// Takes a member out and answers its waiting call with `code`. The caller rebalances.
    pub(crate) fn remove_member(&mut self, step: &mut Step<'_>, member_id: &str, code: ErrorCode) {
        self.refuse_waiting(step, member_id, code);
        let Some(mut member) = self.take_member(member_id) else {
            return;
        };
        member.end_session(step.timers);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    fn take_member(&mut self, member_id: &str) -> Option<Member> {
        let member = self.members.remove(member_id)?;
        self.protocol_counts.remove(&member.protocols);
        if let Some(instance_id) = &member.instance_id
            && self.static_members.get(instance_id) == Some(&member.id)
        {
            self.static_members.remove(instance_id);
        }
        Some(member)
    }

    /// A static member came back under a new member id: the old id is fenced, its place, assignment
    /// and leadership pass to the new one.
    pub(crate) fn replace_static_member(
        &mut self,
        step: &mut Step<'_>,
        old_id: &str,
        new_id: &Arc<str>,
    ) {
        self.refuse_waiting(step, old_id, ErrorCode::FencedInstanceId);
        let mut member = self
            .take_member(old_id)
            .expect("static members are members");
        member.end_session(step.timers);
        if self.is_leader(old_id) {
            self.leader = Some(new_id.clone());
        }
        if let Some(phase) = &mut self.sync_phase
            && phase.missing.remove(old_id)
        {
            phase.missing.insert(new_id.clone());
        }
        member.id = new_id.clone();
        member.is_new = false;
        self.insert_member(member);
    }

    /// Parks a member's JoinGroup.
    pub(crate) fn park_join(&mut self, step: &mut Step<'_>, member_id: &str, call: ParkedCall) {
        self.refuse_waiting(step, member_id, ErrorCode::RebalanceInProgress);
        let member = self
            .members
            .get_mut(member_id)
            .expect("the caller looked the member up");
        member.waiting = Waiting::Join(call);
        self.joining_count += 1;
    }

    /// Parks a member's SyncGroup.
    pub(crate) fn park_sync(&mut self, step: &mut Step<'_>, member_id: &str, call: ParkedCall) {
        self.refuse_waiting(step, member_id, ErrorCode::RebalanceInProgress);
        let member = self
            .members
            .get_mut(member_id)
            .expect("the caller looked the member up");
        member.waiting = Waiting::Sync(call);
        self.mark_synced(step, member_id);
    }

    /// Takes what a member waits for, because it is answered now.
    pub(crate) fn take_waiting(&mut self, member_id: &str) -> Waiting {
        let Some(member) = self.members.get_mut(member_id) else {
            return Waiting::Nothing;
        };
        let waiting = std::mem::replace(&mut member.waiting, Waiting::Nothing);
        if let Waiting::Join(_) = waiting {
            self.joining_count -= 1;
        }
        waiting
    }

    /// Answers a member's waiting call with an error: the member goes, or calls again over another
    /// connection.
    pub(crate) fn refuse_waiting(&mut self, step: &mut Step<'_>, member_id: &str, code: ErrorCode) {
        let (call, body) = match self.take_waiting(member_id) {
            Waiting::Nothing => return,
            Waiting::Join(call) => (
                call,
                GroupAnswer::Join(refuse_join(call.api_version, member_id, code)),
            ),
            Waiting::Sync(call) => (call, GroupAnswer::Sync(refuse_sync(code))),
        };
        step.outcome.answer(call.token, After::Immediate, body);
    }

    /// Answers all waiting SyncGroups with an error. Their members have shown that they live.
    pub(crate) fn refuse_waiting_syncs(&mut self, step: &mut Step<'_>, code: ErrorCode) {
        for member_id in self.ids_where(|member| matches!(member.waiting, Waiting::Sync(_))) {
            self.refuse_waiting(step, &member_id, code);
            self.restart_session(step, &member_id);
        }
    }

    /// The ids of some members, in order.
    pub(crate) fn ids_where(&self, is_wanted: impl Fn(&Member) -> bool) -> Vec<Arc<str>> {
        let wanted = self.members.values().filter(|member| is_wanted(member));
        wanted.map(|member| member.id.clone()).collect()
    }

    /// A member has shown that it lives.
    pub(crate) fn restart_session(&mut self, step: &mut Step<'_>, member_id: &str) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.restart_session(&self.id, step.timers, step.now);
        }
    }

    /// Hands out a member id that must be used within the session timeout.
    pub(crate) fn add_pending_id(&mut self, step: &mut Step<'_>, id: Arc<str>, timeout: Duration) {
        let timer = Timer::PendingId {
            group: self.id.clone(),
            member: id.clone(),
        };
        let handle = step.timers.arm(step.now.after(timeout), timer);
        self.pending_ids.insert(id, handle);
    }

    /// Whether the id was pending; it no longer is.
    pub(crate) fn take_pending_id(&mut self, step: &mut Step<'_>, id: &str) -> bool {
        let Some(timer) = self.pending_ids.remove(id) else {
            return false;
        };
        step.timers.disarm(timer);
        true
    }

    /// A member has called SyncGroup: the sync phase ends with the last one.
    pub(crate) fn mark_synced(&mut self, step: &mut Step<'_>, member_id: &str) {
        let Some(phase) = &mut self.sync_phase else {
            return;
        };
        phase.missing.remove(member_id);
        if phase.missing.is_empty() {
            self.end_sync_phase(step.timers);
        }
    }

    /// Ends the wait for SyncGroups.
    pub(crate) fn end_sync_phase(&mut self, timers: &mut Timers) {
        if let Some(phase) = self.sync_phase.take() {
            timers.disarm(phase.timer);
        }
    }

    /// Takes all timers out, because the group goes.
    pub(crate) fn disarm(&mut self, timers: &mut Timers) {
        if let State::PreparingRebalance(phase) = &self.state {
            timers.disarm(phase.timer);
        }
        self.end_sync_phase(timers);
        for (_, timer) in std::mem::take(&mut self.pending_ids) {
            timers.disarm(timer);
        }
        for member in self.members.values_mut() {
            member.end_session(timers);
        }
    }
}
