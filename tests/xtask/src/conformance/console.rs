//! Kafka's console producer and consumer, run from its jars. Text only; the key chooses the partition, the producer's clock the time.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::client::{CARRY_MAX, COMMAND_MAX, Client, Event, MEMBER_MAX, Tell};
use super::record::{Headers, Plan, Record, Shape};
use crate::process::{self, Process, collect, last_lines, lines};
use crate::tools::root;

const PRODUCER: &str = "org.apache.kafka.tools.ConsoleProducer";
const CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
/// Stands for a null key, value or header value.
const NULL: &str = "NUL";

/// The console clients, and the folder with Kafka's jars.
pub struct Console {
    pub jars: PathBuf,
}

/// A Java program of Kafka's.
pub fn java(jars: &Path, class: &str) -> Command {
    java_with(&["-Xmx512m"], jars, class)
}

/// The same with other options for the virtual machine.
pub fn java_with(options: &[&str], jars: &Path, class: &str) -> Command {
    java_on(options, jars.join("*").as_os_str(), class)
}

/// The same from another class path.
pub fn java_on(options: &[&str], class_path: &OsStr, class: &str) -> Command {
    let log = root().join("tests/conformance/console/log4j2.properties");
    let mut command = Command::new("java");
    command
        .args(options)
        .arg(format!("-Dlog4j2.configurationFile={}", log.display()));
    command.arg("-cp").arg(class_path).arg(class);
    command
}

impl Console {
    pub fn producer(&self, bootstrap: &str, topic: &str) -> Command {
        let mut command = java(&self.jars, PRODUCER);
        command.args(["--bootstrap-server", bootstrap, "--topic", topic]);
        command
    }

    fn consumer(&self, bootstrap: &str, topic: &str) -> Command {
        let mut command = java(&self.jars, CONSUMER);
        command.args([
            "--bootstrap-server",
            bootstrap,
            "--topic",
            topic,
            "--from-beginning",
        ]);
        for property in ["print.partition=true", "print.offset=true"] {
            command.args(["--formatter-property", property]);
        }
        command
    }

    fn attempt(&self, bootstrap: &str, topic: &str, size: usize) -> Result<String, String> {
        let mut command = self.producer(bootstrap, topic);
        command.args([
            "--max-block-ms",
            "4000",
            "--command-property",
            "max.request.size=8000000",
        ]);
        let mut line = vec![b'x'; size];
        line.push(b'\n');
        let (_, out, err) = process::output_with_input(&mut command, COMMAND_MAX, line)?;
        Ok(code(&format!("{out}\n{err}")))
    }

    pub fn topics(&self, bootstrap: &str, arguments: &[&str]) -> Result<String, String> {
        self.tool(TOPICS, bootstrap, arguments)
    }

    /// What one of Kafka's tools says when it succeeds; the end of what it says when it fails.
    pub fn tool(&self, class: &str, bootstrap: &str, arguments: &[&str]) -> Result<String, String> {
        let mut command = java(&self.jars, class);
        command
            .args(["--bootstrap-server", bootstrap])
            .args(arguments);
        match process::output(&mut command, COMMAND_MAX)? {
            (true, out, _) => Ok(out),
            (false, out, err) => Err(last_lines(&format!("{out}\n{err}"), 3)),
        }
    }
}

/// Kafka's number for what the Java client says in words. (A record that the client itself finds too large names
/// `max.request.size`; the broker's refusal has the broker's words.)
fn code(said: &str) -> String {
    if said.contains("UNKNOWN_TOPIC_OR_PARTITION") {
        "3".to_owned()
    } else if said.contains("RecordTooLargeException") && !said.contains("max.request.size") {
        "10".to_owned()
    } else if said.contains("ERROR") || said.contains("Exception") {
        last_lines(said, 2)
    } else {
        "0".to_owned()
    }
}

