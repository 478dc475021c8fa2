//! Kafka's command-line tools in one virtual machine: `tests/conformance/console/Tools.java` runs them.

use std::ffi::OsStr;
use std::io::Write;
use std::process::ChildStdin;
use std::sync::mpsc::{self, Receiver};

use super::client::COMMAND_MAX;
use super::console::java_on;
use crate::process::{Process, collect, lines};

/// The program and what it says.
pub struct Toolbox {
    /// Held so that it lives as long as the box.
    _process: Process,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Toolbox {
    /// Starts the program from its class path.
    pub fn start(class_path: &OsStr) -> Result<Toolbox, String> {
        // The quick compiler alone: each tool works for a moment.
        let options = ["-Xmx512m", "-XX:TieredStopAtLevel=1"];
        let mut command = java_on(&options, class_path, "Tools");
        let mut process =
            Process::start(&mut command, 6 * COMMAND_MAX).map_err(|e| e.to_string())?;
        let orders = process.take_stdin().ok_or("no standard input")?;
        let (tell, answers) = mpsc::channel();
        lines(process.take_stdout(), move |line| {
            // Nobody listens any more when the box is closed.
            let _ = tell.send(line.to_owned());
        });
        drop(collect(process.take_stderr()));
        Ok(Toolbox {
            _process: process,
            orders,
            answers,
        })
    }

    /// Runs one tool; returns whether it succeeded, and all that it said.
    pub fn run(&mut self, class: &str, arguments: &[&str]) -> Result<(bool, String), String> {
        let order = [&[class], arguments].concat().join("\t");
        writeln!(self.orders, "{order}").map_err(|e| format!("{class}: {e}"))?;
        let mut said = String::new();
        loop {
            let line = self.answers.recv_timeout(COMMAND_MAX);
            let line = line.map_err(|e| format!("{class}: {e} after {said:?}"))?;
            if let Some(status) = line.strip_prefix("exit ") {
                return Ok((status == "0", said));
            }
            said.push_str(&line);
            said.push('\n');
        }
    }
}
