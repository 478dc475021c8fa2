//! DeleteTopics, versions 1 – 6.
//!
//! 4: flexible; 5: messages with errors; 6: topics by id (KIP-516). The answer comes when the
//! deletion is durable; the files go in the background.

use std::borrow::Cow;

use millstream_metadata::{TopicDeletion, TopicToDelete};
use millstream_model::TopicId;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use millstream_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::{Context, Handled, Proposal};

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DeleteTopicsRequest<'_>,
) -> Handled {
    let named = body.topic_names.iter().map(|name| TopicToDelete {
        name: Some(name.to_string()),
        id: TopicId::ZERO,
    });
    let stated = body.topics.iter().map(|topic| TopicToDelete {
        name: topic.name.as_ref().map(|name| name.to_string()),
        id: TopicId(topic.topic_id),
    });
    let topics = named.chain(stated).collect();
    ParkedProposal::propose(context, request.reply, |token| Proposal::DeleteTopics {
        token,
        topics,
    })
}

/// The answer once the metadata log has decided.
pub(crate) fn answer(
    deleted: Result<Vec<TopicDeletion>, ErrorCode>,
) -> DeleteTopicsResponse<'static> {
    let responses = match deleted {
        Ok(topics) => topics.into_iter().map(topic_answer).collect(),
        Err(code) => vec![DeletableTopicResult {
            name: Some(Cow::Borrowed("")),
            error_code: code.code(),
            ..DeletableTopicResult::default()
        }],
    };
    DeleteTopicsResponse {
        responses,
        ..DeleteTopicsResponse::default()
    }
}

fn topic_answer(topic: TopicDeletion) -> DeletableTopicResult<'static> {
    let error = topic.result.err();
    DeletableTopicResult {
        name: topic.name.map(Cow::Owned),
        topic_id: topic.id.0,
        error_code: error.map_or(ErrorCode::None, |error| error.code()).code(),
        error_message: error.map(|error| Cow::Owned(error.to_string())),
    }
}
