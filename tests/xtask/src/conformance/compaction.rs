//! A compacted topic as Kafka's own console sees it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::client::Client;
use super::console::Console;
use super::retention::{create, send};

/// The topic, and what its folders are known by.
pub const COMPACTED: &str = "compacted";
const KEYS: usize = 50;
const ROUNDS: usize = 100;
/// Half of the keys are deleted in the end. Their tombstones stay for a day.
const DELETED: usize = KEYS / 2;
/// Compaction looks for work every half second in these tests.
const COMPACTION_MAX: Duration = Duration::from_secs(60);

/// Keys are written over and over; then of the sealed segments only the last of each is left.
pub fn check_compaction(console: &Console, bootstrap: &str) -> Result<(), String> {
    let settings = [
        "cleanup.policy=compact",
        "segment.bytes=1048576",
        "min.cleanable.dirty.ratio=0.01",
        "file.delete.delay.ms=0",
    ];
    create(console, bootstrap, COMPACTED, &settings)?;
    refuse_without_key(console, bootstrap)?;
    let mut lines = String::new();
    for round in 0..ROUNDS {
        for key in 0..KEYS {
            lines += &format!("key-{key}\t{}\n", value(key, round));
        }
    }
    for key in 0..DELETED {
        lines += &format!("key-{key}\tNUL\n");
    }
    // What is after this is in the active segment, and stays.
    for number in 0..100 {
        lines += &format!("filler-{number}\t{}\n", "f".repeat(20_000));
    }
    let mut producer = console.producer(bootstrap, COMPACTED);
    for property in ["parse.key=true", "null.marker=NUL"] {
        producer.args(["--reader-property", property]);
    }
    send(producer, COMPACTED, lines.into_bytes())?;
    let began = Instant::now();
    loop {
        match check_compacted(console, bootstrap) {
            Err(_) if began.elapsed() < COMPACTION_MAX => {
                thread::sleep(Duration::from_millis(500));
            }
            outcome => return outcome,
        }
    }
}

/// Every key has its last value, and only a few keys of the active segment have others.
pub fn check_compacted(console: &Console, bootstrap: &str) -> Result<(), String> {
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    let mut offset = -1;
    let mut problem = None;
    let read = console.consume(bootstrap, COMPACTED, (KEYS + 100) as u64, &mut |record| {
        count += 1;
        if record.offset <= offset {
            problem = Some(format!("offset {} after {offset}", record.offset));
        }
        offset = record.offset;
        let text = |bytes: Option<Vec<u8>>| match bytes {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => "NUL".to_owned(),
        };
        last.insert(text(record.key), text(record.value));
    });
    read?;
    if let Some(problem) = problem {
        return Err(problem);
    }
    let expected = (KEYS * ROUNDS + DELETED + 100 - 1) as i64;
    if offset != expected {
        return Err(format!(
            "{count} records end at offset {offset}, not at {expected}: others are left"
        ));
    }
    for key in 0..KEYS {
        let expected = match key < DELETED {
            true => "NUL".to_owned(),
            false => value(key, ROUNDS - 1),
        };
        if last.get(&format!("key-{key}")) != Some(&expected) {
            return Err(format!("key-{key} does not have its last value"));
        }
    }
    Ok(())
}

fn refuse_without_key(console: &Console, bootstrap: &str) -> Result<(), String> {
    let producer = console.producer(bootstrap, COMPACTED);
    match send(producer, COMPACTED, b"no key\n".to_vec()) {
        Err(said) if said.contains("InvalidRecordException") => Ok(()),
        said => Err(format!("a record without key: {said:?}")),
    }
}

fn value(key: usize, round: usize) -> String {
    format!("{round}-{key}-").repeat(60)
}
