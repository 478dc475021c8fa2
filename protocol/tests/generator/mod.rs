//! Random messages made from the message files alone: what the codec is tested with knows nothing of it.
//!
//! Shared by this crate's tests and by the proof against Kafka's own codec.

#![allow(dead_code)]

pub mod message;
pub mod random;
pub mod schema;
