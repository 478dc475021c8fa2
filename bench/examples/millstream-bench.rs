//! The measurements as a program of their own, without a broker in it.

use clap::Parser;

#[derive(Parser)]
#[command(name = "millstream-bench", about = "Measures a Kafka-protocol broker")]
struct Arguments {
    #[command(subcommand)]
    command: millstream_bench::BenchCommand,
}

fn main() -> std::process::ExitCode {
    match Arguments::parse().command.run_blocking() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
