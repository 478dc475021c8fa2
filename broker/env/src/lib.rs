//! The seams between the cores and the machine: clocks, disk, randomness.
//!
//! ```text
//!   Clock   RealClock    sim::SimClock     stands still until moved
//!   Random  RealRandom   sim::SimRandom    a seed's sequence
//!   Disk    RealDisk     sim::SimDisk      loses, tears and fails by a seed
//!           ReadOnlyDisk                     nothing is written to it
//!   Volume  RealVolume   sim::SimDisk      syncs many files at once
//! ```

#![forbid(unsafe_code)]

mod descriptors;
mod failure;
mod memory;
mod read_only;
mod real;
mod seam;
pub mod sim;
mod sockets;
mod sync_work;
mod volume;
mod waits;

pub use descriptors::raise_descriptor_limit;
pub use failure::{is_disk_failure, is_out_of_room};
pub use memory::memory_bytes;
pub use read_only::ReadOnlyDisk;
pub use real::{RealClock, RealDisk, RealRandom};
pub use seam::{Clock, DirectoryEntry, Disk, File, Random, Space, Volume};
pub use sockets::{notice_lost_peers, set_receive_buffer};
pub use sync_work::{Rename, SyncWork};
pub use waits::{AroundWait, ColdRead, set_around_waits, waiting, without_waiting};
