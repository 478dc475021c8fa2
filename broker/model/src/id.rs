//! Identities of brokers, producers and requests.

use std::fmt;

use crate::TopicId;

/// A broker of the cluster (`node.id`). *Bounds*: ≥ 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A log directory (`directory.id` of its `meta.properties`, KIP-858). Its text form is that of a topic id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId(pub TopicId);

impl DirectoryId {
    /// No directory has been chosen yet.
    pub const UNASSIGNED: DirectoryId = DirectoryId(TopicId::ZERO);
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts the starts of a broker; a request that carries an older one is stale (KIP-903).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerEpoch(pub i64);

/// An idempotent producer (KIP-98). *Bounds*: ≥ 0; −1 on the wire means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub i64);

/// Fences older incarnations of a producer id. *Bounds*: 0 … 32767.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerEpoch(pub i16);

/// Number of a record within a producer id and partition. *Bounds*: 0 … 2³¹−1, after which comes 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Sequence(pub i32);

impl Sequence {
    /// The sequence `count` records further on, wrapping from 2³¹−1 to 0. *Bounds*: `count` ≥ 0.
    #[must_use]
    pub fn plus(self, count: i32) -> Sequence {
        let sum = i64::from(self.0) + i64::from(count);
        Sequence((sum & i64::from(i32::MAX)) as i32)
    }
}

/// Names one request of one connection, so that an answer which is ready later finds its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestToken {
    /// The connection, unique within a run of the broker.
    pub connection: u64,
    /// The request's number on its connection, counted from 0 in arrival order.
    pub request: u64,
}

#[cfg(test)]
mod tests {
    use super::Sequence;

    #[test]
    fn sequence_wraps_to_zero() {
        assert_eq!(Sequence(i32::MAX).plus(1), Sequence(0));
        assert_eq!(Sequence(i32::MAX - 1).plus(1), Sequence(i32::MAX));
        assert_eq!(Sequence(2_147_483_646).plus(3), Sequence(1));
    }
}
