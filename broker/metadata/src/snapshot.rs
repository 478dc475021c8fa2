//! An image as the list of records that builds it, and that list as bytes.
//!
//! *Shape*: `count u32`, then per record `type u16`, `length u32`, payload; big-endian. The checksum
//! is the snapshot file's.

use bytes::{BufMut, Bytes, BytesMut};
use millstream_model::{NodeId, TopicId};

use crate::client_quotas;
use crate::image::{Configs, Image, PartitionImage};
use crate::record::{
    BrokerStartRecord, ClusterRecord, ConfigRecord, FeatureRecord, PartitionRecord,
};
use crate::record::{ProducerIdsRecord, Record, RecordError, TopicRecord};
use crate::resource::ConfigResource;
use crate::scram;

/// Why bytes are not a list of records.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// A length points past the end, or bytes are left over.
    #[error("metadata snapshot of {length} bytes is malformed at byte {position}")]
    Malformed {
        /// The snapshot's length.
        length: usize,
        /// Where reading stopped.
        position: usize,
    },
    /// One of its records cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl Image {
    /// Records that lead from the empty image to this one.
    #[must_use]
    pub fn to_records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some(cluster_id) = self.cluster_id() {
            let cluster_id = cluster_id.to_string();
            records.push(ClusterRecord { cluster_id }.into());
        }
        // Brokers come before the partitions, whose epochs their starts would raise.
        let mut brokers: Vec<_> = self.brokers().iter().collect();
        brokers.sort_by_key(|(_, epoch)| **epoch);
        for (node, epoch) in brokers {
            let start = BrokerStartRecord {
                node_id: node.0,
                broker_epoch: epoch.0,
            };
            records.push(start.into());
        }
        let next_producer_id = self.next_producer_id();
        records.push(ProducerIdsRecord { next_producer_id }.into());
        for (name, level) in self.set_features() {
            let (name, level) = (name.to_owned(), i32::from(level));
            records.push(FeatureRecord { name, level }.into());
        }
        for user in self.scram_users() {
            let credentials = self.scram_credentials(user).expect("just listed");
            records.extend(scram::records(user, credentials));
        }
        for (entity, quotas) in self.client_quotas() {
            records.extend(client_quotas::records(entity, quotas));
        }
        for resource in ConfigResource::ALL {
            for name in self.config_names(resource) {
                let configs = self.configs(resource, name).expect("just listed");
                push_configs(&mut records, resource, name, configs);
            }
        }
        for topic in self.topics() {
            let record = TopicRecord {
                name: topic.name.to_string(),
                topic_id: topic.id.0.to_vec(),
            };
            records.push(record.into());
            for (index, partition) in (0..).zip(&topic.partitions) {
                records.push(partition_record(topic.id, index, partition).into());
            }
            push_configs(
                &mut records,
                ConfigResource::Topic,
                &topic.name,
                &topic.configs,
            );
        }
        records
    }
}

fn push_configs(
    records: &mut Vec<Record>,
    resource: ConfigResource,
    name: &str,
    configs: &Configs,
) {
    for (key, value) in configs {
        let record = ConfigRecord {
            resource_type: i32::from(resource.code()),
            resource_name: name.to_string(),
            key: key.clone(),
            value: Some(value.clone()),
        };
        records.push(record.into());
    }
}

/// The record that sets a partition's whole state.
pub(crate) fn partition_record(
    topic_id: TopicId,
    index: i32,
    partition: &PartitionImage,
) -> PartitionRecord {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    PartitionRecord {
        topic_id: topic_id.0.to_vec(),
        partition: index,
        leader: partition.leader.0,
        leader_epoch: partition.leader_epoch.0,
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
        partition_epoch: partition.partition_epoch,
        directories: partition
            .directories
            .iter()
            .map(|directory| directory.0.0.to_vec())
            .collect(),
    }
}

/// Writes a list of records as one run of bytes.
#[must_use]
pub fn encode_records(records: &[Record]) -> Bytes {
    let mut out = BytesMut::new();
    let length = |n: usize| u32::try_from(n).expect("a snapshot is far below 4 GiB");
    out.put_u32(length(records.len()));
    for record in records {
        let (type_, payload) = record.encode();
        out.put_u16(type_);
        out.put_u32(length(payload.len()));
        out.put_slice(&payload);
    }
    out.freeze()
}

/// Reads what [`encode_records`] wrote. Records that may be skipped are left out.
pub fn decode_records(bytes: &Bytes) -> Result<Vec<Record>, SnapshotError> {
    let mut reader = Reader { bytes, position: 0 };
    let count = u32::from_be_bytes(reader.take()?) as usize;
    // 6 bytes is what the smallest record takes, so the count cannot reserve more than is there.
    let mut records = Vec::with_capacity(count.min(bytes.len() / 6));
    for _ in 0..count {
        let type_ = u16::from_be_bytes(reader.take()?);
        let length = u32::from_be_bytes(reader.take()?) as usize;
        let payload = reader.slice(length)?;
        records.extend(Record::decode(type_, &payload)?);
    }
    match reader.position == bytes.len() {
        true => Ok(records),
        false => Err(reader.malformed()),
    }
}

struct Reader<'a> {
    bytes: &'a Bytes,
    position: usize,
}

impl Reader<'_> {
    fn malformed(&self) -> SnapshotError {
        SnapshotError::Malformed {
            length: self.bytes.len(),
            position: self.position,
        }
    }

    fn slice(&mut self, length: usize) -> Result<Bytes, SnapshotError> {
        if length > self.bytes.len() - self.position {
            return Err(self.malformed());
        }
        let slice = self.bytes.slice(self.position..self.position + length);
        self.position += length;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], SnapshotError> {
        let slice = self.slice(N)?;
        Ok(<[u8; N]>::try_from(&slice[..]).expect("the slice has N bytes"))
    }
}
