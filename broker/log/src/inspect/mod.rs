//! Looking at a log directory that no broker runs on: what it holds, what is wrong, and recovery without
//! a start.
//!
//! ```text
//!                        log start              recovery point
//!   ──────────────────────────┼──────────────────────────┼─────────────────
//!    whatever is wrong here    wrong here is damage:      wrong here is a tail
//!    waits for its removal     it was durable             that recovery cuts
//! ```
//!
//! [`StoppedDirectory`] takes the directory's lock, so that nothing changes underneath. [`verify`] changes
//! nothing and judges every byte of what a start believes; it goes on behind damage, so that all of it is
//! named. [`dump`] shows batches as they stand. [`recover`] opens each log as a start would.

mod directory;
mod dump;
mod files;
pub(crate) mod indexes;
mod order;
mod partition;
mod recover;
mod report;
mod small_files;
pub(crate) mod walk;

use std::path::PathBuf;

pub use directory::{PartitionFolder, StoppedDirectory};
pub use dump::{DumpedBatch, dump};
pub use partition::verify;
pub use recover::{Outcome, Recovered, recover};
pub use report::{Finding, FindingKind, PartitionReport, Tail};

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// A broker runs on it, or another such command.
    #[error("{path} is in use; stop the broker that runs on it")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Nothing there is a partition.
    #[error(
        "{path} holds no partition; name a data directory (log.dirs) or a partition's folder in one"
    )]
    NoPartitions {
        /// The directory.
        path: PathBuf,
    },
    /// The partition that was asked for is not there.
    #[error("{path} has no partition {name}; it has {known}")]
    UnknownPartition {
        /// The directory.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// The first few that are there.
        known: String,
    },
    /// The disk failed.
    #[error("reading {path} failed: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
