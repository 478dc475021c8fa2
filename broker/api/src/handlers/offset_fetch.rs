//! OffsetFetch, versions 1 – 10.
//!
//! 2: null asks for all offsets of the group; 7: `RequireStable` (no transactions, so all are); 8:
//! several groups (KIP-709), each answered by its own shard; 10: topic ids.

use millstream_coordinator::split_offset_fetch;
use millstream_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use crate::dispatch::Request;
use crate::handlers::group_answers::{Gathered, PerGroup};
use crate::handlers::group_membership::step_for_each;
use crate::{Broker, Context, Handled};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &OffsetFetchRequest<'_>,
) -> Handled {
    let groups = split_offset_fetch(request.reply.version, body);
    if groups.is_empty() {
        return request.reply.answered(&OffsetFetchResponse::default());
    }
    let view = broker.view();
    let ids: Vec<&str> = groups.iter().map(|group| &*group.group_id).collect();
    let gathered = Gathered::OffsetFetch(PerGroup::of(&ids));
    step_for_each(
        broker,
        context,
        request,
        &ids,
        gathered,
        |shard, asker, place| shard.handle_offset_fetch(asker, &groups[place], &**view),
    )
}
