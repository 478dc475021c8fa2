//! The producer without its sockets: records in, requests out, answers back in.
//!
//! The core owns all batches and decides what is sent to whom and when; time, metadata and answers are arguments, and what
//! it wants done comes out as [`Effect`]s. The rules that keep records from being doubled or reordered are those of
//! [`Queue`], one per partition; this file shares out the brokers' connections among the queues.

mod reports;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backoff::Dice;
use crate::cluster::{Metadata, TopicPartition};
use crate::producer::batch::ProducerIdentity;
use crate::producer::config::ProducerConfig;
use crate::producer::queue::{Done, Next, Queue, Rules, Session, earlier};
use crate::producer::record::{BatchResult, Record};

/// Age at which metadata is asked for again without need, to find new partitions.
const METADATA_AGE_MAX: Duration = Duration::from_secs(300);

/// What the shell has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Connect to this broker and report.
    Connect(i32),
    /// Ask for a producer id and report.
    AskProducerId,
    /// Ask for these topics and report.
    RefreshMetadata(Vec<Arc<str>>),
    /// Send this request and report its answer.
    Send(Order),
}

/// One Produce request to be sent.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) request: u64,
    pub(crate) node: i32,
    pub(crate) batches: Vec<(TopicPartition, Bytes)>,
}

/// How a broker can be reached.
#[derive(Debug)]
enum Link {
    Connecting,
    Down { until: Instant },
    Up { session: u64, in_flight: usize },
}

#[derive(Debug)]
struct Node {
    link: Link,
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Identity {
    Needed { not_before: Option<Instant> },
    Asked,
    Known(ProducerIdentity),
}

#[derive(Debug)]
struct SentRequest {
    node: i32,
    session: u64,
    batches: Vec<(usize, u64)>,
}

/// The state of a producer.
#[derive(Debug)]
pub(crate) struct Core {
    rules: Rules,
    request_bytes_max: usize,
    identity: Identity,
    identity_failures: u32,
    queues: Vec<Queue>,
    index: HashMap<TopicPartition, usize>,
    nodes: BTreeMap<i32, Node>,
    sent: HashMap<u64, SentRequest>,
    last_request: u64,
    last_batch: u64,
    turn: usize,
    hurries: usize,
    refreshing: bool,
    refresh_wanted: bool,
    refresh_not_before: Option<Instant>,
    refresh_due: Option<Instant>,
    released: usize,
    dice: Dice,
}

impl Core {
    pub(crate) fn new(config: &ProducerConfig, dice: Dice) -> Self {
        Self {
            rules: Rules {
                codec: config.compression,
                idempotent: config.idempotent,
                batch_bytes: config.batch_bytes,
                linger: config.linger,
                in_flight_max: config.in_flight_max,
                delivery_timeout: config.delivery_timeout,
                backoff: config.backoff,
            },
            request_bytes_max: config.request_bytes_max,
            identity: Identity::Needed { not_before: None },
            identity_failures: 0,
            queues: Vec::new(),
            index: HashMap::new(),
            nodes: BTreeMap::new(),
            sent: HashMap::new(),
            last_request: 0,
            last_batch: 0,
            turn: 0,
            hurries: 0,
            refreshing: false,
            refresh_wanted: false,
            refresh_not_before: None,
            refresh_due: None,
            released: 0,
            dice,
        }
    }

    /// Takes a record in. Returns its batch's result, its place in the batch, and whether the shell should poll now.
    pub(crate) fn push(
        &mut self,
        target: &TopicPartition,
        record: &Record,
        timestamp: i64,
        reserved: usize,
        now: Instant,
    ) -> (watch::Receiver<BatchResult>, i64, bool) {
        let at = match self.index.get(target) {
            Some(&at) => at,
            None => {
                self.queues.push(Queue::new(target.clone()));
                self.index.insert(target.clone(), self.queues.len() - 1);
                self.queues.len() - 1
            }
        };
        let queue = &mut self.queues[at];
        let was_full = queue.has_full_batch();
        let last_batch = self.last_batch;
        let (result, index) = queue.push(
            record,
            timestamp,
            reserved,
            &mut self.last_batch,
            &self.rules,
            now,
        );
        let began = self.last_batch != last_batch;
        (
            result,
            index,
            began || (queue.has_full_batch() && !was_full),
        )
    }

    /// Until [`Core::end_hurry`], batches do not wait for more records.
    pub(crate) fn begin_hurry(&mut self) {
        self.hurries += 1;
    }

    /// Ends one [`Core::begin_hurry`].
    pub(crate) fn end_hurry(&mut self) {
        self.hurries = self.hurries.saturating_sub(1);
    }

    /// The results of everything that has none yet.
    pub(crate) fn outstanding(&self) -> Vec<watch::Receiver<BatchResult>> {
        let batches = self.queues.iter().flat_map(Queue::batches);
        batches.map(|batch| batch.subscribe()).collect()
    }

    /// Buffer memory given back since the last call, in bytes.
    pub(crate) fn take_released(&mut self) -> usize {
        std::mem::take(&mut self.released)
    }

    /// Decides what to do now; returns when to ask again at the latest.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        metadata: &Metadata,
        effects: &mut Vec<Effect>,
    ) -> Option<Instant> {
        let mut wake = None;
        self.expire(now, &mut wake);
        loop {
            let orders = self.gather(now, metadata, effects, &mut wake);
            if orders.is_empty() {
                break;
            }
            for (node, order) in orders {
                self.dispatch(node, order, effects);
            }
        }
        self.poll_refresh(now, effects, &mut wake);
        wake
    }

