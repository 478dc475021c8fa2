//! Apache Kafka's wire protocol: every message in every version, record batches, error codes.
//!
//! The messages are generated at build time from the facts in `schema/`. This crate knows no
//! sockets and no disk, and not what a broker does with a message.
//!
//! Decoding borrows from the frame and is bounded: see [`wire::Decoder`]. Encoding never copies
//! large record batches: see [`wire::Encoder`].

#![forbid(unsafe_code)]

mod api_key;
pub mod dynamic;
mod error_code;
pub mod frame;
pub mod records;
pub mod wire;

pub use api_key::ApiKey;
pub use error_code::ErrorCode;

/// Every message, one module each; the message itself is also here.
#[allow(clippy::all, clippy::pedantic, unused_mut, unused_parens)]
#[rustfmt::skip]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/messages.rs"));
}

/// A request, which knows its key and its response.
pub trait Request {
    /// The request's key.
    const API_KEY: ApiKey;
    /// The message that answers it.
    type Response<'r>: wire::Message<'r>;
}
