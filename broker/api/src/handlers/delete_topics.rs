//! DeleteTopics, versions 1 – 6.
//!
//! 3: TOPIC_DELETION_DISABLED (KIP-322); 4: flexible; 5: messages with errors; 6: topics by id
//! (KIP-516). The answer comes when the deletion is durable; the files go in the background.
//!
//! With `delete.topic.enable=false` every topic of the request is refused, known or not, as Kafka's
//! controller does before it looks at any.

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
use crate::{Broker, Context, Handled, Proposal};

/// From this version on clients know TOPIC_DELETION_DISABLED.
const VERSION_DISABLED: i16 = 3;

pub(crate) fn handle(
    broker: &Broker,
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
    let topics: Vec<TopicToDelete> = named.chain(stated).collect();
    if !broker.config.delete_topics {
        return request
            .reply
            .answered(&disabled(request.reply.version, topics));
    }
    ParkedProposal::propose(context, request.reply, |token| Proposal::DeleteTopics {
        token,
        topics,
    })
}

/// The answer where topics cannot be deleted.
fn disabled(version: i16, topics: Vec<TopicToDelete>) -> DeleteTopicsResponse<'static> {
    let code = match version {
        VERSION_DISABLED.. => ErrorCode::TopicDeletionDisabled,
        _ => ErrorCode::InvalidRequest,
    };
    let responses = topics.into_iter().map(|topic| DeletableTopicResult {
        name: topic.name.map(Cow::Owned),
        topic_id: topic.id.0,
        error_code: code.code(),
        error_message: Some(Cow::Borrowed(
            "topics cannot be deleted: the broker has delete.topic.enable=false",
        )),
    });
    DeleteTopicsResponse {
        responses: responses.collect(),
        ..DeleteTopicsResponse::default()
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn codes(version: i16, topics: Vec<TopicToDelete>) -> Vec<(Option<String>, i16)> {
        let answer = disabled(version, topics);
        let topics = answer.responses.into_iter();
        topics
            .map(|topic| (topic.name.map(Cow::into_owned), topic.error_code))
            .collect()
    }

    #[test]
    fn clients_that_do_not_know_the_code_for_disabled_get_invalid_request() {
        let named = TopicToDelete {
            name: Some("a".to_owned()),
            id: TopicId::ZERO,
        };
        let by_id = TopicToDelete {
            name: None,
            id: TopicId([7; 16]),
        };
        let a = || Some("a".to_owned());
        assert_eq!(codes(2, vec![named.clone()]), [(a(), 42)]);
        assert_eq!(codes(3, vec![named.clone()]), [(a(), 73)]);
        assert_eq!(codes(6, vec![named, by_id]), [(a(), 73), (None, 73)]);
    }
}
