//! The loggers of the process, as clients see and set them (KIP-412). Who writes the log is told of changes;
//! nothing of it is known here.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use millstream_metadata::{
    AlterConfigsError, LogLevel, ROOT_LOGGER, ResourceChange, check_loggers,
};

/// The modules that have a level of their own: the crates of the broker.
const MODULES: &[&str] = &[
    "millstream",
    "millstream_api",
    "millstream_coordinator",
    "millstream_env",
    "millstream_log",
    "millstream_metadata",
    "millstream_node",
    "millstream_quorum",
    "millstream_replica",
];

/// What is logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLevels {
    /// The level of everything else.
    pub root: LogLevel,
    /// The levels of modules, and of what is in them: of several that a name begins with the longest counts.
    pub modules: BTreeMap<String, LogLevel>,
}

impl LogLevels {
    fn of(&self, logger: &str) -> LogLevel {
        let mut own = self.modules.iter().rev();
        let own = own.find(|(module, _)| logger.starts_with(module.as_str()));
        own.map_or(self.root, |(_, level)| *level)
    }
}

/// Hears of changes.
type Listener = Box<dyn Fn(&LogLevels) + Send + Sync>;

/// The loggers of the process.
pub struct Loggers {
    levels: Mutex<LogLevels>,
    listener: OnceLock<Listener>,
}

impl Default for Loggers {
    fn default() -> Loggers {
        let levels = LogLevels {
            root: LogLevel::Info,
            modules: BTreeMap::new(),
        };
        Loggers {
            levels: Mutex::new(levels),
            listener: OnceLock::new(),
        }
    }
}

impl Loggers {
    /// Says what is logged at the start, and who is to be told of changes.
    pub fn begin(&self, levels: LogLevels, listener: impl Fn(&LogLevels) + Send + Sync + 'static) {
        *self.levels.lock().unwrap_or_else(PoisonError::into_inner) = levels;
        // There is one log in a process.
        let _first_stays = self.listener.set(Box::new(listener));
    }

    /// Every logger with the level in force, by name.
    #[must_use]
    pub fn list(&self) -> Vec<(String, LogLevel)> {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeMap<String, LogLevel> = levels.modules.clone();
        for module in MODULES {
            all.insert((*module).to_owned(), levels.of(module));
        }
        all.insert(ROOT_LOGGER.to_owned(), levels.root);
        all.into_iter().collect()
    }

    /// What is logged.
    #[must_use]
    pub fn levels(&self) -> LogLevels {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.clone()
    }

    /// Replaces what is logged.
    pub fn replace(&self, new: LogLevels) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        *levels = new;
        if let Some(listener) = self.listener.get() {
            listener(&levels);
        }
    }

    /// Changes levels, all of a request's or none, at once.
    pub fn alter(
        &self,
        node: i32,
        asked: &ResourceChange,
        validate_only: bool,
    ) -> Result<(), AlterConfigsError> {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let exists = |name: &str| {
            name == ROOT_LOGGER || MODULES.contains(&name) || levels.modules.contains_key(name)
        };
        let changes = check_loggers(node, asked, exists)?;
        if validate_only {
            return Ok(());
        }
        for (name, level) in changes {
            match level {
                Some(level) if name == ROOT_LOGGER => levels.root = level,
                Some(level) => {
                    levels.modules.insert(name, level);
                }
                None => {
                    levels.modules.remove(&name);
                }
            }
        }
        if let Some(listener) = self.listener.get() {
            listener(&levels);
        }
        Ok(())
    }
}
