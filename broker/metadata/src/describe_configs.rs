//! Configs as DescribeConfigs shows them: the value in force, where it comes from, and every other place
//! that gives one (KIP-226).

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::broker_config::{BrokerConfigDef, BrokerConfigTable, UpdateMode, update_mode};
use crate::client_metrics_config_def::{CLIENT_METRICS_CONFIGS, ClientMetricsConfigDef};
use crate::config_value::ConfigType;
use crate::group_config_def::{GROUP_CONFIGS, GroupConfigDef, GroupLayers};
use crate::image::Configs;
use crate::topic_config::{BrokerLayers, ConfigSource};
use crate::topic_config_def::TOPIC_CONFIGS;

/// A place that gives a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedSynonym {
    /// The config's name there.
    pub name: Cow<'static, str>,
    /// Its value there, in its own unit. `None`: it is shown to nobody.
    pub value: Option<String>,
    /// The place.
    pub source: ConfigSource,
}

/// One config of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedConfig {
    /// Its name.
    pub name: Cow<'static, str>,
    /// The value in force. `None`: not set, or shown to nobody.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether its value is shown to nobody.
    pub is_sensitive: bool,
    /// Its type. `None`: nobody knows the config.
    pub type_: Option<ConfigType>,
    /// What it means, where that is known.
    pub doc: Option<&'static str>,
    /// The places, the first one in force.
    pub synonyms: Vec<DescribedSynonym>,
}

