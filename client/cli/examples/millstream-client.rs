//! The client's commands as a program of their own, without a broker in it.

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "millstream-client",
    about = "Commands against a Kafka-protocol cluster"
)]
struct Arguments {
    #[command(subcommand)]
    command: millstream_cli::ClientCommand,
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
