//! Adding partitions to topics. A topic never loses one.

use std::collections::{BTreeMap, BTreeSet};

use millstream_protocol::ErrorCode;

use crate::controller::{Controller, Decision};
use crate::image::Image;
use crate::placement::{InvalidAssignment, check_assignments, new_partition, spread};
use crate::record::Record;
use crate::snapshot::partition_record;

/// More partitions for a topic, as a client wants them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic's name.
    pub name: String,
    /// How many partitions it shall have, with those it has.
    pub count: i32,
    /// Replicas of the new ones in order; none to leave the choice to the controller.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// The answer for one topic of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionsCreation {
    /// The topic's name.
    pub name: String,
    /// What came of it.
    pub result: Result<(), CreatePartitionsError>,
}

/// Why a topic gets no more partitions.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreatePartitionsError {
    /// The request names the topic twice.
    #[error("the request names this topic more than once")]
    Duplicate,
    /// No topic has the name.
    #[error("no topic has this name")]
    UnknownTopic,
    /// The topic has as many, or more.
    #[error("the topic has {present} partitions, so {asked} is no increase")]
    NoIncrease {
        /// Partitions asked for.
        asked: i32,
        /// Partitions there are.
        present: usize,
    },
    /// There is not one assignment for each new partition.
    #[error("{new} new partitions need {new} assignments, not {count}")]
    AssignmentCount {
        /// New partitions.
        new: usize,
        /// Assignments given.
        count: usize,
    },
    /// An assignment makes no sense.
    #[error(transparent)]
    Assignment(#[from] InvalidAssignment),
    /// The topic's factor needs more brokers than there are.
    #[error("the topic's replication factor is {factor}, and there are {brokers} brokers")]
    TooFewBrokers {
        /// Its factor.
        factor: usize,
        /// Brokers there are.
        brokers: usize,
    },
    /// The request would create too many partitions.
    #[error(
        "{asked} new partitions are too many: {room} more are allowed by one request, so split it"
    )]
    RequestTooLarge {
        /// New partitions.
        asked: usize,
        /// New partitions that would be allowed.
        room: usize,
    },
    /// The cluster would have too many partitions.
    #[error("{asked} new partitions are too many: {room} more are allowed by the cluster")]
    ClusterFull {
        /// New partitions.
        asked: usize,
        /// New partitions that would be allowed.
        room: usize,
    },
}

impl CreatePartitionsError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            CreatePartitionsError::Duplicate => ErrorCode::InvalidRequest,
            CreatePartitionsError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            CreatePartitionsError::NoIncrease { .. } => ErrorCode::InvalidPartitions,
            CreatePartitionsError::AssignmentCount { .. }
            | CreatePartitionsError::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
            CreatePartitionsError::TooFewBrokers { .. } => ErrorCode::InvalidReplicationFactor,
            // Kafka's controller, too, answers this code past its bound on the records of a request.
            CreatePartitionsError::RequestTooLarge { .. } => ErrorCode::UnknownServerError,
            CreatePartitionsError::ClusterFull { .. } => ErrorCode::PolicyViolation,
        }
    }
}

impl Controller {
    /// CreatePartitions. With `validate_only` there are no records.
    pub fn decide_create_partitions(
        &self,
        image: &Image,
        topics: &[MorePartitions],
        validate_only: bool,
        random: &mut dyn FnMut() -> u128,
    ) -> Decision<Vec<PartitionsCreation>> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let mut answered = BTreeSet::new();
        let mut records = Vec::new();
        let mut answer = Vec::new();
        for topic in topics.iter().filter(|topic| answered.insert(&*topic.name)) {
            let result = match counts[&*topic.name] {
                1 => self.create_partitions(image, topic, records.len(), random()),
                _ => Err(CreatePartitionsError::Duplicate),
            };
            answer.push(PartitionsCreation {
                name: topic.name.clone(),
                result: result.map(|new| records.extend(new)),
            });
        }
        if validate_only {
            records.clear();
        }
        Decision { records, answer }
    }

    /// `earlier` counts the new partitions of the request's topics before this one.
    fn create_partitions(
        &self,
        image: &Image,
        asked: &MorePartitions,
        earlier: usize,
        random: u128,
    ) -> Result<Vec<Record>, CreatePartitionsError> {
        let topic = image
            .topic(&asked.name)
            .ok_or(CreatePartitionsError::UnknownTopic)?;
        let present = topic.partitions.len();
        let new = match usize::try_from(asked.count) {
            Ok(count) if count > present => count - present,
            _ => {
                let asked = asked.count;
                return Err(CreatePartitionsError::NoIncrease { asked, present });
            }
        };
        self.check_new_partitions(image, earlier, new)?;
        let factor = topic.partitions.first().map_or(1, |p| p.replicas.len());
        let replicas = match &asked.assignments {
            Some(assignments) if assignments.len() != new => {
                let count = assignments.len();
                return Err(CreatePartitionsError::AssignmentCount { new, count });
            }
            Some(assignments) => {
                let indexes = topic.partition_count()..;
                let indexed: Vec<_> = indexes.zip(assignments.iter().cloned()).collect();
                check_assignments(image, present, Some(factor), &indexed)?
            }
            None => {
                let brokers = image.brokers().len();
                if factor > brokers {
                    return Err(CreatePartitionsError::TooFewBrokers { factor, brokers });
                }
                spread(image, present, new, factor, random)
            }
        };
        let indexed = (topic.partition_count()..).zip(&replicas);
        let records = indexed.map(|(index, replicas)| {
            Record::from(partition_record(topic.id, index, &new_partition(replicas)))
        });
        Ok(records.collect())
    }

    fn check_new_partitions(
        &self,
        image: &Image,
        earlier: usize,
        asked: usize,
    ) -> Result<(), CreatePartitionsError> {
        let room = self.settings.request_partitions_max.saturating_sub(earlier);
        if asked > room {
            return Err(CreatePartitionsError::RequestTooLarge { asked, room });
        }
        let present = image.partition_count() + earlier;
        let room = self.settings.cluster_partitions_max.saturating_sub(present);
        match asked > room {
            true => Err(CreatePartitionsError::ClusterFull { asked, room }),
            false => Ok(()),
        }
    }
}
