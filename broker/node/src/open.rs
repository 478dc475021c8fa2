//! Opening a node: lock, check whose directories they are, replay the metadata log, open the logs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use millstream_api::{Broker, BrokerConfig, View};
use millstream_env::{Clock, Disk, Random};
use millstream_log::{CacheBudget, Checkpoint, Noted};
use millstream_metadata::{Controller, Image, decode_records};
use millstream_model::TopicId;
use millstream_quorum::{DIRECTORY_NAME, MetaProperties, Quorum};

use crate::metadata::{MetadataOwner, decode_entry};
use crate::sweep::sweep;
use crate::{LogDirectory, Node, NodeConfig};

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

fn refused(path: &Path, reason: impl ToString) -> OpenError {
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
        let mut locks = Vec::new();
        for path in &config.log_directories {
            create_directory(&*disk, path).map_err(|error| failed(path, error))?;
            let lock = disk.lock(&path.join(".lock"));
            locks.push(lock.map_err(|error| refused(path, format!("in use: {error}")))?);
        }
        let found = check_identity(&*disk, &config)?;
        let first = config.log_directories[0].clone();
        let (mut quorum, loaded) = Quorum::open(Arc::clone(&disk), first.join(DIRECTORY_NAME))
            .map_err(|error| refused(&first, error))?;
        if loaded.is_new && found.contains_key(&first) {
            let reason = "meta.properties is there but the metadata log is missing; restore it";
            return Err(refused(&first, reason));
        }
        let mut records = match &loaded.snapshot {
            Some(snapshot) => decode_records(snapshot).map_err(|error| refused(&first, error))?,
            None => Vec::new(),
        };
        for entry in &loaded.entries {
            records.extend(decode_entry(entry).map_err(|error| refused(&first, error))?);
        }
        // At once: each application copies the topics that it changes.
        let (mut image, _) = Image::default()
            .apply(&records)
            .map_err(|error| refused(&first, error))?;
        let named = image.cluster_id().map(str::to_owned);
        let known = found
            .values()
            .next()
            .map(|properties| properties.cluster_id.clone());
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
        for path in &config.log_directories {
            if !found.contains_key(path) {
                let directory_id = new_id(&*random);
                let node_id = config.node_id;
                let properties = MetaProperties {
                    cluster_id: cluster_id.clone(),
                    node_id,
                    directory_id,
                };
                properties
                    .write(&*disk, path)
                    .map_err(|error| failed(path, error))?;
            }
        }
        let directories = open_directories(&*disk, &config)?;
        let image = Arc::new(image);
        let shards = image
            .topic(millstream_metadata::OFFSETS_TOPIC)
            .map_or(config.group_shards, |topic| topic.partitions.len());
        let broker_config = BrokerConfig {
            node_id: config.node_id,
            cluster_id,
            rack: config.rack.clone(),
            auto_create_topics: config.auto_create_topics,
            delete_topics: config.delete_topics,
            fetch_bytes_max: config.fetch_bytes_max,
            fetch_wait_max: config.fetch_wait_max,
            groups: config.groups.clone(),
            group_shards: shards,
        };
        let bits = Arc::clone(&random);
        let view = View::new(Arc::clone(&image));
        let broker = Broker::new(broker_config, view, Box::new(move || bits.next_u64()));
        let started = (clock.now(), clock.wall_time());
        let node = Node {
            broker,
            disk,
            clock,
            started,
            removals: Mutex::default(),
            failures: Mutex::default(),
            random,
            directories,
            metadata: Mutex::new(MetadataOwner { quorum, controller }),
            cache_budget: CacheBudget::default(),
            config,
            _locks: locks,
        };
        for directory in &node.directories {
            sweep(&*node.disk, &directory.path, &image)
                .map_err(|error| failed(&directory.path, error))?;
        }
        let topics = image.topics();
        let hosted = topics.map(|topic| node.host(&image, topic)).collect();
        let view = node.broker.view().changed(image, &[], hosted);
        node.broker.publish(view);
        Ok(node)
    }
}

/// Creates a log directory where there is none, and makes its name and those above it durable.
fn create_directory(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    if disk.list(path).is_ok() {
        return Ok(());
    }
    disk.create_directory(path)?;
    let mut above = path.ancestors().skip(1);
    above.try_for_each(|ancestor| match ancestor.as_os_str().is_empty() {
        true => disk.sync_directory(Path::new(".")),
        false => disk.sync_directory(ancestor),
    })
}

/// Reads and checks every directory's identity, before any is written to.
fn check_identity(
    disk: &dyn Disk,
    config: &NodeConfig,
) -> Result<BTreeMap<PathBuf, MetaProperties>, OpenError> {
    let mut found = BTreeMap::new();
    let mut cluster = config.cluster_id.clone();
    for path in &config.log_directories {
        let read = MetaProperties::read(disk, path).map_err(|error| refused(path, error))?;
        let Some(properties) = read else { continue };
        properties
            .check(path, cluster.as_deref(), config.node_id)
            .map_err(|error| refused(path, error))?;
        cluster = Some(properties.cluster_id.clone());
        found.insert(path.clone(), properties);
    }
    Ok(found)
}

fn open_directories(disk: &dyn Disk, config: &NodeConfig) -> Result<Vec<LogDirectory>, OpenError> {
    let mut directories = Vec::new();
    for path in &config.log_directories {
        let read = Checkpoint::read(disk, path).map_err(|error| failed(path, error))?;
        let noted = read.map(|checkpoint| {
            let entries = checkpoint.entries.into_iter();
            entries
                .map(|entry| {
                    let noted = Noted {
                        recovery_point: entry.recovery_point,
                        log_start_offset: entry.log_start_offset,
                    };
                    ((entry.topic_id, entry.partition), noted)
                })
                .collect()
        });
        let volume = disk.volume(path).map_err(|error| failed(path, error))?;
        directories.push(LogDirectory::new(path.clone(), volume, noted));
    }
    Ok(directories)
}

pub(crate) fn new_id(random: &dyn Random) -> TopicId {
    TopicId::from_random(u128::from(random.next_u64()) << 64 | u128::from(random.next_u64()))
}
