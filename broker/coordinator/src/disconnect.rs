//! The connection of a waiting call ends.
//!
//! Nobody leaves a group by disconnecting: a client may come back and call again. But a call that
//! waits counts as a sign of life, and its member as joined, and after the connection is gone that
//! is no longer true. So the member stops waiting and its session begins: if it is dead, the group
//! learns it one session timeout after its death, instead of letting it into the next generation and
//! waiting for it there. A new member that was not told its id yet cannot come back; it goes at once.

use millstream_model::{Instant, RequestToken, WallTime};
use millstream_protocol::ErrorCode;

use crate::group::{Group, Step};
use crate::member::Waiting;
use crate::{Outcome, Shard};

impl Shard {
    /// The connection of a request to this group is closed before its answer. A request that does
    /// not wait here, or no longer, is no error.
    pub fn handle_disconnect(
        &mut self,
        now: Instant,
        wall: WallTime,
        group_id: &str,
        token: RequestToken,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        if let Some((group, mut step)) = self.step(now, wall, group_id, &mut outcome) {
            group.disconnect(&mut step, token);
        }
        // Whoever waited is gone.
        outcome.answers.retain(|answer| answer.token != token);
        outcome
    }
}

impl Group {
    fn disconnect(&mut self, step: &mut Step<'_>, token: RequestToken) {
        let waits = |waiting: &Waiting| match waiting {
            Waiting::Nothing => false,
            Waiting::Join(call) | Waiting::Sync(call) => call.token == token,
        };
        let Some(member) = self
            .members
            .values_mut()
            .find(|member| waits(&member.waiting))
        else {
            return;
        };
        let is_nameless = member.is_new
            && member.instance_id.is_none()
            && matches!(member.waiting, Waiting::Join(call) if call.api_version < 4);
        let id = member.id.clone();
        if is_nameless {
            self.remove_member(step, &id, ErrorCode::UnknownMemberId);
            self.rebalance(step);
            return;
        }
        member.is_new = false;
        member.end_session(step.timers);
        self.take_waiting(&id);
        self.restart_session(step, &id);
    }
}
