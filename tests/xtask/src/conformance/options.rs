//! What `cargo xtask conformance` is asked for.

use std::path::PathBuf;

use super::ring::client_names;
use crate::check;

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Apache Kafka in place of our broker, to prove the tests.
    pub against_kafka: bool,
    /// Our broker's binary.
    pub binary: PathBuf,
    /// Which clients; empty: all.
    pub clients: Vec<String>,
    /// Records of the large passage.
    pub count: u64,
    /// Write down in the README who drove which request, instead of comparing.
    pub record_requests: bool,
}

impl Options {
    /// All clients, at full size, against this broker.
    pub fn new(binary: PathBuf) -> Options {
        Options {
            against_kafka: false,
            binary,
            clients: Vec::new(),
            count: 1_000_000,
            record_requests: false,
        }
    }

    /// Reads the command line.
    pub fn read(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::new(check::built("millstream"));
        let mut words = arguments.iter();
        while let Some(name) = words.next() {
            if name == "--record-requests" {
                options.record_requests = true;
                continue;
            }
            let value = words.next().ok_or(format!("{name}: no value"))?;
            match name.as_str() {
                "--against" if value == "kafka" => options.against_kafka = true,
                "--binary" => {
                    options.binary =
                        std::path::absolute(value).map_err(|e| format!("{value}: {e}"))?;
                }
                "--clients" => options.clients = known(value)?,
                "--count" => {
                    options.count = value
                        .parse()
                        .map_err(|_| format!("--count {value}: not a number"))?;
                }
                _ => return Err(format!("not understood: {name} {value}")),
            }
        }
        Ok(options)
    }

    /// Whether this client is to run.
    pub fn wants(&self, client: &str) -> bool {
        self.clients.is_empty() || self.clients.iter().any(|wanted| wanted == client)
    }
}

fn known(list: &str) -> Result<Vec<String>, String> {
    let wanted: Vec<String> = list.split(',').map(str::to_owned).collect();
    let there: Vec<&str> = client_names().collect();
    match wanted.iter().find(|name| !there.contains(&name.as_str())) {
        Some(name) => Err(format!("--clients {name}: there are {}", there.join(", "))),
        None => Ok(wanted),
    }
}
