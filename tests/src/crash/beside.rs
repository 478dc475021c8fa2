//! A topic beside the load's: one record at a time, so that it can be said what each partition takes.
//!
//! Its partition 0 lies in the first log directory and partition 1 in the second, where there are two.

use bytes::Bytes;
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    MetadataRequest, MetadataResponse, ProduceRequest, ProduceResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};
use millstream_protocol::{ApiKey, ErrorCode};

use super::wire::{Connection, WireError, code_name, create_topic, read_answer};
use super::{Failure, Options};

/// Its name.
pub(crate) const BESIDE: &str = "beside";
/// A version with messages beside error codes.
const PRODUCE: i16 = 9;
const METADATA: i16 = 9;

/// Says what a broker does with single records.
pub(crate) struct Beside {
    connection: Connection,
    base_timestamp: i64,
}

impl Beside {
    /// Connects, and creates the topic where it is not there.
    pub(crate) fn open(options: &Options) -> Result<Beside, Failure> {
        create_topic(options, BESIDE, 2)?;
        Ok(Beside {
            connection: Connection::open(options.port).map_err(gone)?,
            base_timestamp: options.base_timestamp,
        })
    }

    /// Writes a record of so many bytes with `acks=all`; answers what the broker says, with its message.
    pub(crate) fn produce(
        &mut self,
        partition: i32,
        bytes: usize,
    ) -> Result<(ErrorCode, String), Failure> {
        let mut batch = BatchBuilder::new(Codec::None);
        batch.push(self.base_timestamp, None, Some(&vec![b'b'; bytes]), []);
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: BESIDE.into(),
                partition_data: vec![PartitionProduceData {
                    index: partition,
                    records: Some(batch.build(0, -1).into()),
                }],
                ..TopicProduceData::default()
            }],
        };
        let (id, frame) = self.connection.call(PRODUCE, &request).map_err(gone)?;
        let answer: ProduceResponse<'_> = read_answer(&frame, ApiKey::Produce, PRODUCE, id)?;
        let topic = answer.responses.first();
        let partition = topic.and_then(|topic| topic.partition_responses.first());
        let partition = partition.ok_or("a Produce answer without a partition")?;
        let message = partition.error_message.as_deref().unwrap_or_default();
        Ok((code(partition.error_code)?, message.to_owned()))
    }

    /// The error of each partition of a topic, with its leader, by index.
    pub(crate) fn describe(&mut self, topic: &str) -> Result<Vec<(ErrorCode, i32)>, Failure> {
        let request = MetadataRequest {
            topics: Some(vec![MetadataRequestTopic {
                name: Some(topic.into()),
                ..MetadataRequestTopic::default()
            }]),
            ..MetadataRequest::default()
        };
        let (id, frame) = self.connection.call(METADATA, &request).map_err(gone)?;
        let frame: Bytes = frame;
        let answer: MetadataResponse<'_> = read_answer(&frame, ApiKey::Metadata, METADATA, id)?;
        let topic = answer.topics.first().ok_or("Metadata without the topic")?;
        let partitions = topic.partitions.iter();
        partitions
            .map(|partition| Ok((code(partition.error_code)?, partition.leader_id)))
            .collect()
    }
}

fn code(code: i16) -> Result<ErrorCode, Failure> {
    ErrorCode::from_code(code).ok_or_else(|| format!("unknown error {}", code_name(code)))
}

fn gone(error: WireError) -> Failure {
    format!("the topic {BESIDE}: {error:?}")
}
