//! Which log directory of a broker holds its replica of a partition, as the broker says (KIP-858).
//!
//! It is known to the metadata so that a broker never has to guess from what it finds: a directory that is
//! missing today is not a partition that never was.

use millstream_model::{DirectoryId, NodeId, TopicId};

use crate::controller::Controller;
use crate::image::{Image, PartitionImage};
use crate::record::Record;
use crate::snapshot::partition_record;

/// A replica's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryAssignment {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: i32,
    /// Where the broker has it.
    pub directory: DirectoryId,
}

impl Controller {
    /// Notes where a broker has its replicas. What names a partition that is not there, or none of the
    /// broker's, is passed over.
    #[must_use]
    pub fn decide_assign_directories(
        &self,
        image: &Image,
        node: NodeId,
        assignments: &[DirectoryAssignment],
    ) -> Vec<Record> {
        let record = |assignment: &DirectoryAssignment| {
            let topic = image.topic_by_id(assignment.topic_id)?;
            let partition = topic.partition(assignment.partition)?;
            let assigned = assigned(partition, node, assignment.directory)?;
            Some(partition_record(topic.id, assignment.partition, &assigned).into())
        };
        assignments.iter().filter_map(record).collect()
    }
}

fn assigned(
    partition: &PartitionImage,
    node: NodeId,
    directory: DirectoryId,
) -> Option<PartitionImage> {
    partition.directory_of(node)?;
    let directories = partition.replicas.iter().map(|replica| match *replica {
        replica if replica == node => directory,
        replica => partition
            .directory_of(replica)
            .unwrap_or(DirectoryId::UNASSIGNED),
    });
    Some(PartitionImage {
        directories: directories.collect(),
        partition_epoch: partition.partition_epoch.saturating_add(1),
        ..partition.clone()
    })
}
