//! A partition that a fetch asks for: which one it is, and what a look at it finds.

use std::sync::Arc;

use millstream_log::{ColdRead, ReadError};
use millstream_model::{LeaderEpoch, Offset, TopicId};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::fetch_request::FetchPartition;
use millstream_protocol::messages::fetch_response::{EpochEndOffset, PartitionData};
use millstream_protocol::wire::Records;
use millstream_replica::{HostedPartition, Partition};

use super::Look;
use crate::View;
use crate::visit::Visit;

/// So often a look waits, without the partition's lock, for what it needs to be in the page cache. Then it
/// waits with it: somebody takes it out faster than it comes.
const COLD_TRIES: u32 = 8;

/// A topic as the request names it: by name up to version 12, by id from 13 on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TopicKey {
    Name(Arc<str>),
    Id(TopicId),
}

/// A partition of such a topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PartitionKey {
    pub topic: TopicKey,
    pub partition: i32,
}

/// What a session's client was told last of a partition. −1: nothing, or an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub high_watermark: i64,
    pub log_start_offset: i64,
}

/// A partition that is asked for.
pub(crate) struct WantedPartition {
    pub key: PartitionKey,
    pub wanted: FetchPartition,
    pub told: Told,
    /// The partition, or why it cannot be read.
    target: Result<Arc<HostedPartition>, ErrorCode>,
    /// The name of the topic whose id this once was.
    known_name: Option<Arc<str>>,
    /// The high watermark at the last look.
    pub seen: Offset,
}

impl WantedPartition {
    /// Finds the partition. `is_replica`: the request is a follower's.
    pub(crate) fn new(
        key: PartitionKey,
        wanted: FetchPartition,
        view: &View,
        is_replica: bool,
    ) -> WantedPartition {
        let mut partition = WantedPartition {
            key,
            wanted,
            told: Told {
                high_watermark: -1,
                log_start_offset: -1,
            },
            target: Err(ErrorCode::NotLeaderOrFollower),
            known_name: None,
            seen: Offset::NONE,
        };
        partition.resolve(view, is_replica);
        partition
    }

    /// The partition, if it can be read.
    pub(crate) fn target(&self) -> Option<&Arc<HostedPartition>> {
        self.target.as_ref().ok()
    }

    /// Looks for it again, where it was not there or is gone.
    pub(crate) fn resolve_again(&mut self, view: &View) {
        if self
            .target
            .as_ref()
            .is_ok_and(|hosted| !hosted.is_deleted())
        {
            return;
        }
        self.resolve(view, false);
    }

    fn resolve(&mut self, view: &View, is_replica: bool) {
        let topic = match &self.key.topic {
            TopicKey::Name(name) => view.topic(name),
            TopicKey::Id(id) => view.topic_by_id(*id),
        };
        self.target = match topic {
            None => Err(self.unknown(view)),
            Some(topic) => {
                self.known_name = Some(Arc::clone(&topic.name));
                let partition = topic.partition(self.key.partition).map(Arc::clone);
                partition.ok_or(ErrorCode::UnknownTopicOrPartition)
            }
        };
        if is_replica && self.target.is_ok() {
            // No partition has followers yet.
            self.target = Err(ErrorCode::NotLeaderOrFollower);
        }
    }

    /// Why there is no such topic: never known, deleted, or made again with another id.
    fn unknown(&self, view: &View) -> ErrorCode {
        match (&self.key.topic, &self.known_name) {
            (TopicKey::Id(_), None) => ErrorCode::UnknownTopicId,
            (TopicKey::Id(_), Some(name)) if view.topic(name).is_some() => {
                ErrorCode::InconsistentTopicId
            }
            _ => ErrorCode::UnknownTopicOrPartition,
        }
    }

    /// One look. `None`: somebody is busy there, and there is nothing to say of it.
    pub(crate) fn read(
        &mut self,
        visit: &mut Visit<'_>,
        look: &mut Look,
        is_read_committed: bool,
    ) -> Option<PartitionData> {
        let hosted = match &self.target {
            Ok(hosted) => hosted,
            Err(code) => return Some(refused(self.wanted.partition, *code)),
        };
        look.has_readable = true;
        let mut tries = 0;
        let outcome = loop {
            let locked = match visit.lock(hosted) {
                _ if hosted.is_deleted() => break Err(ErrorCode::UnknownTopicOrPartition),
                Some(Ok(locked)) if !locked.is_offline() => locked,
                Some(_) => break Err(ErrorCode::KafkaStorageError),
                None => return None,
            };
            self.seen = locked.high_watermark();
            let may_wait = tries == COLD_TRIES;
            match read_partition(&locked, &self.wanted, look, may_wait) {
                Ok(outcome) => break outcome,
                Err(cold) => {
                    // Others may have the lock meanwhile.
                    drop(locked);
                    cold.wait();
                    tries += 1;
                }
            }
        };
        Some(match outcome {
            Ok(mut data) => {
                data.aborted_transactions = is_read_committed.then(Vec::new);
                look.has_error |= data.diverging_epoch != EpochEndOffset::default();
                data
            }
            Err(code) => {
                look.has_error = true;
                refused(self.wanted.partition, code)
            }
        })
    }

