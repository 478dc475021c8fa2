//! Creating topics: by request (CreateTopics), and by their first use.
//!
//! The order of the checks is Kafka's: names, then existence, then configs, then counts or assignments.
//! Topics of one request are judged one by one: one that fails does not stop the others, but two of the
//! same name stop each other. A request past the bound on partitions creates nothing at all.

use std::collections::{BTreeMap, BTreeSet};

use millstream_model::{InvalidTopicName, NodeId, TopicId, check_topic_name};
use millstream_protocol::ErrorCode;

use crate::config_value::InvalidConfig;
use crate::controller::{Controller, Decision};
use crate::image::{Configs, Image, OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::image::{SHARE_STATE_TOPIC, is_internal_topic};
use crate::placement::{InvalidAssignment, check_assignments, new_partition, spread};
use crate::record::{ConfigRecord, Record, TopicRecord};
use crate::resource::ConfigResource;
use crate::snapshot::partition_record;
use crate::topic_config::{BrokerLayers, ResolvedConfig};
use crate::topic_config_def::check_topic_config;

/// A topic that a client wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name, unchecked.
    pub name: String,
    /// Its partitions; −1 for the default, or with assignments.
    pub partitions: i32,
    /// Its replication factor; −1 for the default, or with assignments.
    pub replication_factor: i16,
    /// Replicas by partition index; empty to leave the choice to the controller.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Its configs. Of a key given twice the last counts.
    pub configs: Vec<(String, Option<String>)>,
}

/// A topic as it was created.
#[derive(Clone, Debug, PartialEq)]
pub struct CreatedTopic {
    /// Its id.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: i32,
    /// The replication factor of its first partition.
    pub replication_factor: i16,
    /// All configs in force for it.
    pub configs: Vec<ResolvedConfig>,
}

/// The answer for one topic of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicCreation {
    /// The name as sent.
    pub name: String,
    /// What came of it.
    pub result: Result<CreatedTopic, CreateTopicError>,
}

/// Why a topic is not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// The request has the name twice.
    #[error("the request names this topic more than once")]
    Duplicate,
    /// The name is not one.
    #[error("{0}")]
    InvalidName(InvalidTopicName),
    /// The topic exists.
    #[error("topic '{0}' already exists")]
    Exists(String),
    /// Another topic's name differs in `.` and `_` only.
    #[error("topic '{name}' collides with existing topic '{other}': '.' and '_' count as the same")]
    Collides {
        /// The name.
        name: String,
        /// The topic that is there.
        other: String,
    },
    /// The partition count is 0 or below −1.
    #[error("number of partitions {0} must be at least 1, or -1 for the default")]
    Partitions(i32),
    /// The replication factor is 0, below −1, or above the number of brokers.
    #[error(
        "replication factor {factor} must be between 1 and {brokers} (the brokers there are), or -1 for the default"
    )]
    ReplicationFactor {
        /// The factor asked for.
        factor: i16,
        /// Brokers there are.
        brokers: usize,
    },
    /// Counts are given beside assignments.
    #[error(
        "with assignments, the number of partitions and the replication factor must both be -1"
    )]
    CountsBesideAssignments,
    /// The assignments make no sense.
    #[error(transparent)]
    Assignment(#[from] InvalidAssignment),
    /// A config is refused.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The request creates too many partitions.
    #[error(
        "the request would create {asked} partitions, and one request may create {limit}: split it"
    )]
    RequestTooLarge {
        /// Partitions of all its topics.
        asked: usize,
        /// The bound on them.
        limit: usize,
    },
    /// The cluster has no room for the partitions.
    #[error("the cluster has {present} of {limit} partitions, no room for {asked} more")]
    ClusterFull {
        /// Partitions asked for.
        asked: usize,
        /// Partitions there are.
        present: usize,
        /// The bound on them.
        limit: usize,
    },
}

impl CreateTopicError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            CreateTopicError::Duplicate | CreateTopicError::CountsBesideAssignments => {
                ErrorCode::InvalidRequest
            }
            CreateTopicError::InvalidName(_) | CreateTopicError::Collides { .. } => {
                ErrorCode::InvalidTopicException
            }
            CreateTopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
            CreateTopicError::Partitions(_) => ErrorCode::InvalidPartitions,
            CreateTopicError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            CreateTopicError::Assignment(_) => ErrorCode::InvalidReplicaAssignment,
            CreateTopicError::Config(_) => ErrorCode::InvalidConfig,
            CreateTopicError::RequestTooLarge { .. } | CreateTopicError::ClusterFull { .. } => {
                ErrorCode::PolicyViolation
            }
        }
    }
}

