//! What a request asks of the metadata log, and what it hears back.

use millstream_metadata::{NewTopic, TopicCreation, TopicDeletion, TopicToDelete};
use millstream_model::RequestToken;
use millstream_protocol::ErrorCode;

/// A change of metadata to be decided.
#[derive(Debug)]
pub enum Proposal {
    /// Create topics, and answer the request.
    CreateTopics {
        /// Who waits for it.
        token: RequestToken,
        /// The topics.
        topics: Vec<NewTopic>,
        /// Whether only to say what would happen.
        validate_only: bool,
    },
    /// Delete topics, and answer the request.
    DeleteTopics {
        /// Who waits for it.
        token: RequestToken,
        /// The topics.
        topics: Vec<TopicToDelete>,
    },
    /// Create topics that were asked for and do not exist, with default settings. Nobody waits.
    AutoCreate {
        /// Their names.
        names: Vec<String>,
    },
    /// Hand out a producer id.
    ProducerId {
        /// Who waits for it.
        token: RequestToken,
    },
}

/// What came of a proposal. The error is for when the metadata log could not take it.
#[derive(Debug)]
pub enum ProposalAnswer {
    /// To [`Proposal::CreateTopics`].
    TopicsCreated(Result<Vec<TopicCreation>, ErrorCode>),
    /// To [`Proposal::DeleteTopics`].
    TopicsDeleted(Result<Vec<TopicDeletion>, ErrorCode>),
    /// To [`Proposal::ProducerId`].
    ProducerId(Result<i64, ErrorCode>),
}
