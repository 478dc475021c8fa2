//! Deleting topics, by name or by id (KIP-516).

use std::collections::BTreeMap;

use millstream_model::TopicId;
use millstream_protocol::ErrorCode;

use crate::controller::{Controller, Decision};
use crate::image::Image;
use crate::record::{Record, RemoveTopicRecord};

/// A topic that a client wants gone: by name xor by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicToDelete {
    /// Its name.
    pub name: Option<String>,
    /// Its id; zero for none.
    pub id: TopicId,
}

/// The answer for one topic of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDeletion {
    /// The topic's name, where it is known.
    pub name: Option<String>,
    /// The topic's id, where it is known, else zero.
    pub id: TopicId,
    /// What came of it.
    pub result: Result<(), DeleteTopicError>,
}

/// Why a topic is not deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// Neither or both of name and id are given.
    #[error("a topic is named by its name or by its id, and not by both")]
    NameAndId,
    /// The request names the topic twice.
    #[error("the request names this topic more than once")]
    Duplicate,
    /// No topic has the name.
    #[error("no topic has this name")]
    UnknownName,
    /// No topic has the id.
    #[error("no topic has this id")]
    UnknownId,
}

impl DeleteTopicError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            DeleteTopicError::NameAndId | DeleteTopicError::Duplicate => ErrorCode::InvalidRequest,
            DeleteTopicError::UnknownName => ErrorCode::UnknownTopicOrPartition,
            DeleteTopicError::UnknownId => ErrorCode::UnknownTopicId,
        }
    }
}

impl Controller {
    /// DeleteTopics. A topic that is named twice, in whatever way, is answered once and stays.
    pub fn decide_delete_topics(
        &self,
        image: &Image,
        topics: &[TopicToDelete],
    ) -> Decision<Vec<TopicDeletion>> {
        let mut answer: Vec<TopicDeletion> = Vec::new();
        let mut answer_of_name: BTreeMap<String, usize> = BTreeMap::new();
        let mut answer_of_id: BTreeMap<TopicId, usize> = BTreeMap::new();
        for topic in topics {
            let found = find(image, topic);
            let by_name = found
                .name
                .as_ref()
                .and_then(|name| answer_of_name.get(name));
            let earlier = by_name.or_else(|| answer_of_id.get(&found.id));
            if let (Some(&earlier), false) = (earlier, is_ambiguous(topic)) {
                answer[earlier].result = Err(DeleteTopicError::Duplicate);
                continue;
            }
            if found.result != Err(DeleteTopicError::NameAndId) {
                if let Some(name) = &found.name {
                    answer_of_name.insert(name.clone(), answer.len());
                }
                if !found.id.is_zero() {
                    answer_of_id.insert(found.id, answer.len());
                }
            }
            answer.push(found);
        }
        let deleted = answer.iter().filter(|deletion| deletion.result.is_ok());
        let records = deleted.map(|deletion| {
            let topic_id = deletion.id.0.to_vec();
            Record::from(RemoveTopicRecord { topic_id })
        });
        Decision {
            records: records.collect(),
            answer,
        }
    }
}

fn is_ambiguous(topic: &TopicToDelete) -> bool {
    topic.name.is_some() != topic.id.is_zero()
}

fn find(image: &Image, topic: &TopicToDelete) -> TopicDeletion {
    let missing = |error| TopicDeletion {
        name: topic.name.clone(),
        id: topic.id,
        result: Err(error),
    };
    if is_ambiguous(topic) {
        return missing(DeleteTopicError::NameAndId);
    }
    let (found, error) = match &topic.name {
        Some(name) => (image.topic(name), DeleteTopicError::UnknownName),
        None => (image.topic_by_id(topic.id), DeleteTopicError::UnknownId),
    };
    match found {
        None => missing(error),
        Some(found) => TopicDeletion {
            name: Some(found.name.to_string()),
            id: found.id,
            result: Ok(()),
        },
    }
}
