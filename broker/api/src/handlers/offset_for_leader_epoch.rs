//! OffsetForLeaderEpoch, versions 2 – 4 (KIP-101, KIP-320).
//!
//! A client whose metadata names a newer leader epoch asks where the epoch of its last record ends
//! here. An end before its position says that what it read is gone, and it goes back to there instead
//! of passing over what was written since. 3: replica id, of no meaning to one broker; 4: flexible.
//!
//! −1 and −1, without an error, for an epoch that no leader of the partition had yet.

use std::borrow::Cow;

use millstream_model::LeaderEpoch;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use millstream_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use crate::dispatch::Request;
use crate::fetching::check_leader_epoch;
use crate::queued::hand_over;
use crate::visit::Visit;
use crate::{Broker, Context, Handled, HostedTopic};

pub(crate) fn handle(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    body: &OffsetForLeaderEpochRequest<'_>,
) -> Handled {
    let view = broker.view();
    let mut visit = Visit::new(broker);
    let asked = body.topics.iter().flat_map(|topic| {
        let hosted = view.topic(&topic.topic);
        let partitions = topic.partitions.iter();
        partitions.filter_map(move |asked| hosted?.partition(asked.partition))
    });
    if !context.may_wait
        && let Some(directory) = visit.find_slow(asked)
    {
        return hand_over(broker, context, request, directory);
    }
    let topics = body.topics.iter().map(|topic| {
        let hosted = view.topic(&topic.topic).map(AsRef::as_ref);
        let partitions = topic.partitions.iter();
        let answer = |asked: &OffsetForLeaderPartition| {
            look_up(hosted, asked).unwrap_or_else(|code| EpochEndOffset {
                error_code: code.code(),
                ..nothing(asked)
            })
        };
        OffsetForLeaderTopicResult {
            topic: Cow::Borrowed(topic.topic.as_ref()),
            partitions: partitions.map(answer).collect(),
        }
    });
    request.reply.answered(&OffsetForLeaderEpochResponse {
        topics: topics.collect(),
        ..OffsetForLeaderEpochResponse::default()
    })
}

fn nothing(asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    EpochEndOffset {
        error_code: ErrorCode::None.code(),
        partition: asked.partition,
        leader_epoch: -1,
        end_offset: -1,
    }
}

fn look_up(
    topic: Option<&HostedTopic>,
    asked: &OffsetForLeaderPartition,
) -> Result<EpochEndOffset, ErrorCode> {
    let hosted = topic
        .and_then(|topic| topic.partition(asked.partition))
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let locked = hosted.lock().map_err(|_| ErrorCode::KafkaStorageError)?;
    if locked.is_offline() {
        return Err(ErrorCode::KafkaStorageError);
    }
    check_leader_epoch(&locked, asked.current_leader_epoch)?;
    let found = locked.epoch_end_offset(LeaderEpoch(asked.leader_epoch));
    Ok(match found {
        None => nothing(asked),
        Some((epoch, end)) => EpochEndOffset {
            leader_epoch: epoch.0,
            end_offset: end.0,
            ..nothing(asked)
        },
    })
}
