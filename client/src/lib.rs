//! A client of Kafka-protocol brokers in pure Rust: producer, consumer by assignment, admin.
//!
//! ```text
//!   Producer ─► core: batches, sequences, retries ─┐
//!   Consumer ─► core: positions, batches taken apart ─┼─► Cluster: metadata, one connection per broker and purpose ─► Connection
//!   Admin ─────────────────────────────────────────┘
//! ```
//!
//! What can be wrong about order, duplicates and positions is decided in parts without sockets (`producer/queue`,
//! `producer/core`, `consumer/assignment.rs`, `consumer/partition.rs`), which are given time and answers and say what
//! to do; the tasks around them only carry it out. Everything a broker sends is bounded before memory is kept for it.
#![forbid(unsafe_code)]

mod admin;
mod backoff;
mod cluster;
mod connection;
mod consumer;
mod error;
mod group_offsets;
mod offsets;
mod producer;

pub use admin::{Admin, CreatedTopic, NewTopic};
pub use backoff::Backoff;
pub use cluster::{
    Attempts, Cluster, ClusterConfig, Metadata, Node, PartitionMetadata, Purpose, TopicMetadata,
    TopicPartition, TopicUuid,
};
pub use connection::{Answer, BrokerVersions, Connection, ConnectionConfig, Pending};
pub use consumer::{ConsumeError, Consumer, ConsumerConfig, ConsumerRecord, OffsetReset};
pub use error::{BrokerCode, ClientError, ConnectionError};
pub use group_offsets::{CommittedOffset, commit_offsets, committed_offsets};
pub use offsets::{Isolation, ListedOffset, OffsetSpec, list_offsets};
pub use producer::{
    Acks, BadProducerConfig, Delivery, ProduceError, Producer, ProducerConfig, Record,
    RecordMetadata, murmur2, partition_of_key,
};
