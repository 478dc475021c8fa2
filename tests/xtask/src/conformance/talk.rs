//! A conversation with a driver: one order a line, answered by lines of data and then `ok` or `error WHAT`.

use std::io::Write;
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{self, Receiver};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::COMMAND_MAX;
use crate::process::{Process, collect, last_lines, lines};

/// Longer than a driver itself waits for anything.
const ANSWER_MAX: Duration = Duration::from_secs(45);
const END_MAX: Duration = Duration::from_secs(20);

/// A driver that carries out orders until its standard input closes.
pub struct Talk {
    process: Process,
    orders: Option<ChildStdin>,
    answers: Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl Talk {
    pub fn start(command: &mut Command) -> Result<Talk, String> {
        let mut process = Process::start(command, 4 * COMMAND_MAX).map_err(|e| e.to_string())?;
        let (tell, answers) = mpsc::channel();
        lines(process.take_stdout(), move |line| {
            // Nobody listens any more when the passage has ended.
            let _ = tell.send(line.to_owned());
        });
        Ok(Talk {
            orders: process.take_stdin(),
            complaints: Some(collect(process.take_stderr())),
            process,
            answers,
        })
    }

    /// The lines of data that answer an order; an error if the driver says one.
    pub fn ask(&mut self, order: &str) -> Result<Vec<String>, String> {
        let orders = self.orders.as_mut().ok_or("no standard input")?;
        writeln!(orders, "{order}").map_err(|e| format!("{order}: {e}"))?;
        let mut data = Vec::new();
        loop {
            let Ok(line) = self.answers.recv_timeout(ANSWER_MAX) else {
                self.process.kill();
                let said = self.complaints.take().and_then(|text| text.join().ok());
                let said = last_lines(&said.unwrap_or_default(), 3);
                return Err(format!(
                    "{order}: no answer after {data:?}; it said: {said}"
                ));
            };
            match line.split_once(' ') {
                None if line == "ok" => return Ok(data),
                Some(("error", what)) => {
                    let seen = if data.is_empty() {
                        String::new()
                    } else {
                        format!(" after {data:?}")
                    };
                    return Err(format!("{order}: error {what}{seen}"));
                }
                _ => data.push(line),
            }
        }
    }

    /// The offset that answers an order; none where the driver says so.
    pub fn ask_offset(&mut self, order: &str) -> Result<Option<i64>, String> {
        let data = self.ask(order)?;
        match data.last().and_then(|line| line.strip_prefix("offset ")) {
            Some("none") => Ok(None),
            Some(number) => number
                .parse()
                .map(Some)
                .map_err(|_| format!("{order}: not understood: {data:?}")),
            None => Err(format!("{order}: not understood: {data:?}")),
        }
    }

    /// Lets the driver end.
    pub fn close(mut self) -> Result<(), String> {
        drop(self.orders.take());
        let status = self.process.wait(END_MAX)?;
        if status.success() {
            return Ok(());
        }
        let said = self.complaints.take().and_then(|text| text.join().ok());
        Err(format!(
            "it ended with {status}: {}",
            last_lines(&said.unwrap_or_default(), 3)
        ))
    }
}
