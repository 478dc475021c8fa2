//! Moving partitions to other brokers (KIP-455), as far as one broker can be asked for it.
//!
//! A broker that is alone holds every partition, so what can be asked for is what there is, and is done at
//! once; nothing is ever under way.

use millstream_protocol::ErrorCode;

use crate::image::{Image, PartitionImage};
use crate::placement::{InvalidAssignment, check_assignment};

/// Why a partition is not moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassignmentError {
    /// There is no such partition.
    #[error("no topic has a partition of this name")]
    UnknownPartition,
    /// There is nothing to cancel.
    #[error("no reassignment of this partition is in progress")]
    NotInProgress,
    /// The brokers make no sense.
    #[error(transparent)]
    Assignment(#[from] InvalidAssignment),
    /// The number of replicas would change, and the client forbids that.
    #[error(
        "the partition has {present} replicas, and {asked} are given, which allow_replication_factor_change=false forbids"
    )]
    Factor {
        /// Replicas it has.
        present: usize,
        /// Replicas asked for.
        asked: usize,
    },
    /// The partition would have to be copied to another broker.
    #[error("partitions cannot be moved between brokers yet")]
    OtherBrokers,
}

impl ReassignmentError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            ReassignmentError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            ReassignmentError::NotInProgress => ErrorCode::NoReassignmentInProgress,
            ReassignmentError::Assignment(_) | ReassignmentError::OtherBrokers => {
                ErrorCode::InvalidReplicaAssignment
            }
            ReassignmentError::Factor { .. } => ErrorCode::InvalidReplicationFactor,
        }
    }
}

impl Image {
    /// Checks where a partition shall be; `None` cancels what is under way. There is nothing to do where this
    /// succeeds.
    pub fn check_reassignment(
        &self,
        topic: &str,
        partition: i32,
        replicas: Option<&[i32]>,
        may_change_factor: bool,
    ) -> Result<(), ReassignmentError> {
        let present: &PartitionImage = self
            .topic(topic)
            .and_then(|topic| topic.partition(partition))
            .ok_or(ReassignmentError::UnknownPartition)?;
        let asked = replicas.ok_or(ReassignmentError::NotInProgress)?;
        let checked = check_assignment(self, asked.len(), asked)?;
        if !may_change_factor && checked.len() != present.replicas.len() {
            return Err(ReassignmentError::Factor {
                present: present.replicas.len(),
                asked: checked.len(),
            });
        }
        match checked[..] == present.replicas[..] {
            true => Ok(()),
            false => Err(ReassignmentError::OtherBrokers),
        }
    }
}
