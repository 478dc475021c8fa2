//! Brokers with little memory and clients that make them hold much: connections that are idle or come and go,
//! requests that never become whole, producers of the largest requests, consumers that never read.

use std::path::Path;
use std::process::Command;

use crate::check::built;
use crate::step;
use crate::tally::Tally;
use crate::tools::{root, target};

/// A short run: crowds of a tenth, requests of 4 MiB, and a p99 that shows no stall, for machines that check are
/// busy.
const SHORT: [&str; 16] = [
    "--seconds",
    "1",
    "--idle",
    "1000",
    "--churn",
    "500",
    "--halves",
    "10000",
    "--producers",
    "300",
    "--request",
    "4",
    "--consumers",
    "100",
    "--good-enough-ms",
    "100",
];
/// Beside processors that are shared with the crowd itself.
const GOOD_ENOUGH_MS: &str = "5";

/// A short run with this broker.
pub fn short(broker: &Path) -> Tally {
    step::run_as_one(command(broker).args(SHORT))
}

/// A run of full size, with measurements of so many seconds.
pub fn long(broker: &Path, seconds: &str) -> Tally {
    let full = ["--seconds", seconds, "--good-enough-ms", GOOD_ENOUGH_MS];
    step::run_as_one(command(broker).args(full))
}

fn command(broker: &Path) -> Command {
    let mut command = Command::new(built("bounds"));
    command
        .arg("--millstream")
        .arg(broker)
        .arg("--data")
        .arg(target().join("bounds-data"))
        // That clients do what they should not is what it will say.
        .env("MILLSTREAM_LOG", "error")
        .current_dir(root());
    command
}