/// Room that the topics of one request share.
struct Room {
    present: usize,
    limit: usize,
}

impl Controller {
    /// CreateTopics. `random` gives 128 random bits per topic. With `validate_only` there are no records,
    /// and the ids answered are thrown away.
    pub fn decide_create_topics(
        &self,
        image: &Image,
        topics: &[NewTopic],
        validate_only: bool,
        random: &mut dyn FnMut() -> u128,
    ) -> Decision<Vec<TopicCreation>> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in topics {
            *counts.entry(&topic.name).or_default() += 1;
        }
        let too_large = self.check_request_size(topics).err();
        let mut room = self.room(image);
        // Names of this request are not in the image yet and must not collide with each other either.
        let mut folded_names: BTreeMap<String, String> = BTreeMap::new();
        let mut answered = BTreeSet::new();
        let mut records = Vec::new();
        let mut answer = Vec::new();
        for topic in topics.iter().filter(|topic| answered.insert(&*topic.name)) {
            let result = if counts[&*topic.name] > 1 {
                Err(CreateTopicError::Duplicate)
            } else if let Some(error) = &too_large {
                Err(error.clone())
            } else if let Some(other) = folded_names.get(&topic.name.replace('.', "_")) {
                let (name, other) = (topic.name.clone(), other.clone());
                Err(CreateTopicError::Collides { name, other })
            } else {
                self.create_topic(image, topic, &mut room, random())
            };
            let result = result.map(|(created, new_records)| {
                folded_names.insert(topic.name.replace('.', "_"), topic.name.clone());
                records.extend(new_records);
                created
            });
            answer.push(TopicCreation {
                name: topic.name.clone(),
                result,
            });
        }
        if validate_only {
            records.clear();
        }
        Decision { records, answer }
    }

    /// Creates a topic because somebody uses it. Internal topics get their own settings, and never
    /// fail for want of brokers.
    pub fn decide_auto_create(
        &self,
        image: &Image,
        name: &str,
        random: u128,
    ) -> Result<Decision<CreatedTopic>, CreateTopicError> {
        let topic = self.auto_created(image, name);
        let (answer, records) = self.create_topic(image, &topic, &mut self.room(image), random)?;
        Ok(Decision { records, answer })
    }

    fn auto_created(&self, image: &Image, name: &str) -> NewTopic {
        let settings = match name {
            OFFSETS_TOPIC => &self.settings.offsets_topic,
            TRANSACTIONS_TOPIC | SHARE_STATE_TOPIC => &self.settings.transactions_topic,
            _ => {
                return NewTopic {
                    name: name.to_string(),
                    partitions: -1,
                    replication_factor: -1,
                    ..NewTopic::default()
                };
            }
        };
        let brokers = i16::try_from(image.brokers().len()).unwrap_or(i16::MAX);
        let configs = settings.configs.iter();
        NewTopic {
            name: name.to_string(),
            partitions: settings.partitions,
            replication_factor: settings.replication_factor.min(brokers),
            assignments: Vec::new(),
            configs: configs
                .map(|(key, value)| (key.to_string(), Some(value.clone())))
                .collect(),
        }
    }

    fn room(&self, image: &Image) -> Room {
        Room {
            present: image.partition_count(),
            limit: self.settings.cluster_partitions_max,
        }
    }

    fn check_request_size(&self, topics: &[NewTopic]) -> Result<(), CreateTopicError> {
        let limit = self.settings.request_partitions_max;
        let mut asked: usize = 0;
        for topic in topics {
            let count = match topic.partitions {
                _ if !topic.assignments.is_empty() => topic.assignments.len(),
                -1 => usize::try_from(self.settings.num_partitions).unwrap_or(0),
                count => usize::try_from(count).unwrap_or(0),
            };
            asked = asked.saturating_add(count);
        }
        match asked > limit {
            true => Err(CreateTopicError::RequestTooLarge { asked, limit }),
            false => Ok(()),
        }
    }

    fn create_topic(
        &self,
        image: &Image,
        topic: &NewTopic,
        room: &mut Room,
        random: u128,
    ) -> Result<(CreatedTopic, Vec<Record>), CreateTopicError> {
        check_new_name(image, &topic.name)?;
        let configs = self.check_configs(image, &topic.configs)?;
        let replicas = self.place(image, topic, random)?;
        check_room(room, replicas.len())?;
        room.present += replicas.len();

        let id = TopicId::from_random(random);
        let layers = self.layers_of_new_topics(image);
        let created = CreatedTopic {
            id,
            partitions: i32::try_from(replicas.len()).expect("bounded by the room"),
            replication_factor: i16::try_from(replicas[0].len()).unwrap_or(i16::MAX),
            configs: layers.resolve_all(Some(&configs)),
        };
        Ok((created, topic_records(id, &topic.name, &configs, &replicas)))
    }

    fn check_configs(
        &self,
        image: &Image,
        configs: &[(String, Option<String>)],
    ) -> Result<Configs, InvalidConfig> {
        let last_of_each: BTreeMap<_, _> = configs.iter().map(|(k, v)| (k, v)).collect();
        let mut checked = Configs::new();
        for (name, value) in last_of_each {
            checked.insert(name.clone(), check_topic_config(name, value.as_deref())?);
        }
        check_conflicts(&checked, &self.layers_of_new_topics(image))?;
        Ok(checked)
    }

    fn place(
        &self,
        image: &Image,
        topic: &NewTopic,
        random: u128,
    ) -> Result<Vec<Vec<NodeId>>, CreateTopicError> {
        if !topic.assignments.is_empty() {
            if topic.partitions != -1 || topic.replication_factor != -1 {
                return Err(CreateTopicError::CountsBesideAssignments);
            }
            return Ok(check_assignments(image, 0, None, &topic.assignments)?);
        }
        let factor = self.check_factor(image, topic)?;
        let partitions = match topic.partitions {
            -1 => self.settings.num_partitions,
            count => count,
        };
        let count = usize::try_from(partitions).unwrap_or(0);
        if count == 0 {
            return Err(CreateTopicError::Partitions(partitions));
        }
        // Before anything of that size is built; the request's bound does not cover automatic creation.
        check_room(&self.room(image), count)?;
        Ok(spread(image, 0, count, factor, random))
    }

    fn check_factor(&self, image: &Image, topic: &NewTopic) -> Result<usize, CreateTopicError> {
        let brokers = image.brokers().len();
        let factor = match topic.replication_factor {
            // Like an internal topic by name, so that Kafka's own defaults work on one broker.
            -1 if is_internal_topic(&topic.name) => {
                let default = self.settings.default_replication_factor;
                default.min(i16::try_from(brokers).unwrap_or(i16::MAX))
            }
            -1 => self.settings.default_replication_factor,
            factor => factor,
        };
        match usize::try_from(factor) {
            Ok(count) if (1..=brokers).contains(&count) => Ok(count),
            _ => Err(CreateTopicError::ReplicationFactor { factor, brokers }),
        }
    }
}

