//! Changing configs: AlterConfigs, which replaces all of a resource's own, and IncrementalAlterConfigs
//! (KIP-339), which changes single ones.
//!
//! Both lead to the configs a resource shall have; the records are what differs from those it has. Resources
//! of one request are judged one by one: one bad config stops its resource and no other. The order of the
//! checks is Kafka's: what is named twice or null, then operations, names and values, then whether the
//! resource is there.

use std::collections::{BTreeMap, BTreeSet};

use millstream_model::{InvalidTopicName, NodeId, check_topic_name};
use millstream_protocol::ErrorCode;

use crate::alter_broker_configs::{BrokerConfigError, CONFIG_NAME_BYTES_MAX};
use crate::alter_loggers::LoggerError;
use crate::client_metrics_config_def::InvalidSubscription;
use crate::config_value::{ConfigType, InvalidConfig, split_list};
use crate::controller::{Controller, Decision};
use crate::create_topics::check_conflicts;
use crate::image::{Configs, Image};
use crate::record::{ConfigRecord, Record};
use crate::resource::ConfigResource;
use crate::topic_config::BrokerLayers;
use crate::topic_config_def::{check_topic_config, topic_config_def};

/// The longest value of a config, in bytes. Kafka's bound.
pub const CONFIG_VALUE_BYTES_MAX: usize = i16::MAX as usize;

/// Configs that one request may change. Kafka's bound on the records of a request.
pub const CONFIG_CHANGES_MAX: usize = 10_000;

/// What is done to a config, numbered as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
#[allow(missing_docs)] // the names are the meanings
pub enum ConfigOperation {
    Set = 0,
    Delete = 1,
    /// Adds elements to a list.
    Append = 2,
    /// Takes elements out of a list.
    Subtract = 3,
}

impl ConfigOperation {
    /// The operation of this number.
    #[must_use]
    pub fn from_code(code: i8) -> Option<ConfigOperation> {
        Some(match code {
            0 => ConfigOperation::Set,
            1 => ConfigOperation::Delete,
            2 => ConfigOperation::Append,
            3 => ConfigOperation::Subtract,
            _ => return None,
        })
    }
}

/// One config to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// Its name, unchecked.
    pub name: String,
    /// The operation's number, unchecked.
    pub operation: i8,
    /// The value, or the elements of a list.
    pub value: Option<String>,
}

/// What a client wants of one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    /// The kind of resource, as on the wire, unchecked.
    pub resource_type: i8,
    /// The resource's name, unchecked.
    pub name: String,
    /// The configs.
    pub changes: Vec<ConfigChange>,
}

/// A request to change configs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigsToAlter {
    /// The resources.
    pub resources: Vec<ResourceChange>,
    /// Whether configs that are not named stay as they are; else they are removed.
    pub is_incremental: bool,
    /// Whether only to say what would happen.
    pub validate_only: bool,
}

/// The answer for one resource of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigAlteration {
    /// The kind of resource as sent.
    pub resource_type: i8,
    /// The name as sent.
    pub name: String,
    /// What came of it.
    pub result: Result<(), AlterConfigsError>,
}

