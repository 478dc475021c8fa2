//! The cluster's metadata at one moment: immutable, shared behind `Arc`s, replaced whole.
//!
//! [`Image::apply`] is the only way to a new image, at start-up and afterwards alike; it also answers
//! a [`Delta`] that tells subscribers what to look at. Readers hold one image and never see half a
//! change. A clone is a handful of reference counts; a change copies the index of topics (a pointer
//! per topic) and the topics it touches.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_model::{BrokerEpoch, DirectoryId, LeaderEpoch, NodeId, TopicId};

use crate::client_quotas;
use crate::delta::Delta;
use crate::features;
use crate::quota_entity::{QuotaEntity, Quotas};
use crate::record::{BrokerStartRecord, ConfigRecord, ProducerIdsRecord};
use crate::record::{ClusterRecord, PartitionRecord, Record, TopicRecord};
use crate::resource::ConfigResource;
use crate::scram::{self, ScramCredential, ScramMechanism, ScramUsers};

/// Overrides of one resource, by config name.
pub type Configs = BTreeMap<String, String>;

/// One partition of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    /// The broker that serves it.
    pub leader: NodeId,
    /// Counts its leaders; every start of the leader is a new one.
    pub leader_epoch: LeaderEpoch,
    /// Brokers that hold it, the preferred leader first.
    pub replicas: Arc<[NodeId]>,
    /// The replicas that hold all that was acknowledged.
    pub isr: Arc<[NodeId]>,
    /// Counts its changes.
    pub partition_epoch: i32,
    /// The log directories that hold it, in the order of the replicas. Empty: nobody has said.
    pub directories: Arc<[DirectoryId]>,
}

impl PartitionImage {
    /// The log directory that holds a broker's replica; [`DirectoryId::UNASSIGNED`] where nobody has said.
    /// `None`: the broker holds none.
    #[must_use]
    pub fn directory_of(&self, node: NodeId) -> Option<DirectoryId> {
        let replica = self.replicas.iter().position(|replica| *replica == node)?;
        let directory = self.directories.get(replica).copied();
        Some(directory.unwrap_or(DirectoryId::UNASSIGNED))
    }
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Its partitions, by index.
    pub partitions: Vec<PartitionImage>,
    /// Its own configs, without defaults.
    pub configs: Configs,
}

impl TopicImage {
    /// Whether brokers alone write to it.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        is_internal_topic(&self.name)
    }

    /// The partition of this index.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&PartitionImage> {
        self.partitions.get(usize::try_from(index).ok()?)
    }

    /// The number of partitions.
    #[must_use]
    pub fn partition_count(&self) -> i32 {
        i32::try_from(self.partitions.len()).expect("replay bounds the partitions of a topic")
    }
}

/// Where committed group offsets live.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// Where transactions live.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";
/// Where the state of share groups lives.
pub const SHARE_STATE_TOPIC: &str = "__share_group_state";

/// Whether only brokers write to a topic of this name.
#[must_use]
pub fn is_internal_topic(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | TRANSACTIONS_TOPIC | SHARE_STATE_TOPIC)
}

/// All topics, found by id, by name, or by a name that would collide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Topics {
    by_id: BTreeMap<TopicId, Arc<TopicImage>>,
    by_name: BTreeMap<Arc<str>, TopicId>,
    /// Names with `.` or `_`, the dots made underscores. Others collide with nothing.
    by_folded_name: BTreeMap<String, TopicId>,
    partition_count: usize,
}

/// The name with which a colliding one is the same; none for a name that cannot collide.
fn folded_name(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

/// The cluster's metadata at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    cluster_id: Option<Arc<str>>,
    topics: Arc<Topics>,
    brokers: Arc<BTreeMap<NodeId, BrokerEpoch>>,
    /// Configs of what is no topic, by kind and name. No resource stands there without configs.
    configs: Arc<BTreeMap<ConfigResource, BTreeMap<String, Configs>>>,
    next_producer_id: i64,
    /// Levels that were set, by feature.
    pub(crate) features: Arc<BTreeMap<&'static str, i16>>,
    scram_users: Arc<ScramUsers>,
    client_quotas: Arc<BTreeMap<QuotaEntity, Quotas>>,
}

