//! What a handler is given and what it gives back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_model::{Instant, RequestToken, TopicPartition, WallTime};
use millstream_protocol::frame::Frame;
use millstream_replica::HostedPartition;

use crate::answers::{Completion, Parked};
use crate::directory_gate::QueueFull;
use crate::proposal::RecordsToDelete;
use crate::{HostPort, Proposal};

/// The type of every principal.
pub(crate) const USER: &str = "User";
/// Who speaks on a plaintext listener.
pub(crate) const ANONYMOUS: &str = "ANONYMOUS";

/// Who is on the other end of a connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// The peer's address, as group members are described with (`/127.0.0.1`).
    pub host: String,
    /// Where this broker is reached from there, as it is told to this client.
    pub advertised: HostPort,
}

/// The surroundings of one request.
pub struct Context<'a> {
    /// The monotonic clock, read once for the step.
    pub now: Instant,
    /// The wall clock, read once for the step.
    pub wall: WallTime,
    /// Names this request to whatever answers it later.
    pub token: RequestToken,
    /// The peer.
    pub client: &'a Client,
    /// What must happen elsewhere, in order.
    pub effects: &'a mut Vec<Effect>,
    /// Whether the step runs where it may wait for a slow disk; otherwise what would is queued.
    pub may_wait: bool,
}

/// Something a step asks of its caller. Effects of one step are carried out in order, after it.
pub enum Effect {
    /// The partition has unflushed bytes: take it into the next round of its directory.
    Flush(Arc<HostedPartition>),
    /// Steps are queued for a slow log directory: its thread carries them out.
    RunQueue(usize),
    /// Decide this at the metadata log.
    Propose(Proposal),
    /// Delete the first records of partitions, make that durable, and answer the request.
    DeleteRecords {
        /// Who waits for it.
        token: RequestToken,
        /// What to delete.
        records: Vec<RecordsToDelete>,
    },
    /// Look at the log directories and answer the request. May wait for disks.
    DescribeLogDirs {
        /// Who waits for it.
        token: RequestToken,
        /// The partitions to tell of; `None` for all.
        wanted: Option<BTreeSet<TopicPartition>>,
    },
    /// Partitions are to be in other log directories: [`crate::Broker::moves`] says which.
    MovePartitions,
    /// An answer, or a part of one, is ready for a parked request.
    Complete(Completion),
    /// A group shard wants [`crate::Broker::handle_group_timeout`] no later than this.
    GroupTimer {
        /// The partition of `__consumer_offsets`.
        shard: usize,
        /// The monotonic time.
        at: Instant,
    },
    /// A group shard lost its log: load it again from there.
    ReloadGroups {
        /// The partition of `__consumer_offsets`.
        shard: usize,
    },
}

/// Asks for a flush of the partition, once until a round takes it.
pub(crate) fn queue_flush(partition: &Arc<HostedPartition>, effects: &mut Vec<Effect>) {
    if partition.mark_awaits_flush() {
        effects.push(Effect::Flush(Arc::clone(partition)));
    }
}

/// What became of a request.
pub enum Handled {
    /// The answer is ready.
    Answered(Frame),
    /// The request has no answer (`acks=0`).
    Silent,
    /// The answer comes later; the connection keeps this in its place in the order.
    Parked(Box<Parked>),
    /// As said, and until then no further request of the connection is read: its client is over its quota
    /// (KIP-219).
    Throttled {
        /// When to read on.
        until: Instant,
        /// What became of the request.
        handled: Box<Handled>,
    },
    /// The connection must be closed, for this reason.
    Close(CloseReason),
}

impl Handled {
    /// The connection is not read for so long; zero for a client within its quota.
    pub(crate) fn throttled(self, now: Instant, throttle: Duration) -> Handled {
        match self {
            handled if throttle.is_zero() => handled,
            close @ Handled::Close(_) => close,
            handled => Handled::Throttled {
                until: now.after(throttle),
                handled: Box::new(handled),
            },
        }
    }

    /// The request is handled elsewhere, later.
    pub(crate) fn queued() -> Handled {
        Handled::Parked(Box::new(Parked::Queued(Vec::new())))
    }
}

impl std::fmt::Debug for Handled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Handled::Answered(_) => "Answered",
            Handled::Silent => "Silent",
            Handled::Parked(_) => "Parked",
            Handled::Throttled { .. } => "Throttled",
            Handled::Close(_) => "Close",
        })
    }
}

/// Why a connection is closed without an answer, as Kafka does for what it cannot parse.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The frame could not be decoded.
    #[error("malformed {request} request: {cause}")]
    Malformed {
        /// The request's name, or what is known of it.
        request: &'static str,
        /// What the decoder says.
        cause: millstream_protocol::wire::DecodeError,
    },
    /// The request or its version is not advertised.
    #[error("request {api_key} version {version} is not advertised")]
    NotAdvertised {
        /// The request's key.
        api_key: i16,
        /// Its version.
        version: i16,
    },
    /// The request asks for more topics than one answer may tell of.
    #[error("the request names {asked} topics, and one may name {limit}: split it")]
    TooManyTopics {
        /// Topics named.
        asked: usize,
        /// The bound on them.
        limit: usize,
    },
    /// A produce with `acks=0` failed: there is no other way to say so.
    #[error("produce with acks=0 failed: {0}")]
    SilentProduceFailed(millstream_protocol::ErrorCode),
    /// Too much waits for a slow log directory to let another request wait.
    #[error(transparent)]
    QueueFull(#[from] QueueFull),
    /// The answer could not be encoded: our fault.
    #[error("answer to {request} cannot be encoded: {cause}")]
    Unencodable {
        /// The request's name.
        request: &'static str,
        /// What the encoder says.
        cause: millstream_protocol::wire::EncodeError,
    },
}
