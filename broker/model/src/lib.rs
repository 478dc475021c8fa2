//! The nouns every broker crate shares: ids, positions and times as newtypes.
//!
//! This crate knows no IO and no policy. Raw integers belong to `millstream-protocol`; everything
//! behind it speaks these types.

#![forbid(unsafe_code)]

mod id;
mod offset;
mod time;
mod topic;

pub use id::{BrokerEpoch, DirectoryId, NodeId, ProducerEpoch, ProducerId, RequestToken, Sequence};
pub use offset::{LeaderEpoch, Offset};
pub use time::{Instant, WallTime};
pub use topic::{InvalidTopicName, TopicId, TopicPartition, check_topic_name, names_collide};
