//! Where logs begin, as Kafka's own commands see it: records that are deleted on demand, and segments
//! that retention removes.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::client::COMMAND_MAX;
use super::console::Console;
use crate::process;

const DELETE_RECORDS: &str = "org.apache.kafka.tools.DeleteRecordsCommand";
const GET_OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const DELETED_FROM: &str = "records-deleted";
const RETAINED: &str = "records-retained";
/// Retention runs every second in these tests, and asking takes a few.
const RETENTION_MAX: Duration = Duration::from_secs(60);

/// The first records of a topic are deleted through Kafka's own command.
pub fn check_delete_records(
    console: &Console,
    bootstrap: &str,
    folder: &Path,
) -> Result<(), String> {
    create(console, bootstrap, DELETED_FROM, &[])?;
    produce(console, bootstrap, DELETED_FROM, 10, 1)?;
    let delete = |offset: i64| {
        let file = folder.join("delete-records.json");
        let wanted = format!(
            r#"{{"version":1,"partitions":[{{"topic":"{DELETED_FROM}","partition":0,"offset":{offset}}}]}}"#
        );
        std::fs::write(&file, wanted).map_err(|e| format!("{}: {e}", file.display()))?;
        let file = file.display().to_string();
        console.tool(DELETE_RECORDS, bootstrap, &["--offset-json-file", &file])
    };
    for (offset, answer) in [
        (4, "low_watermark: 4"),
        (2, "low_watermark: 4"),
        (11, "OffsetOutOfRangeException"),
        (-1, "low_watermark: 10"),
    ] {
        // The command tells errors in what it prints, not in its exit code.
        let said = delete(offset).unwrap_or_else(|said| said);
        if !said.contains(answer) {
            return Err(format!(
                "deleting before {offset}: {said}, expected {answer}"
            ));
        }
    }
    check_deleted_records(console, bootstrap)
}

/// What was deleted stays deleted.
pub fn check_deleted_records(console: &Console, bootstrap: &str) -> Result<(), String> {
    match earliest(console, bootstrap, DELETED_FROM)? {
        10 => Ok(()),
        offset => Err(format!("the earliest offset is {offset}, not 10")),
    }
}

/// The oldest segments of a topic go while the others hold what its settings ask for.
pub fn check_retention(console: &Console, bootstrap: &str) -> Result<(), String> {
    let settings = [
        "segment.bytes=1048576",
        "retention.bytes=2000000",
        "file.delete.delay.ms=0",
    ];
    create(console, bootstrap, RETAINED, &settings)?;
    produce(console, bootstrap, RETAINED, 60, 100_000)?;
    let began = Instant::now();
    loop {
        match earliest(console, bootstrap, RETAINED)? {
            // Ten records fill a segment; what stays is at least the limit, and less than a segment more.
            offset @ 30..=40 if offset % 10 == 0 => return Ok(()),
            offset if began.elapsed() > RETENTION_MAX => {
                return Err(format!(
                    "the earliest offset is {offset}, expected 30 or 40"
                ));
            }
            _ => thread::sleep(Duration::from_millis(500)),
        }
    }
}

pub fn create(
    console: &Console,
    bootstrap: &str,
    topic: &str,
    settings: &[&str],
) -> Result<(), String> {
    let mut arguments = vec!["--create", "--topic", topic, "--partitions", "1"];
    for setting in settings {
        arguments.extend(["--config", setting]);
    }
    console.topics(bootstrap, &arguments).map(|_| ())
}

fn produce(
    console: &Console,
    bootstrap: &str,
    topic: &str,
    records: usize,
    size: usize,
) -> Result<(), String> {
    let line = "x".repeat(size) + "\n";
    let lines = line.repeat(records).into_bytes();
    send(console.producer(bootstrap, topic), topic, lines)
}

/// Has a console producer send these lines.
pub fn send(mut producer: Command, topic: &str, lines: Vec<u8>) -> Result<(), String> {
    let (ok, out, err) = process::output_with_input(&mut producer, COMMAND_MAX, lines)?;
    match ok && !err.contains("ERROR") {
        true => Ok(()),
        false => Err(format!("producing to {topic}: {out}\n{err}")),
    }
}

fn earliest(console: &Console, bootstrap: &str, topic: &str) -> Result<i64, String> {
    let arguments = ["--topic", topic, "--time", "earliest"];
    let said = console.tool(GET_OFFSETS, bootstrap, &arguments)?;
    said.trim()
        .rsplit_once(':')
        .and_then(|(_, offset)| offset.parse().ok())
        .ok_or(format!("GetOffsetShell said {said}"))
}
