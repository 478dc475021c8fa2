//! Sockets: accepting them, cutting what they send into frames, writing what they are owed.

mod connection;
mod frame_reader;
mod inbox;
mod listener;
mod outgoing;

pub use inbox::Inboxes;
pub use listener::{Listener, NetLimits};
