//! Appending a validated batch under its partition's lock, on whichever thread.

use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use millstream_log::AppendError;
use millstream_model::WallTime;
use millstream_protocol::ErrorCode;
use millstream_protocol::records::ValidatedBatch;
use millstream_replica::{Acks, HostedPartition, Partition, PartitionAppend, Waiter};

use crate::context::queue_flush;
use crate::{Broker, Effect};

/// A validated batch, and who waits for it.
pub struct BatchToAppend {
    /// The log directory that it was queued for, if it was.
    pub queued_in: Option<usize>,
    pub(crate) bytes: Bytes,
    /// The size of the allocation that the batch is a slice of.
    pub(crate) frame_bytes: usize,
    pub(crate) validated: ValidatedBatch,
    pub(crate) acks: Acks,
    pub(crate) waiter: Waiter,
}

/// Why a batch was not appended.
#[derive(Debug)]
pub struct AppendRefusal {
    pub(crate) code: ErrorCode,
    pub(crate) message: Option<String>,
}

impl From<ErrorCode> for AppendRefusal {
    fn from(code: ErrorCode) -> AppendRefusal {
        AppendRefusal {
            code,
            message: None,
        }
    }
}

impl From<AppendError> for AppendRefusal {
    fn from(error: AppendError) -> AppendRefusal {
        AppendRefusal {
            code: error.code(),
            message: Some(error.to_string()),
        }
    }
}

/// Appends; passes on what that released, and asks for a flush.
pub(crate) fn append(
    broker: &Broker,
    partition: &Arc<HostedPartition>,
    batch: BatchToAppend,
    wall: WallTime,
    effects: &mut Vec<Effect>,
) -> Result<PartitionAppend, AppendRefusal> {
    let size = batch.bytes.len();
    let outcome = {
        let mut locked = lock(partition)?;
        if batch
            .queued_in
            .is_some_and(|queued_in| queued_in != partition.directory())
        {
            // It has moved meanwhile, and batches that were sent later may be in it.
            return Err(ErrorCode::NotLeaderOrFollower.into());
        }
        let outcome = locked.handle_append(
            batch.bytes,
            batch.frame_bytes,
            &batch.validated,
            batch.acks,
            batch.waiter,
            wall,
        );
        // A log that failed answers those who wait in it with the next round.
        if locked.log().is_offline() {
            queue_flush(partition, effects);
        }
        if outcome
            .as_ref()
            .is_ok_and(|append| !append.appended.duplicate)
        {
            // Under the lock: it is of the directory that was written to.
            broker.gates.note_appended(partition, size);
        }
        outcome
    };
    let mut appended = outcome?;
    if appended.needs_flush {
        queue_flush(partition, effects);
    }
    let released = std::mem::take(&mut appended.released);
    broker.handle_released(partition, released, effects);
    Ok(appended)
}

fn lock(partition: &HostedPartition) -> Result<MutexGuard<'_, Partition>, AppendRefusal> {
    if partition.is_deleted() {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let locked = partition.lock().map_err(|_| ErrorCode::KafkaStorageError)?;
    if locked.is_offline() {
        return Err(ErrorCode::KafkaStorageError.into());
    }
    Ok(locked)
}
