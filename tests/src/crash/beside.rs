//! Requests beside the load: one at a time, so that it can be said what a broker takes and what not.
//!
//! Of the topic [`BESIDE`] partition 0 lies in the first log directory and partition 1 in the second, where
//! there are two.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, FindCoordinatorRequest, FindCoordinatorResponse,
    MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, ProduceRequest,
    ProduceResponse,
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
const COMMIT: i16 = 8;
const COORDINATOR: i16 = 3;
const DELETE: i16 = 5;

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
        topic: &str,
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
                name: topic.into(),
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

impl Beside {
    /// Commits an offset of a group without members.
    pub(crate) fn commit(&mut self, group: &str, offset: i64) -> Result<ErrorCode, Failure> {
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: offset,
            committed_leader_epoch: -1,
            ..OffsetCommitRequestPartition::default()
        };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: -1,
            topics: vec![OffsetCommitRequestTopic {
                name: BESIDE.into(),
                partitions: vec![partition],
                ..OffsetCommitRequestTopic::default()
            }],
            ..OffsetCommitRequest::default()
        };
        let (id, frame) = self.connection.call(COMMIT, &request).map_err(gone)?;
        let answer: OffsetCommitResponse<'_> =
            read_answer(&frame, ApiKey::OffsetCommit, COMMIT, id)?;
        let topic = answer.topics.first();
        let partition = topic.and_then(|topic| topic.partitions.first());
        code(
            partition
                .ok_or("OffsetCommit without the partition")?
                .error_code,
        )
    }

    /// Asks for a group's coordinator, which the first time creates the topic of committed offsets.
    pub(crate) fn find_coordinator(&mut self, group: &str) -> Result<ErrorCode, Failure> {
        let request = FindCoordinatorRequest {
            key: group.into(),
            ..FindCoordinatorRequest::default()
        };
        let (id, frame) = self.connection.call(COORDINATOR, &request).map_err(gone)?;
        let answer: FindCoordinatorResponse<'_> =
            read_answer(&frame, ApiKey::FindCoordinator, COORDINATOR, id)?;
        code(answer.error_code)
    }

    /// Deletes a topic.
    pub(crate) fn delete(&mut self, topic: &str) -> Result<ErrorCode, Failure> {
        let request = DeleteTopicsRequest {
            topic_names: vec![topic.into()],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        };
        let (id, frame) = self.connection.call(DELETE, &request).map_err(gone)?;
        let answer: DeleteTopicsResponse<'_> =
            read_answer(&frame, ApiKey::DeleteTopics, DELETE, id)?;
        let topic = answer.responses.first();
        code(topic.ok_or("DeleteTopics without the topic")?.error_code)
    }
}

/// What `/readyz` says: the status code and the text.
pub(crate) fn readyz(options: &Options) -> Result<(u16, String), Failure> {
    let failed = |error: std::io::Error| format!("/readyz: {error}");
    let address = ("127.0.0.1", options.port + 1);
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n";
    stream.write_all(request).map_err(failed)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(failed)?;
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("/readyz answers {answer:?}"))?;
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}

fn code(code: i16) -> Result<ErrorCode, Failure> {
    ErrorCode::from_code(code).ok_or_else(|| format!("unknown error {}", code_name(code)))
}

fn gone(error: WireError) -> Failure {
    format!("the topic {BESIDE}: {error:?}")
}
