//! Fetch, versions 4 – 18.
//!
//! A fetch is a *look* at its partitions: read each up to the high watermark, within the limits. When
//! the look finds enough (or an error, or may not wait), it is the answer; otherwise the request is
//! parked on its partitions and looks again when a high watermark moves or its time is over.
//!
//! - A partition of a slow log directory in which somebody is busy is passed by: the answer says nothing
//!   new of it, and a request that waits looks again soon.
//! - The first partition with data gives at least one whole batch whatever the limits, so a batch
//!   larger than the limits does not stop a consumer.
//! - 5: log start offset; 9: leader epoch check (KIP-320); 12: flexible, last fetched epoch
//!   (KIP-595); 13: topic ids (KIP-516).
//! - Fetch sessions (7, KIP-227) are not kept yet: a request that opens one is answered with session
//!   0, which tells the client to send full requests.
//! - Not yet: replica fetches. A replica id ≥ 0 is NOT_LEADER_OR_FOLLOWER, since no partition has
//!   followers.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use millstream_log::ReadError;
use millstream_model::{Instant, LeaderEpoch, Offset, RequestToken, TopicId};
use millstream_protocol::ErrorCode;
use millstream_protocol::frame::Frame;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use millstream_protocol::messages::fetch_response::{
    EpochEndOffset, FetchResponse, FetchableTopicResponse, PartitionData,
};
use millstream_protocol::wire::Records;
use millstream_replica::{HostedPartition, Partition};

use crate::answers::Parked;
use crate::context::CloseReason;
use crate::dispatch::Request;
use crate::reply::Reply;
use crate::visit::Visit;
use crate::{Broker, Context, Handled, View};

/// After this a look that passed by a busy partition is repeated.
const BUSY_RETRY: Duration = Duration::from_millis(20);

const SESSION_NONE: i32 = 0;
const SESSION_EPOCH_INITIAL: i32 = 0;
const SESSION_EPOCH_FINAL: i32 = -1;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: FetchRequest<'_>,
) -> Handled {
    if let Some(code) = check_session(&body) {
        let refusal = FetchResponse {
            error_code: code.code(),
            ..FetchResponse::default()
        };
        return request.reply.answered(&refusal);
    }
    let view = broker.view();
    let mut fetch = ParkedFetch::new(broker, context.now, request.reply, &view, body);
    match fetch.look(broker, context) {
        Ok(Some(frame)) => Handled::Answered(frame),
        Ok(None) => Handled::Parked(Box::new(Parked::Fetch(fetch))),
        Err(reason) => Handled::Close(reason),
    }
}

/// No session is ever made, so only requests that open or need none are legal.
fn check_session(body: &FetchRequest<'_>) -> Option<ErrorCode> {
    match body.session_epoch {
        SESSION_EPOCH_INITIAL | SESSION_EPOCH_FINAL => None,
        _ => Some(ErrorCode::FetchSessionIdNotFound),
    }
}

/// A fetch between its looks.
pub struct ParkedFetch {
    reply: Reply,
    topics: Vec<WantedTopic>,
    deadline: Instant,
    /// When to look again at what was busy.
    next_look: Option<Instant>,
    bytes_min: usize,
    bytes_max: usize,
    is_read_committed: bool,
}

struct WantedTopic {
    /// Empty where the request names topics by id.
    name: String,
    id: TopicId,
    partitions: Vec<WantedPartition>,
}

struct WantedPartition {
    wanted: FetchPartition,
    /// The partition, or why it can never be read by this request.
    target: Result<Arc<HostedPartition>, ErrorCode>,
    /// The high watermark at the last look.
    seen: Offset,
}

/// What one look has found so far.
struct Look {
    bytes_left: usize,
    bytes_found: usize,
    has_error: bool,
    has_readable: bool,
}

impl ParkedFetch {
    fn new(
        broker: &Broker,
        now: Instant,
        reply: Reply,
        view: &View,
        body: FetchRequest<'_>,
    ) -> ParkedFetch {
        let wait = Duration::from_millis(body.max_wait_ms.max(0) as u64);
        let bytes_max = usize::try_from(body.max_bytes)
            .unwrap_or(0)
            .min(broker.config.fetch_bytes_max);
        let is_replica = body.replica_id >= 0 || body.replica_state.replica_id >= 0;
        let topics = body.topics.into_iter();
        ParkedFetch {
            reply,
            topics: topics
                .map(|topic| resolve(view, reply, is_replica, topic))
                .collect(),
            deadline: now.after(wait.min(broker.config.fetch_wait_max)),
            next_look: None,
            bytes_min: usize::try_from(body.min_bytes).unwrap_or(0).min(bytes_max),
            bytes_max,
            is_read_committed: body.isolation_level == 1,
        }
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.next_look.unwrap_or(self.deadline).min(self.deadline)
    }

