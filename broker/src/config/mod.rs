//! The broker's configuration: `millstream serve [--config FILE] [--set KEY=VALUE]…`.
//!
//! A setting has Kafka's own name wherever Kafka has one, else `millstream.…`. All of Kafka's names are
//! taken: those that change nothing yet are named in one warning, values that ask for a protection which is
//! not there are refused, and a name that nobody knows is an error. `listener.name.NAME.…` is for one
//! listener. Layers: defaults < file < environment < `--set` < flags.
//! [`Config`] is what comes out: plain, typed and checked. `config/millstream.toml` is written from the
//! same table ([`reference_file`]).

mod build;
pub mod environment;
mod error;
mod layered;
mod listeners;
mod live;
mod nearest;
mod of_listener;
mod origin;
mod properties;
mod reference;
mod setting;
mod toml_file;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_api::{HostPort, QuotaWindow};
use millstream_coordinator::GroupConfig;
use millstream_metadata::{BrokerConfigTable, BrokerLayers, Configs, TopicConfig};
use millstream_model::NodeId;
use millstream_node::{CompactionConfig, ScrubConfig};

pub use error::ConfigError;
pub use listeners::KafkaListener;
pub use nearest::Suggestion;
pub use origin::{Entry, Origin};
pub use reference::reference_file;

use layered::Layered;
use live::LIVE;
use setting::Setting;

use crate::net::SocketSettings;

/// A longer configuration file is refused.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// How this broker runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// This broker's id (`node.id`).
    pub node_id: NodeId,
    /// The cluster it belongs to (`millstream.cluster.id`); none: whatever its directories say.
    pub cluster_id: Option<String>,
    /// Its rack (`broker.rack`).
    pub rack: Option<String>,
    /// Where Kafka's protocol is served (`listeners`, `advertised.listeners`). *Bounds*: at least one.
    pub listeners: Vec<KafkaListener>,
    /// Where HTTP is served (`millstream.http.listen`).
    pub http_listen: HostPort,
    /// The data directories (`log.dirs`). *Bounds*: at least one; metadata lives in the first.
    pub log_directories: Vec<PathBuf>,
    /// Partitions of a topic whose creator leaves it open (`num.partitions`).
    pub num_partitions: i32,
    /// Replicas of a topic whose creator leaves it open (`default.replication.factor`).
    pub default_replication_factor: i16,
    /// Whether asking for an unknown topic creates it (`auto.create.topics.enable`).
    pub auto_create_topics: bool,
    /// Whether topics can be deleted (`delete.topic.enable`).
    pub delete_topics: bool,
    /// Partitions in one answer to DescribeTopicPartitions (`max.request.partition.size.limit`).
    pub describe_partitions_max: usize,
    /// All settings that were given, by name, as canonical text: the file layer of configs of topics and of
    /// the broker. [`Config::topic_config`] shows those behind topics typed, with the defaults.
    pub given: Configs,
    /// How `__consumer_offsets` is created.
    pub offsets_topic: OffsetsTopic,
    /// Bounds and timers of groups (`group.*`, `offset.metadata.max.bytes`, `offsets.retention.minutes`).
    pub groups: GroupConfig,
    /// How often expired offsets are looked for (`offsets.retention.check.interval.ms`).
    pub group_expiry_interval: Duration,
    /// Bytes of appends that wait for a slow log directory (`millstream.log.dir.queue.bytes`); none: a share of the memory.
    pub directory_queue_bytes_max: Option<usize>,
    /// The longest request (`socket.request.max.bytes`).
    pub request_bytes_max: usize,
    /// Bytes of unfinished requests held at once, beyond what is every connection's own
    /// (`queued.max.request.bytes`); none: a share of the memory.
    pub queued_request_bytes_max: Option<usize>,
    /// Bytes of answers held for clients that have not read them (`millstream.queued.answer.bytes`); none: a share
    /// of the memory.
    pub queued_answer_bytes_max: Option<usize>,
    /// Connections open at once (`max.connections`); none: as many as the descriptors allow.
    pub connections_max: Option<usize>,
    /// What the system is asked for each listener's socket (`socket.*`).
    pub sockets: SocketSettings,
    /// How long a connection may be silent (`connections.max.idle.ms`).
    pub connection_idle_max: Duration,
    /// Bytes of metrics that a client may push at once (`telemetry.max.bytes`).
    pub telemetry_bytes_max: usize,
    /// How long rates of clients are measured (`quota.window.num`, `quota.window.size.seconds`).
    pub quota_window: QuotaWindow,
    /// Most bytes of records in a fetch answer (`fetch.max.bytes`).
    pub fetch_bytes_max: usize,
    /// Threads that open logs, for each log directory (`num.recovery.threads.per.data.dir`).
    pub recovery_threads: usize,
    /// Fetch sessions that are kept at most (`max.incremental.fetch.session.cache.slots`).
    pub fetch_sessions_max: usize,
    /// Longest wait of a fetch (`millstream.fetch.wait.max.ms`).
    pub fetch_wait_max: Duration,
    /// How long an idle producer's sequence is remembered (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
    /// How often retention runs (`log.retention.check.interval.ms`).
    pub retention_interval: Duration,
    /// How compaction runs (`log.cleaner.*`).
    pub compaction: CompactionConfig,
    /// Bytes that records of clients leave free in each log directory (`millstream.log.dir.reserve.bytes`); none:
    /// a share of the file system.
    pub reserve_bytes: Option<u64>,
    /// Crashes in ten minutes after which a start is one in safe mode (`millstream.safe.mode.crashes`); 0:
    /// never.
    pub safe_mode_crashes: usize,
    /// How sealed segments are scrubbed (`millstream.scrub.*`).
    pub scrub: ScrubConfig,
}

