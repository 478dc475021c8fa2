//! The clients that are driven by a program of ours in their language; `tests/conformance/README.md` has the commands.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufReader, BufWriter, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::client::{CARRY_MAX, COMMAND_MAX, Client, Event, MEMBER_MAX, Tell};
use super::frame;
use super::record::{Plan, Record, Shape};
use super::talk::Talk;
use crate::process::{self, Process, collect, last_lines, lines};

/// A client behind a driver program.
pub struct Driver {
    pub name: &'static str,
    pub shape: Shape,
    pub codecs: &'static [&'static str],
    pub program: Vec<OsString>,
    pub environment: Vec<(&'static str, OsString)>,
}

impl Driver {
    pub fn command(&self, verb: &str, bootstrap: &str, topic: &str) -> Command {
        let mut command = Command::new(&self.program[0]);
        command.args(&self.program[1..]).arg(verb).args([
            "--bootstrap",
            bootstrap,
            "--topic",
            topic,
        ]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Writes `count` records and sees each acknowledged.
    pub fn send(
        &self,
        bootstrap: &str,
        topic: &str,
        codec: &str,
        count: u64,
        records: impl Iterator<Item = Record> + Send + 'static,
    ) -> Result<(), String> {
        let mut command = self.command("produce", bootstrap, topic);
        command.args(["--compression", codec]);
        let mut process = Process::start(&mut command, CARRY_MAX).map_err(|e| e.to_string())?;
        let stdin = process.take_stdin().ok_or("no standard input")?;
        let out = collect(process.take_stdout());
        let err = collect(process.take_stderr());
        let writer = thread::spawn(move || {
            let (mut to, mut buffer) = (BufWriter::with_capacity(1 << 18, stdin), Vec::new());
            for record in records {
                frame::write(&mut to, &record, &mut buffer)?;
            }
            to.flush()
        });
        let written = writer
            .join()
            .map_err(|_| "the writing thread broke".to_owned())?;
        let status = process.wait(CARRY_MAX);
        let (out, err) = (
            out.join().unwrap_or_default(),
            err.join().unwrap_or_default(),
        );
        match status {
            Ok(status) if status.success() => {}
            Ok(_) => return Err(last_lines(&err, 3)),
            Err(reason) => return Err(format!("{reason}; it said: {}", last_lines(&err, 3))),
        }
        written.map_err(|e| format!("writing to it: {e}"))?;
        check_acks(&out, count)
    }
}

impl Client for Driver {
    fn name(&self) -> &'static str {
        self.name
    }

    fn shape(&self) -> Shape {
        self.shape
    }

    fn codecs(&self) -> &'static [&'static str] {
        self.codecs
    }

    fn create(&self, bootstrap: &str, topic: &str, partitions: i32) -> Result<(), String> {
        let mut command = self.command("create", bootstrap, topic);
        command.args(["--partitions", &partitions.to_string()]);
        match process::output(&mut command, COMMAND_MAX)? {
            (true, ..) => Ok(()),
            (false, _, err) => Err(last_lines(&err, 3)),
        }
    }

    fn produce(&self, bootstrap: &str, topic: &str, plan: Plan, codec: &str) -> Result<(), String> {
        self.send(bootstrap, topic, codec, plan.count, plan.records())
    }

    fn consume(
        &self,
        bootstrap: &str,
        topic: &str,
        _count: u64,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), String> {
        let mut command = self.command("consume", bootstrap, topic);
        let mut process = Process::start(&mut command, CARRY_MAX).map_err(|e| e.to_string())?;
        drop(process.take_stdin());
        let err = collect(process.take_stderr());
        let mut out =
            BufReader::with_capacity(1 << 18, process.take_stdout().ok_or("no standard output")?);
        let read = loop {
            match frame::read(&mut out) {
                Ok(Some(record)) => each(record),
                Ok(None) => break Ok(()),
                Err(e) => break Err(e.to_string()),
            }
        };
        let status = process.wait(CARRY_MAX);
        let err = err.join().unwrap_or_default();
        match status {
            Ok(status) if status.success() => read,
            Ok(_) => Err(last_lines(&err, 3)),
            Err(reason) => Err(format!("{reason}; it said: {}", last_lines(&err, 3))),
        }
    }

    fn member(
        &self,
        bootstrap: &str,
        topic: &str,
        group: &str,
        how: &[&str],
        tell: Tell,
    ) -> Result<Process, String> {
        let mut command = self.command("group", bootstrap, topic);
        command.args(["--group", group]).args(how);
        let mut process = Process::start(&mut command, MEMBER_MAX).map_err(|e| e.to_string())?;
        let complaints = tell.clone();
        lines(process.take_stdout(), move |line| {
            if let Some(event) = event(line) {
                tell.event(event);
            }
        });
        lines(process.take_stderr(), move |line| {
            // Libraries write notes there; an end that is not clean shows in the exit status.
            if line.contains("Error") {
                complaints.event(Event::Problem(line.to_owned()));
            }
        });
        Ok(process)
    }

    fn silent_commit(&self) -> Option<Duration> {
        None
    }

    fn talk(&self, bootstrap: &str, topic: &str) -> Option<Result<Talk, String>> {
        Some(Talk::start(&mut self.command("everyday", bootstrap, topic)))
    }

    fn errors(&self, bootstrap: &str, topic: &str) -> Result<BTreeMap<String, String>, String> {
        let (ok, out, err) =
            process::output(&mut self.command("errors", bootstrap, topic), COMMAND_MAX)?;
        if !ok {
            return Err(last_lines(&err, 3));
        }
        let pairs = out.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs
            .map(|(name, code)| (name.to_owned(), code.to_owned()))
            .collect())
    }
}

/// What the broker acknowledged must be as many records as were sent, at offsets without a gap.
fn check_acks(out: &str, count: u64) -> Result<(), String> {
    let mut acked = 0;
    for line in out.lines().filter_map(|line| line.strip_prefix("acked ")) {
        let numbers: Vec<i64> = line
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [partition, records, first, last] = numbers[..] else {
            return Err(format!("not understood: {line}"));
        };
        if last - first + 1 != records {
            return Err(format!(
                "partition {partition}: {records} records acknowledged at offsets {first}..={last}"
            ));
        }
        acked += records as u64;
    }
    if acked == count {
        Ok(())
    } else {
        Err(format!("{acked} of {count} records were acknowledged"))
    }
}

fn event(line: &str) -> Option<Event> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let numbers: Vec<i64> = rest
        .split(' ')
        .filter_map(|number| number.parse().ok())
        .collect();
    match (word, &numbers[..]) {
        ("assigned", all) => Some(Event::Assigned(all.iter().map(|p| *p as i32).collect())),
        ("records", [p, first, last]) => Some(Event::Records {
            partition: *p as i32,
            first: *first,
            last: *last,
        }),
        ("committed", [p, next]) => Some(Event::Committed {
            partition: *p as i32,
            next: *next,
        }),
        ("error", _) => Some(Event::Problem(rest.to_owned())),
        _ => None,
    }
}
