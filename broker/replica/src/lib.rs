//! What makes a log a *partition*: who leads it, how far its records are safe, and who waits for
//! that.
//!
//! A [`Partition`] talks to a log and to nothing else: it knows no files, no sockets and not who
//! elected its leader. Today it is the leader with itself as the only in-sync replica, so its high
//! watermark follows its own flushed offset; followers will move it in the same place.

#![forbid(unsafe_code)]

mod hosted;
mod parked;
mod partition;

pub use hosted::{HostedPartition, PartitionOffline};
pub use parked::ParkedQueue;
pub use partition::{AckFailure, Acks, Durability, Partition, PartitionAppend, Released, Waiter};
