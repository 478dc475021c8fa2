//! The phases of a rebalance: members join, a generation begins, members fetch their assignments.
//!
//! While PreparingRebalance waits, three things count: members that have not joined again, ids that
//! were handed out and not used, and the timer. At its end dynamic members that stayed away are
//! dropped; static ones keep their place and their old assignment (KIP-345) until their session or
//! the sync phase ends.
//!
//! The first phase of an empty group follows `group.initial.rebalance.delay.ms`. With a delay it
//! ends by time only, as in Kafka, and is prolonged while members keep coming. Without one (our
//! default) it ends at once, but for ids that were handed out a moment ago: their clients are one
//! round trip away, and a second rebalance for them would take a heartbeat interval, so the group
//! waits for them for [`PENDING_ID_GRACE`].

use std::time::Duration;

use millstream_protocol::ErrorCode;

use crate::group::{Group, InitialDelay, JoinPhase, State, Step, SyncPhase};
use crate::member::{ParkedCall, Waiting};
use crate::outcome::{After, GroupAnswer};
use crate::timers::Timer;

/// How long a group without initial delay waits for ids it has just handed out.
const PENDING_ID_GRACE: Duration = Duration::from_millis(100);

impl Group {
    /// The members or what they can speak changed: begins a rebalance, or takes the change into the
    /// one under way.
    pub(crate) fn rebalance(&mut self, step: &mut Step<'_>) {
        if let State::PreparingRebalance(_) = self.state {
            self.complete_join_phase_if_ready(step);
        } else {
            self.prepare_rebalance(step);
        }
    }

    fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        self.refuse_waiting_syncs(step, ErrorCode::RebalanceInProgress);
        self.end_sync_phase(step.timers);
        let delay = step.config.initial_rebalance_delay;
        let (wait, initial) = match self.state {
            State::Empty if delay.is_zero() => (PENDING_ID_GRACE, None),
            State::Empty => {
                let budget = self.rebalance_timeout().saturating_sub(delay);
                (
                    delay,
                    Some(InitialDelay {
                        budget,
                        has_new_member: false,
                    }),
                )
            }
            _ => (self.rebalance_timeout(), None),
        };
        self.begin_join_phase(step, wait, initial);
        self.complete_join_phase_if_ready(step);
    }

    fn begin_join_phase(
        &mut self,
        step: &mut Step<'_>,
        wait: Duration,
        initial: Option<InitialDelay>,
    ) {
        let timer = Timer::JoinPhase {
            group: self.id.clone(),
        };
        let timer = step.timers.arm(step.now.after(wait), timer);
        self.state = State::PreparingRebalance(JoinPhase { timer, initial });
    }

    /// Ends the join phase if there is nobody left to wait for.
    pub(crate) fn complete_join_phase_if_ready(&mut self, step: &mut Step<'_>) {
        let State::PreparingRebalance(phase) = &self.state else {
            return;
        };
        let all_joined = self.joining_count == self.members.len() && self.pending_ids.is_empty();
        let ends_early = phase.initial.is_none() && all_joined;
        if ends_early || self.members.is_empty() {
            self.complete_join_phase(step);
        }
    }

    /// The time of the join phase is over.
    pub(crate) fn handle_join_timer(&mut self, step: &mut Step<'_>) {
        let State::PreparingRebalance(phase) = &mut self.state else {
            return;
        };
        if let Some(initial) = &mut phase.initial
            && initial.has_new_member
            && !initial.budget.is_zero()
        {
            let wait = step.config.initial_rebalance_delay.min(initial.budget);
            let budget = initial.budget - wait;
            self.begin_join_phase(
                step,
                wait,
                Some(InitialDelay {
                    budget,
                    has_new_member: false,
                }),
            );
            return;
        }
        self.complete_join_phase(step);
    }

    fn complete_join_phase(&mut self, step: &mut Step<'_>) {
        let State::PreparingRebalance(phase) = &self.state else {
            return;
        };
        step.timers.disarm(phase.timer);
        for id in self.ids_where(|member| !member.is_joining() && member.instance_id.is_none()) {
            self.remove_member(step, &id, ErrorCode::UnknownMemberId);
        }
        if self.members.is_empty() {
            self.become_empty(step);
        } else if self.elect_leader_that_joined() {
            self.begin_generation(step);
        } else {
            // Only static members are left and none came back. Their sessions will end them.
            self.begin_join_phase(step, self.rebalance_timeout(), None);
        }
    }

    fn elect_leader_that_joined(&mut self) -> bool {
        let leader = self
            .leader
            .as_ref()
            .and_then(|leader| self.members.get(leader));
        if leader.is_some_and(|leader| leader.is_joining()) {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.is_joining()) else {
            return false;
        };
        self.leader = Some(joined.id.clone());
        true
    }

    fn become_empty(&mut self, step: &mut Step<'_>) {
        let record = self.to_record(self.next_generation(), step.wall, |member| {
            member.assignment.clone()
        });
        step.outcome.records.push(record);
    }

    fn begin_generation(&mut self, step: &mut Step<'_>) {
        self.generation_id = self.next_generation();
        self.protocol = self.next_protocol();
        assert!(
            self.protocol.is_some(),
            "members without a common protocol were let in"
        );
        self.state = State::CompletingRebalance;
        for id in self.ids_where(|member| member.is_joining()) {
            if let Waiting::Join(call) = self.take_waiting(&id) {
                self.answer_join(step, &id, call, After::Immediate);
            }
        }
        let timer = Timer::SyncPhase {
            group: self.id.clone(),
        };
        let timer = step
            .timers
            .arm(step.now.after(self.rebalance_timeout()), timer);
        let missing = self.members.keys().cloned().collect();
        self.sync_phase = Some(SyncPhase { timer, missing });
    }

    /// Tells a member the generation, and its leader all members.
    pub(crate) fn answer_join(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        call: ParkedCall,
        after: After,
    ) {
        let response = self.join_response(member_id, self.is_leader(member_id));
        step.outcome
            .answer(call.token, after, GroupAnswer::Join(response));
        if let Some(member) = self.members.get_mut(member_id) {
            member.is_new = false;
            member.restart_session(&self.id, step.timers, step.now);
        }
    }

    /// Members that did not fetch their assignment in time are taken for dead.
    pub(crate) fn handle_sync_timer(&mut self, step: &mut Step<'_>) {
        let Some(phase) = self.sync_phase.take() else {
            return;
        };
        for id in &phase.missing {
            self.remove_member(step, id, ErrorCode::UnknownMemberId);
        }
        self.rebalance(step);
    }

    fn next_generation(&self) -> i32 {
        self.generation_id.checked_add(1).unwrap_or(1)
    }
}
