//! Writes a partition's directory on the real disk, for Kafka's own tools to check:
//!
//! ```text
//! cargo run -p millstream-log --example write_directory -- DIRECTORY
//! java -cp 'JARS/*' org.apache.kafka.tools.DumpLogSegments --deep-iteration --files DIRECTORY/….log
//! ```
//!
//! It holds every codec, several segments, epochs and producers, timestamps out of order, a torn tail
//! that was recovered, and a clean stop.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::Arc;

use millstream_env::{Disk, RealDisk};
use millstream_log::{CacheBudget, Log, LogConfig, LogPlace, Noted};
use millstream_model::{LeaderEpoch, TopicId, WallTime};
use millstream_protocol::records::{BatchBuilder, Codec, ValidationRules, validate};

const START: i64 = 1_700_000_000_000;
const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip,
    Codec::Snappy,
    Codec::Lz4,
    Codec::Zstd,
];
fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: write_directory DIRECTORY");
        std::process::exit(2);
    };
    let directory = PathBuf::from(directory);
    let mut sequences = [0; 4];
    let mut log = open(&directory, Noted::default());
    fill(&mut log, 0..400, &mut sequences);
    flush(&mut log);
    let noted = log.checkpoint();
    fill(&mut log, 400..500, &mut sequences);
    drop(log);

    // The process dies in the middle of a write.
    let last = RealDisk
        .list(&directory)
        .unwrap()
        .into_iter()
        .rfind(|entry| {
            entry
                .path
                .extension()
                .is_some_and(|extension| extension == "log")
        });
    let last = last.unwrap();
    RealDisk
        .open(&last.path, false)
        .unwrap()
        .truncate(RealDisk.length(&last.path).unwrap() - 7)
        .unwrap();
    let mut log = open(&directory, noted);
    // The cut batch was the last of this producer: it is sent again.
    sequences[499 % 4] -= records_in(499);
    fill(&mut log, 499..900, &mut sequences);
    log.prepare_close().unwrap();
    flush(&mut log);
    println!(
        "{} segments, {} records in {}",
        log.segment_count(),
        log.log_end_offset(),
        directory.display()
    );
}

fn open(directory: &std::path::Path, noted: Noted) -> Log {
    let place = LogPlace {
        disk: Arc::new(RealDisk),
        directory: directory.to_owned(),
        topic_id: TopicId([5; 16]),
        cache_budget: CacheBudget::default(),
    };
    let config = LogConfig {
        segment_bytes: 60_000,
        index_interval_bytes: 1000,
        ..LogConfig::default()
    };
    let (log, recovery) = Log::open(place, config, noted, None, WallTime(START)).unwrap();
    eprintln!("{recovery:?}");
    log
}

fn records_in(number: i64) -> i32 {
    1 + (number % 7) as i32
}

/// Appends batches: every fourth without a producer, the others of three producers.
fn fill(log: &mut Log, numbers: std::ops::Range<i64>, sequences: &mut [i32; 4]) {
    for number in numbers {
        let producer = (number % 4) as usize;
        let records = records_in(number);
        let mut builder = BatchBuilder::new(CODECS[(number % 5) as usize]);
        if producer > 0 {
            builder = builder.producer(producer as i64 * 1000, 3, sequences[producer]);
        }
        sequences[producer] += records;
        for record in 0..records {
            let wobble = (number * 7919 + i64::from(record) * 31) % 5000;
            let key = format!("key-{number}-{record}");
            let value = format!("value {number} ").repeat((number % 40) as usize);
            let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(b"1")), (b"h", None)];
            builder.push(
                START + number * 1000 + wobble,
                Some(key.as_bytes()),
                Some(value.as_bytes()),
                headers,
            );
        }
        let batch = builder.build(0, -1);
        let rules = ValidationRules {
            after_max_ms: i64::MAX,
            now_ms: START,
            ..ValidationRules::default()
        };
        let validated = validate(&batch, &rules).unwrap();
        let epoch = LeaderEpoch((number / 250) as i32);
        log.append(batch, usize::MAX, &validated, epoch, WallTime(START))
            .unwrap();
    }
}

fn flush(log: &mut Log) {
    let Some(work) = log.begin_flush() else {
        return;
    };
    work.sync.carry_out(&RealDisk).unwrap();
    log.complete_flush(work.end);
}
