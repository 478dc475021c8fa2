//! Group shards: loading them from their partition, and their timers.

use std::time::Duration;

use bytes::Bytes;
use millstream_api::{Effect, ShardStep};
use millstream_coordinator::{LoggedRecord, Shard, SweepCursor};
use millstream_metadata::OFFSETS_TOPIC;
use millstream_model::Offset;
use millstream_protocol::records::{batches, records_of};

use crate::Node;

/// Bytes read at a time while loading.
const LOAD_BYTES: usize = 1 << 20;

/// A part of a batch: of what was read where it lies in it, a copy where it had to be decompressed.
fn shared(read: &Bytes, part: &[u8]) -> Bytes {
    match read.as_ptr_range().contains(&part.as_ptr()) {
        true => read.slice_ref(part),
        false => Bytes::copy_from_slice(part),
    }
}

impl Node {
    /// Loads a shard of the group coordinator from its partition; where that lies in a slow directory, has
    /// the directory's own thread do it.
    pub fn load_groups(&self, shard: usize) -> Vec<Effect> {
        let directory = self.broker.directory_of_shard(shard);
        let Some(directory) = directory.filter(|directory| self.is_slow(*directory)) else {
            return self.load_groups_here(shard);
        };
        let mut effects = Vec::new();
        self.broker
            .queue_in_shard(shard, directory, ShardStep::Load, &mut effects);
        effects
    }

    pub(crate) fn load_groups_here(&self, shard: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Err(reason) = self.try_load_groups(shard, &mut effects) {
            tracing::error!(shard, reason, "groups could not be loaded");
        }
        effects
    }

    fn try_load_groups(&self, index: usize, effects: &mut Vec<Effect>) -> Result<(), String> {
        let view = self.broker.view();
        let topic = view.topic(OFFSETS_TOPIC).ok_or("the topic is gone")?;
        let partition = topic
            .partition(index as i32)
            .ok_or("the partition is gone")?;
        let shards = self.broker.group_shards();
        let Some(place) = shards.get(index).filter(|shard| !shard.is_active()) else {
            return Ok(());
        };
        let mut shard = Shard::loading(self.config.groups.clone());
        let locked = partition.lock().map_err(|_| "the partition is offline")?;
        if locked.is_offline() {
            return Err("the partition is offline".to_owned());
        }
        let log = locked.log();
        let mut offset = log.log_start_offset();
        while offset < log.log_end_offset() {
            let read = log
                .read(offset, LOAD_BYTES, log.log_end_offset(), true)
                .map_err(|error| error.to_string())?;
            let Some(range) = read.range else { break };
            offset = range.end;
            let bytes = millstream_protocol::wire::Records::from(read.parts).to_bytes();
            for batch in batches(&bytes) {
                let (header, batch) = batch.map_err(|error| error.to_string())?;
                if header.is_control() {
                    continue;
                }
                let records = records_of(&header, batch).map_err(|error| error.to_string())?;
                let records: Result<Vec<_>, _> = records.iter().collect();
                let records = records.map_err(|error| error.to_string())?;
                let logged = records.into_iter().map(|record| LoggedRecord {
                    offset: Offset(record.offset),
                    key: shared(&bytes, record.key.unwrap_or_default()),
                    value: record.value.map(|value| shared(&bytes, value)),
                });
                shard.load(logged).map_err(|error| error.to_string())?;
            }
        }
        let high_watermark = locked.high_watermark();
        drop(locked);
        shard.finish_loading(self.now());
        place.activate(shard, partition.clone(), high_watermark, effects);
        let now = self.broker.view();
        if !std::sync::Arc::ptr_eq(&now.image, &view.image) {
            let deleted = view
                .topics()
                .filter(|topic| now.topic_by_id(topic.id).is_none());
            let deleted: Vec<_> = deleted
                .map(|topic| (topic.name.clone(), topic.id))
                .collect();
            self.broker.handle_topics_deleted_meanwhile(
                index,
                &deleted,
                self.now(),
                self.wall_time(),
                effects,
            );
        }
        // What happened to the partition between the look and now was told to a shard that was not
        // there yet.
        match partition.lock() {
            Ok(locked) if !locked.is_offline() => {
                let high_watermark = locked.high_watermark();
                drop(locked);
                place.handle_high_watermark(high_watermark, effects);
                Ok(())
            }
            _ => {
                place.unload(effects);
                Err("the partition went offline".to_owned())
            }
        }
    }

    /// Runs a shard's timers that are due.
    pub fn group_timeout(&self, shard: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.broker
            .handle_group_timeout(shard, self.now(), self.wall_time(), &mut effects);
        effects
    }

    /// How often a sweep over all shards for what has expired is due ([`Node::expire_groups`]).
    #[must_use]
    pub fn group_expiry_interval(&self) -> Duration {
        self.config.group_expiry_interval
    }

    /// A step of the sweep through a shard's groups for what has expired, from `from` on. Answers where the next step
    /// begins, if there is one. A wall clock that was set forward is not believed, as in retention.
    pub fn expire_groups(
        &self,
        shard: usize,
        from: Option<&str>,
    ) -> (Vec<Effect>, Option<SweepCursor>) {
        let mut effects = Vec::new();
        if !self.may_tidy() {
            return (effects, None);
        }
        let times = (self.wall_time(), self.believed_wall_time());
        let next = self
            .broker
            .handle_group_expiry(shard, from, times, &mut effects);
        (effects, next)
    }

    /// Which shards there are to load after opening.
    #[must_use]
    pub fn group_shards_to_load(&self) -> Vec<Effect> {
        let view = self.broker.view();
        let count = view
            .topic(OFFSETS_TOPIC)
            .map_or(0, |topic| topic.partitions.len());
        (0..count)
            .map(|shard| Effect::ReloadGroups { shard })
            .collect()
    }
}
