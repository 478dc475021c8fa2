//! One step of the check: a command whose output is shown and counted.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::tally::Tally;
use crate::tools::is_ci;

/// Lines of a failed command that are printed again at the end: its last ones, and those that name a failure.
const LAST_LINES: usize = 10;
const FAILURE_LINES: usize = 20;

/// Runs a command, shows what it prints and counts the tests that it reports. A failure that no line
/// counted is one failed test.
pub fn run(command: &mut Command) -> Tally {
    let (ok, mut tally, said) = stream(command);
    if !ok && tally.failed == 0 {
        tally.failed = 1;
    }
    if tally.failed > 0 {
        tally.failures = said.of_failure(command);
    }
    tally
}

/// The same for a command that is one test itself: only its success counts.
pub fn run_as_one(command: &mut Command) -> Tally {
    let (ok, _, said) = stream(command);
    let mut tally = Tally::one(ok);
    if !ok {
        tally.failures = said.of_failure(command);
    }
    tally
}

/// A step that cannot run here: skipped, or failed where nothing may be left out.
pub fn missing(name: &str, program: &str) -> Tally {
    if is_ci() {
        Tally::failure(format!(
            "{name}: {program} is not installed, and CI=true leaves nothing out"
        ))
    } else {
        println!("SKIP {name}: {program} is not installed");
        Tally::skip()
    }
}

/// What a command printed, as far as it is told again when it fails.
#[derive(Debug, Default)]
struct Said {
    failures: Vec<String>,
    last: VecDeque<String>,
}

impl Said {
    fn add(&mut self, line: &str) {
        let names_failure = line.starts_with("FAIL")
            || line.ends_with("FAILED")
            || line.starts_with("---- ")
            || line.contains("panicked at");
        if names_failure && self.failures.len() < FAILURE_LINES {
            self.failures.push(line.to_owned());
            return;
        }
        if self.last.len() == LAST_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line.to_owned());
    }

    fn of_failure(self, command: &Command) -> Vec<String> {
        let program = Path::new(command.get_program());
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let lines = self.failures.into_iter().chain(self.last);
        lines.map(|line| format!("{name}: {line}")).collect()
    }
}

fn stream(command: &mut Command) -> (bool, Tally, Said) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => {
            let mut said = Said::default();
            let line = format!("FAIL {}: {e}", command.get_program().to_string_lossy());
            println!("{line}");
            said.add(&line);
            return (false, Tally::default(), said);
        }
    };
    let out = child.stdout.take();
    let reader = thread::spawn(move || {
        let (mut tally, mut said) = (Tally::default(), Said::default());
        for line in out
            .into_iter()
            .flat_map(|out| BufReader::new(out).split(b'\n'))
            .map_while(Result::ok)
        {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            tally.add_line(&line);
            said.add(&line);
        }
        (tally, said)
    });
    let status = child.wait();
    let whole = reader.join();
    let ok = whole.is_ok() && status.is_ok_and(|status| status.success());
    let (tally, said) = whole.unwrap_or_default();
    (ok, tally, said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_told_by_its_last_lines_and_those_that_name_a_failure() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo FAIL first; seq 100; echo last; exit 1"]);
        let tally = run_as_one(&mut command);
        assert_eq!(tally.failed, 1);
        assert_eq!(tally.failures.len(), 1 + LAST_LINES);
        assert_eq!(tally.failures[0], "sh: FAIL first");
        assert_eq!(tally.failures[LAST_LINES], "sh: last");
        assert_eq!(run_as_one(&mut Command::new("true")), Tally::one(true));
    }
}
