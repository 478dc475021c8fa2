//! JoinGroup, versions 0–9: a client becomes, or stays, a member and learns the generation.
//!
//! The call waits until the join phase ends, unless the answer is known. From version 4 on a client
//! without an id is first told one (KIP-394), so that a client that gave up waiting does not leave
//! a member behind. From 5 on members may be static (KIP-345): one that restarts takes its place
//! back, in a stable group without a rebalance; from 9 on its leader is told to skip the assignment
//! (KIP-814). Version 0 has no rebalance timeout; the session timeout serves.
//!
//! Not here: names of rebalance reasons (8, KIP-800) are read and dropped.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use millstream_model::{Instant, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::join_group_response::JoinGroupResponseMember;
use millstream_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::group::{Group, State, Step};
use crate::member::{Joining, ParkedCall, from_ms};
use crate::outcome::{After, GroupAnswer, Outcome};
use crate::protocols::read_protocols;
use crate::refusal::refuse_join;
use crate::{RequestContext, Shard};

/// How long a new member's first call may wait. Its client cannot send heartbeats yet, and if it
/// has gone, nothing else would end it.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// Why a JoinGroup fails, and which id the answer names.
struct JoinRefusal {
    member_id: String,
    code: ErrorCode,
}

impl JoinRefusal {
    fn new(member_id: &str, code: ErrorCode) -> JoinRefusal {
        JoinRefusal {
            member_id: member_id.to_owned(),
            code,
        }
    }
}

/// One JoinGroup, read.
struct Join<'a> {
    call: ParkedCall,
    context: &'a RequestContext<'a>,
    member_id: &'a str,
    instance_id: Option<&'a str>,
    protocol_type: &'a str,
    joining: Joining,
    /// For the id of a new member.
    random_bits: u128,
}

impl Shard {
    /// Takes a JoinGroup. `random_bits` go into the id of a new member.
    pub fn handle_join_group(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &JoinGroupRequest<'_>,
        random_bits: u128,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        let joined = self.join(now, wall, context, request, random_bits, &mut outcome);
        if let Err(refusal) = joined {
            let body = refuse_join(context.api_version, &refusal.member_id, refusal.code);
            outcome.answer(context.token, After::Immediate, GroupAnswer::Join(body));
        }
        outcome
    }

    fn join(
        &mut self,
        now: Instant,
        wall: WallTime,
        context: &RequestContext<'_>,
        request: &JoinGroupRequest<'_>,
        random_bits: u128,
        outcome: &mut Outcome,
    ) -> Result<(), JoinRefusal> {
        let refusal = |code| JoinRefusal::new(&request.member_id, code);
        self.check_join(request).map_err(refusal)?;
        let is_new = !self.has_group(&request.group_id);
        if is_new && !request.member_id.is_empty() {
            return Err(refusal(ErrorCode::UnknownMemberId));
        }
        if is_new && !self.has_room_for_group() {
            return Err(refusal(ErrorCode::PolicyViolation));
        }
        let (group, mut step) = self.step_or_new_group(now, wall, &request.group_id, outcome);
        group.join(&mut step, Join::read(context, request, random_bits))
    }

    fn check_join(&self, request: &JoinGroupRequest<'_>) -> Result<(), ErrorCode> {
        if request.group_id.is_empty() || !Shard::is_storable(&request.group_id) {
            return Err(ErrorCode::InvalidGroupId);
        }
        let timeout = from_ms(request.session_timeout_ms);
        let bounds = self.config().min_session_timeout..=self.config().max_session_timeout;
        if !bounds.contains(&timeout) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        self.check_loaded()
    }
}

impl<'a> Join<'a> {
    fn read(
        context: &'a RequestContext<'a>,
        request: &'a JoinGroupRequest<'_>,
        random_bits: u128,
    ) -> Join<'a> {
        let session_timeout = from_ms(request.session_timeout_ms);
        let rebalance_timeout = match context.api_version {
            0 => session_timeout,
            _ => from_ms(request.rebalance_timeout_ms),
        };
        Join {
            call: ParkedCall {
                token: context.token,
                api_version: context.api_version,
            },
            context,
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_deref(),
            protocol_type: &request.protocol_type,
            joining: Joining {
                instance_id: request.group_instance_id.as_deref().map(Arc::from),
                client_id: context.client_id.into(),
                client_host: context.client_host.into(),
                rebalance_timeout,
                session_timeout,
                protocols: read_protocols(&request.protocols),
            },
            random_bits,
        }
    }

    /// `<instance or client id>-<uuid>`.
    fn new_member_id(&self) -> Arc<str> {
        let name = self.instance_id.unwrap_or(self.context.client_id);
        let bits = (self.random_bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        let (a, b, c, d, e) = (
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..],
        );
        format!("{name}-{a}-{b}-{c}-{d}-{e}").into()
    }
}

impl Group {
    fn join(&mut self, step: &mut Step<'_>, join: Join<'_>) -> Result<(), JoinRefusal> {
        if !self.has_room_for(step, join.member_id) {
            self.take_pending_id(step, join.member_id);
            if self.members.contains_key(join.member_id) {
                self.remove_member(step, join.member_id, ErrorCode::GroupMaxSizeReached);
                self.rebalance(step);
            }
            return Err(JoinRefusal::new("", ErrorCode::GroupMaxSizeReached));
        }
        let refusal = |code| JoinRefusal::new(join.member_id, code);
        if !self.accepts_protocols(join.protocol_type, &join.joining.protocols) {
            return Err(refusal(ErrorCode::InconsistentGroupProtocol));
        }
        if join.member_id.is_empty() {
            return self.join_without_id(step, join);
        }
        if join.instance_id.is_none() && self.take_pending_id(step, join.member_id) {
            let id = join.member_id.into();
            self.join_as_new(step, id, join);
            return Ok(());
        }
        self.check_member(join.member_id, join.instance_id)
            .map_err(refusal)?;
        self.join_again(step, join);
        Ok(())
    }

