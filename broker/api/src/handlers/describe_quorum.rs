//! DescribeQuorum, versions 0 – 2 (KIP-595).
//!
//! Who votes on the metadata log: this node alone, which leads it and is caught up by that. 1: times of
//! fetches (KIP-836); 2: the nodes with their listeners (KIP-853). There is no listener for controllers
//! alone: the endpoint named CONTROLLER is the one that the client is on.
//!
//! Directory ids are zero, as they are where `kraft.version` is 0.

use std::borrow::Cow;

use millstream_model::NodeId;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_quorum_request::DescribeQuorumRequest;
use millstream_protocol::messages::describe_quorum_response::{
    DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState, TopicData,
};

use crate::dispatch::Request;
use crate::view::MetadataLog;
use crate::{Broker, Context, Handled};

/// What clients know the metadata log as. It is no topic.
const METADATA_TOPIC: &str = "__cluster_metadata";
const CONTROLLER_LISTENER: &str = "CONTROLLER";

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DescribeQuorumRequest<'_>,
) -> Handled {
    if !is_metadata_log(body) {
        return request.reply.answered(&unknown(body));
    }
    let node_id = broker.config.node_id;
    let log = broker.view().metadata_log;
    let advertised = &context.client.advertised;
    request.reply.answered(&DescribeQuorumResponse {
        topics: vec![TopicData {
            topic_name: Cow::Borrowed(METADATA_TOPIC),
            partitions: vec![quorum(node_id, log, context.wall.0)],
        }],
        nodes: vec![Node {
            node_id: node_id.0,
            listeners: vec![Listener {
                name: Cow::Borrowed(CONTROLLER_LISTENER),
                host: Cow::Borrowed(&advertised.host),
                port: advertised.port,
            }],
        }],
        ..DescribeQuorumResponse::default()
    })
}

/// Whether the request asks for the one partition that has a quorum, and for nothing else.
fn is_metadata_log(body: &DescribeQuorumRequest<'_>) -> bool {
    match &body.topics[..] {
        [topic] => {
            topic.topic_name == METADATA_TOPIC
                && matches!(&topic.partitions[..], [partition] if partition.partition_index == 0)
        }
        _ => false,
    }
}

fn quorum(node: NodeId, log: MetadataLog, now_ms: i64) -> PartitionData<'static> {
    PartitionData {
        leader_id: node.0,
        leader_epoch: log.leader_epoch.0,
        high_watermark: log.log_end_offset.0,
        current_voters: vec![ReplicaState {
            replica_id: node.0,
            log_end_offset: log.log_end_offset.0,
            last_fetch_timestamp: now_ms,
            last_caught_up_timestamp: now_ms,
            ..ReplicaState::default()
        }],
        ..PartitionData::default()
    }
}

fn unknown<'a>(body: &'a DescribeQuorumRequest<'_>) -> DescribeQuorumResponse<'a> {
    let topics = body.topics.iter().map(|topic| TopicData {
        topic_name: Cow::Borrowed(&*topic.topic_name),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| PartitionData {
                partition_index: partition.partition_index,
                error_code: ErrorCode::UnknownTopicOrPartition.code(),
                error_message: Some(Cow::Borrowed(
                    "only partition 0 of __cluster_metadata has a quorum",
                )),
                ..PartitionData::default()
            })
            .collect(),
    });
    DescribeQuorumResponse {
        topics: topics.collect(),
        ..DescribeQuorumResponse::default()
    }
}