    /// One request per reachable broker at most, with one batch per partition.
    fn gather(
        &mut self,
        now: Instant,
        metadata: &Metadata,
        effects: &mut Vec<Effect>,
        wake: &mut Option<Instant>,
    ) -> BTreeMap<i32, Gathered> {
        let mut orders: BTreeMap<i32, Gathered> = BTreeMap::new();
        let count = self.queues.len();
        let hurry = self.hurries > 0;
        for step in 0..count {
            let at = (self.turn + step) % count;
            let Some(next) = self.queues[at].next(now, hurry, &self.rules, wake) else {
                continue;
            };
            if !self.identify(at, now, effects, wake) {
                continue;
            }
            let target = &self.queues[at].target;
            let Some((node, _)) = metadata.leader(&target.topic, target.partition) else {
                self.refresh_wanted = true;
                continue;
            };
            let Some(session) = self.session(node, now, effects, wake) else {
                continue;
            };
            let queue = &mut self.queues[at];
            let order = orders.entry(node).or_default();
            let size = queue.peek(next);
            let fits = order.batches.is_empty() || order.size + size <= self.request_bytes_max;
            if !fits || !queue.may_use((node, session)) {
                continue;
            }
            order.session = session;
            order.size += size;
            order.batches.push((at, next));
        }
        self.turn = (self.turn + 1) % count.max(1);
        orders.retain(|_, order| !order.batches.is_empty());
        orders
    }

    fn dispatch(&mut self, node: i32, gathered: Gathered, effects: &mut Vec<Effect>) {
        let session: Session = (node, gathered.session);
        let mut sent = SentRequest {
            node,
            session: gathered.session,
            batches: Vec::with_capacity(gathered.batches.len()),
        };
        let mut batches = Vec::with_capacity(gathered.batches.len());
        for (at, next) in gathered.batches {
            let queue = &mut self.queues[at];
            let (id, bytes) = queue.send(next, session);
            sent.batches.push((at, id));
            batches.push((queue.target.clone(), bytes));
        }
        if let Some(Link::Up { in_flight, .. }) = self.link(node) {
            *in_flight += 1;
        }
        self.last_request += 1;
        self.sent.insert(self.last_request, sent);
        effects.push(Effect::Send(Order {
            request: self.last_request,
            node,
            batches,
        }));
    }

    /// Makes sure that the queue has an identity, if it needs one.
    fn identify(
        &mut self,
        at: usize,
        now: Instant,
        effects: &mut Vec<Effect>,
        wake: &mut Option<Instant>,
    ) -> bool {
        let queue = &mut self.queues[at];
        if !self.rules.idempotent || !queue.needs_identity() {
            return true;
        }
        match self.identity {
            Identity::Known(producer) if !queue.has_spent(producer.id) => {
                queue.set_identity(producer);
                true
            }
            Identity::Needed {
                not_before: Some(at),
            } if at > now => {
                earlier(wake, at);
                false
            }
            Identity::Known(_) | Identity::Needed { .. } => {
                self.identity = Identity::Asked;
                effects.push(Effect::AskProducerId);
                false
            }
            Identity::Asked => false,
        }
    }

    /// The connection to a broker, if there is one with room; connects where there is none.
    fn session(
        &mut self,
        node: i32,
        now: Instant,
        effects: &mut Vec<Effect>,
        wake: &mut Option<Instant>,
    ) -> Option<u64> {
        let in_flight_max = self.rules.in_flight_max;
        let known = self.nodes.entry(node).or_insert_with(|| Node {
            link: Link::Down { until: now },
            failures: 0,
        });
        match known.link {
            Link::Up { session, in_flight } => (in_flight < in_flight_max).then_some(session),
            Link::Connecting => None,
            Link::Down { until } if until > now => {
                earlier(wake, until);
                None
            }
            Link::Down { .. } => {
                known.link = Link::Connecting;
                effects.push(Effect::Connect(node));
                None
            }
        }
    }

    fn poll_refresh(
        &mut self,
        now: Instant,
        effects: &mut Vec<Effect>,
        wake: &mut Option<Instant>,
    ) {
        if self.refreshing {
            return;
        }
        match self.refresh_due {
            Some(due) if due <= now => self.refresh_wanted = true,
            Some(due) => earlier(wake, due),
            None => {}
        }
        if !self.refresh_wanted {
            return;
        }
        if let Some(at) = self.refresh_not_before.filter(|at| *at > now) {
            earlier(wake, at);
            return;
        }
        self.refresh_wanted = false;
        self.refreshing = true;
        let queues = self.queues.iter();
        let mut topics: Vec<Arc<str>> = queues
            .map(|queue| Arc::clone(&queue.target.topic))
            .collect();
        topics.sort_unstable();
        topics.dedup();
        effects.push(Effect::RefreshMetadata(topics));
    }

    fn expire(&mut self, now: Instant, wake: &mut Option<Instant>) {
        for at in 0..self.queues.len() {
            for done in self.queues[at].expire(now, &self.rules, wake) {
                self.finish(Some(done));
            }
        }
    }

    fn finish(&mut self, done: Option<Done>) {
        if let Some((batch, result)) = done {
            self.released += batch.reserved;
            batch.resolve(result);
        }
    }
}

/// A request being put together.
#[derive(Debug, Default)]
struct Gathered {
    session: u64,
    size: usize,
    batches: Vec<(usize, Next)>,
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod chaos;
