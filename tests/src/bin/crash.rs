//! Kills a broker under load, again and again, and checks that it keeps its promises.
//!
//! ```text
//! crash --millstream target/release/millstream --kills 50 --seed 1
//! ```
//!
//! The last line is `crash: N kills, M acked batches, 0 lost, 0 duplicated, 0 reordered`. Exit code 0
//! when nothing is wrong, 1 otherwise, 2 for the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Parser;
use millstream_tests::crash::{Options, ServeCommand, run};

/// Kills a broker under load and checks that nothing acknowledged is lost, doubled or reordered.
#[derive(Parser)]
struct Arguments {
    /// The broker's binary.
    #[arg(long, default_value = "target/release/millstream")]
    millstream: PathBuf,
    /// Another argument for `millstream serve`; may be given several times.
    #[arg(long = "serve-argument", allow_hyphen_values = true)]
    serve_arguments: Vec<String>,
    /// Another broker: a program that is called with a port and a data directory.
    #[arg(long)]
    other: Option<PathBuf>,
    /// What the other broker prints when it serves.
    #[arg(long, default_value = "started")]
    other_ready: String,
    /// Kills of the broker.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// Decides payloads, sizes and moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Producers, each with a connection of its own.
    #[arg(long, default_value_t = 8)]
    producers: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Batches a second that each producer makes at most.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// The topic's `millstream.durability`.
    #[arg(long)]
    durability: Option<String>,
    /// The broker's port on 127.0.0.1; the next one is for HTTP.
    #[arg(long, default_value_t = 20_892)]
    port: u16,
    /// The data directory, which must be empty; kept afterwards. Without it, a temporary one is used,
    /// and removed when nothing is wrong.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_temporary = arguments.data_dir.is_none();
    let data_dir = arguments.data_dir.unwrap_or_else(|| {
        let name = format!("millstream-crash-{}-{}", arguments.seed, std::process::id());
        std::env::temp_dir().join(name)
    });
    let command = match arguments.other {
        Some(program) => ServeCommand::Other {
            program,
            ready: arguments.other_ready,
        },
        None => ServeCommand::Millstream {
            binary: arguments.millstream,
            arguments: arguments.serve_arguments,
        },
    };
    let seed = arguments.seed;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let base_timestamp = now.map_or(0, |since| since.as_millis() as i64);
    let verdict = run(Options {
        command,
        port: arguments.port,
        data_dir: data_dir.clone(),
        kills: arguments.kills,
        seed,
        base_timestamp,
        producers: arguments.producers,
        partitions: arguments.partitions.max(1),
        rate: arguments.rate,
        durability: arguments.durability,
    });
    let is_clean = match &verdict {
        Ok(summary) => {
            for finding in &summary.findings {
                println!("{finding}");
            }
            println!("{summary}");
            summary.is_clean()
        }
        Err(failure) => {
            println!("crash: failed: {failure}");
            false
        }
    };
    if is_clean {
        if is_temporary {
            let _ = std::fs::remove_dir_all(&data_dir);
        }
        return ExitCode::SUCCESS;
    }
    println!("seed {seed}, data in {}", data_dir.display());
    ExitCode::FAILURE
}