    /// Looks at every partition; parks on all of them when it must wait.
    pub(crate) fn look(
        &mut self,
        broker: &Broker,
        context: &mut Context<'_>,
    ) -> Result<Option<Frame>, CloseReason> {
        let mut visit = Visit::new(broker);
        loop {
            visit.take_met_busy();
            let (response, look) = self.read(&mut visit);
            if self.is_enough(&look, context.now) {
                self.unpark_from(&mut visit, context);
                return self.reply.frame(&response).map(Some);
            }
            drop(response);
            if self.park(&mut visit, context.token) {
                self.next_look = visit.take_met_busy().then(|| context.now.after(BUSY_RETRY));
                return Ok(None);
            }
        }
    }

    /// The time is over: answers with what there is. Or it is time for another look.
    pub(crate) fn handle_timeout(
        &mut self,
        broker: &Broker,
        context: &mut Context<'_>,
    ) -> Result<Option<Frame>, CloseReason> {
        self.look(broker, context)
    }

    /// Takes the request out of the queues it waits in.
    pub(crate) fn unpark(&self, broker: &Broker, context: &mut Context<'_>) {
        self.unpark_from(&mut Visit::new(broker), context);
    }

    fn unpark_from(&self, visit: &mut Visit<'_>, context: &mut Context<'_>) {
        let token = context.token;
        for partition in self.topics.iter().flat_map(|topic| &topic.partitions) {
            let Ok(hosted) = &partition.target else {
                continue;
            };
            match visit.lock(hosted) {
                Some(Ok(mut locked)) => locked.unpark_fetch(token),
                Some(Err(_)) => {}
                None => visit.unpark_later(hosted, context),
            }
        }
    }

    fn is_enough(&self, look: &Look, now: Instant) -> bool {
        look.bytes_found >= self.bytes_min
            || look.has_error
            || !look.has_readable
            || now >= self.deadline
    }

    /// Waits on every readable partition. `false` when one has moved since the look.
    fn park(&self, visit: &mut Visit<'_>, token: RequestToken) -> bool {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        let mut is_parked = true;
        for partition in partitions {
            let Ok(hosted) = &partition.target else {
                continue;
            };
            is_parked &= match visit.lock(hosted) {
                Some(Ok(mut locked)) => locked.park_fetch(token, partition.seen),
                Some(Err(_)) => false,
                None => true,
            };
        }
        is_parked
    }

    fn read(&mut self, visit: &mut Visit<'_>) -> (FetchResponse<'static>, Look) {
        let mut look = Look {
            bytes_left: self.bytes_max,
            bytes_found: 0,
            has_error: false,
            has_readable: false,
        };
        let mut responses = Vec::with_capacity(self.topics.len());
        for topic in &mut self.topics {
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for partition in &mut topic.partitions {
                partitions.push(partition.read(visit, &mut look, self.is_read_committed));
            }
            responses.push(FetchableTopicResponse {
                topic: Cow::Owned(topic.name.clone()),
                topic_id: topic.id.0,
                partitions,
            });
        }
        debug_assert!(look.bytes_found <= self.bytes_max || look.bytes_left == 0);
        let response = FetchResponse {
            session_id: SESSION_NONE,
            responses,
            ..FetchResponse::default()
        };
        (response, look)
    }
}

