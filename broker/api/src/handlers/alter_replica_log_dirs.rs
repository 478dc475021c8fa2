//! AlterReplicaLogDirs, versions 1 – 2 (KIP-113).
//!
//! A partition may be asked for in the log directory it is in. It cannot be moved to another one yet: that
//! is answered OPERATION_NOT_ATTEMPTED, and nothing is done. Of a partition named for several directories
//! the last one counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use millstream_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};

use crate::dispatch::Request;
use crate::{Broker, Handled};

pub(crate) fn handle(
    broker: &Broker,
    request: &Request<'_>,
    body: &AlterReplicaLogDirsRequest<'_>,
) -> Handled {
    let mut asked: BTreeMap<&str, BTreeMap<i32, &str>> = BTreeMap::new();
    for directory in &body.dirs {
        for topic in &directory.topics {
            let partitions = asked.entry(&topic.name).or_default();
            partitions.extend(
                topic
                    .partitions
                    .iter()
                    .map(|index| (*index, &*directory.path)),
            );
        }
    }
    let results = asked.iter().map(|(topic, partitions)| {
        let partitions = partitions.iter();
        let results = partitions.map(|(index, path)| AlterReplicaLogDirPartitionResult {
            partition_index: *index,
            error_code: alter(broker, topic, *index, path).code(),
        });
        AlterReplicaLogDirTopicResult {
            topic_name: Cow::Borrowed(topic),
            partitions: results.collect(),
        }
    });
    request.reply.answered(&AlterReplicaLogDirsResponse {
        results: results.collect(),
        ..AlterReplicaLogDirsResponse::default()
    })
}

fn alter(broker: &Broker, topic: &str, partition: i32, path: &str) -> ErrorCode {
    let directories = &broker.config.log_directories;
    let Some(wanted) = directories.iter().position(|directory| directory == path) else {
        return ErrorCode::LogDirNotFound;
    };
    let view = broker.view();
    let hosted = view
        .topic(topic)
        .and_then(|topic| topic.partition(partition));
    let Some(hosted) = hosted else {
        return ErrorCode::UnknownTopicOrPartition;
    };
    if hosted.is_offline() {
        return ErrorCode::KafkaStorageError;
    }
    if hosted.directory != wanted {
        tracing::warn!(
            partition = %hosted.name, directory = path,
            "partitions cannot be moved between log directories yet"
        );
        return ErrorCode::OperationNotAttempted;
    }
    ErrorCode::None
}
