//! What can go wrong with the metadata log. Every message names the file.

use std::io;
use std::path::{Path, PathBuf};

use crate::Index;

/// Why the metadata log is not opened. Nothing on the disk has been changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed.
    #[error("metadata log: {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file was written in a format that this release does not read.
    #[error(
        "metadata log: {} has format {version}, and this release reads {supported}: start the release that wrote it, or a later one",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        version: u16,
        /// The format that can be read.
        supported: u16,
    },
    /// Bytes that were stored safely are not there any more.
    #[error(
        "metadata log: {} is damaged at byte {position}: {reason}; restore the directory from a backup or another replica",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        reason: String,
    },
}

impl OpenError {
    pub(crate) fn io(path: &Path, source: io::Error) -> OpenError {
        OpenError::Io {
            path: path.to_path_buf(),
            source,
        }
    }

    pub(crate) fn damaged(path: &Path, position: u64, reason: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            path: path.to_path_buf(),
            position,
            reason: reason.into(),
        }
    }
}

/// Why a proposal is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead the quorum (yet, or any more).
    #[error("this node does not lead the metadata quorum")]
    NotLeader,
    /// The proposal has more bytes than one may have.
    #[error("a metadata change of {bytes} bytes is above the limit of {limit}: split the request")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The disk refused it. The log is as it was, and later proposals may succeed.
    #[error("metadata log: {}: {source}", path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The disk failed so that nobody knows what it holds. The quorum is closed for good: the process
    /// must stop and read the log again.
    #[error("metadata log: {} failed and is closed until a restart: {reason}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Why there is no new snapshot. The log goes on unless it says it failed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// It does not end where a proposal ends, between the last snapshot and the end of the log.
    #[error("no proposal ends at index {index:?}")]
    NotABoundary {
        /// The index asked for.
        index: Index,
    },
    /// It has more bytes than one may have.
    #[error("a metadata snapshot of {bytes} bytes is above the limit of {limit}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The bound.
        limit: usize,
    },
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] ProposeError),
    /// The part of the log that stays could not be read back.
    #[error(transparent)]
    Read(#[from] OpenError),
}
