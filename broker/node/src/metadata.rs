//! Changes of metadata: decide, append and sync, apply, open or close partitions, answer.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use millstream_api::{
    Completion, CompletionEvent, Effect, HostedTopic, MetadataLog, Proposal, ProposalAnswer,
};
use millstream_log::LogConfig;
use millstream_metadata::{
    Controller, Decision, Image, Record, RecordError, ResourceChange, TopicConfig,
};
use millstream_model::{LeaderEpoch, Offset, RequestToken};
use millstream_protocol::ErrorCode;
use millstream_quorum::{Entry, Quorum};
use millstream_replica::{Durability, HostedPartition};

use crate::open::new_id;
use crate::placement::Found;
use crate::{LogDirectory, Node};

/// Who writes the metadata log. One change at a time.
pub struct MetadataOwner {
    pub(crate) quorum: Quorum,
    pub(crate) controller: Controller,
}

impl MetadataOwner {
    /// How far the log is.
    pub(crate) fn log(&self) -> MetadataLog {
        MetadataLog {
            leader_epoch: LeaderEpoch(i32::try_from(self.quorum.term().0).unwrap_or(i32::MAX)),
            log_end_offset: Offset(self.quorum.last_index().0 as i64),
        }
    }
}

/// Reads an entry of the metadata log. `None` for what may be skipped.
pub(crate) fn decode_entry(entry: &Entry) -> Result<Option<Record>, RecordError> {
    if entry.type_ == millstream_quorum::TERM_ENTRY_TYPE {
        return Ok(None);
    }
    Record::decode(entry.type_, &entry.payload)
}

