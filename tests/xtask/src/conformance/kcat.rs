//! kcat, driven by its own options. It writes one partition a process, with one list of headers for all records and no timestamps.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::client::{CARRY_MAX, COMMAND_MAX, Client, Event, MEMBER_MAX, Tell};
use super::record::{Headers, Plan, Record, Shape, fixed_headers};
use crate::process::{self, Process, collect, last_lines, lines};

/// The program `kcat`.
pub struct Kcat;

/// The header line of each record: partition, offset, timestamp, key length, value length, headers; then key and value.
pub const FORMAT: &str = "%p %o %T %K %S %h\\n%k%s\\n";

impl Kcat {
    pub fn command(bootstrap: &str) -> Command {
        let mut command = Command::new("kcat");
        command.args(["-b", bootstrap]);
        command
    }

    fn produce_partition(
        bootstrap: &str,
        topic: &str,
        plan: Plan,
        codec: &str,
        partition: i32,
    ) -> Result<(), String> {
        let mut command = Kcat::command(bootstrap);
        // -Z: an empty key or value is none.
        command.args([
            "-P",
            "-t",
            topic,
            "-p",
            &partition.to_string(),
            "-K",
            "\\t",
            "-Z",
            "-z",
            codec,
        ]);
        command.args(["-X", "enable.idempotence=true", "-X", "linger.ms=5"]);
        for (name, value) in fixed_headers() {
            let text = value
                .map(|v| format!("={}", String::from_utf8_lossy(&v)))
                .unwrap_or_default();
            command.args(["-H", &format!("{name}{text}")]);
        }
        let mut process = Process::start(&mut command, CARRY_MAX).map_err(|e| e.to_string())?;
        let err = collect(process.take_stderr());
        let out = collect(process.take_stdout());
        let mut to =
            BufWriter::with_capacity(1 << 18, process.take_stdin().ok_or("no standard input")?);
        let numbers = (partition as u64..plan.count).step_by(plan.partitions as usize);
        let written = numbers.map(|n| plan.record(n)).try_for_each(|record| {
            to.write_all(record.key.as_deref().unwrap_or_default())?;
            to.write_all(b"\t")?;
            to.write_all(record.value.as_deref().unwrap_or_default())?;
            to.write_all(b"\n")
        });
        let written = written.and_then(|()| to.flush());
        drop(to);
        let status = process.wait(CARRY_MAX)?;
        let (err, _) = (err.join().unwrap_or_default(), out.join());
        if !status.success() || err.contains("ERROR") || err.contains("failed") {
            return Err(last_lines(&err, 3));
        }
        written.map_err(|e| format!("writing to kcat: {e}"))
    }

    /// Produces one value and returns the number of the error that kcat names.
    pub fn attempt(bootstrap: &str, topic: &str, size: usize) -> Result<String, String> {
        let mut command = Kcat::command(bootstrap);
        command.args([
            "-P",
            "-t",
            topic,
            "-p",
            "0",
            "-X",
            "message.max.bytes=8000000",
        ]);
        command.args([
            "-X",
            "topic.metadata.propagation.max.ms=1000",
            "-X",
            "message.timeout.ms=30000",
        ]);
        let (ok, out, err) =
            process::output_with_input(&mut command, COMMAND_MAX, vec![b'x'; size])?;
        Ok(code(ok, &format!("{out}\n{err}")))
    }
}

/// Kafka's number for what librdkafka says in words.
fn code(ok: bool, said: &str) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("Broker: Unknown topic or partition", "3"),
        ("Local: Unknown topic", "3"),
        ("Local: Unknown partition", "3"),
        ("Broker: Message size too large", "10"),
    ];
    match WORDS.iter().find(|(words, _)| said.contains(words)) {
        Some((_, code)) => (*code).to_owned(),
        None if ok => "0".to_owned(),
        None => last_lines(said, 2),
    }
}

