//! DescribeLogDirs, versions 1 – 5 (KIP-113).
//!
//! Every log directory, with what lies in it of the partitions asked for: all with a null list, none with
//! an empty one; what there is not is left out. Sizes are those of the `.log` files. The leader's only
//! replica lags behind nobody; one that is on its way from another directory says how much is missing. A
//! directory that is offline is KAFKA_STORAGE_ERROR. 3: an error of the whole request, of which there is none; 4: size and room of the
//! file system (KIP-827); 5: cordoned directories, of which there are none.
//!
//! A thread that may wait for disks looks.

use std::borrow::Cow;
use std::collections::BTreeMap;

use millstream_model::TopicPartition;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use millstream_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};

use crate::dispatch::Request;
use crate::handlers::ParkedProposal;
use crate::proposal::{LogDirectoryDescription, LogDirectoryState};
use crate::{Context, Effect, Handled};

pub(crate) fn handle(
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &DescribeLogDirsRequest<'_>,
) -> Handled {
    let wanted = body.topics.as_ref().map(|topics| {
        let partitions = topics.iter().flat_map(|topic| {
            let name: std::sync::Arc<str> = topic.topic.as_ref().into();
            topic
                .partitions
                .iter()
                .map(move |partition| TopicPartition {
                    topic: name.clone(),
                    partition: *partition,
                })
        });
        partitions.collect()
    });
    context.effects.push(Effect::DescribeLogDirs {
        token: context.token,
        wanted,
    });
    ParkedProposal::park(request.reply)
}

/// The answer once somebody has looked.
pub(crate) fn answer(found: Vec<LogDirectoryDescription>) -> DescribeLogDirsResponse<'static> {
    DescribeLogDirsResponse {
        results: found.into_iter().map(result).collect(),
        ..DescribeLogDirsResponse::default()
    }
}

fn result(found: LogDirectoryDescription) -> DescribeLogDirsResult<'static> {
    let log_dir = Cow::Owned(found.path);
    match found.state {
        None => DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir,
            ..DescribeLogDirsResult::default()
        },
        Some(state) => DescribeLogDirsResult {
            log_dir,
            total_bytes: wire_bytes(state.total_bytes),
            usable_bytes: wire_bytes(state.usable_bytes),
            topics: topics(state),
            ..DescribeLogDirsResult::default()
        },
    }
}

fn topics(state: LogDirectoryState) -> Vec<DescribeLogDirsTopic<'static>> {
    let mut topics: BTreeMap<_, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (name, bytes) in state.partitions {
        let partitions = topics.entry(name.topic).or_default();
        partitions.push(DescribeLogDirsPartition {
            partition_index: name.partition,
            partition_size: wire_bytes(bytes),
            offset_lag: 0,
            is_future_key: false,
        });
    }
    for arriving in state.arriving {
        let partitions = topics.entry(arriving.name.topic).or_default();
        partitions.push(DescribeLogDirsPartition {
            partition_index: arriving.name.partition,
            partition_size: wire_bytes(arriving.bytes),
            offset_lag: arriving.offset_lag,
            is_future_key: true,
        });
    }
    let topics = topics.into_iter();
    topics
        .map(|(name, partitions)| DescribeLogDirsTopic {
            name: Cow::Owned(name.to_string()),
            partitions,
        })
        .collect()
}

/// A file system may be larger than the wire can say.
fn wire_bytes(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
