//! LeaveGroup, versions 0–5: members go without waiting for their sessions to end.
//!
//! From version 3 on one call may name several (KIP-345), each with an answer of its own: a static
//! member by its instance id alone, which is how an administrator removes it. They cause one
//! rebalance together.

use std::borrow::Cow;

use millstream_model::{Instant, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::leave_group_response::MemberResponse;
use millstream_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::group::{Group, Step};
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::refusal::{refuse_each_leave, refuse_leave};
use crate::{RequestContext, Shard};

impl Shard {
    /// Takes a LeaveGroup.
    pub fn handle_leave_group(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &LeaveGroupRequest<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let response = self.leave(now, wall, context, request, &mut outcome);
        let response = response.unwrap_or_else(refuse_leave);
        let after = if outcome.records.is_empty() {
            After::Immediate
        } else {
            After::Records
        };
        outcome.answer(context.token, after, GroupAnswer::Leave(response));
        outcome
    }

    fn leave(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &LeaveGroupRequest<'_>,
        outcome: &mut Outcome,
    ) -> Result<LeaveGroupResponse<'static>, ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        self.check_loaded()?;
        let version = context.api_version;
        let Some((group, mut step)) = self.step(now, wall, &request.group_id, outcome) else {
            return Ok(refuse_each_leave(
                version,
                request,
                ErrorCode::UnknownMemberId,
            ));
        };
        let members_before = group.members.len();
        if version < 3 {
            let left = group.leave(&mut step, &request.member_id, None);
            group.rebalance_after_leave(&mut step, members_before);
            return left.map(|()| LeaveGroupResponse::default());
        }
        let mut response = LeaveGroupResponse::default();
        for member in &request.members {
            let instance_id = member.group_instance_id.as_deref();
            let left = group.leave(&mut step, &member.member_id, instance_id);
            response.members.push(MemberResponse {
                member_id: Cow::Owned(member.member_id.to_string()),
                group_instance_id: instance_id.map(|id| Cow::Owned(id.to_owned())),
                error_code: left.err().unwrap_or(ErrorCode::None).code(),
            });
        }
        group.rebalance_after_leave(&mut step, members_before);
        Ok(response)
    }
}

impl Group {
    fn leave(
        &mut self,
        step: &mut Step<'_>,
        member_id: &str,
        instance_id: Option<&str>,
    ) -> Result<(), ErrorCode> {
        if self.take_pending_id(step, member_id) {
            return Ok(());
        }
        let owner = instance_id.and_then(|instance| self.static_members.get(instance));
        let id = match owner {
            Some(owner) if member_id.is_empty() => owner.to_string(),
            _ => {
                self.check_member(member_id, instance_id)?;
                member_id.to_owned()
            }
        };
        self.remove_member(step, &id, ErrorCode::UnknownMemberId);
        Ok(())
    }

    fn rebalance_after_leave(&mut self, step: &mut Step<'_>, members_before: usize) {
        if self.members.len() < members_before {
            self.rebalance(step);
        } else {
            // A pending id may have been the last thing that a join phase waited for.
            self.complete_join_phase_if_ready(step);
        }
    }
}
