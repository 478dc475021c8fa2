//! Changing the levels of loggers (KIP-412): which events a process logs. They are the process's own: nothing
//! is stored, and the next start begins with the levels that it is given.

use crate::alter_configs::{ConfigOperation, ResourceChange, shown};

/// The logger of everything that has none of its own.
pub const ROOT_LOGGER: &str = "root";

/// The least important events that are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)] // the names are the meanings
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    /// Nothing: an event that ends the process is not an event of a logger here.
    Fatal,
}

impl LogLevel {
    /// All of them, with Kafka's names.
    pub const NAMES: [(&'static str, LogLevel); 6] = [
        ("TRACE", LogLevel::Trace),
        ("DEBUG", LogLevel::Debug),
        ("INFO", LogLevel::Info),
        ("WARN", LogLevel::Warn),
        ("ERROR", LogLevel::Error),
        ("FATAL", LogLevel::Fatal),
    ];

    /// The level of this name, in capitals.
    #[must_use]
    pub fn from_name(name: &str) -> Option<LogLevel> {
        let found = LogLevel::NAMES
            .into_iter()
            .find(|(known, _)| *known == name);
        found.map(|(_, level)| level)
    }

    /// Kafka's name of it.
    #[must_use]
    pub fn name(self) -> &'static str {
        LogLevel::NAMES[self as usize].0
    }
}

/// Why the levels of loggers are left as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoggerError {
    /// The resource is not this broker.
    #[error("loggers are those of the broker that is asked, {this}, not of {asked:?}")]
    OtherBroker {
        /// The broker that is asked.
        this: i32,
        /// The resource's name.
        asked: String,
    },
    /// There is no such logger.
    #[error("there is no logger {0:?}: DescribeConfigs lists them")]
    Unknown(String),
    /// There is no such level.
    #[error(
        "logger {logger} cannot be set to {level:?}: it is one of TRACE, DEBUG, INFO, WARN, ERROR, FATAL"
    )]
    Level {
        /// The logger.
        logger: String,
        /// The level as sent.
        level: String,
    },
    /// The root logger has no level to fall back to.
    #[error("the level of the root logger can be set, and not deleted")]
    Root,
    /// Levels are no lists.
    #[error("a logger's level is set (0) or deleted (1), not changed by operation {0}")]
    Operation(i8),
}

/// Checks what is asked of loggers, and answers the level of each; none for one that falls back to the
/// root's. `exists` tells the loggers there are.
pub fn check_loggers(
    node: i32,
    asked: &ResourceChange,
    exists: impl Fn(&str) -> bool,
) -> Result<Vec<(String, Option<LogLevel>)>, LoggerError> {
    if asked.name.parse() != Ok(node) {
        let asked = shown(&asked.name);
        return Err(LoggerError::OtherBroker { this: node, asked });
    }
    let check = |name: &str| match exists(name) {
        true => Ok(name.to_owned()),
        false => Err(LoggerError::Unknown(shown(name))),
    };
    let changes =
        asked.changes.iter().map(
            |change| match ConfigOperation::from_code(change.operation) {
                Some(ConfigOperation::Set) => {
                    let name = check(&change.name)?;
                    let text = change.value.as_deref().unwrap_or_default();
                    let level = LogLevel::from_name(text).ok_or_else(|| LoggerError::Level {
                        logger: name.clone(),
                        level: shown(text),
                    })?;
                    Ok((name, Some(level)))
                }
                Some(ConfigOperation::Delete) => match check(&change.name)? {
                    name if name == ROOT_LOGGER => Err(LoggerError::Root),
                    name => Ok((name, None)),
                },
                _ => Err(LoggerError::Operation(change.operation)),
            },
        );
    changes.collect()
}
