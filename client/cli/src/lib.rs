//! The commands a person types against a cluster: `topic`, `produce`, `consume`.
//!
//! Each file is one command: its arguments, then what it does through `millstream-client`. Data goes to standard output,
//! everything else to standard error; tables are for people, `--output json` is for programs. A command that fails returns
//! an error that names the thing, the limit and the fix; the binary prints it and exits with 1.
#![forbid(unsafe_code)]

mod cluster;
mod consume;
mod encoding;
mod lines;
mod produce;
mod size;
mod table;
mod topic;

use clap::Subcommand;

pub use cluster::{ClusterArgs, DEFAULT_BOOTSTRAP, find_topic};
pub use consume::ConsumeArgs;
pub use encoding::put_bytes;
pub use produce::ProduceArgs;
pub use size::{parse_duration, parse_size};
pub use table::Table;
pub use topic::TopicArgs;

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The commands against a cluster.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Create, list, describe and delete topics
    Topic(TopicArgs),
    /// Write records, one per line of standard input or of a file
    Produce(ProduceArgs),
    /// Read records and print them
    Consume(ConsumeArgs),
}

impl ClientCommand {
    /// Runs the command on the calling runtime (its timer and I/O must be on).
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Topic(args) => args.run().await,
            Self::Produce(args) => args.run().await,
            Self::Consume(args) => args.run().await,
        }
    }

    /// Runs the command on a runtime of its own.
    pub fn run_blocking(self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(self.run())
    }
}
