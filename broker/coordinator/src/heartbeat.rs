//! Heartbeat, versions 0–4: a member shows that it lives and learns of a rebalance.
//!
//! The most frequent call of a group: two lookups, no timer is moved, nothing is allocated but the
//! answer's place. While the shard loads it is answered without error, for the member cannot know
//! better and would only join again.

use millstream_model::{Instant, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::HeartbeatRequest;

use crate::group::State;
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::refusal::refuse_heartbeat;
use crate::{RequestContext, Shard};

impl Shard {
    /// Takes a Heartbeat.
    pub fn handle_heartbeat(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &HeartbeatRequest<'_>,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let code = match self.heartbeat(now, wall, request, &mut outcome) {
            Ok(()) => ErrorCode::None,
            Err(code) => code,
        };
        let body = GroupAnswer::Heartbeat(refuse_heartbeat(code));
        outcome.answer(context.token, After::Immediate, body);
        outcome
    }

    fn heartbeat(
        &mut self,
        now: Instant,
        wall: WallTime,
        request: &HeartbeatRequest<'_>,
        outcome: &mut Outcome,
    ) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if self.check_loaded().is_err() {
            return Ok(());
        }
        let (group, mut step) = self
            .step(now, wall, &request.group_id, outcome)
            .ok_or(ErrorCode::UnknownMemberId)?;
        let instance_id = request.group_instance_id.as_deref();
        group.check_generation(&request.member_id, instance_id, request.generation_id)?;
        group.restart_session(&mut step, &request.member_id);
        match group.state {
            State::PreparingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            State::Empty | State::CompletingRebalance | State::Stable => Ok(()),
        }
    }
}
