//! Requests for one partition, and their answers, as clients without a group use them.

use std::borrow::Cow;

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millstream_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
    ProduceResponse,
};
use millstream_protocol::records::{BatchHeader, records_of};

use super::Heard;
use crate::sim::wire::{FETCH_BY_NAME, PRODUCE_BY_NAME, batches_of, call, code, decode};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const CREATE_TOPICS: i16 = 7;
pub(super) const DELETE_RECORDS: i16 = 2;
pub(super) const LIST_OFFSETS: i16 = 8;
const EARLIEST: i64 = -2;

/// A partition by its topic and number.
pub(super) type Place = (&'static str, i32);

/// Makes a topic. For times without faults.
pub(super) fn create_topic(
    world: &mut World,
    name: &'static str,
    partitions: i32,
    configs: &[(&'static str, &'static str)],
) -> Result<[u8; 16], Violation> {
    let connection = world.connect();
    let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
        name: Cow::Borrowed(*name),
        value: Some(Cow::Borrowed(*value)),
    });
    let topic = CreatableTopic {
        name: Cow::Borrowed(name),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: vec![topic],
        ..CreateTopicsRequest::default()
    };
    let answer = call(world, connection, CREATE_TOPICS, &request)?;
    let created: CreateTopicsResponse<'_> =
        decode::<CreateTopicsRequest<'_>, _>(&answer, CREATE_TOPICS)?;
    match created.topics[0].error_code {
        0 => Ok(created.topics[0].topic_id),
        error => violation(format!("{name} is not created: error {error}")),
    }
}

pub(super) fn produce(place: Place, batch: Bytes) -> ProduceRequest<'static> {
    let data = PartitionProduceData {
        index: place.1,
        records: Some(batch.into()),
    };
    let topic = TopicProduceData {
        name: Cow::Borrowed(place.0),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 600_000,
        topic_data: vec![topic],
    }
}

/// The base offset of an acknowledged batch.
pub(super) fn produced(answer: &Bytes) -> Result<(ErrorCode, i64), Violation> {
    let answer: ProduceResponse<'_> = decode::<ProduceRequest<'_>, _>(answer, PRODUCE_BY_NAME)?;
    let answer = &answer.responses[0].partition_responses[0];
    Ok((code(answer.error_code)?, answer.base_offset))
}

/// A fetch that waits for nothing.
pub(super) fn fetch(place: Place, fetch_offset: i64, max_bytes: i32) -> FetchRequest<'static> {
    let partition = FetchPartition {
        partition: place.1,
        fetch_offset,
        partition_max_bytes: max_bytes,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic: Cow::Borrowed(place.0),
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    FetchRequest {
        min_bytes: 1,
        max_bytes,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

/// A fetched record.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub offset: i64,
    pub epoch: i32,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// The answer to a fetch.
#[derive(Debug)]
pub(super) struct FetchedRecords {
    pub code: ErrorCode,
    pub high_watermark: i64,
    pub log_start_offset: i64,
    pub records: Vec<Fetched>,
    /// Sizes of batches, by their last offset.
    pub sizes: Vec<(i64, usize)>,
    /// Where to read on.
    pub next: Option<i64>,
}

pub(super) fn fetched(answer: &Bytes) -> Result<FetchedRecords, Violation> {
    let answer: FetchResponse<'_> = decode::<FetchRequest<'_>, _>(answer, FETCH_BY_NAME)?;
    let data = &answer.responses[0].partitions[0];
    let mut fetched = FetchedRecords {
        code: code(data.error_code)?,
        high_watermark: data.high_watermark,
        log_start_offset: data.log_start_offset,
        records: Vec::new(),
        sizes: Vec::new(),
        next: None,
    };
    for (header, batch) in batches_of(data.records.as_ref())? {
        read_records(&header, &batch, &mut fetched.records)?;
        fetched.sizes.push((header.last_offset(), batch.len()));
        fetched.next = Some(header.next_offset());
    }
    Ok(fetched)
}

fn read_records(
    header: &BatchHeader,
    batch: &Bytes,
    into: &mut Vec<Fetched>,
) -> Result<(), Violation> {
    let damaged = |_| Violation {
        what: "fetched records are damaged".to_owned(),
    };
    let records = records_of(header, batch).map_err(damaged)?;
    for record in records.iter() {
        let record = record.map_err(|_| Violation {
            what: "a fetched record is damaged".to_owned(),
        })?;
        into.push(Fetched {
            offset: record.offset,
            epoch: header.partition_leader_epoch,
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
        });
    }
    Ok(())
}

/// Asks where a log begins.
pub(super) fn earliest(place: Place) -> ListOffsetsRequest<'static> {
    let partition = ListOffsetsPartition {
        partition_index: place.1,
        timestamp: EARLIEST,
        ..ListOffsetsPartition::default()
    };
    let topic = ListOffsetsTopic {
        name: Cow::Borrowed(place.0),
        partitions: vec![partition],
    };
    ListOffsetsRequest {
        topics: vec![topic],
        ..ListOffsetsRequest::default()
    }
}

pub(super) fn listed(answer: &Bytes) -> Result<(ErrorCode, i64), Violation> {
    let answer: ListOffsetsResponse<'_> =
        decode::<ListOffsetsRequest<'_>, _>(answer, LIST_OFFSETS)?;
    let listed = &answer.topics[0].partitions[0];
    Ok((code(listed.error_code)?, listed.offset))
}

pub(super) fn delete_before(place: Place, offset: i64) -> DeleteRecordsRequest<'static> {
    let partition = DeleteRecordsPartition {
        partition_index: place.1,
        offset,
    };
    let topic = DeleteRecordsTopic {
        name: Cow::Borrowed(place.0),
        partitions: vec![partition],
    };
    DeleteRecordsRequest {
        topics: vec![topic],
        timeout_ms: 60_000,
    }
}

/// Where the log begins after a deletion.
pub(super) fn deleted(answer: &Bytes) -> Result<(ErrorCode, i64), Violation> {
    let answer: DeleteRecordsResponse<'_> =
        decode::<DeleteRecordsRequest<'_>, _>(answer, DELETE_RECORDS)?;
    let deleted = &answer.topics[0].partitions[0];
    Ok((code(deleted.error_code)?, deleted.low_watermark))
}

/// What a partition's refusal means to a client: that a disk has failed, or the queue of a slow one is full.
pub(super) fn hear_refusal(
    world: &World,
    place: Place,
    code: ErrorCode,
) -> Result<Heard, Violation> {
    let may_be_offline = world.may_be_offline(place.0, place.1);
    match code {
        ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut if may_be_offline => {
            Ok(Heard::DiskFailed)
        }
        // The queue of a slow disk is full, or it was queued for one and went to another.
        ErrorCode::RequestTimedOut => Ok(Heard::Nothing),
        ErrorCode::NotLeaderOrFollower if world.has_moved => Ok(Heard::Nothing),
        code => violation(format!("partition {} of {}: {code:?}", place.1, place.0)),
    }
}
