//! The configs in force for a topic: its own over the broker's over the cluster's over the file's over
//! the defaults.
//!
//! Values were checked before they were stored. One that does not read any more (a later release
//! narrowed its range) counts as not set, so an old log always opens.

use crate::config_value::split_list;
use crate::image::{Configs, Image, TopicImage};
use crate::topic_config_def::{TOPIC_CONFIGS, TopicConfigDef, topic_config_def};
use millstream_model::NodeId;

/// Where a value comes from, numbered as in DescribeConfigs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
#[allow(missing_docs)] // the names are the meanings
pub enum ConfigSource {
    Topic = 1,
    Broker = 2,
    DefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    BrokerLogger = 6,
    ClientMetrics = 7,
    Group = 8,
}

impl ConfigSource {
    /// The number on the wire.
    #[must_use]
    pub fn code(self) -> i8 {
        self as i8
    }
}

/// One step of the way a config's value is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The config's name at this step.
    pub name: &'static str,
    /// Its value there, in its own unit.
    pub value: String,
    /// The step.
    pub source: ConfigSource,
}

/// A config in force.
#[derive(Clone, Debug, PartialEq)]
pub struct ResolvedConfig {
    /// What it is.
    pub def: &'static TopicConfigDef,
    /// The value in force, as canonical text in the topic config's unit.
    pub value: String,
    /// Where that comes from.
    pub source: ConfigSource,
    /// All places that give a value, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
}

impl ResolvedConfig {
    /// The places as Kafka's DescribeConfigs lists them, and the source it names: the topic's own first, with
    /// the value in force; then the broker's from the first that has the name of highest precedence. So a
    /// value that only `log.retention.hours` gives has no place, and counts as a default.
    #[must_use]
    pub fn described(&self) -> (ConfigSource, Vec<ConfigSynonym>) {
        let first_name = self.def.synonyms.first().map(|synonym| synonym.name);
        let (own, broker): (Vec<_>, Vec<_>) = self
            .synonyms
            .iter()
            .cloned()
            .partition(|synonym| synonym.source == ConfigSource::Topic);
        let own = own.into_iter().map(|synonym| ConfigSynonym {
            value: self.value.clone(),
            ..synonym
        });
        let broker = broker
            .into_iter()
            .skip_while(|synonym| Some(synonym.name) != first_name);
        let synonyms: Vec<_> = own.chain(broker).collect();
        let source = synonyms.first().map(|synonym| synonym.source);
        (source.unwrap_or(ConfigSource::Default), synonyms)
    }
}

/// The layers below a topic's own configs.
#[derive(Clone, Copy, Debug)]
pub struct BrokerLayers<'a> {
    /// Dynamic configs of this broker.
    pub broker: Option<&'a Configs>,
    /// Dynamic configs of all brokers.
    pub all_brokers: Option<&'a Configs>,
    /// Configs of the file and the command line.
    pub file: &'a Configs,
}

impl<'a> BrokerLayers<'a> {
    /// The layers as `node` sees them.
    #[must_use]
    pub fn new(image: &'a Image, node: NodeId, file: &'a Configs) -> BrokerLayers<'a> {
        BrokerLayers {
            broker: image.broker_configs(&node.to_string()),
            all_brokers: image.broker_configs(""),
            file,
        }
    }

    /// What was given for a broker config, the broker's own dynamic one first.
    #[must_use]
    pub fn given(&self, name: &str) -> Option<&'a str> {
        self.dynamic(name)
            .or_else(|| self.file.get(name).map(String::as_str))
    }

    /// What is given dynamically for a broker config, the broker's own first.
    #[must_use]
    pub fn dynamic(&self, name: &str) -> Option<&'a str> {
        let layers = [self.broker, self.all_brokers].into_iter().flatten();
        let mut given = layers.filter_map(|configs| configs.get(name));
        given.next().map(String::as_str)
    }

    /// Resolves one config. `topic` holds the topic's own.
    #[must_use]
    pub fn resolve(&self, def: &'static TopicConfigDef, topic: Option<&Configs>) -> ResolvedConfig {
        let mut synonyms = Vec::new();
        let mut in_force = None;
        let mut add = |name, text: &str, factor: i64, source| {
            let Some(value) = scale(def, text, factor) else {
                return;
            };
            in_force.get_or_insert((value, source));
            synonyms.push(ConfigSynonym {
                name,
                value: text.to_string(),
                source,
            });
        };
        if let Some(text) = topic.and_then(|configs| configs.get(def.name)) {
            add(def.name, text, 1, ConfigSource::Topic);
        }
        let layers = [
            (self.broker, ConfigSource::Broker),
            (self.all_brokers, ConfigSource::DefaultBroker),
            (Some(self.file), ConfigSource::StaticBroker),
        ];
        for (configs, source) in layers {
            for synonym in def.synonyms {
                if let Some(text) = configs.and_then(|configs| configs.get(synonym.name)) {
                    add(synonym.name, text, synonym.factor, source);
                }
            }
        }
        if let Some(last) = def.synonyms.last() {
            let default = unscale(def.default, last.factor);
            add(last.name, &default, last.factor, ConfigSource::Default);
        }
        let (value, source) =
            in_force.unwrap_or_else(|| (def.default.to_string(), ConfigSource::Default));
        ResolvedConfig {
            def,
            value,
            source,
            synonyms,
        }
    }

    /// Resolves every listed config, by name; one that is not listed only if the topic has it.
    #[must_use]
    pub fn resolve_all(&self, topic: Option<&Configs>) -> Vec<ResolvedConfig> {
        let is_own = |name| topic.is_some_and(|configs| configs.contains_key(name));
        let listed = TOPIC_CONFIGS
            .iter()
            .filter(|def| def.is_listed || is_own(def.name));
        listed.map(|def| self.resolve(def, topic)).collect()
    }

    fn text(&self, name: &'static str, topic: Option<&Configs>) -> String {
        let def = topic_config_def(name).expect("asked only for names of the table");
        self.resolve(def, topic).value
    }

    pub(crate) fn number(&self, name: &'static str, topic: Option<&Configs>) -> i64 {
        let text = self.text(name, topic);
        text.parse().expect("resolved values are checked")
    }
}

