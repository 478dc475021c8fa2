//! A record as it is read.

use std::sync::Arc;

use bytes::Bytes;
use millstream_protocol::records::TimestampType;

/// A record from a partition. Key, value and headers share the memory of the answer they came in: to keep a few small
/// ones for long, copy them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The record's offset.
    pub offset: i64,
    /// Epoch of the leader that wrote it.
    pub leader_epoch: i32,
    /// Milliseconds since 1970, −1 for none.
    pub timestamp: i64,
    /// Whether the producer or the broker set the timestamp.
    pub timestamp_type: TimestampType,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// Headers in order; a name may come twice.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}
