//! The broker as its requests see it: settings, the current view, the group shards and the block of
//! producer ids.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use millstream_coordinator::{GroupConfig, SweepCursor, SweepLimits};
use millstream_metadata::{BrokerConfigTable, Configs, OFFSETS_TOPIC};
use millstream_model::{Instant, NodeId, TopicId, WallTime};
use millstream_replica::{HostedPartition, Released};

use crate::answer_budget::AnswerBudget;
use crate::client_rates::{ClientRates, QuotaWindow};
use crate::counters::Counters;
use crate::directory_gate::DirectoryGates;
use crate::fetching::{FetchSessions, WantedPartitions};
use crate::group_shard::GroupShard;
use crate::loggers::Loggers;
use crate::moves::Moves;
use crate::queued::{QueuedStep, ShardStep};
use crate::visit::Visit;
use crate::{Completion, CompletionEvent, Effect, View};

/// The settings that requests are answered by.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// This broker's id (`node.id`).
    pub node_id: NodeId,
    /// The cluster's id.
    pub cluster_id: String,
    /// This broker's rack (`broker.rack`).
    pub rack: Option<String>,
    /// The log directories (`log.dirs`), as clients name them.
    pub log_directories: Vec<String>,
    /// Whether asking for an unknown topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Whether topics can be deleted (`delete.topic.enable`).
    pub delete_topics: bool,
    /// What was given in the file and on the command line, by Kafka's names.
    pub file_configs: Arc<Configs>,
    /// Partitions in one answer to DescribeTopicPartitions (`max.request.partition.size.limit`).
    pub describe_partitions_max: usize,
    /// The configs that brokers know.
    pub known_configs: Arc<BrokerConfigTable>,
    /// Bytes of metrics that a client may push at once (`telemetry.max.bytes`).
    pub telemetry_bytes_max: usize,
    /// How long rates of clients are measured (`quota.window.*`).
    pub quota_window: QuotaWindow,
    /// Upper bound of a fetch answer's records (`fetch.max.bytes`).
    pub fetch_bytes_max: usize,
    /// Bytes of records in answers that are not read yet (`millstream.queued.answer.bytes`).
    pub answer_bytes_max: usize,
    /// Fetch sessions that are kept at most (`max.incremental.fetch.session.cache.slots`).
    pub fetch_sessions_max: usize,
    /// Upper bound of a fetch's wait.
    pub fetch_wait_max: Duration,
    /// Bounds and timers of groups.
    pub groups: GroupConfig,
    /// Partitions of `__consumer_offsets` (`offsets.topic.num.partitions`).
    pub group_shards: usize,
    /// Why records of clients are refused altogether, if they are.
    pub safe_mode: Option<String>,
}

/// What all connections share.
pub struct Broker {
    /// The settings.
    pub config: BrokerConfig,
    /// Who may enter the partitions of which log directory.
    pub gates: DirectoryGates,
    /// The answers that wait to be read by their clients.
    pub answers: AnswerBudget,
    /// What consumers fetch from one request to the next.
    pub fetch_sessions: FetchSessions,
    /// What was asked since the start.
    pub counters: Counters,
    /// What the process logs.
    pub loggers: Loggers,
    /// Which partitions are to be in another log directory.
    pub moves: Moves,
    /// How fast clients with quotas go.
    pub(crate) rates: ClientRates,
    view: ArcSwap<View>,
    shards: Vec<GroupShard>,
    producer_ids: Mutex<std::ops::Range<i64>>,
    random: Box<dyn Fn() -> u64 + Send + Sync>,
}

