//! What can go wrong between this client and a cluster.
//!
//! Three layers, each naming its thing: [`ConnectionError`] is about one socket, [`BrokerCode`] is an error code a
//! broker put into an answer, [`ClientError`] joins both with what the client itself finds out (no broker answers, a
//! topic does not exist). All are `Clone`, because one lost connection fails many waiting requests and records.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use millstream_protocol::ErrorCode;
use millstream_protocol::wire::{DecodeError, EncodeError};

/// Why a connection could not be made, or ended.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectionError {
    /// The operating system refused the connection.
    #[error("cannot connect to {address}: {source}")]
    Connect {
        /// Host and port that were tried.
        address: String,
        /// The operating system's reason.
        source: Arc<io::Error>,
    },
    /// The connection was not made in time.
    #[error(
        "no connection to {address} within {after:?}: is the broker running and reachable from here?"
    )]
    ConnectTimeout {
        /// Host and port that were tried.
        address: String,
        /// The limit, `ConnectionConfig::connect_timeout`.
        after: Duration,
    },
    /// The broker closed the connection, or it was closed here, before the answer came.
    #[error("{address} closed the connection before it answered {api}")]
    Closed {
        /// The broker's host and port.
        address: String,
        /// The request that was waiting, or "the next request".
        api: &'static str,
    },
    /// Reading or writing failed.
    #[error("the connection to {address} broke: {source}")]
    Io {
        /// The broker's host and port.
        address: String,
        /// The operating system's reason.
        source: Arc<io::Error>,
    },
    /// An answer did not come in time; the connection is closed, because later answers stand behind it.
    #[error("{address} did not answer {api} within {after:?}")]
    RequestTimeout {
        /// The broker's host and port.
        address: String,
        /// The request that waited.
        api: &'static str,
        /// The limit of that request.
        after: Duration,
    },
    /// An answer is longer than this client takes.
    #[error(
        "{address} announced an answer of {length} bytes, the limit is {limit}: raise answer_bytes_max, or ask for less at once"
    )]
    AnswerTooLarge {
        /// The broker's host and port.
        address: String,
        /// Announced length in bytes.
        length: i64,
        /// The limit, `ConnectionConfig::answer_bytes_max`.
        limit: usize,
    },
    /// The peer does not speak the protocol.
    #[error("{address} does not speak the Kafka protocol as expected: {what}")]
    Malformed {
        /// The broker's host and port.
        address: String,
        /// What was wrong.
        what: String,
    },
    /// An answer could not be decoded.
    #[error("the answer of {address} to {api} version {version} cannot be read: {source}")]
    Decode {
        /// The broker's host and port.
        address: String,
        /// The request.
        api: &'static str,
        /// Its version.
        version: i16,
        /// Where decoding stopped.
        source: Arc<DecodeError>,
    },
    /// A request could not be encoded.
    #[error("{api} version {version} cannot be written: {source}")]
    Encode {
        /// The request.
        api: &'static str,
        /// Its version.
        version: i16,
        /// What does not fit.
        source: Arc<EncodeError>,
    },
    /// Broker and client have no version of a request in common.
    #[error(
        "{address} does not offer {api} in a version this client needs ({wanted}); it offers {offered}"
    )]
    Unsupported {
        /// The broker's host and port.
        address: String,
        /// The request.
        api: &'static str,
        /// Versions the client could use.
        wanted: String,
        /// Versions the broker offers.
        offered: String,
    },
}

impl ConnectionError {
    /// Whether the same request may succeed on a new connection.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::ConnectTimeout { .. }
            | Self::Closed { .. }
            | Self::Io { .. }
            | Self::RequestTimeout { .. } => true,
            Self::AnswerTooLarge { .. }
            | Self::Malformed { .. }
            | Self::Decode { .. }
            | Self::Encode { .. }
            | Self::Unsupported { .. } => false,
        }
    }
}

/// An error code out of an answer; unknown codes are kept as numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BrokerCode(pub i16);

impl BrokerCode {
    /// `None` for 0, the code of success.
    pub fn of(code: i16) -> Option<Self> {
        (code != 0).then_some(Self(code))
    }

    /// The known error, if this client knows it.
    pub fn known(self) -> Option<ErrorCode> {
        ErrorCode::from_code(self.0)
    }

    /// Whether it is this error.
    pub fn is(self, code: ErrorCode) -> bool {
        self.0 == code.code()
    }

    /// Whether the request may succeed later; unknown codes count as final.
    pub fn is_retriable(self) -> bool {
        self.known().is_some_and(|code| code.is_retriable())
    }

