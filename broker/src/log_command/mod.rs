//! `millstream log verify|dump|recover`: a data directory that no broker runs on.
//!
//! Each file is one command: what it prints. The work is `millstream_log::inspect`'s. Results go to
//! standard output, how far it is to standard error where that is a terminal.

mod dump;
mod progress;
mod recover;
mod verify;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use millstream_cli::Output;
use millstream_env::{Disk, ReadOnlyDisk, RealDisk};
use millstream_log::inspect::{InspectError, StoppedDirectory};
use millstream_quorum::MetaProperties;

use dump::DumpArgs;

/// The commands on a stopped data directory.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Read everything and say what is damaged; changes nothing
    Verify(DirectoryArgs),
    /// Print batches, or their records
    Dump(DumpArgs),
    /// Recover as a start would: cut what was never durable, mend indexes
    Recover(DirectoryArgs),
}

/// Which partitions, and how to print.
#[derive(Clone, Debug, Args)]
pub struct DirectoryArgs {
    /// Data directory, or one partition's folder in it; no broker may run on it
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Only this partition
    #[arg(long, value_name = "TOPIC-N")]
    partition: Option<String>,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Why such a command does not end with 0.
#[derive(Debug, thiserror::Error)]
pub enum LogCommandError {
    /// The directory cannot be looked at.
    #[error(transparent)]
    Inspect(#[from] InspectError),
    /// It is of a newer format.
    #[error("data directory {} is refused: {reason}", path.display())]
    Refused {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It was looked at, and something is wrong with it.
    #[error("{0}")]
    Damaged(String),
    /// The results cannot be written.
    #[error("cannot write the results: {0}")]
    Output(#[source] io::Error),
    /// The directory cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl LogCommandError {
    /// The code of the process.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            LogCommandError::Inspect(InspectError::InUse { .. })
            | LogCommandError::Refused { .. } => 3,
            LogCommandError::Damaged(_) => 4,
            LogCommandError::Inspect(_)
            | LogCommandError::Output(_)
            | LogCommandError::Write { .. } => 1,
        }
    }
}

impl LogCommand {
    /// Does it.
    pub fn run(&self) -> Result<(), LogCommandError> {
        let mut out = BufWriter::new(io::stdout().lock());
        let done = match self {
            LogCommand::Verify(args) => verify::run(args, &mut out),
            LogCommand::Dump(args) => dump::run(args, &mut out),
            LogCommand::Recover(args) => recover::run(args, &mut out),
        };
        match out.flush() {
            Err(error) if !is_closed(&error) => Err(LogCommandError::Output(error)),
            _ => done,
        }
    }
}

impl DirectoryArgs {
    /// Opens the directory, locked, to look at it.
    fn open(&self) -> Result<StoppedDirectory, LogCommandError> {
        self.open_on(Arc::new(ReadOnlyDisk))
    }

    /// Opens the directory, locked, to change it.
    fn open_to_write(&self) -> Result<StoppedDirectory, LogCommandError> {
        self.open_on(Arc::new(RealDisk))
    }

    fn open_on(&self, disk: Arc<dyn Disk>) -> Result<StoppedDirectory, LogCommandError> {
        let only = self.partition.as_deref();
        let directory = StoppedDirectory::open(disk, &self.directory, only)?;
        let identity = MetaProperties::read(&**directory.disk(), &directory.root);
        identity.map_err(|error| LogCommandError::Refused {
            path: directory.root.clone(),
            reason: error.to_string(),
        })?;
        Ok(directory)
    }
}

/// Whether the reader of our output has gone, as `head` does.
fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// What a failed write to standard output means.
fn written(result: io::Result<()>) -> Result<(), LogCommandError> {
    match result {
        Err(error) if !is_closed(&error) => Err(LogCommandError::Output(error)),
        _ => Ok(()),
    }
}

/// A number with its noun.
fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}
