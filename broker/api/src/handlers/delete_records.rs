//! DeleteRecords, versions 0 – 2.
//!
//! Moves the beginning of logs; the answer comes when the new beginnings are durable. Whole segments
//! before them go with the next retention run. 2: flexible. The request's timeout is not used: a lone
//! leader answers or fails.
//!
//! −1 stands for the high watermark. An offset before the log's beginning changes nothing and is no
//! error. A topic without `delete` in its cleanup policy is POLICY_VIOLATION (44).

use std::borrow::Cow;
use std::sync::Arc;

use millstream_model::TopicPartition;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::delete_records_request::DeleteRecordsRequest;
use millstream_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use millstream_replica::HostedPartition;

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::proposal::{DeletedRecords, RecordsToDelete};
use crate::{Broker, Context, Effect, Handled, View};

const LOW_WATERMARK_NONE: i64 = -1;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DeleteRecordsRequest<'_>,
) -> Handled {
    let view = broker.view();
    let mut records = Vec::new();
    for topic in &body.topics {
        for partition in &topic.partitions {
            let index = partition.partition_index;
            records.push(RecordsToDelete {
                name: TopicPartition {
                    topic: topic.name.as_ref().into(),
                    partition: index,
                },
                target: target(&view, &topic.name, index),
                offset: partition.offset,
            });
        }
    }
    context.effects.push(Effect::DeleteRecords {
        token: context.token,
        records,
    });
    ParkedProposal::park(request.reply)
}

fn target(view: &View, topic: &str, partition: i32) -> Result<Arc<HostedPartition>, ErrorCode> {
    let topic = view
        .topic(topic)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let partition = topic
        .partition(partition)
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    match topic.config.is_deleted_by_retention {
        true => Ok(Arc::clone(partition)),
        false => Err(ErrorCode::PolicyViolation),
    }
}

/// The answer once the new beginnings are durable, in the request's order.
pub(crate) fn answer(deleted: Vec<DeletedRecords>) -> DeleteRecordsResponse<'static> {
    let mut topics: Vec<DeleteRecordsTopicResult<'static>> = Vec::new();
    for DeletedRecords { name, result } in deleted {
        let result = DeleteRecordsPartitionResult {
            partition_index: name.partition,
            low_watermark: result.map_or(LOW_WATERMARK_NONE, |start| start.0),
            error_code: result.err().unwrap_or(ErrorCode::None).code(),
        };
        match topics.last_mut() {
            Some(topic) if *topic.name == *name.topic => topic.partitions.push(result),
            _ => topics.push(DeleteRecordsTopicResult {
                name: Cow::Owned(name.topic.to_string()),
                partitions: vec![result],
            }),
        }
    }
    DeleteRecordsResponse {
        topics,
        ..DeleteRecordsResponse::default()
    }
}
