//! Load on a broker, and what it took: `bench produce`, `bench consume`, `bench latency`, `bench groups`, against any address
//! that speaks the Kafka protocol; and `bench floor`, what the machine itself can do.
//!
//! Broker and load often share a small machine, so the load is made cheap: batches are built once and only their headers
//! are stamped anew ([`template`]), answers are counted by their batch headers, and the latency run uses blocking sockets
//! on threads of its own, because a timer of an asynchronous runtime is too coarse. With `--pid` the broker's processor
//! time and memory are read from `/proc`.
#![forbid(unsafe_code)]

mod common;
mod consume;
mod floor;
mod group_members;
mod groups;
mod latency;
mod latency_threads;
mod process;
mod produce;
mod report;
mod template;
mod wire;

use clap::Subcommand;

pub use consume::ConsumeArgs;
pub use floor::FloorArgs;
pub use groups::GroupsArgs;
pub use latency::LatencyArgs;
pub use produce::ProduceArgs;

/// The measurements.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// How much can be written, and how long acknowledgements take under full load
    Produce(ProduceArgs),
    /// How fast a topic can be read from its beginning
    Consume(ConsumeArgs),
    /// How long records take at a fixed rate, to the acknowledgement and to a consumer
    Latency(LatencyArgs),
    /// What the heartbeats of many groups cost
    Groups(GroupsArgs),
    /// What this machine's disk and loopback can do at best, without a broker
    Floor(FloorArgs),
}

impl BenchCommand {
    /// Runs the measurement on the calling runtime (its timer and I/O must be on).
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Produce(args) => args.run().await,
            Self::Consume(args) => args.run().await,
            Self::Latency(args) => args.run().await,
            Self::Groups(args) => args.run(),
            Self::Floor(args) => args.run(),
        }
    }

    /// Runs the measurement on a runtime of its own, with as many threads as the arguments say.
    pub fn run_blocking(self) -> anyhow::Result<()> {
        let threads = match &self {
            Self::Produce(args) => args.threads(),
            Self::Consume(args) => args.threads(),
            Self::Latency(_) | Self::Groups(_) | Self::Floor(_) => 1,
        };
        let mut builder = if threads == 1 {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        };
        let runtime = builder.worker_threads(threads).enable_all().build()?;
        runtime.block_on(self.run())
    }
}
