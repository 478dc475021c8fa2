//! OffsetFetch, versions 1 – 10.
//!
//! 2: null asks for all offsets of the group; 7: `RequireStable` (no transactions, so all are); 8:
//! several groups (KIP-709), each answered by its own shard; 10: topic ids.

use millstream_coordinator::split_offset_fetch;
use millstream_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use crate::answers::Parked;
use crate::dispatch::Request;
use crate::handlers::group_membership::{ParkedGroup, decide_in_shard, slow_directory};
use crate::queued::hand_over;
use crate::visit::Visit;
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
    let mut visit = Visit::new(broker);
    let mut slow = groups
        .iter()
        .filter_map(|group| slow_directory(broker, context, &group.group_id, &mut visit));
    if let Some(directory) = slow.next() {
        return hand_over(broker, context, request, directory);
    }
    let view = broker.view();
    for group in &groups {
        decide_in_shard(broker, context, request, &group.group_id, |shard, asker| {
            shard.handle_offset_fetch(asker, group, &**view)
        });
    }
    let fetches = groups
        .into_iter()
        .map(|group| (group.group_id.into_owned(), None))
        .collect();
    let parked = ParkedGroup {
        reply: request.reply,
        group_id: None,
        fetches,
    };
    Handled::Parked(Box::new(Parked::Group(parked)))
}
