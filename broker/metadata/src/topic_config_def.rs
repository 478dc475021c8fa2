//! The table of topic configs: name, type, default, range, and the broker configs behind each.
//!
//! Names, defaults and ranges are Kafka's; `millstream.*` are ours. `internal.segment.bytes` is
//! taken so that tests can make small segments, and is not listed.

use crate::config_value::{ConfigRange, ConfigType, InvalidConfig, check_value};

/// A broker config that stands in for a topic config which is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerSynonym {
    /// The broker config's name.
    pub name: &'static str,
    /// What its value is multiplied by to become the topic's: milliseconds in its unit.
    pub factor: i64,
}

/// One topic config.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub type_: ConfigType,
    /// Its default, as canonical text.
    pub default: &'static str,
    /// The values it takes.
    pub range: ConfigRange,
    /// Broker configs that give it a value where the topic has none; the first one set counts.
    pub synonyms: &'static [BrokerSynonym],
    /// Whether DescribeConfigs lists it though the topic does not have it.
    pub is_listed: bool,
    /// A sentence or two of meaning.
    pub doc: &'static str,
}

impl TopicConfigDef {
    /// Checks a value and answers its canonical text.
    pub fn check(&self, value: &str) -> Result<String, InvalidConfig> {
        check_value(self.name, self.type_, self.range, value)
    }
}

/// The topic config of this name.
#[must_use]
pub fn topic_config_def(name: &str) -> Option<&'static TopicConfigDef> {
    let position = TOPIC_CONFIGS.binary_search_by(|def| def.name.cmp(name));
    position.ok().map(|i| &TOPIC_CONFIGS[i])
}

/// Checks one topic config as a client sends it.
pub fn check_topic_config(name: &str, value: Option<&str>) -> Result<String, InvalidConfig> {
    let def = topic_config_def(name).ok_or_else(|| InvalidConfig::Unknown {
        name: name.chars().take(200).collect(),
    })?;
    let value = value.ok_or_else(|| InvalidConfig::Null {
        name: name.to_string(),
    })?;
    def.check(value)
}

/// Checks a broker config that is a synonym of a topic config. `None` for any other name.
#[must_use]
pub fn check_broker_synonym(name: &str, value: &str) -> Option<Result<String, InvalidConfig>> {
    let (def, synonym) = TOPIC_CONFIGS.iter().find_map(|def| {
        let synonym = def.synonyms.iter().find(|s| s.name == name)?;
        Some((def, synonym))
    })?;
    let range = match synonym.factor {
        1 => def.range,
        _ => ConfigRange::AtLeast(-1),
    };
    Some(check_value(name, def.type_, range, value))
}

const MAX: &str = "9223372036854775807";
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const fn same(name: &'static str) -> BrokerSynonym {
    BrokerSynonym { name, factor: 1 }
}

const fn scaled(name: &'static str, factor: i64) -> BrokerSynonym {
    BrokerSynonym { name, factor }
}

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

const fn def(
    name: &'static str,
    type_: ConfigType,
    default: &'static str,
    range: ConfigRange,
    synonyms: &'static [BrokerSynonym],
    doc: &'static str,
) -> TopicConfigDef {
    TopicConfigDef {
        name,
        type_,
        default,
        range,
        synonyms,
        is_listed: true,
        doc,
    }
}

use ConfigRange::{Any, AtLeast, Between, BetweenOr, OneOf, Ratio, SubsetOf};
use ConfigType::{Boolean, Double, Int, List, Long, String as Text};

