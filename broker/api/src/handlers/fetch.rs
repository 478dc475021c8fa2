//! Fetch, versions 4 – 18.
//!
//! A fetch is a *look* at its partitions: read each up to the high watermark, within the limits. When
//! the look finds enough (or an error, or may not wait), it is the answer; otherwise the request is
//! parked on its partitions and looks again when a high watermark moves or its time is over.
//!
//! - A partition of a slow log directory in which somebody is busy is passed by: the answer says nothing
//!   new of it, and a request that waits looks again soon.
//! - A look reads no more than there is room for among the answers that clients have not read yet
//!   (`answer_budget.rs`); without room it waits.
//! - The first partition with data gives at least one whole batch whatever the limits, so a batch
//!   larger than the limits does not stop a consumer.
//! - 5: log start offset; 7: fetch sessions (KIP-227), see `fetching/sessions.rs`; 9: leader epoch check
//!   (KIP-320); 12: flexible, last fetched epoch (KIP-595); 13: topic ids (KIP-516).
//! - A client over its quota of bytes gets no topics but a time to wait, and its connection is not read
//!   meanwhile (KIP-219); one answer holds no more than ten seconds of its quota.
//! - Not yet: replica fetches. A replica id ≥ 0 is NOT_LEADER_OR_FOLLOWER, since no partition has
//!   followers.

use std::borrow::Cow;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use millstream_model::{Instant, RequestToken, TopicId};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::fetch_request::{FetchRequest, FetchTopic, ForgottenTopic};
use millstream_protocol::messages::fetch_response::{
    FetchResponse, FetchableTopicResponse, PartitionData,
};
use millstream_replica::HostedPartition;

use crate::answers::Parked;
use crate::client_rates::{Direction, wire_millis};
use crate::context::CloseReason;
use crate::dispatch::Request;
use crate::fetching::{
    FetchSession, Look, PartitionKey, SessionState, Told, TopicKey, WantedPartition,
    WantedPartitions, has_records,
};
use crate::reply::Reply;
use crate::visit::Visit;
use crate::{AnswerBudget, Broker, Context, Handled, View};

/// After this a look that passed by a busy partition, or found no room for an answer, is repeated.
const BUSY_RETRY: Duration = Duration::from_millis(20);

/// What a partition takes while it is asked for, with its place in the maps and in the queue it waits in.
const PARTITION_BYTES: usize = 2 * size_of::<WantedPartition>() + 64;

const SESSION_NONE: i32 = 0;
const SESSION_EPOCH_INITIAL: i32 = 0;
const SESSION_EPOCH_FINAL: i32 = -1;
/// From this version on topics have ids instead of names.
const FIRST_WITH_IDS: i16 = 13;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: FetchRequest<'_>,
) -> Handled {
    let mut fetch = match ParkedFetch::new(broker, context.now, request, body) {
        Ok(fetch) => fetch,
        Err(code) => return request.reply.answered(&refusal(code)),
    };
    match fetch.look(broker, context) {
        Ok(Some(handled)) => handled,
        Ok(None) => Handled::Parked(Box::new(Parked::Fetch(fetch))),
        Err(reason) => Handled::Close(reason),
    }
}

fn refusal(code: ErrorCode) -> FetchResponse<'static> {
    FetchResponse {
        error_code: code.code(),
        ..FetchResponse::default()
    }
}

/// A fetch between its looks.
pub struct ParkedFetch {
    reply: Reply,
    source: Source,
    /// What it waits on. Its session may go on without it, to other partitions.
    parked_on: Vec<Arc<HostedPartition>>,
    deadline: Instant,
    /// When to look again at what was busy.
    next_look: Option<Instant>,
    bytes_min: usize,
    bytes_max: usize,
    /// Whether the last look found less room for an answer than it may have.
    is_short_of_room: bool,
    is_read_committed: bool,
    /// The client, where it has a quota of bytes.
    limited: Option<Box<str>>,
}

/// Where the partitions of a fetch are.
enum Source {
    /// They are its own. The answer begins a session with them, if it is asked for.
    Full {
        partitions: WantedPartitions,
        begins_session: bool,
    },
    /// They are a session's, which no later request may have used: its next epoch is still this one.
    Incremental {
        session: Arc<FetchSession>,
        next_epoch: i32,
    },
}

