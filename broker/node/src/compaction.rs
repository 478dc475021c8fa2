//! Compaction: the dirtiest log of all directories, one pass at a time.
//!
//! ```text
//!   dirtiest log ─► begin (lock) ─► steps (no lock), a pause after each ─► replacements (lock) ─► done
//! ```
//!
//! How long a pause is says whoever runs it: the budget of bytes is the shell's. A log whose pass failed
//! is left alone for a while: a damaged batch does not get better, and a full disk not at once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use millstream_api::{Effect, HostedTopic};
use millstream_env::is_disk_failure;
use millstream_log::{
    CompactionError, CompactionPass, CompactionRules, OffsetMap, PassStep, ReadError,
};
use millstream_model::{Instant, TopicId};
use millstream_replica::HostedPartition;

use crate::Node;
use crate::dynamic::{duration_of_ms, dynamic};

/// How compaction runs (`log.cleaner.*`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionConfig {
    /// Whether it does (`log.cleaner.enable`).
    pub is_enabled: bool,
    /// Memory for the offsets of keys (`log.cleaner.dedupe.buffer.size`). *Units*: bytes.
    pub map_bytes: usize,
    /// The wait while nothing is to be done (`log.cleaner.backoff.ms`).
    pub backoff: Duration,
    /// Reads and writes together, at most (`log.cleaner.io.max.bytes.per.second`). *Bounds*: above 0.
    pub bytes_per_second_max: f64,
}

impl Default for CompactionConfig {
    fn default() -> CompactionConfig {
        CompactionConfig {
            is_enabled: true,
            map_bytes: 16 << 20,
            backoff: Duration::from_secs(15),
            bytes_per_second_max: f64::MAX,
        }
    }
}

/// The largest memory for the offsets of keys, whatever is configured. Kafka's bound for one thread.
const MAP_BYTES_MAX: usize = i32::MAX as usize;

/// How long a log is left alone after its pass failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(600);

/// Logs whose pass failed, and until when they are left alone.
#[derive(Default)]
pub(crate) struct Failures(BTreeMap<(TopicId, i32), Instant>);

/// Told how many bytes a step read and wrote, waits as long as it likes, and answers whether to go on.
pub type Pause<'a> = &'a mut dyn FnMut(u64) -> bool;

impl Node {
    /// How compaction is to be run, now.
    #[must_use]
    pub fn compaction_config(&self) -> CompactionConfig {
        let image = &self.broker.view().image;
        let layers = self.layers(image);
        let given = self.config.compaction;
        CompactionConfig {
            is_enabled: given.is_enabled,
            map_bytes: dynamic(&layers, "log.cleaner.dedupe.buffer.size")
                .unwrap_or(given.map_bytes)
                .min(MAP_BYTES_MAX),
            backoff: dynamic(&layers, "log.cleaner.backoff.ms")
                .map_or(given.backoff, duration_of_ms),
            bytes_per_second_max: dynamic(&layers, "log.cleaner.io.max.bytes.per.second")
                .unwrap_or(given.bytes_per_second_max),
        }
    }

    /// Compacts the log that is the dirtiest of those that are due, if there is one. Answers whether there
    /// was. To be called by one thread at a time.
    pub fn compact_once(&self, pause: Pause<'_>, effects: &mut Vec<Effect>) -> bool {
        let Some((topic, partition)) = self.dirtiest().filter(|_| self.may_tidy()) else {
            return false;
        };
        let Some(mut pass) = self.begin_pass(&topic, &partition) else {
            return false;
        };
        let _compacted = Compacted(&partition);
        let begun = self.now();
        let Err(error) = self.run_pass(&topic, &partition, &mut pass, pause) else {
            let elapsed_ms = self.now().since(begun).as_millis() as u64;
            let end = pass.compacted_end().0;
            tracing::info!(partition = %partition.name, end, elapsed_ms, "log compacted");
            return true;
        };
        pass.abandon();
        self.handle_failed_pass(&partition, error, effects);
        true
    }

    fn dirtiest(&self) -> Option<(Arc<HostedTopic>, Arc<HostedPartition>)> {
        let view = self.broker.view();
        let mut best = None;
        let mut best_ratio = -1.0;
        for topic in view.topics().filter(|topic| topic.config.is_compacted) {
            for partition in &topic.partitions {
                let ratio = self.due_ratio(topic, partition);
                if let Some(ratio) = ratio.filter(|ratio| *ratio > best_ratio) {
                    best_ratio = ratio;
                    best = Some((Arc::clone(topic), Arc::clone(partition)));
                }
            }
        }
        best
    }