    /// What is said of a partition that was passed by: no records, and what was known at the last look.
    pub(crate) fn nothing_new(&self) -> PartitionData {
        PartitionData {
            partition_index: self.wanted.partition,
            high_watermark: self.seen.0,
            last_stable_offset: self.seen.0,
            records: Some(Records::default()),
            ..PartitionData::default()
        }
    }

    /// Whether a session's client does not know this of the partition yet.
    pub(crate) fn is_news(&self, data: &PartitionData) -> bool {
        has_records(data)
            || data.error_code != ErrorCode::None.code()
            || data.diverging_epoch != EpochEndOffset::default()
            || self.told != Told::of(data)
    }
}

impl Told {
    /// What this answer tells.
    pub(crate) fn of(data: &PartitionData) -> Told {
        Told {
            high_watermark: data.high_watermark,
            log_start_offset: data.log_start_offset,
        }
    }
}

/// Whether an answer has records of this partition.
pub(crate) fn has_records(data: &PartitionData) -> bool {
    data.records
        .as_ref()
        .is_some_and(|records| !records.is_empty())
}

/// Kafka's form of a partition that cannot be read: marks −1, no records.
fn refused(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData {
        partition_index,
        error_code: code.code(),
        high_watermark: -1,
        records: Some(Records::default()),
        ..PartitionData::default()
    }
}

/// Reads one partition, in Kafka's order of checks: leader epoch, last fetched epoch, offset range.
/// *Errors*: what the page cache does not hold, unless it `may_wait` for the disk.
fn read_partition(
    partition: &Partition,
    wanted: &FetchPartition,
    look: &mut Look,
    may_wait: bool,
) -> Result<Result<PartitionData, ErrorCode>, ColdRead> {
    let mut data = match begin_answer(partition, wanted) {
        Ok(data) if data.diverging_epoch == EpochEndOffset::default() => data,
        refused_or_diverging => return Ok(refused_or_diverging),
    };
    let offset = Offset(wanted.fetch_offset);
    let max_bytes = usize::try_from(wanted.partition_max_bytes)
        .unwrap_or(0)
        .min(look.bytes_left);
    let is_first = look.bytes_found == 0 && look.may_exceed;
    let read = match may_wait {
        true => partition.read(offset, max_bytes, is_first),
        false => partition.read_cached(offset, max_bytes, is_first)?,
    };
    let read = match read {
        Ok(read) => read,
        Err(error) => {
            if !matches!(error, ReadError::OutOfRange { .. }) {
                tracing::error!(%error, "fetch could not read the log");
            }
            return Ok(Err(error.code()));
        }
    };
    let records = Records::from(read.parts);
    look.bytes_found += records.len();
    look.bytes_left = look.bytes_left.saturating_sub(records.len());
    data.records = Some(records);
    Ok(Ok(data))
}

/// What is said of a partition before its records are read.
fn begin_answer(
    partition: &Partition,
    wanted: &FetchPartition,
) -> Result<PartitionData, ErrorCode> {
    check_leader_epoch(partition, wanted.current_leader_epoch)?;
    let diverging = find_divergence(partition, wanted)?;
    Ok(PartitionData {
        partition_index: wanted.partition,
        high_watermark: partition.high_watermark().0,
        last_stable_offset: partition.last_stable_offset().0,
        log_start_offset: partition.log().log_start_offset().0,
        diverging_epoch: diverging.unwrap_or_default(),
        records: Some(Records::default()),
        ..PartitionData::default()
    })
}

/// KIP-320: a client that knows an older leader is fenced, one that knows a newer one must wait.
pub(crate) fn check_leader_epoch(partition: &Partition, epoch: i32) -> Result<(), ErrorCode> {
    let current = partition.leader_epoch();
    match LeaderEpoch(epoch) {
        epoch if epoch.0 < 0 || epoch == current => Ok(()),
        epoch if epoch < current => Err(ErrorCode::FencedLeaderEpoch),
        _ => Err(ErrorCode::UnknownLeaderEpoch),
    }
}

/// KIP-595: where the client's log left ours, when the last epoch it fetched ended earlier here.
fn find_divergence(
    partition: &Partition,
    wanted: &FetchPartition,
) -> Result<Option<EpochEndOffset>, ErrorCode> {
    if wanted.last_fetched_epoch < 0 {
        return Ok(None);
    }
    let log = partition.log();
    if wanted.fetch_offset < log.log_start_offset().0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let asked = LeaderEpoch(wanted.last_fetched_epoch);
    let Some((epoch, end)) = partition.epoch_end_offset(asked) else {
        return Err(ErrorCode::OffsetOutOfRange);
    };
    let diverges = epoch < asked || end.0 < wanted.fetch_offset;
    Ok(diverges.then_some(EpochEndOffset {
        epoch: epoch.0,
        end_offset: end.0,
    }))
}
