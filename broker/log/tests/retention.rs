//! Where a log begins after retention, and what is left of it on disk.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{
    Bench, DIRECTORY, NOW, append, append_in, batch, batch_of, close, flush, read_all, records_in,
};
use millstream_env::Disk;
use millstream_log::{Log, LogConfig, Retention};
use millstream_model::{LeaderEpoch, Offset, WallTime};
use millstream_protocol::ErrorCode;

/// Segments of two batches each, a record in every batch, the last segment with one.
fn log_of(bench: &Bench, timestamps: &[i64]) -> Log {
    let mut log = bench.open();
    for timestamp in timestamps {
        append(&mut log, batch(&[NOW.0 + timestamp], 100)).unwrap();
    }
    flush(&mut log);
    log
}

fn bench() -> Bench {
    let config = LogConfig {
        segment_bytes: 2 * batch(&[0], 100).len() as u32,
        cache_bytes_max: 0,
        ..LogConfig::default()
    };
    Bench {
        config,
        ..Bench::new()
    }
}

fn take_out(log: &mut Log) -> usize {
    let noted = log.checkpoint();
    flush(log);
    log.take_out_segments(noted.log_start_offset).unwrap().len()
}

fn names(bench: &Bench) -> Vec<String> {
    bench.files().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn by_size_what_stays_is_at_least_the_limit() {
    let bench = bench();
    let mut log = log_of(&bench, &[0; 7]);
    let batch = batch(&[0], 100).len() as u64;
    let keep = |bytes| Retention {
        bytes: Some(bytes),
        ms: None,
    };
    assert!(!log.retain(keep(5 * batch + 1), Offset(7), NOW).unwrap());
    assert!(log.retain(keep(5 * batch), Offset(7), NOW).unwrap());
    assert_eq!(log.log_start_offset(), Offset(2));
    assert_eq!(
        log.segment_count(),
        4,
        "its segment goes once that is durable"
    );
    assert_eq!(take_out(&mut log), 3);
    assert_eq!((log.segment_count(), log.size_in_bytes()), (3, 5 * batch));
    assert_eq!(
        log.read(Offset(1), 1, Offset(7), true).unwrap_err().code(),
        ErrorCode::OffsetOutOfRange
    );
    assert_eq!(records_in(&read_all(&log, Offset(2))).len(), 5);
}

#[test]
fn by_time_the_newest_record_of_a_segment_counts_and_the_first_that_stays_ends_it() {
    let bench = bench();
    let mut log = log_of(&bench, &[-900, -100, -900, -800, 5, -900, -900]);
    let keep = |ms| Retention {
        ms: Some(ms),
        bytes: None,
    };
    assert!(!log.retain(keep(100), Offset(7), NOW).unwrap());
    assert!(log.retain(keep(99), Offset(7), NOW).unwrap());
    assert_eq!(
        log.log_start_offset(),
        Offset(4),
        "a timestamp to come keeps the rest"
    );
    let later = WallTime(NOW.0 + 1000);
    assert!(log.retain(keep(99), Offset(6), later).unwrap());
    assert_eq!(log.log_start_offset(), Offset(6), "not past the bound");
    assert!(log.retain(keep(99), Offset(7), later).unwrap());
    assert_eq!(log.log_start_offset(), Offset(7), "the active segment too");
    assert_eq!(log.segment_count(), 5);
    take_out(&mut log);
    assert_eq!((log.segment_count(), log.size_in_bytes()), (1, 0));
    assert!(!log.retain(keep(99), Offset(7), later).unwrap());
    assert_eq!(
        append(&mut log, batch(&[0], 10)).unwrap().base_offset,
        Offset(7)
    );
}

#[test]
fn deleted_records_are_gone_after_a_restart_and_their_producers_are_not() {
    let mut bench = bench();
    let mut log = bench.open();
    for sequence in 0..5 {
        append_in(&mut log, batch_of((8, 0, sequence), 1, 90), sequence).unwrap();
    }
    flush(&mut log);
    assert!(log.advance_start(Offset(3)));
    assert!(!log.advance_start(Offset(2)), "never back");
    assert_eq!(
        log.epoch_end_offset(LeaderEpoch(1)),
        Some((LeaderEpoch(1), Offset(3)))
    );
    bench.noted = log.checkpoint();
    flush(&mut log);
    log.take_out_segments(Offset(3)).unwrap();
    drop(log);
    assert!(names(&bench).contains(&"00000000000000000000.log.deleted".to_owned()));
    let mut log = bench.open();
    assert!(!names(&bench).iter().any(|name| name.contains("deleted")));
    assert_eq!(log.log_start_offset(), Offset(3));
    let first = records_in(&read_all(&log, Offset(3)))[0].0;
    assert_eq!(first, 3);
    let again = append_in(&mut log, batch_of((8, 0, 0), 1, 90), 5).unwrap();
    assert_eq!((again.duplicate, again.base_offset), (true, Offset(0)));
}

#[test]
fn a_reader_goes_on_while_its_segment_is_taken_out() {
    let bench = bench();
    let mut log = log_of(&bench, &[0; 5]);
    let path = Path::new(DIRECTORY).join("00000000000000000000.log");
    let file = bench.disk.open(&path, false).unwrap();
    log.advance_start(Offset(5));
    take_out(&mut log);
    assert_eq!(
        bench.disk.open(&path, false).err().unwrap().kind(),
        std::io::ErrorKind::NotFound
    );
    let mut byte = [0];
    file.read_exact_at(&mut byte, 0).unwrap();
}

#[test]
fn nothing_is_taken_out_before_the_producers_of_it_are_durable_elsewhere() {
    let bench = bench();
    let mut log = log_of(&bench, &[0; 4]);
    append(&mut log, batch(&[0], 100)).unwrap();
    log.advance_start(Offset(4));
    let noted = log.checkpoint();
    log.take_out_segments(noted.log_start_offset).unwrap();
    assert_eq!(log.segment_count(), 2, "the roll at 4 is not flushed");
    flush(&mut log);
    log.take_out_segments(noted.log_start_offset).unwrap();
    assert_eq!(log.segment_count(), 1);
}

/// A timestamp that a damaged header has may not become the time index's word, which the header agrees with.
#[test]
fn a_flipped_timestamp_ages_no_segment() {
    let mut bench = bench();
    let noted = close(log_of(&bench, &[0]));
    let path = Path::new(DIRECTORY).join(format!("{:020}.log", 0));
    // A bit of the largest timestamp, which lies at 35..43: the year is 2006 then.
    bench.disk.flip_bit(&path, 38, 7);
    // Not a clean stop: the batch is walked again, below the recovery point.
    for name in ["index", "timeindex"] {
        let index = Path::new(DIRECTORY).join(format!("{:020}.{name}", 0));
        let _absent = bench.disk.remove_file(&index);
    }
    bench.noted = noted;
    let mut log = bench.open();
    append(&mut log, batch(&[NOW.0], 100)).unwrap();
    append(&mut log, batch(&[NOW.0], 100)).unwrap();
    assert_eq!(log.segment_count(), 2);
    flush(&mut log);
    bench.noted = close(log);
    let mut log = bench.open();
    let keep = Retention {
        ms: Some(1_000_000),
        bytes: None,
    };
    let _refused = log.retain(keep, Offset(3), NOW);
    assert_eq!(log.log_start_offset(), Offset(0));
}