/// Why the configs of a resource are left as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterConfigsError {
    /// The request has the resource twice.
    #[error("the request names this resource more than once")]
    DuplicateResource,
    /// The request has a config of the resource twice.
    #[error("the request names config {0} more than once")]
    DuplicateConfig(String),
    /// Configs are set to null.
    #[error("configs need a value, not null: {0}")]
    Null(String),
    /// There are no resources of this number with configs, or none that this request can change.
    #[error("resource type {0} has no configs that can be changed so")]
    UnknownResourceType(i8),
    /// There is no operation of this number.
    #[error("unknown operation {0}: it is one of 0 (set), 1 (delete), 2 (append), 3 (subtract)")]
    UnknownOperation(i8),
    /// A resource of this kind has a name.
    #[error("a {0} is named, not empty: there are no default configs of all of them")]
    EmptyName(&'static str),
    /// The topic's name is not one.
    #[error("{0}")]
    InvalidTopicName(InvalidTopicName),
    /// No topic has the name.
    #[error("topic '{0}' does not exist")]
    UnknownTopic(String),
    /// Elements are added to or taken from what is no list.
    #[error("config {0} is not a list: it can be set and deleted only")]
    NotAList(String),
    /// A value is too long.
    #[error("config {name} has a value of {length} bytes, more than the {max} that are kept")]
    ValueTooLong {
        /// The config.
        name: String,
        /// The length of its value.
        length: usize,
        /// The bound on it.
        max: usize,
    },
    /// A resource's name is too long.
    #[error(
        "the name of a {kind} has {length} bytes, and at most {CONFIG_NAME_BYTES_MAX} are kept"
    )]
    NameTooLong {
        /// The kind of resource.
        kind: &'static str,
        /// The length of its name.
        length: usize,
    },
    /// There are too many resources with configs.
    #[error("there are {max} {kind}, and no more are kept: delete the configs of one")]
    TooManyResources {
        /// The kind of resources.
        kind: &'static str,
        /// The bound on them.
        max: usize,
    },
    /// A config is refused.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The configs of a broker are not changed.
    #[error(transparent)]
    Broker(#[from] BrokerConfigError),
    /// The configs of a client metrics subscription are not changed.
    #[error(transparent)]
    ClientMetrics(#[from] InvalidSubscription),
    /// The levels of loggers are not changed.
    #[error(transparent)]
    Logger(#[from] LoggerError),
    /// The request changes too much.
    #[error(
        "the request changes {asked} configs, and one request may change {CONFIG_CHANGES_MAX}: split it"
    )]
    RequestTooLarge {
        /// Configs that the whole request changes.
        asked: usize,
    },
}

impl AlterConfigsError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            AlterConfigsError::DuplicateResource
            | AlterConfigsError::DuplicateConfig(_)
            | AlterConfigsError::Null(_)
            | AlterConfigsError::UnknownResourceType(_)
            | AlterConfigsError::EmptyName(_) => ErrorCode::InvalidRequest,
            // Kafka's controller does not expect it.
            AlterConfigsError::UnknownOperation(_) => ErrorCode::UnknownServerError,
            AlterConfigsError::InvalidTopicName(_) => ErrorCode::InvalidTopicException,
            AlterConfigsError::UnknownTopic(_) => ErrorCode::UnknownTopicOrPartition,
            AlterConfigsError::NotAList(_)
            | AlterConfigsError::ValueTooLong { .. }
            | AlterConfigsError::Config(_) => ErrorCode::InvalidConfig,
            AlterConfigsError::Broker(error) => error.code(),
            AlterConfigsError::ClientMetrics(error) => match error {
                InvalidSubscription::Unknown(_) | InvalidSubscription::Interval(_) => {
                    ErrorCode::InvalidRequest
                }
                InvalidSubscription::NotANumber(_) | InvalidSubscription::Pattern(_) => {
                    ErrorCode::InvalidConfig
                }
            },
            AlterConfigsError::Logger(error) => match error {
                LoggerError::OtherBroker { .. } | LoggerError::Root | LoggerError::Operation(_) => {
                    ErrorCode::InvalidRequest
                }
                LoggerError::Unknown(_) | LoggerError::Level { .. } => ErrorCode::InvalidConfig,
            },
            AlterConfigsError::RequestTooLarge { .. }
            | AlterConfigsError::NameTooLong { .. }
            | AlterConfigsError::TooManyResources { .. } => ErrorCode::PolicyViolation,
        }
    }
}

/// Changes levels of loggers, or only checks that they could be.
pub type AlterLoggers<'a> = &'a dyn Fn(&ResourceChange, bool) -> Result<(), AlterConfigsError>;