    /// While a group gathers, those that wait already count, so that of too many members the last
    /// to come are turned away.
    fn has_room_for(&self, step: &Step<'_>, member_id: &str) -> bool {
        let member = self.members.get(member_id);
        let group_max = step.config.group_max_size;
        match self.state {
            State::PreparingRebalance(_) => {
                member.is_some_and(|member| member.is_joining()) || self.joining_count < group_max
            }
            _ => member.is_some() || self.members.len() < group_max,
        }
    }

    fn join_without_id(&mut self, step: &mut Step<'_>, join: Join<'_>) -> Result<(), JoinRefusal> {
        let id = join.new_member_id();
        let owner = join
            .instance_id
            .and_then(|instance| self.static_members.get(instance));
        if let Some(owner) = owner.cloned() {
            self.join_in_place_of(step, &owner, id, join);
            return Ok(());
        }
        // Every member, every id handed out and every phase has one timer.
        if step.timers.len() >= step.config.members_max {
            return Err(JoinRefusal::new("", ErrorCode::GroupMaxSizeReached));
        }
        if join.instance_id.is_none() && join.call.api_version >= 4 {
            self.add_pending_id(step, id.clone(), join.joining.session_timeout);
            return Err(JoinRefusal::new(&id, ErrorCode::MemberIdRequired));
        }
        self.join_as_new(step, id, join);
        Ok(())
    }

    fn join_as_new(&mut self, step: &mut Step<'_>, id: Arc<str>, join: Join<'_>) {
        if let State::PreparingRebalance(phase) = &mut self.state
            && let Some(initial) = &mut phase.initial
        {
            initial.has_new_member = true;
        }
        self.add_member(id.clone(), join.protocol_type, join.joining);
        self.park_join(step, &id, join.call);
        let group_id = self.id.clone();
        let member = self.members.get_mut(&id).expect("just added");
        member.start_session(
            &group_id,
            step.timers,
            step.now.after(NEW_MEMBER_JOIN_TIMEOUT),
        );
        self.rebalance(step);
    }

    fn join_again(&mut self, step: &mut Step<'_>, join: Join<'_>) {
        let member = &self.members[join.member_id];
        let is_same = member.protocols == join.joining.protocols;
        let is_leader = self.is_leader(join.member_id);
        match self.state {
            // The answer to its join may have been lost.
            State::CompletingRebalance if is_same => {
                self.answer_join(step, join.member_id, join.call, After::Immediate);
            }
            State::Stable if is_same && !is_leader => {
                let after = After::Committed(self.applied_end);
                self.answer_join(step, join.member_id, join.call, after);
            }
            _ => {
                self.update_member(join.member_id, join.joining);
                self.park_join(step, join.member_id, join.call);
                self.rebalance(step);
            }
        }
    }

    /// A static member is back without its id.
    fn join_in_place_of(&mut self, step: &mut Step<'_>, owner: &str, id: Arc<str>, join: Join<'_>) {
        let leader_before = self.leader.clone();
        self.replace_static_member(step, owner, &id);
        self.update_member(&id, join.joining);
        self.restart_session(step, &id);
        if matches!(self.state, State::Stable) && self.next_protocol() == self.protocol {
            let keep = |member: &crate::member::Member| member.assignment.clone();
            let record = self.to_record(self.generation_id, self.state_since, keep);
            if record.size_in_bytes() <= step.config.records_max_bytes {
                step.outcome.records.push(record);
                let response = self.rejoin_response(&id, join.call.api_version, leader_before);
                step.outcome
                    .answer(join.call.token, After::Records, GroupAnswer::Join(response));
                return;
            }
        }
        self.park_join(step, &id, join.call);
        self.rebalance(step);
    }

    /// Before version 9 a leader cannot be told to skip the assignment; naming its old id as the
    /// leader makes it sync as a follower and get what it had.
    fn rejoin_response(
        &self,
        member_id: &str,
        api_version: i16,
        leader_before: Option<Arc<str>>,
    ) -> JoinGroupResponse<'static> {
        if api_version >= 9 {
            let is_leader = self.is_leader(member_id);
            let mut response = self.join_response(member_id, is_leader);
            response.skip_assignment = is_leader;
            return response;
        }
        let mut response = self.join_response(member_id, false);
        response.leader = Cow::Owned(leader_before.map_or_else(String::new, |id| id.to_string()));
        response
    }

    /// The present generation, as one member is told it.
    pub(crate) fn join_response(
        &self,
        member_id: &str,
        with_members: bool,
    ) -> JoinGroupResponse<'static> {
        let owned = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let listed = self.members.values().filter(|_| with_members);
        let members = listed.map(|member| JoinGroupResponseMember {
            member_id: Cow::Owned(member.id.to_string()),
            group_instance_id: member
                .instance_id
                .as_deref()
                .map(|id| Cow::Owned(id.to_owned())),
            metadata: Cow::Owned(member.metadata_of(protocol).to_vec()),
        });
        JoinGroupResponse {
            generation_id: self.generation_id,
            protocol_type: Some(Cow::Owned(owned(&self.protocol_type))),
            protocol_name: Some(Cow::Owned(protocol.to_owned())),
            leader: Cow::Owned(owned(&self.leader)),
            member_id: Cow::Owned(member_id.to_owned()),
            members: members.collect(),
            ..JoinGroupResponse::default()
        }
    }
}