    /// Whether the client should look for the leader or the topic again before it retries.
    pub fn means_stale_metadata(self) -> bool {
        matches!(
            self.known(),
            Some(
                ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::LeaderNotAvailable
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::ReplicaNotAvailable
                    | ErrorCode::KafkaStorageError
                    | ErrorCode::ListenerNotFound
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::InconsistentTopicId
            )
        )
    }

    /// Whether the client should look for its coordinator again before it retries.
    pub fn means_stale_coordinator(self) -> bool {
        matches!(
            self.known(),
            Some(ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable)
        )
    }
}

impl fmt::Display for BrokerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(code) => write!(f, "{} ({})", code.name(), self.0),
            None => write!(f, "unknown error code {}", self.0),
        }
    }
}

impl fmt::Debug for BrokerCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the cluster as a whole, or a request to it, ended with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ClientError {
    /// A connection failed.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// No bootstrap address answered.
    #[error("no broker answers at {addresses}: {last}")]
    NoBroker {
        /// Addresses that were tried, separated by commas.
        addresses: String,
        /// What the last one said.
        last: Box<ClientError>,
    },
    /// A bootstrap address is not of the form HOST:PORT.
    #[error("`{address}` is not an address: write HOST:PORT, for example 127.0.0.1:9092")]
    BadAddress {
        /// What was given.
        address: String,
    },
    /// A broker answered with an error.
    #[error("{what}: {code}{}", .message.as_ref().map(|m| format!(": {m}")).unwrap_or_default())]
    Broker {
        /// What was asked, for example "create topic orders".
        what: String,
        /// The error code.
        code: BrokerCode,
        /// The broker's text, where the answer has one.
        message: Option<String>,
    },
    /// A topic does not exist, and is not created by asking.
    #[error("topic `{topic}` does not exist")]
    UnknownTopic {
        /// The topic's name.
        topic: String,
    },
    /// A partition number is past the topic's end.
    #[error(
        "topic `{topic}` has {count} partitions, numbered from 0; there is no partition {partition}"
    )]
    UnknownPartition {
        /// The topic's name.
        topic: String,
        /// What was asked for.
        partition: i32,
        /// How many the topic has.
        count: usize,
    },
    /// A partition had no leader until the deadline.
    #[error("partition {partition} of topic `{topic}` has no leader")]
    NoLeader {
        /// The topic's name.
        topic: String,
        /// The partition.
        partition: i32,
    },
    /// A request did not succeed before its deadline.
    #[error("{what} did not succeed within {after:?}; last error: {last}")]
    Deadline {
        /// What was asked.
        what: String,
        /// The limit.
        after: Duration,
        /// What the last attempt said.
        last: Box<ClientError>,
    },
    /// The cluster named a broker without telling its address.
    #[error("broker {node_id} is not in the cluster's metadata (it may be down)")]
    UnknownNode {
        /// The broker's id.
        node_id: i32,
    },
    /// An answer lacks what was asked for.
    #[error("the broker's answer lacks {what}")]
    IncompleteAnswer {
        /// What was expected in it.
        what: String,
    },
}

impl ClientError {
    /// Whether another attempt may succeed.
    pub fn is_retriable(&self) -> bool {
        match self {
            Self::Connection(error) => error.is_retriable(),
            Self::NoBroker { .. } | Self::NoLeader { .. } | Self::UnknownNode { .. } => true,
            Self::Broker { code, .. } => code.is_retriable(),
            Self::BadAddress { .. }
            | Self::UnknownTopic { .. }
            | Self::UnknownPartition { .. }
            | Self::Deadline { .. }
            | Self::IncompleteAnswer { .. } => false,
        }
    }

    /// The broker's code, where the error is a broker's answer.
    pub fn code(&self) -> Option<BrokerCode> {
        match self {
            Self::Broker { code, .. } => Some(*code),
            Self::Deadline { last, .. } => last.code(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_shown_with_name_and_number() {
        assert_eq!(BrokerCode(3).to_string(), "UNKNOWN_TOPIC_OR_PARTITION (3)");
        assert_eq!(BrokerCode(9999).to_string(), "unknown error code 9999");
        assert!(!BrokerCode(9999).is_retriable());
        assert_eq!(BrokerCode::of(0), None);
    }

    #[test]
    fn a_broker_error_names_what_was_asked() {
        let error = ClientError::Broker {
            what: "create topic orders".into(),
            code: BrokerCode(36),
            message: Some("it exists".into()),
        };
        assert_eq!(
            error.to_string(),
            "create topic orders: TOPIC_ALREADY_EXISTS (36): it exists"
        );
    }
}
