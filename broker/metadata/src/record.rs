//! What the metadata log holds: one record per fact, as a protobuf message with a type and a version.
//!
//! *Shape* of an entry: its `type` travels beside it in the log; its payload is
//!
//! | offset | size | name | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 2 | version | big-endian, of the body's meaning |
//! | 2 | … | body | the protobuf message |
//!
//! Types up to `0x7fff` are required: a reader that does not know one, or knows only an older version
//! of it, must stop, for it would build a wrong image. Types from `0x8000` on may be skipped.
//! New fields that an old reader may ignore are protobuf fields; all else is a new version.

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

/// Types from here on may be skipped by a reader that does not know them.
pub const FIRST_OPTIONAL_TYPE: u16 = 0x8000;

/// Names the cluster; the first record of every log.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClusterRecord {
    /// The cluster's id, as `meta.properties` has it.
    #[prost(string, tag = "1")]
    pub cluster_id: String,
}

/// Creates a topic, without partitions.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct TopicRecord {
    /// The topic's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The topic's id, 16 bytes, not zero.
    #[prost(bytes = "vec", tag = "2")]
    pub topic_id: Vec<u8>,
}

/// Creates a partition, or replaces all of its state.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct PartitionRecord {
    /// The topic's id, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
    /// The partition's index: of one that exists, or the next one.
    #[prost(int32, tag = "2")]
    pub partition: i32,
    /// The leader's node id.
    #[prost(int32, tag = "3")]
    pub leader: i32,
    /// The leader's epoch.
    #[prost(int32, tag = "4")]
    pub leader_epoch: i32,
    /// Node ids of the replicas, the preferred leader first.
    #[prost(int32, repeated, tag = "5")]
    pub replicas: Vec<i32>,
    /// Node ids of the in-sync replicas.
    #[prost(int32, repeated, tag = "6")]
    pub isr: Vec<i32>,
    /// Counts the changes of this partition.
    #[prost(int32, tag = "7")]
    pub partition_epoch: i32,
    /// Ids of the log directories that hold the replicas, 16 bytes each, in the replicas' order; zero where
    /// none has been chosen (KIP-858). Empty in records of before there was the field.
    #[prost(bytes = "vec", repeated, tag = "8")]
    pub directories: Vec<Vec<u8>>,
}

/// Deletes a topic, its partitions and its configs.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RemoveTopicRecord {
    /// The topic's id, 16 bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub topic_id: Vec<u8>,
}

/// Sets or removes one dynamic config.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ConfigRecord {
    /// The wire's resource type: 2 topic, 4 broker, 16 client metrics, 32 group.
    #[prost(int32, tag = "1")]
    pub resource_type: i32,
    /// The resource's name; of a broker its node id, or empty for all brokers.
    #[prost(string, tag = "2")]
    pub resource_name: String,
    /// The config's name.
    #[prost(string, tag = "3")]
    pub key: String,
    /// The value; none removes the config.
    #[prost(string, optional, tag = "4")]
    pub value: Option<String>,
}

/// A broker has started. Every partition it leads gets a new leader epoch by this one record.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct BrokerStartRecord {
    /// The broker.
    #[prost(int32, tag = "1")]
    pub node_id: i32,
    /// Its new epoch, greater than every earlier one.
    #[prost(int64, tag = "2")]
    pub broker_epoch: i64,
}

/// A block of producer ids has been handed out.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ProducerIdsRecord {
    /// The first id that has not been handed out.
    #[prost(int64, tag = "1")]
    pub next_producer_id: i64,
}

/// A feature of the cluster is at a level now.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct FeatureRecord {
    /// The feature's name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The level; 0: the feature is off.
    #[prost(int32, tag = "2")]
    pub level: i32,
}

/// A user has this password for a mechanism now, or none.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ScramCredentialRecord {
    /// The user.
    #[prost(string, tag = "1")]
    pub user: String,
    /// The wire's mechanism: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    #[prost(int32, tag = "2")]
    pub mechanism: i32,
    /// What is known of the password; none removes the credential.
    #[prost(message, optional, tag = "3")]
    pub keys: Option<ScramKeysRecord>,
}

