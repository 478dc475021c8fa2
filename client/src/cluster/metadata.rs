//! What this client knows of the cluster: brokers, topics, leaders. Immutable; a refresh makes a new one.
//!
//! Answers can come late and from brokers that lag behind. A partition's leader is therefore replaced only by one of the
//! same or a newer leader epoch, unless the topic was made anew (its id differs).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::MetadataResponse;
use millstream_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};

use crate::error::BrokerCode;

/// The 16 bytes of a topic id; all zero where the broker has none.
pub type TopicUuid = [u8; 16];

/// A partition by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// A partition of a topic.
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl std::fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}

/// A broker's id and address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// The broker's id.
    pub id: i32,
    /// Host it advertises.
    pub host: String,
    /// Port it advertises.
    pub port: i32,
    /// Rack, where it has one.
    pub rack: Option<String>,
}

impl Node {
    /// `HOST:PORT`.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// One partition as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionMetadata {
    /// The partition's number.
    pub index: i32,
    /// The leader's node id, if there is a leader.
    pub leader: Option<i32>,
    /// The leader's epoch, −1 where the broker does not tell.
    pub leader_epoch: i32,
    /// Nodes that hold the partition.
    pub replicas: Vec<i32>,
    /// Nodes of these that are in sync.
    pub in_sync_replicas: Vec<i32>,
    /// The broker's error for this partition.
    pub error: Option<BrokerCode>,
}

/// One topic as the cluster describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicMetadata {
    /// The topic's name.
    pub name: Arc<str>,
    /// The topic's id.
    pub id: TopicUuid,
    /// Whether it belongs to the broker itself.
    pub is_internal: bool,
    /// Partitions in the order of their numbers.
    pub partitions: Vec<PartitionMetadata>,
}

impl TopicMetadata {
    /// The partition with this number.
    pub fn partition(&self, index: i32) -> Option<&PartitionMetadata> {
        let at = usize::try_from(index).ok()?;
        self.partitions.get(at).filter(|p| p.index == index)
    }
}

/// The cluster at one moment.
#[derive(Debug, Clone, Default)]
pub struct Metadata {
    /// The cluster's id.
    pub cluster_id: Option<String>,
    /// The node that answers for the controller, −1 if none.
    pub controller_id: i32,
    /// Brokers by id.
    pub nodes: BTreeMap<i32, Node>,
    topics: BTreeMap<Arc<str>, Arc<TopicMetadata>>,
    names: HashMap<TopicUuid, Arc<str>>,
    errors: HashMap<Arc<str>, BrokerCode>,
}

impl Metadata {
    /// The topic with this name, if it is known to exist.
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicMetadata>> {
        self.topics.get(name)
    }

    /// Topics by name.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<TopicMetadata>> {
        self.topics.values()
    }

    /// The name of the topic with this id.
    pub fn name_of(&self, id: &TopicUuid) -> Option<&Arc<str>> {
        self.names.get(id)
    }

    /// Why the topic could not be described when it was last asked for.
    pub fn error_of(&self, name: &str) -> Option<BrokerCode> {
        self.errors.get(name).copied()
    }

    /// Node id and epoch of the leader.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, i32)> {
        let partition = self.topic(topic)?.partition(partition)?;
        Some((partition.leader?, partition.leader_epoch))
    }

    /// The image after an answer. What the answer does not speak of stays.
    pub fn with(&self, response: &MetadataResponse<'_>) -> Self {
        let mut next = self.clone();
        next.cluster_id = response.cluster_id.as_deref().map(str::to_owned);
        next.controller_id = response.controller_id;
        next.nodes = response
            .brokers
            .iter()
            .map(|broker| {
                let node = Node {
                    id: broker.node_id,
                    host: broker.host.to_string(),
                    port: broker.port,
                    rack: broker.rack.as_deref().map(str::to_owned),
                };
                (node.id, node)
            })
            .collect();
        for topic in &response.topics {
            next.take_topic(topic);
        }
        next
    }

    fn take_topic(&mut self, topic: &MetadataResponseTopic<'_>) {
        let Some(name) = topic.name.as_deref() else {
            return;
        };
        let name: Arc<str> = match self.topics.get_key_value(name) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(name),
        };
        if let Some(code) = BrokerCode::of(topic.error_code) {
            if code.is(ErrorCode::UnknownTopicOrPartition)
                && let Some(gone) = self.topics.remove(&name)
            {
                self.names.remove(&gone.id);
            }
            self.errors.insert(name, code);
            return;
        }
        self.errors.remove(&name);
        let old = self.topics.get(&name);
        let old = old.filter(|old| old.id == topic.topic_id);
        let mut partitions: Vec<PartitionMetadata> = topic
            .partitions
            .iter()
            .map(|partition| {
                newer_of(
                    old.and_then(|old| old.partition(partition.partition_index)),
                    partition,
                )
            })
            .collect();
        partitions.sort_by_key(|partition| partition.index);
        if let Some(replaced) = self.topics.get(&name)
            && replaced.id != topic.topic_id
        {
            self.names.remove(&replaced.id);
        }
        if topic.topic_id != TopicUuid::default() {
            self.names.insert(topic.topic_id, Arc::clone(&name));
        }
        let described = TopicMetadata {
            name: Arc::clone(&name),
            id: topic.topic_id,
            is_internal: topic.is_internal,
            partitions,
        };
        self.topics.insert(name, Arc::new(described));
    }
}