/// All topic configs, by name.
#[rustfmt::skip] // one line per config is a table
pub static TOPIC_CONFIGS: &[TopicConfigDef] = &[
    def("cleanup.policy", List, "delete", SubsetOf(&["compact", "delete"]), &[same("log.cleanup.policy")], "What happens to old records: delete, by age or size; compact, so that of each key the last record stays; both; or, empty, nothing."),
    def("compression.gzip.level", Int, "-1", BetweenOr(1, 9, -1), &[same("compression.gzip.level")], "How hard the broker compresses with gzip; -1: the codec's default."),
    def("compression.lz4.level", Int, "9", Between(1, 17), &[same("compression.lz4.level")], "How hard the broker would compress with lz4. The library here has one level."),
    def("compression.type", Text, "producer", OneOf(CODECS), &[same("compression.type")], "The codec that batches are stored in; producer: the one they come in."),
    def("compression.zstd.level", Int, "3", Between(-131_072, 22), &[same("compression.zstd.level")], "How hard the broker compresses with zstd."),
    def("delete.retention.ms", Long, "86400000", AtLeast(0), &[same("log.cleaner.delete.retention.ms")], "How long a tombstone stays after the first compaction over it."),
    def("errors.deadletterqueue.group.enable", Boolean, "false", Any, &[], "Whether share groups may write records they gave up to this topic. No effect here."),
    def("file.delete.delay.ms", Long, "60000", AtLeast(0), &[same("log.segment.delete.delay.ms")], "How long the files of a segment stay, renamed, after it was taken out of the log, and the folders of a topic after it was deleted."),
    def("flush.messages", Long, MAX, AtLeast(1), &[same("log.flush.interval.messages")], "After how many records Kafka asks for a sync. No effect here: see millstream.durability."),
    def("flush.ms", Long, MAX, AtLeast(0), &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")], "After how long Kafka asks for a sync. No effect here: see millstream.durability."),
    def("follower.replication.throttled.replicas", List, "", Any, &[], "Replicas whose copying is slowed down where they are written. No effect here."),
    def("index.interval.bytes", Int, "4096", AtLeast(0), &[same("log.index.interval.bytes")], "Bytes of a segment between two index entries."),
    TopicConfigDef { is_listed: false, ..def("internal.segment.bytes", Int, "0", AtLeast(1), &[], "The largest size of a segment, without the lower bound of segment.bytes. For tests.") },
    def("leader.replication.throttled.replicas", List, "", Any, &[], "Replicas whose copying is slowed down where they are read. No effect here."),
    def("local.retention.bytes", Long, "-2", AtLeast(-2), &[same("log.local.retention.bytes")], "Bytes of a partition that stay on the broker's disk when older ones are in remote storage. No effect here."),
    def("local.retention.ms", Long, "-2", AtLeast(-2), &[same("log.local.retention.ms")], "How long records stay on the broker's disk when older ones are in remote storage. No effect here."),
    def("max.compaction.lag.ms", Long, MAX, AtLeast(1), &[same("log.cleaner.max.compaction.lag.ms")], "The longest a record may wait for compaction."),
    def("max.decompressed.message.bytes", Int, "2147483639", AtLeast(0), &[same("max.decompressed.message.bytes")], "The largest batch once it is decompressed. No effect here."),
    def("max.message.bytes", Int, "1048588", AtLeast(0), &[same("message.max.bytes")], "The largest batch, compressed as it comes, that is taken."),
    def("message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), &[same("log.message.timestamp.after.max.ms")], "How far a record's timestamp may be ahead of the broker's clock."),
    def("message.timestamp.before.max.ms", Long, MAX, AtLeast(0), &[same("log.message.timestamp.before.max.ms")], "How far a record's timestamp may be behind the broker's clock."),
    def("message.timestamp.type", Text, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), &[same("log.message.timestamp.type")], "Whose time records carry: the producer's (CreateTime), or the broker's at append (LogAppendTime)."),
    def("millstream.durability", Text, "fsync", OneOf(&["fsync", "replicated"]), &[same("millstream.durability")], "When acks=all is answered: fsync, once every in-sync replica has it on stable storage; replicated, once it is in their memory."),
    def("millstream.produce.validation", Text, "strict", OneOf(&["strict", "relaxed"]), &[same("millstream.produce.validation")], "Whether every record of a compressed batch is looked at when it arrives (strict) or only its checksum and largest timestamp (relaxed)."),
    def("min.cleanable.dirty.ratio", Double, "0.5", Ratio, &[same("log.cleaner.min.cleanable.ratio")], "A log is compacted when more than this part of it was not compacted before."),
    def("min.compaction.lag.ms", Long, "0", AtLeast(0), &[same("log.cleaner.min.compaction.lag.ms")], "Records younger than this are not compacted."),
    def("min.insync.replicas", Int, "1", AtLeast(1), &[same("min.insync.replicas")], "How many replicas must have a record before acks=all is answered."),
    def("preallocate", Boolean, "false", Any, &[same("log.preallocate")], "Whether a segment's file gets its full size at once. No effect here."),
    def("remote.copy.lag.bytes", Long, "-1", Any, &[same("log.remote.copy.lag.bytes")], "How many bytes may wait to be copied to remote storage. No effect here."),
    def("remote.copy.lag.ms", Long, "0", Any, &[same("log.remote.copy.lag.ms")], "How long a segment may wait to be copied to remote storage. No effect here."),
    def("remote.log.copy.disable", Boolean, "false", Any, &[], "Whether nothing more is copied to remote storage. No effect here."),
    def("remote.log.delete.on.disable", Boolean, "false", Any, &[], "Whether what is in remote storage goes when that is switched off. No effect here."),
    def("remote.storage.enable", Boolean, "false", OneOf(&["false"]), &[], "Whether sealed segments are copied to remote storage. There is none here, so only false is taken."),
    def("retention.bytes", Long, "-1", Any, &[same("log.retention.bytes")], "The oldest segments of a partition go while the others hold at least so many bytes; -1: without limit."),
    def("retention.ms", Long, "604800000", AtLeast(-1), &[same("log.retention.ms"), scaled("log.retention.minutes", MINUTE_MS), scaled("log.retention.hours", HOUR_MS)], "How long records are kept; -1: for ever."),
    def("segment.bytes", Int, "1073741824", AtLeast(1_048_576), &[same("log.segment.bytes")], "The largest size of a segment file."),
    def("segment.index.bytes", Int, "10485760", AtLeast(4), &[same("log.index.size.max.bytes")], "The largest size of an index file."),
    def("segment.jitter.ms", Long, "0", AtLeast(0), &[same("log.roll.jitter.ms"), scaled("log.roll.jitter.hours", HOUR_MS)], "At most this is taken off the span of a segment, at random."),
    def("segment.ms", Long, "604800000", AtLeast(1), &[same("log.roll.ms"), scaled("log.roll.hours", HOUR_MS)], "The longest span of record time in a segment."),
    def("unclean.leader.election.enable", Boolean, "false", Any, &[same("unclean.leader.election.enable")], "Whether a replica that lacks acknowledged records may become the leader when no other is left."),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_sorted_and_its_defaults_pass_their_own_check() {
        assert!(TOPIC_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        for def in TOPIC_CONFIGS.iter().filter(|def| def.is_listed) {
            assert_eq!(def.check(def.default), Ok(def.default.to_string()));
            assert!(def.doc.ends_with('.'), "{}", def.name);
        }
    }

    #[test]
    fn listed_configs_are_kafkas_37_and_ours() {
        let listed = TOPIC_CONFIGS.iter().filter(|def| def.is_listed);
        let (ours, kafkas): (Vec<&TopicConfigDef>, Vec<_>) =
            listed.partition(|def| def.name.starts_with("millstream."));
        assert_eq!(kafkas.len(), 37);
        assert_eq!(ours.len(), 2);
    }

    #[test]
    fn unknown_null_and_out_of_range_are_refused() {
        let unknown = check_topic_config("no.such", Some("1"));
        assert!(matches!(unknown, Err(InvalidConfig::Unknown { .. })));
        let null = check_topic_config("retention.ms", None);
        assert!(matches!(null, Err(InvalidConfig::Null { .. })));
        let small = check_topic_config("segment.bytes", Some("1048575"));
        assert!(matches!(small, Err(InvalidConfig::Range { .. })));
        assert!(check_topic_config("segment.bytes", Some("1048576")).is_ok());
        assert!(check_topic_config("internal.segment.bytes", Some("1000")).is_ok());
    }

    #[test]
    fn broker_synonyms_are_checked_like_the_topics_own() {
        assert!(matches!(
            check_broker_synonym("log.segment.bytes", "1"),
            Some(Err(_))
        ));
        assert_eq!(
            check_broker_synonym("log.retention.hours", "-1"),
            Some(Ok("-1".into()))
        );
        assert_eq!(check_broker_synonym("num.io.threads", "x"), None);
    }
}
