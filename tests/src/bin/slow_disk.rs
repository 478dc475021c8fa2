//! Measures the partitions of a fast disk beside a slow one.
//!
//! ```text
//! slow_disk --millstream target/release/millstream --fast /dev/shm/fast --seconds 20
//! ```
//!
//! The last line is `slow disk: p99 R times that of the fast disk alone`. Needs root, a loop device and
//! control groups. Exit code 0 when R and the HTTP listener keep their bounds, 1 otherwise.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use millstream_tests::slow_disk::{SlowDiskOptions, run};

/// `/healthz` answers within this.
const HEALTH_MAX: Duration = Duration::from_secs(1);

/// Measures the partitions of a fast disk beside a slow one.
#[derive(Parser)]
struct Arguments {
    /// The broker's binary.
    #[arg(long, default_value = "target/release/millstream")]
    millstream: PathBuf,
    /// The broker's port on 127.0.0.1; the next one is for HTTP.
    #[arg(long, default_value_t = 20_992)]
    port: u16,
    /// Where the slow volume is made, and removed in the end.
    #[arg(long, default_value = "target/slow-disk")]
    scratch: PathBuf,
    /// The fast log directory. Anything in it is removed.
    #[arg(long, default_value = "target/slow-disk-fast")]
    fast: PathBuf,
    /// Bytes a second that the slow disk writes, and reads.
    #[arg(long, default_value_t = 1 << 20)]
    bytes_per_second: u64,
    /// How long each of the three measurements takes.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// The topic's durability.
    #[arg(long, default_value = "fsync")]
    durability: String,
    /// How many times its p99, or that of its disk at the same time, the fast directory may have beside the slow one.
    #[arg(long, default_value_t = 2.0)]
    ratio_max: f64,
    /// A p99 of so many milliseconds is good enough, whatever it is alone: on a machine that others use.
    #[arg(long, default_value_t = 0)]
    good_enough_ms: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = SlowDiskOptions {
        millstream: arguments.millstream,
        port: arguments.port,
        scratch: arguments.scratch,
        fast: arguments.fast,
        bytes_per_second: arguments.bytes_per_second,
        measured: Duration::from_secs(arguments.seconds),
        durability: arguments.durability,
    };
    let summary = match run(&options) {
        Ok(summary) => summary,
        Err(failure) => {
            println!("slow disk: failed: {failure}");
            return ExitCode::FAILURE;
        }
    };
    println!("{summary}");
    let good_enough = Duration::from_millis(arguments.good_enough_ms);
    let ratio_max = arguments.ratio_max;
    if !summary.is_within(ratio_max, good_enough) || summary.health_max > HEALTH_MAX {
        println!(
            "slow disk: failed: p99 is to be at most {ratio_max} times that alone or of the disk, or {good_enough:.2?}; \
             /healthz {HEALTH_MAX:?}"
        );
        return ExitCode::FAILURE;
    }
    if summary.backfilled == 0 {
        println!("slow disk: failed: nothing was read from the slow directory");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
