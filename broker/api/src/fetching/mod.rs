//! What a fetch asks for, and what is remembered of it between requests.

mod partition;
mod partitions;
mod sessions;

pub(crate) use partition::{
    PartitionKey, Told, TopicKey, WantedPartition, check_leader_epoch, has_records,
};
pub(crate) use partitions::WantedPartitions;
pub use sessions::FetchSessions;
pub(crate) use sessions::{FetchSession, SessionState};

/// What one look at the partitions has found so far.
pub(crate) struct Look {
    pub bytes_left: usize,
    pub bytes_found: usize,
    /// Whether the first records may be more than that, so that one large batch does not stop a consumer.
    pub may_exceed: bool,
    pub has_error: bool,
    pub has_readable: bool,
}
