//! What tests of the whole broker share: the crash test, the slow disk and the simulation.

pub mod answers;
pub mod bad_input;
pub mod bounds;
pub mod crash;
pub mod flips;
pub mod sim;
pub mod slow_disk;
