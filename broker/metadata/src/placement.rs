//! Which brokers hold a new partition: as a client assigns them, or spread over all.

use std::collections::BTreeSet;

use millstream_model::{LeaderEpoch, NodeId};

use crate::image::{Image, PartitionImage};

/// Why an assignment of replicas is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssignment {
    /// The indexes are not those of the new partitions, each once.
    #[error("assignments must be for the partitions {first} to {last}, each once")]
    Indexes {
        /// The first index.
        first: usize,
        /// The last index.
        last: usize,
    },
    /// A partition has no replica.
    #[error("an assignment needs at least one broker")]
    Empty,
    /// A broker is named twice for a partition.
    #[error("broker {0} is assigned twice to one partition")]
    BrokerTwice(i32),
    /// There is no such broker.
    #[error("broker {0} is not registered")]
    UnknownBroker(i32),
    /// Partitions have different numbers of replicas.
    #[error("an assignment has {count} replicas where {expected} are expected")]
    Factor {
        /// Replicas of the odd one.
        count: usize,
        /// Replicas of the others.
        expected: usize,
    },
}

/// Checks assignments for the partitions from `first` on and answers them in order of the index.
pub(crate) fn check_assignments(
    image: &Image,
    first: usize,
    factor: Option<usize>,
    assignments: &[(i32, Vec<i32>)],
) -> Result<Vec<Vec<NodeId>>, InvalidAssignment> {
    let mut sorted: Vec<_> = assignments.iter().collect();
    sorted.sort_by_key(|(index, _)| *index);
    let expected = factor.unwrap_or_else(|| sorted.first().map_or(0, |(_, nodes)| nodes.len()));
    let mut checked = Vec::with_capacity(sorted.len());
    for (position, (index, nodes)) in sorted.iter().enumerate() {
        if usize::try_from(*index) != Ok(first + position) {
            let last = first + sorted.len() - 1;
            return Err(InvalidAssignment::Indexes { first, last });
        }
        checked.push(check_assignment(image, expected, nodes)?);
    }
    Ok(checked)
}

/// Checks the brokers of one partition, in the order given.
pub(crate) fn check_assignment(
    image: &Image,
    expected: usize,
    nodes: &[i32],
) -> Result<Vec<NodeId>, InvalidAssignment> {
    if nodes.is_empty() {
        return Err(InvalidAssignment::Empty);
    }
    let mut seen = BTreeSet::new();
    for &node in nodes {
        if !seen.insert(node) {
            return Err(InvalidAssignment::BrokerTwice(node));
        }
        if !image.brokers().contains_key(&NodeId(node)) {
            return Err(InvalidAssignment::UnknownBroker(node));
        }
    }
    if nodes.len() != expected {
        let count = nodes.len();
        return Err(InvalidAssignment::Factor { count, expected });
    }
    Ok(nodes.iter().map(|&node| NodeId(node)).collect())
}

/// Places `count` partitions from index `first` on: leaders go round the brokers from a random one, and
/// the followers are the brokers after the leader.
pub(crate) fn spread(
    image: &Image,
    first: usize,
    count: usize,
    factor: usize,
    random: u128,
) -> Vec<Vec<NodeId>> {
    let brokers: Vec<NodeId> = image.brokers().keys().copied().collect();
    assert!((1..=brokers.len()).contains(&factor));
    let start = (random % brokers.len() as u128) as usize;
    let broker = |i: usize| brokers[(start + i) % brokers.len()];
    (first..first + count)
        .map(|index| (index..index + factor).map(broker).collect())
        .collect()
}

/// The state of a partition that begins.
pub(crate) fn new_partition(replicas: &[NodeId]) -> PartitionImage {
    PartitionImage {
        leader: replicas[0],
        leader_epoch: LeaderEpoch(0),
        replicas: replicas.into(),
        isr: replicas.into(),
        partition_epoch: 0,
        // Each broker chooses for its own replicas.
        directories: [].into(),
    }
}