/// The partitions of a fetch, while they are looked at.
enum Wanted<'a> {
    Full(&'a mut WantedPartitions),
    Session(MutexGuard<'a, SessionState>),
}

impl Wanted<'_> {
    fn partitions(&mut self) -> &mut WantedPartitions {
        match self {
            Wanted::Full(partitions) => partitions,
            Wanted::Session(state) => &mut state.partitions,
        }
    }
}

impl Source {
    /// *Errors*: a later request of the session was here meanwhile.
    fn lock(&mut self) -> Result<Wanted<'_>, ErrorCode> {
        match self {
            Source::Full { partitions, .. } => Ok(Wanted::Full(partitions)),
            Source::Incremental {
                session,
                next_epoch,
            } => {
                let state = session.try_lock();
                let state = state.filter(|state| state.next_epoch == *next_epoch);
                let state = state.ok_or(ErrorCode::InvalidFetchSessionEpoch)?;
                Ok(Wanted::Session(state))
            }
        }
    }
}

/// What is noted in the partitions once a look is the answer.
struct News {
    place: u64,
    told: Told,
    has_records: bool,
}

impl ParkedFetch {
    /// *Errors*: there is no such session, or it is elsewhere.
    fn new(
        broker: &Broker,
        now: Instant,
        request: &Request<'_>,
        body: FetchRequest<'_>,
    ) -> Result<ParkedFetch, ErrorCode> {
        let wait = Duration::from_millis(body.max_wait_ms.max(0) as u64);
        let bytes_max = usize::try_from(body.max_bytes)
            .unwrap_or(0)
            .min(broker.config.fetch_bytes_max);
        let burst = broker.burst_of(Direction::Fetched, request.client_id);
        let bytes_max = bytes_max.min(burst.unwrap_or(usize::MAX));
        let reply = request.reply;
        Ok(ParkedFetch {
            reply,
            parked_on: Vec::new(),
            deadline: now.after(wait.min(broker.config.fetch_wait_max)),
            next_look: None,
            bytes_min: usize::try_from(body.min_bytes).unwrap_or(0).min(bytes_max),
            bytes_max,
            is_short_of_room: false,
            is_read_committed: body.isolation_level == 1,
            limited: burst.map(|_| request.client_id.into()),
            source: source(broker, now, reply, body)?,
        })
    }

    /// The memory that it keeps while it is parked, roughly. What is a session's is counted there.
    pub(crate) fn bytes(&self) -> usize {
        let own = match &self.source {
            Source::Full { partitions, .. } => partitions.len() * PARTITION_BYTES,
            Source::Incremental { .. } => 0,
        };
        own + self.parked_on.len() * size_of::<Arc<HostedPartition>>()
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.next_look.unwrap_or(self.deadline).min(self.deadline)
    }

    /// Looks at every partition; parks on all of them when it must wait.
    pub(crate) fn look(
        &mut self,
        broker: &Broker,
        context: &mut Context<'_>,
    ) -> Result<Option<Handled>, CloseReason> {
        let mut visit = Visit::new(broker);
        loop {
            visit.take_met_busy();
            let room = broker.answers.room();
            let (mut response, look, news) = match self.read(&mut visit, room) {
                Ok(read) => read,
                Err(code) => {
                    self.unpark_from(&mut visit, context);
                    return Ok(Some(self.reply.answered(&refusal(code))));
                }
            };
            if self.is_enough(&look, context.now) {
                self.unpark_from(&mut visit, context);
                drop(visit);
                if let Some(throttled) = self.throttle(broker, context.now, &response)? {
                    return Ok(Some(throttled));
                }
                response.session_id = self.note_answer(broker, context.now, news);
                return Ok(Some(self.reply.answered(&response)));
            }
            drop(response);
            if self.park(&mut visit, context.token) {
                let looks_again = visit.take_met_busy() || self.is_short_of_room;
                self.next_look = looks_again.then(|| context.now.after(BUSY_RETRY));
                return Ok(None);
            }
        }
    }

