//! OffsetCommit, versions 2 – 10.
//!
//! The offsets are records of the group's shard; the answer waits until they are committed.
//! 6: leader epochs (KIP-320); 7: static members (KIP-345); 10: topic ids.

use millstream_protocol::messages::OffsetCommitRequest;

use crate::dispatch::Request;
use crate::handlers::group_membership::step;
use crate::{Broker, Context, Handled};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &OffsetCommitRequest<'_>,
) -> Handled {
    let (now, wall) = (context.now, context.wall);
    step(broker, context, request, &body.group_id, |shard, asker| {
        // Seen under the shard's lock: a topic that goes meanwhile is forgotten after this.
        let view = broker.view();
        shard.handle_offset_commit(now, wall, asker, body, &**view)
    })
}