/// Why a record contradicts the image: the log is damaged, or this is a bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata record {record:?} cannot be applied: {reason}")]
pub struct ReplayError {
    /// The record.
    pub record: Box<Record>,
    /// What it contradicts.
    pub reason: String,
}

/// Partitions a topic may have at most, whatever is configured; it bounds what replay allocates.
pub const TOPIC_PARTITIONS_MAX: usize = 1_000_000;

impl Image {
    /// The cluster's id, once its first record is applied.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        let id = self.topics.by_name.get(name)?;
        self.topic_by_id(*id)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicImage>> {
        self.topics.by_id.get(&id)
    }

    /// Another topic whose name differs from `name` in `.` and `_` only.
    #[must_use]
    pub fn colliding_topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        let id = self.topics.by_folded_name.get(&folded_name(name)?)?;
        self.topic_by_id(*id).filter(|topic| &*topic.name != name)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<TopicImage>> {
        self.topics
            .by_name
            .values()
            .map(|id| &self.topics.by_id[id])
    }

    /// The partitions of all topics together.
    #[must_use]
    pub fn partition_count(&self) -> usize {
        self.topics.partition_count
    }

    /// The brokers with the epoch of their last start.
    #[must_use]
    pub fn brokers(&self) -> &BTreeMap<NodeId, BrokerEpoch> {
        &self.brokers
    }

    /// Dynamic configs of a broker; of the empty name: of all brokers.
    #[must_use]
    pub fn broker_configs(&self, name: &str) -> Option<&Configs> {
        self.configs(ConfigResource::Broker, name)
    }

    /// Dynamic configs of a resource of any kind but topics.
    #[must_use]
    pub fn configs(&self, resource: ConfigResource, name: &str) -> Option<&Configs> {
        self.configs.get(&resource)?.get(name)
    }

    /// Names of the resources of a kind, other than topics, that have dynamic configs.
    #[must_use]
    pub fn config_names(&self, resource: ConfigResource) -> impl ExactSizeIterator<Item = &str> {
        static NONE: BTreeMap<String, Configs> = BTreeMap::new();
        let named = self.configs.get(&resource).unwrap_or(&NONE);
        named.keys().map(String::as_str)
    }

    /// The first producer id that has not been handed out.
    #[must_use]
    pub fn next_producer_id(&self) -> i64 {
        self.next_producer_id
    }

    /// The users that have credentials, by name.
    pub fn scram_users(&self) -> impl ExactSizeIterator<Item = &str> {
        self.scram_users.keys().map(String::as_str)
    }

    /// A user's credentials; `None` where it has none.
    #[must_use]
    pub fn scram_credentials(
        &self,
        user: &str,
    ) -> Option<&BTreeMap<ScramMechanism, ScramCredential>> {
        self.scram_users.get(user)
    }

    /// The quotas that are stored, by whom they are for.
    #[must_use]
    pub fn client_quotas(&self) -> &BTreeMap<QuotaEntity, Quotas> {
        &self.client_quotas
    }

    /// The image after `records`, and what they changed. *Errors*: the first record that does not
    /// fit; nothing of the list is applied then.
    pub fn apply(&self, records: &[Record]) -> Result<(Image, Delta), ReplayError> {
        let mut image = self.clone();
        let mut delta = Delta::default();
        for record in records {
            image
                .replay(record, &mut delta)
                .map_err(|reason| ReplayError {
                    record: Box::new(record.clone()),
                    reason,
                })?;
        }
        delta.fill_from(&image);
        Ok((image, delta))
    }

    fn replay(&mut self, record: &Record, delta: &mut Delta) -> Result<(), String> {
        match record {
            Record::Cluster(record) => self.replay_cluster(record),
            Record::Topic(record) => self.replay_topic(record, delta),
            Record::Partition(record) => self.replay_partition(record, delta),
            Record::RemoveTopic(record) => self.replay_remove_topic(&record.topic_id, delta),
            Record::Config(record) => self.replay_config(record, delta),
            Record::BrokerStart(record) => self.replay_broker_start(record, delta),
            Record::ProducerIds(record) => self.replay_producer_ids(record),
            Record::Feature(record) => features::replay(Arc::make_mut(&mut self.features), record),
            Record::ScramCredential(record) => {
                scram::replay(Arc::make_mut(&mut self.scram_users), record)
            }
            Record::ClientQuota(record) => {
                client_quotas::replay(Arc::make_mut(&mut self.client_quotas), record)
            }
        }
    }

