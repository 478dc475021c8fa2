//! What is queued for a slow directory, and how it is carried out there.
//!
//! Of a produce request each partition's batch goes its own way; other requests go as a whole, for they
//! are few and small. Fetches are not queued: a look goes past a partition that somebody is busy in, and
//! comes back.

use std::sync::Arc;

use bytes::Bytes;
use millstream_model::{Instant, RequestToken, TopicId, WallTime};
use millstream_protocol::ErrorCode;
use millstream_replica::HostedPartition;

use crate::append::{AppendRefusal, BatchToAppend, append};
use crate::context::Client;
use crate::directory_gate::QueueFull;
use crate::dispatch::Request;
use crate::{Broker, Completion, CompletionEvent, Context, Effect, Handled, handle_frame};

/// A step that waits for the thread of its directory.
pub enum QueuedStep {
    /// One partition's batch of a produce request.
    Append(Box<QueuedAppend>),
    /// A request.
    Request(Box<QueuedRequest>),
    /// A long poll no longer waits on the partition.
    Unpark {
        /// The partition.
        partition: Arc<HostedPartition>,
        /// The long poll.
        token: RequestToken,
    },
    /// A step of the group shard whose log is in the directory.
    Shard {
        /// The partition of `__consumer_offsets`.
        shard: usize,
        /// What to do.
        step: ShardStep,
    },
}

/// A step of a group shard that no request asks for.
pub enum ShardStep {
    /// Load it from its log. Done by the node.
    Load,
    /// Run the timers that are due.
    Timers,
    /// These topics are gone.
    ForgetTopics(Arc<[(Arc<str>, TopicId)]>),
    /// A member that waited in a group no longer does.
    Disconnect {
        /// The group.
        group_id: Box<str>,
        /// Its request.
        token: RequestToken,
    },
}

/// A validated batch on its way to its partition.
pub struct QueuedAppend {
    partition: Arc<HostedPartition>,
    batch: BatchToAppend,
}

/// A request on its way to its handler.
pub struct QueuedRequest {
    token: RequestToken,
    client: Client,
    frame: Bytes,
}

/// What became of a batch that was queued.
#[derive(Debug)]
pub struct StoredAppend {
    pub(crate) base_offset: i64,
    pub(crate) log_append_time_ms: i64,
    pub(crate) log_start_offset: i64,
    /// Whether [`CompletionEvent::Appended`] tells when it is durable.
    pub(crate) is_parked: bool,
}

impl QueuedStep {
    /// The memory that it keeps alive.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            QueuedStep::Append(append) => append.batch.frame_bytes + size_of::<QueuedAppend>(),
            QueuedStep::Request(request) => request.frame.len() + size_of::<QueuedRequest>(),
            QueuedStep::Unpark { .. } | QueuedStep::Shard { .. } => 0,
        }
    }

    pub(crate) fn is_append(&self) -> bool {
        matches!(self, QueuedStep::Append(_))
    }
}

impl QueuedAppend {
    /// A batch that is a small part of its frame is copied: what waits does not keep the other batches
    /// alive, and is counted once.
    pub(crate) fn step(
        partition: &Arc<HostedPartition>,
        directory: usize,
        mut batch: BatchToAppend,
    ) -> QueuedStep {
        batch.queued_in = Some(directory);
        if batch.bytes.len() < batch.frame_bytes / 2 {
            batch.bytes = Bytes::copy_from_slice(&batch.bytes);
            batch.frame_bytes = batch.bytes.len();
        }
        QueuedStep::Append(Box::new(QueuedAppend {
            partition: Arc::clone(partition),
            batch,
        }))
    }

    fn carry_out(self, broker: &Broker, wall: WallTime, effects: &mut Vec<Effect>) {
        let waiter = self.batch.waiter;
        let timed = broker.gates.time_write(self.partition.directory());
        let appended = append(broker, &self.partition, self.batch, wall, effects);
        drop(timed);
        let outcome = appended.map(|append| StoredAppend {
            base_offset: append.appended.base_offset.0,
            log_append_time_ms: append.appended.log_append_time.0,
            log_start_offset: append.appended.log_start_offset.0,
            is_parked: append.is_parked,
        });
        let event = CompletionEvent::Stored {
            slot: waiter.slot,
            outcome: Box::new(outcome),
        };
        let token = waiter.token;
        effects.push(Effect::Complete(Completion { token, event }));
    }
}

impl QueuedRequest {
    fn carry_out(self, broker: &Broker, now: Instant, wall: WallTime, effects: &mut Vec<Effect>) {
        let mut context = Context {
            now,
            wall,
            token: self.token,
            client: &self.client,
            effects,
            may_wait: true,
        };
        let handled = handle_frame(broker, &mut context, &self.frame);
        let event = CompletionEvent::Handled(Box::new(handled));
        let token = self.token;
        effects.push(Effect::Complete(Completion { token, event }));
    }
}

impl Broker {
    /// Queues a step for its directory. *Errors*: the queue is full; only appends and requests find it so.
    pub fn queue(
        &self,
        directory: usize,
        step: QueuedStep,
        effects: &mut Vec<Effect>,
    ) -> Result<(), QueueFull> {
        self.gates.push(directory, step)?;
        effects.push(Effect::RunQueue(directory));
        Ok(())
    }

    /// Carries out a step on the directory's own thread. The node loads shards.
    pub fn carry_out_queued(
        &self,
        step: QueuedStep,
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        match step {
            QueuedStep::Append(append) => append.carry_out(self, wall, effects),
            QueuedStep::Request(request) => request.carry_out(self, now, wall, effects),
            QueuedStep::Unpark { partition, token } => {
                if let Ok(mut locked) = partition.lock() {
                    locked.unpark_fetch(token);
                }
            }
            QueuedStep::Shard { shard, step } => {
                self.carry_out_in_shard(shard, step, now, wall, effects);
            }
        }
    }
}

/// Hands a request over to the thread of a directory, where it is handled once more.
pub(crate) fn hand_over(
    broker: &Broker,
    context: &mut Context<'_>,
    request: &Request<'_>,
    directory: usize,
) -> Handled {
    let queued = QueuedRequest {
        token: context.token,
        client: context.client.clone(),
        frame: request.frame.clone(),
    };
    let step = QueuedStep::Request(Box::new(queued));
    match broker.queue(directory, step, context.effects) {
        Ok(()) => Handled::queued(),
        Err(full) => Handled::Close(full.into()),
    }
}

impl From<QueueFull> for AppendRefusal {
    fn from(full: QueueFull) -> AppendRefusal {
        // Every client tries again after this one.
        AppendRefusal {
            code: ErrorCode::RequestTimedOut,
            message: Some(full.to_string()),
        }
    }
}
