//! The consumer by assignment: the caller says which partitions, `poll` returns their records in order.
//!
//! ```text
//!   assign ─► position: committed offset, or earliest/latest ─► fetch ─► poll hands out records ─► commit
//! ```
//!
//! Lookups and fetches run as tasks and report to a channel that `poll` reads, so a `poll` that is dropped or times out
//! loses nothing. One fetch per broker is on its way at a time; it runs on while the caller works on records.

mod assignment;
mod config;
mod error;
mod fetch;
mod partition;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::backoff::Dice;
use crate::cluster::{Cluster, TopicPartition};
use crate::error::ClientError;
use crate::group_offsets::{CommittedOffset, commit_offsets, committed_offsets};
use crate::offsets::{ListedOffset, OffsetSpec, list_offsets};
use assignment::{Ask, Assignment};
use partition::Position;

pub use config::{ConsumerConfig, OffsetReset};
pub use error::ConsumeError;
pub use record::ConsumerRecord;

/// Reads assigned partitions.
#[derive(Debug)]
pub struct Consumer {
    cluster: Cluster,
    config: ConsumerConfig,
    assignment: Assignment,
    // Bounded by the requests on their way: one per broker, one per kind of lookup and partition.
    news: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
    asked: BTreeSet<i32>,
    is_refreshing: bool,
    refresh_not_before: Instant,
    trouble: Option<ClientError>,
}

/// What a task reports.
#[derive(Debug)]
enum Event {
    Fetched(i32, Vec<Ask>, Result<fetch::Fetched, ClientError>),
    Committed(
        Vec<(TopicPartition, u64)>,
        Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError>,
    ),
    Listed(
        BTreeMap<TopicPartition, (OffsetSpec, u64)>,
        Result<BTreeMap<TopicPartition, ListedOffset>, ClientError>,
    ),
    Metadata(Result<(), ClientError>),
}

impl Consumer {
    /// A consumer without partitions.
    pub fn new(cluster: Cluster, config: ConsumerConfig) -> Self {
        let (news, events) = mpsc::unbounded_channel();
        Self {
            cluster,
            assignment: Assignment::new(config.clone(), Dice::from_entropy()),
            config,
            news,
            events,
            asked: BTreeSet::new(),
            is_refreshing: false,
            refresh_not_before: Instant::now(),
            trouble: None,
        }
    }

    /// Reads these partitions from now on. Partitions that were assigned before keep their position, new ones begin at
    /// the group's committed offset or where the settings say.
    pub fn assign(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.assignment.assign(partitions.into_iter().collect());
        self.assignment.wants_metadata = true;
    }

    /// Assigns all partitions of a topic. *Errors*: the topic does not exist, or the cluster does not answer.
    pub async fn assign_topic(&mut self, topic: &str) -> Result<(), ClientError> {
        let described = self.cluster.topic(topic).await?;
        let partitions = described.partitions.iter().map(|partition| TopicPartition {
            topic: described.name.clone(),
            partition: partition.index,
        });
        self.assign(partitions);
        Ok(())
    }

