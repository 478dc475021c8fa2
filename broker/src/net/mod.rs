//! Sockets: accepting them, cutting what they send into frames, writing what they are owed.

mod charge;
mod complaints;
mod connection;
mod frame_reader;
mod inbox;
mod listener;
mod outgoing;
mod sockets;
#[cfg(test)]
mod tests;

pub use inbox::Inboxes;
pub use listener::{Listener, NetLimits, Shared};
pub use sockets::SocketSettings;