    fn replay_cluster(&mut self, record: &ClusterRecord) -> Result<(), String> {
        match &self.cluster_id {
            Some(id) if **id != *record.cluster_id => {
                Err(format!("the cluster's id is {id} already"))
            }
            Some(_) => Ok(()),
            None => {
                self.cluster_id = Some(Arc::from(record.cluster_id.as_str()));
                Ok(())
            }
        }
    }

    fn replay_topic(&mut self, record: &TopicRecord, delta: &mut Delta) -> Result<(), String> {
        millstream_model::check_topic_name(&record.name).map_err(|e| e.to_string())?;
        let id = topic_id(&record.topic_id)?;
        if self.topics.by_id.contains_key(&id) || self.topics.by_name.contains_key(&*record.name) {
            return Err("the topic exists already".into());
        }
        let topic = Arc::new(TopicImage {
            name: Arc::from(record.name.as_str()),
            id,
            partitions: Vec::new(),
            configs: Configs::new(),
        });
        let topics = Arc::make_mut(&mut self.topics);
        topics.by_name.insert(topic.name.clone(), id);
        if let Some(folded) = folded_name(&topic.name) {
            topics.by_folded_name.insert(folded, id);
        }
        delta.created.insert(id, topic.clone());
        topics.by_id.insert(id, topic);
        Ok(())
    }

    fn replay_partition(
        &mut self,
        record: &PartitionRecord,
        delta: &mut Delta,
    ) -> Result<(), String> {
        let id = topic_id(&record.topic_id)?;
        let index = usize::try_from(record.partition).map_err(|_| "negative index".to_string())?;
        if index >= TOPIC_PARTITIONS_MAX {
            return Err(format!(
                "a topic has at most {TOPIC_PARTITIONS_MAX} partitions"
            ));
        }
        if record.replicas.is_empty() {
            return Err("a partition without replicas".into());
        }
        let directories = directories(record)?;
        let topics = Arc::make_mut(&mut self.topics);
        delta.mark_changed(id, &topics.by_id);
        let topic = topics
            .by_id
            .get_mut(&id)
            .ok_or("the topic does not exist")?;
        let topic = Arc::make_mut(topic);
        let partition = PartitionImage {
            leader: NodeId(record.leader),
            leader_epoch: LeaderEpoch(record.leader_epoch),
            replicas: record.replicas.iter().map(|&node| NodeId(node)).collect(),
            isr: record.isr.iter().map(|&node| NodeId(node)).collect(),
            partition_epoch: record.partition_epoch,
            directories,
        };
        let count = topic.partitions.len();
        match topic.partitions.get_mut(index) {
            Some(old) if partition.leader_epoch < old.leader_epoch => {
                Err(format!("the leader epoch is {} already", old.leader_epoch))
            }
            Some(old) => {
                *old = partition;
                Ok(())
            }
            None if index == count => {
                topic.partitions.push(partition);
                topics.partition_count += 1;
                Ok(())
            }
            None => Err(format!("the topic has {count} partitions")),
        }
    }

    fn replay_remove_topic(&mut self, id: &[u8], delta: &mut Delta) -> Result<(), String> {
        let id = topic_id(id)?;
        let topics = Arc::make_mut(&mut self.topics);
        delta.mark_deleted(id, &topics.by_id);
        let topic = topics.by_id.remove(&id).ok_or("the topic does not exist")?;
        topics.by_name.remove(&topic.name);
        topics.partition_count -= topic.partitions.len();
        if let Some(folded) = folded_name(&topic.name) {
            topics.by_folded_name.remove(&folded);
        }
        Ok(())
    }

