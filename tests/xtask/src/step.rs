//! One step of the check: a command whose output is shown and counted.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::tally::Tally;
use crate::tools::is_ci;

/// Runs a command, shows what it prints and counts the tests that it reports. A failure that no line
/// counted is one failed test.
pub fn run(command: &mut Command) -> Tally {
    let (ok, mut tally) = stream(command);
    if !ok && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// The same for a command that is one test itself: only its success counts.
pub fn run_as_one(command: &mut Command) -> Tally {
    Tally::one(stream(command).0)
}

/// A step that cannot run here: skipped, or failed where nothing may be left out.
pub fn missing(name: &str, program: &str) -> Tally {
    if is_ci() {
        println!("FAIL {name}: {program} is not installed, and CI=true leaves nothing out");
        Tally::one(false)
    } else {
        println!("SKIP {name}: {program} is not installed");
        Tally::skip()
    }
}

fn stream(command: &mut Command) -> (bool, Tally) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(e) => {
            println!("FAIL {}: {e}", command.get_program().to_string_lossy());
            return (false, Tally::default());
        }
    };
    let tally = Arc::new(Mutex::new(Tally::default()));
    let counted = Arc::clone(&tally);
    let out = child.stdout.take();
    let reader = thread::spawn(move || {
        for line in out
            .into_iter()
            .flat_map(|out| BufReader::new(out).split(b'\n'))
            .map_while(Result::ok)
        {
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counted
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add_line(&line);
        }
    });
    let status = child.wait();
    let whole = reader.join().is_ok();
    let tally = *tally.lock().unwrap_or_else(PoisonError::into_inner);
    (whole && status.is_ok_and(|status| status.success()), tally)
}
