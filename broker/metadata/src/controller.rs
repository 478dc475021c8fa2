//! The controller's decisions: a request and an image in, records and answers out.
//!
//! Nothing here changes state. The records are appended to the metadata log and applied by
//! [`Image::apply`] once they are committed; only then is the answer sent. Randomness comes in as an
//! argument, so a decision can be repeated.

use std::ops::Range;
use std::sync::Arc;

use millstream_model::{BrokerEpoch, NodeId};
use millstream_protocol::ErrorCode;

use crate::broker_config::BrokerConfigTable;
use crate::image::{Configs, Image};
use crate::record::{BrokerStartRecord, ClusterRecord, ProducerIdsRecord, Record};

/// What a request leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision<A> {
    /// Records to append and apply; none when nothing changes.
    pub records: Vec<Record>,
    /// The answer to send when they are committed.
    pub answer: A,
}

/// Creation settings of an internal topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopicSettings {
    /// Its partitions.
    pub partitions: i32,
    /// Its replication factor, cut to the number of brokers.
    pub replication_factor: i16,
    /// Configs it is created with.
    pub configs: Vec<(&'static str, String)>,
}

/// What the controller is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerSettings {
    /// `num.partitions`: of a topic whose creator leaves it open.
    pub num_partitions: i32,
    /// `default.replication.factor`: of a topic whose creator leaves it open.
    pub default_replication_factor: i16,
    /// The topic of committed offsets.
    pub offsets_topic: InternalTopicSettings,
    /// The topic of transactions.
    pub transactions_topic: InternalTopicSettings,
    /// Partitions that one request may create.
    pub request_partitions_max: usize,
    /// Partitions of the whole cluster.
    pub cluster_partitions_max: usize,
    /// Broker configs of the file and the command line, by Kafka's names: the defaults of topics.
    pub file_configs: Configs,
    /// The configs that brokers know.
    pub known_configs: Arc<BrokerConfigTable>,
}

impl Default for ControllerSettings {
    fn default() -> ControllerSettings {
        let compact = |compression: &str| {
            vec![
                ("cleanup.policy", "compact".to_string()),
                ("compression.type", compression.to_string()),
                ("segment.bytes", "104857600".to_string()),
            ]
        };
        let mut of_transactions = compact("uncompressed");
        // Acknowledged transactions are on disk whatever the broker's default.
        of_transactions.push(("millstream.durability", "fsync".to_string()));
        of_transactions.push(("min.insync.replicas", "1".to_string()));
        of_transactions.push(("unclean.leader.election.enable", "false".to_string()));
        ControllerSettings {
            num_partitions: 1,
            default_replication_factor: 1,
            offsets_topic: InternalTopicSettings {
                partitions: 50,
                replication_factor: 3,
                configs: compact("producer"),
            },
            transactions_topic: InternalTopicSettings {
                partitions: 50,
                replication_factor: 3,
                configs: of_transactions,
            },
            request_partitions_max: 10_000,
            cluster_partitions_max: 200_000,
            file_configs: Configs::new(),
            known_configs: Arc::new(BrokerConfigTable::default()),
        }
    }
}

/// Decides what happens to the metadata.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// What it is configured with.
    pub settings: ControllerSettings,
}

/// Ids in one block of producer ids.
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// The log is of another cluster than the data directory says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the metadata log belongs to cluster {log}, but meta.properties names {directory}")]
pub struct WrongCluster {
    /// The cluster of the log.
    pub log: String,
    /// The cluster of the data directory.
    pub directory: String,
}

/// All producer ids have been handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no producer ids are left")]
pub struct ProducerIdsExhausted;

impl ProducerIdsExhausted {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        ErrorCode::UnknownServerError
    }
}

impl Controller {
    /// A broker starts: the answer is its epoch. The first start of all also names the cluster.
    pub fn decide_broker_start(
        &self,
        image: &Image,
        node: NodeId,
        cluster_id: &str,
    ) -> Result<Decision<BrokerEpoch>, WrongCluster> {
        let mut records = Vec::new();
        match image.cluster_id() {
            Some(id) if id != cluster_id => {
                return Err(WrongCluster {
                    log: id.to_string(),
                    directory: cluster_id.to_string(),
                });
            }
            Some(_) => {}
            None => {
                let cluster_id = cluster_id.to_string();
                records.push(ClusterRecord { cluster_id }.into());
            }
        }
        let last = image.brokers().values().max().map_or(0, |epoch| epoch.0);
        let broker_epoch = last + 1;
        let start = BrokerStartRecord {
            node_id: node.0,
            broker_epoch,
        };
        records.push(start.into());
        Ok(Decision {
            records,
            answer: BrokerEpoch(broker_epoch),
        })
    }

    /// Takes a block of [`PRODUCER_ID_BLOCK`] producer ids that nobody else gets.
    pub fn decide_allocate_producer_ids(
        &self,
        image: &Image,
    ) -> Result<Decision<Range<i64>>, ProducerIdsExhausted> {
        let first = image.next_producer_id();
        let next_producer_id = first
            .checked_add(PRODUCER_ID_BLOCK)
            .ok_or(ProducerIdsExhausted)?;
        Ok(Decision {
            records: vec![ProducerIdsRecord { next_producer_id }.into()],
            answer: first..next_producer_id,
        })
    }
}
