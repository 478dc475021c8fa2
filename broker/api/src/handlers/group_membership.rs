//! JoinGroup (0 – 9), SyncGroup (0 – 5), Heartbeat (0 – 4) and LeaveGroup (0 – 5) of classic groups.
//!
//! The rules are the coordinator's. Here a request finds its shard and is parked; the answer comes as
//! a completion, often in the same step.

use millstream_coordinator::{
    GroupAnswer, Outcome, RequestContext, Shard, TopicLookup, join_offset_fetch, shard_of,
};
use millstream_model::TopicId;
use millstream_protocol::frame::Frame;
use millstream_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use millstream_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::answers::Parked;
use crate::context::CloseReason;
use crate::dispatch::Request;
use crate::group_shard::settle;
use crate::queued::{ShardStep, hand_over};
use crate::reply::Reply;
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
    let waits_for_others = matches!(request.reply.api_key, ApiKey::JoinGroup | ApiKey::SyncGroup);
    let parked = ParkedGroup {
        reply: request.reply,
        group_id: waits_for_others.then(|| group_id.into()),
        fetches: Vec::new(),
    };
    Handled::Parked(Box::new(Parked::Group(parked)))
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
    let directory = broker.directory_of_shard(shard as usize)?;
    (!visit.may_wait_in(directory)).then_some(directory)
}

/// Runs a request, or one group's part of it, in the group's shard.
pub(crate) fn decide_in_shard(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    group_id: &str,
    decide: impl FnOnce(&mut Shard, &RequestContext<'_>) -> Outcome,
) {
    let shards = broker.group_shards();
    let index = shard_of(group_id, shards.len() as i32);
    let asker = RequestContext {
        token: context.token,
        client_id: request.client_id,
        client_host: &context.client.host,
        api_version: request.reply.version,
    };
    let wall = context.wall;
    shards[index as usize].step(broker, wall, context.effects, |shard| decide(shard, &asker));
}

/// A request that waits for a group coordinator.
pub struct ParkedGroup {
    pub(crate) reply: Reply,
    /// The group, where its other members are waited for.
    pub(crate) group_id: Option<Box<str>>,
    /// For OffsetFetch: the groups asked for, each with its answer once it is there.
    pub(crate) fetches: Vec<(String, Option<OffsetFetchResponseGroup<'static>>)>,
}

impl ParkedGroup {
    pub(crate) fn handle_answer(
        &mut self,
        answer: GroupAnswer,
        refused: Option<ErrorCode>,
    ) -> Result<Option<Frame>, CloseReason> {
        let frame = match settle(answer, refused, self.reply.version) {
            GroupAnswer::Join(answer) => self.reply.frame(&answer),
            GroupAnswer::Sync(answer) => self.reply.frame(&answer),
            GroupAnswer::Heartbeat(answer) => self.reply.frame(&answer),
            GroupAnswer::Leave(answer) => self.reply.frame(&answer),
            GroupAnswer::Commit(answer) => self.reply.frame(&answer),
            GroupAnswer::OffsetFetch(answer) => return self.handle_fetched(answer),
            // Not advertised yet, so nobody waits for them.
            GroupAnswer::Delete(_)
            | GroupAnswer::Describe(_)
            | GroupAnswer::List(_)
            | GroupAnswer::OffsetDelete(_) => {
                return Ok(None);
            }
        };
        frame.map(Some)
    }

    /// The connection ends: a member that waited no longer does.
    pub(crate) fn disconnect(&self, broker: &Broker, context: &mut Context<'_>) {
        let Some(group_id) = &self.group_id else {
            return;
        };
        let step = ShardStep::Disconnect {
            group_id: group_id.clone(),
            token: context.token,
        };
        let shard = shard_of(group_id, broker.group_shards().len() as i32) as usize;
        broker.run_in_shard(shard, step, context.now, context.wall, context.effects);
    }

    fn handle_fetched(
        &mut self,
        answer: OffsetFetchResponseGroup<'static>,
    ) -> Result<Option<Frame>, CloseReason> {
        let waiting = self
            .fetches
            .iter_mut()
            .find(|(group, answered)| answered.is_none() && *group == answer.group_id);
        if let Some((_, answered)) = waiting {
            *answered = Some(answer);
        }
        if self.fetches.iter().any(|(_, answered)| answered.is_none()) {
            return Ok(None);
        }
        let groups = self
            .fetches
            .drain(..)
            .filter_map(|(_, answered)| answered)
            .collect();
        self.reply
            .frame(&join_offset_fetch(self.reply.version, groups))
            .map(Some)
    }
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
