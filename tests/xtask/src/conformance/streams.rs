//! Kafka Streams at least once: a word count with a repartition topic and a store, over a restart that lost the
//! store's files, and again from the beginning after Kafka's reset tool.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use super::carry::now;
use super::client::{Client, MEMBER_MAX};
use super::console::Console;
use super::driver::Driver;
use super::record::Record;
use crate::process::{Process, collect, last_lines, lines};
use crate::tally::Report;

const INPUT: &str = "lines";
const APPLICATION: &str = "word-count";
const CHANGELOG: &str = "word-count-counts-changelog";
const REPARTITION: &str = "word-count-words-repartition";
const PARTITIONS: i32 = 3;
/// Lines of each half of the input.
const HALF: u64 = 3000;
const COUNT_MAX: Duration = Duration::from_secs(60);
const CLOSE_MAX: Duration = Duration::from_secs(30);

type Counts = BTreeMap<String, i64>;

/// Runs the application three times; `folder` is for its state.
pub fn check(
    java: &Driver,
    console: &Console,
    bootstrap: &str,
    folder: &Path,
    report: &mut Report,
) {
    let state = folder.join("streams-state");
    let places = Places {
        java,
        bootstrap,
        state: &state,
    };
    let begun = [INPUT, "counts-1", "counts-2"]
        .iter()
        .try_for_each(|topic| java.create(bootstrap, topic, PARTITIONS))
        .and_then(|()| places.write(0))
        .and_then(|()| places.run("counts-1", HALF));
    let go_on = report.check("Streams: words are counted", begun)
        && report.check(
            "Streams: its internal topics are there",
            internal_topics(console, bootstrap, 2),
        )
        && report.check(
            "Streams: a restart without its files goes on from the changelog",
            places
                .write(HALF)
                .and_then(|()| places.run("counts-1", 2 * HALF)),
        );
    if !go_on {
        return;
    }
    report.check(
        "Streams: the reset tool takes the application back to the beginning",
        reset(console, bootstrap).and_then(|()| internal_topics(console, bootstrap, 0)),
    );
    report.check(
        "Streams: after the reset everything is counted again",
        places.run("counts-2", 2 * HALF),
    );
}

struct Places<'a> {
    java: &'a Driver,
    bootstrap: &'a str,
    state: &'a Path,
}

impl Places<'_> {
    /// Writes half of the lines, from line `first` on.
    fn write(&self, first: u64) -> Result<(), String> {
        let time = now();
        let records = (first..first + HALF).map(move |n| Record {
            offset: -1,
            partition: (n % PARTITIONS as u64) as i32,
            timestamp: time,
            key: None,
            value: Some(words(n).join(" ").into_bytes()),
            headers: Vec::new(),
        });
        self.java.send(self.bootstrap, INPUT, "none", HALF, records)
    }

    /// Runs the application, without files of an earlier run, until it has counted `lines`; then compares what it
    /// left in its output topic.
    fn run(&self, output: &str, lines: u64) -> Result<(), String> {
        if self.state.exists() {
            fs::remove_dir_all(self.state).map_err(|e| format!("{}: {e}", self.state.display()))?;
        }
        let expected = counts(lines);
        let mut command = self.java.command("word-count", self.bootstrap, INPUT);
        command.args(["--group", APPLICATION, "--output", output, "--state"]);
        command.arg(self.state);
        let mut process = Process::start(&mut command, MEMBER_MAX).map_err(|e| e.to_string())?;
        let complaints = collect(process.take_stderr());
        let (tell, said) = mpsc::channel();
        let stdout = process.take_stdout();
        self::lines(stdout, move |line| {
            // Nobody listens any more when the count is reached.
            let _ = tell.send(line.to_owned());
        });
        wait_for(&said, &expected)?;
        drop(process.take_stdin());
        let status = process.wait(CLOSE_MAX)?;
        if !status.success() {
            let said = complaints.join().unwrap_or_default();
            return Err(format!("it ended with {status}: {}", last_lines(&said, 3)));
        }
        self.compare(output, &expected)
    }

    /// The last count of each word in the output topic is the whole.
    fn compare(&self, output: &str, expected: &Counts) -> Result<(), String> {
        let mut found = Counts::new();
        self.java
            .consume(self.bootstrap, output, 0, &mut |record| {
                let word = String::from_utf8_lossy(&record.key.unwrap_or_default()).into_owned();
                let count = record.value.and_then(|value| value.try_into().ok());
                found.insert(word, count.map_or(-1, i64::from_be_bytes));
            })?;
        same(&found, expected)
    }
}

/// Follows what the application says until its counts are as expected.
fn wait_for(said: &Receiver<String>, expected: &Counts) -> Result<(), String> {
    let end = Instant::now() + COUNT_MAX;
    let mut found = Counts::new();
    while found != *expected {
        let left = end.saturating_duration_since(Instant::now());
        let Ok(line) = said.recv_timeout(left) else {
            return same(&found, expected).map_err(|why| format!("in {COUNT_MAX:?}: {why}"));
        };
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["count", word, count] => {
                let count = count
                    .parse()
                    .map_err(|_| format!("not understood: {line}"))?;
                found.insert(word.to_owned(), count);
            }
            _ => return Err(line),
        }
    }
    Ok(())
}

fn same(found: &Counts, expected: &Counts) -> Result<(), String> {
    let wrong = expected
        .iter()
        .find(|(word, n)| found.get(*word) != Some(n));
    match wrong {
        None if found.len() == expected.len() => Ok(()),
        None => Err(format!(
            "{} words, expected {}",
            found.len(),
            expected.len()
        )),
        Some((word, n)) => Err(format!("{word}: {:?}, expected {n}", found.get(word))),
    }
}

/// The words of line `n`: rare and frequent ones.
fn words(n: u64) -> [String; 3] {
    [
        format!("a{}", n % 7),
        format!("b{}", n % 101),
        format!("c{}", n * n % 1009),
    ]
}

fn counts(lines: u64) -> Counts {
    let mut counts = Counts::new();
    for word in (0..lines).flat_map(words) {
        *counts.entry(word).or_default() += 1;
    }
    counts
}

fn internal_topics(console: &Console, bootstrap: &str, count: usize) -> Result<(), String> {
    let listed = console.topics(bootstrap, &["--list"])?;
    let internal = [CHANGELOG, REPARTITION];
    let there = listed
        .lines()
        .filter(|line| internal.contains(line))
        .count();
    if there == count {
        Ok(())
    } else {
        Err(format!("{there} of them, expected {count}: {listed:?}"))
    }
}

fn reset(console: &Console, bootstrap: &str) -> Result<(), String> {
    let said = console.tool(
        "org.apache.kafka.tools.StreamsResetter",
        bootstrap,
        &[
            "--application-id",
            APPLICATION,
            "--input-topics",
            INPUT,
            // The last run's members may not be forgotten yet.
            "--force",
        ],
    )?;
    let expected = [
        CHANGELOG,
        REPARTITION,
        "Topic: lines Partition: 2 Offset: 0",
    ];
    match expected.iter().find(|text| !said.contains(**text)) {
        None => Ok(()),
        Some(text) => Err(format!("no {text:?} in what it said: {said}")),
    }
}