impl Client for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn shape(&self) -> Shape {
        Shape {
            chooses_partition: false,
            gives_timestamps: false,
            binary: false,
            empty_values: true,
            headers: Headers::Text,
        }
    }

    fn codecs(&self) -> &'static [&'static str] {
        &["gzip", "snappy", "lz4", "zstd"]
    }

    fn create(&self, bootstrap: &str, topic: &str, partitions: i32) -> Result<(), String> {
        let count = partitions.to_string();
        self.topics(
            bootstrap,
            &[
                "--create",
                "--topic",
                topic,
                "--partitions",
                &count,
                "--replication-factor",
                "1",
            ],
        )?;
        Ok(())
    }

    fn produce(&self, bootstrap: &str, topic: &str, plan: Plan, codec: &str) -> Result<(), String> {
        let mut command = self.producer(bootstrap, topic);
        command.args([
            "--compression-codec",
            codec,
            "--batch-size",
            "131072",
            // The tool's own 1.5 s are short where a broker compresses anew beside other work.
            "--request-timeout-ms",
            "30000",
            "--command-property",
            "linger.ms=5",
        ]);
        for property in [
            "parse.key=true",
            "parse.headers=true",
            &format!("null.marker={NULL}"),
        ] {
            command.args(["--reader-property", property]);
        }
        let mut process = Process::start(&mut command, CARRY_MAX).map_err(|e| e.to_string())?;
        let out = collect(process.take_stdout());
        let err = collect(process.take_stderr());
        let mut to =
            BufWriter::with_capacity(1 << 18, process.take_stdin().ok_or("no standard input")?);
        let written = plan
            .records()
            .try_for_each(|record| write_line(&mut to, &record))
            .and_then(|()| to.flush());
        drop(to);
        let status = process.wait(CARRY_MAX)?;
        let said = format!(
            "{}\n{}",
            out.join().unwrap_or_default(),
            err.join().unwrap_or_default()
        );
        if !status.success() || said.contains("ERROR") {
            return Err(last_lines(&said, 3));
        }
        written.map_err(|e| format!("writing to it: {e}"))
    }

    fn consume(
        &self,
        bootstrap: &str,
        topic: &str,
        count: u64,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), String> {
        let mut command = self.consumer(bootstrap, topic);
        for property in [
            "print.timestamp=true",
            "print.key=true",
            "print.headers=true",
            &format!("null.literal={NULL}"),
        ] {
            command.args(["--formatter-property", property]);
        }
        command.args([
            "--max-messages",
            &count.to_string(),
            "--timeout-ms",
            "20000",
        ]);
        let mut process = Process::start(&mut command, CARRY_MAX).map_err(|e| e.to_string())?;
        let err = collect(process.take_stderr());
        let mut out =
            BufReader::with_capacity(1 << 18, process.take_stdout().ok_or("no standard output")?);
        let mut line = Vec::new();
        let read = loop {
            line.clear();
            match out.read_until(b'\n', &mut line) {
                Ok(0) => break Ok(()),
                Ok(_) => match read_line(line.strip_suffix(b"\n").unwrap_or(&line)) {
                    Some(record) => each(record),
                    None => {
                        break Err(format!(
                            "not understood: {:?}",
                            String::from_utf8_lossy(&line)
                        ));
                    }
                },
                Err(e) => break Err(e.to_string()),
            }
        };
        let status = process.wait(CARRY_MAX)?;
        let err = err.join().unwrap_or_default();
        if status.success() {
            read
        } else {
            Err(last_lines(&err, 3))
        }
    }

    fn member(
        &self,
        bootstrap: &str,
        topic: &str,
        group: &str,
        _how: &[&str],
        tell: Tell,
    ) -> Result<Process, String> {
        let mut command = self.consumer(bootstrap, topic);
        command.args([
            "--group",
            group,
            "--formatter-property",
            "print.value=false",
        ]);
        for property in [
            "session.timeout.ms=6000",
            "heartbeat.interval.ms=500",
            "auto.commit.interval.ms=200",
        ] {
            command.args(["--command-property", property]);
        }
        let mut process = Process::start(&mut command, MEMBER_MAX).map_err(|e| e.to_string())?;
        let note = tell.clone();
        lines(process.take_stdout(), move |line| {
            let mut words = line.split('\t');
            let number = |word: Option<&str>| word?.split_once(':')?.1.parse::<i64>().ok();
            if let (Some(p), Some(offset)) = (number(words.next()), number(words.next())) {
                tell.event(Event::Records {
                    partition: p as i32,
                    first: offset,
                    last: offset,
                });
            }
        });
        lines(process.take_stderr(), move |line| {
            if let Some((_, partitions)) = line.split_once("Adding newly assigned partitions: ") {
                note.event(Event::Assigned(suffixes(partitions)));
            } else if line.contains("previously assigned partitions") {
                note.event(Event::Assigned(Vec::new()));
            } else if line.contains("ERROR") {
                note.event(Event::Problem(line.to_owned()));
            }
        });
        Ok(process)
    }

    fn silent_commit(&self) -> Option<Duration> {
        // Several times the interval of its members.
        Some(Duration::from_millis(1500))
    }

    fn errors(&self, bootstrap: &str, topic: &str) -> Result<BTreeMap<String, String>, String> {
        let unknown = format!("{topic}-unknown");
        let mut reader = self.consumer(bootstrap, &unknown);
        reader.args(["--timeout-ms", "3000"]);
        let (_, out, err) = process::output(&mut reader, COMMAND_MAX)?;
        Ok(BTreeMap::from([
            (
                "unknown-topic-produce".to_owned(),
                self.attempt(bootstrap, &unknown, 10)?,
            ),
            (
                "too-large".to_owned(),
                self.attempt(bootstrap, topic, 2 << 20)?,
            ),
            (
                "after-too-large".to_owned(),
                self.attempt(bootstrap, topic, 10)?,
            ),
            (
                "unknown-topic-consume".to_owned(),
                code(&format!("{out}\n{err}")),
            ),
        ]))
    }
}

