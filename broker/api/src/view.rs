//! What a request sees of the cluster: one immutable picture, replaced as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use millstream_metadata::{CompressionType, Image, TopicConfig};
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
use millstream_protocol::records::{Codec, Compression, TimestampType, ValidationRules};
use millstream_replica::HostedPartition;

/// A topic with its settings resolved and its partitions opened.
pub struct HostedTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Its id.
    pub id: TopicId,
    /// Whether clients may not write to it.
    pub is_internal: bool,
    /// Its settings, overrides over broker defaults.
    pub config: TopicConfig,
    /// Its partitions by index.
    pub partitions: Vec<Arc<HostedPartition>>,
}

impl HostedTopic {
    /// The partition of this index.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Arc<HostedPartition>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// How far the metadata log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataLog {
    /// The epoch of its leader.
    pub leader_epoch: LeaderEpoch,
    /// Where it ends. All of it is committed.
    pub log_end_offset: Offset,
}

/// The metadata image together with the partitions opened for it.
pub struct View {
    /// The metadata.
    pub image: Arc<Image>,
    /// The log that it was read from.
    pub metadata_log: MetadataLog,
    by_name: HashMap<Arc<str>, Arc<HostedTopic>>,
    /// Ordered, because it is walked: what is written from a walk must not depend on chance.
    by_id: BTreeMap<TopicId, Arc<HostedTopic>>,
}

impl View {
    /// A view without topics.
    #[must_use]
    pub fn new(image: Arc<Image>) -> View {
        View {
            image,
            metadata_log: MetadataLog::default(),
            by_name: HashMap::new(),
            by_id: BTreeMap::new(),
        }
    }

    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<HostedTopic>> {
        self.by_name.get(name)
    }

    /// The topic of this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<HostedTopic>> {
        self.by_id.get(&id)
    }

    /// All topics, by rising id.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<HostedTopic>> {
        self.by_id.values()
    }

    /// The view after a change of metadata: some topics gone, some new or replaced.
    #[must_use]
    pub fn changed(
        &self,
        image: Arc<Image>,
        metadata_log: MetadataLog,
        removed: &[TopicId],
        added: Vec<Arc<HostedTopic>>,
    ) -> View {
        let mut by_name = self.by_name.clone();
        let mut by_id = self.by_id.clone();
        for id in removed {
            if let Some(topic) = by_id.remove(id) {
                by_name.remove(&topic.name);
            }
        }
        for topic in added {
            by_name.insert(topic.name.clone(), topic.clone());
            by_id.insert(topic.id, topic);
        }
        View {
            image,
            metadata_log,
            by_name,
            by_id,
        }
    }
}

/// What a batch produced to a topic of these settings must be, now.
pub(crate) fn validation_rules(config: &TopicConfig, wall: WallTime) -> ValidationRules {
    ValidationRules {
        max_message_bytes: config.max_message_bytes as usize,
        compacted: config.is_compacted,
        timestamp_type: match config.message_timestamp_type {
            millstream_metadata::TimestampType::CreateTime => TimestampType::CreateTime,
            millstream_metadata::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
        },
        before_max_ms: config.message_timestamp_before_max_ms,
        after_max_ms: config.message_timestamp_after_max_ms,
        now_ms: wall.0,
        // What may have to be compressed anew is read anyway.
        relaxed: config.is_validation_relaxed && compression(config).is_none(),
    }
}

/// What the batches of a topic of these settings are compressed with; `None`: what they come with.
pub(crate) fn compression(config: &TopicConfig) -> Option<Compression> {
    let (codec, level) = match config.compression_type {
        CompressionType::Producer => return None,
        CompressionType::Uncompressed => (Codec::None, None),
        CompressionType::Gzip { level } => (Codec::Gzip, level),
        CompressionType::Snappy => (Codec::Snappy, None),
        CompressionType::Lz4 => (Codec::Lz4, None),
        CompressionType::Zstd { level } => (Codec::Zstd, Some(level)),
    };
    Some(Compression { codec, level })
}

#[cfg(test)]
mod tests {
    use millstream_metadata::BrokerLayers;
    use millstream_model::NodeId;

    use super::*;

    #[test]
    fn topics_are_walked_by_rising_id() {
        let image = Arc::new(Image::default());
        let file = [].into_iter().collect();
        let layers = BrokerLayers::new(&image, NodeId(1), &file);
        let config = TopicConfig::resolve(None, &layers);
        let topic = |id: u8| {
            let name: Arc<str> = format!("topic{}", id % 7).into();
            Arc::new(HostedTopic {
                name,
                id: TopicId([id; 16]),
                is_internal: false,
                config: config.clone(),
                partitions: Vec::new(),
            })
        };
        let topics = (1..8).rev().map(topic).collect();
        let view = View::new(image.clone()).changed(image, MetadataLog::default(), &[], topics);
        let ids: Vec<u8> = view.topics().map(|topic| topic.id.0[0]).collect();
        assert_eq!(ids, [1, 2, 3, 4, 5, 6, 7]);
    }
}
