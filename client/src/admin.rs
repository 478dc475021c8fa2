//! Topics, offsets and the cluster itself: what an administrator asks for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millstream_protocol::messages::delete_topics_request::DeleteTopicState;
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::cluster::{Cluster, Metadata, TopicMetadata, TopicPartition, TopicUuid};
use crate::error::{BrokerCode, ClientError};
use crate::offsets::{Isolation, ListedOffset, OffsetSpec, list_offsets};

/// From here on DeleteTopics takes names or ids.
const DELETE_BY_STATE: i16 = 6;
/// How long a broker may work on a change.
const BROKER_TIMEOUT: Duration = Duration::from_secs(30);

/// A topic to be made.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; none is the broker's default.
    pub partitions: Option<i32>,
    /// How many replicas each; none is the broker's default.
    pub replication_factor: Option<i16>,
    /// Settings that differ from the defaults.
    pub config: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic with the broker's defaults.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: None,
            replication_factor: None,
            config: BTreeMap::new(),
        }
    }
}

/// A topic that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreatedTopic {
    /// Its id, where the broker tells.
    pub id: Option<TopicUuid>,
    /// Its partitions, where the broker tells.
    pub partitions: Option<i32>,
    /// Its replication factor, where the broker tells.
    pub replication_factor: Option<i16>,
}

/// Asks for changes and descriptions; cheap to make and to clone.
#[derive(Debug, Clone)]
pub struct Admin {
    cluster: Cluster,
}

impl Admin {
    /// An administrator of this cluster.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Makes a topic, or with `validate_only` says whether it could be made.
    pub async fn create_topic(
        &self,
        topic: &NewTopic,
        validate_only: bool,
    ) -> Result<CreatedTopic, ClientError> {
        let mut attempts = self
            .cluster
            .attempts(format!("create topic `{}`", topic.name));
        loop {
            let created = self.create_once(topic, validate_only, attempts.what());
            match created.await {
                Ok(created) => return Ok(created),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    async fn create_once(
        &self,
        topic: &NewTopic,
        validate_only: bool,
        what: &str,
    ) -> Result<CreatedTopic, ClientError> {
        let configs = topic
            .config
            .iter()
            .map(|(name, value)| CreatableTopicConfig {
                name: Cow::Borrowed(name),
                value: Some(Cow::Borrowed(value)),
            });
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: Cow::Borrowed(&topic.name),
                num_partitions: topic.partitions.unwrap_or(-1),
                replication_factor: topic.replication_factor.unwrap_or(-1),
                assignments: Vec::new(),
                configs: configs.collect(),
            }],
            timeout_ms: BROKER_TIMEOUT.as_millis() as i32,
            validate_only,
        };
        let connection = self.cluster.any().await?;
        let version = connection.version_of(ApiKey::CreateTopics, i16::MAX)?;
        let pending = connection.submit(&request, version, BROKER_TIMEOUT).await?;
        let answer = pending.await?;
        let response: CreateTopicsResponse<'_> = answer.decode()?;
        let Some(result) = response
            .topics
            .iter()
            .find(|result| result.name == topic.name)
        else {
            return Err(ClientError::IncompleteAnswer {
                what: format!("the result for topic `{}`", topic.name),
            });
        };
        check(result.error_code, what, result.error_message.as_deref())?;
        Ok(CreatedTopic {
            id: (result.topic_id != TopicUuid::default()).then_some(result.topic_id),
            partitions: (result.num_partitions >= 0).then_some(result.num_partitions),
            replication_factor: (result.replication_factor >= 0)
                .then_some(result.replication_factor),
        })
    }

    /// Deletes a topic and all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ClientError> {
        let what = format!("delete topic `{name}`");
        let connection = self.cluster.any().await?;
        let version = connection.version_of(ApiKey::DeleteTopics, i16::MAX)?;
        let by_state = version >= DELETE_BY_STATE;
        let request = DeleteTopicsRequest {
            topics: if by_state {
                vec![DeleteTopicState {
                    name: Some(Cow::Borrowed(name)),
                    ..Default::default()
                }]
            } else {
                Vec::new()
            },
            topic_names: if by_state {
                Vec::new()
            } else {
                vec![Cow::Borrowed(name)]
            },
            timeout_ms: BROKER_TIMEOUT.as_millis() as i32,
        };
        let pending = connection.submit(&request, version, BROKER_TIMEOUT).await?;
        let answer = pending.await?;
        let response: DeleteTopicsResponse<'_> = answer.decode()?;
        let Some(result) = response.responses.first() else {
            return Err(ClientError::IncompleteAnswer {
                what: format!("the result for topic `{name}`"),
            });
        };
        if result.error_code == ErrorCode::UnknownTopicOrPartition.code() {
            return Err(ClientError::UnknownTopic {
                topic: name.to_owned(),
            });
        }
        check(result.error_code, &what, result.error_message.as_deref())
    }

    /// All topics; internal ones are marked.
    pub async fn list_topics(&self) -> Result<Vec<Arc<TopicMetadata>>, ClientError> {
        let mut attempts = self.cluster.attempts("list topics");
        loop {
            match self.cluster.refresh_all().await {
                Ok(metadata) => return Ok(metadata.topics().cloned().collect()),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// One topic, asked for anew and never created by asking.
    pub async fn describe_topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ClientError> {
        let mut attempts = self.cluster.attempts(format!("describe topic `{name}`"));
        loop {
            match self.describe_once(name, attempts.what()).await {
                Ok(topic) => return Ok(topic),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    async fn describe_once(
        &self,
        name: &str,
        what: &str,
    ) -> Result<Arc<TopicMetadata>, ClientError> {
        let metadata = self.cluster.look_up(&[name]).await?;
        if let Some(topic) = metadata.topic(name) {
            return Ok(Arc::clone(topic));
        }
        match metadata.error_of(name) {
            Some(code) if !code.is(ErrorCode::UnknownTopicOrPartition) => {
                Err(ClientError::Broker {
                    what: what.to_owned(),
                    code,
                    message: None,
                })
            }
            _ => Err(ClientError::UnknownTopic {
                topic: name.to_owned(),
            }),
        }
    }

    /// Offsets of partitions by place or time.
    pub async fn list_offsets(
        &self,
        wanted: &BTreeMap<TopicPartition, OffsetSpec>,
        isolation: Isolation,
    ) -> Result<BTreeMap<TopicPartition, ListedOffset>, ClientError> {
        list_offsets(&self.cluster, wanted, isolation).await
    }

    /// The cluster: its id, its brokers, the node that answers for the controller.
    pub async fn describe_cluster(&self) -> Result<Arc<Metadata>, ClientError> {
        let mut attempts = self.cluster.attempts("describe the cluster");
        loop {
            match self.cluster.look_up(&[]).await {
                Ok(metadata) => return Ok(metadata),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }
}

fn check(code: i16, what: &str, message: Option<&str>) -> Result<(), ClientError> {
    match BrokerCode::of(code) {
        None => Ok(()),
        Some(code) => Err(ClientError::Broker {
            what: what.to_owned(),
            code,
            message: message.map(str::to_owned),
        }),
    }
}
