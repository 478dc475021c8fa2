//! The offsets a group has committed, kept by its coordinator (FindCoordinator, OffsetCommit, OffsetFetch).
//!
//! This is the use without membership: generation −1 and no member id, which a coordinator accepts while the group has
//! no members.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use millstream_protocol::ApiKey;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use millstream_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetFetchRequest, OffsetFetchResponse,
};

use crate::cluster::{Cluster, Purpose, TopicPartition};
use crate::connection::Connection;
use crate::error::{BrokerCode, ClientError};

/// Later versions of OffsetCommit and OffsetFetch give topic ids in place of names.
const LAST_VERSION_WITH_NAMES: i16 = 9;
/// From here on OffsetFetch asks for several groups at once.
const OFFSET_FETCH_BY_GROUPS: i16 = 8;
/// From here on FindCoordinator asks for several keys at once.
const FIND_COORDINATOR_BY_KEYS: i16 = 4;

/// A position that a group has committed, or commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to read.
    pub offset: i64,
    /// Epoch of the leader of the last record read, −1 if unknown.
    pub leader_epoch: i32,
    /// Text kept with it.
    pub metadata: String,
}

impl CommittedOffset {
    /// An offset alone.
    pub fn at(offset: i64) -> Self {
        Self {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }
    }
}

/// Commits offsets for a group without members.
pub async fn commit_offsets(
    cluster: &Cluster,
    group: &str,
    offsets: &BTreeMap<TopicPartition, CommittedOffset>,
) -> Result<(), ClientError> {
    if offsets.is_empty() {
        return Ok(());
    }
    let mut attempts = cluster.attempts(format!("commit offsets of group `{group}`"));
    loop {
        match commit_once(cluster, group, offsets).await {
            Ok(()) => return Ok(()),
            Err(error) => attempts.wait_after(error).await?,
        }
    }
}

/// The committed offsets of a group; partitions without one are not in the result.
pub async fn committed_offsets(
    cluster: &Cluster,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut attempts = cluster.attempts(format!("read the offsets of group `{group}`"));
    loop {
        match fetch_once(cluster, group, partitions).await {
            Ok(committed) => return Ok(committed),
            Err(error) => attempts.wait_after(error).await?,
        }
    }
}

async fn find_coordinator(cluster: &Cluster, group: &str) -> Result<Connection, ClientError> {
    let connection = cluster.any().await?;
    let version = connection.version_of(ApiKey::FindCoordinator, i16::MAX)?;
    let by_keys = version >= FIND_COORDINATOR_BY_KEYS;
    let request = FindCoordinatorRequest {
        key: Cow::Borrowed(if by_keys { "" } else { group }),
        key_type: 0,
        coordinator_keys: if by_keys {
            vec![Cow::Borrowed(group)]
        } else {
            Vec::new()
        },
    };
    let pending = connection.submit(&request, version, Duration::ZERO).await?;
    let answer = pending.await?;
    let response: FindCoordinatorResponse<'_> = answer.decode()?;
    let (code, message, node) = if by_keys {
        let found = response
            .coordinators
            .iter()
            .find(|found| found.key == group);
        let Some(found) = found else {
            return Err(ClientError::IncompleteAnswer {
                what: format!("the coordinator of group `{group}`"),
            });
        };
        (
            found.error_code,
            found.error_message.as_deref(),
            found.node_id,
        )
    } else {
        (
            response.error_code,
            response.error_message.as_deref(),
            response.node_id,
        )
    };
    if let Some(code) = BrokerCode::of(code) {
        return Err(ClientError::Broker {
            what: format!("find the coordinator of group `{group}`"),
            code,
            message: message.map(str::to_owned),
        });
    }
    if !cluster.metadata().nodes.contains_key(&node) {
        cluster.refresh(&[]).await?;
    }
    cluster.connection(node, Purpose::General).await
}