impl Node {
    /// Decides one proposal and carries it out to the end.
    pub fn propose(&self, proposal: Proposal) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut owner = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let image = Arc::clone(&self.broker.view().image);
        match proposal {
            Proposal::CreateTopics {
                token,
                topics,
                validate_only,
            } => {
                let mut random = || u128::from_be_bytes(new_id(&*self.random).0);
                let decision = owner.controller.decide_create_topics(
                    &image,
                    &topics,
                    validate_only,
                    &mut random,
                );
                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                effects.push(answered(token, ProposalAnswer::TopicsCreated(done)));
            }
            Proposal::CreatePartitions {
                token,
                topics,
                validate_only,
            } => {
                let mut random = || u128::from_be_bytes(new_id(&*self.random).0);
                let decision = owner.controller.decide_create_partitions(
                    &image,
                    &topics,
                    validate_only,
                    &mut random,
                );
                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                effects.push(answered(token, ProposalAnswer::PartitionsCreated(done)));
            }
            Proposal::UpdateFeatures {
                token,
                updates,
                validate_only,
            } => {
                let controller = &owner.controller;
                let decision = controller.decide_update_features(&image, &updates, validate_only);
                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                effects.push(answered(token, ProposalAnswer::FeaturesUpdated(done)));
            }
            Proposal::DeleteTopics { token, topics } => {
                let decision = owner.controller.decide_delete_topics(&image, &topics);
                let done = self.carry_out(&mut owner, &image, decision, &mut effects);
                effects.push(answered(token, ProposalAnswer::TopicsDeleted(done)));
            }
            Proposal::AlterConfigs { token, asked } => {
                let node = self.config.node_id;
                let alter_loggers = |resource: &ResourceChange, validate_only: bool| {
                    let loggers = &self.broker.loggers;
                    loggers.alter(node.0, resource, validate_only)
                };
                let decision =
                    owner
                        .controller
                        .decide_alter_configs(&image, node, &asked, &alter_loggers);
                let done = self.commit(&mut owner, &image, decision.records, &mut effects);
                let answer = ProposalAnswer::ConfigsAltered {
                    is_incremental: asked.is_incremental,
                    altered: decision.answer,
                    failed: done.err(),
                };
                effects.push(answered(token, answer));
            }
            Proposal::AlterScram {
                token,
                deletions,
                upsertions,
            } => {
                let controller = &owner.controller;
                let decision = controller.decide_alter_scram(&image, &deletions, &upsertions);
                let done = self.commit(&mut owner, &image, decision.records, &mut effects);
                let answer = ProposalAnswer::ScramAltered(decision.answer, done.err());
                effects.push(answered(token, answer));
            }
            Proposal::AlterClientQuotas {
                token,
                alterations,
                validate_only,
            } => {
                let controller = &owner.controller;
                let decision =
                    controller.decide_alter_client_quotas(&image, &alterations, validate_only);
                let done = self.commit(&mut owner, &image, decision.records, &mut effects);
                let answer = ProposalAnswer::ClientQuotasAltered(decision.answer, done.err());
                effects.push(answered(token, answer));
            }
            Proposal::AutoCreate { names } => {
                for name in names {
                    let image = Arc::clone(&self.broker.view().image);
                    let random = u128::from_be_bytes(new_id(&*self.random).0);
                    match owner.controller.decide_auto_create(&image, &name, random) {
                        Ok(decision) => {
                            let _logged =
                                self.commit(&mut owner, &image, decision.records, &mut effects);
                        }
                        Err(error) => tracing::debug!(topic = name, %error, "not created"),
                    }
                }
            }
            Proposal::ProducerId { token } => {
                let id = match self.broker.take_producer_id() {
                    Some(id) => Ok(id),
                    None => self.allocate_producer_ids(&mut owner, &image, &mut effects),
                };
                effects.push(answered(token, ProposalAnswer::ProducerId(id)));
            }
        }
        effects
    }

    fn allocate_producer_ids(
        &self,
        owner: &mut MetadataOwner,
        image: &Image,
        effects: &mut Vec<Effect>,
    ) -> Result<i64, ErrorCode> {
        let decision = owner
            .controller
            .decide_allocate_producer_ids(image)
            .map_err(|error| error.code())?;
        self.commit(owner, image, decision.records, effects)?;
        self.broker.handle_producer_ids(decision.answer);
        self.broker
            .take_producer_id()
            .ok_or(ErrorCode::UnknownServerError)
    }

    /// Commits the records of a decision. Answers what is to be said then.
    fn carry_out<A>(
        &self,
        owner: &mut MetadataOwner,
        image: &Image,
        decision: Decision<A>,
        effects: &mut Vec<Effect>,
    ) -> Result<A, ErrorCode> {
        self.commit(owner, image, decision.records, effects)?;
        Ok(decision.answer)
    }

    /// Appends and syncs the records, applies them, and publishes the view they make.
    fn commit(
        &self,
        owner: &mut MetadataOwner,
        image: &Image,
        mut records: Vec<Record>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), ErrorCode> {
        if records.is_empty() {
            return Ok(());
        }
        let storage = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a change of metadata was not taken");
            ErrorCode::KafkaStorageError
        };
        self.assign_directories(image, &mut records)
            .map_err(|error| storage(&error))?;
        let encoded: Vec<_> = records.iter().map(Record::encode).collect();
        owner
            .quorum
            .propose(&encoded)
            .map_err(|error| storage(&error))?;
        let (image, delta) = image.apply(&records).map_err(|error| storage(&error))?;
        let image = Arc::new(image);
        let removed: Vec<_> = delta.deleted.keys().copied().collect();
        let touched: Vec<_> = match delta.is_broker_config_changed {
            // Every topic has some of its configs from there.
            true => image.topics().collect(),
            false => delta
                .created
                .values()
                .chain(delta.changed.values())
                .collect(),
        };
        let found = Found::default();
        let hosted = self.host(&image, &touched, &found);
        let before = Arc::clone(&self.broker.view());
        self.broker
            .publish(before.changed(image, owner.log(), &removed, hosted.clone()));
        self.retire_failed(effects);
        for topic in &hosted {
            let old = before.topic_by_id(topic.id);
            if old.is_some_and(|old| old.config != topic.config) || delta.is_broker_config_changed {
                self.apply_config(topic, effects);
            }
        }
        for partition in hosted.iter().flat_map(|topic| &topic.partitions) {
            // Its directory may have failed, and retired its partitions, before this one was among them.
            if self.is_lost(partition) && !partition.is_offline() {
                self.fail_partition(partition, effects);
            }
        }
        let removed: Vec<_> = removed
            .into_iter()
            .filter_map(|id| before.topic_by_id(id))
            .collect();
        for topic in &removed {
            self.remove(topic, effects);
        }
        if !removed.is_empty() {
            let names: Vec<_> = removed
                .iter()
                .map(|topic| (topic.name.clone(), topic.id))
                .collect();
            self.broker
                .handle_topics_deleted(&names, self.now(), self.wall_time(), effects);
        }
        if let Some(offsets) = delta
            .created
            .values()
            .find(|topic| &*topic.name == millstream_metadata::OFFSETS_TOPIC)
        {
            let shards = 0..offsets.partitions.len();
            effects.extend(shards.map(|shard| Effect::ReloadGroups { shard }));
        }
        Ok(())
    }

    /// The settings of a topic's logs, but for the seed of their jitter.
    pub(crate) fn log_config(
        &self,
        image: &Image,
        config: &TopicConfig,
        is_internal: bool,
    ) -> LogConfig {
        LogConfig {
            segment_bytes: config.segment_bytes,
            segment_ms: segment_ms(config),
            segment_jitter_ms: config.segment_jitter_ms,
            index_interval_bytes: config.index_interval_bytes,
            segment_index_bytes: config.segment_index_bytes,
            producer_expiration: self.producer_expiration(image),
            may_use_reserve: is_internal,
            ..LogConfig::default()
        }
    }

    /// Brings the configs of a topic to its open logs, once they are in the view. What looks at them anew each time, as retention and the checks of batches do, has them from the view.
    fn apply_config(&self, topic: &HostedTopic, effects: &mut Vec<Effect>) {
        let image = &self.broker.view().image;
        let log_config = self.log_config(image, &topic.config, topic.is_internal);
        for partition in &topic.partitions {
            let Ok(mut locked) = partition.lock() else {
                continue;
            };
            let released = locked.handle_config(log_config, durability(&topic.config));
            drop(locked);
            self.broker.handle_released(partition, released, effects);
        }
    }

    /// Whether a partition's directory has failed.
    fn is_lost(&self, partition: &HostedPartition) -> bool {
        let directory = self.directories.get(partition.directory());
        directory.is_some_and(LogDirectory::has_failed)
    }

    /// Retires a deleted topic: renames its folders away, to be removed later.
    fn remove(&self, topic: &HostedTopic, effects: &mut Vec<Effect>) {
        let mut touched = BTreeSet::new();
        let mut removed = Vec::new();
        for partition in &topic.partitions {
            partition.mark_deleted();
            if let Ok(mut locked) = partition.lock() {
                let released = locked.handle_deleted();
                drop(locked);
                self.broker.handle_released(partition, released, effects);
            }
            self.broker.handle_partition_lost(partition, effects);
            // What is not there is renamed by the start that finds it: no topic owns it then.
            let directory = self.directories.get(partition.directory());
            let Some(directory) = directory.filter(|directory| !directory.has_failed()) else {
                continue;
            };
            touched.insert(partition.directory());
            match directory.put_aside(&*self.disk, &partition.name, topic.id) {
                Ok(away) => removed.push(away),
                Err(error) => {
                    tracing::warn!(partition = %partition.name, %error, "files are left to the next start");
                }
            }
        }
        for directory in touched {
            let path = &self.directories[directory].path;
            if let Err(error) = self.disk.sync_directory(path) {
                // A topic of the same name must not begin here: its first names could meet the last ones
                // of this, which nobody knows to be gone.
                let reason = format_args!("a removal could not be synced: {error}");
                self.lose_directory(directory, &reason, effects);
            }
        }
        self.remove_later(removed, true, topic.config.file_delete_delay_ms);
    }
}

pub(crate) fn durability(config: &TopicConfig) -> Durability {
    match config.durability {
        millstream_metadata::Durability::Fsync => Durability::Fsync,
        millstream_metadata::Durability::Replicated => Durability::Replicated,
    }
}

/// The longest span of a segment. Only sealed ones are compacted, so that no record waits longer for it
/// than the topic says.
fn segment_ms(config: &TopicConfig) -> i64 {
    match config.is_compacted {
        true => config.segment_ms.min(config.max_compaction_lag_ms),
        false => config.segment_ms,
    }
}

pub(crate) fn answered(token: RequestToken, answer: ProposalAnswer) -> Effect {
    Effect::Complete(Completion {
        token,
        event: CompletionEvent::Proposal(answer),
    })
}
