//! SyncGroup, versions 0–5: the leader brings the assignment of its generation, the others fetch
//! their part of it.
//!
//! The leader's call makes the record; all calls that wait are answered when it is committed. A
//! member that comes later, to a stable group, gets what is stored, also a leader that brings
//! another assignment. From version 5 on the protocol's type and name are checked (KIP-559).

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_model::{Instant, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::group::{Group, State, Step};
use crate::member::{Member, ParkedCall, Waiting};
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::refusal::refuse_sync;
use crate::{RequestContext, Shard};

impl Shard {
    /// Takes a SyncGroup.
    pub fn handle_sync_group(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &SyncGroupRequest<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if let Err(code) = self.sync(now, wall, context, request, &mut outcome) {
            let body = GroupAnswer::Sync(refuse_sync(code));
            outcome.answer(context.token, After::Immediate, body);
        }
        outcome
    }

    fn sync(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &SyncGroupRequest<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.check_loaded()?;
        let (group, mut step) = self
            .step(now, wall, &request.group_id, outcome)
            .ok_or(ErrorCode::UnknownMemberId)?;
        group.check_sync(request)?;
        let call = ParkedCall {
            token: context.token,
            api_version: context.api_version,
        };
        group.sync(&mut step, call, request)
    }
}

impl Group {
    fn check_sync(&self, request: &SyncGroupRequest<'_>) -> Result<(), ErrorCode> {
        let instance_id = request.group_instance_id.as_deref();
        self.check_generation(&request.member_id, instance_id, request.generation_id)?;
        let same_type = request.protocol_type.is_none()
            || request.protocol_type.as_deref() == self.protocol_type.as_deref();
        let same_name = request.protocol_name.is_none()
            || request.protocol_name.as_deref() == self.protocol.as_deref();
        if same_type && same_name {
            Ok(())
        } else {
            Err(ErrorCode::InconsistentGroupProtocol)
        }
    }

    fn sync(
        &mut self,
        step: &mut Step<'_>,
        call: ParkedCall,
        request: &SyncGroupRequest<'_>,
    ) -> Result<(), ErrorCode> {
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                self.park_sync(step, &request.member_id, call);
                if self.is_leader(&request.member_id) {
                    self.store_assignment(step, request);
                }
                Ok(())
            }
            State::Stable => {
                let assignment = self.members[&*request.member_id].assignment.clone();
                let after = After::Committed(self.applied_end);
                self.answer_sync(step, &request.member_id, call, &assignment, after);
                Ok(())
            }
        }
    }

    /// Members that the leader's list leaves out get empty bytes; ids it names that are no members
    /// are ignored.
    fn store_assignment(&mut self, step: &mut Step<'_>, request: &SyncGroupRequest<'_>) {
        let pairs = request.assignments.iter();
        let assignments: BTreeMap<&str, Bytes> = pairs
            .map(|pair| (&*pair.member_id, Bytes::copy_from_slice(&pair.assignment)))
            .collect();
        let assignment_of =
            |member: &Member| assignments.get(&*member.id).cloned().unwrap_or_default();
        let record = self.to_record(self.generation_id, step.wall, assignment_of);
        if record.size_in_bytes() > step.config.records_max_bytes {
            self.refuse_assignment(step, record.size_in_bytes());
            return;
        }
        step.outcome.records.push(record);
        for id in self.ids_where(|member| matches!(member.waiting, Waiting::Sync(_))) {
            let assignment = assignment_of(&self.members[&id]);
            if let Waiting::Sync(call) = self.take_waiting(&id) {
                self.answer_sync(step, &id, call, &assignment, After::Records);
            }
        }
    }

    fn refuse_assignment(&mut self, step: &mut Step<'_>, bytes: usize) {
        tracing::warn!(
            group = &*self.id,
            members = self.members.len(),
            bytes,
            limit = step.config.records_max_bytes,
            "group does not fit one record; raise max.message.bytes of __consumer_offsets"
        );
        self.refuse_waiting_syncs(step, ErrorCode::UnknownServerError);
        self.rebalance(step);
    }

    fn answer_sync(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        call: ParkedCall,
        assignment: &Bytes,
        after: After,
    ) {
        let owned = |text: &str| Cow::Owned(text.to_owned());
        let response = SyncGroupResponse {
            protocol_type: self.protocol_type.as_deref().map(owned),
            protocol_name: self.protocol.as_deref().map(owned),
            assignment: Cow::Owned(assignment.to_vec()),
            ..SyncGroupResponse::default()
        };
        step.outcome
            .answer(call.token, after, GroupAnswer::Sync(response));
        self.mark_synced(step, member_id);
        self.restart_session(step, member_id);
    }
}
