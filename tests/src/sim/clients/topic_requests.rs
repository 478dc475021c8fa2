//! The requests of the client whose topic comes and goes. All of them name it by its id.

use std::borrow::Cow;

use millstream_protocol::messages::create_topics_request::CreatableTopic;
use millstream_protocol::messages::delete_topics_request::DeleteTopicState;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, ProduceRequest,
};
use millstream_protocol::records::{BatchBuilder, Codec};

use crate::sim::checkers::Id;

/// As long as a topic's name may be: its folder has no longer one to go by.
const TOPIC: &str = concat!(
    "recreated",
    "____________________________________________________________",
    "____________________________________________________________",
    "____________________________________________________________",
    "____________________________________________________________",
);
const GROUP: &str = "standalone";

pub(super) fn look() -> MetadataRequest<'static> {
    let topic = MetadataRequestTopic {
        name: Some(Cow::Borrowed(TOPIC)),
        ..MetadataRequestTopic::default()
    };
    MetadataRequest {
        topics: Some(vec![topic]),
        ..MetadataRequest::default()
    }
}

pub(super) fn create() -> CreateTopicsRequest<'static> {
    let topic = CreatableTopic {
        name: Cow::Borrowed(TOPIC),
        num_partitions: 1,
        replication_factor: 1,
        ..CreatableTopic::default()
    };
    CreateTopicsRequest {
        topics: vec![topic],
        ..CreateTopicsRequest::default()
    }
}

pub(super) fn delete(topic_id: Id) -> DeleteTopicsRequest<'static> {
    let topic = DeleteTopicState {
        name: None,
        topic_id,
    };
    DeleteTopicsRequest {
        topics: vec![topic],
        ..DeleteTopicsRequest::default()
    }
}

/// A record names the topic it is for, and its place among its client's records.
pub(super) fn produce(topic_id: Id, sequence: i32, now_ms: i64) -> ProduceRequest<'static> {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = [&topic_id[..], &sequence.to_be_bytes()].concat();
    builder.push(now_ms, None, Some(&value), []);
    let data = PartitionProduceData {
        index: 0,
        records: Some(builder.build(0, -1).into()),
    };
    let topic = TopicProduceData {
        topic_id,
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    ProduceRequest {
        acks: -1,
        timeout_ms: 600_000,
        topic_data: vec![topic],
        ..ProduceRequest::default()
    }
}

/// The topic and the sequence of a record.
pub(super) fn read_value(value: &[u8]) -> Option<(Id, i32)> {
    let (topic_id, sequence) = value.split_first_chunk::<16>()?;
    Some((*topic_id, i32::from_be_bytes(sequence.try_into().ok()?)))
}

pub(super) fn fetch(topic_id: Id, fetch_offset: i64) -> FetchRequest<'static> {
    let partition = FetchPartition {
        fetch_offset,
        partition_max_bytes: 1000,
        ..FetchPartition::default()
    };
    let topic = FetchTopic {
        topic_id,
        partitions: vec![partition],
        ..FetchTopic::default()
    };
    FetchRequest {
        max_bytes: 1000,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}

pub(super) fn commit(topic_id: Id, offset: i64) -> OffsetCommitRequest<'static> {
    let partition = OffsetCommitRequestPartition {
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    };
    let topic = OffsetCommitRequestTopic {
        topic_id,
        partitions: vec![partition],
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: Cow::Borrowed(GROUP),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

/// Before version 10 the topic is named by its name.
pub(super) fn offsets(topic_id: Id) -> OffsetFetchRequest<'static> {
    let topic = OffsetFetchRequestTopics {
        name: Cow::Borrowed(TOPIC),
        topic_id,
        partition_indexes: vec![0],
    };
    let group = OffsetFetchRequestGroup {
        group_id: Cow::Borrowed(GROUP),
        topics: Some(vec![topic]),
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest {
        groups: vec![group],
        ..OffsetFetchRequest::default()
    }
}
