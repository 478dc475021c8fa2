//! Metadata, versions 0 – 13.
//!
//! Which brokers and topics there are, and who leads each partition. An unknown topic is answered as
//! unknown even when it is created by this very request (`auto.create.topics.enable`): the client
//! asks again, as it does with Kafka. 1: null asks for all topics; 4: creation can be refused by the
//! client; 5: offline replicas; 10: topic ids in answers, 12: in requests.
//!
//! Stricter than Kafka: a request for more than 100,000 topics ends its connection, for the answer would be
//! larger than anybody reads.
//!
//! A partition whose log is offline has no leader: LEADER_NOT_AVAILABLE, and its replica is offline.
//!
//! Authorised operations are answered as Kafka answers without an authorizer: all of them.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_metadata::{Image, PartitionImage};
use millstream_model::{NodeId, TopicId, check_topic_name};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::metadata_request::MetadataRequest;
use millstream_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};

use crate::context::CloseReason;
use crate::dispatch::Request;
use crate::{Broker, Context, Effect, Handled, HostedTopic, Proposal};

/// Bits by operation: read, write, create, delete, alter, describe, describe and alter configs.
pub(crate) const TOPIC_OPERATIONS: i32 = 3576;
/// Create, alter, describe, cluster action, describe and alter configs, idempotent write.
pub(crate) const CLUSTER_OPERATIONS: i32 = 8096;
/// Topics that one request may name.
const TOPICS_MAX: usize = 100_000;
/// The leader of a partition that has none.
const NO_LEADER: i32 = -1;
/// "Not asked for".
pub(crate) const OPERATIONS_OMITTED: i32 = i32::MIN;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &MetadataRequest<'_>,
) -> Handled {
    let version = request.reply.version;
    let asked = body.topics.as_ref().map_or(0, Vec::len);
    if asked > TOPICS_MAX {
        let limit = TOPICS_MAX;
        return Handled::Close(CloseReason::TooManyTopics { asked, limit });
    }
    let view = broker.view();
    let answer = TopicAnswer {
        image: &view.image,
        operations: if body.include_topic_authorized_operations {
            TOPIC_OPERATIONS
        } else {
            OPERATIONS_OMITTED
        },
    };
    let may_create =
        broker.config.auto_create_topics && (version < 4 || body.allow_auto_topic_creation);
    let mut topics = Vec::new();
    let mut create = BTreeSet::new();
    let wants_all = match &body.topics {
        None => true,
        Some(names) => version == 0 && names.is_empty(),
    };
    if wants_all {
        topics.extend(view.topics().map(|topic| answer.found(topic)));
    }
    let wanted = body.topics.as_deref().unwrap_or_default();
    let by_id = wanted.iter().any(|topic| topic.topic_id != [0; 16]);
    if version < 12
        && wanted
            .iter()
            .any(|topic| topic.topic_id != [0; 16] || topic.name.is_none())
    {
        return refuse(request, wanted.len());
    }
    let mut seen = BTreeSet::new();
    for topic in wanted {
        if by_id {
            let id = TopicId(topic.topic_id);
            if id.is_zero() || !seen.insert((topic.topic_id, "")) {
                continue;
            }
            topics.push(match view.topic_by_id(id) {
                Some(topic) => answer.found(topic),
                None => answer.error(ErrorCode::UnknownTopicId, None, id),
            });
            continue;
        }
        let Some(name) = topic.name.as_deref() else {
            topics.push(answer.error(ErrorCode::UnknownServerError, None, TopicId::ZERO));
            continue;
        };
        if !seen.insert(([0; 16], name)) {
            continue;
        }
        topics.push(match view.topic(name) {
            Some(topic) => answer.found(topic),
            None if check_topic_name(name).is_err() => {
                answer.error(ErrorCode::InvalidTopicException, Some(name), TopicId::ZERO)
            }
            None => {
                if may_create {
                    create.insert(name.to_owned());
                }
                answer.error(
                    ErrorCode::UnknownTopicOrPartition,
                    Some(name),
                    TopicId::ZERO,
                )
            }
        });
    }
    if !create.is_empty() {
        let names = create.into_iter().collect();
        context
            .effects
            .push(Effect::Propose(Proposal::AutoCreate { names }));
    }
    let advertised = &context.client.advertised;
    let is_cluster_asked = body.include_cluster_authorized_operations;
    request.reply.answered(&MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id: broker.config.node_id.0,
            host: Cow::Borrowed(&advertised.host),
            port: i32::from(advertised.port),
            rack: broker.config.rack.as_deref().map(Cow::Borrowed),
        }],
        cluster_id: Some(Cow::Borrowed(&broker.config.cluster_id)),
        controller_id: broker.config.node_id.0,
        topics,
        cluster_authorized_operations: if is_cluster_asked {
            CLUSTER_OPERATIONS
        } else {
            OPERATIONS_OMITTED
        },
        ..MetadataResponse::default()
    })
}

/// Versions 10 and 11 carry ids they may not use: every topic is INVALID_REQUEST.
fn refuse(request: &Request<'_>, count: usize) -> Handled {
    let topic = || MetadataResponseTopic {
        error_code: ErrorCode::InvalidRequest.code(),
        name: Some(Cow::Borrowed("")),
        ..MetadataResponseTopic::default()
    };
    request.reply.answered(&MetadataResponse {
        topics: (0..count).map(|_| topic()).collect(),
        cluster_id: None,
        controller_id: -1,
        ..MetadataResponse::default()
    })
}

/// A partition. One that is offline here is led by nobody.
pub(crate) fn describe(
    index: i32,
    partition: &PartitionImage,
    is_offline: bool,
) -> MetadataResponsePartition {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    let (code, leader_id, offline_replicas) = match is_offline {
        false => (ErrorCode::None, partition.leader.0, Vec::new()),
        true => (
            ErrorCode::LeaderNotAvailable,
            NO_LEADER,
            vec![partition.leader.0],
        ),
    };
    MetadataResponsePartition {
        error_code: code.code(),
        partition_index: index,
        leader_id,
        leader_epoch: partition.leader_epoch.0,
        replica_nodes: ids(&partition.replicas),
        isr_nodes: ids(&partition.isr),
        offline_replicas,
    }
}

/// How topics are described in one answer.
struct TopicAnswer<'a> {
    image: &'a Image,
    operations: i32,
}

impl<'a> TopicAnswer<'a> {
    fn found<'t>(&self, topic: &'t HostedTopic) -> MetadataResponseTopic<'t>
    where
        'a: 't,
    {
        let partitions = self
            .image
            .topic_by_id(topic.id)
            .map(|topic| &topic.partitions);
        let partitions = partitions.into_iter().flatten().enumerate();
        MetadataResponseTopic {
            name: Some(Cow::Borrowed(&topic.name)),
            topic_id: topic.id.0,
            is_internal: topic.is_internal,
            partitions: partitions
                .map(|(index, partition)| {
                    let hosted = topic.partition(index as i32);
                    let is_offline = hosted.is_some_and(|hosted| hosted.is_offline());
                    describe(index as i32, partition, is_offline)
                })
                .collect(),
            topic_authorized_operations: self.operations,
            ..MetadataResponseTopic::default()
        }
    }

    fn error<'t>(
        &self,
        code: ErrorCode,
        name: Option<&'t str>,
        id: TopicId,
    ) -> MetadataResponseTopic<'t> {
        MetadataResponseTopic {
            error_code: code.code(),
            name: name.map(Cow::Borrowed),
            topic_id: id.0,
            topic_authorized_operations: self.operations,
            ..MetadataResponseTopic::default()
        }
    }
}
