//! Configs of groups: name, type, default, range, the broker config behind each, and those that bound it.
//!
//! Kafka's, of 4.4. They are kept and described; the protocols of groups that obey them are served where the
//! README says so.

use ConfigRange::{Any, AtLeast, OneOf};
use ConfigType::{Boolean, Int, List, String as Text};

use crate::broker_config::BrokerConfigTable;
use crate::config_value::{ConfigRange, ConfigType, InvalidConfig, check_value};
use crate::image::Configs;
use crate::topic_config::BrokerLayers;

/// One config of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub type_: ConfigType,
    /// Its default, as canonical text. `None`: not set.
    pub default: Option<&'static str>,
    /// The values it takes.
    pub range: ConfigRange,
    /// The broker config that gives it a value where the group has none.
    pub synonym: Option<&'static str>,
    /// The broker config that it must not be below.
    pub min: Option<&'static str>,
    /// The broker config that it must not be above.
    pub max: Option<&'static str>,
    /// A sentence of meaning.
    pub doc: &'static str,
}

const fn def(
    name: &'static str,
    type_: ConfigType,
    default: &'static str,
    range: ConfigRange,
    synonym: Option<&'static str>,
    bounds: [Option<&'static str>; 2],
    doc: &'static str,
) -> GroupConfigDef {
    GroupConfigDef {
        name,
        type_,
        default: Some(default),
        range,
        synonym,
        min: bounds[0],
        max: bounds[1],
        doc,
    }
}

/// All configs of groups, by name.
#[rustfmt::skip] // one line per config is a table
pub static GROUP_CONFIGS: &[GroupConfigDef] = &[
    def("consumer.assignment.interval.ms", Int, "1000", AtLeast(0), Some("group.consumer.assignment.interval.ms"), [Some("group.consumer.min.assignment.interval.ms"), Some("group.consumer.max.assignment.interval.ms")], "The shortest time between two assignments of a consumer group."),
    def("consumer.heartbeat.interval.ms", Int, "5000", AtLeast(1), Some("group.consumer.heartbeat.interval.ms"), [Some("group.consumer.min.heartbeat.interval.ms"), Some("group.consumer.max.heartbeat.interval.ms")], "How often members of a consumer group send heartbeats."),
    def("consumer.session.timeout.ms", Int, "45000", AtLeast(1), Some("group.consumer.session.timeout.ms"), [Some("group.consumer.min.session.timeout.ms"), Some("group.consumer.max.session.timeout.ms")], "How long a member of a consumer group may be silent."),
    def("errors.deadletterqueue.copy.record.enable", Boolean, "false", Any, None, [None, None], "Whether records that a share group gave up are copied whole."),
    def("errors.deadletterqueue.topic.name", Text, "", Any, None, [None, None], "The topic for records that a share group gave up; empty: none."),
    def("share.assignment.interval.ms", Int, "1000", AtLeast(0), Some("group.share.assignment.interval.ms"), [Some("group.share.min.assignment.interval.ms"), Some("group.share.max.assignment.interval.ms")], "The shortest time between two assignments of a share group."),
    def("share.auto.offset.reset", Text, "latest", Any, None, [None, None], "Where a share group begins: earliest, latest, or by_duration:DURATION."),
    def("share.delivery.count.limit", Int, "5", AtLeast(2), Some("group.share.delivery.count.limit"), [Some("group.share.min.delivery.count.limit"), Some("group.share.max.delivery.count.limit")], "How often a record is delivered to a share group before it is given up."),
    def("share.heartbeat.interval.ms", Int, "5000", AtLeast(1), Some("group.share.heartbeat.interval.ms"), [Some("group.share.min.heartbeat.interval.ms"), Some("group.share.max.heartbeat.interval.ms")], "How often members of a share group send heartbeats."),
    def("share.isolation.level", Text, "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]), None, [None, None], "Whether a share group reads records of transactions that are not committed."),
    def("share.partition.max.record.locks", Int, "2000", AtLeast(100), Some("group.share.partition.max.record.locks"), [Some("group.share.min.partition.max.record.locks"), Some("group.share.max.partition.max.record.locks")], "Most records of a partition that are locked for a share group at once."),
    def("share.record.lock.duration.ms", Int, "30000", AtLeast(1000), Some("group.share.record.lock.duration.ms"), [Some("group.share.min.record.lock.duration.ms"), Some("group.share.max.record.lock.duration.ms")], "How long a record is locked for a consumer of a share group."),
    def("share.renew.acknowledge.enable", Boolean, "true", Any, None, [None, None], "Whether consumers of a share group may renew their locks."),
    def("share.session.timeout.ms", Int, "45000", AtLeast(1), Some("group.share.session.timeout.ms"), [Some("group.share.min.session.timeout.ms"), Some("group.share.max.session.timeout.ms")], "How long a member of a share group may be silent."),
    def("streams.assignment.interval.ms", Int, "1000", AtLeast(0), Some("group.streams.assignment.interval.ms"), [Some("group.streams.min.assignment.interval.ms"), Some("group.streams.max.assignment.interval.ms")], "The shortest time between two assignments of a streams group."),
    GroupConfigDef { default: None, ..def("streams.assignor.name", Text, "", Any, None, [None, None], "The assignor of a streams group.") },
    def("streams.heartbeat.interval.ms", Int, "5000", AtLeast(1), Some("group.streams.heartbeat.interval.ms"), [Some("group.streams.min.heartbeat.interval.ms"), Some("group.streams.max.heartbeat.interval.ms")], "How often members of a streams group send heartbeats."),
    def("streams.initial.rebalance.delay.ms", Int, "3000", AtLeast(0), Some("group.streams.initial.rebalance.delay.ms"), [None, None], "How long the first assignment of a streams group waits for members."),
    def("streams.num.standby.replicas", Int, "0", AtLeast(0), Some("group.streams.num.standby.replicas"), [None, Some("group.streams.max.standby.replicas")], "Standby replicas of each task of a streams group."),
    def("streams.rack.aware.assignment.tags", List, "", Any, Some("group.streams.rack.aware.assignment.tags"), [None, None], "Tags of clients over which standby replicas are spread."),
    def("streams.session.timeout.ms", Int, "45000", AtLeast(1), Some("group.streams.session.timeout.ms"), [Some("group.streams.min.session.timeout.ms"), Some("group.streams.max.session.timeout.ms")], "How long a member of a streams group may be silent."),
];

/// Heartbeat intervals and the session timeouts they must be below.
const BEATS: &[(&str, &str)] = &[
    (
        "consumer.heartbeat.interval.ms",
        "consumer.session.timeout.ms",
    ),
    ("share.heartbeat.interval.ms", "share.session.timeout.ms"),
    (
        "streams.heartbeat.interval.ms",
        "streams.session.timeout.ms",
    ),
];

/// The config of groups of this name.
#[must_use]
pub fn group_config_def(name: &str) -> Option<&'static GroupConfigDef> {
    let position = GROUP_CONFIGS.binary_search_by(|def| def.name.cmp(name));
    position.ok().map(|i| &GROUP_CONFIGS[i])
}

/// What stands behind the configs of groups.
#[derive(Clone, Copy)]
pub struct GroupLayers<'a> {
    /// The configs of the broker.
    pub broker: BrokerLayers<'a>,
    /// The configs that the broker knows.
    pub known: &'a BrokerConfigTable,
}