/// Describes the configs of a topic that `is_wanted` picks. `own`: those that the topic has itself.
#[must_use]
pub fn describe_topic(
    layers: &BrokerLayers<'_>,
    own: &Configs,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<DescribedConfig> {
    let defs = TOPIC_CONFIGS
        .iter()
        .filter(|def| def.is_listed || own.contains_key(def.name))
        .filter(|def| is_wanted(def.name));
    let describe = |def| {
        let config = layers.resolve(def, Some(own));
        let (source, synonyms) = config.described();
        let synonyms = synonyms.into_iter().map(|synonym| DescribedSynonym {
            name: Cow::Borrowed(synonym.name),
            value: Some(synonym.value),
            source: synonym.source,
        });
        DescribedConfig {
            name: Cow::Borrowed(config.def.name),
            value: Some(config.value),
            source,
            is_read_only: false,
            is_sensitive: false,
            type_: Some(config.def.type_),
            doc: Some(config.def.doc),
            synonyms: synonyms.collect(),
        }
    };
    defs.map(describe).collect()
}

/// Describes the configs of a broker that `is_wanted` picks: with `is_for_all` the dynamic ones of all
/// brokers, else everything that this broker knows or was given.
#[must_use]
pub fn describe_broker(
    table: &BrokerConfigTable,
    layers: &BrokerLayers<'_>,
    is_for_all: bool,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<DescribedConfig> {
    let dynamic = match is_for_all {
        true => [None, layers.all_brokers],
        false => [layers.broker, layers.all_brokers],
    };
    let dynamic = dynamic.into_iter().flatten().flat_map(Configs::keys);
    let mut names: BTreeSet<&str> = dynamic.map(String::as_str).collect();
    if !is_for_all {
        names.extend(table.iter().map(|def| def.name));
        names.extend(layers.file.keys().map(String::as_str));
    }
    let names = names.into_iter().filter(|name| is_wanted(name));
    names
        .map(|name| describe_broker_config(table, layers, is_for_all, name))
        .collect()
}

/// Describes the configs of a group that `is_wanted` picks. `own`: those that the group has itself.
#[must_use]
pub fn describe_group(
    layers: &GroupLayers<'_>,
    own: &Configs,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<DescribedConfig> {
    let describe = |def: &GroupConfigDef| {
        let mut synonyms = Vec::new();
        let mut add = |name, value: &str, source| {
            synonyms.push(DescribedSynonym {
                name: Cow::Borrowed(name),
                value: Some(value.to_owned()),
                source,
            });
        };
        if let Some(value) = own.get(def.name) {
            add(def.name, value, ConfigSource::Group);
        }
        match def.synonym.and_then(|name| layers.known.get(name)) {
            Some(broker) => {
                for (_, value, source) in broker_synonyms(layers.known, &layers.broker, broker.name)
                {
                    add(broker.name, value, source);
                }
            }
            None => {
                if let Some(default) = def.default {
                    add(def.name, default, ConfigSource::Default);
                }
            }
        }
        DescribedConfig {
            name: Cow::Borrowed(def.name),
            value: layers.of_group(def, own).map(str::to_owned),
            source: source_of(&synonyms),
            is_read_only: false,
            is_sensitive: false,
            type_: Some(def.type_),
            doc: Some(def.doc),
            synonyms,
        }
    };
    let wanted = GROUP_CONFIGS.iter().filter(|def| is_wanted(def.name));
    wanted.map(describe).collect()
}

/// Describes the configs of a client metrics subscription that `is_wanted` picks.
#[must_use]
pub fn describe_client_metrics(
    own: &Configs,
    is_wanted: impl Fn(&str) -> bool,
) -> Vec<DescribedConfig> {
    let describe = |def: &ClientMetricsConfigDef| {
        let place = |value: &str, source| DescribedSynonym {
            name: Cow::Borrowed(def.name),
            value: Some(value.to_owned()),
            source,
        };
        let set = own.get(def.name);
        let set = set.map(|value| place(value, ConfigSource::ClientMetrics));
        let default = place(def.default, ConfigSource::Default);
        let synonyms: Vec<_> = set.into_iter().chain([default]).collect();
        DescribedConfig {
            name: Cow::Borrowed(def.name),
            value: synonyms[0].value.clone(),
            source: source_of(&synonyms),
            is_read_only: false,
            is_sensitive: false,
            type_: Some(def.type_),
            doc: Some(def.doc),
            synonyms,
        }
    };
    let wanted = CLIENT_METRICS_CONFIGS
        .iter()
        .filter(|def| is_wanted(def.name));
    wanted.map(describe).collect()
}

fn source_of(synonyms: &[DescribedSynonym]) -> ConfigSource {
    let first = synonyms.first();
    first.map_or(ConfigSource::Default, |first| first.source)
}

fn describe_broker_config(
    table: &BrokerConfigTable,
    layers: &BrokerLayers<'_>,
    is_for_all: bool,
    name: &str,
) -> DescribedConfig {
    let def = table.get(name);
    let meaning = table.meaning_of(name);
    let type_ = meaning.map(|def| def.type_).or_else(|| quota_type(name));
    // Nobody knows whether what nobody knows is a secret.
    let is_sensitive = type_.is_none_or(|type_| type_ == ConfigType::Password);
    let shown = |value: &str| (!is_sensitive).then(|| value.to_owned());
    let synonyms = broker_synonyms(table, layers, name)
        .into_iter()
        .filter(|(_, _, source)| !is_for_all || *source == ConfigSource::DefaultBroker)
        .map(|(name, value, source)| DescribedSynonym {
            name: named(table, name),
            value: shown(value),
            source,
        });
    let synonyms: Vec<_> = synonyms.collect();
    let value = match is_for_all {
        true => layers.all_brokers.and_then(|configs| configs.get(name)),
        false => None,
    };
    let in_force = || layers.given(name).or_else(|| def?.default);
    let value = value.map(String::as_str).or_else(in_force);
    DescribedConfig {
        name: named(table, name),
        value: value.and_then(shown),
        source: source_of(&synonyms),
        is_read_only: update_mode(name) == UpdateMode::ReadOnly && quota_type(name).is_none(),
        is_sensitive,
        type_,
        doc: def.map(|def| def.doc),
        synonyms,
    }
}

fn quota_type(name: &str) -> Option<ConfigType> {
    crate::alter_broker_configs::QUOTAS
        .contains(&name)
        .then_some(ConfigType::Long)
}

/// Every place that gives a value to a config: for each layer its names by precedence, from the first that
/// has the config's own.
fn broker_synonyms<'a>(
    table: &'a BrokerConfigTable,
    layers: &BrokerLayers<'a>,
    name: &'a str,
) -> Vec<(&'a str, &'a str, ConfigSource)> {
    let names = names_of_same_thing(name);
    let mut places = Vec::new();
    let given = [
        (layers.broker, ConfigSource::Broker),
        (layers.all_brokers, ConfigSource::DefaultBroker),
        (Some(layers.file), ConfigSource::StaticBroker),
    ];
    for (configs, source) in given {
        let Some(configs) = configs else { continue };
        let here = names
            .iter()
            .filter_map(|name| Some((*name, configs.get(*name)?)));
        places.extend(here.map(|(name, value)| (name, value.as_str(), source)));
    }
    let default = |name: &&'a str| Some((*name, table.get(name)?.default?, ConfigSource::Default));
    places.extend(names.iter().filter_map(default));
    places
        .into_iter()
        .skip_while(|(place, ..)| *place != name)
        .collect()
}

/// Names for the same thing in several units, the one that wins first.
fn names_of_same_thing(name: &str) -> Vec<&str> {
    // It stands behind another, which does not stand behind it.
    if name == "log.flush.scheduler.interval.ms" {
        return vec![name];
    }
    let same = TOPIC_CONFIGS
        .iter()
        .map(|def| def.synonyms)
        .find(|synonyms| synonyms.iter().any(|synonym| synonym.name == name));
    match same {
        Some(synonyms) => synonyms.iter().map(|synonym| synonym.name).collect(),
        None => vec![name],
    }
}

/// The name, without a copy where it is one of the table.
fn named(table: &BrokerConfigTable, name: &str) -> Cow<'static, str> {
    let known = table.get(name).map(|def: &BrokerConfigDef| def.name);
    known.map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}
