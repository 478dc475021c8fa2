//! The task of a producer: does what the core wants done, and reports back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_protocol::ApiKey;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse,
};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Shared;
use super::batch::ProducerIdentity;
use super::config::Acks;
use super::core::{Effect, Order};
use super::error::ProduceError;
use super::queue::PartitionAnswer;
use super::record::Appended;
use crate::cluster::{Cluster, Metadata, Purpose, TopicPartition, TopicUuid};
use crate::connection::{Answer, Connection};
use crate::error::{BrokerCode, ClientError, ConnectionError};

/// The last version of Produce that names topics instead of giving their ids.
const LAST_VERSION_WITH_NAMES: i16 = 12;

/// News for the core.
enum Event {
    Connected(i32, Result<Connection, ClientError>),
    Answered(u64, i32, u64, Result<Answers, ClientError>),
    ProducerId(Result<ProducerIdentity, ClientError>),
    Metadata,
}

/// The parts of an answer by partition.
type Answers = HashMap<TopicPartition, PartitionAnswer>;

pub(super) struct Task {
    shared: Arc<Shared>,
    // Bounded by what the core has asked for: requests in flight and one connection attempt per broker.
    news: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    connections: HashMap<i32, (u64, Connection)>,
    last_session: u64,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (news, events) = mpsc::unbounded_channel();
        Self {
            shared,
            news,
            events,
            connections: HashMap::new(),
            last_session: 0,
        }
    }

    /// Runs until it is aborted by the producer's end.
    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut effects = Vec::new();
        loop {
            let wake = self.poll(&mut effects);
            for effect in effects.drain(..) {
                self.perform(effect).await;
            }
            let idle = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // All arms are cancel-safe.
            let event = tokio::select! {
                event = self.events.recv() => event,
                () = shared.wake.notified() => None,
                () = idle => None,
            };
            if let Some(event) = event {
                self.handle(event);
            }
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
        }
    }

    fn poll(&mut self, effects: &mut Vec<Effect>) -> Option<Instant> {
        let metadata = self.shared.cluster.metadata();
        let mut core = self.shared.core();
        let wake = core.poll(Instant::now(), &metadata, effects);
        let released = core.take_released();
        drop(core);
        self.shared.room.add_permits(released);
        wake
    }

    async fn perform(&mut self, effect: Effect) {
        let cluster = self.shared.cluster.clone();
        let news = self.news.clone();
        match effect {
            Effect::Connect(node) => {
                tokio::spawn(async move {
                    let connection = cluster.connection(node, Purpose::Produce).await;
                    let _ = news.send(Event::Connected(node, connection));
                });
            }
            Effect::AskProducerId => {
                tokio::spawn(async move {
                    let _ = news.send(Event::ProducerId(ask_producer_id(&cluster).await));
                });
            }
            Effect::RefreshMetadata(topics) => {
                tokio::spawn(async move {
                    let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
                    if let Err(error) = cluster.look_up(&names).await {
                        tracing::debug!(%error, "metadata could not be refreshed");
                    }
                    let _ = news.send(Event::Metadata);
                });
            }
            Effect::Send(order) => self.send(order).await,
        }
    }

    async fn send(&mut self, order: Order) {
        let (request_id, node) = (order.request, order.node);
        let Some((session, connection)) = self.connections.get(&node).cloned() else {
            self.shared
                .core()
                .handle_lost(request_id, Instant::now(), "not connected");
            return;
        };
        let metadata = self.shared.cluster.metadata();
        let result = self.submit(&connection, order, &metadata).await;
        let pending = match result {
            Ok(Some(pending)) => pending,
            Ok(None) => return self.assume_written(request_id),
            Err(error) => return self.fail(request_id, node, session, error.into()),
        };
        let news = self.news.clone();
        tokio::spawn(async move {
            let answers = match pending.await {
                Ok(answer) => read_answers(&answer, &metadata),
                Err(error) => Err(error.into()),
            };
            let _ = news.send(Event::Answered(request_id, node, session, answers));
        });
    }

    async fn submit(
        &self,
        connection: &Connection,
        order: Order,
        metadata: &Metadata,
    ) -> Result<Option<crate::connection::Pending>, ConnectionError> {
        let config = &self.shared.config;
        let topic_data = group_by_topic(order, metadata);
        let has_ids = topic_data
            .iter()
            .all(|topic| topic.topic_id != TopicUuid::default());
        let at_most = if has_ids {
            i16::MAX
        } else {
            LAST_VERSION_WITH_NAMES
        };
        let version = connection.version_of(ApiKey::Produce, at_most)?;
        let request = ProduceRequest {
            transactional_id: None,
            acks: config.acks.code(),
            timeout_ms: config.replication_timeout.as_millis() as i32,
            topic_data,
        };
        if config.acks == Acks::None {
            connection.submit_unanswered(&request, version).await?;
            return Ok(None);
        }
        let wait = config.replication_timeout;
        Ok(Some(connection.submit(&request, version, wait).await?))
    }

    fn assume_written(&self, request: u64) {
        let unknown = PartitionAnswer {
            code: 0,
            appended: Appended {
                base_offset: -1,
                log_append_time: -1,
            },
            message: None,
        };
        let mut core = self.shared.core();
        core.handle_answer(request, Instant::now(), |_| Some(unknown.clone()));
        // Polled again at once, for the room given back and the next batch.
        self.shared.wake.notify_one();
    }

    fn fail(&mut self, request: u64, node: i32, session: u64, error: ClientError) {
        let now = Instant::now();
        let is_over = match self.connections.get(&node) {
            Some((current, connection)) => *current == session && !connection.is_open(),
            None => false,
        };
        let shared = Arc::clone(&self.shared);
        let mut core = shared.core();
        if is_over {
            self.connections.remove(&node);
            core.handle_disconnected(node, now);
        }
        match &error {
            ClientError::Connection(
                ConnectionError::Encode { .. } | ConnectionError::Unsupported { .. },
            ) => core.handle_unsendable(request, &ProduceError::Client(error)),
            _ => core.handle_lost(request, now, &error.to_string()),
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        let shared = Arc::clone(&self.shared);
        match event {
            Event::Connected(node, Ok(connection)) => {
                self.last_session += 1;
                self.connections
                    .insert(node, (self.last_session, connection));
                shared.core().handle_connected(node, self.last_session);
            }
            Event::Connected(node, Err(error)) => {
                tracing::debug!(node, %error, "no connection to the broker");
                shared.core().handle_disconnected(node, now);
            }
            Event::Answered(request, _, _, Ok(answers)) => {
                let find = |target: &TopicPartition| answers.get(target).cloned();
                shared.core().handle_answer(request, now, find);
            }
            Event::Answered(request, node, session, Err(error)) => {
                self.fail(request, node, session, error);
            }
            Event::ProducerId(Ok(producer)) => shared.core().handle_producer_id(producer),
            Event::ProducerId(Err(error)) => {
                tracing::debug!(%error, "no producer id");
                let fatal = (!error.is_retriable()).then_some(ProduceError::Client(error));
                shared.core().handle_no_producer_id(now, fatal);
            }
            Event::Metadata => shared.core().handle_metadata(now),
        }
    }
}

