//! Retention and DeleteRecords: moving the beginnings of logs, durably, and removing what lies before.
//!
//! ```text
//!   move the starts ─► write the checkpoint (starts) ─► flush (producers) ─► rename segments away
//!                                                                                │ file.delete.delay.ms
//!                                                                                └─► remove them
//! ```
//!
//! By time is by the wall clock, which may be set wrong under a running broker. It is believed as far as
//! it agrees with the monotonic clock: a step forward of years does not delete what was written today.

use std::sync::Arc;
use std::time::Duration;

use millstream_api::{DeletedRecords, Effect, HostedTopic, ProposalAnswer, RecordsToDelete};
use millstream_env::is_disk_failure;
use millstream_log::Retention;
use millstream_model::{Offset, RequestToken, WallTime};
use millstream_protocol::ErrorCode;
use millstream_replica::HostedPartition;

use crate::Node;
use crate::metadata::answered;

/// How far the wall clock may run ahead of where it was at the start plus the time since. Daylight
/// saving does not move it; a step beyond this is taken for an error.
const CLOCK_STEP_MAX: Duration = Duration::from_secs(3600);

impl Node {
    /// One run of retention over all logs.
    pub fn enforce_retention(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !self.may_tidy() {
            return effects;
        }
        let now = self.believed_wall_time();
        let view = self.broker.view();
        let mut surplus = Vec::new();
        for topic in view.topics() {
            let retention = rules(topic);
            for partition in &topic.partitions {
                if let Some(start) = self.surplus_before(partition, retention, now) {
                    surplus.push((topic, partition, start));
                }
            }
        }
        if !surplus.is_empty() {
            self.take_out(&surplus, &mut effects);
        }
        effects
    }

    /// Where a log begins now, if segments lie before it.
    fn surplus_before(
        &self,
        partition: &HostedPartition,
        retention: Retention,
        now: WallTime,
    ) -> Option<Offset> {
        let mut locked = partition.lock().ok()?;
        locked
            .handle_retention(retention, now)
            .unwrap_or_else(|error| {
                tracing::error!(partition = %partition.name, %error, "retention is not enforced");
                None
            })
    }

    /// Makes the new starts durable, then takes the segments before them out of their logs. What cannot
    /// be taken out now stays for the next run.
    fn take_out(
        &self,
        surplus: &[(&Arc<HostedTopic>, &Arc<HostedPartition>, Offset)],
        effects: &mut Vec<Effect>,
    ) {
        let noted = self.write_checkpoints(&[], effects);
        let is_noted = |partition: &HostedPartition| {
            matches!(noted.get(partition.directory()), Some(Ok(true)))
        };
        let surplus = surplus
            .iter()
            .filter(|(_, partition, _)| is_noted(partition));
        for (_, partition, _) in surplus.clone() {
            if partition.mark_awaits_flush() {
                self.queue_flush(Arc::clone(partition));
            }
        }
        for directory in 0..self.directories() {
            effects.extend(self.flush(directory));
        }
        for (topic, partition, start) in surplus {
            let Ok(mut locked) = partition.lock() else {
                continue;
            };
            let taken = locked.take_out_segments(*start);
            drop(locked);
            match taken {
                Ok(files) => self.remove_later(files, false, topic.config.file_delete_delay_ms),
                Err(error) => {
                    tracing::warn!(partition = %partition.name, %error, "segments could not be taken out");
                    if is_disk_failure(&error) {
                        self.lose_directory(partition.directory(), &error, effects);
                    }
                }
            }
        }
    }

    /// Moves the starts of logs as a request asks, and answers it when they are durable.
    pub fn delete_records(
        &self,
        token: RequestToken,
        records: Vec<RecordsToDelete>,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        let moved: Vec<_> = records
            .into_iter()
            .map(|records| {
                let partition = records.target;
                let moved = partition.and_then(|partition| {
                    let start = delete_before(&partition, records.offset)?;
                    Ok((partition.directory(), start))
                });
                (records.name, moved)
            })
            .collect();
        let mut noted = Vec::new();
        if moved.iter().any(|(_, moved)| moved.is_ok()) {
            noted = self.write_checkpoints(&[], &mut effects);
        }
        let deleted = moved.into_iter().map(|(name, moved)| DeletedRecords {
            name,
            result: moved.and_then(|(directory, start)| match noted.get(directory) {
                Some(Ok(true)) => Ok(start),
                // The new start is not durable.
                _ => Err(ErrorCode::KafkaStorageError),
            }),
        });
        let answer = ProposalAnswer::RecordsDeleted(deleted.collect());
        effects.push(answered(token, answer));
        effects
    }

    /// The wall clock, as far as it may be believed.
    pub(crate) fn believed_wall_time(&self) -> WallTime {
        let wall = self.wall_time();
        let (start, wall_start) = self.started;
        let elapsed = self.now().since(start) + CLOCK_STEP_MAX;
        let latest = WallTime(
            wall_start
                .0
                .saturating_add(i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX)),
        );
        if wall > latest {
            tracing::warn!(
                wall_ms = wall.0,
                used_ms = latest.0,
                "the wall clock has been set forward: retention and compaction go by the time since the start"
            );
        }
        wall.min(latest)
    }
}

fn rules(topic: &HostedTopic) -> Retention {
    match topic.config.is_deleted_by_retention {
        true => Retention {
            ms: topic.config.retention_ms,
            bytes: topic.config.retention_bytes,
        },
        // Only what lies before the log's start goes.
        false => Retention::default(),
    }
}

fn delete_before(partition: &HostedPartition, offset: i64) -> Result<Offset, ErrorCode> {
    if partition.is_deleted() {
        return Err(ErrorCode::UnknownTopicOrPartition);
    }
    let mut locked = partition.lock().map_err(|_| ErrorCode::KafkaStorageError)?;
    locked
        .handle_delete_records(offset)
        .map_err(|error| error.code())
}
