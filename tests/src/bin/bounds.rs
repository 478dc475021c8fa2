//! What a broker with little memory holds for crowds, and what others notice of them.
//!
//! ```text
//! bounds --millstream target/release/millstream --idle 10000 --halves 1000000
//! ```
//!
//! The last line is `bounds: N idle connections hold M MiB; …`. Exit code 0 when all bounds hold, 1 otherwise.
//! Without control groups the broker's memory is only looked at.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use millstream_tests::bounds::{BoundsOptions, run};

/// What 10,000 idle connections may hold.
const IDLE_BYTES_MAX: u64 = 250 << 20;
/// As many times its p99 a probe may have beside a crowd.
const RATIO_MAX: f64 = 2.0;

/// What a broker with little memory holds for crowds.
#[derive(Parser)]
struct Arguments {
    /// The broker's binary.
    #[arg(long, default_value = "target/release/millstream")]
    millstream: PathBuf,
    /// The broker's port on 127.0.0.1; the next one is for HTTP.
    #[arg(long, default_value_t = 20_996)]
    port: u16,
    /// The log directory. Anything in it is removed.
    #[arg(long, default_value = "target/bounds-data")]
    data: PathBuf,
    /// Mebibytes of memory of the broker's control group.
    #[arg(long, default_value_t = 512)]
    memory: u64,
    /// Idle connections, as many of them as the descriptors allow.
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Connections a second that come and go.
    #[arg(long, default_value_t = 1000)]
    churn: u32,
    /// Half requests.
    #[arg(long, default_value_t = 1_000_000)]
    halves: usize,
    /// Producers of the largest requests.
    #[arg(long, default_value_t = 1000)]
    producers: usize,
    /// Mebibytes of these requests.
    #[arg(long, default_value_t = 32)]
    request: usize,
    /// Consumers that never read.
    #[arg(long, default_value_t = 1000)]
    consumers: usize,
    /// A p99 of so many milliseconds is good enough, whatever it is alone: on a machine that others use.
    #[arg(long, default_value_t = 0)]
    good_enough_ms: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let options = BoundsOptions {
        millstream: arguments.millstream,
        port: arguments.port,
        data: arguments.data,
        memory_bytes: arguments.memory << 20,
        idle: arguments.idle,
        measured: Duration::from_secs(arguments.seconds),
        churn: arguments.churn,
        halves: arguments.halves,
        producers: arguments.producers,
        request_bytes: arguments.request << 20,
        consumers: arguments.consumers,
    };
    let summary = match run(&options) {
        Ok(summary) => summary,
        Err(failure) => {
            println!("bounds: failed: {failure}");
            return ExitCode::FAILURE;
        }
    };
    println!("{summary}");
    let good_enough = Duration::from_millis(arguments.good_enough_ms);
    let p99_max = summary.alone.p99.mul_f64(RATIO_MAX).max(good_enough);
    let worst = summary.beside_idle.p99.max(summary.beside_churn.p99);
    if worst > p99_max || summary.idle_bytes > IDLE_BYTES_MAX {
        println!("bounds: failed: p99 is to be at most {p99_max:.2?}, idle connections 250 MiB");
        return ExitCode::FAILURE;
    }
    if summary.peak_bytes > options.memory_bytes {
        println!(
            "bounds: failed: the broker is to have {} MiB at most",
            arguments.memory
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
