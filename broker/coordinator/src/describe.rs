//! DescribeGroups, versions 0–6, and ListGroups, versions 0–5: what groups there are.
//!
//! A request may name groups of several shards; each shard answers for its own, one group at a time
//! for DescribeGroups, all of them for ListGroups, and the api puts the answers together. It also
//! fills in the authorised operations.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::ListGroupsRequest;
use millstream_protocol::messages::describe_groups_response::{
    DescribedGroup, DescribedGroupMember,
};
use millstream_protocol::messages::list_groups_response::ListedGroup;

use crate::group::{Group, State};
use crate::outcome::{GroupAnswer, Outcome};
use crate::{After, RequestContext, Shard};

const GROUP_TYPE: &str = "Classic";

impl Shard {
    /// Takes one group of a DescribeGroups.
    pub fn handle_describe_group(&self, context: &RequestContext<'_>, group_id: &str) -> Outcome {
        let group = self.group(group_id);
        let (after, body) = match (self.check_loaded(), group) {
            (Err(code), _) => (After::Immediate, undescribed(group_id, "", code, None)),
            (Ok(()), Some(group)) => (self.after_reading(Some(group)), group.describe()),
            (Ok(()), None) => (
                self.after_reading(None),
                unknown(context.api_version, group_id),
            ),
        };
        Outcome::of(context.token, after, GroupAnswer::Describe(body))
    }

    /// Takes a ListGroups for the groups of this shard. A shard that is loading refuses it whole.
    pub fn handle_list_groups(
        &self,
        context: &RequestContext<'_>,
        request: &ListGroupsRequest<'_>,
    ) -> Outcome {
        if let Err(code) = self.check_loaded() {
            let refused = GroupAnswer::List(Err(code));
            return Outcome::of(context.token, After::Immediate, refused);
        }
        // A filter may be as long as a frame, so it is looked through once and not for every group.
        let mut states = State::NAMES.to_vec();
        states.retain(|name| is_listed(&request.states_filter, name));
        if !is_listed(&request.types_filter, GROUP_TYPE) {
            states.clear();
        }
        let wanted = self
            .groups()
            .filter(|group| states.contains(&group.state_name()));
        let listed = wanted.map(|group| ListedGroup {
            group_id: Cow::Owned(group.id.to_string()),
            protocol_type: owned(group.protocol_type.as_deref()),
            group_state: Cow::Borrowed(group.state_name()),
            group_type: Cow::Borrowed(GROUP_TYPE),
        });
        let body = GroupAnswer::List(Ok(listed.collect()));
        let ends = self.groups().map(|group| self.after_reading(Some(group)));
        let last = ends.chain([self.after_reading(None)]).max();
        Outcome::of(context.token, last.unwrap_or(After::Immediate), body)
    }
}

/// Whether a filter lets a name through: an empty one does, letters' case does not count, and names
/// nobody has match nothing.
fn is_listed(filter: &[Cow<'_, str>], name: &str) -> bool {
    filter.is_empty()
        || filter
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(name))
}

impl Group {
    /// Protocol and subscriptions hold only while the group is stable; assignments are the last
    /// stored ones.
    fn describe(&self) -> DescribedGroup<'static> {
        let is_stable = matches!(self.state, State::Stable);
        let protocol = self.protocol.as_deref().filter(|_| is_stable);
        let members = self.members.values().map(|member| DescribedGroupMember {
            member_id: Cow::Owned(member.id.to_string()),
            group_instance_id: member
                .instance_id
                .as_deref()
                .map(|id| Cow::Owned(id.to_owned())),
            client_id: Cow::Owned(member.client_id.to_string()),
            client_host: Cow::Owned(member.client_host.to_string()),
            member_metadata: Cow::Owned(
                protocol.map_or_else(Vec::new, |name| member.metadata_of(name).to_vec()),
            ),
            member_assignment: Cow::Owned(member.assignment.to_vec()),
        });
        DescribedGroup {
            group_id: Cow::Owned(self.id.to_string()),
            group_state: Cow::Borrowed(self.state_name()),
            protocol_type: owned(self.protocol_type.as_deref()),
            protocol_data: owned(protocol),
            members: members.collect(),
            ..DescribedGroup::default()
        }
    }
}

/// Before version 6 an unknown group is a dead one, without error.
fn unknown(api_version: i16, group_id: &str) -> DescribedGroup<'static> {
    if api_version < 6 {
        return undescribed(group_id, "Dead", ErrorCode::None, None);
    }
    let message = format!("Group {group_id} not found.");
    undescribed(group_id, "Dead", ErrorCode::GroupIdNotFound, Some(message))
}

pub(crate) fn undescribed(
    group_id: &str,
    state: &'static str,
    code: ErrorCode,
    message: Option<String>,
) -> DescribedGroup<'static> {
    DescribedGroup {
        error_code: code.code(),
        error_message: message.map(Cow::Owned),
        group_id: Cow::Owned(group_id.to_owned()),
        group_state: Cow::Borrowed(state),
        ..DescribedGroup::default()
    }
}

fn owned(text: Option<&str>) -> Cow<'static, str> {
    Cow::Owned(text.unwrap_or_default().to_owned())
}
