//! The node: what is opened, and the clocks it is run by.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use millstream_api::{Broker, Effect, GateLimits, QuotaWindow, View};
use millstream_coordinator::GroupConfig;
use millstream_env::{Clock, Disk, Random, is_disk_failure};
use millstream_log::{CacheBudget, Checkpoint, CheckpointEntry, Noted};
use millstream_metadata::ControllerSettings;
use millstream_model::{Instant, NodeId, WallTime};

use crate::LogDirectory;
use crate::compaction::{CompactionConfig, Failures};
use crate::dynamic::dynamic;
use crate::metadata::MetadataOwner;
use crate::removals::Removals;
use crate::room::AwaitingCut;
use crate::scrub::{ScrubConfig, ScrubPass};

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// This broker's id (`node.id`).
    pub node_id: NodeId,
    /// The cluster it belongs to; by default the one its directories name, or a new one.
    pub cluster_id: Option<String>,
    /// This broker's rack (`broker.rack`).
    pub rack: Option<String>,
    /// The log directories (`log.dirs`). *Bounds*: at least one; metadata lives in the first.
    pub log_directories: Vec<PathBuf>,
    /// Whether asking for an unknown topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Whether topics can be deleted (`delete.topic.enable`).
    pub delete_topics: bool,
    /// Partitions in one answer to DescribeTopicPartitions (`max.request.partition.size.limit`).
    pub describe_partitions_max: usize,
    /// What topics get where nothing else is asked for, and their bounds.
    pub controller: ControllerSettings,
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
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub group_expiry_interval: Duration,
    /// How long an idle producer's sequence is remembered (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
    /// How often retention runs (`log.retention.check.interval.ms`).
    pub retention_interval: Duration,
    /// How compaction runs.
    pub compaction: CompactionConfig,
    /// Threads that open logs, for each log directory (`num.recovery.threads.per.data.dir`). *Bounds*: at least 1,
    /// with which they are opened one after the other, in order.
    pub recovery_threads: usize,
    /// Bytes that records of clients leave free in each log directory (`millstream.log.dir.reserve.bytes`).
    /// `None`: [`millstream_log::Room::default_reserve`].
    pub reserve_bytes: Option<u64>,
    /// Crashes in ten minutes after which a start is one in safe mode (`millstream.safe.mode.crashes`).
    /// *Bounds*: at most [`millstream_log::RecentStarts::MAX`]; 0 for never.
    pub safe_mode_crashes: usize,
    /// How sealed segments are scrubbed.
    pub scrub: ScrubConfig,
    /// Bytes that a step of a move between log directories copies, about; no more are left when the partition
    /// stands still for the end of it.
    pub move_bytes_max: u64,
    /// When a log directory is slow, and what may wait for it.
    pub gates: GateLimits,
}

/// A broker without log directories, which are to be given; otherwise Kafka's defaults, where it has them.
impl Default for NodeConfig {
    fn default() -> NodeConfig {
        NodeConfig {
            node_id: NodeId(1),
            cluster_id: None,
            rack: None,
            log_directories: Vec::new(),
            auto_create_topics: true,
            delete_topics: true,
            describe_partitions_max: 2000,
            controller: ControllerSettings::default(),
            telemetry_bytes_max: 1 << 20,
            quota_window: QuotaWindow::default(),
            fetch_bytes_max: 55 << 20,
            answer_bytes_max: 512 << 20,
            fetch_sessions_max: 1000,
            fetch_wait_max: Duration::from_secs(60),
            groups: GroupConfig::default(),
            group_shards: 50,
            group_expiry_interval: Duration::from_secs(600),
            producer_expiration: Duration::from_secs(86_400),
            retention_interval: Duration::from_secs(300),
            compaction: CompactionConfig::default(),
            recovery_threads: 1,
            reserve_bytes: Some(0),
            safe_mode_crashes: 0,
            scrub: ScrubConfig::default(),
            move_bytes_max: 1 << 20,
            gates: GateLimits::default(),
        }
    }
}

/// An opened broker.
pub struct Node {
    /// What requests are handed to.
    pub broker: Broker,
    pub(crate) config: NodeConfig,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) directories: Vec<LogDirectory>,
    pub(crate) metadata: Mutex<MetadataOwner>,
    pub(crate) cache_budget: CacheBudget,
    pub(crate) removals: Mutex<Removals>,
    pub(crate) failures: Mutex<Failures>,
    pub(crate) awaiting_cut: AwaitingCut,
    pub(crate) scrubbed: Mutex<ScrubPass>,
    /// What both clocks said when the node was opened.
    pub(crate) started: (Instant, WallTime),
    /// Held as long as the node lives.
    pub(crate) _locks: Vec<Box<dyn Send + Sync>>,
}

impl Node {
    /// The monotonic clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The wall clock.
    #[must_use]
    pub fn wall_time(&self) -> WallTime {
        self.clock.wall_time()
    }

