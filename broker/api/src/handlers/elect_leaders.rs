//! ElectLeaders, versions 0 – 2 (KIP-183, KIP-460).
//!
//! The only replica of a partition leads it, or nobody can: where it is in service, an election is not
//! needed, preferred or unclean, and where its log directory has failed there is nobody to elect. 1: the
//! type of election, before that preferred; 2: flexible.
//!
//! A null list asks for all partitions, and then those that need no election are left out.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use millstream_protocol::messages::elect_leaders_response::{
    ElectLeadersResponse, PartitionResult, ReplicaElectionResult,
};

use crate::dispatch::Request;
use crate::{Broker, Handled, View};

#[derive(Clone, Copy)]
enum Election {
    Preferred,
    Unclean,
}

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &ElectLeadersRequest<'_>,
) -> Handled {
    let election = match body.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return refuse(request, body),
    };
    let view = broker.view();
    let results = match &body.topic_partitions {
        Some(listed) => listed
            .iter()
            .map(|topic| of_topic(&view, topic, election))
            .collect(),
        None => all(&view, election),
    };
    request.reply.answered(&ElectLeadersResponse {
        replica_election_results: results,
        ..ElectLeadersResponse::default()
    })
}

fn of_topic<'a>(
    view: &View,
    topic: &'a TopicPartitions<'_>,
    election: Election,
) -> ReplicaElectionResult<'a> {
    let partitions = topic.partitions.iter();
    let results = partitions.map(|partition| {
        let code = elect(view, &topic.topic, *partition, election);
        result(*partition, code)
    });
    ReplicaElectionResult {
        topic: Cow::Borrowed(&topic.topic),
        partition_result: results.collect(),
    }
}

fn all(view: &View, election: Election) -> Vec<ReplicaElectionResult<'_>> {
    let topics = view.image.topics().map(|topic| {
        let partitions = 0..topic.partition_count();
        let codes = partitions.map(|index| (index, elect(view, &topic.name, index, election)));
        let needed = codes.filter(|(_, code)| *code != ErrorCode::ElectionNotNeeded);
        ReplicaElectionResult {
            topic: Cow::Borrowed(&topic.name),
            partition_result: needed.map(|(index, code)| result(index, code)).collect(),
        }
    });
    topics.collect()
}

fn elect(view: &View, topic: &str, partition: i32, election: Election) -> ErrorCode {
    let hosted = view
        .topic(topic)
        .and_then(|topic| topic.partition(partition));
    match (hosted, election) {
        (None, _) => ErrorCode::UnknownTopicOrPartition,
        (Some(hosted), _) if !hosted.is_offline() => ErrorCode::ElectionNotNeeded,
        (Some(_), Election::Preferred) => ErrorCode::PreferredLeaderNotAvailable,
        (Some(_), Election::Unclean) => ErrorCode::EligibleLeadersNotAvailable,
    }
}

fn result(partition_id: i32, code: ErrorCode) -> PartitionResult<'static> {
    let message = match code {
        ErrorCode::ElectionNotNeeded => "leader election not needed for topic partition",
        ErrorCode::PreferredLeaderNotAvailable => "the preferred leader was not available",
        ErrorCode::EligibleLeadersNotAvailable => {
            "eligible topic partition leaders are not available"
        }
        ErrorCode::UnknownTopicOrPartition => "no topic has a partition of this name",
        _ => "the type of election must be 0 (preferred) or 1 (unclean)",
    };
    PartitionResult {
        partition_id,
        error_code: code.code(),
        error_message: Some(Cow::Borrowed(message)),
    }
}

/// The type of election is unknown.
fn refuse(request: &Request<'_>, body: &ElectLeadersRequest<'_>) -> Handled {
    let code = ErrorCode::InvalidRequest;
    let listed = body.topic_partitions.iter().flatten();
    let results = listed.map(|topic| ReplicaElectionResult {
        topic: Cow::Borrowed(&*topic.topic),
        partition_result: topic
            .partitions
            .iter()
            .map(|partition| result(*partition, code))
            .collect(),
    });
    request.reply.answered(&ElectLeadersResponse {
        error_code: code.code(),
        replica_election_results: results.collect(),
        ..ElectLeadersResponse::default()
    })
}