fn check_new_name(image: &Image, name: &str) -> Result<(), CreateTopicError> {
    check_topic_name(name).map_err(CreateTopicError::InvalidName)?;
    if image.topic(name).is_some() {
        return Err(CreateTopicError::Exists(name.to_string()));
    }
    match image.colliding_topic(name) {
        None => Ok(()),
        Some(other) => Err(CreateTopicError::Collides {
            name: name.to_string(),
            other: other.name.to_string(),
        }),
    }
}

/// Checks the configs of a topic against each other, those that come from the layers below among them.
pub(crate) fn check_conflicts(
    configs: &Configs,
    layers: &BrokerLayers<'_>,
) -> Result<(), InvalidConfig> {
    const MIN: &str = "min.compaction.lag.ms";
    const MAX: &str = "max.compaction.lag.ms";
    let value = layers.number(MIN, Some(configs));
    let limit = layers.number(MAX, Some(configs));
    match value > limit {
        true => Err(InvalidConfig::Conflict {
            name: MIN,
            value,
            other: MAX,
            limit,
        }),
        false => Ok(()),
    }
}

fn check_room(room: &Room, asked: usize) -> Result<(), CreateTopicError> {
    if asked > room.limit.saturating_sub(room.present) {
        return Err(CreateTopicError::ClusterFull {
            asked,
            present: room.present,
            limit: room.limit,
        });
    }
    Ok(())
}

fn topic_records(
    id: TopicId,
    name: &str,
    configs: &Configs,
    replicas: &[Vec<NodeId>],
) -> Vec<Record> {
    let mut records = Vec::with_capacity(1 + configs.len() + replicas.len());
    let topic = TopicRecord {
        name: name.to_string(),
        topic_id: id.0.to_vec(),
    };
    records.push(topic.into());
    for (index, replicas) in (0..).zip(replicas) {
        records.push(partition_record(id, index, &new_partition(replicas)).into());
    }
    for (key, value) in configs {
        let config = ConfigRecord {
            resource_type: i32::from(ConfigResource::Topic.code()),
            resource_name: name.to_string(),
            key: key.clone(),
            value: Some(value.clone()),
        };
        records.push(config.into());
    }
    records
}