    /// How often [`Node::enforce_retention`] is due.
    #[must_use]
    pub fn retention_interval(&self) -> Duration {
        self.config.retention_interval
    }

    /// Bytes that moves of partitions copy in a second, at most (`replica.alter.log.dirs.io.max.bytes.per.second`).
    #[must_use]
    pub fn move_bytes_per_second_max(&self) -> f64 {
        let image = &self.broker.view().image;
        let layers = self.layers(image);
        let given = dynamic::<f64>(&layers, "replica.alter.log.dirs.io.max.bytes.per.second");
        given.filter(|budget| *budget >= 1.0).unwrap_or(f64::MAX)
    }

    /// How many log directories there are.
    #[must_use]
    pub fn directories(&self) -> usize {
        self.directories.len()
    }

    /// Notes for the next recovery how far every log is durable. A directory where that fails is tried again
    /// the next time, unless its disk is gone.
    pub fn checkpoint(&self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let _tried_again = self.write_checkpoints(&[], &mut effects);
        effects
    }

    /// Makes everything durable and leaves a clean checkpoint. The last step of a node. *Errors*: the first
    /// of all; the rest is closed all the same.
    pub fn close(&self) -> io::Result<()> {
        let mut unclean = BTreeSet::new();
        let mut first_error = Ok(());
        let view = self.broker.view();
        for partition in view.topics().flat_map(|topic| &topic.partitions) {
            let Ok(mut locked) = partition.lock() else {
                continue;
            };
            if let Err(error) = locked.log_mut().prepare_close() {
                tracing::error!(partition = %partition.name, %error, "log not closed");
                unclean.insert(partition.directory());
                first_error = first_error.and(Err(error));
            }
            drop(locked);
            if partition.mark_awaits_flush() {
                self.queue_flush(Arc::clone(partition));
            }
        }
        for directory in 0..self.directories.len() {
            self.flush(directory);
        }
        let clean: Vec<bool> = (0..self.directories.len())
            .map(|directory| !unclean.contains(&directory))
            .collect();
        let written = self.write_checkpoints(&clean, &mut Vec::new());
        self.note_clean_stop();
        written.into_iter().fold(first_error, |first, written| {
            // What had failed before was said then.
            first.and(written.map(drop))
        })
    }

    /// Writes the checkpoint of every directory, `clean` where that is said of it. Answers of each whether it
    /// is on the disk: a directory that has failed keeps the one that it has, which is true still.
    pub(crate) fn write_checkpoints(
        &self,
        clean: &[bool],
        effects: &mut Vec<Effect>,
    ) -> Vec<io::Result<bool>> {
        let view = self.broker.view();
        let write = |(index, directory): (usize, &LogDirectory)| {
            if directory.has_failed() {
                return Ok(false);
            }
            let is_clean = clean.get(index) == Some(&true);
            let written = self.write_checkpoint(&view, index, is_clean);
            if let Err(error) = &written {
                let path = directory.path.display();
                tracing::warn!(directory = %path, %error, "recovery points could not be written");
                if is_disk_failure(error) {
                    let reason = format!("recovery points could not be written: {error}");
                    directory.fail(&reason);
                }
            }
            written.map(|()| true)
        };
        let written = self.directories.iter().enumerate().map(write).collect();
        self.retire_failed(effects);
        written
    }

    /// Writes the checkpoint of one directory.
    pub(crate) fn write_checkpoint(
        &self,
        view: &View,
        index: usize,
        is_clean: bool,
    ) -> io::Result<()> {
        let directory = &self.directories[index];
        directory.write_checkpoint(&*self.disk, || Checkpoint {
            is_clean,
            entries: self.checkpoint_entries(view, index, directory),
        })
    }

    /// The log directories that are offline, with the reason.
    #[must_use]
    pub fn offline_directories(&self) -> Vec<(PathBuf, String)> {
        let failures = self.directories.iter().map(|directory| {
            let failure = directory.failure()?;
            Some((directory.path.clone(), failure))
        });
        failures.flatten().collect()
    }

    fn checkpoint_entries(
        &self,
        view: &View,
        index: usize,
        directory: &LogDirectory,
    ) -> Vec<CheckpointEntry> {
        let mut entries: Vec<_> = directory.arriving().into_iter().collect();
        for topic in view.topics() {
            let partitions = topic.partitions.iter();
            for hosted in partitions.filter(|hosted| hosted.directory() == index) {
                let noted = match hosted.lock() {
                    Ok(mut locked) => locked.log_mut().checkpoint(),
                    // What was durable at the start still is.
                    Err(_) => directory.noted(topic.id, hosted.name.partition),
                };
                if noted == Noted::UNKNOWN {
                    continue;
                }
                entries.push(CheckpointEntry {
                    topic_id: topic.id,
                    partition: hosted.name.partition,
                    noted,
                });
            }
        }
        entries
    }
}
