//! DeleteGroups, versions 0 – 3: forgets groups that have no members, with their offsets.
//!
//! Each group is answered by its own shard: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, or none once the deletion is
//! committed. A group that is named twice is answered once. 3: error messages, of which Kafka has none here.

use millstream_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use crate::dispatch::Request;
use crate::handlers::describe_groups::distinct;
use crate::handlers::group_answers::{Gathered, PerGroup};
use crate::handlers::group_membership::step_for_each;
use crate::{Broker, Context, Handled};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DeleteGroupsRequest<'_>,
) -> Handled {
    let groups = distinct(body.groups_names.iter().map(AsRef::as_ref));
    if groups.is_empty() {
        return request.reply.answered(&DeleteGroupsResponse::default());
    }
    let gathered = Gathered::Delete(PerGroup::of(&groups));
    step_for_each(
        broker,
        context,
        request,
        &groups,
        gathered,
        |shard, asker, place| shard.handle_delete_group(asker, groups[place]),
    )
}