impl<'a> GroupLayers<'a> {
    /// The value in force of a broker config.
    #[must_use]
    pub fn of_broker(&self, name: &str) -> Option<&'a str> {
        let default = || self.known.get(name)?.default;
        self.broker.given(name).or_else(default)
    }

    /// The value in force for a group that has these configs.
    #[must_use]
    pub fn of_group(&self, def: &GroupConfigDef, own: &'a Configs) -> Option<&'a str> {
        let own = own.get(def.name).map(String::as_str);
        let broker = || self.of_broker(def.synonym?);
        own.or_else(broker).or(def.default)
    }

    /// Checks one config of a group and answers its canonical text.
    pub(crate) fn check(&self, name: &str, value: &str) -> Result<String, InvalidConfig> {
        let def = group_config_def(name).ok_or_else(|| InvalidConfig::Unknown {
            name: name.chars().take(200).collect(),
        })?;
        let checked = check_value(def.name, def.type_, def.range, value)?;
        if def.name == "share.auto.offset.reset" {
            return check_reset(def.name, &checked);
        }
        let Ok(number) = checked.parse::<i64>() else {
            return Ok(checked);
        };
        let bound = |name: Option<&str>| self.of_broker(name?)?.parse::<i64>().ok();
        let (low, high) = (bound(def.min), bound(def.max));
        if low.is_some_and(|low| number < low) || high.is_some_and(|high| number > high) {
            let low = low.map_or("any".to_owned(), |low| low.to_string());
            let high = high.map_or("any".to_owned(), |high| high.to_string());
            return Err(InvalidConfig::Range {
                name: def.name.to_owned(),
                value: checked,
                expected: format!("between {low} and {high}, as the broker bounds it"),
            });
        }
        Ok(checked)
    }

    /// Checks the configs of a group against each other.
    pub(crate) fn check_together(&self, own: &Configs) -> Result<(), InvalidConfig> {
        for &(beat, session) in BEATS {
            // A broker whose own settings contradict each other does not stop its groups.
            if !own.contains_key(beat) && !own.contains_key(session) {
                continue;
            }
            let number = |name| self.of_group(group_config_def(name)?, own)?.parse().ok();
            let (Some(value), Some(limit)): (Option<i64>, Option<i64>) =
                (number(beat), number(session))
            else {
                continue;
            };
            if value >= limit {
                let limit = limit - 1;
                return Err(InvalidConfig::Conflict {
                    name: beat,
                    value,
                    other: session,
                    limit,
                });
            }
        }
        Ok(())
    }
}

