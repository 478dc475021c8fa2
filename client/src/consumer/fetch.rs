//! One Fetch: the request for a broker's partitions, and its answer by partition.
//!
//! Without sessions: each request lists its partitions. From version 13 topics go by their ids, from version 12 the epoch
//! of the last record read goes along, so that the broker says where the logs part (KIP-320, KIP-595).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use millstream_protocol::ApiKey;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::fetch_response::PartitionData;
use millstream_protocol::messages::{FetchRequest, FetchResponse};

use super::assignment::{Ask, FetchedPartition};
use super::config::ConsumerConfig;
use crate::cluster::{Cluster, Metadata, Purpose, TopicPartition, TopicUuid};
use crate::error::{BrokerCode, ClientError};

/// The last version that names topics instead of giving their ids.
const LAST_VERSION_WITH_NAMES: i16 = 12;
/// From here on the epoch of the last record read goes along.
const FIRST_VERSION_WITH_LAST_EPOCH: i16 = 12;

pub(crate) type Fetched = BTreeMap<TopicPartition, FetchedPartition>;

/// Asks one broker.
pub(crate) async fn fetch(
    cluster: &Cluster,
    node: i32,
    asks: &[Ask],
    config: &ConsumerConfig,
) -> Result<Fetched, ClientError> {
    let connection = cluster.connection(node, Purpose::Fetch).await?;
    let metadata = cluster.metadata();
    let id_of = |target: &TopicPartition| metadata.topic(&target.topic).map(|topic| topic.id);
    let has_ids = asks
        .iter()
        .all(|ask| id_of(&ask.target).is_some_and(|id| id != TopicUuid::default()));
    let at_most = if has_ids {
        i16::MAX
    } else {
        LAST_VERSION_WITH_NAMES
    };
    let version = connection.version_of(ApiKey::Fetch, at_most)?;
    let request = FetchRequest {
        max_wait_ms: config.fetch_wait_max.as_millis() as i32,
        min_bytes: config.fetch_bytes_min,
        max_bytes: config.fetch_bytes_max,
        isolation_level: config.isolation.code(),
        topics: group(asks, &metadata, version, config.partition_bytes_max),
        ..Default::default()
    };
    let wait = config.fetch_wait_max + Duration::from_secs(1);
    let answer = connection.submit(&request, version, wait).await?.await?;
    let response: FetchResponse<'_> = answer.decode()?;
    if let Some(code) = BrokerCode::of(response.error_code) {
        return Err(ClientError::Broker {
            what: format!("fetch from broker {node}"),
            code,
            message: None,
        });
    }
    let mut fetched = Fetched::new();
    for topic in response.responses {
        let name = if version > LAST_VERSION_WITH_NAMES {
            metadata.name_of(&topic.topic_id).cloned()
        } else {
            Some((&*topic.topic).into())
        };
        let Some(name) = name else {
            continue;
        };
        for partition in topic.partitions {
            let target = TopicPartition::new(name.clone(), partition.partition_index);
            fetched.insert(target, read(partition));
        }
    }
    Ok(fetched)
}

fn group<'a>(
    asks: &'a [Ask],
    metadata: &Metadata,
    version: i16,
    partition_bytes_max: i32,
) -> Vec<FetchTopic<'a>> {
    let mut topics: Vec<FetchTopic<'a>> = Vec::new();
    for ask in asks {
        let partition = FetchPartition {
            partition: ask.target.partition,
            current_leader_epoch: ask.leader_epoch,
            fetch_offset: ask.offset,
            last_fetched_epoch: if version >= FIRST_VERSION_WITH_LAST_EPOCH {
                ask.last_epoch
            } else {
                -1
            },
            partition_max_bytes: partition_bytes_max,
            ..Default::default()
        };
        let name = &*ask.target.topic;
        match topics.iter_mut().find(|topic| topic.topic == *name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(FetchTopic {
                topic: Cow::Borrowed(name),
                topic_id: metadata.topic(name).map_or([0; 16], |topic| topic.id),
                partitions: vec![partition],
            }),
        }
    }
    topics
}

fn read(partition: PartitionData) -> FetchedPartition {
    let diverging = &partition.diverging_epoch;
    FetchedPartition {
        code: partition.error_code,
        high_watermark: partition.high_watermark,
        diverging: (diverging.end_offset >= 0).then_some((diverging.epoch, diverging.end_offset)),
        aborted: partition
            .aborted_transactions
            .unwrap_or_default()
            .iter()
            .map(|aborted| (aborted.producer_id, aborted.first_offset))
            .collect(),
        records: partition
            .records
            .map_or_else(Bytes::new, |records| records.to_bytes()),
    }
}
