//! A cluster: its metadata, and one connection per broker and purpose.
//!
//! Connections are made when first needed and made anew when they have ended. A broker answers the requests of one
//! connection in order, so a Fetch that waits for data would hold up everything behind it: each [`Purpose`] has a
//! connection of its own.

mod attempts;
mod metadata;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use millstream_protocol::ApiKey;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::{MetadataRequest, MetadataResponse};

pub use attempts::Attempts;
pub use metadata::{Metadata, Node, PartitionMetadata, TopicMetadata, TopicPartition, TopicUuid};

use crate::backoff::{Backoff, Dice};
use crate::connection::{Connection, ConnectionConfig};
use crate::error::{BrokerCode, ClientError};

/// How a cluster is reached.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// Addresses (`HOST:PORT`) of some brokers; one that answers is enough.
    pub bootstrap: Vec<String>,
    /// Bounds of each connection.
    pub connection: ConnectionConfig,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// Longest time that lookups and admin requests are retried.
    pub deadline: Duration,
    /// Whether asking for an unknown topic may create it, where the broker allows that.
    pub allow_auto_topic_creation: bool,
}

impl ClusterConfig {
    /// The defaults, for a cluster at these addresses (several may be separated by commas).
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap
                .split(',')
                .map(|address| address.trim().to_owned())
                .filter(|address| !address.is_empty())
                .collect(),
            connection: ConnectionConfig::default(),
            backoff: Backoff::default(),
            deadline: Duration::from_secs(60),
            allow_auto_topic_creation: true,
        }
    }
}

/// What a connection is used for; each has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Short requests: metadata, admin, offsets.
    General,
    /// Produce.
    Produce,
    /// Fetch, which may wait for data.
    Fetch,
}

/// A handle to a cluster; clones share metadata and connections.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

type Slot = Arc<tokio::sync::Mutex<Option<Connection>>>;

#[derive(Debug)]
struct Inner {
    config: ClusterConfig,
    metadata: RwLock<Arc<Metadata>>,
    connections: Mutex<HashMap<(i32, Purpose), Slot>>,
    // An asynchronous lock, held while connecting: whoever comes meanwhile waits for the same connection.
    // Used until the first metadata names the brokers, and when none of those can be reached.
    bootstrap: tokio::sync::Mutex<Option<Connection>>,
    dice: Mutex<Dice>,
}

impl Cluster {
    /// Connects to one of the bootstrap addresses and learns the brokers.
    pub async fn connect(config: ClusterConfig) -> Result<Self, ClientError> {
        for address in &config.bootstrap {
            check_address(address)?;
        }
        let cluster = Self {
            inner: Arc::new(Inner {
                config,
                metadata: RwLock::new(Arc::new(Metadata::default())),
                connections: Mutex::new(HashMap::new()),
                bootstrap: tokio::sync::Mutex::new(None),
                dice: Mutex::new(Dice::from_entropy()),
            }),
        };
        cluster.refresh(&[]).await?;
        Ok(cluster)
    }

    /// The settings it was made with.
    pub fn config(&self) -> &ClusterConfig {
        &self.inner.config
    }