impl Controller {
    /// AlterConfigs and IncrementalAlterConfigs, as `node` is asked. Loggers are handed on: their levels are
    /// not of the metadata. With `validate_only` there are no records. Every resource is
    /// answered, in the request's order, as often as it is named.
    pub fn decide_alter_configs(
        &self,
        image: &Image,
        node: NodeId,
        asked: &ConfigsToAlter,
        loggers: AlterLoggers<'_>,
    ) -> Decision<Vec<ConfigAlteration>> {
        let mut counts: BTreeMap<(i8, &str), usize> = BTreeMap::new();
        for resource in &asked.resources {
            let key = (resource.resource_type, resource.name.as_str());
            *counts.entry(key).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut answer = Vec::with_capacity(asked.resources.len());
        for resource in &asked.resources {
            let key = (resource.resource_type, resource.name.as_str());
            let result = match counts[&key] {
                1 => self.alter_resource(image, node, asked, resource, loggers),
                _ => Err(AlterConfigsError::DuplicateResource),
            };
            answer.push(ConfigAlteration {
                resource_type: resource.resource_type,
                name: resource.name.clone(),
                result: result.map(|new| records.extend(new)),
            });
        }
        if records.len() > CONFIG_CHANGES_MAX {
            let asked = records.len();
            records.clear();
            for alteration in answer.iter_mut().filter(|one| one.result.is_ok()) {
                alteration.result = Err(AlterConfigsError::RequestTooLarge { asked });
            }
        }
        if asked.validate_only {
            records.clear();
        }
        Decision { records, answer }
    }

    fn alter_resource(
        &self,
        image: &Image,
        node: NodeId,
        request: &ConfigsToAlter,
        asked: &ResourceChange,
        loggers: AlterLoggers<'_>,
    ) -> Result<Vec<Record>, AlterConfigsError> {
        let is_incremental = request.is_incremental;
        check_named_once(&asked.changes)?;
        check_no_nulls(&asked.changes, is_incremental)?;
        let code = asked.resource_type;
        let resource = ConfigResource::from_code(i32::from(code))
            .ok_or(AlterConfigsError::UnknownResourceType(code))?;
        match resource {
            ConfigResource::Topic => self.alter_topic(image, asked, is_incremental),
            ConfigResource::Broker => self.alter_broker(image, node, asked, is_incremental),
            ConfigResource::Group => self.alter_group(image, node, asked, is_incremental),
            ConfigResource::ClientMetrics => {
                self.alter_client_metrics(image, asked, is_incremental)
            }
            ConfigResource::BrokerLogger if is_incremental => {
                loggers(asked, request.validate_only).map(|()| Vec::new())
            }
            ConfigResource::BrokerLogger => Err(AlterConfigsError::UnknownResourceType(code)),
        }
    }

    fn alter_topic(
        &self,
        image: &Image,
        asked: &ResourceChange,
        is_incremental: bool,
    ) -> Result<Vec<Record>, AlterConfigsError> {
        let topic = image.topic(&asked.name);
        let empty = Configs::new();
        let present = topic.map_or(&empty, |topic| &topic.configs);
        let list_default = |name: &str| {
            let def = topic_config_def(name).filter(|def| def.type_ == ConfigType::List);
            def.map(|def| def.default)
        };
        let values = values_wanted(&asked.changes, is_incremental, present, list_default)?;
        if asked.name.is_empty() {
            return Err(AlterConfigsError::EmptyName("topic"));
        }
        check_topic_name(&asked.name).map_err(AlterConfigsError::InvalidTopicName)?;
        let check = |name: &str, value: &str| Ok(check_topic_config(name, Some(value))?);
        let wanted = configs_wanted(values, is_incremental, present, check)?;
        check_conflicts(&wanted, &self.layers_of_new_topics(image))?;
        if topic.is_none() {
            return Err(AlterConfigsError::UnknownTopic(asked.name.clone()));
        }
        Ok(records_between(
            ConfigResource::Topic,
            &asked.name,
            present,
            &wanted,
        ))
    }

    /// The layers below a topic's own configs, for all brokers alike.
    pub(crate) fn layers_of_new_topics<'a>(&'a self, image: &'a Image) -> BrokerLayers<'a> {
        BrokerLayers {
            broker: None,
            all_brokers: image.broker_configs(""),
            file: &self.settings.file_configs,
        }
    }
}

fn check_named_once(changes: &[ConfigChange]) -> Result<(), AlterConfigsError> {
    let mut names = BTreeSet::new();
    match changes.iter().find(|change| !names.insert(&*change.name)) {
        Some(twice) => Err(AlterConfigsError::DuplicateConfig(shown(&twice.name))),
        None => Ok(()),
    }
}

fn check_no_nulls(changes: &[ConfigChange], is_incremental: bool) -> Result<(), AlterConfigsError> {
    let delete = ConfigOperation::Delete as i8;
    let needs_value = |change: &&ConfigChange| !is_incremental || change.operation != delete;
    let mut nulls = changes
        .iter()
        .filter(needs_value)
        .filter(|change| change.value.is_none());
    let Some(first) = nulls.next() else {
        return Ok(());
    };
    // Some are named, whatever their number.
    let others = nulls.take(9).map(|change| shown(&change.name));
    let names: Vec<String> = std::iter::once(shown(&first.name)).chain(others).collect();
    Err(AlterConfigsError::Null(names.join(", ")))
}

/// The value that each named config shall have; none for one that is to go.
pub(crate) type Values<'a> = Vec<(&'a str, Option<String>)>;

