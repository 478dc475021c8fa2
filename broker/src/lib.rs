//! The shell of the broker: configuration, sockets, threads, and the life of the process.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
mod descriptors;
pub mod exit;
pub mod http;
pub mod log_command;
pub mod logging;
mod memory;
mod metrics;
pub mod net;
pub mod server;
pub mod shell;
pub mod signals;
mod throttle;
