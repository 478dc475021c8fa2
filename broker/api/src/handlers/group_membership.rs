//! JoinGroup (0 – 9), SyncGroup (0 – 5), Heartbeat (0 – 4) and LeaveGroup (0 – 5) of classic groups.
//!
//! The rules are the coordinator's. Here a request finds its shard and is parked; the answer comes as
//! a completion, often in the same step.

use millstream_coordinator::{Outcome, RequestContext, Shard, TopicLookup, shard_of};
use millstream_model::TopicId;
use millstream_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};

use crate::dispatch::Request;
use crate::handlers::group_answers::{Gathered, ParkedGroup};
use crate::queued::hand_over;
use crate::visit::Visit;
use crate::{Broker, Context, Handled, View};

pub(crate) fn join(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &JoinGroupRequest<'_>,
) -> Handled {
    let (now, wall, bits) = (context.now, context.wall, broker.random_u128());
    step(broker, context, request, &body.group_id, |shard, asker| {
        shard.handle_join_group(now, wall, asker, body, bits)
    })
}

pub(crate) fn sync(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &SyncGroupRequest<'_>,
) -> Handled {
    let (now, wall) = (context.now, context.wall);
    step(broker, context, request, &body.group_id, |shard, asker| {
        shard.handle_sync_group(now, wall, asker, body)
    })
}

pub(crate) fn heartbeat(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &HeartbeatRequest<'_>,
) -> Handled {
    let (now, wall) = (context.now, context.wall);
    step(broker, context, request, &body.group_id, |shard, asker| {
        shard.handle_heartbeat(now, wall, asker, body)
    })
}

pub(crate) fn leave(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &LeaveGroupRequest<'_>,
) -> Handled {
    let (now, wall) = (context.now, context.wall);
    step(broker, context, request, &body.group_id, |shard, asker| {
        shard.handle_leave_group(now, wall, asker, body)
    })
}

/// Runs a request of one group and parks it for its answer.
pub(crate) fn step(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    group_id: &str,
    decide: impl FnOnce(&mut Shard, &RequestContext<'_>) -> Outcome,
) -> Handled {
    let mut visit = Visit::new(broker);
    if let Some(directory) = slow_directory(broker, context, group_id, &mut visit) {
        return hand_over(broker, context, request, directory);
    }
    decide_in_shard(broker, context, request, group_id, decide);
    ParkedGroup::of_one(request.reply, group_id).handled()
}

/// The directory of a group's records, if this step must not wait there.
pub(crate) fn slow_directory(
    broker: &Broker,
    context: &Context<'_>,
    group_id: &str,
    visit: &mut Visit<'_>,
) -> Option<usize> {
    if context.may_wait {
        return None;
    }
    let shard = shard_of(group_id, broker.group_shards().len() as i32);
    slow_directory_of_shard(broker, shard as usize, visit)
}

/// The directory of a shard's records, if this step must not wait there.
pub(crate) fn slow_directory_of_shard(
    broker: &Broker,
    shard: usize,
    visit: &mut Visit<'_>,
) -> Option<usize> {
    let directory = broker.directory_of_shard(shard)?;
    (!visit.may_wait_in(directory)).then_some(directory)
}

/// Runs a request of several groups, each in its shard, and parks it for their answers. `decide` is given the
/// group's place in the list.
pub(crate) fn step_for_each(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    groups: &[&str],
    gathered: Gathered,
    mut decide: impl FnMut(&mut Shard, &RequestContext<'_>, usize) -> Outcome,
) -> Handled {
    let mut visit = Visit::new(broker);
    let mut slow = groups
        .iter()
        .filter_map(|group| slow_directory(broker, context, group, &mut visit));
    if let Some(directory) = slow.next() {
        return hand_over(broker, context, request, directory);
    }
    for (place, group) in groups.iter().enumerate() {
        decide_in_shard(broker, context, request, group, |shard, asker| {
            decide(shard, asker, place)
        });
    }
    ParkedGroup::of_several(request.reply, gathered).handled()
}

/// Runs a request, or one group's part of it, in the group's shard.
pub(crate) fn decide_in_shard(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    group_id: &str,
    decide: impl FnOnce(&mut Shard, &RequestContext<'_>) -> Outcome,
) {
    let shard = shard_of(group_id, broker.group_shards().len() as i32) as usize;
    decide_in(broker, context, request, shard, decide);
}

/// Runs a request, or one shard's part of it, in the shard.
pub(crate) fn decide_in(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    shard: usize,
    decide: impl FnOnce(&mut Shard, &RequestContext<'_>) -> Outcome,
) {
    let asker = RequestContext {
        token: context.token,
        client_id: request.client_id,
        client_host: &context.client.host,
        api_version: request.reply.version,
    };
    let (wall, shard) = (context.wall, &broker.group_shards()[shard]);
    shard.step(broker, wall, context.effects, |shard| decide(shard, &asker));
}

impl TopicLookup for View {
    fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        let topic = View::topic(self, name)?;
        Some((topic.id, topic.partitions.len() as i32))
    }

    fn topic_name(&self, id: TopicId) -> Option<&str> {
        Some(&self.topic_by_id(id)?.name)
    }
}
