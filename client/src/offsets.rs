//! Offsets by place or by time (ListOffsets), from the leaders of partitions.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use millstream_protocol::ApiKey;
use millstream_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millstream_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::cluster::{Cluster, Purpose, TopicPartition};
use crate::connection::Connection;
use crate::error::{BrokerCode, ClientError, ConnectionError};

/// Which offset is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first one that can be read.
    Earliest,
    /// The one the next record will get (for readers of committed data: the next one they could see).
    Latest,
    /// The one of the record with the greatest timestamp.
    MaxTimestamp,
    /// The first one whose timestamp is at least this, in milliseconds.
    Timestamp(i64),
}

impl OffsetSpec {
    fn code(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            Self::Timestamp(milliseconds) => milliseconds.max(0),
        }
    }

    /// The first version of ListOffsets that knows it.
    fn version_min(self) -> i16 {
        match self {
            Self::MaxTimestamp => 7,
            _ => 1,
        }
    }
}

/// What readers see of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Everything.
    #[default]
    ReadUncommitted,
    /// Only what is committed, or written without a transaction.
    ReadCommitted,
}

impl Isolation {
    pub(crate) fn code(self) -> i8 {
        match self {
            Self::ReadUncommitted => 0,
            Self::ReadCommitted => 1,
        }
    }
}

/// An offset that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The offset; none where nothing fits (no record that late, or no record at all).
    pub offset: Option<i64>,
    /// Timestamp of the record there, −1 where the question was about a place.
    pub timestamp: i64,
    /// Epoch of the leader that wrote the record there, −1 if unknown.
    pub leader_epoch: i32,
}

/// A partition, what is wanted of it, and its leader's epoch as known here.
type Question<'a> = (&'a TopicPartition, OffsetSpec, i32);
type Wanted = BTreeMap<TopicPartition, OffsetSpec>;
type Listed = BTreeMap<TopicPartition, ListedOffset>;

/// Asks the leaders for offsets, again after changes of leadership, until the cluster's deadline.
pub async fn list_offsets(
    cluster: &Cluster,
    wanted: &Wanted,
    isolation: Isolation,
) -> Result<Listed, ClientError> {
    let mut listed = Listed::new();
    let mut attempts = cluster.attempts("list offsets");
    loop {
        let missing = wanted
            .iter()
            .filter(|(target, _)| !listed.contains_key(*target))
            .map(|(target, spec)| (target.clone(), *spec))
            .collect();
        let Err(error) = list_once(cluster, &missing, isolation, &mut listed).await else {
            return Ok(listed);
        };
        attempts.wait_after(error).await?;
        let topics: Vec<&str> = missing.keys().map(|target| &*target.topic).collect();
        // If this fails too, the next attempt says so.
        let _ = cluster.refresh(&topics).await;
    }
}

async fn list_once(
    cluster: &Cluster,
    wanted: &Wanted,
    isolation: Isolation,
    listed: &mut Listed,
) -> Result<(), ClientError> {
    let mut by_leader: BTreeMap<String, (Connection, Vec<Question<'_>>)> = BTreeMap::new();
    for (target, &spec) in wanted {
        let (connection, epoch) = cluster.leader(target, Purpose::General).await?;
        by_leader
            .entry(connection.address().to_owned())
            .or_insert_with(|| (connection, Vec::new()))
            .1
            .push((target, spec, epoch));
    }
    for (connection, targets) in by_leader.into_values() {
        ask(&connection, &targets, isolation, listed).await?;
    }
    Ok(())
}

async fn ask(
    connection: &Connection,
    targets: &[Question<'_>],
    isolation: Isolation,
    listed: &mut Listed,
) -> Result<(), ClientError> {
    let version = connection.version_of(ApiKey::ListOffsets, i16::MAX)?;
    let needed = targets.iter().map(|(_, spec, _)| spec.version_min()).max();
    if let Some(needed) = needed.filter(|needed| *needed > version) {
        return Err(ClientError::Connection(ConnectionError::Unsupported {
            address: connection.address().to_owned(),
            api: ApiKey::ListOffsets.name(),
            wanted: format!("{needed} or later, to find the greatest timestamp"),
            offered: format!("up to {version}"),
        }));
    }
    let request = ListOffsetsRequest {
        replica_id: -1,
        isolation_level: if version >= 2 { isolation.code() } else { 0 },
        topics: group(targets),
        timeout_ms: 30_000,
    };
    let pending = connection.submit(&request, version, Duration::ZERO).await?;
    let answer = pending.await?;
    let response: ListOffsetsResponse<'_> = answer.decode()?;
    let mut failure = None;
    for topic in &response.topics {
        for partition in &topic.partitions {
            let target = TopicPartition::new(&*topic.name, partition.partition_index);
            if let Some(code) = BrokerCode::of(partition.error_code) {
                failure = Some(ClientError::Broker {
                    what: format!("list offsets of {target}"),
                    code,
                    message: None,
                });
                continue;
            }
            let found = ListedOffset {
                offset: (partition.offset >= 0).then_some(partition.offset),
                timestamp: partition.timestamp,
                leader_epoch: partition.leader_epoch,
            };
            listed.insert(target, found);
        }
    }
    if let Some(error) = failure {
        return Err(error);
    }
    match targets
        .iter()
        .find(|(target, ..)| !listed.contains_key(*target))
    {
        None => Ok(()),
        Some((target, ..)) => Err(ClientError::IncompleteAnswer {
            what: format!("the offset of {target}"),
        }),
    }
}

fn group<'a>(targets: &[Question<'a>]) -> Vec<ListOffsetsTopic<'a>> {
    let mut topics: Vec<ListOffsetsTopic<'a>> = Vec::new();
    // Targets come sorted, so those of a topic stand together.
    for (target, spec, epoch) in targets {
        let partition = ListOffsetsPartition {
            partition_index: target.partition,
            current_leader_epoch: *epoch,
            timestamp: spec.code(),
        };
        match topics.last_mut() {
            Some(topic) if topic.name == *target.topic => topic.partitions.push(partition),
            _ => topics.push(ListOffsetsTopic {
                name: Cow::Borrowed(&target.topic),
                partitions: vec![partition],
            }),
        }
    }
    topics
}