/// A synonym's text as canonical text in the topic config's unit, when it is a value for it.
fn scale(def: &TopicConfigDef, text: &str, factor: i64) -> Option<String> {
    if factor == 1 {
        return def.check(text).ok();
    }
    let number: i64 = text.trim().parse().ok()?;
    let number = if number < 0 {
        -1
    } else {
        number.saturating_mul(factor)
    };
    def.check(&number.to_string()).ok()
}

fn unscale(text: &str, factor: i64) -> String {
    match text.parse::<i64>() {
        Ok(number) if factor != 1 => (number / factor).to_string(),
        _ => text.to_string(),
    }
}

/// When an acknowledged record counts as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When it is on the stable storage of every in-sync replica.
    Fsync,
    /// When it is in the memory of every in-sync replica.
    Replicated,
}

/// How the batches of a topic are compressed. A level that is not given is the codec's default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are the meanings
pub enum CompressionType {
    /// As the producer did.
    Producer,
    Uncompressed,
    Gzip {
        level: Option<i32>,
    },
    Snappy,
    Lz4,
    Zstd {
        level: i32,
    },
}

/// Whose time the records of a topic carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at the append.
    LogAppendTime,
}

/// The configs of a topic as the log and the handlers use them. Durations are milliseconds; `None`
/// means without limit.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)] // named and documented by the configs they are
pub struct TopicConfig {
    pub is_compacted: bool,
    pub is_deleted_by_retention: bool,
    pub compression_type: CompressionType,
    pub delete_retention_ms: i64,
    pub durability: Durability,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: u32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: u32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    /// Whether compressed records are believed on their batch's checksum.
    pub is_validation_relaxed: bool,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: u32,
    pub retention_bytes: Option<u64>,
    pub retention_ms: Option<i64>,
    pub segment_bytes: u32,
    pub segment_index_bytes: u32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

impl TopicConfig {
    /// The configs in force for a topic; for none: what a topic without own configs has.
    #[must_use]
    pub fn resolve(topic: Option<&TopicImage>, layers: &BrokerLayers<'_>) -> TopicConfig {
        let own = topic.map(|topic| &topic.configs);
        let text = |name| layers.text(name, own);
        let number = |name| layers.number(name, own);
        let size = |name| u32::try_from(number(name)).expect("ranges of sizes begin at 0");
        let level = |name| i32::try_from(number(name)).expect("ranges of levels are narrow");
        let policy = text("cleanup.policy");
        let has_policy = |word| split_list(&policy).any(|item| item == word);
        // Set on the topic alone: its default stands for "not set".
        let test_segment = own.and_then(|own| own.get("internal.segment.bytes"));
        let segment_bytes = test_segment
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| size("segment.bytes"));
        TopicConfig {
            is_compacted: has_policy("compact"),
            is_deleted_by_retention: has_policy("delete"),
            compression_type: match text("compression.type").as_str() {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip {
                    level: Some(level("compression.gzip.level")).filter(|&level| level > 0),
                },
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4,
                "zstd" => CompressionType::Zstd {
                    level: level("compression.zstd.level"),
                },
                _ => CompressionType::Producer,
            },
            delete_retention_ms: number("delete.retention.ms"),
            durability: match text("millstream.durability").as_str() {
                "replicated" => Durability::Replicated,
                _ => Durability::Fsync,
            },
            file_delete_delay_ms: number("file.delete.delay.ms"),
            flush_messages: number("flush.messages"),
            flush_ms: number("flush.ms"),
            index_interval_bytes: size("index.interval.bytes"),
            max_compaction_lag_ms: number("max.compaction.lag.ms"),
            max_message_bytes: size("max.message.bytes"),
            message_timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            is_validation_relaxed: text("millstream.produce.validation") == "relaxed",
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio")
                .parse()
                .expect("resolved values are checked"),
            min_compaction_lag_ms: number("min.compaction.lag.ms"),
            min_insync_replicas: size("min.insync.replicas"),
            retention_bytes: u64::try_from(number("retention.bytes")).ok(),
            retention_ms: Some(number("retention.ms")).filter(|&ms| ms >= 0),
            segment_bytes,
            segment_index_bytes: size("segment.index.bytes"),
            segment_jitter_ms: number("segment.jitter.ms"),
            segment_ms: number("segment.ms"),
            unclean_leader_election_enable: text("unclean.leader.election.enable") == "true",
        }
    }
}