/// How the topic of committed offsets is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetsTopic {
    /// Its partitions (`offsets.topic.num.partitions`).
    pub partitions: i32,
    /// Its replicas, before they are cut to the live brokers (`offsets.topic.replication.factor`).
    pub replication_factor: i16,
    /// The largest size of its segments (`offsets.topic.segment.bytes`).
    pub segment_bytes: usize,
}

/// The places a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// `--config`.
    pub file: Option<PathBuf>,
    /// Variables of the environment that are settings ([`environment::of_process`]).
    pub environment: Vec<(OsString, OsString)>,
    /// `--set`, in order; the last of a name counts.
    pub set: Vec<String>,
    /// Flags of their own: name of the flag, name of the setting, value.
    pub flags: Vec<(&'static str, &'static str, String)>,
}

/// A configuration with what the operator should hear about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// One line each, for the log.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks a configuration.
    pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
        let mut entries = match &sources.file {
            Some(path) => parse_file(path, &read_file(path)?)?,
            None => Vec::new(),
        };
        entries.extend(environment::parse(&sources.environment)?);
        for text in &sources.set {
            entries.push(parse_set(text)?);
        }
        for (flag, name, value) in &sources.flags {
            let (name, value) = ((*name).to_owned(), value.clone());
            entries.push(Entry {
                name,
                value,
                origin: Origin::Flag(flag),
            });
        }
        Config::from_entries(entries)
    }

    /// Checks settings that were read, lowest layer first.
    pub fn from_entries(entries: Vec<Entry>) -> Result<Loaded, ConfigError> {
        let (config, warnings) = build::build(&Layered::new(entries)?)?;
        Ok(Loaded { config, warnings })
    }

    /// The configs of a topic that has none of its own.
    #[must_use]
    pub fn topic_config(&self) -> TopicConfig {
        let layers = BrokerLayers {
            broker: None,
            all_brokers: None,
            file: &self.given,
        };
        TopicConfig::resolve(None, &layers)
    }
}

impl Config {
    /// The configs that this broker knows: Kafka's, and over them those that it obeys.
    #[must_use]
    pub fn known() -> BrokerConfigTable {
        BrokerConfigTable::default().with(LIVE.iter().map(Setting::def))
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::from_entries(Vec::new())
            .expect("the defaults are a configuration")
            .config
    }
}

/// Cuts the text of a configuration file into settings: Java properties if it is named so, else TOML.
pub fn parse_file(path: &Path, text: &str) -> Result<Vec<Entry>, ConfigError> {
    match path
        .extension()
        .is_some_and(|extension| extension == "properties")
    {
        true => properties::parse(path, text),
        false => toml_file::parse(path, text),
    }
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let file_error = |source| ConfigError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(file_error)?;
    let length = file.metadata().map_err(file_error)?.len();
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(file_error)?;
    // A pipe has no length of its own: what was read of it counts.
    let length = length.max(bytes.len() as u64);
    if length > FILE_BYTES_MAX {
        return Err(ConfigError::FileTooLong {
            path: path.to_owned(),
            length,
            max: FILE_BYTES_MAX,
        });
    }
    String::from_utf8(bytes).map_err(|error| {
        file_error(io::Error::new(
            io::ErrorKind::InvalidData,
            error.utf8_error(),
        ))
    })
}

fn parse_set(text: &str) -> Result<Entry, ConfigError> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            let (name, value) = (name.trim().to_owned(), value.to_owned());
            Ok(Entry {
                name,
                value,
                origin: Origin::Set,
            })
        }
        _ => Err(ConfigError::NotKeyValue(text.chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests;
