//! Why a record was not, or perhaps not, written.

use std::time::Duration;

use millstream_protocol::ErrorCode;

use super::config::BadProducerConfig;
use crate::error::{BrokerCode, ClientError};

/// Why a record was not acknowledged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ProduceError {
    /// The broker refused the record's batch; nothing of it was written.
    #[error("partition {partition} of topic `{topic}` refused a batch of {batch_bytes} bytes: {code}{}{}", .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default(), hint(*.code))]
    Refused {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// Bytes of the batch, at most.
        batch_bytes: usize,
        /// The broker's code.
        code: BrokerCode,
        /// The broker's text, where there is one.
        message: Option<String>,
    },
    /// No acknowledgement came in time. The record may have been written if it was sent at least once.
    #[error(
        "partition {partition} of topic `{topic}` did not acknowledge within delivery_timeout ({after:?}), {attempts} attempts; last: {last}"
    )]
    Timeout {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
        /// The limit.
        after: Duration,
        /// How often the batch was sent.
        attempts: u32,
        /// What stood in the way at last.
        last: String,
    },
    /// The record alone is larger than what may wait or be sent.
    #[error(
        "a record of {bytes} bytes is larger than {setting} ({limit}): raise it, or split the record"
    )]
    TooLarge {
        /// Size of key, value and headers with their overhead.
        bytes: usize,
        /// The setting that limits it.
        setting: &'static str,
        /// Its value in bytes.
        limit: usize,
    },
    /// There was no room among the records that wait.
    #[error(
        "no room among {limit} bytes of unacknowledged records within {after:?}: the brokers are slower than this producer, or raise buffer_bytes"
    )]
    BufferFull {
        /// `buffer_bytes`.
        limit: usize,
        /// `enqueue_timeout`.
        after: Duration,
    },
    /// The settings contradict each other.
    #[error(transparent)]
    Config(#[from] BadProducerConfig),
    /// The cluster could not be asked.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The producer was closed first.
    #[error("the producer was closed before the record was acknowledged")]
    Closed,
}

fn hint(code: BrokerCode) -> &'static str {
    match code.known() {
        Some(ErrorCode::MessageTooLarge) => {
            "; larger than the topic's max.message.bytes: raise that, or send smaller records or batches"
        }
        Some(ErrorCode::InvalidTopicException) => "; clients may not write to internal topics",
        _ => "",
    }
}