/// What is known of a user's password. Prints no key.
#[derive(Clone, PartialEq, Eq, prost::Message)]
#[prost(skip_debug)]
pub struct ScramKeysRecord {
    /// What the password was salted with.
    #[prost(bytes = "vec", tag = "1")]
    pub salt: Vec<u8>,
    /// How often it was hashed.
    #[prost(int32, tag = "2")]
    pub iterations: i32,
    /// Checks the client.
    #[prost(bytes = "vec", tag = "3")]
    pub stored_key: Vec<u8>,
    /// Proves the server.
    #[prost(bytes = "vec", tag = "4")]
    pub server_key: Vec<u8>,
}

impl std::fmt::Debug for ScramKeysRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScramKeysRecord")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Sets or removes one quota.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ClientQuotaRecord {
    /// Whom it is for, each type once.
    #[prost(message, repeated, tag = "1")]
    pub entity: Vec<QuotaEntityRecord>,
    /// What is limited.
    #[prost(string, tag = "2")]
    pub key: String,
    /// The bits of the limit, an IEEE double; none removes the quota.
    #[prost(fixed64, optional, tag = "3")]
    pub value_bits: Option<u64>,
}

/// A part of whom a quota is for.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct QuotaEntityRecord {
    /// The wire's type: `user`, `client-id` or `ip`.
    #[prost(string, tag = "1")]
    pub entity_type: String,
    /// The name; none is the default.
    #[prost(string, optional, tag = "2")]
    pub name: Option<String>,
}

/// Any record of the metadata log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is the record of its name
pub enum Record {
    Cluster(ClusterRecord),
    Topic(TopicRecord),
    Partition(PartitionRecord),
    RemoveTopic(RemoveTopicRecord),
    Config(ConfigRecord),
    BrokerStart(BrokerStartRecord),
    ProducerIds(ProducerIdsRecord),
    Feature(FeatureRecord),
    ScramCredential(ScramCredentialRecord),
    ClientQuota(ClientQuotaRecord),
}

/// Why an entry of the metadata log is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// Its payload cannot hold a version.
    #[error("metadata record of type {type_} has {length} bytes; at least 2 are needed")]
    TooShort {
        /// The entry's type.
        type_: u16,
        /// Its payload's length.
        length: usize,
    },
    /// It was written by a newer release.
    #[error(
        "metadata record of type {type_} version {version} is not known to this release; start the release that wrote it, or a later one"
    )]
    Unknown {
        /// The entry's type.
        type_: u16,
        /// Its version.
        version: u16,
    },
    /// Its body is not the protobuf message it should be.
    #[error("metadata record of type {type_}: {source}")]
    Body {
        /// The entry's type.
        type_: u16,
        /// What the body's decoder found.
        source: prost::DecodeError,
    },
}

/// Calls a macro with every variant of [`Record`] and its number. The numbers are for ever.
macro_rules! with_record_types {
    ($go:ident) => {
        $go! {
            1 => Cluster(ClusterRecord),
            2 => Topic(TopicRecord),
            3 => Partition(PartitionRecord),
            4 => RemoveTopic(RemoveTopicRecord),
            5 => Config(ConfigRecord),
            6 => BrokerStart(BrokerStartRecord),
            7 => ProducerIds(ProducerIdsRecord),
            8 => Feature(FeatureRecord),
            9 => ScramCredential(ScramCredentialRecord),
            10 => ClientQuota(ClientQuotaRecord),
        }
    };
}

macro_rules! record_codec {
    ($($number:literal => $variant:ident($message:ident),)*) => {
        impl Record {
            /// The record's type in the log.
            #[must_use]
            pub fn type_number(&self) -> u16 {
                match self {
                    $(Record::$variant(_) => $number,)*
                }
            }

            fn encode_body(&self, out: &mut BytesMut) {
                match self {
                    $(Record::$variant(body) => body.encode(out),)*
                }
                .expect("a BytesMut grows as needed");
            }

            fn decode_body(type_: u16, body: Bytes) -> Option<Result<Record, prost::DecodeError>> {
                match type_ {
                    $($number => Some($message::decode(body).map(Record::$variant)),)*
                    _ => None,
                }
            }
        }

        $(impl From<$message> for Record {
            fn from(body: $message) -> Record {
                Record::$variant(body)
            }
        })*
    };
}