async fn commit_once(
    cluster: &Cluster,
    group: &str,
    offsets: &BTreeMap<TopicPartition, CommittedOffset>,
) -> Result<(), ClientError> {
    let coordinator = find_coordinator(cluster, group).await?;
    let mut topics: Vec<OffsetCommitRequestTopic<'_>> = Vec::new();
    for (target, committed) in offsets {
        let partition = OffsetCommitRequestPartition {
            partition_index: target.partition,
            committed_offset: committed.offset,
            committed_leader_epoch: committed.leader_epoch,
            committed_metadata: Some(Cow::Borrowed(&committed.metadata)),
        };
        match topics.last_mut() {
            Some(topic) if topic.name == *target.topic => topic.partitions.push(partition),
            _ => topics.push(OffsetCommitRequestTopic {
                name: Cow::Borrowed(&target.topic),
                partitions: vec![partition],
                ..Default::default()
            }),
        }
    }
    let request = OffsetCommitRequest {
        group_id: Cow::Borrowed(group),
        topics,
        ..Default::default()
    };
    let version = coordinator.version_of(ApiKey::OffsetCommit, LAST_VERSION_WITH_NAMES)?;
    let pending = coordinator
        .submit(&request, version, Duration::ZERO)
        .await?;
    let answer = pending.await?;
    let response: OffsetCommitResponse<'_> = answer.decode()?;
    for topic in &response.topics {
        for partition in &topic.partitions {
            if let Some(code) = BrokerCode::of(partition.error_code) {
                return Err(ClientError::Broker {
                    what: format!(
                        "commit the offset of {}-{} for group `{group}`",
                        topic.name, partition.partition_index
                    ),
                    code,
                    message: None,
                });
            }
        }
    }
    Ok(())
}

async fn fetch_once(
    cluster: &Cluster,
    group: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    let coordinator = find_coordinator(cluster, group).await?;
    let mut by_topic: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for target in partitions {
        by_topic
            .entry(&target.topic)
            .or_default()
            .push(target.partition);
    }
    let version = coordinator.version_of(ApiKey::OffsetFetch, LAST_VERSION_WITH_NAMES)?;
    let request = if version >= OFFSET_FETCH_BY_GROUPS {
        let topics =
            by_topic
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopics {
                    name: Cow::Borrowed(name),
                    partition_indexes,
                    ..Default::default()
                });
        OffsetFetchRequest {
            groups: vec![OffsetFetchRequestGroup {
                group_id: Cow::Borrowed(group),
                topics: Some(topics.collect()),
                ..Default::default()
            }],
            ..Default::default()
        }
    } else {
        let topics =
            by_topic
                .into_iter()
                .map(|(name, partition_indexes)| OffsetFetchRequestTopic {
                    name: Cow::Borrowed(name),
                    partition_indexes,
                });
        OffsetFetchRequest {
            group_id: Cow::Borrowed(group),
            topics: Some(topics.collect()),
            ..Default::default()
        }
    };
    let pending = coordinator
        .submit(&request, version, Duration::ZERO)
        .await?;
    let answer = pending.await?;
    let response: OffsetFetchResponse<'_> = answer.decode()?;
    read_committed(&response, version, group)
}

fn read_committed(
    response: &OffsetFetchResponse<'_>,
    version: i16,
    group: &str,
) -> Result<BTreeMap<TopicPartition, CommittedOffset>, ClientError> {
    let refused = |code, what: String| ClientError::Broker {
        what,
        code,
        message: None,
    };
    let mut committed = BTreeMap::new();
    let mut take = |topic: &str, index: i32, offset: i64, epoch: i32, text: Option<&str>, code| {
        if let Some(code) = BrokerCode::of(code) {
            let what = format!("read the offset of {topic}-{index} for group `{group}`");
            return Err(refused(code, what));
        }
        if offset >= 0 {
            let found = CommittedOffset {
                offset,
                leader_epoch: epoch,
                metadata: text.unwrap_or_default().to_owned(),
            };
            committed.insert(TopicPartition::new(topic, index), found);
        }
        Ok(())
    };
    let mut top_level = response.error_code;
    if version >= OFFSET_FETCH_BY_GROUPS {
        for group in &response.groups {
            top_level = group.error_code;
            for topic in &group.topics {
                for p in &topic.partitions {
                    let text = p.metadata.as_deref();
                    let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                    take(
                        &topic.name,
                        p.partition_index,
                        offset,
                        epoch,
                        text,
                        p.error_code,
                    )?;
                }
            }
        }
    } else {
        for topic in &response.topics {
            for p in &topic.partitions {
                let text = p.metadata.as_deref();
                let (offset, epoch) = (p.committed_offset, p.committed_leader_epoch);
                take(
                    &topic.name,
                    p.partition_index,
                    offset,
                    epoch,
                    text,
                    p.error_code,
                )?;
            }
        }
    }
    match BrokerCode::of(top_level) {
        None => Ok(committed),
        Some(code) => Err(refused(
            code,
            format!("read the offsets of group `{group}`"),
        )),
    }
}