fn newer_of(old: Option<&PartitionMetadata>, new: &MetadataResponsePartition) -> PartitionMetadata {
    if let Some(old) = old
        && new.leader_epoch >= 0
        && new.leader_epoch < old.leader_epoch
    {
        return old.clone();
    }
    PartitionMetadata {
        index: new.partition_index,
        leader: (new.leader_id >= 0).then_some(new.leader_id),
        leader_epoch: new.leader_epoch,
        replicas: new.replica_nodes.clone(),
        in_sync_replicas: new.isr_nodes.clone(),
        error: BrokerCode::of(new.error_code),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_protocol::messages::metadata_response::MetadataResponseBroker;

    fn answer(id: u8, leaders: &[(i32, i32)]) -> MetadataResponse<'static> {
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: 1,
                host: "localhost".into(),
                port: 9092,
                ..Default::default()
            }],
            topics: vec![MetadataResponseTopic {
                name: Some("t".into()),
                topic_id: [id; 16],
                partitions: leaders
                    .iter()
                    .enumerate()
                    .map(|(index, &(leader, epoch))| MetadataResponsePartition {
                        partition_index: index as i32,
                        leader_id: leader,
                        leader_epoch: epoch,
                        ..Default::default()
                    })
                    .collect(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn an_older_leader_epoch_does_not_replace_a_newer_one() {
        let image = Metadata::default().with(&answer(1, &[(1, 5), (2, 3)]));
        let image = image.with(&answer(1, &[(9, 4), (7, 4)]));
        assert_eq!(image.leader("t", 0), Some((1, 5)));
        assert_eq!(image.leader("t", 1), Some((7, 4)));
    }

    #[test]
    fn a_topic_made_anew_starts_with_its_own_epochs() {
        let image = Metadata::default().with(&answer(1, &[(1, 5)]));
        let image = image.with(&answer(2, &[(3, 0)]));
        assert_eq!(image.leader("t", 0), Some((3, 0)));
        assert_eq!(image.name_of(&[1; 16]), None);
        assert_eq!(image.name_of(&[2; 16]).map(|n| &**n), Some("t"));
    }

    #[test]
    fn an_unknown_topic_is_forgotten_and_the_reason_kept() {
        let image = Metadata::default().with(&answer(1, &[(1, 5)]));
        let mut gone = answer(0, &[]);
        gone.topics[0].error_code = ErrorCode::UnknownTopicOrPartition.code();
        let image = image.with(&gone);
        assert!(image.topic("t").is_none());
        assert!(
            image
                .error_of("t")
                .unwrap()
                .is(ErrorCode::UnknownTopicOrPartition)
        );
    }

    #[test]
    fn a_partition_without_leader_says_so() {
        let image = Metadata::default().with(&answer(1, &[(-1, 5)]));
        assert_eq!(image.leader("t", 0), None);
        assert_eq!(image.nodes[&1].address(), "localhost:9092");
    }
}
