//! A whole broker without threads and sockets.
//!
//! A [`Node`] opens the log directories, replays the metadata log, hosts the partitions and gives the
//! shell its steps: [`Node::flush`] a directory, [`Node::propose`] a change of metadata,
//! [`Node::run_queue`] of a slow directory, [`Node::load_groups`], [`Node::describe_log_dirs`], [`Node::group_timeout`],
//! [`Node::checkpoint`], [`Node::enforce_retention`], [`Node::remove_step`], [`Node::compact_once`], [`Node::scrub_once`], [`Node::move_step`].
//! Requests go to [`Node::broker`]. Every step returns the effects to carry out. The shell calls the steps from threads; the simulation calls the same ones in an order a seed decides.

#![forbid(unsafe_code)]

mod aside;
mod compaction;
mod describe_log_dirs;
mod directories;
mod directory_start;
mod dynamic;
mod flush;
mod flush_queue;
mod groups;
mod hosting;
mod metadata;
mod moves;
mod node;
mod open;
mod placement;
mod queue;
mod removals;
mod retention;
mod room;
mod safe_mode;
mod scrub;
mod sweep;
mod unfinished_moves;

pub use compaction::{CompactionConfig, Pause};
pub use directories::LogDirectory;
pub use flush::{FlushRound, NextRound};
pub use moves::MoveStep;
pub use node::{Node, NodeConfig};
pub use open::{OpenError, check_metadata};
pub use queue::QueueRest;
pub use room::DirectoryState;
pub use scrub::ScrubConfig;