/// Takes what Kafka takes: two words, or a duration as ISO 8601 has it, of which only the form is checked.
fn check_reset(name: &str, value: &str) -> Result<String, InvalidConfig> {
    let lower = value.to_ascii_lowercase();
    let is_duration = |text: &str| {
        let rest = text.strip_prefix('p');
        rest.is_some_and(|rest| {
            rest.bytes().any(|byte| byte.is_ascii_digit())
                && rest
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || b"dthms.".contains(&byte))
        })
    };
    let is_legal = matches!(lower.as_str(), "earliest" | "latest")
        || lower.strip_prefix("by_duration:").is_some_and(is_duration);
    match is_legal {
        true => Ok(value.to_owned()),
        false => Err(InvalidConfig::Range {
            name: name.to_owned(),
            value: value.chars().take(200).collect(),
            expected: "earliest, latest, or by_duration: with a duration such as PT1H".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker_config::kafka_broker_config;

    #[test]
    fn table_is_kafkas_21_and_stands_on_broker_configs() {
        assert!(GROUP_CONFIGS.is_sorted_by(|a, b| a.name < b.name));
        assert_eq!(GROUP_CONFIGS.len(), 21);
        let (known, file) = (BrokerConfigTable::default(), Configs::new());
        let layers = GroupLayers {
            broker: BrokerLayers {
                broker: None,
                all_brokers: None,
                file: &file,
            },
            known: &known,
        };
        for def in GROUP_CONFIGS {
            for name in [def.synonym, def.min, def.max].into_iter().flatten() {
                assert!(kafka_broker_config(name).is_some(), "{name}");
            }
            if let Some(default) = def.default {
                assert_eq!(layers.check(def.name, default), Ok(default.to_owned()));
            }
            // The broker's default is the group's.
            let behind = def.synonym.and_then(|name| layers.of_broker(name));
            assert!(behind.is_none() || behind == def.default, "{}", def.name);
        }
    }
}
