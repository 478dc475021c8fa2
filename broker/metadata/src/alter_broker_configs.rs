//! Changing the dynamic configs of one broker, or of all (KIP-226).
//!
//! What Kafka does not let be changed while a broker runs is refused, and so is what this broker has not got:
//! a value that is stored and not obeyed would be a promise. Names that nobody knows are stored, as Kafka does.

use millstream_model::NodeId;
use millstream_protocol::ErrorCode;

use crate::alter_configs::{AlterConfigsError, ResourceChange};
use crate::alter_configs::{configs_wanted, records_between, shown, values_wanted};
use crate::broker_config::{LISTENER_PREFIX, UpdateMode, is_obeyed_by_listeners, update_mode};
use crate::config_value::{ConfigRange, ConfigType, InvalidConfig, check_value};
use crate::controller::Controller;
use crate::create_topics::check_conflicts;
use crate::image::{Configs, Image};
use crate::record::Record;
use crate::resource::ConfigResource;
use crate::topic_config::BrokerLayers;
use crate::topic_config_def::check_broker_synonym;

/// Dynamic configs that one broker, or all of them, may have. Bounds names that nobody knows.
pub const BROKER_CONFIGS_MAX: usize = 1000;

/// The longest name of a config that nobody knows, in bytes.
pub const CONFIG_NAME_BYTES_MAX: usize = 1000;

/// Numbers of threads: Kafka changes them by a factor of two at most.
const THREADS: &[&str] = &[
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Quotas of the broker itself, which stand in no file (KIP-73).
pub(crate) const QUOTAS: &[&str] = &[
    "follower.replication.throttled.rate",
    "leader.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
];

/// What listeners are. They are opened at the start.
const LISTENERS: &[&str] = &["listeners", "listener.security.protocol.map"];

/// Why the configs of a broker are not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerConfigError {
    /// The resource's name is no number.
    #[error("a broker is named by its node id, or by the empty name for all; {0:?} is neither")]
    NotANodeId(String),
    /// The request is for another broker.
    #[error("this is broker {this}, and the configs of broker {asked} are changed by asking it")]
    OtherBroker {
        /// The broker that is asked.
        this: i32,
        /// The broker that is named.
        asked: i32,
    },
    /// There is no operation of this number.
    #[error("unknown operation {0}: it is one of 0 (set), 1 (delete), 2 (append), 3 (subtract)")]
    UnknownOperation(i8),
    /// Kafka changes it by a restart.
    #[error(
        "config {0} cannot be changed while the broker runs: set it in the file and start again"
    )]
    ReadOnly(String),
    /// It is a broker's own.
    #[error("config {0} belongs to one broker: name the broker, not all of them")]
    PerBroker(String),
    /// There is nothing here that would obey it.
    #[error("config {name} is refused: {reason}")]
    Unavailable {
        /// The config.
        name: String,
        /// What is missing.
        reason: &'static str,
    },
    /// A config is refused.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// A number of threads is too far from what it is now.
    #[error("config {name} can go from {now} to between {low} and {high} at once, not to {value}")]
    Threads {
        /// The config.
        name: &'static str,
        /// Its value.
        value: i64,
        /// The value in force.
        now: i64,
        /// The smallest that is taken.
        low: i64,
        /// The largest that is taken.
        high: i64,
    },
    /// A name is too long.
    #[error(
        "an unknown config has a name of {0} bytes, and at most {CONFIG_NAME_BYTES_MAX} are kept"
    )]
    NameTooLong(usize),
    /// There would be too many.
    #[error("the broker would have {0} dynamic configs, and at most {BROKER_CONFIGS_MAX} are kept")]
    TooMany(usize),
}

impl BrokerConfigError {
    /// The code a client gets: Kafka's is the same for all that it has.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            BrokerConfigError::NotANodeId(_)
            | BrokerConfigError::OtherBroker { .. }
            | BrokerConfigError::UnknownOperation(_)
            | BrokerConfigError::ReadOnly(_)
            | BrokerConfigError::PerBroker(_)
            | BrokerConfigError::Unavailable { .. }
            | BrokerConfigError::Config(_)
            | BrokerConfigError::Threads { .. } => ErrorCode::InvalidRequest,
            BrokerConfigError::NameTooLong(_) | BrokerConfigError::TooMany(_) => {
                ErrorCode::PolicyViolation
            }
        }
    }
}

impl Controller {
    pub(crate) fn alter_broker(
        &self,
        image: &Image,
        node: NodeId,
        asked: &ResourceChange,
        is_incremental: bool,
    ) -> Result<Vec<Record>, AlterConfigsError> {
        let name = broker_name(node, &asked.name)?;
        let empty = Configs::new();
        let present = image.broker_configs(&name).unwrap_or(&empty);
        let values = values_wanted(&asked.changes, is_incremental, present, |config| {
            let def = self.settings.known_configs.get(config);
            let list = def.filter(|def| def.type_ == ConfigType::List);
            list.map(|def| def.default.unwrap_or_default())
        });
        let values = values.map_err(|error| match error {
            AlterConfigsError::UnknownOperation(code) => {
                AlterConfigsError::from(BrokerConfigError::UnknownOperation(code))
            }
            other => other,
        })?;
        let before = BrokerLayers::new(image, node, &self.settings.file_configs);
        let wanted = configs_wanted(values, is_incremental, present, |config, value| {
            Ok(self.check_dynamic(&before, config, value, name.is_empty())?)
        })?;
        if wanted.len() > BROKER_CONFIGS_MAX {
            return Err(BrokerConfigError::TooMany(wanted.len()).into());
        }
        let after = match name.is_empty() {
            true => BrokerLayers {
                all_brokers: Some(&wanted),
                ..before
            },
            false => BrokerLayers {
                broker: Some(&wanted),
                ..before
            },
        };
        self.check_threads(&before, &after)?;
        self.check_addresses(&after)?;
        check_conflicts(&empty, &after).map_err(BrokerConfigError::from)?;
        Ok(records_between(
            ConfigResource::Broker,
            &name,
            present,
            &wanted,
        ))
    }