fn group_by_topic<'a>(order: Order, metadata: &Metadata) -> Vec<TopicProduceData<'a>> {
    let mut topics: Vec<TopicProduceData<'a>> = Vec::new();
    for (target, records) in order.batches {
        let data = PartitionProduceData {
            index: target.partition,
            records: Some(records.into()),
        };
        let known = topics.iter_mut().find(|topic| topic.name == *target.topic);
        match known {
            Some(topic) => topic.partition_data.push(data),
            None => topics.push(TopicProduceData {
                topic_id: metadata
                    .topic(&target.topic)
                    .map_or([0; 16], |topic| topic.id),
                name: Cow::Owned(target.topic.to_string()),
                partition_data: vec![data],
            }),
        }
    }
    topics
}

fn read_answers(answer: &Answer, metadata: &Metadata) -> Result<Answers, ClientError> {
    let response: ProduceResponse<'_> = answer.decode()?;
    let mut answers = Answers::new();
    for topic in response.responses {
        let name: Arc<str> = if answer.version() > LAST_VERSION_WITH_NAMES {
            match metadata.name_of(&topic.topic_id) {
                Some(name) => Arc::clone(name),
                None => continue,
            }
        } else {
            Arc::from(&*topic.name)
        };
        for partition in topic.partition_responses {
            let target = TopicPartition {
                topic: Arc::clone(&name),
                partition: partition.index,
            };
            let answer = PartitionAnswer {
                code: partition.error_code,
                appended: Appended {
                    base_offset: partition.base_offset,
                    log_append_time: partition.log_append_time_ms,
                },
                message: partition
                    .record_errors
                    .iter()
                    .find_map(|record| record.batch_index_error_message.as_deref())
                    .or(partition.error_message.as_deref())
                    .map(str::to_owned),
            };
            answers.insert(target, answer);
        }
    }
    Ok(answers)
}

async fn ask_producer_id(cluster: &Cluster) -> Result<ProducerIdentity, ClientError> {
    let connection = cluster.any().await?;
    let request = InitProducerIdRequest {
        transactional_id: None,
        transaction_timeout_ms: i32::MAX,
        ..Default::default()
    };
    let version = connection.version_of(ApiKey::InitProducerId, i16::MAX)?;
    let pending = connection.submit(&request, version, Duration::ZERO).await?;
    let answer = pending.await?;
    let response: InitProducerIdResponse = answer.decode()?;
    match BrokerCode::of(response.error_code) {
        None => Ok(ProducerIdentity {
            id: response.producer_id,
            epoch: response.producer_epoch,
        }),
        Some(code) => Err(ClientError::Broker {
            what: "get a producer id".to_owned(),
            code,
            message: None,
        }),
    }
}
