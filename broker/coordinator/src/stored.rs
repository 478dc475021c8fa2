//! A group as its record has it: what is written when a state is stored, and what replaying it does.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use millstream_model::WallTime;
use millstream_protocol::messages::GroupMetadataValue;
use millstream_protocol::messages::group_metadata_value::MemberMetadata;

use crate::CoordinatorRecord;
use crate::group::{Group, State};
use crate::member::{Member, to_ms};
use crate::protocols::ProtocolCounts;
use crate::timers::Timers;

impl Group {
    /// The record of a stored state: of this generation, with these assignments.
    pub(crate) fn to_record(
        &self,
        generation_id: i32,
        state_since: WallTime,
        assignment_of: impl Fn(&Member) -> Bytes,
    ) -> CoordinatorRecord {
        let has_members = !self.members.is_empty();
        let protocol = self.protocol.as_deref().filter(|_| has_members);
        let members = self.members.values().map(|member| MemberMetadata {
            member_id: Cow::Borrowed(&*member.id),
            group_instance_id: member.instance_id.as_deref().map(Cow::Borrowed),
            client_id: Cow::Borrowed(&*member.client_id),
            client_host: Cow::Borrowed(&*member.client_host),
            rebalance_timeout: to_ms(member.rebalance_timeout),
            session_timeout: to_ms(member.session_timeout),
            subscription: Cow::Owned(member.metadata_of(protocol.unwrap_or_default()).to_vec()),
            assignment: Cow::Owned(assignment_of(member).to_vec()),
        });
        let value = GroupMetadataValue {
            protocol_type: Cow::Borrowed(self.protocol_type.as_deref().unwrap_or_default()),
            generation: generation_id,
            protocol: protocol.map(Cow::Borrowed),
            leader: self.leader.as_deref().map(Cow::Borrowed),
            current_state_timestamp: state_since.0,
            members: members.collect(),
        };
        CoordinatorRecord::group(&self.id, Some(&value))
    }

    /// Takes over what a record says. In a running group that is what the handler has just decided,
    /// so members, their waiting calls and sessions stay; while loading it is news.
    pub(crate) fn replay(&mut self, value: &GroupMetadataValue<'_>, timers: &mut Timers) {
        let non_empty = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        self.generation_id = value.generation;
        self.state_since = WallTime(value.current_state_timestamp);
        self.protocol_type = non_empty(&value.protocol_type);
        self.protocol = value.protocol.as_deref().map(Arc::from);
        self.leader = value.leader.as_deref().map(Arc::from);
        let mut before = std::mem::take(&mut self.members);
        self.static_members.clear();
        self.protocol_counts = ProtocolCounts::default();
        for stored in &value.members {
            let id = stored.member_id.as_ref();
            let mut member = before.remove(id).unwrap_or_else(|| Member::new(id.into()));
            member.replay(stored, self.protocol.as_ref());
            self.insert_member(member);
        }
        for member in before.values_mut() {
            member.end_session(timers);
        }
        self.joining_count = self
            .members
            .values()
            .filter(|member| member.is_joining())
            .count();
        self.state = if self.members.is_empty() {
            State::Empty
        } else {
            State::Stable
        };
    }
}
