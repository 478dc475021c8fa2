//! The broker as its requests see it: settings, the current view, the group shards and the block of
//! producer ids.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use millstream_coordinator::GroupConfig;
use millstream_metadata::OFFSETS_TOPIC;
use millstream_model::{Instant, NodeId, TopicId, WallTime};
use millstream_replica::{HostedPartition, Released};

use crate::group_shard::GroupShard;
use crate::{Completion, CompletionEvent, Effect, View};

/// Tombstones that one expiry run of a shard writes, roughly: the lock is not held for longer.
const EXPIRED_RECORDS_MAX: usize = 10_000;

/// The settings that requests are answered by.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    /// This broker's id (`node.id`).
    pub node_id: NodeId,
    /// The cluster's id.
    pub cluster_id: String,
    /// This broker's rack (`broker.rack`).
    pub rack: Option<String>,
    /// Whether asking for an unknown topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Whether topics can be deleted (`delete.topic.enable`).
    pub delete_topics: bool,
    /// Upper bound of a fetch answer's records (`fetch.max.bytes`).
    pub fetch_bytes_max: usize,
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
        random: Box<dyn Fn() -> u64 + Send + Sync>,
    ) -> Broker {
        let shards = (0..config.group_shards).map(GroupShard::new).collect();
        Broker {
            config,
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
        if let Some(shard) = self.shards.get(shard) {
            shard.handle_timeout(self, now, wall, effects);
        }
    }

    /// Topics are gone: every loaded group shard forgets their offsets.
    pub fn handle_topics_deleted(
        &self,
        deleted: &[(Arc<str>, TopicId)],
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        for shard in &self.shards {
            // One that is not loaded forgets them when its offsets expire.
            let _not_loaded = shard.step_if_active(self, wall, effects, |shard| {
                shard.handle_topics_deleted(deleted)
            });
        }
    }

    /// A group shard forgets offsets and groups whose time is over (`offsets.retention.minutes`).
    pub fn handle_group_expiry(&self, shard: usize, wall: WallTime, effects: &mut Vec<Effect>) {
        if let Some(shard) = self.shards.get(shard) {
            let _not_loaded = shard.step_if_active(self, wall, effects, |shard| {
                shard.handle_expiry(wall, EXPIRED_RECORDS_MAX)
            });
        }
    }

    fn shard_of(&self, partition: &HostedPartition) -> Option<&GroupShard> {
        if &*partition.name.topic != OFFSETS_TOPIC {
            return None;
        }
        self.shards
            .get(usize::try_from(partition.name.partition).ok()?)
    }
}
