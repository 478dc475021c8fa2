//! What can go wrong with a log, by operation.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use millstream_model::{Offset, TopicId};
use millstream_protocol::ErrorCode;

use crate::NoRoom;

/// Why a batch was not appended. The log is as it was before.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The batch does not follow its producer's last one, and is none of the last five.
    #[error("sequence {sequence} of producer {producer_id} does not follow {last}")]
    OutOfOrderSequence {
        /// The producer.
        producer_id: i64,
        /// The batch's first sequence.
        sequence: i32,
        /// The last sequence in the log.
        last: i32,
    },
    /// A newer incarnation of the producer has written.
    #[error("epoch {epoch} of producer {producer_id} is older than {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer_id: i64,
        /// The batch's epoch.
        epoch: i16,
        /// The epoch in the log.
        current: i16,
    },
    /// The batch is larger than a segment.
    #[error("batch of {size} bytes is over segment.bytes={max}; raise the topic's segment.bytes")]
    LargerThanSegment {
        /// The batch's size.
        size: usize,
        /// The limit.
        max: u32,
    },
    /// The disk did not take the batch.
    #[error("append to {path} failed: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The records would take room that is kept for the broker.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// What recovery has to set aside from behind the log's end is there still.
    #[error(
        "{bytes} bytes behind the end of {path} are to be set aside first, and there is no room for them"
    )]
    AwaitsCut {
        /// The file.
        path: PathBuf,
        /// How many bytes.
        bytes: u64,
    },
    /// An earlier failure left the log's end unknown.
    #[error("log is offline after an earlier failure")]
    Offline,
}

impl AppendError {
    /// The error that answers it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            AppendError::Io { .. }
            | AppendError::NoRoom(_)
            | AppendError::AwaitsCut { .. }
            | AppendError::Offline => ErrorCode::KafkaStorageError,
        }
    }
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The offset is not in the log.
    #[error("offset {offset} is outside [{}, {}]", valid.start, valid.end)]
    OutOfRange {
        /// The offset.
        offset: Offset,
        /// What the log holds; its end may be asked for and gives nothing.
        valid: Range<Offset>,
    },
    /// What is on disk is not what was written.
    #[error("{path} is damaged at byte {position}: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        position: u64,
        /// What is wrong.
        what: String,
    },
    /// The disk did not read.
    #[error("reading {path} failed: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An earlier failure left unknown what of the log is on disk.
    #[error("log is offline after an earlier failure")]
    Offline,
}

impl ReadError {
    /// The error that answers it.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            ReadError::Damaged { .. } | ReadError::Io { .. } | ReadError::Offline => {
                ErrorCode::KafkaStorageError
            }
        }
    }
}

/// Why a pass of compaction ends early. The log is as it was, or has some of its segments replaced.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// A segment is damaged or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A segment is not there any more: retention was faster, or the topic is gone.
    #[error("segment {base} was taken out of the log")]
    TakenOut {
        /// Its base offset.
        base: Offset,
    },
    /// The compacted segment cannot be written.
    #[error("writing {path} failed: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What names are on disk is unknown: the log directory is to be taken offline.
    #[error("sync of {path} failed: {source}")]
    Sync {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory belongs to another topic of the same name.
    #[error("{path} belongs to topic id {found}, expected {expected}; move it away")]
    OtherTopic {
        /// The directory.
        path: PathBuf,
        /// The id in its `partition.metadata`.
        found: TopicId,
        /// The id it should have.
        expected: TopicId,
    },
    /// `partition.metadata` is damaged.
    #[error(
        "{path} is damaged, or not of version 0: if the other files here are the topic's, remove it, and a start writes it anew"
    )]
    PartitionMetadata {
        /// The file.
        path: PathBuf,
    },
    /// What was durable is damaged.
    #[error(transparent)]
    Damaged(#[from] ReadError),
    /// The disk failed.
    #[error("opening {path} failed: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