    /// How dirty a log is, if a pass is due.
    fn due_ratio(&self, topic: &HostedTopic, partition: &HostedPartition) -> Option<f64> {
        if self.has_failed_lately(partition) || !self.has_room_to_compact(topic, partition) {
            return None;
        }
        let now = self.believed_wall_time();
        let dirtiness = partition.lock().ok()?.dirtiness(&rules(topic), now);
        match dirtiness {
            Ok(dirtiness) => dirtiness.filter(|some| some.is_due).map(|some| some.ratio),
            Err(error) => {
                tracing::error!(partition = %partition.name, %error, "log is not compacted");
                self.note_failure(partition);
                None
            }
        }
    }

    fn begin_pass(
        &self,
        topic: &HostedTopic,
        partition: &HostedPartition,
    ) -> Option<CompactionPass> {
        let secret = [self.random.next_u64(), self.random.next_u64()];
        let map = OffsetMap::new(self.compaction_config().map_bytes, secret);
        let now = self.believed_wall_time();
        let locked = partition.lock().ok()?;
        // An error is that of the look at how dirty it is, and was said there.
        let pass = locked.begin_compaction(&rules(topic), now, map).ok()??;
        partition.note_compaction(true);
        Some(pass)
    }

    fn run_pass(
        &self,
        topic: &HostedTopic,
        partition: &HostedPartition,
        pass: &mut CompactionPass,
        pause: Pause<'_>,
    ) -> Result<(), CompactionError> {
        let lock = || {
            let locked = partition.lock();
            locked.map_err(|_| CompactionError::Read(ReadError::Offline))
        };
        loop {
            if partition.is_deleted() {
                return Err(ReadError::Offline.into());
            }
            match pass.step()? {
                PassStep::Worked { bytes }
                    if self.has_room_to_compact(topic, partition) && pause(bytes) => {}
                // The broker stops, or there is no room any more.
                PassStep::Worked { .. } => return Err(ReadError::Offline.into()),
                PassStep::Install => lock()?.install_cleaned(pass)?,
                PassStep::PutAway => {
                    let files = lock()?.put_away_replaced(pass)?;
                    self.remove_later(files, false, topic.config.file_delete_delay_ms);
                }
                PassStep::Finished => {
                    lock()?.log_mut().complete_compaction(pass);
                    return Ok(());
                }
            }
        }
    }

    fn handle_failed_pass(
        &self,
        partition: &HostedPartition,
        error: CompactionError,
        effects: &mut Vec<Effect>,
    ) {
        match error {
            _ if partition.is_deleted() => return,
            CompactionError::Read(ReadError::Offline) => {}
            CompactionError::TakenOut { base } => {
                tracing::info!(partition = %partition.name, segment = base.0, "retention was faster than compaction");
            }
            CompactionError::Sync { .. } => {
                self.lose_directory(partition.directory(), &error, effects);
            }
            CompactionError::Write { ref source, .. } if is_disk_failure(source) => {
                self.lose_directory(partition.directory(), &error, effects);
            }
            CompactionError::Read(_) | CompactionError::Write { .. } => {
                tracing::error!(partition = %partition.name, %error, "log is not compacted");
                self.note_failure(partition);
            }
        }
        let is_offline = |partition: &HostedPartition| {
            let locked = partition.lock().ok();
            locked.is_some_and(|locked| locked.log().is_offline() && !locked.is_offline())
        };
        if is_offline(partition) {
            self.fail_partition(partition, effects);
        }
    }

    fn has_failed_lately(&self, partition: &HostedPartition) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let until = failures.0.get(&key(partition));
        until.is_some_and(|until| self.now() < *until)
    }

    fn note_failure(&self, partition: &HostedPartition) {
        let now = self.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.0.retain(|_, until| now < *until);
        failures.0.insert(key(partition), now.after(FAILURE_PAUSE));
    }
}

/// A log that a pass has in hand. It ends by a panic too.
struct Compacted<'a>(&'a HostedPartition);

impl Drop for Compacted<'_> {
    fn drop(&mut self) {
        self.0.note_compaction(false);
    }
}

fn key(partition: &HostedPartition) -> (TopicId, i32) {
    (partition.topic_id, partition.name.partition)
}

fn rules(topic: &HostedTopic) -> CompactionRules {
    let config = &topic.config;
    CompactionRules {
        min_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_lag_ms: config.min_compaction_lag_ms,
        max_lag_ms: config.max_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
    }
}