/// Carries out the operations. `list_default`: the default of a config that is a list.
pub(crate) fn values_wanted<'a>(
    changes: &'a [ConfigChange],
    is_incremental: bool,
    present: &Configs,
    list_default: impl Fn(&str) -> Option<&'static str>,
) -> Result<Values<'a>, AlterConfigsError> {
    let mut values = Vec::with_capacity(changes.len());
    for change in changes {
        let name = change.name.as_str();
        let given = change.value.as_deref().unwrap_or_default();
        let operation = match is_incremental {
            true => ConfigOperation::from_code(change.operation)
                .ok_or(AlterConfigsError::UnknownOperation(change.operation))?,
            false => ConfigOperation::Set,
        };
        let value = match operation {
            ConfigOperation::Set => Some(given.to_owned()),
            ConfigOperation::Delete => None,
            ConfigOperation::Append | ConfigOperation::Subtract => {
                let default =
                    list_default(name).ok_or_else(|| AlterConfigsError::NotAList(shown(name)))?;
                let base = present.get(name).map_or(default, String::as_str);
                Some(combined(base, operation, given))
            }
        };
        if let Some(length) = value.as_ref().map(String::len)
            && length > CONFIG_VALUE_BYTES_MAX
        {
            let (name, max) = (shown(name), CONFIG_VALUE_BYTES_MAX);
            return Err(AlterConfigsError::ValueTooLong { name, length, max });
        }
        values.push((name, value));
    }
    Ok(values)
}

/// A list with elements added that are not in it, or taken out.
fn combined(base: &str, operation: ConfigOperation, given: &str) -> String {
    let given: Vec<&str> = split_list(given).collect();
    let mut elements: Vec<&str> = split_list(base).collect();
    if operation == ConfigOperation::Subtract {
        let taken: BTreeSet<&str> = given.into_iter().collect();
        elements.retain(|element| !taken.contains(element));
    } else {
        let mut there: BTreeSet<&str> = elements.iter().copied().collect();
        elements.extend(given.into_iter().filter(|element| there.insert(element)));
    }
    elements.join(",")
}

/// All configs that the resource shall have. `check` answers the canonical text of a value.
pub(crate) fn configs_wanted(
    values: Values<'_>,
    is_incremental: bool,
    present: &Configs,
    check: impl Fn(&str, &str) -> Result<String, AlterConfigsError>,
) -> Result<Configs, AlterConfigsError> {
    let mut wanted = match is_incremental {
        true => present.clone(),
        false => Configs::new(),
    };
    for (name, value) in values {
        match value {
            Some(value) => wanted.insert(name.to_owned(), check(name, &value)?),
            None => wanted.remove(name),
        };
    }
    Ok(wanted)
}

/// The records that lead from the configs that are there to those that are wanted.
pub(crate) fn records_between(
    resource: ConfigResource,
    name: &str,
    present: &Configs,
    wanted: &Configs,
) -> Vec<Record> {
    let record = |key: &String, value: Option<&String>| {
        Record::from(ConfigRecord {
            resource_type: i32::from(resource.code()),
            resource_name: name.to_owned(),
            key: key.clone(),
            value: value.cloned(),
        })
    };
    let set = wanted
        .iter()
        .filter(|(key, value)| present.get(*key) != Some(value))
        .map(|(key, value)| record(key, Some(value)));
    let gone = present.keys().filter(|key| !wanted.contains_key(*key));
    set.chain(gone.map(|key| record(key, None))).collect()
}

/// Cuts a name that came from outside, for a message.
pub(crate) fn shown(name: &str) -> String {
    name.chars().take(200).collect()
}
