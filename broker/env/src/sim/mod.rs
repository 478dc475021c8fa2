//! A simulated machine: everything that happens is decided by its seed.
//!
//! **The disk.** A write is visible at once and durable after [`File::sync_data`]; a name is visible
//! at once and durable after [`Disk::sync_directory`] of its parent. [`SimDisk::crash`] loses what is
//! not durable, in the ways real disks do: each unsynced write is kept, lost or torn on its own, so a
//! later one may survive an earlier one, and a later sector an earlier one; a file may have its new length and zeros where the data
//! should be; an unsynced name may be there or not. After a failed sync the unsynced writes are lost,
//! although they read back until a crash or [`File::forget_cached`] (as Linux marks failed pages
//! clean), and no later sync brings them back. What is durable may rot or be written over by a write
//! meant for another place: [`SimDisk::flip_bit`], [`SimDisk::misdirect`].
//!
//! ```text
//!   durable bytes ──sync──◄── pending writes (in order) ──► what readers see
//!                              └─ at a crash: kept | lost | torn, each by the seed
//! ```

mod clock;
mod counts;
mod disk;
mod file;
mod names;
mod random;

pub use clock::SimClock;
pub use counts::SimCounts;
pub use disk::{SimDisk, SimFaults};
pub use random::SimRandom;
