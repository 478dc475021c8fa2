//! The seams between the cores and the machine: clocks, disk, randomness.

mod seam;

pub use seam::{Clock, DirectoryEntry, Disk, File, Random};
