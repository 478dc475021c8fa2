//! What a broker answers to batches good and bad, and to what nobody should send, compared with what Apache
//! Kafka said.
//!
//! A file of answers has Kafka's line; where ours differs on purpose, our line below it, and why:
//!
//! ```text
//! codec 5: error -1
//!   ours: codec 5: error 76
//!   why: it is the client's fault, …
//! ```

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::broker::{Broker, Kind};
use super::client::COMMAND_MAX;
use super::setup;
use crate::process::{last_lines, output};
use crate::tally::{Report, Tally};
use crate::{check, tools};

const OURS: &str = "  ours: ";
const WHY: &str = "  why: ";

/// Answers that are kept.
#[derive(Clone, Copy)]
pub struct Answers {
    /// Where.
    file: &'static str,
    /// What the program `answers` is asked for, behind the port.
    asked: &'static [&'static str],
}

/// To batches good and bad.
pub const PRODUCE: Answers = Answers {
    file: "tests/conformance/answers/produce.txt",
    asked: &[],
};
/// To what nobody should send.
pub const BAD_INPUT: Answers = Answers {
    file: "tests/conformance/answers/bad_input.txt",
    asked: &["bad-input"],
};

/// One answer that is recorded.
struct Recorded {
    kafkas: String,
    ours: Option<String>,
    why: Option<String>,
}

impl Answers {
    /// Asks the broker at `bootstrap`, HOST:PORT, and compares line by line.
    pub fn check(self, bootstrap: &str, is_kafka: bool) -> Result<(), String> {
        let said = self.ask(bootstrap)?;
        let recorded = self.read()?;
        let expected = recorded.iter().map(|one| match &one.ours {
            Some(ours) if !is_kafka => ours,
            _ => &one.kafkas,
        });
        let lines = said.lines().zip(expected);
        let different = lines.into_iter().find(|(said, line)| said != *line);
        match different {
            Some((said, line)) => Err(format!("`{said}`, where `{line}` is recorded")),
            None if said.lines().count() != recorded.len() => {
                Err(format!("{} has another number of lines", self.file))
            }
            None => Ok(()),
        }
    }

    /// Writes down what the Kafka at `bootstrap` says. What is said of ours stays with a line that has not changed.
    fn record(self, bootstrap: &str) -> Result<(), String> {
        let said = self.ask(bootstrap)?;
        let mut before = self.read().unwrap_or_default();
        let mut text = String::new();
        for line in said.lines() {
            text += &format!("{line}\n");
            let Some(place) = before.iter().position(|one| one.kafkas == line) else {
                println!("     new: {line}");
                continue;
            };
            // Lines may come twice, in order.
            let one = before.remove(place);
            for (name, kept) in [(OURS, one.ours), (WHY, one.why)] {
                if let Some(kept) = kept {
                    text += &format!("{name}{kept}\n");
                }
            }
        }
        for gone in before {
            println!("     gone: {}", gone.kafkas);
        }
        let file = self.path();
        fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))
    }

    fn ask(self, bootstrap: &str) -> Result<String, String> {
        let port = bootstrap.rsplit(':').next().unwrap_or_default();
        let mut command = Command::new(check::built("answers"));
        let (ok, said, err) = output(command.arg(port).args(self.asked), COMMAND_MAX)?;
        match ok {
            true => Ok(said),
            false => Err(last_lines(&err, 3)),
        }
    }

    fn read(self) -> Result<Vec<Recorded>, String> {
        let text = fs::read_to_string(self.path()).map_err(|e| format!("{}: {e}", self.file))?;
        let mut recorded: Vec<Recorded> = Vec::new();
        for line in text.lines() {
            let below = |last: Option<&mut Recorded>,
                         kept: &str,
                         of: fn(&mut Recorded) -> &mut Option<String>| {
                let last =
                    last.ok_or_else(|| format!("{}: nothing is above `{kept}`", self.file))?;
                *of(last) = Some(kept.to_owned());
                Ok::<_, String>(())
            };
            if let Some(ours) = line.strip_prefix(OURS) {
                below(recorded.last_mut(), ours, |one| &mut one.ours)?;
            } else if let Some(why) = line.strip_prefix(WHY) {
                below(recorded.last_mut(), why, |one| &mut one.why)?;
            } else {
                recorded.push(Recorded {
                    kafkas: line.to_owned(),
                    ours: None,
                    why: None,
                });
            }
        }
        Ok(recorded)
    }

    fn path(self) -> PathBuf {
        tools::root().join(self.file)
    }
}

/// Compares all answers, of ours or of Kafka, or records Kafka's.
pub fn run(arguments: &[String]) -> Result<Tally, String> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (is_kafka, is_recorded) = match arguments[..] {
        [] => (false, false),
        ["--against", "kafka"] => (true, false),
        ["--against", "kafka", "--record"] => (true, true),
        _ => return Err("usage: cargo xtask answers [--against kafka [--record]]".to_owned()),
    };
    let cache = tools::target().join("conformance");
    let kind = match is_kafka {
        false => Kind::Millstream {
            binary: check::built("millstream"),
        },
        true => match setup::jars(&cache) {
            Ok(jars) => Kind::Kafka { jars },
            Err(_) => return Err("Apache Kafka's jars could not be had".to_owned()),
        },
    };
    let mut report = Report::new("answers");
    let mut broker = Broker::new(kind, &cache.join("answers"))?;
    if !report.check("the broker starts", broker.start(&[]).map(drop)) {
        return Ok(report.finish());
    }
    for (name, answers) in [("produce", PRODUCE), ("bad input", BAD_INPUT)] {
        let outcome = match is_recorded {
            true => answers.record(&broker.address()),
            false => answers.check(&broker.address(), is_kafka),
        };
        report.check(name, outcome);
    }
    report.check("the broker stops cleanly", broker.stop());
    Ok(report.finish())
}
