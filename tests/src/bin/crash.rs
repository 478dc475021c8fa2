//! Ends a broker's life under load, again and again, and checks that it keeps its promises.
//!
//! ```text
//! crash --millstream target/release/millstream --kills 50 --seed 1
//! crash --millstream target/release/millstream --ending power-cut --file-system xfs --scratch target/powercut
//! ```
//!
//! The last line is `crash: N kills, M acked batches, 0 lost, 0 duplicated, 0 reordered`. Exit code 0
//! when nothing is wrong, 1 otherwise, 2 for the command line.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use clap::{Parser, ValueEnum};
use millstream_tests::crash::{Ending, FileSystem, Options, ServeCommand, Volume, run};

/// What happens to the broker.
#[derive(Clone, Copy, ValueEnum)]
enum Fault {
    Kill,
    PowerCut,
    FailedSync,
    FailedDirectory,
    FullDisk,
    NearlyFullDisk,
    CrashLoop,
}

/// Ends a broker's life under load and checks that nothing acknowledged is lost, doubled or reordered.
#[derive(Parser)]
struct Arguments {
    /// The broker's binary.
    #[arg(long, default_value = "target/release/millstream")]
    millstream: PathBuf,
    /// Another argument for `millstream serve`; may be given several times.
    #[arg(long = "serve-argument", allow_hyphen_values = true)]
    serve_arguments: Vec<String>,
    /// Moves partitions between two log directories all the time.
    #[arg(long, conflicts_with = "other")]
    moves: bool,
    /// Another broker: a program that is called with a port and a data directory.
    #[arg(long)]
    other: Option<PathBuf>,
    /// What the other broker prints when it serves.
    #[arg(long, default_value = "started")]
    other_ready: String,
    /// How often.
    #[arg(long, default_value_t = 10)]
    kills: u32,
    /// What happens to the broker. Power cuts and full disks need root and loop devices.
    #[arg(long, value_enum, default_value_t = Fault::Kill)]
    ending: Fault,
    /// The file system whose power is cut, or which is full.
    #[arg(long, value_enum, default_value_t = FileSystem::Ext4)]
    file_system: FileSystem,
    /// Where that file system's image and mount point are made, and removed in the end.
    #[arg(long, default_value = "target/crash-volume")]
    scratch: PathBuf,
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
    let mut ending = match ending_of(&arguments) {
        Ok(ending) => ending,
        Err(failure) => {
            println!("crash: failed: {failure}");
            return ExitCode::FAILURE;
        }
    };
    let on_volume = match &ending {
        Ending::PowerCut(volume) | Ending::FullDisk(volume) | Ending::NearlyFullDisk(volume) => {
            Some(volume.path().join("data"))
        }
        Ending::Kill | Ending::FailedSync | Ending::FailedDirectory | Ending::CrashLoop => None,
    };
    let is_temporary = arguments.data_dir.is_none() && on_volume.is_none();
    let data_dir = on_volume.or(arguments.data_dir).unwrap_or_else(|| {
        let name = format!("millstream-crash-{}-{}", arguments.seed, std::process::id());
        std::env::temp_dir().join(name)
    });
    // Moves name directories as the broker does.
    let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
    let has_two = arguments.moves || matches!(ending, Ending::FailedDirectory);
    let second_data_dir = has_two.then(|| data_dir.with_extension("second"));
    let command = match arguments.other {
        Some(program) => ServeCommand::Other {
            program,
            ready: arguments.other_ready,
        },
        None => ServeCommand::Millstream {
            binary: arguments.millstream,
            arguments: ending
                .settings()
                .into_iter()
                .flat_map(|setting| ["--set".to_owned(), setting])
                .chain(arguments.serve_arguments)
                .collect(),
        },
    };
    let seed = arguments.seed;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let base_timestamp = now.map_or(0, |since| since.as_millis() as i64);
    let options = Options {
        command,
        port: arguments.port,
        data_dir: data_dir.clone(),
        second_data_dir: second_data_dir.clone(),
        moves: arguments.moves,
        endings: arguments.kills,
        seed,
        base_timestamp,
        producers: arguments.producers,
        partitions: arguments.partitions.max(1),
        rate: arguments.rate,
        durability: arguments.durability,
    };
    let verdict = run(options, &mut ending);
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
            if let Some(second) = &second_data_dir {
                let _ = std::fs::remove_dir_all(second);
            }
        }
        return ExitCode::SUCCESS;
    }
    let mut kept = data_dir;
    if let Ending::PowerCut(_) | Ending::FullDisk(_) | Ending::NearlyFullDisk(_) = ending {
        // The volume goes when this returns.
        let copy = arguments
            .scratch
            .join(format!("kept-{}", std::process::id()));
        let copied = Command::new("cp").arg("-a").args([&kept, &copy]).status();
        if copied.is_ok_and(|status| status.success()) {
            kept = copy;
        }
    }
    println!("seed {seed}, data in {}", kept.display());
    ExitCode::FAILURE
}

/// Bytes of a volume whose power is cut: XFS wants 300 MiB, a long run writes about as much.
const CUT_BYTES: u64 = 2 << 30;
/// Bytes of a volume that is filled.
const FULL_BYTES: u64 = 512 << 20;

fn ending_of(arguments: &Arguments) -> Result<Ending, String> {
    let make = |bytes| Volume::make(&arguments.scratch, arguments.file_system, bytes);
    Ok(match arguments.ending {
        Fault::Kill => Ending::Kill,
        Fault::FailedSync => Ending::FailedSync,
        Fault::PowerCut => Ending::PowerCut(make(CUT_BYTES)?),
        Fault::FailedDirectory => Ending::FailedDirectory,
        Fault::FullDisk => Ending::FullDisk(make(FULL_BYTES)?),
        Fault::NearlyFullDisk => Ending::NearlyFullDisk(make(FULL_BYTES)?),
        Fault::CrashLoop => Ending::CrashLoop,
    })
}
