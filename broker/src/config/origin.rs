//! Where a setting was given, for messages, and which place wins.

use std::fmt;
use std::path::PathBuf;

/// A place that gives settings. A later variant wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// The configuration file; lines count from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// A variable of the environment, by its name.
    Environment(String),
    /// `--set KEY=VALUE`.
    Set,
    /// A flag of its own, for instance `--listen`.
    Flag(&'static str),
}

impl Origin {
    /// The layer: a higher one wins.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Environment(_) => 2,
            Origin::Set => 3,
            Origin::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => write!(f, "by default"),
            Origin::File { path, line } => write!(f, "{}:{line}", path.display()),
            Origin::Environment(variable) => write!(f, "{variable}"),
            Origin::Set => write!(f, "--set"),
            Origin::Flag(flag) => write!(f, "{flag}"),
        }
    }
}

/// One setting as it was given, not yet looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name as written.
    pub name: String,
    /// The value as written.
    pub value: String,
    /// Where.
    pub origin: Origin,
}
