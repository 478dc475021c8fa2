//! Opening a node: lock, check whose directories they are, replay the metadata log, open the logs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use millstream_api::{Broker, BrokerConfig, DirectoryGates, View};
use millstream_env::{Clock, Disk, Random};
use millstream_log::CacheBudget;
use millstream_metadata::{Controller, DirectoryAssignment, Image, Record, decode_records};
use millstream_model::{DirectoryId, Instant, TopicId};
use millstream_quorum::{DIRECTORY_NAME, Loaded, ProposeError, Quorum};

use crate::directory_start::{StartingDirectory, begin_all, without_metadata};
use crate::metadata::{MetadataOwner, decode_entry};
use crate::placement::Found;
use crate::room::AwaitingCut;
use crate::safe_mode::NotedStart;
use crate::scrub::ScrubPass;
use crate::sweep::Sweep;
use crate::unfinished_moves::UnfinishedMoves;
use crate::{Node, NodeConfig};

/// Partitions whose directories are noted in one proposal.
const ASSIGNMENTS_MAX: usize = 10_000;

/// Why a node does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A directory is not this broker's to use; nothing in it was touched.
    #[error("{reason}")]
    Refused {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something failed.
    #[error("opening {path} failed: {reason}")]
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

pub(crate) fn failed(path: &Path, reason: impl ToString) -> OpenError {
    OpenError::Failed {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

pub(crate) fn refused(path: &Path, reason: impl ToString) -> OpenError {
    OpenError::Refused {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

impl Node {
    /// Opens the directories and everything in them.
    pub fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: NodeConfig,
    ) -> Result<Node, OpenError> {
        let begun = begin_all(&*disk, &config)?;
        let start = NotedStart::begin(&*disk, &config, clock.wall_time());
        let safe_mode = start.safe_mode(&config);
        if let Some(why) = &safe_mode {
            tracing::error!("{why}");
        }
        let opened = Node::open_begun(Arc::clone(&disk), clock, random, config, begun, safe_mode);
        // An error is an answer, and no crash.
        opened.inspect_err(|_| start.withdraw(&*disk))
    }

    fn open_begun(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: NodeConfig,
        mut begun: Vec<StartingDirectory>,
        safe_mode: Option<String>,
    ) -> Result<Node, OpenError> {
        let locks = begun.iter_mut().filter_map(|starting| starting.lock.take());
        let locks = locks.collect();
        let mut properties = begun
            .iter()
            .filter_map(|starting| starting.properties.as_ref());
        let first = config.log_directories[0].clone();
        let (mut quorum, loaded) = Quorum::open(Arc::clone(&disk), first.join(DIRECTORY_NAME))
            .map_err(|error| refused(&first, error))?;
        if loaded.is_new && begun[0].properties.is_some() {
            let reason = "meta.properties is there but the metadata log is missing; restore it";
            return Err(refused(&first, reason));
        }
        let mut image = replay(&loaded).map_err(|reason| refused(&first, reason))?;
        let named = image.cluster_id().map(str::to_owned);
        let known = properties.next();
        let known = known.map(|properties| properties.cluster_id.clone());
        let cluster_id = named
            .or(known)
            .or(config.cluster_id.clone())
            .unwrap_or_else(|| new_id(&*random).to_string());
        let controller = Controller {
            settings: config.controller.clone(),
        };
        let start = controller
            .decide_broker_start(&image, config.node_id, &cluster_id)
            .map_err(|error| refused(&first, error))?;
        quorum.lead().map_err(|error| failed(&first, error))?;
        let encoded: Vec<_> = start.records.iter().map(|record| record.encode()).collect();
        quorum
            .propose(&encoded)
            .map_err(|error| failed(&first, error))?;
        image = image
            .apply(&start.records)
            .map_err(|error| failed(&first, error))?
            .0;
        let mut found = Found::at_start(begun.iter().any(StartingDirectory::is_new));
        let finish =
            |starting: StartingDirectory| starting.finish(&*disk, &config, &cluster_id, &*random);
        let directories: Vec<_> = begun.into_iter().map(finish).collect();
        let unfinished = UnfinishedMoves {
            disk: &*disk,
            image: &image,
            node: config.node_id,
            directories: &directories,
        };
        let mut interrupted = Vec::new();
        for (index, directory) in directories.iter().enumerate() {
            if directory.has_failed() {
                continue;
            }
            match unfinished.finish(index) {
                Ok(some) => interrupted.extend(some),
                Err(error) => directory.fail(&error),
            }
        }
        let sweep = Sweep {
            disk: &*disk,
            image: &image,
            node: config.node_id,
        };
        for (index, directory) in directories.iter().enumerate() {
            if !directory.has_failed()
                && let Err(error) = sweep.run(index, directory, &mut found)
            {
                directory.fail(&error);
            }
            found.is_incomplete |= directory.has_failed();
        }
        if let Some(reason) = directories[0].failure() {
            return Err(without_metadata(&first, &reason));
        }
        let image = Arc::new(image);
        let shards = image
            .topic(millstream_metadata::OFFSETS_TOPIC)
            .map_or(config.group_shards, |topic| topic.partitions.len());
        let broker_config = BrokerConfig {
            node_id: config.node_id,
            cluster_id,
            rack: config.rack.clone(),
            log_directories: paths_of(&config),
            auto_create_topics: config.auto_create_topics,
            delete_topics: config.delete_topics,
            file_configs: Arc::new(config.controller.file_configs.clone()),
            describe_partitions_max: config.describe_partitions_max,
            known_configs: Arc::clone(&config.controller.known_configs),
            telemetry_bytes_max: config.telemetry_bytes_max,
            quota_window: config.quota_window,
            fetch_bytes_max: config.fetch_bytes_max,
            answer_bytes_max: config.answer_bytes_max,
            fetch_sessions_max: config.fetch_sessions_max,
            fetch_wait_max: config.fetch_wait_max,
            groups: config.groups.clone(),
            group_shards: shards,
            safe_mode,
        };
        let bits = Arc::clone(&random);
        let view = View::new(Arc::clone(&image));
        let gates = DirectoryGates::new(paths_of(&config), config.gates, clock_of(&clock));
        let random_bits = Box::new(move || bits.next_u64());
        let broker = Broker::new(broker_config, view, gates, random_bits);
        let started = (clock.now(), clock.wall_time());
        let scrub_from = new_id(&*random);
        let node = Node {
            broker,
            disk,
            clock,
            started,
            removals: Mutex::default(),
            failures: Mutex::default(),
            awaiting_cut: AwaitingCut::default(),
            scrubbed: Mutex::new(ScrubPass::begun_at(scrub_from, started.0)),
            random,
            directories,
            metadata: Mutex::new(MetadataOwner { quorum, controller }),
            cache_budget: CacheBudget::default(),
            config,
            _locks: locks,
        };
        node.remove_unread(std::mem::take(&mut found.deleted));
        let image = node.note_directories(image, &found)?;
        let topics: Vec<_> = image.topics().collect();
        let hosted = node.host(&image, &topics, &found);
        let log = {
            let owner = node.metadata.lock();
            owner.unwrap_or_else(PoisonError::into_inner).log()
        };
        let view = node.broker.view().changed(image, log, &[], hosted);
        node.broker.publish(view);
        for (topic, partition, directory) in interrupted {
            let view = node.broker.view();
            let topic = view.topic_by_id(topic);
            if let Some(hosted) = topic.and_then(|topic| topic.partition(partition)) {
                node.broker.moves.ask(hosted, directory);
            }
        }
        // It is said already which have failed, and their partitions are hosted offline.
        node.retire_failed(&mut Vec::new());
        Ok(node)
    }

    /// Notes in the metadata where partitions are that it does not say so of.
    fn note_directories(&self, image: Arc<Image>, found: &Found) -> Result<Arc<Image>, OpenError> {
        let mut assignments = Vec::new();
        for topic in image.topics() {
            for (index, partition) in (0..).zip(&topic.partitions) {
                if partition.directory_of(self.config.node_id) != Some(DirectoryId::UNASSIGNED) {
                    continue;
                }
                if let Ok(place) = self.locate(&image, &topic.name, index, partition, found) {
                    assignments.push(DirectoryAssignment {
                        topic_id: topic.id,
                        partition: index,
                        directory: self.directories[place].id,
                    });
                }
            }
        }
        let path = &self.directories[0].path;
        let mut owner = self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        let mut image = image;
        for some in assignments.chunks(ASSIGNMENTS_MAX) {
            let node = self.config.node_id;
            let records = owner
                .controller
                .decide_assign_directories(&image, node, some);
            let encoded: Vec<_> = records.iter().map(Record::encode).collect();
            match owner.quorum.propose(&encoded) {
                Ok(_) => {}
                // A full disk: the next start notes it.
                Err(error @ ProposeError::Refused { .. }) => {
                    tracing::warn!(%error, "where partitions are is not noted");
                    return Ok(image);
                }
                Err(error) => return Err(failed(path, error)),
            }
            image = Arc::new(
                image
                    .apply(&records)
                    .map_err(|error| failed(path, error))?
                    .0,
            );
        }
        Ok(image)
    }
}

fn paths_of(config: &NodeConfig) -> Vec<String> {
    let paths = config.log_directories.iter();
    paths.map(|path| path.display().to_string()).collect()
}

fn clock_of(clock: &Arc<dyn Clock>) -> Box<dyn Fn() -> Instant + Send + Sync> {
    let clock = Arc::clone(clock);
    Box::new(move || clock.now())
}

/// The metadata that a log of it holds. *Errors*: why it makes no sense.
fn replay(loaded: &Loaded) -> Result<Image, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let mut records = match &loaded.snapshot {
        Some(snapshot) => decode_records(snapshot).map_err(|error| said(&error))?,
        None => Vec::new(),
    };
    for entry in &loaded.entries {
        records.extend(decode_entry(entry).map_err(|error| said(&error))?);
    }
    // At once: each application copies the topics that it changes.
    let applied = Image::default().apply(&records);
    applied
        .map(|(image, _)| image)
        .map_err(|error| said(&error))
}

/// Reads the metadata log of a stopped broker, if the directory has one, and judges it as a start does.
/// Changes nothing. Answers where it is, and what is wrong with it.
pub fn check_metadata(disk: Arc<dyn Disk>, directory: &Path) -> Option<(PathBuf, Option<String>)> {
    let path = directory.join(DIRECTORY_NAME);
    disk.list(&path).ok()?;
    let fault = match Quorum::open(disk, path.clone()) {
        Ok((_, loaded)) => replay(&loaded).err(),
        Err(error) => Some(error.to_string()),
    };
    Some((path, fault))
}

pub(crate) fn new_id(random: &dyn Random) -> TopicId {
    TopicId::from_random(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()))
}