    /// The answer to a client that would be over its quota with what was found: it gets nothing now and the
    /// same later, and its session has told it nothing. A full request begins no session.
    fn throttle(
        &self,
        broker: &Broker,
        now: Instant,
        found: &FetchResponse<'static>,
    ) -> Result<Option<Handled>, CloseReason> {
        let Some(client_id) = &self.limited else {
            return Ok(None);
        };
        let bytes = self.reply.frame(found)?.len();
        let throttle = broker.count_bytes(Direction::Fetched, client_id, bytes, now);
        if throttle.is_zero() {
            return Ok(None);
        }
        broker.uncount_bytes(Direction::Fetched, client_id, bytes);
        let session_id = match &self.source {
            Source::Full { .. } => SESSION_NONE,
            Source::Incremental { session, .. } => session.id,
        };
        let nothing = self.reply.answered(&FetchResponse {
            throttle_time_ms: wire_millis(throttle),
            session_id,
            ..FetchResponse::default()
        });
        Ok(Some(nothing.throttled(now, throttle)))
    }

    /// The time is over: answers with what there is. Or it is time for another look.
    pub(crate) fn handle_timeout(
        &mut self,
        broker: &Broker,
        context: &mut Context<'_>,
    ) -> Result<Option<Handled>, CloseReason> {
        self.look(broker, context)
    }

    /// Takes the request out of the queues it waits in.
    pub(crate) fn unpark(&mut self, broker: &Broker, context: &mut Context<'_>) {
        self.unpark_from(&mut Visit::new(broker), context);
    }

    fn unpark_from(&mut self, visit: &mut Visit<'_>, context: &mut Context<'_>) {
        for hosted in self.parked_on.drain(..) {
            match visit.lock(&hosted) {
                Some(Ok(mut locked)) => locked.unpark_fetch(context.token),
                Some(Err(_)) => {}
                None => visit.unpark_later(&hosted, context),
            }
        }
    }

    fn is_enough(&self, look: &Look, now: Instant) -> bool {
        look.bytes_found >= self.bytes_min
            || (self.is_short_of_room && look.bytes_found > 0)
            || look.has_error
            || !look.has_readable
            || now >= self.deadline
    }

    /// Waits on every readable partition. `false` when one has moved since the look.
    fn park(&mut self, visit: &mut Visit<'_>, token: RequestToken) -> bool {
        let Ok(mut wanted) = self.source.lock() else {
            return false;
        };
        let partitions = wanted.partitions();
        self.parked_on.clear();
        let mut is_parked = true;
        for partition in partitions.iter() {
            let Some(hosted) = partition.target() else {
                continue;
            };
            self.parked_on.push(Arc::clone(hosted));
            is_parked &= match visit.lock(hosted) {
                Some(Ok(mut locked)) => locked.park_fetch(token, partition.seen),
                Some(Err(_)) => false,
                None => true,
            };
        }
        is_parked
    }

    /// `room`: bytes of records that the broker has room for.
    fn read(
        &mut self,
        visit: &mut Visit<'_>,
        room: usize,
    ) -> Result<(FetchResponse<'static>, Look, Vec<News>), ErrorCode> {
        // What is small takes no room.
        let bytes_max = self.bytes_max.min(room.max(AnswerBudget::OWN_BYTES));
        self.is_short_of_room = bytes_max < self.bytes_max;
        let mut look = Look {
            bytes_left: bytes_max,
            bytes_found: 0,
            may_exceed: room > 0,
            has_error: false,
            has_readable: false,
        };
        let (mut responses, mut news) = (Vec::new(), Vec::new());
        let is_full = matches!(self.source, Source::Full { .. });
        let mut wanted = self.source.lock()?;
        for (place, partition) in wanted.partitions().iter_mut() {
            let data = partition.read(visit, &mut look, self.is_read_committed);
            let data = match data {
                Some(data) if is_full || partition.is_news(&data) => data,
                None if is_full => partition.nothing_new(),
                _ => continue,
            };
            news.push(News {
                place,
                told: Told::of(&data),
                has_records: has_records(&data),
            });
            push(&mut responses, &partition.key.topic, data);
        }
        debug_assert!(look.bytes_found <= self.bytes_max || look.bytes_left == 0);
        let response = FetchResponse {
            responses,
            ..FetchResponse::default()
        };
        Ok((response, look, news))
    }

    /// Notes what the client is told with this answer. Answers the session that it is told.
    fn note_answer(&mut self, broker: &Broker, now: Instant, news: Vec<News>) -> i32 {
        if let Source::Full {
            begins_session: false,
            ..
        } = self.source
        {
            return SESSION_NONE;
        }
        if let Ok(mut wanted) = self.source.lock() {
            let partitions = wanted.partitions();
            for News {
                place,
                told,
                has_records,
            } in news
            {
                if let Some(partition) = partitions.at_mut(place) {
                    partition.told = told;
                }
                if has_records {
                    partitions.move_to_end(place);
                }
            }
        }
        match &mut self.source {
            Source::Full { partitions, .. } => {
                let partitions = std::mem::take(partitions);
                let uses_ids = self.reply.version >= FIRST_WITH_IDS;
                let begun = broker.begin_fetch_session(partitions, uses_ids, now);
                begun.unwrap_or(SESSION_NONE)
            }
            Source::Incremental { session, .. } => session.id,
        }
    }
}

