//! One partition's log on disk, laid out as Kafka lays it out.
//!
//! ```text
//!   <topic>-<partition>/
//!     partition.metadata            the topic's id
//!     leader-epoch-checkpoint       where each leader's records begin
//!     00000000000000000000.log      batches, one after another     ─┐
//!     00000000000000000000.index    offset → position, sparse       ├ one segment
//!     00000000000000000000.timeindex  time → offset, sparse        ─┘
//!     00000000000000000000.digest checksums of the .log file, once it is sealed and checked
//!     00000000000000000042.snapshot producers as of offset 42, for Kafka's tools
//!     00000000000000000042.producers the same with five batches each: what is loaded
//!     compaction                    how far it is compacted, if it ever was
//!     moved-from                    the id of the log directory that may still have its old files
//! ```
//!
//! A [`Log`] is appended to, flushed, read and recovered. It knows no leaders, no clients and no
//! network; who may see which offset is its owner's business. The active segment is the last one; the
//! others are sealed: they never change, but compaction may put one in the place of several.

#![forbid(unsafe_code)]

mod append;
mod cache;
mod checkpoint;
mod compaction;
mod config;
mod cut;
mod derived;
mod digest;
mod directory_health;
mod envelope;
mod error;
mod flush;
mod index;
pub mod inspect;
mod leader_epochs;
mod listing;
mod log;
mod lookup;
mod mended_length;
mod names;
mod offset_index;
mod open;
mod opening_epochs;
mod partition_metadata;
mod producer_file;
mod producer_files;
mod producer_state;
mod read;
mod recovery;
mod relocation;
mod retention;
mod room;
mod scan;
mod scrub;
mod segment;
mod starts;
mod time_index;
mod verified;

pub use append::Appended;
pub use cache::CacheBudget;
pub use checkpoint::{Checkpoint, CheckpointEntry};
pub use compaction::{CompactionPass, CompactionRules, Dirtiness, OffsetMap, PassStep};
pub use config::LogConfig;
pub use cut::Cut;
pub use directory_health::{DirectoryHealth, HealthLimits, SlowCause};
pub use error::{AppendError, CompactionError, OpenError, ReadError};
pub use flush::{FlushBeside, FlushEnd, FlushWork};
pub use log::{Log, LogPlace};
pub use millstream_env::{ColdRead, waiting};
pub use open::{Noted, Recovery};
pub use partition_metadata::topic_of;
pub use producer_state::ActiveProducer;
pub use read::LogRead;
pub use relocation::{CopyError, CopyPlan, LogCopy, forget_moved_from, moved_from};
pub use retention::Retention;
pub use room::{NoRoom, Room};
pub use scrub::{DamagedRange, Scrub, ScrubOutcome, ScrubStep};
pub use starts::RecentStarts;