impl Broker {
    /// A broker without topics.
    #[must_use]
    pub fn new(
        config: BrokerConfig,
        view: View,
        gates: DirectoryGates,
        random: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Broker {
        let shards = (0..config.group_shards).map(GroupShard::new).collect();
        Broker {
            answers: AnswerBudget::new(config.answer_bytes_max),
            fetch_sessions: FetchSessions::new(config.fetch_sessions_max),
            config,
            gates,
            counters: Counters::default(),
            loggers: Loggers::default(),
            moves: Moves::default(),
            rates: ClientRates::default(),
            view: ArcSwap::from_pointee(view),
            shards,
            producer_ids: Mutex::new(0..0),
            random,
        }
    }

    /// The current view. Hold it for one step only.
    pub fn view(&self) -> Guard<Arc<View>> {
        self.view.load()
    }

    /// Replaces the view. Only the owner of the metadata calls this, one call at a time.
    pub fn publish(&self, view: View) {
        self.view.store(Arc::new(view));
    }

    /// The shards of the group coordinator, by partition of `__consumer_offsets`.
    #[must_use]
    pub fn group_shards(&self) -> &[GroupShard] {
        &self.shards
    }

    /// 128 random bits.
    pub(crate) fn random_u128(&self) -> u128 {
        u128::from((self.random)()) << 64 | u128::from((self.random)())
    }

    /// Begins a fetch session with what a full fetch asked for. `None`: there is no place for it.
    pub(crate) fn begin_fetch_session(
        &self,
        partitions: WantedPartitions,
        uses_ids: bool,
        now: Instant,
    ) -> Option<i32> {
        self.fetch_sessions
            .begin(partitions, uses_ids, now, &self.random)
    }

    /// A producer id nobody has, or `None` when the block is used up.
    pub fn take_producer_id(&self) -> Option<i64> {
        self.producer_ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .next()
    }

    /// Takes a new block of producer ids from the metadata log.
    pub fn handle_producer_ids(&self, block: std::ops::Range<i64>) {
        *self
            .producer_ids
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = block;
    }

    /// Passes on what a step of a partition released: answers for produce requests, looks for long
    /// polls, committed records for the group shard that lives on the partition.
    pub fn handle_released(
        &self,
        partition: &HostedPartition,
        released: Released,
        effects: &mut Vec<Effect>,
    ) {
        for (waiter, result) in released.acks {
            let event = CompletionEvent::Appended {
                slot: waiter.slot,
                result,
            };
            effects.push(Effect::Complete(Completion {
                token: waiter.token,
                event,
            }));
        }
        for token in released.fetches {
            let event = CompletionEvent::RecordsArrived;
            effects.push(Effect::Complete(Completion { token, event }));
        }
        if let Some(high_watermark) = released.high_watermark
            && let Some(shard) = self.shard_of(partition)
        {
            shard.handle_high_watermark(high_watermark, effects);
        }
    }

    /// A partition failed or was deleted: what its shard had parked is answered NOT_COORDINATOR.
    pub fn handle_partition_lost(&self, partition: &HostedPartition, effects: &mut Vec<Effect>) {
        if let Some(shard) = self.shard_of(partition) {
            shard.unload(effects);
        }
    }

    /// Runs the timers of a group shard that are due.
    pub fn handle_group_timeout(
        &self,
        shard: usize,
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        self.run_in_shard(shard, ShardStep::Timers, now, wall, effects);
    }

    /// Topics are gone: every loaded group shard forgets their offsets.
    pub fn handle_topics_deleted(
        &self,
        deleted: &[(Arc<str>, TopicId)],
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let deleted: Arc<[_]> = deleted.into();
        for shard in 0..self.shards.len() {
            let step = ShardStep::ForgetTopics(Arc::clone(&deleted));
            self.run_in_shard(shard, step, now, wall, effects);
        }
    }

    /// Topics went while a group shard was loaded: it forgets their offsets now.
    pub fn handle_topics_deleted_meanwhile(
        &self,
        shard: usize,
        deleted: &[(Arc<str>, TopicId)],
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let step = ShardStep::ForgetTopics(deleted.into());
        self.run_in_shard(shard, step, now, wall, effects);
    }

    /// Runs a step of a group shard here, or has it queued where its log directory is slow.
    pub(crate) fn run_in_shard(
        &self,
        shard: usize,
        step: ShardStep,
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let mut visit = Visit::new(self);
        match self.directory_of_shard(shard) {
            Some(directory) if !visit.may_wait_in(directory) => {
                self.queue_in_shard(shard, directory, step, effects);
            }
            _ => self.carry_out_in_shard(shard, step, now, wall, effects),
        }
    }

    /// Queues a step of a group shard.
    pub fn queue_in_shard(
        &self,
        shard: usize,
        directory: usize,
        step: ShardStep,
        effects: &mut Vec<Effect>,
    ) {
        let queued = self.queue(directory, QueuedStep::Shard { shard, step }, effects);
        debug_assert!(queued.is_ok(), "it needs no room");
    }

    pub(crate) fn carry_out_in_shard(
        &self,
        shard: usize,
        step: ShardStep,
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let Some(shard) = self.shards.get(shard) else {
            return;
        };
        match step {
            ShardStep::Timers => shard.handle_timeout(self, now, wall, effects),
            ShardStep::ForgetTopics(topics) => self.forget_topics(shard, &topics, wall, effects),
            ShardStep::Disconnect { group_id, token } => {
                // A shard that is not loaded has no members.
                let _not_loaded = shard.step_if_active(self, wall, effects, |shard| {
                    shard.handle_disconnect(now, wall, &group_id, token)
                });
            }
            ShardStep::Load => unreachable!("the node loads shards"),
        }
    }

    /// A shard that is not loaded forgets nothing; who loads it looks for topics that went meanwhile.
    fn forget_topics(
        &self,
        shard: &GroupShard,
        topics: &[(Arc<str>, TopicId)],
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let mut cursor: Option<SweepCursor> = None;
        loop {
            let (from, limits) = (cursor.take(), SweepLimits::default());
            let stepped = shard.step_if_active(self, wall, effects, |shard| {
                let (outcome, next) = shard.handle_topics_deleted(topics, from.as_deref(), limits);
                cursor = next;
                outcome
            });
            if stepped.is_err() || cursor.is_none() {
                return;
            }
        }
    }

    /// The log directory that holds a group shard's records, if there is one.
    #[must_use]
    pub fn directory_of_shard(&self, shard: usize) -> Option<usize> {
        let view = self.view();
        let partition = view.topic(OFFSETS_TOPIC)?.partition(shard as i32)?;
        Some(partition.directory())
    }

    /// A step of the sweep in which a group shard forgets offsets and groups whose time is over
    /// (`offsets.retention.minutes`), as `expires_by` has it. Where its log directory is slow, they are forgotten
    /// another time. Answers where the next step begins, if there is one.
    pub fn handle_group_expiry(
        &self,
        shard: usize,
        from: Option<&str>,
        (wall, expires_by): (WallTime, WallTime),
        effects: &mut Vec<Effect>,
    ) -> Option<SweepCursor> {
        let directory = self.directory_of_shard(shard);
        if directory.is_some_and(|directory| self.gates.is_closed(directory)) {
            return None;
        }
        let mut cursor = None;
        let _not_loaded = self
            .shards
            .get(shard)?
            .step_if_active(self, wall, effects, |shard| {
                let (outcome, next) = shard.handle_expiry(expires_by, from, SweepLimits::default());
                cursor = next;
                outcome
            });
        cursor
    }

    fn shard_of(&self, partition: &HostedPartition) -> Option<&GroupShard> {
        if &*partition.name.topic != OFFSETS_TOPIC {
            return None;
        }
        self.shards
            .get(usize::try_from(partition.name.partition).ok()?)
    }
}
