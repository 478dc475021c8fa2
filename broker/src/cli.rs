//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use millstream_bench::BenchCommand;
use millstream_cli::ClientCommand;

use crate::config::Sources;
use crate::log_command::LogCommand;

/// A broker that speaks the Kafka protocol, and the commands to use it
#[derive(Debug, Parser)]
#[command(name = "millstream", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker
    Serve(ServeArgs),
    /// A command against a cluster.
    #[command(flatten)]
    Client(ClientCommand),
    /// Look at the data directory of a stopped broker, or recover it
    #[command(subcommand)]
    Log(LogCommand),
    /// Measure a broker
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// The arguments of `serve`. Flags win over `--set`, that over the environment, and that over the file.
#[derive(Clone, Debug, Default, Args)]
pub struct ServeArgs {
    /// Configuration file: TOML, or Java properties if its name ends in .properties
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Data directory; may be given several times [default: ./millstream-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Vec<String>,
    /// Address for Kafka clients [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Address for HTTP [default: 127.0.0.1:9644]
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// A setting by its Kafka name, or millstream.…; may be given several times. In the environment
    /// MILLSTREAM_SET_NUM_PARTITIONS=3 stands for num.partitions=3
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// What is logged, for instance debug or info,millstream=debug [default: $MILLSTREAM_LOG, else info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
}

impl ServeArgs {
    /// Where the configuration comes from.
    #[must_use]
    pub fn sources(&self) -> Sources {
        let mut flags = Vec::new();
        if !self.data_dir.is_empty() {
            flags.push(("--data-dir", "log.dirs", self.data_dir.join(",")));
        }
        if let Some(address) = &self.listen {
            flags.push(("--listen", "listeners", format!("PLAINTEXT://{address}")));
        }
        if let Some(address) = &self.http {
            flags.push(("--http", "millstream.http.listen", address.clone()));
        }
        Sources {
            file: self.config.clone(),
            set: self.set.clone(),
            flags,
            ..Sources::default()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::config::Config;

    fn serve(arguments: &[&str]) -> Result<Config, String> {
        let all = ["millstream", "serve"]
            .into_iter()
            .chain(arguments.iter().copied());
        let Command::Serve(args) = Cli::try_parse_from(all).unwrap().command else {
            panic!("serve is serve");
        };
        Config::load(&args.sources())
            .map(|loaded| loaded.config)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_become_settings() {
        let arguments = [
            "--data-dir",
            "/a",
            "--data-dir",
            "/b",
            "--listen",
            "[::1]:0",
            "--http",
            "127.0.0.1:0",
            "--set",
            "num.partitions=4",
        ];
        let config = serve(&arguments).unwrap();
        assert_eq!(config.log_directories, ["/a", "/b"].map(PathBuf::from));
        assert_eq!(config.listeners[0].address.to_string(), "[::1]:0");
        assert_eq!(config.http_listen.to_string(), "127.0.0.1:0");
        assert_eq!(config.num_partitions, 4);
    }

    #[test]
    fn a_wrong_flag_is_named() {
        let error = serve(&["--listen", "localhost"]).unwrap_err();
        assert!(
            error.starts_with("--listen: listeners=PLAINTEXT://localhost "),
            "{error}"
        );
    }

    #[test]
    fn client_and_bench_commands_are_mounted() {
        let command = Cli::command();
        let names: Vec<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(
            names,
            ["serve", "topic", "produce", "consume", "log", "bench"]
        );
    }
}