    /// The assigned partitions.
    pub fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        self.assignment
            .partitions()
            .iter()
            .map(|state| &state.target)
    }

    /// Reads on from this offset. Partitions that are not assigned are ignored, here and below.
    pub fn seek(&mut self, partition: &TopicPartition, offset: i64) {
        self.move_to(
            partition,
            Position::At {
                offset,
                leader_epoch: -1,
            },
        );
    }

    /// Reads on from a place or a time, which is looked up by the next `poll`. After a time past the last record comes the
    /// end.
    pub fn seek_to(&mut self, partition: &TopicPartition, spec: OffsetSpec) {
        self.move_to(partition, Position::Spec(spec));
    }

    /// Reads all assigned partitions from a place or a time.
    pub fn seek_all(&mut self, spec: OffsetSpec) {
        let targets: Vec<TopicPartition> = self.assigned().cloned().collect();
        for target in targets {
            self.seek_to(&target, spec);
        }
    }

    fn move_to(&mut self, partition: &TopicPartition, position: Position) {
        if let Some(state) = self.assignment.find(partition) {
            state.seek(position);
        }
    }

    /// Stops handing out records of a partition until it is resumed.
    pub fn pause(&mut self, partition: &TopicPartition) {
        if let Some(state) = self.assignment.find(partition) {
            state.is_paused = true;
        }
    }

    /// Ends a pause.
    pub fn resume(&mut self, partition: &TopicPartition) {
        if let Some(state) = self.assignment.find(partition) {
            state.is_paused = false;
        }
    }

    /// The offset of the next record to hand out; none while it is looked up.
    pub fn position(&self, partition: &TopicPartition) -> Option<i64> {
        let mut states = self.assignment.partitions().iter();
        match states.find(|state| state.target == *partition)?.position {
            Position::At { offset, .. } => Some(offset),
            Position::Committed | Position::Spec(_) => None,
        }
    }

    /// The end of what could be read when the partition was last fetched, exclusive.
    pub fn high_watermark(&self, partition: &TopicPartition) -> Option<i64> {
        let mut states = self.assignment.partitions().iter();
        states
            .find(|state| state.target == *partition)?
            .high_watermark
    }

    /// What stands in the way when `poll` returns nothing: brokers that cannot be reached are asked again and again
    /// without an error.
    pub fn trouble(&self) -> Option<&ClientError> {
        self.trouble.as_ref()
    }

    /// The next records, in order per partition; empty when `timeout` passes without any. May be dropped at any time.
    /// *Errors*: what only the caller can decide, see [`ConsumeError`]; the next call goes on.
    pub async fn poll(&mut self, timeout: Duration) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let deadline = Instant::now() + timeout;
        loop {
            while let Ok(event) = self.events.try_recv() {
                self.handle(event);
            }
            let records = self.assignment.take();
            self.ask();
            let records = records?;
            if !records.is_empty() {
                return Ok(records);
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(records);
            }
            let wake = self.assignment.next_wake(now);
            let until = wake.map_or(deadline, |wake| wake.min(deadline));
            if let Ok(Some(event)) = tokio::time::timeout_at(until, self.events.recv()).await {
                self.handle(event);
            }
        }
    }

    /// Commits the positions of all assigned partitions for the group.
    pub async fn commit(&self) -> Result<(), ConsumeError> {
        let mut offsets = BTreeMap::new();
        for state in self.assignment.partitions() {
            if let Position::At {
                offset,
                leader_epoch,
            } = state.position
            {
                let position = CommittedOffset {
                    offset,
                    leader_epoch,
                    metadata: String::new(),
                };
                offsets.insert(state.target.clone(), position);
            }
        }
        self.commit_offsets(&offsets).await
    }

    /// Commits these offsets for the group.
    pub async fn commit_offsets(
        &self,
        offsets: &BTreeMap<TopicPartition, CommittedOffset>,
    ) -> Result<(), ConsumeError> {
        let group = self.config.group_id.as_deref();
        let group = group.ok_or(ConsumeError::NoGroup)?;
        Ok(commit_offsets(&self.cluster, group, offsets).await?)
    }

    /// The group's committed offsets of the assigned partitions; those without one are left out.
    pub async fn committed(
        &self,
    ) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ConsumeError> {
        let group = self.config.group_id.as_deref();
        let group = group.ok_or(ConsumeError::NoGroup)?;
        let partitions: Vec<TopicPartition> = self.assigned().cloned().collect();
        Ok(committed_offsets(&self.cluster, group, &partitions).await?)
    }

    /// Starts whatever is needed and not on its way.
    fn ask(&mut self) {
        let now = Instant::now();
        let lookups = self.assignment.lookups(now);
        if !lookups.committed.is_empty() {
            self.ask_committed(lookups.committed);
        }
        if !lookups.specs.is_empty() {
            self.ask_specs(lookups.specs);
        }
        let metadata = self.cluster.metadata();
        let asked = &self.asked;
        let fetches = self
            .assignment
            .fetches(&metadata, now, |node| asked.contains(&node));
        for (node, asks) in fetches {
            self.asked.insert(node);
            let (cluster, config, news) =
                (self.cluster.clone(), self.config.clone(), self.news.clone());
            tokio::spawn(async move {
                let fetched = fetch::fetch(&cluster, node, &asks, &config).await;
                let _ = news.send(Event::Fetched(node, asks, fetched));
            });
        }
        if self.assignment.wants_metadata && !self.is_refreshing && now >= self.refresh_not_before {
            self.ask_metadata();
        }
    }

    fn ask_committed(&self, targets: Vec<(TopicPartition, u64)>) {
        let Some(group) = self.config.group_id.clone() else {
            return;
        };
        let (cluster, news) = (self.cluster.clone(), self.news.clone());
        tokio::spawn(async move {
            let partitions: Vec<TopicPartition> =
                targets.iter().map(|(target, _)| target.clone()).collect();
            let committed = committed_offsets(&cluster, &group, &partitions).await;
            let _ = news.send(Event::Committed(targets, committed));
        });
    }

    fn ask_specs(&self, specs: BTreeMap<TopicPartition, (OffsetSpec, u64)>) {
        let (cluster, news) = (self.cluster.clone(), self.news.clone());
        let isolation = self.config.isolation;
        tokio::spawn(async move {
            let wanted = specs
                .iter()
                .map(|(target, (spec, _))| (target.clone(), *spec))
                .collect();
            let listed = list_offsets(&cluster, &wanted, isolation).await;
            let _ = news.send(Event::Listed(specs, listed));
        });
    }

    fn ask_metadata(&mut self) {
        self.assignment.wants_metadata = false;
        self.is_refreshing = true;
        let topics: BTreeSet<String> = self
            .assigned()
            .map(|target| target.topic.to_string())
            .collect();
        let (cluster, news) = (self.cluster.clone(), self.news.clone());
        tokio::spawn(async move {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            let refreshed = cluster.look_up(&names).await.map(|_| ());
            let _ = news.send(Event::Metadata(refreshed));
        });
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Fetched(node, asks, Ok(mut fetched)) => {
                self.asked.remove(&node);
                self.trouble = None;
                for ask in &asks {
                    match fetched.remove(&ask.target) {
                        Some(partition) => self.assignment.handle_fetched(ask, partition, now),
                        None => self
                            .assignment
                            .handle_fetch_failed(std::slice::from_ref(ask), now),
                    }
                }
            }
            Event::Fetched(node, asks, Err(error)) => {
                self.asked.remove(&node);
                self.trouble = Some(error);
                self.assignment.handle_fetch_failed(&asks, now);
            }
            Event::Committed(targets, result) => {
                for (target, generation) in targets {
                    match &result {
                        Ok(committed) => {
                            let found = committed.get(&target);
                            let found = found.map(|at| (at.offset, at.leader_epoch));
                            self.assignment
                                .handle_committed(&target, generation, found, now);
                        }
                        Err(_) => self
                            .assignment
                            .handle_lookup_failed(&target, generation, now),
                    }
                }
                self.trouble = result.err().or(self.trouble.take());
            }
            Event::Listed(specs, result) => {
                for (target, (_, generation)) in specs {
                    let listed = result.as_ref().ok().and_then(|all| all.get(&target));
                    match listed {
                        Some(&listed) => {
                            self.assignment.handle_listed(&target, generation, listed);
                        }
                        None => self
                            .assignment
                            .handle_lookup_failed(&target, generation, now),
                    }
                }
                self.trouble = result.err().or(self.trouble.take());
            }
            Event::Metadata(refreshed) => {
                self.is_refreshing = false;
                self.refresh_not_before = now + self.config.backoff.first;
                if let Err(error) = refreshed {
                    self.trouble = Some(error);
                }
            }
        }
    }
}
