//! DescribeProducers, version 0 (KIP-664).
//!
//! The producers that a partition knows: their epoch, and the sequence and time of their last batch. There
//! are no transactions, so no coordinator has written here and none is open: both are −1. A partition that
//! the request names twice is answered once: its producers may be many.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_model::{WallTime, check_topic_name};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_producers_request::DescribeProducersRequest;
use millstream_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use crate::dispatch::Request;
use crate::queued::hand_over;
use crate::visit::Visit;
use crate::{Broker, Context, Handled, HostedTopic};

/// No coordinator, or no open transaction.
const NONE: i32 = -1;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DescribeProducersRequest<'_>,
) -> Handled {
    let view = broker.view();
    let mut visit = Visit::new(broker);
    let asked = body.topics.iter().flat_map(|topic| {
        let hosted = view.topic(&topic.name);
        let partitions = topic.partition_indexes.iter();
        partitions.filter_map(move |index| hosted?.partition(*index))
    });
    if !context.may_wait
        && let Some(directory) = visit.find_slow(asked)
    {
        return hand_over(broker, context, request, directory);
    }
    let mut seen = BTreeSet::new();
    let topics = body.topics.iter().map(|topic| {
        let hosted = view.topic(&topic.name).map(AsRef::as_ref);
        let partitions = topic.partition_indexes.iter();
        let once = partitions.filter(|index| seen.insert((&*topic.name, **index)));
        let answers = once.map(|index| match producers(hosted, *index, context.wall) {
            Ok(active_producers) => PartitionResponse {
                partition_index: *index,
                active_producers,
                ..PartitionResponse::default()
            },
            Err(code) => refused(&topic.name, *index, code),
        });
        TopicResponse {
            name: Cow::Borrowed(&*topic.name),
            partitions: answers.collect(),
        }
    });
    request.reply.answered(&DescribeProducersResponse {
        topics: topics.collect(),
        ..DescribeProducersResponse::default()
    })
}

fn producers(
    topic: Option<&HostedTopic>,
    partition: i32,
    now: WallTime,
) -> Result<Vec<ProducerState>, ErrorCode> {
    let hosted = topic
        .and_then(|topic| topic.partition(partition))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let locked = hosted.lock().map_err(|_| ErrorCode::KafkaStorageError)?;
    if locked.is_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    let producers = locked.log().active_producers(now);
    let states = producers.map(|producer| ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: i32::from(producer.producer_epoch),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: NONE,
        current_txn_start_offset: i64::from(NONE),
    });
    Ok(states.collect())
}

fn refused(topic: &str, partition_index: i32, code: ErrorCode) -> PartitionResponse<'static> {
    let (code, message) = match check_topic_name(topic) {
        Err(error) => (ErrorCode::InvalidTopicException, error.to_string()),
        Ok(()) if code == ErrorCode::UnknownTopicOrPartition => {
            (code, "no topic has a partition of this name".to_owned())
        }
        Ok(()) => (code, "the partition's log directory is offline".to_owned()),
    };
    PartitionResponse {
        partition_index,
        error_code: code.code(),
        error_message: Some(Cow::Owned(message)),
        ..PartitionResponse::default()
    }
}
