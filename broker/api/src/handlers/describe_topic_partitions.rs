//! DescribeTopicPartitions, version 0 (KIP-966).
//!
//! Metadata in pieces: topics by name, and of each its partitions by index, until an answer holds as many
//! partitions as the client, or `max.request.partition.size.limit`, allows; the cursor says where the next
//! one begins. An empty list asks for all topics, and then what is missing is passed over; a topic that is
//! named is answered, if only with an error. Topics before the cursor are left out.
//!
//! There are no eligible leader replicas: a broker that is alone is in sync, or nobody is.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_metadata::{TopicImage, is_internal_topic};
use millstream_model::check_topic_name;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use millstream_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use crate::dispatch::Request;
use crate::handlers::metadata::{TOPIC_OPERATIONS, describe};
use crate::{Broker, Handled, View};

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &DescribeTopicPartitionsRequest<'_>,
) -> Handled {
    let view = broker.view();
    let cursor = body.cursor.as_ref();
    let begin = cursor.map_or("", |cursor| &*cursor.topic_name);
    let is_all = body.topics.is_empty();
    let names: BTreeSet<&str> = match is_all {
        true => view.image.topics().map(|topic| &*topic.name).collect(),
        false => body.topics.iter().map(|topic| &*topic.name).collect(),
    };
    let is_cursor_legal = cursor.is_none_or(|cursor| {
        cursor.partition_index >= 0 && (is_all || names.contains(&*cursor.topic_name))
    });
    if !is_cursor_legal {
        return refuse(request, body);
    }
    let limit = usize::try_from(body.response_partition_limit).unwrap_or(0);
    let mut room = limit.min(broker.config.describe_partitions_max).max(1);
    let mut answer = DescribeTopicPartitionsResponse::default();
    for name in names.range(begin..) {
        if room == 0 {
            answer.next_cursor = next(name, 0);
            break;
        }
        let Some(topic) = view.image.topic(name) else {
            if !is_all {
                answer.topics.push(missing(name));
            }
            continue;
        };
        let first = cursor.filter(|cursor| cursor.topic_name == *name);
        let first = first.map_or(0, |cursor| cursor.partition_index as usize);
        let end = first.saturating_add(room).min(topic.partitions.len());
        answer.topics.push(found(&view, topic, first..end));
        if end < topic.partitions.len() {
            answer.next_cursor = next(name, end);
            break;
        }
        room -= end.saturating_sub(first);
    }
    request.reply.answered(&answer)
}

fn next<'a>(topic: &'a str, partition: usize) -> Option<Cursor<'a>> {
    Some(Cursor {
        topic_name: Cow::Borrowed(topic),
        partition_index: partition as i32,
    })
}

fn found<'a>(
    view: &View,
    topic: &'a TopicImage,
    partitions: std::ops::Range<usize>,
) -> DescribeTopicPartitionsResponseTopic<'a> {
    let hosted = view.topic_by_id(topic.id);
    let of_range = topic.partitions.get(partitions.clone()).unwrap_or_default();
    let described = partitions.zip(of_range).map(|(index, partition)| {
        let index = index as i32;
        let hosted = hosted.and_then(|topic| topic.partition(index));
        let is_offline = hosted.is_some_and(|hosted| hosted.is_offline());
        let described = describe(index, partition, is_offline);
        DescribeTopicPartitionsResponsePartition {
            error_code: described.error_code,
            partition_index: index,
            leader_id: described.leader_id,
            leader_epoch: described.leader_epoch,
            replica_nodes: described.replica_nodes,
            isr_nodes: described.isr_nodes,
            eligible_leader_replicas: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
            offline_replicas: described.offline_replicas,
        }
    });
    DescribeTopicPartitionsResponseTopic {
        name: Some(Cow::Borrowed(&topic.name)),
        topic_id: topic.id.0,
        is_internal: topic.is_internal(),
        partitions: described.collect(),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

fn missing(name: &str) -> DescribeTopicPartitionsResponseTopic<'_> {
    let code = match check_topic_name(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic {
        error_code: code.code(),
        name: Some(Cow::Borrowed(name)),
        is_internal: is_internal_topic(name),
        topic_authorized_operations: TOPIC_OPERATIONS,
        ..DescribeTopicPartitionsResponseTopic::default()
    }
}

/// The cursor is none of the list's, or no partition's: every topic is INVALID_REQUEST.
fn refuse(request: &Request<'_>, body: &DescribeTopicPartitionsRequest<'_>) -> Handled {
    let topics = body
        .topics
        .iter()
        .map(|topic| DescribeTopicPartitionsResponseTopic {
            error_code: ErrorCode::InvalidRequest.code(),
            name: Some(Cow::Borrowed(&*topic.name)),
            ..DescribeTopicPartitionsResponseTopic::default()
        });
    request.reply.answered(&DescribeTopicPartitionsResponse {
        topics: topics.collect(),
        ..DescribeTopicPartitionsResponse::default()
    })
}
