//! Counting tests. Every step of the check ends in one line, `name: N passed, M failed, K skipped`, and
//! the check's last line is their sum.

use std::fmt;
use std::ops::{Add, AddAssign};

/// How many tests passed, failed and were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// What was said of those that failed, to be printed once more at the end.
    pub failures: Vec<String>,
}

impl Tally {
    /// One test, by its outcome.
    pub fn one(passed: bool) -> Tally {
        Tally {
            passed: u64::from(passed),
            failed: u64::from(!passed),
            ..Tally::default()
        }
    }

    /// One test that failed: prints why.
    pub fn failure(reason: String) -> Tally {
        println!("FAIL {reason}");
        Tally {
            failed: 1,
            failures: vec![reason],
            ..Tally::default()
        }
    }

    /// One test that could not run here.
    pub fn skip() -> Tally {
        Tally {
            skipped: 1,
            ..Tally::default()
        }
    }

    /// Adds what one line of a test runner's output says, if it is such a line: cargo's
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …` or our own `name: 3 passed, 0 failed, 1 skipped`.
    pub fn add_line(&mut self, line: &str) -> bool {
        let Some((_, counts)) = line.rsplit_once(": ") else {
            return false;
        };
        let ours = line.contains(" passed, ");
        let cargos = line.starts_with("test result: ");
        if !ours && !cargos {
            return false;
        }
        let mut found = Tally::default();
        let words: Vec<&str> = counts
            .split([' ', ',', ';', '.'])
            .filter(|word| !word.is_empty())
            .collect();
        let mut any = false;
        for pair in words.windows(2) {
            let Ok(n) = pair[0].parse::<u64>() else {
                continue;
            };
            match pair[1] {
                "passed" => found.passed = n,
                "failed" => found.failed = n,
                "ignored" | "skipped" => found.skipped = n,
                _ => continue,
            }
            any = true;
        }
        if any {
            *self += found;
        }
        any
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }
}

impl Add for Tally {
    type Output = Tally;

    fn add(mut self, other: Tally) -> Tally {
        self += other;
        self
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// A named list of checks that are printed as they are made.
#[derive(Debug)]
pub struct Report {
    name: String,
    tally: Tally,
    failures: Vec<String>,
}

impl Report {
    pub fn new(name: &str) -> Report {
        Report {
            name: name.to_owned(),
            tally: Tally::default(),
            failures: Vec::new(),
        }
    }

    /// Counts and prints one check; returns whether it passed.
    pub fn check(&mut self, what: &str, outcome: Result<(), String>) -> bool {
        self.tally += Tally::one(outcome.is_ok());
        match &outcome {
            Ok(()) => println!("PASS {} {what}", self.name),
            Err(reason) => {
                println!("FAIL {} {what}: {reason}", self.name);
                self.failures.push(format!("{what}: {reason}"));
            }
        }
        outcome.is_ok()
    }

    /// Counts and prints one check that could not be made here.
    pub fn skip(&mut self, what: &str, reason: &str) {
        println!("SKIP {} {what}: {reason}", self.name);
        self.tally += Tally::skip();
    }

    /// Takes over what another report counted.
    pub fn add(&mut self, other: Report) {
        self.tally += other.tally;
        self.failures.extend(
            other
                .failures
                .iter()
                .map(|failure| format!("{} {failure}", other.name)),
        );
    }

    /// Prints the failures once more, then the summary line.
    pub fn finish(mut self) -> Tally {
        for failure in self.failures {
            let failure = format!("{} failed: {failure}", self.name);
            println!("{failure}");
            self.tally.failures.push(failure);
        }
        println!("{}: {}", self.name, self.tally);
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_summary_lines_of_cargo_and_of_our_own_runners() {
        let mut tally = Tally::default();
        assert!(tally.add_line("test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 7 filtered out; finished in 0.02s"));
        assert!(tally.add_line("codec: 618 passed, 2 failed"));
        assert!(tally.add_line("crash: 5 passed, 0 failed, 4 skipped"));
        assert!(!tally.add_line("running 3 tests"));
        assert!(!tally.add_line("note: 3 bytes passed"));
        assert_eq!(
            tally,
            Tally {
                passed: 626,
                failed: 2,
                skipped: 5,
                failures: Vec::new(),
            }
        );
    }
}
