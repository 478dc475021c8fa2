//! Why a configuration is refused. Every message names the place, the setting and the way out.

use std::io;
use std::path::PathBuf;

use millstream_metadata::InvalidConfig;

use super::nearest::Suggestion;
use super::origin::Origin;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is longer than any configuration.
    #[error(
        "cannot read the configuration file {}: it has {length} bytes, more than the {max} that are \
         read; give the file of settings, which is a few kilobytes long",
        path.display()
    )]
    FileTooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes, or of a pipe what was read of it.
        length: u64,
        /// The limit, inclusive.
        max: u64,
    },
    /// The file is not TOML, or not Java properties.
    #[error("{origin}: {reason}")]
    Syntax {
        /// The line.
        origin: Origin,
        /// What is wrong there.
        reason: String,
    },
    /// `--set` without a name or `=`.
    #[error("--set {0:?}: expected KEY=VALUE")]
    NotKeyValue(String),
    /// No setting has this name.
    #[error("{origin}: unknown setting {name}{suggestion}")]
    Unknown {
        /// The name, cut to 200 characters.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// What may have been meant.
        suggestion: Suggestion,
    },
    /// The setting asks for something that is not there, and that nobody should believe to be there.
    #[error("{origin}: {name} is refused: {reason}")]
    Refused {
        /// The setting.
        name: String,
        /// Where it was given.
        origin: Origin,
        /// Why.
        reason: &'static str,
    },
    /// The value is of the wrong type or out of range.
    #[error("{origin}: {source}")]
    Invalid {
        /// Where it was given.
        origin: Origin,
        /// What is wrong, with name, value and range.
        source: InvalidConfig,
    },
    /// The value does not read, or contradicts another setting.
    #[error("{origin}: {name}={value} {reason}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
        /// Where it was given.
        origin: Origin,
        /// What is wrong and what would be right.
        reason: String,
    },
}
