//! What Produce answers to batches good and bad, compared with what Apache Kafka said.

use std::fs;
use std::process::Command;

use super::client::COMMAND_MAX;
use crate::process::{last_lines, output};
use crate::{check, tools};

const KAFKAS: &str = "tests/conformance/answers/produce.txt";

/// Asks the broker at `bootstrap`, HOST:PORT, and compares line by line. Where ours differs from Kafka on
/// purpose, its line stands below Kafka's.
pub fn check(bootstrap: &str, is_kafka: bool) -> Result<(), String> {
    let port = bootstrap.rsplit(':').next().unwrap_or_default();
    let mut command = Command::new(check::built("answers"));
    let (ok, said, err) = output(command.arg(port), COMMAND_MAX)?;
    if !ok {
        return Err(last_lines(&err, 3));
    }
    let file = tools::root().join(KAFKAS);
    let kafkas = fs::read_to_string(&file).map_err(|e| format!("{KAFKAS}: {e}"))?;
    let mut expected = Vec::new();
    for line in kafkas.lines() {
        match line.strip_prefix("  ours: ") {
            Some(_) if is_kafka => {}
            Some(ours) => {
                expected.pop();
                expected.push(ours);
            }
            None => expected.push(line),
        }
    }
    let lines = said.lines().zip(&expected);
    let different = lines.into_iter().find(|(said, line)| said != *line);
    match different {
        Some((said, line)) => Err(format!("`{said}`, where `{line}` is recorded")),
        None if said.lines().count() != expected.len() => {
            Err(format!("{KAFKAS} has another number of lines"))
        }
        None => Ok(()),
    }
}
