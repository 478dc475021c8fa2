//! ListGroups, versions 0 – 5: the groups that this broker coordinates.
//!
//! All shards are asked. Those of partitions that are offline have no groups, as if another broker led them;
//! one that is loading refuses the whole request with COORDINATOR_LOAD_IN_PROGRESS. 4: filter by state
//! (KIP-518); 5: by type (KIP-848). Filters do not mind the case of letters.

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::ListGroupsRequest;

use crate::dispatch::Request;
use crate::handlers::group_answers::{Gathered, ParkedGroup};
use crate::handlers::group_membership::{decide_in, slow_directory_of_shard};
use crate::queued::hand_over;
use crate::visit::Visit;
use crate::{Broker, Context, Handled};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &ListGroupsRequest<'_>,
) -> Handled {
    let shards = broker.group_shards().len();
    let mut visit = Visit::new(broker);
    let mut slow = (0..shards)
        .filter(|_| !context.may_wait)
        .filter_map(|shard| slow_directory_of_shard(broker, shard, &mut visit));
    if let Some(directory) = slow.next() {
        return hand_over(broker, context, request, directory);
    }
    for shard in 0..shards {
        decide_in(broker, context, request, shard, |shard, asker| {
            shard.handle_list_groups(asker, body)
        });
    }
    let gathered = Gathered::List {
        groups: Vec::new(),
        error: ErrorCode::None,
        shards_missing: shards,
    };
    ParkedGroup::of_several(request.reply, gathered).handled()
}
