//! DescribeGroups, versions 0 – 6: states, members and assignments of classic groups.
//!
//! Each group is answered by its own shard. 3: authorised operations (KIP-430); 4: static members; 6: a group
//! that does not exist is GROUP_ID_NOT_FOUND (KIP-1043), before that it is Dead without an error.
//!
//! A group that is named twice is answered once: the answer must not grow by repeating a name.

use std::collections::BTreeSet;

use millstream_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};

use crate::dispatch::Request;
use crate::handlers::group_answers::{Gathered, PerGroup};
use crate::handlers::group_membership::step_for_each;
use crate::{Broker, Context, Handled};

/// All operations there are on a group: there is nobody yet who may not. The bits are 3 READ, 6 DELETE, 8 DESCRIBE,
/// 10 DESCRIBE_CONFIGS, 11 ALTER_CONFIGS.
const GROUP_OPERATIONS: i32 = 3400;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DescribeGroupsRequest<'_>,
) -> Handled {
    let groups = distinct(body.groups.iter().map(AsRef::as_ref));
    if groups.is_empty() {
        let nothing = DescribeGroupsResponse::default();
        return request.reply.answered(&nothing);
    }
    let gathered = Gathered::Describe {
        groups: PerGroup::of(&groups),
        operations: body
            .include_authorized_operations
            .then_some(GROUP_OPERATIONS),
    };
    step_for_each(
        broker,
        context,
        request,
        &groups,
        gathered,
        |shard, asker, place| shard.handle_describe_group(asker, groups[place]),
    )
}

/// The names without repetitions, in their order.
pub(crate) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(*name)).collect()
}
