//! CreatePartitions, versions 0 – 3 (KIP-195).
//!
//! The answer comes when the new partitions are durable in the metadata and open. 2: flexible; 3: the
//! client knows THROTTLING_QUOTA_EXCEEDED (KIP-599), which is not answered, for there is no quota of
//! changes. The request's timeout is not used: a lone controller answers or fails.

use std::borrow::Cow;

use millstream_metadata::{MorePartitions, PartitionsCreation};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use millstream_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Context, Handled, Proposal};

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &CreatePartitionsRequest<'_>,
) -> Handled {
    let topics = body.topics.iter().map(wanted).collect();
    let validate_only = body.validate_only;
    ParkedProposal::propose(context, request.reply, |token| Proposal::CreatePartitions {
        token,
        topics,
        validate_only,
    })
}

fn wanted(topic: &CreatePartitionsTopic<'_>) -> MorePartitions {
    let brokers = |assignments: &Vec<CreatePartitionsAssignment>| {
        let assignments = assignments.iter();
        assignments.map(|one| one.broker_ids.clone()).collect()
    };
    MorePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(brokers),
    }
}

/// The answer once the metadata log has decided.
pub(crate) fn answer(
    created: Result<Vec<PartitionsCreation>, ErrorCode>,
) -> CreatePartitionsResponse<'static> {
    let results = match created {
        Ok(topics) => topics.into_iter().map(topic_answer).collect(),
        Err(code) => vec![CreatePartitionsTopicResult {
            error_code: code.code(),
            ..CreatePartitionsTopicResult::default()
        }],
    };
    CreatePartitionsResponse {
        results,
        ..CreatePartitionsResponse::default()
    }
}

fn topic_answer(topic: PartitionsCreation) -> CreatePartitionsTopicResult<'static> {
    let error = topic.result.err();
    let code = error.as_ref().map_or(ErrorCode::None, |error| error.code());
    CreatePartitionsTopicResult {
        name: Cow::Owned(topic.name),
        error_code: code.code(),
        error_message: error.map(|error| Cow::Owned(error.to_string())),
    }
}