    /// Checks one dynamic config and answers its canonical text.
    fn check_dynamic(
        &self,
        before: &BrokerLayers<'_>,
        name: &str,
        value: &str,
        is_for_all: bool,
    ) -> Result<String, BrokerConfigError> {
        if let Some(reason) = unavailable(name, value) {
            let name = shown(name);
            return Err(BrokerConfigError::Unavailable { name, reason });
        }
        let def = self.settings.known_configs.meaning_of(name);
        let mode = update_mode(name);
        if def.is_some() && mode == UpdateMode::ReadOnly {
            return Err(BrokerConfigError::ReadOnly(shown(name)));
        }
        if mode == UpdateMode::PerBroker && is_for_all {
            return Err(BrokerConfigError::PerBroker(shown(name)));
        }
        let checked = match (check_broker_synonym(name, value), def) {
            (Some(checked), _) => checked?,
            (None, Some(def)) => check_value(name, def.type_, def.range, value)?,
            (None, None) if QUOTAS.contains(&name) => {
                check_value(name, ConfigType::Long, ConfigRange::AtLeast(0), value)?
            }
            (None, None) if name.len() > CONFIG_NAME_BYTES_MAX => {
                return Err(BrokerConfigError::NameTooLong(name.len()));
            }
            (None, None) => value.to_owned(),
        };
        if LISTENERS.contains(&name) && self.in_force(before, name) != Some(checked.as_str()) {
            let reason = "listeners are opened at the start, and not changed while the broker runs";
            let name = shown(name);
            return Err(BrokerConfigError::Unavailable { name, reason });
        }
        Ok(checked)
    }

    fn check_threads(
        &self,
        before: &BrokerLayers<'_>,
        after: &BrokerLayers<'_>,
    ) -> Result<(), BrokerConfigError> {
        for &name in THREADS {
            let number = |layers| self.in_force(layers, name)?.parse::<i64>().ok();
            let (Some(now), Some(value)) = (number(before), number(after)) else {
                continue;
            };
            let (low, high) = ((now / 2).max(1), now.saturating_mul(2));
            if value != now && !(low..=high).contains(&value) {
                return Err(BrokerConfigError::Threads {
                    name,
                    value,
                    now,
                    low,
                    high,
                });
            }
        }
        Ok(())
    }

    /// Kafka's rule: a limit of nothing for every address has exceptions.
    fn check_addresses(&self, after: &BrokerLayers<'_>) -> Result<(), BrokerConfigError> {
        const LIMIT: &str = "max.connections.per.ip";
        let exceptions = self.in_force(after, "max.connections.per.ip.overrides");
        let is_open = exceptions.is_some_and(|list| !list.is_empty());
        if self.in_force(after, LIMIT) == Some("0") && !is_open {
            let reason = "0 lets nobody in; max.connections.per.ip.overrides would say whom";
            let name = LIMIT.to_owned();
            return Err(BrokerConfigError::Unavailable { name, reason });
        }
        Ok(())
    }

    /// The value that a broker config has under these layers.
    fn in_force<'a>(&'a self, layers: &BrokerLayers<'a>, name: &str) -> Option<&'a str> {
        let default = || self.settings.known_configs.get(name)?.default;
        layers.given(name).or_else(default)
    }
}

/// The name that a broker's configs are kept under.
fn broker_name(node: NodeId, asked: &str) -> Result<String, BrokerConfigError> {
    if asked.is_empty() {
        return Ok(String::new());
    }
    let id: i32 = asked
        .parse()
        .map_err(|_| BrokerConfigError::NotANodeId(shown(asked)))?;
    match id == node.0 {
        true => Ok(node.0.to_string()),
        false => Err(BrokerConfigError::OtherBroker {
            this: node.0,
            asked: id,
        }),
    }
}

/// Why nothing here would obey a config that Kafka lets be changed.
fn unavailable(name: &str, value: &str) -> Option<&'static str> {
    let is_security = |name: &str| name.starts_with("ssl.") || name.starts_with("sasl.");
    if name.starts_with(LISTENER_PREFIX) && !is_obeyed_by_listeners(name) {
        return Some(
            "a single listener may have max.connections and max.connection.creation.rate, and no more yet",
        );
    }
    if (is_security(name) && update_mode(name) == UpdateMode::PerBroker)
        || name == "principal.builder.class"
    {
        return Some("there is no TLS and no SASL yet");
    }
    match (name, value.trim()) {
        ("config.providers", value) if !value.is_empty() => {
            Some("values are taken as written, there are no config providers yet")
        }
        ("cordoned.log.dirs", value) if !value.is_empty() => {
            Some("log directories cannot be closed to new partitions yet")
        }
        _ => None,
    }
}
