//! The coordinator of classic groups and their offsets, as a pure step function.
//!
//! One [`Shard`] is one partition of `__consumer_offsets`: the groups whose ids hash to it (see
//! [`shard_of`]) and the offsets they committed. The way of every change is *decide → records →
//! replay*:
//!
//! ```text
//!  handle_*  ──► Outcome { records, answers }      durable state is not touched
//!                  │            │
//!   append as one batch         │                  fails: drop the shard, answer drain_parked()
//!                  │            │
//!               replay     park until `After`      the code that also loads after a restart
//!                  │            │
//!           high watermark ──► send
//! ```
//!
//! Durable is what records say: offsets, and of a group its generation, protocol, leader, members
//! and assignments. Volatile is the rest: who has joined the next generation, whose call waits, all
//! timers. Handlers change volatile state directly; after a failover clients rebuild it by joining
//! again. Timeouts take the same road as requests.
//!
//! This crate knows no logs, sockets, threads and clocks. Time is an argument.

#![forbid(unsafe_code)]

mod commit;
mod config;
mod delete;
mod describe;
mod disconnect;
mod fetch;
mod group;
mod heartbeat;
mod join;
mod leave;
mod member;
mod offsets;
mod outcome;
mod placement;
mod protocols;
mod rebalance;
mod record;
mod refusal;
mod request;
mod shard;
mod stored;
mod subscription;
mod sweep;
mod sync;
mod timers;

pub use config::GroupConfig;
pub use fetch::{join_offset_fetch, split_offset_fetch};
pub use offsets::CommittedOffset;
pub use outcome::{After, GroupAnswer, Outcome, ParkedAnswer};
pub use placement::shard_of;
pub use record::{CoordinatorRecord, LoggedRecord, ReplayError};
pub use refusal::{
    refuse_commit, refuse_heartbeat, refuse_join, refuse_leave, refuse_offset_fetch, refuse_sync,
};
pub use request::{RequestContext, TopicLookup};
pub use shard::{DurableGroup, DurableMember, Shard};
pub use sweep::{SweepCursor, SweepLimits};
