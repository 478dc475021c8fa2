//! What tests of the whole broker share: the crash test, the slow disk and the simulation.

pub mod answers;
pub mod crash;
pub mod flips;
pub mod sim;
pub mod slow_disk;