/// The partitions of a text like `topic-0, topic-3`.
fn suffixes(text: &str) -> Vec<i32> {
    text.split(',')
        .filter_map(|name| {
            name.trim()
                .trim_end_matches(']')
                .rsplit_once('-')?
                .1
                .parse()
                .ok()
        })
        .collect()
}

/// `name:value,…` TAB key TAB value.
fn write_line(to: &mut impl Write, record: &Record) -> std::io::Result<()> {
    for (i, (name, value)) in record.headers.iter().enumerate() {
        to.write_all(if i == 0 { b"" } else { b"," })?;
        write!(to, "{name}:")?;
        to.write_all(value.as_deref().unwrap_or(NULL.as_bytes()))?;
    }
    if record.headers.is_empty() {
        to.write_all(NULL.as_bytes())?;
    }
    for part in [&record.key, &record.value] {
        to.write_all(b"\t")?;
        to.write_all(part.as_deref().unwrap_or(NULL.as_bytes()))?;
    }
    to.write_all(b"\n")
}

/// `CreateTime:ms` TAB `Partition:p` TAB `Offset:o` TAB headers TAB key TAB value.
fn read_line(line: &[u8]) -> Option<Record> {
    let text = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = text.split('\t').collect();
    let [timestamp, partition, offset, headers, key, value] = words[..] else {
        return None;
    };
    let some = |word: &str| (word != NULL).then(|| word.as_bytes().to_vec());
    let headers = match headers {
        "NO_HEADERS" => Vec::new(),
        pairs => pairs
            .split(',')
            .map(|pair| {
                pair.split_once(':')
                    .map(|(name, value)| (name.to_owned(), some(value)))
            })
            .collect::<Option<_>>()?,
    };
    Some(Record {
        offset: offset.strip_prefix("Offset:")?.parse().ok()?,
        partition: partition.strip_prefix("Partition:")?.parse().ok()?,
        timestamp: timestamp.strip_prefix("CreateTime:")?.parse().ok()?,
        key: some(key),
        value: some(value),
        headers,
    })
}

/// Topics through Kafka's own command: made, listed, removed.
pub fn check_topic_command(console: &Console, bootstrap: &str) -> Result<(), String> {
    let lists = |topic: &str| {
        Ok::<bool, String>(
            console
                .topics(bootstrap, &["--list"])?
                .lines()
                .any(|line| line == topic),
        )
    };
    let topic = "made-by-topic-command";
    console.create(bootstrap, topic, 2)?;
    if !lists(topic)? {
        return Err("the topic is not listed after it was created".to_owned());
    }
    let again = console.create(bootstrap, topic, 2);
    if !again
        .as_ref()
        .is_err_and(|said| said.contains("already exists"))
    {
        return Err(format!("creating it twice: {again:?}"));
    }
    console.topics(bootstrap, &["--delete", "--topic", topic])?;
    if lists(topic)? {
        return Err("the topic is still listed after it was deleted".to_owned());
    }
    Ok(())
}
