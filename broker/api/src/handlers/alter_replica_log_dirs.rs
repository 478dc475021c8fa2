//! AlterReplicaLogDirs, versions 1 – 2 (KIP-113).
//!
//! Notes in which log directory partitions are to be, and answers at once: copying goes on in the background,
//! and DescribeLogDirs says how far it is. Asking for the directory that a partition is in ends a move.
//! Of a partition named for several directories the last one counts.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_replica_log_dirs_request::AlterReplicaLogDirsRequest;
use millstream_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsResponse,
};

use crate::dispatch::Request;
use crate::{Broker, Context, Effect, Handled};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
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
            error_code: alter(broker, context, topic, *index, path).code(),
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

fn alter(
    broker: &Broker,
    context: &mut Context<'_>,
    topic: &str,
    partition: i32,
    path: &str,
) -> ErrorCode {
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
    if hosted.is_offline() || broker.gates.has_failed(wanted) {
        return ErrorCode::KafkaStorageError;
    }
    if broker.moves.ask(hosted, wanted) {
        context.effects.push(Effect::MovePartitions);
    }
    ErrorCode::None
}