impl Client for Kcat {
    fn name(&self) -> &'static str {
        "kcat"
    }

    fn shape(&self) -> Shape {
        Shape {
            chooses_partition: true,
            gives_timestamps: false,
            binary: false,
            empty_values: false,
            headers: Headers::Fixed,
        }
    }

    fn codecs(&self) -> &'static [&'static str] {
        &["gzip", "snappy", "lz4", "zstd"]
    }

    fn create(&self, bootstrap: &str, topic: &str, _partitions: i32) -> Result<(), String> {
        // A null record would be one too many; asking for the topic's metadata as a producer creates it.
        let mut command = Kcat::command(bootstrap);
        command.args(["-L", "-t", topic, "-X", "allow.auto.create.topics=true"]);
        match process::output(&mut command, COMMAND_MAX)? {
            (true, ..) => Ok(()),
            (false, _, err) => Err(last_lines(&err, 3)),
        }
    }

    fn produce(&self, bootstrap: &str, topic: &str, plan: Plan, codec: &str) -> Result<(), String> {
        thread::scope(|scope| {
            let writers: Vec<_> = (0..plan.partitions)
                .map(|p| {
                    scope.spawn(move || Kcat::produce_partition(bootstrap, topic, plan, codec, p))
                })
                .collect();
            writers.into_iter().try_for_each(|writer| {
                writer
                    .join()
                    .map_err(|_| "a writing thread broke".to_owned())?
            })
        })
    }

    fn consume(
        &self,
        bootstrap: &str,
        topic: &str,
        _count: u64,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), String> {
        let mut command = Kcat::command(bootstrap);
        command.args([
            "-C",
            "-t",
            topic,
            "-o",
            "beginning",
            "-e",
            "-q",
            "-f",
            FORMAT,
        ]);
        let mut process = Process::start(&mut command, CARRY_MAX).map_err(|e| e.to_string())?;
        let err = collect(process.take_stderr());
        let mut out =
            BufReader::with_capacity(1 << 18, process.take_stdout().ok_or("no standard output")?);
        let read = loop {
            match read_record(&mut out) {
                Ok(Some(record)) => each(record),
                Ok(None) => break Ok(()),
                Err(reason) => break Err(reason),
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
        let mut command = Kcat::command(bootstrap);
        command.args([
            "-G",
            group,
            "-u",
            "-f",
            "%p %o\\n",
            "-X",
            "session.timeout.ms=6000",
        ]);
        command.args(["-X", "heartbeat.interval.ms=500"]);
        command.args(["-X", "auto.offset.reset=earliest", topic]);
        let mut process = Process::start(&mut command, MEMBER_MAX).map_err(|e| e.to_string())?;
        let note = tell.clone();
        lines(process.take_stdout(), move |line| {
            let numbers: Vec<i64> = line
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            if let [p, offset] = numbers[..] {
                tell.event(Event::Records {
                    partition: p as i32,
                    first: offset,
                    last: offset,
                });
            }
        });
        lines(process.take_stderr(), move |line| {
            if let Some((_, partitions)) = line.split_once("): assigned: ") {
                note.event(Event::Assigned(bracketed(partitions)));
            } else if line.contains("): revoked: ") {
                note.event(Event::Assigned(Vec::new()));
            } else if line.contains("ERROR") {
                note.event(Event::Problem(line.to_owned()));
            }
        });
        Ok(process)
    }

    fn silent_commit(&self) -> Option<Duration> {
        // kcat takes `auto.commit.interval.ms` for a topic's setting of old, so librdkafka's 5 s stay.
        Some(Duration::from_secs(6))
    }

    fn errors(&self, bootstrap: &str, topic: &str) -> Result<BTreeMap<String, String>, String> {
        let unknown = format!("{topic}-unknown");
        let mut reader = Kcat::command(bootstrap);
        reader.args([
            "-C",
            "-t",
            &unknown,
            "-e",
            "-X",
            "topic.metadata.propagation.max.ms=1000",
        ]);
        let (ok, out, err) = process::output(&mut reader, COMMAND_MAX)?;
        Ok(BTreeMap::from([
            (
                "unknown-topic-produce".to_owned(),
                Kcat::attempt(bootstrap, &unknown, 10)?,
            ),
            (
                "too-large".to_owned(),
                Kcat::attempt(bootstrap, topic, 2 << 20)?,
            ),
            (
                "after-too-large".to_owned(),
                Kcat::attempt(bootstrap, topic, 10)?,
            ),
            (
                "unknown-topic-consume".to_owned(),
                code(ok, &format!("{out}\n{err}")),
            ),
        ]))
    }
}

/// The partitions of a text like `topic [0], topic [3]`.
fn bracketed(text: &str) -> Vec<i32> {
    text.split('[')
        .skip(1)
        .filter_map(|rest| rest.split(']').next()?.parse().ok())
        .collect()
}

/// One record in [`FORMAT`]; none at the end.
pub fn read_record(out: &mut impl BufRead) -> Result<Option<Record>, String> {
    let mut line = Vec::new();
    out.read_until(b'\n', &mut line)
        .map_err(|e| e.to_string())?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8(line).map_err(|_| "kcat: a line that is not UTF-8".to_owned())?;
    let unclear = || format!("kcat: not understood: {line:?}");
    let words: Vec<&str> = line.trim_end_matches('\n').splitn(6, ' ').collect();
    let [partition, offset, timestamp, key, value, headers] = words[..] else {
        return Err(unclear());
    };
    let number = |text: &str| text.parse::<i64>().map_err(|_| unclear());
    let record = Record {
        offset: number(offset)?,
        partition: number(partition)? as i32,
        timestamp: number(timestamp)?,
        key: take(out, number(key)?)?,
        value: take(out, number(value)?)?,
        headers: headers
            .split(',')
            .filter(|pair| !pair.is_empty())
            .map(header)
            .collect(),
    };
    take(out, 1)?;
    Ok(Some(record))
}

fn take(out: &mut impl Read, length: i64) -> Result<Option<Vec<u8>>, String> {
    let Ok(length) = usize::try_from(length) else {
        return Ok(None);
    };
    let mut bytes = vec![0; length];
    out.read_exact(&mut bytes)
        .map_err(|e| format!("kcat: {e}"))?;
    Ok(Some(bytes))
}

fn header(pair: &str) -> (String, Option<Vec<u8>>) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (
        name.to_owned(),
        (value != "NULL").then(|| value.as_bytes().to_vec()),
    )
}
