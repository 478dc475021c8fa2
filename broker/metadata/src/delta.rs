//! What a change of the metadata changed, for those who act on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use millstream_model::TopicId;

use crate::image::{Image, TopicImage};

/// What an [`Image::apply`] changed. A topic stands in one of the lists only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delta {
    /// New topics, as they are in the new image.
    pub created: BTreeMap<TopicId, Arc<TopicImage>>,
    /// Topics that are gone, as they were in the old image.
    pub deleted: BTreeMap<TopicId, Arc<TopicImage>>,
    /// Topics with other partitions, epochs or configs, as they are in the new image.
    pub changed: BTreeMap<TopicId, Arc<TopicImage>>,
    /// Whether a dynamic config of a broker, or of all, changed.
    pub is_broker_config_changed: bool,
}

impl Delta {
    /// Whether nothing of interest to subscribers changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Delta::default()
    }

    /// Notes that a topic is about to change; the new state is filled in at the end.
    pub(crate) fn mark_changed(
        &mut self,
        id: TopicId,
        topics: &BTreeMap<TopicId, Arc<TopicImage>>,
    ) {
        if self.created.contains_key(&id) || self.changed.contains_key(&id) {
            // Holding a second reference would make every further change copy the topic.
            return;
        }
        if let Some(topic) = topics.get(&id) {
            self.changed.insert(id, topic.clone());
        }
    }

    /// Notes that a topic is about to go, keeping its old state where there was one.
    pub(crate) fn mark_deleted(
        &mut self,
        id: TopicId,
        topics: &BTreeMap<TopicId, Arc<TopicImage>>,
    ) {
        if self.created.remove(&id).is_some() {
            return;
        }
        // `changed` still holds the state before the first change.
        let old = self
            .changed
            .remove(&id)
            .or_else(|| topics.get(&id).cloned());
        if let Some(old) = old {
            self.deleted.insert(id, old);
        }
    }

    /// Replaces the noted states by those of the new image.
    pub(crate) fn fill_from(&mut self, image: &Image) {
        for (id, topic) in self.created.iter_mut().chain(&mut self.changed) {
            let new = image.topic_by_id(*id);
            *topic = new.expect("deleted topics left the lists").clone();
        }
    }
}
