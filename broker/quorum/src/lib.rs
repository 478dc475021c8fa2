//! The metadata quorum: an ordered, durable list of entries that every node agrees on.
//!
//! Today it is a quorum of one: a log with snapshots behind the [`Quorum`] door. The door and the files
//! are made for more voters: entries have terms, a node must lead before it proposes, and leadership
//! can end.
//!
//! This crate knows neither what its entries mean nor the network.

#![forbid(unsafe_code)]

use bytes::Bytes;

mod error;
mod files;
mod frame;
mod meta_properties;
mod quorum;
mod reader;

pub use error::{OpenError, ProposeError, SnapshotError};
pub use files::{DIRECTORY_NAME, FORMAT_VERSION, SNAPSHOT_MAX};
pub use frame::FRAME_BODY_MAX;
pub use meta_properties::{DIRECTORY_FORMAT, META_PROPERTIES, MetaProperties, MetaPropertiesError};
pub use quorum::{Loaded, Quorum, TERM_ENTRY_TYPE};

/// Position of an entry in the metadata log. *Bounds*: from 1 on; 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Index(pub u64);

/// Counts the leaders that the quorum has had. *Bounds*: from 1 on; 0 is before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Term(pub u64);

/// One committed entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub index: Index,
    /// Who proposed it.
    pub term: Term,
    /// What its payload is, to the caller.
    pub type_: u16,
    /// The caller's bytes.
    pub payload: Bytes,
}
