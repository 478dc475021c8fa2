//! OffsetDelete, version 0 (KIP-496): forgets offsets of a group, one partition at a time.
//!
//! The group's topics that a member may read are GROUP_SUBSCRIBED_TO_TOPIC, partitions that do not exist
//! UNKNOWN_TOPIC_OR_PARTITION; a partition without an offset is no error. A group of another kind than
//! consumers must be empty (NON_EMPTY_GROUP).

use millstream_protocol::messages::OffsetDeleteRequest;

use crate::dispatch::Request;
use crate::handlers::group_membership::step;
use crate::{Broker, Context, Handled};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &OffsetDeleteRequest<'_>,
) -> Handled {
    step(broker, context, request, &body.group_id, |shard, asker| {
        // Seen under the shard's lock: a topic that goes meanwhile is forgotten after this.
        let view = broker.view();
        shard.handle_offset_delete(asker, body, &**view)
    })
}