    fn replay_config(&mut self, record: &ConfigRecord, delta: &mut Delta) -> Result<(), String> {
        match ConfigResource::from_code(record.resource_type) {
            Some(ConfigResource::Topic) => {
                let topics = Arc::make_mut(&mut self.topics);
                let name = record.resource_name.as_str();
                let id = *topics.by_name.get(name).ok_or("the topic does not exist")?;
                delta.mark_changed(id, &topics.by_id);
                let topic = topics.by_id.get_mut(&id).expect("by_name and by_id agree");
                set_config(&mut Arc::make_mut(topic).configs, record);
            }
            Some(
                resource @ (ConfigResource::Broker
                | ConfigResource::ClientMetrics
                | ConfigResource::Group),
            ) => {
                let all = Arc::make_mut(&mut self.configs);
                let named = all.entry(resource).or_default();
                let configs = named.entry(record.resource_name.clone()).or_default();
                set_config(configs, record);
                if configs.is_empty() {
                    named.remove(&record.resource_name);
                }
                if named.is_empty() {
                    all.remove(&resource);
                }
                delta.is_broker_config_changed |= resource == ConfigResource::Broker;
            }
            Some(ConfigResource::BrokerLogger) | None => return Err("unknown resource type".into()),
        }
        Ok(())
    }

    fn replay_broker_start(
        &mut self,
        record: &BrokerStartRecord,
        delta: &mut Delta,
    ) -> Result<(), String> {
        let node = NodeId(record.node_id);
        let epoch = BrokerEpoch(record.broker_epoch);
        if let Some(last) = self.brokers.values().max()
            && epoch <= *last
        {
            return Err(format!("broker epoch {} was used already", last.0));
        }
        Arc::make_mut(&mut self.brokers).insert(node, epoch);
        let topics = Arc::make_mut(&mut self.topics);
        let leads = |topic: &TopicImage| topic.partitions.iter().any(|p| p.leader == node);
        let led: Vec<TopicId> = topics
            .by_id
            .values()
            .filter(|topic| leads(topic))
            .map(|topic| topic.id)
            .collect();
        for id in led {
            delta.mark_changed(id, &topics.by_id);
            let topic = topics.by_id.get_mut(&id).expect("just found there");
            for partition in &mut Arc::make_mut(topic).partitions {
                if partition.leader == node {
                    let next = partition.leader_epoch.0.checked_add(1);
                    partition.leader_epoch = LeaderEpoch(next.ok_or("leader epochs ran out")?);
                    partition.partition_epoch = partition.partition_epoch.saturating_add(1);
                }
            }
        }
        Ok(())
    }

    fn replay_producer_ids(&mut self, record: &ProducerIdsRecord) -> Result<(), String> {
        if record.next_producer_id < self.next_producer_id {
            return Err(format!(
                "producer ids up to {} were handed out already",
                self.next_producer_id
            ));
        }
        self.next_producer_id = record.next_producer_id;
        Ok(())
    }
}

fn directories(record: &PartitionRecord) -> Result<Arc<[DirectoryId]>, String> {
    let (count, replicas) = (record.directories.len(), record.replicas.len());
    if count != 0 && count != replicas {
        return Err(format!("{count} directories for {replicas} replicas"));
    }
    let id = |bytes: &Vec<u8>| match <[u8; 16]>::try_from(&bytes[..]) {
        Ok(id) => Ok(DirectoryId(TopicId(id))),
        Err(_) => Err(format!("a directory id has 16 bytes, not {}", bytes.len())),
    };
    record.directories.iter().map(id).collect()
}

fn topic_id(bytes: &[u8]) -> Result<TopicId, String> {
    match <[u8; 16]>::try_from(bytes).map(TopicId) {
        Ok(id) if !id.is_zero() => Ok(id),
        Ok(_) => Err("the topic id is zero".into()),
        Err(_) => Err(format!("a topic id has 16 bytes, not {}", bytes.len())),
    }
}

fn set_config(configs: &mut Configs, record: &ConfigRecord) {
    match &record.value {
        Some(value) => configs.insert(record.key.clone(), value.clone()),
        None => configs.remove(&record.key),
    };
}
