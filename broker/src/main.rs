//! The `millstream` program: a broker, and the commands to use it.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use millstream::cli::{Cli, Command, ServeArgs};
use millstream::config::{Config, Sources, environment};
use millstream::exit::Failure;
use millstream::log_command::LogCommand;
use millstream::{logging, server};
use millstream_env::set_around_waits;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Serve(args) => serve(&args),
        Command::Client(command) => with_quiet_log(|| command.run_blocking()),
        Command::Log(command) => log(&command),
        Command::Bench(command) => with_quiet_log(|| command.run_blocking()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            failure.into()
        }
    }
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    logging::init(args.log.as_deref(), "info")?;
    let sources = Sources {
        environment: environment::of_process(),
        ..args.sources()
    };
    let loaded = Config::load(&sources)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    // A thread of the runtime that waits for a disk hands its other connections to another one.
    set_around_waits(|wait| tokio::task::block_in_place(wait));
    runtime.block_on(server::run(loaded.config))?;
    Ok(())
}

fn log(command: &LogCommand) -> Result<(), Failure> {
    // What opening a log warns of is in the results.
    logging::init(None, "error")?;
    Ok(command.run()?)
}

fn with_quiet_log(command: impl FnOnce() -> anyhow::Result<()>) -> Result<(), Failure> {
    logging::init(None, "warn")?;
    Ok(command()?)
}
