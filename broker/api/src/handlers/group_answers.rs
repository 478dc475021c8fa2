//! A request that waits for group coordinators, and how the answers of several make one.

use std::collections::{BTreeMap, VecDeque};

use millstream_coordinator::{GroupAnswer, join_offset_fetch, shard_of};
use millstream_protocol::frame::Frame;
use millstream_protocol::messages::delete_groups_response::DeletableGroupResult;
use millstream_protocol::messages::describe_groups_response::DescribedGroup;
use millstream_protocol::messages::list_groups_response::ListedGroup;
use millstream_protocol::messages::offset_fetch_response::OffsetFetchResponseGroup;
use millstream_protocol::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, ListGroupsResponse,
};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::answers::Parked;
use crate::context::CloseReason;
use crate::group_shard::settle;
use crate::queued::ShardStep;
use crate::reply::Reply;
use crate::{Broker, Context, Handled};

/// A request that waits for a group coordinator.
pub struct ParkedGroup {
    reply: Reply,
    /// The group, where its other members are waited for.
    group_id: Option<Box<str>>,
    gathered: Gathered,
}

/// What has come of an answer that is made of several.
pub(crate) enum Gathered {
    /// The request is of one group, so its answer comes whole.
    Whole,
    OffsetFetch(PerGroup<OffsetFetchResponseGroup<'static>>),
    Describe {
        groups: PerGroup<DescribedGroup<'static>>,
        /// What the client may do with each of them, where it asked for that.
        operations: Option<i32>,
    },
    Delete(PerGroup<DeletableGroupResult<'static>>),
    List {
        groups: Vec<ListedGroup<'static>>,
        error: ErrorCode,
        shards_missing: usize,
    },
}

/// The answers for the groups of one request, in its order. A group that is named twice is answered twice.
pub(crate) struct PerGroup<T> {
    answers: Vec<Option<T>>,
    /// Where the next answer for a group belongs.
    places: BTreeMap<Box<str>, VecDeque<usize>>,
    missing: usize,
}

impl<T> PerGroup<T> {
    pub(crate) fn of(groups: &[&str]) -> PerGroup<T> {
        let mut places: BTreeMap<Box<str>, VecDeque<usize>> = BTreeMap::new();
        for (place, group) in groups.iter().enumerate() {
            places.entry((*group).into()).or_default().push_back(place);
        }
        PerGroup {
            answers: groups.iter().map(|_| None).collect(),
            places,
            missing: groups.len(),
        }
    }

    /// Takes the answer for a group. All answers, with the last one.
    fn take(&mut self, group: &str, answer: T) -> Option<Vec<T>> {
        let place = self.places.get_mut(group).and_then(VecDeque::pop_front)?;
        self.answers[place] = Some(answer);
        self.missing -= 1;
        let is_complete = self.missing == 0;
        is_complete.then(|| self.answers.drain(..).flatten().collect())
    }
}

impl ParkedGroup {
    /// Waits for the answer of one group.
    pub(crate) fn of_one(reply: Reply, group_id: &str) -> ParkedGroup {
        let waits_for_others = matches!(reply.api_key, ApiKey::JoinGroup | ApiKey::SyncGroup);
        ParkedGroup {
            reply,
            group_id: waits_for_others.then(|| group_id.into()),
            gathered: Gathered::Whole,
        }
    }

    /// Waits for the answers of several.
    pub(crate) fn of_several(reply: Reply, gathered: Gathered) -> ParkedGroup {
        ParkedGroup {
            reply,
            group_id: None,
            gathered,
        }
    }

    pub(crate) fn handled(self) -> Handled {
        Handled::Parked(Box::new(Parked::Group(self)))
    }

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
            GroupAnswer::OffsetDelete(answer) => self.reply.frame(&answer),
            GroupAnswer::OffsetFetch(answer) => return self.handle_fetched(answer),
            GroupAnswer::Describe(answer) => return self.handle_described(answer),
            GroupAnswer::Delete(answer) => return self.handle_deleted(answer),
            GroupAnswer::List(answer) => return self.handle_listed(answer),
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
        let Gathered::OffsetFetch(groups) = &mut self.gathered else {
            return Ok(None);
        };
        let group = answer.group_id.clone();
        let Some(groups) = groups.take(&group, answer) else {
            return Ok(None);
        };
        let response = join_offset_fetch(self.reply.version, groups);
        self.reply.frame(&response).map(Some)
    }

    fn handle_described(
        &mut self,
        mut answer: DescribedGroup<'static>,
    ) -> Result<Option<Frame>, CloseReason> {
        let Gathered::Describe { groups, operations } = &mut self.gathered else {
            return Ok(None);
        };
        if let Some(operations) = *operations
            && answer.error_code == ErrorCode::None.code()
        {
            answer.authorized_operations = operations;
        }
        let group = answer.group_id.clone();
        let Some(groups) = groups.take(&group, answer) else {
            return Ok(None);
        };
        let response = DescribeGroupsResponse {
            groups,
            ..DescribeGroupsResponse::default()
        };
        self.reply.frame(&response).map(Some)
    }

    fn handle_deleted(
        &mut self,
        answer: DeletableGroupResult<'static>,
    ) -> Result<Option<Frame>, CloseReason> {
        let Gathered::Delete(groups) = &mut self.gathered else {
            return Ok(None);
        };
        let group = answer.group_id.clone();
        let Some(results) = groups.take(&group, answer) else {
            return Ok(None);
        };
        let response = DeleteGroupsResponse {
            results,
            ..DeleteGroupsResponse::default()
        };
        self.reply.frame(&response).map(Some)
    }

    /// A shard that is loading refuses the whole list: it would lack groups that are there.
    fn handle_listed(
        &mut self,
        answer: Result<Vec<ListedGroup<'static>>, ErrorCode>,
    ) -> Result<Option<Frame>, CloseReason> {
        let Gathered::List {
            groups,
            error,
            shards_missing,
        } = &mut self.gathered
        else {
            return Ok(None);
        };
        match answer {
            Ok(listed) => groups.extend(listed),
            Err(code) => *error = code,
        }
        *shards_missing = shards_missing.saturating_sub(1);
        if *shards_missing > 0 {
            return Ok(None);
        }
        let mut response = ListGroupsResponse {
            error_code: error.code(),
            ..ListGroupsResponse::default()
        };
        if *error == ErrorCode::None {
            response.groups = std::mem::take(groups);
        }
        self.reply.frame(&response).map(Some)
    }
}