with_record_types!(record_codec);

/// The only version of every record so far.
const VERSION: u16 = 0;

impl Record {
    /// The entry that holds this record: its type and its payload.
    #[must_use]
    pub fn encode(&self) -> (u16, Bytes) {
        let mut payload = BytesMut::new();
        payload.put_u16(VERSION);
        self.encode_body(&mut payload);
        (self.type_number(), payload.freeze())
    }

    /// Reads an entry. `None` for one that may be skipped. *Errors*: an entry that this release
    /// cannot read, named.
    pub fn decode(type_: u16, payload: &Bytes) -> Result<Option<Record>, RecordError> {
        if type_ >= FIRST_OPTIONAL_TYPE {
            return Ok(None);
        }
        if payload.len() < 2 {
            return Err(RecordError::TooShort {
                type_,
                length: payload.len(),
            });
        }
        let version = u16::from_be_bytes([payload[0], payload[1]]);
        if version > VERSION {
            return Err(RecordError::Unknown { type_, version });
        }
        match Record::decode_body(type_, payload.slice(2..)) {
            None => Err(RecordError::Unknown { type_, version }),
            Some(Ok(record)) => Ok(Some(record)),
            Some(Err(source)) => Err(RecordError::Body { type_, source }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn partition() -> Record {
        Record::from(PartitionRecord {
            topic_id: vec![7; 16],
            partition: 2,
            leader: 1,
            leader_epoch: 3,
            replicas: vec![1, 4],
            isr: vec![1],
            partition_epoch: 5,
            directories: Vec::new(),
        })
    }

    #[test]
    fn golden_bytes_of_a_partition() {
        let (type_, payload) = partition().encode();
        assert_eq!(type_, 3);
        let mut expected = vec![0, 0, 0x0a, 16];
        expected.extend([7; 16]);
        expected.extend([
            0x10, 2, 0x18, 1, 0x20, 3, 0x2a, 2, 1, 4, 0x32, 1, 1, 0x38, 5,
        ]);
        assert_eq!(payload, expected);
        assert_eq!(Record::decode(3, &payload), Ok(Some(partition())));
    }

    #[test]
    fn golden_bytes_of_a_partition_with_its_directories() {
        let mut record = partition();
        if let Record::Partition(partition) = &mut record {
            partition.directories = vec![vec![9; 16], vec![0; 16]];
        }
        let (_, payload) = record.encode();
        let (_, before) = partition().encode();
        let mut expected = before.to_vec();
        expected.extend([0x42, 16]);
        expected.extend([9; 16]);
        expected.extend([0x42, 16]);
        expected.extend([0; 16]);
        assert_eq!(payload, expected);
        assert_eq!(Record::decode(3, &payload), Ok(Some(record)));
    }

    #[test]
    fn unknown_required_type_is_named_and_optional_one_skipped() {
        let payload = Bytes::from_static(&[0, 0]);
        assert_eq!(
            Record::decode(999, &payload),
            Err(RecordError::Unknown {
                type_: 999,
                version: 0
            })
        );
        assert_eq!(Record::decode(FIRST_OPTIONAL_TYPE, &payload), Ok(None));
    }

    #[test]
    fn newer_version_is_refused() {
        let error = Record::decode(2, &Bytes::from_static(&[0, 1])).unwrap_err();
        assert!(error.to_string().contains("type 2 version 1"), "{error}");
    }

    #[test]
    fn broken_bodies_are_errors() {
        assert_eq!(
            Record::decode(2, &Bytes::from_static(&[0])),
            Err(RecordError::TooShort {
                type_: 2,
                length: 1
            })
        );
        let error = Record::decode(2, &Bytes::from_static(&[0, 0, 0xff])).unwrap_err();
        assert!(matches!(error, RecordError::Body { type_: 2, .. }));
    }
}
