//! What tests of the whole broker share: the crash test and the simulation.

pub mod answers;
pub mod crash;
pub mod flips;
pub mod sim;
