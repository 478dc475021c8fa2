//! Tests.

pub mod crash;
