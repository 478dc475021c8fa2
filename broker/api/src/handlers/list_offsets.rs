//! ListOffsets, versions 1 – 11.
//!
//! Timestamps below zero are questions with a name; others ask for the first record in offset order
//! with that timestamp or a later one. 2: isolation; 4: leader epochs (KIP-320); 7: −3, the record of
//! the greatest timestamp (KIP-734); 8: −4, earliest local (the log start here); 9 and 11: −5 and
//! −6, tiered offsets, of which there are none.

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_log::waiting;
use millstream_model::{Offset, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use millstream_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use millstream_replica::Partition;

use crate::dispatch::Request;
use crate::fetching::check_leader_epoch;
use crate::queued::hand_over;
use crate::visit::Visit;
use crate::{Broker, Context, Handled, HostedTopic};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const EARLIEST_PENDING_UPLOAD: i64 = -6;

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &ListOffsetsRequest<'_>,
) -> Handled {
    let version = request.reply.version;
    let view = broker.view();
    let mut visit = Visit::new(broker);
    let asked = body.topics.iter().flat_map(|topic| {
        let hosted = view.topic(&topic.name);
        let partitions = topic.partitions.iter();
        partitions.filter_map(move |wanted| hosted?.partition(wanted.partition_index))
    });
    if !context.may_wait
        && let Some(directory) = visit.find_slow(asked)
    {
        return hand_over(broker, context, request, directory);
    }
    let twice = partitions_named_twice(&body.topics);
    let topics = body.topics.iter().map(|topic| {
        let hosted = view.topic(&topic.name);
        let answer = |wanted: &ListOffsetsPartition| {
            let index = wanted.partition_index;
            let found = if twice.contains(&(topic.name.as_ref(), index)) {
                Err(ErrorCode::InvalidRequest)
            } else if !(0..=1).contains(&body.isolation_level) {
                Err(ErrorCode::UnknownServerError)
            } else {
                look_up(hosted.map(AsRef::as_ref), wanted, version)
            };
            found.unwrap_or_else(refused).into_answer(index, version)
        };
        ListOffsetsTopicResponse {
            name: Cow::Borrowed(topic.name.as_ref()),
            partitions: topic.partitions.iter().map(answer).collect(),
        }
    });
    request.reply.answered(&ListOffsetsResponse {
        topics: topics.collect(),
        ..ListOffsetsResponse::default()
    })
}

fn partitions_named_twice<'a>(topics: &'a [ListOffsetsTopic<'_>]) -> BTreeSet<(&'a str, i32)> {
    let mut seen = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for topic in topics {
        for partition in &topic.partitions {
            let key = (topic.name.as_ref(), partition.partition_index);
            if !seen.insert(key) {
                twice.insert(key);
            }
        }
    }
    twice
}

/// One partition's answer. "Nothing to give" is no error but −1 everywhere.
struct Found {
    code: ErrorCode,
    timestamp: i64,
    offset: i64,
    leader_epoch: i32,
}

const NOTHING: Found = Found {
    code: ErrorCode::None,
    timestamp: -1,
    offset: -1,
    leader_epoch: -1,
};

fn refused(code: ErrorCode) -> Found {
    Found { code, ..NOTHING }
}

impl Found {
    /// Versions below 4 know no leader epochs.
    fn into_answer(self, partition_index: i32, version: i16) -> ListOffsetsPartitionResponse {
        ListOffsetsPartitionResponse {
            partition_index,
            error_code: self.code.code(),
            timestamp: self.timestamp,
            offset: self.offset,
            leader_epoch: if version >= 4 { self.leader_epoch } else { -1 },
        }
    }
}

fn look_up(
    topic: Option<&HostedTopic>,
    wanted: &ListOffsetsPartition,
    version: i16,
) -> Result<Found, ErrorCode> {
    let hosted = topic
        .and_then(|topic| topic.partition(wanted.partition_index))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let locked = hosted.lock().map_err(|_| ErrorCode::KafkaStorageError)?;
    if locked.is_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    check_leader_epoch(&locked, wanted.current_leader_epoch)?;
    match wanted.timestamp {
        LATEST => Ok(Found {
            offset: locked.high_watermark().0,
            leader_epoch: locked.leader_epoch().0,
            ..NOTHING
        }),
        EARLIEST => Ok(earliest(&locked)),
        EARLIEST_LOCAL if version >= 8 => Ok(earliest(&locked)),
        MAX_TIMESTAMP if version >= 7 => {
            let upper = locked.high_watermark();
            let found = waiting(|| locked.log().max_timestamp_record(upper));
            timestamped(&locked, found)
        }
        LATEST_TIERED if version >= 9 => Ok(NOTHING),
        EARLIEST_PENDING_UPLOAD if version >= 11 => Ok(NOTHING),
        timestamp if timestamp >= 0 => {
            let upper = locked.high_watermark();
            let timestamp = WallTime(timestamp);
            let found = waiting(|| locked.log().offset_for_timestamp(timestamp, upper));
            timestamped(&locked, found)
        }
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn earliest(partition: &Partition) -> Found {
    let start = partition.log().log_start_offset();
    let epoch = partition
        .log()
        .epoch_for_offset(start)
        .unwrap_or(partition.leader_epoch());
    Found {
        offset: start.0,
        leader_epoch: epoch.0,
        ..NOTHING
    }
}

fn timestamped(
    partition: &Partition,
    found: Result<Option<(Offset, WallTime)>, millstream_log::ReadError>,
) -> Result<Found, ErrorCode> {
    let found = found.map_err(|error| {
        tracing::error!(%error, "offset look-up could not read the log");
        error.code()
    })?;
    let Some((offset, timestamp)) = found else {
        return Ok(NOTHING);
    };
    let epoch = partition
        .log()
        .epoch_for_offset(offset)
        .unwrap_or(partition.leader_epoch());
    Ok(Found {
        offset: offset.0,
        timestamp: timestamp.0,
        leader_epoch: epoch.0,
        ..NOTHING
    })
}