    /// What is known now, without asking.
    pub fn metadata(&self) -> Arc<Metadata> {
        let metadata = self.inner.metadata.read();
        Arc::clone(&metadata.unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for the brokers and these topics (none: brokers only), once.
    pub async fn refresh(&self, topics: &[&str]) -> Result<Arc<Metadata>, ClientError> {
        self.ask_metadata(Some(topics), self.inner.config.allow_auto_topic_creation)
            .await
    }

    /// Asks for all topics.
    pub async fn refresh_all(&self) -> Result<Arc<Metadata>, ClientError> {
        self.ask_metadata(None, false).await
    }

    /// Asks for these topics without ever creating them.
    pub async fn look_up(&self, topics: &[&str]) -> Result<Arc<Metadata>, ClientError> {
        self.ask_metadata(Some(topics), false).await
    }

    async fn ask_metadata(
        &self,
        topics: Option<&[&str]>,
        create: bool,
    ) -> Result<Arc<Metadata>, ClientError> {
        let connection = self.any().await?;
        let version = connection.version_of(ApiKey::Metadata, i16::MAX)?;
        let named = |name: &&str| MetadataRequestTopic {
            name: Some(Cow::Owned((*name).to_owned())),
            ..Default::default()
        };
        let request = MetadataRequest {
            topics: topics.map(|topics| topics.iter().map(named).collect()),
            // Before version 4 the field is not there and asking always creates.
            allow_auto_topic_creation: create || version < 4,
            ..Default::default()
        };
        let answer = connection
            .submit(&request, version, Duration::ZERO)
            .await?
            .await?;
        let response: MetadataResponse<'_> = answer.decode()?;
        if let Some(code) = BrokerCode::of(response.error_code) {
            return Err(ClientError::Broker {
                what: "metadata".to_owned(),
                code,
                message: None,
            });
        }
        let mut metadata = self
            .inner
            .metadata
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *metadata = Arc::new(metadata.with(&response));
        Ok(Arc::clone(&metadata))
    }

    /// A topic, from memory or by asking until it is known or the deadline has passed. Unknown topics are an error at
    /// once unless asking creates them.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        if let Some(topic) = self.metadata().topic(name) {
            return Ok(Arc::clone(topic));
        }
        let mut attempts = self.attempts(format!("find topic `{name}`"));
        loop {
            match self.find_topic(name).await {
                Ok(topic) => return Ok(topic),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    async fn find_topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        let metadata = self.refresh(&[name]).await?;
        if let Some(topic) = metadata.topic(name) {
            return Ok(Arc::clone(topic));
        }
        let unknown = ErrorCode::UnknownTopicOrPartition;
        let creating = self.inner.config.allow_auto_topic_creation;
        match metadata.error_of(name) {
            Some(code) if code.is(unknown) && !creating => Err(ClientError::UnknownTopic {
                topic: name.to_owned(),
            }),
            code => Err(ClientError::Broker {
                what: format!("find topic `{name}`"),
                code: code.unwrap_or(BrokerCode(unknown.code())),
                message: None,
            }),
        }
    }

    /// Attempts at something until the cluster's deadline.
    pub fn attempts(&self, what: impl Into<String>) -> Attempts<'_> {
        Attempts::new(self, what.into(), self.inner.config.deadline)
    }

    fn wait_after(&self, failures: u32) -> Duration {
        let mut dice = self
            .inner
            .dice
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.inner.config.backoff.after(failures, dice.roll())
    }

    /// A connection to this broker.
    pub async fn connection(
        &self,
        node_id: i32,
        purpose: Purpose,
    ) -> Result<Connection, ClientError> {
        let metadata = self.metadata();
        let Some(node) = metadata.nodes.get(&node_id) else {
            return Err(ClientError::UnknownNode { node_id });
        };
        let address = node.address();
        let slot = {
            let mut slots = self
                .inner
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            Arc::clone(slots.entry((node_id, purpose)).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(open) = slot.as_ref()
            && open.is_open()
            && open.address() == address
        {
            return Ok(open.clone());
        }
        let connection = Connection::open(&address, &self.inner.config.connection).await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A connection to the leader of a partition, with the leader's epoch.
    pub async fn leader(
        &self,
        partition: &TopicPartition,
        purpose: Purpose,
    ) -> Result<(Connection, i32), ClientError> {
        let topic = self.topic(&partition.topic).await?;
        let Some(described) = topic.partition(partition.partition) else {
            return Err(ClientError::UnknownPartition {
                topic: partition.topic.to_string(),
                partition: partition.partition,
                count: topic.partitions.len(),
            });
        };
        let Some(leader) = described.leader else {
            return Err(ClientError::NoLeader {
                topic: partition.topic.to_string(),
                partition: partition.partition,
            });
        };
        let connection = self.connection(leader, purpose).await?;
        Ok((connection, described.leader_epoch))
    }

    /// A connection to any broker, known ones first.
    pub async fn any(&self) -> Result<Connection, ClientError> {
        let nodes: Vec<i32> = self.metadata().nodes.keys().copied().collect();
        let mut last = None;
        for node in nodes {
            match self.connection(node, Purpose::General).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = Some(error),
            }
        }
        self.bootstrap(last).await
    }

    async fn bootstrap(&self, mut last: Option<ClientError>) -> Result<Connection, ClientError> {
        let mut slot = self.inner.bootstrap.lock().await;
        if let Some(open) = slot.as_ref()
            && open.is_open()
        {
            return Ok(open.clone());
        }
        for address in &self.inner.config.bootstrap {
            match Connection::open(address, &self.inner.config.connection).await {
                Ok(connection) => {
                    *slot = Some(connection.clone());
                    return Ok(connection);
                }
                Err(error) => last = Some(error.into()),
            }
        }
        let addresses = self.inner.config.bootstrap.join(", ");
        let none = ClientError::BadAddress {
            address: addresses.clone(),
        };
        Err(ClientError::NoBroker {
            addresses,
            last: Box::new(last.unwrap_or(none)),
        })
    }
}

fn check_address(address: &str) -> Result<(), ClientError> {
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(_)) => Ok(()),
        _ => Err(ClientError::BadAddress {
            address: address.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anything_is_tried() {
        assert!(check_address("127.0.0.1:9092").is_ok());
        assert!(check_address("[::1]:9092").is_ok());
        for bad in ["", "localhost", "localhost:", "localhost:99999", "a:b"] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn several_addresses_are_separated_by_commas() {
        let config = ClusterConfig::new("a:1, b:2,,");
        assert_eq!(config.bootstrap, ["a:1", "b:2"]);
    }
}
