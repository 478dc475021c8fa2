//! CreateTopics, versions 2 – 7.
//!
//! The controller decides; the answer comes when its records are durable and the partitions are
//! open, so that a client may produce at once. 5: the topic's settings in the answer (KIP-525); 7:
//! topic ids (KIP-516). The request's timeout is not used: a lone controller answers or fails.

use std::borrow::Cow;

use millstream_metadata::{CreatedTopic, NewTopic, TopicCreation};
use millstream_protocol::ErrorCode;
use millstream_protocol::frame::Frame;
use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use millstream_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};

use crate::answers::Parked;
use crate::context::CloseReason;
use crate::dispatch::Request;
use crate::handlers::{
    alter_client_quotas, alter_configs, alter_user_scram_credentials, create_partitions,
    delete_records, delete_topics, describe_log_dirs, init_producer_id, update_features,
};
use crate::reply::Reply;
use crate::{Context, Effect, Handled, Proposal, ProposalAnswer};

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &CreateTopicsRequest<'_>,
) -> Handled {
    let topics = body.topics.iter().map(wanted).collect();
    let validate_only = body.validate_only;
    ParkedProposal::propose(context, request.reply, |token| Proposal::CreateTopics {
        token,
        topics,
        validate_only,
    })
}

fn wanted(topic: &CreatableTopic<'_>) -> NewTopic {
    let assignments = topic
        .assignments
        .iter()
        .map(|assignment| (assignment.partition_index, assignment.broker_ids.clone()));
    let configs = topic.configs.iter().map(|config| {
        (
            config.name.to_string(),
            config.value.as_ref().map(|value| value.to_string()),
        )
    });
    NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: assignments.collect(),
        configs: configs.collect(),
    }
}

fn answer(created: Result<Vec<TopicCreation>, ErrorCode>) -> CreateTopicsResponse<'static> {
    let topics = match created {
        Ok(topics) => topics.into_iter().map(topic_answer).collect(),
        Err(code) => vec![CreatableTopicResult {
            error_code: code.code(),
            error_message: None,
            ..CreatableTopicResult::default()
        }],
    };
    CreateTopicsResponse {
        topics,
        ..CreateTopicsResponse::default()
    }
}

fn topic_answer(topic: TopicCreation) -> CreatableTopicResult<'static> {
    match topic.result {
        Ok(created) => created_answer(topic.name, created),
        Err(error) => CreatableTopicResult {
            name: Cow::Owned(topic.name),
            error_code: error.code().code(),
            error_message: Some(Cow::Owned(error.to_string())),
            configs: Some(Vec::new()),
            ..CreatableTopicResult::default()
        },
    }
}

fn created_answer(name: String, created: CreatedTopic) -> CreatableTopicResult<'static> {
    let configs = created
        .configs
        .into_iter()
        .map(|config| CreatableTopicConfigs {
            name: Cow::Borrowed(config.def.name),
            value: Some(Cow::Owned(config.value)),
            read_only: false,
            config_source: config.source.code(),
            is_sensitive: false,
        });
    CreatableTopicResult {
        name: Cow::Owned(name),
        topic_id: created.id.0,
        error_message: None,
        num_partitions: created.partitions,
        replication_factor: created.replication_factor,
        configs: Some(configs.collect()),
        ..CreatableTopicResult::default()
    }
}

/// A request that waits for the metadata log.
pub struct ParkedProposal {
    reply: Reply,
}

impl ParkedProposal {
    /// Sends a proposal on its way and parks its request.
    pub(crate) fn propose(
        context: &mut Context<'_>,
        reply: Reply,
        proposal: impl FnOnce(millstream_model::RequestToken) -> Proposal,
    ) -> Handled {
        context
            .effects
            .push(Effect::Propose(proposal(context.token)));
        ParkedProposal::park(reply)
    }

    /// Parks a request whose answer another effect brings.
    pub(crate) fn park(reply: Reply) -> Handled {
        Handled::Parked(Box::new(Parked::Proposal(ParkedProposal { reply })))
    }

    pub(crate) fn handle_answer(
        &mut self,
        answered: ProposalAnswer,
    ) -> Result<Option<Frame>, CloseReason> {
        let frame = match answered {
            ProposalAnswer::TopicsCreated(created) => self.reply.frame(&answer(created)),
            ProposalAnswer::PartitionsCreated(created) => {
                self.reply.frame(&create_partitions::answer(created))
            }
            ProposalAnswer::FeaturesUpdated(updated) => {
                let answer = update_features::answer(self.reply.version, updated);
                self.reply.frame(&answer)
            }
            ProposalAnswer::ScramAltered(altered, failed) => {
                let answer = alter_user_scram_credentials::answer(altered, failed);
                self.reply.frame(&answer)
            }
            ProposalAnswer::ClientQuotasAltered(altered, failed) => {
                let answer = alter_client_quotas::answer(altered, failed);
                self.reply.frame(&answer)
            }
            ProposalAnswer::TopicsDeleted(deleted) => {
                self.reply.frame(&delete_topics::answer(deleted))
            }
            ProposalAnswer::ConfigsAltered {
                is_incremental: true,
                altered,
                failed,
            } => self.reply.frame(&alter_configs::changed(altered, failed)),
            ProposalAnswer::ConfigsAltered {
                is_incremental: false,
                altered,
                failed,
            } => self.reply.frame(&alter_configs::replaced(altered, failed)),
            ProposalAnswer::RecordsDeleted(deleted) => {
                self.reply.frame(&delete_records::answer(deleted))
            }
            ProposalAnswer::LogDirsDescribed(found) => {
                self.reply.frame(&describe_log_dirs::answer(found))
            }
            ProposalAnswer::ProducerId(Ok(id)) => self.reply.frame(&init_producer_id::granted(id)),
            ProposalAnswer::ProducerId(Err(code)) => {
                self.reply.frame(&init_producer_id::refused(code))
            }
        };
        frame.map(Some)
    }
}