fn resolve(view: &View, reply: Reply, is_replica: bool, topic: FetchTopic<'_>) -> WantedTopic {
    let uses_ids = reply.version >= 13;
    let id = TopicId(topic.topic_id);
    let hosted = if uses_ids {
        view.topic_by_id(id)
    } else {
        view.topic(&topic.topic)
    };
    let unknown = if uses_ids {
        ErrorCode::UnknownTopicId
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    let target = |index: i32| {
        let hosted = hosted.ok_or(unknown)?;
        let partition = hosted
            .partition(index)
            .ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if is_replica {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        Ok(Arc::clone(partition))
    };
    let partitions = topic.partitions.into_iter().map(|wanted| WantedPartition {
        target: target(wanted.partition),
        wanted,
        seen: Offset::NONE,
    });
    WantedTopic {
        name: if uses_ids {
            String::new()
        } else {
            topic.topic.into_owned()
        },
        id,
        partitions: partitions.collect(),
    }
}

impl WantedPartition {
    fn read(
        &mut self,
        visit: &mut Visit<'_>,
        look: &mut Look,
        is_read_committed: bool,
    ) -> PartitionData {
        let hosted = match &self.target {
            Ok(hosted) => hosted,
            Err(code) => return refused(self.wanted.partition, *code),
        };
        look.has_readable = true;
        let outcome = match visit.lock(hosted) {
            _ if hosted.is_deleted() => Err(ErrorCode::UnknownTopicOrPartition),
            Some(Ok(locked)) if !locked.is_offline() => {
                self.seen = locked.high_watermark();
                read_partition(&locked, &self.wanted, look)
            }
            Some(_) => Err(ErrorCode::KafkaStorageError),
            None => Ok(nothing_new(self.wanted.partition, self.seen)),
        };
        match outcome {
            Ok(mut data) => {
                data.aborted_transactions = is_read_committed.then(Vec::new);
                look.has_error |= data.diverging_epoch != EpochEndOffset::default();
                data
            }
            Err(code) => {
                look.has_error = true;
                refused(self.wanted.partition, code)
            }
        }
    }
}

/// What is said of a partition that was passed by: no records, and what was known at the last look.
fn nothing_new(partition_index: i32, seen: Offset) -> PartitionData {
    PartitionData {
        partition_index,
        high_watermark: seen.0,
        last_stable_offset: seen.0,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

/// Kafka's form of a partition that cannot be read: marks −1, no records.
fn refused(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.code(),
        high_watermark: -1,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

/// Reads one partition, in Kafka's order of checks: leader epoch, last fetched epoch, offset range.
fn read_partition(
    partition: &Partition,
    wanted: &FetchPartition,
    look: &mut Look,
) -> Result<PartitionData, ErrorCode> {
    check_leader_epoch(partition, wanted.current_leader_epoch)?;
    let log = partition.log();
    let mut data = PartitionData {
        partition_index: wanted.partition,
        high_watermark: partition.high_watermark().0,
        last_stable_offset: partition.last_stable_offset().0,
        log_start_offset: log.log_start_offset().0,
        records: Some(Records::default()),
        ..PartitionData::default()
    };
    if let Some(diverging) = find_divergence(partition, wanted)? {
        data.diverging_epoch = diverging;
        return Ok(data);
    }
    let offset = Offset(wanted.fetch_offset);
    let max_bytes = usize::try_from(wanted.partition_max_bytes)
        .unwrap_or(0)
        .min(look.bytes_left);
    let is_first = look.bytes_found == 0;
    let read = partition
        .read(offset, max_bytes, is_first)
        .map_err(|error| {
            if !matches!(error, ReadError::OutOfRange { .. }) {
                tracing::error!(%error, "fetch could not read the log");
            }
            error.code()
        })?;
    let records = Records::from(read.parts);
    look.bytes_found += records.len();
    look.bytes_left = look.bytes_left.saturating_sub(records.len());
    data.records = Some(records);
    Ok(data)
}

/// KIP-320: a client that knows an older leader is fenced, one that knows a newer one must wait.
pub(crate) fn check_leader_epoch(partition: &Partition, epoch: i32) -> Result<(), ErrorCode> {
    let current = partition.leader_epoch();
    match LeaderEpoch(epoch) {
        epoch if epoch.0 < 0 || epoch == current => Ok(()),
        epoch if epoch < current => Err(ErrorCode::FencedLeaderEpoch),
        _ => Err(ErrorCode::UnknownLeaderEpoch),
    }
}

/// KIP-595: where the client's log left ours, when the last epoch it fetched ended earlier here.
fn find_divergence(
    partition: &Partition,
    wanted: &FetchPartition,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let log = partition.log();
    if wanted.fetch_offset < log.log_start_offset().0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let asked = LeaderEpoch(wanted.last_fetched_epoch);
    let Some((epoch, end)) = partition.epoch_end_offset(asked) else {
        return Err(ErrorCode::OffsetOutOfRange);
    };
    let diverges = epoch < asked || end.0 < wanted.fetch_offset;
    Ok(diverges.then_some(EpochEndOffset {
        epoch: epoch.0,
        end_offset: end.0,
    }))
}