/// Adds a partition to an answer. Only neighbours of one topic share its name.
fn push(
    responses: &mut Vec<FetchableTopicResponse<'static>>,
    topic: &TopicKey,
    data: PartitionData,
) {
    let (name, id) = match topic {
        TopicKey::Name(name) => (&**name, TopicId::ZERO),
        TopicKey::Id(id) => ("", *id),
    };
    match responses.last_mut() {
        Some(last) if last.topic == name && last.topic_id == id.0 => last.partitions.push(data),
        _ => responses.push(FetchableTopicResponse {
            topic: Cow::Owned(name.to_owned()),
            topic_id: id.0,
            partitions: vec![data],
        }),
    }
}

/// Where a request's partitions are: in the request, or in its session.
fn source(
    broker: &Broker,
    now: Instant,
    reply: Reply,
    body: FetchRequest<'_>,
) -> Result<Source, ErrorCode> {
    let view = broker.view();
    let uses_ids = reply.version >= FIRST_WITH_IDS;
    let is_replica = body.replica_id >= 0 || body.replica_state.replica_id >= 0;
    let (id, epoch) = (body.session_id, body.session_epoch);
    if epoch == SESSION_EPOCH_INITIAL || epoch == SESSION_EPOCH_FINAL {
        if id != SESSION_NONE {
            broker.fetch_sessions.end(id);
        }
        let mut partitions = WantedPartitions::default();
        for topic in body.topics {
            add(&mut partitions, &view, uses_ids, is_replica, topic);
        }
        return Ok(Source::Full {
            partitions,
            begins_session: epoch == SESSION_EPOCH_INITIAL && !is_replica,
        });
    }
    let mut is_over = false;
    let change = |partitions: &mut WantedPartitions| {
        for (_, partition) in partitions.iter_mut() {
            partition.resolve_again(&view);
        }
        for topic in body.topics {
            add(partitions, &view, uses_ids, is_replica, topic);
        }
        for topic in &body.forgotten_topics_data {
            forget(partitions, &view, uses_ids, topic);
        }
        is_over = partitions.is_empty();
    };
    let resumed = broker
        .fetch_sessions
        .resume((id, epoch), uses_ids, now, change);
    let (session, next_epoch) = resumed?;
    if is_over {
        return Ok(Source::Full {
            partitions: WantedPartitions::default(),
            begins_session: false,
        });
    }
    Ok(Source::Incremental {
        session,
        next_epoch,
    })
}

/// Adds the partitions of a topic. Of those that are there only what is asked for changes.
fn add(
    partitions: &mut WantedPartitions,
    view: &View,
    uses_ids: bool,
    is_replica: bool,
    topic: FetchTopic<'_>,
) {
    let topic_key = topic_key(view, uses_ids, topic.topic_id, &topic.topic);
    for wanted in topic.partitions {
        let key = PartitionKey {
            topic: topic_key.clone(),
            partition: wanted.partition,
        };
        match partitions.get_mut(&key) {
            Some(known) => known.wanted = wanted,
            None => partitions.put(WantedPartition::new(key, wanted, view, is_replica)),
        }
    }
}

fn forget(
    partitions: &mut WantedPartitions,
    view: &View,
    uses_ids: bool,
    topic: &ForgottenTopic<'_>,
) {
    let topic_key = topic_key(view, uses_ids, topic.topic_id, &topic.topic);
    for partition in &topic.partitions {
        partitions.forget(&PartitionKey {
            topic: topic_key.clone(),
            partition: *partition,
        });
    }
}

/// The topic as it is named, with the name that the view already holds where it knows it.
fn topic_key(view: &View, uses_ids: bool, id: [u8; 16], name: &str) -> TopicKey {
    if uses_ids {
        return TopicKey::Id(TopicId(id));
    }
    let known = view.topic(name).map(|topic| Arc::clone(&topic.name));
    TopicKey::Name(known.unwrap_or_else(|| name.into()))
}
