//! Why a consumer cannot go on.

use crate::cluster::TopicPartition;
use crate::error::{BrokerCode, ClientError};

/// Why `poll` or a commit failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsumeError {
    /// The position is outside the log, and the settings say to fail then.
    #[error("offset {offset} of {target} is outside the log; seek, or choose an offset_reset")]
    OffsetOutOfRange {
        /// The partition.
        target: TopicPartition,
        /// The position.
        offset: i64,
    },
    /// There is no position, and the settings say to fail then.
    #[error("{target} has no committed offset; seek, or choose an offset_reset")]
    NoPosition {
        /// The partition.
        target: TopicPartition,
    },
    /// Records read before were lost by the cluster; offsets from `end_offset` on were given out again.
    #[error(
        "the log of {target} was cut back to offset {end_offset} (leader epoch {epoch}) after this consumer had read to {offset}; seek to go on"
    )]
    Truncated {
        /// The partition.
        target: TopicPartition,
        /// The position.
        offset: i64,
        /// The last epoch both sides know.
        epoch: i32,
        /// Where its records end.
        end_offset: i64,
    },
    /// A batch is damaged. The position stays in front of it.
    #[error("the batch at offset {offset} of {target} is damaged: {reason}; seek past it to go on")]
    Corrupt {
        /// The partition.
        target: TopicPartition,
        /// The position.
        offset: i64,
        /// What is wrong with it.
        reason: String,
    },
    /// A broker refuses to let the partition be read.
    #[error("{target} cannot be read: {code}")]
    Refused {
        /// The partition.
        target: TopicPartition,
        /// The broker's code.
        code: BrokerCode,
    },
    /// Offsets cannot be committed without a group.
    #[error("this consumer has no group_id to commit offsets for")]
    NoGroup,
    /// The cluster could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
}
