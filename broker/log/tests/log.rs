//! What a log does, one behaviour at a time.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{
    Bench, DIRECTORY, NOW, append, append_in, batch, batch_of, close, flush, read_all, records_in,
};
use millstream_env::Disk;
use millstream_env::sim::SimFaults;
use millstream_log::{
    AppendError, CacheBudget, FlushBeside, Log, LogConfig, LogPlace, Noted, OpenError, ReadError,
};
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchHeader, HEADER_SIZE, ValidatedBatch};

fn names(bench: &Bench) -> Vec<String> {
    bench.files().into_iter().map(|(name, _)| name).collect()
}

#[test]
fn what_is_appended_is_read_back_stamped() {
    let bench = Bench::new();
    let mut log = bench.open();
    let appended = append_in(&mut log, batch(&[5, 6, 7], 10), 4).unwrap();
    assert_eq!(
        (appended.base_offset, appended.last_offset),
        (Offset(0), Offset(2))
    );
    assert_eq!(appended.log_append_time, WallTime::NONE);
    append_in(&mut log, batch(&[8], 3), 5).unwrap();
    let found = records_in(&read_all(&log, Offset(1)));
    let expected =
        [(0, 4, "a"), (1, 4, "b"), (2, 4, "c"), (3, 5, "a")].map(|(offset, epoch, value)| {
            let size = if offset == 3 { 3 } else { 10 };
            (offset, epoch, value.repeat(size).into_bytes())
        });
    assert_eq!(found, expected);
}

#[test]
fn reads_keep_their_limits() {
    let mut bench = Bench::new();
    for cache in [0, 1 << 20] {
        bench.config.cache_bytes_max = cache;
        bench.disk.create_directory(Path::new(DIRECTORY)).unwrap();
        bench.disk.remove_directory(Path::new(DIRECTORY)).unwrap();
        let mut log = bench.open();
        for _ in 0..10 {
            append(&mut log, batch(&[1, 2], 100)).unwrap();
        }
        let size = batch(&[1, 2], 100).len();
        let read = |offset, bytes, upper, first| {
            let read = log
                .read(Offset(offset), bytes, Offset(upper), first)
                .unwrap();
            let whole = read.size_in_bytes().is_multiple_of(size);
            assert!(whole, "only whole batches");
            read.range.map(|range| (range.start.0, range.end.0))
        };
        assert_eq!(read(0, 1 << 20, 20, true), Some((0, 20)));
        assert_eq!(
            read(3, size * 2 + 5, 20, true),
            Some((2, 6)),
            "holds the offset"
        );
        assert_eq!(read(3, 0, 20, true), Some((2, 4)), "at least one");
        assert_eq!(read(3, size - 1, 20, false), None);
        assert_eq!(
            read(3, 1 << 20, 10, false),
            Some((2, 10)),
            "below the upper bound"
        );
        assert_eq!(read(9, 1 << 20, 9, true), None);
        assert_eq!(
            read(12, 1 << 20, 10, true),
            None,
            "between the bound and the end"
        );
        assert_eq!(read(20, 1 << 20, 20, true), None, "at the end");
        for outside in [-1, 21] {
            let error = log.read(Offset(outside), 1, Offset(20), true).unwrap_err();
            assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
        }
    }
}

#[test]
fn segments_roll_by_size_time_and_index() {
    let small = LogConfig {
        cache_bytes_max: 0,
        ..LogConfig::default()
    };
    let by_size = LogConfig {
        segment_bytes: 1000,
        ..small
    };
    let by_time = LogConfig {
        segment_ms: 100,
        ..small
    };
    let by_index = LogConfig {
        segment_index_bytes: 36,
        index_interval_bytes: 0,
        ..small
    };
    for (config, segments) in [(small, 1), (by_size, 3), (by_time, 2), (by_index, 7)] {
        let bench = Bench {
            config,
            ..Bench::new()
        };
        let mut log = bench.open();
        for number in 0..20 {
            append(&mut log, batch(&[NOW.0 + number * 10], 60)).unwrap();
        }
        assert_eq!(log.segment_count(), segments, "{config:?}");
        assert_eq!(records_in(&read_all(&log, Offset(0))).len(), 20);
    }
}

/// The spans of record time after which a log of one record a millisecond has rolled.
fn spans(segment_ms: i64, jitter_ms: i64, seed: u64) -> Vec<i64> {
    let mut bench = Bench::new();
    bench.config.segment_ms = segment_ms;
    bench.config.segment_jitter_ms = jitter_ms;
    bench.config.segment_jitter_seed = seed;
    let mut log = bench.open();
    let (mut spans, mut began) = (Vec::new(), 0);
    for now in 0..20 * segment_ms {
        let segments = log.segment_count();
        append(&mut log, batch(&[NOW.0 + now], 1)).unwrap();
        if log.segment_count() > segments && now > 0 {
            spans.push(now - began);
            began = now;
        }
    }
    spans
}

#[test]
fn a_segment_rolls_earlier_by_a_random_part_of_its_own() {
    // Without jitter, at the first record that is later than the span.
    assert!(spans(50, 0, 1).iter().all(|span| *span == 51));
    let jittered = spans(50, 20, 1);
    assert!(
        jittered.iter().all(|span| (32..=51).contains(span)),
        "{jittered:?}"
    );
    let distinct: BTreeSet<i64> = jittered.iter().copied().collect();
    assert!(distinct.len() > 5, "{jittered:?}");
    assert_eq!(spans(50, 20, 1), jittered);
    assert_ne!(spans(50, 20, 2), jittered);
    // More than the span is the span: never so early that each batch gets a segment.
    let all = spans(50, i64::MAX, 3);
    assert!(all.iter().all(|span| (2..=51).contains(span)), "{all:?}");
}

#[test]
fn an_answer_from_disk_ends_with_its_segment() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 1000;
    let mut log = bench.open();
    for _ in 0..20 {
        append(&mut log, batch(&[1], 60)).unwrap();
    }
    let read = log.read(Offset(0), 1 << 20, Offset(20), true).unwrap();
    assert_eq!(read.range, Some(Offset(0)..Offset(7)));
}

#[test]
fn the_files_are_kafkas() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 400;
    bench.config.index_interval_bytes = 100;
    let mut log = bench.open();
    // Batches of 129 bytes: three to a segment.
    for timestamp in [10, 30, 20, 50] {
        append_in(&mut log, batch(&[timestamp, 5], 27), 3).unwrap();
    }
    assert_eq!(batch(&[1, 2], 27).len(), 129);
    close(log);
    let first = "00000000000000000000";
    let second = "00000000000000000006";
    let expected = [
        format!("{first}.index"),
        format!("{first}.log"),
        format!("{first}.timeindex"),
        format!("{second}.index"),
        format!("{second}.log"),
        format!("{second}.producers"),
        format!("{second}.snapshot"),
        format!("{second}.timeindex"),
        "00000000000000000008.producers".to_owned(),
        "00000000000000000008.snapshot".to_owned(),
        "leader-epoch-checkpoint".to_owned(),
        "partition.metadata".to_owned(),
    ];
    assert_eq!(names(&bench), expected);
    assert_eq!(
        bench.file(&format!("{first}.index")),
        [0, 0, 0, 3, 0, 0, 0, 129, 0, 0, 0, 5, 0, 0, 1, 2]
    );
    // The largest timestamp rose in the second batch, and not after it.
    assert_eq!(
        bench.file(&format!("{first}.timeindex")),
        [0, 0, 0, 0, 0, 0, 0, 30, 0, 0, 0, 3]
    );
    assert_eq!(bench.file(&format!("{second}.index")), []);
    assert_eq!(
        bench.file(&format!("{second}.timeindex")),
        [0, 0, 0, 0, 0, 0, 0, 50, 0, 0, 0, 1]
    );
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n1\n3 0\n");
    let empty_snapshot = [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0];
    assert_eq!(bench.file(&format!("{second}.snapshot")), empty_snapshot);
}

#[test]
fn a_clean_restart_reads_nothing_again() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 5000;
    let mut log = bench.open();
    for number in 0..50 {
        append_in(&mut log, batch_of((9, 0, number), 1, 300), number / 10).unwrap();
    }
    bench.noted = close(log);
    bench.disk.end_process();
    let before = bench.files();
    let (mut log, recovery) = bench.open_with_recovery();
    assert_eq!(recovery, millstream_log::Recovery::default());
    assert_eq!(bench.files(), before, "nothing was written");
    assert_eq!(log.log_end_offset(), Offset(50));
    assert_eq!(
        log.epoch_end_offset(LeaderEpoch(2)),
        Some((LeaderEpoch(2), Offset(30)))
    );
    let again = append(&mut log, batch_of((9, 0, 47), 1, 300)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset(47), true));
    let gap = append(&mut log, batch_of((9, 0, 51), 1, 300)).unwrap_err();
    assert_eq!(gap.code(), ErrorCode::OutOfOrderSequenceNumber);
    assert_eq!(
        append(&mut log, batch_of((9, 0, 50), 1, 300))
            .unwrap()
            .base_offset,
        Offset(50)
    );
}

#[test]
fn producers_are_found_again_without_their_checkpoint() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 2000;
    let mut log = bench.open();
    for number in 0..20 {
        append(&mut log, batch_of((9, 0, number), 1, 300)).unwrap();
    }
    bench.noted = close(log);
    for (name, _) in bench
        .files()
        .iter()
        .filter(|(name, _)| name.ends_with(".producers"))
    {
        bench.disk.flip_bit(&Path::new(DIRECTORY).join(name), 20, 1);
    }
    let (mut log, recovery) = bench.open_with_recovery();
    assert!(recovery.producers_rebuilt);
    let again = append(&mut log, batch_of((9, 0, 15), 1, 300)).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (Offset(15), true));
    assert!(append(&mut log, batch_of((9, 0, 14), 1, 300)).is_err());
}

#[test]
fn a_duplicate_is_answered_with_its_old_place() {
    let bench = Bench::new();
    let mut log = bench.open();
    append(&mut log, batch(&[1], 1)).unwrap();
    append(&mut log, batch_of((1, 0, 0), 3, 10)).unwrap();
    let size = log.size_in_bytes();
    let again = append(&mut log, batch_of((1, 0, 0), 3, 10)).unwrap();
    assert_eq!(
        (again.base_offset, again.last_offset),
        (Offset(1), Offset(3))
    );
    assert_eq!((again.log_append_time, again.duplicate), (NOW, true));
    assert_eq!(log.size_in_bytes(), size);
    let fenced = append(&mut log, batch_of((1, -1, 3), 1, 10)).unwrap_err();
    assert_eq!(fenced.code(), ErrorCode::InvalidProducerEpoch);
}

#[test]
fn a_write_that_fails_changes_nothing() {
    let faults = [
        SimFaults {
            short_next_write: true,
            ..SimFaults::default()
        },
        SimFaults {
            room: Some(100),
            ..SimFaults::default()
        },
        SimFaults {
            room: Some(0),
            ..SimFaults::default()
        },
    ];
    for fault in faults {
        let bench = Bench::new();
        let mut log = bench.open();
        append(&mut log, batch_of((1, 0, 0), 1, 200)).unwrap();
        let before = bench.files();
        bench.disk.set_faults(fault);
        let failed = append(&mut log, batch_of((1, 0, 1), 1, 200)).unwrap_err();
        assert!(matches!(failed, AppendError::Io { .. }), "{failed}");
        assert_eq!(bench.files(), before);
        bench.disk.set_faults(SimFaults::default());
        assert!(!log.is_offline());
        assert_eq!(
            append(&mut log, batch_of((1, 0, 1), 1, 200))
                .unwrap()
                .base_offset,
            Offset(1)
        );
        assert_eq!(records_in(&read_all(&log, Offset(0))).len(), 2);
    }
}

#[test]
fn a_roll_without_room_changes_nothing() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 650;
    let mut log = bench.open();
    append(&mut log, batch(&[1], 300)).unwrap();
    for _ in 0..3 {
        bench.disk.set_faults(SimFaults {
            room: Some(20),
            ..SimFaults::default()
        });
        assert!(append(&mut log, batch(&[2], 300)).is_err());
        bench.disk.set_faults(SimFaults::default());
        append(&mut log, batch(&[3], 10)).unwrap();
    }
    append(&mut log, batch(&[4], 300)).unwrap();
    flush(&mut log);
    assert_eq!(log.segment_count(), 2);
    let found = records_in(&read_all(&log, Offset(0)));
    bench.disk.end_process();
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!(recovery.cut, None);
    assert_eq!(records_in(&read_all(&log, Offset(0))), found);
}

#[test]
fn after_a_failed_sync_the_log_is_offline() {
    let bench = Bench::new();
    let mut log = bench.open();
    append(&mut log, batch(&[1], 10)).unwrap();
    let work = log.begin_flush().unwrap();
    bench.disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    assert!(work.sync.sync_files().is_err());
    log.fail_flush();
    assert_eq!(log.flushed_offset(), Offset(0));
    assert!(matches!(
        append(&mut log, batch(&[1], 10)),
        Err(AppendError::Offline)
    ));
    assert!(matches!(
        log.read(Offset(0), 100, Offset(1), true),
        Err(ReadError::Offline)
    ));
    assert!(log.offset_for_timestamp(WallTime(0), Offset(1)).is_err());
    assert!(log.begin_flush().is_none());
}

#[test]
fn a_flush_publishes_the_end_it_took() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 300;
    let mut log = bench.open();
    append(&mut log, batch(&[1], 100)).unwrap();
    let work = log.begin_flush().unwrap();
    append(&mut log, batch(&[2], 100)).unwrap();
    assert_eq!(work.end.offset, Offset(1));
    assert!(work.sync.directories.contains(Path::new(DIRECTORY)));
    log.complete_flush(work.end);
    assert_eq!(log.flushed_offset(), Offset(1));
    flush(&mut log);
    assert_eq!(log.flushed_offset(), Offset(2));
    assert!(log.begin_flush().is_none());
    append(&mut log, batch(&[3], 100)).unwrap();
    let work = log.begin_flush().unwrap();
    assert!(
        work.sync.directories.contains(Path::new(DIRECTORY)),
        "rolled"
    );
}

#[test]
fn timestamps_are_looked_up_as_kafka_does() {
    for cache in [0, 1 << 20] {
        let mut bench = Bench::new();
        bench.config.cache_bytes_max = cache;
        for interval in [0, 4096] {
            bench.config.index_interval_bytes = interval;
            for segment_bytes in [1 << 30, 100] {
                bench.config.segment_bytes = segment_bytes;
                let mut log = bench.open();
                for timestamps in [&[100, 50][..], &[30], &[200, 10, 200], &[150]] {
                    append(&mut log, batch(timestamps, 1)).unwrap();
                }
                let at = |timestamp, upper| {
                    let found = log
                        .offset_for_timestamp(WallTime(timestamp), Offset(upper))
                        .unwrap();
                    found.map(|(offset, timestamp)| (offset.0, timestamp.0))
                };
                assert_eq!(at(0, 7), Some((0, 100)));
                assert_eq!(at(100, 7), Some((0, 100)));
                assert_eq!(at(101, 7), Some((3, 200)));
                assert_eq!(at(200, 7), Some((3, 200)));
                assert_eq!(at(201, 7), None);
                assert_eq!(at(101, 3), None, "not below the upper bound");
                let largest = log.max_timestamp_record(Offset(7)).unwrap();
                assert_eq!(largest, Some((Offset(3), WallTime(200))));
                assert_eq!(log.max_timestamp_record(Offset(3)).unwrap(), None);
                drop(log);
                bench.disk.remove_directory(Path::new(DIRECTORY)).unwrap();
            }
        }
        let log = bench.open();
        assert_eq!(log.max_timestamp_record(Offset(0)).unwrap(), None);
    }
}

#[test]
fn a_log_start_within_a_batch_hides_its_first_records() {
    let mut bench = Bench::new();
    let mut log = bench.open();
    append(&mut log, batch(&[10, 20, 30], 5)).unwrap();
    append(&mut log, batch(&[40], 5)).unwrap();
    bench.noted = Noted {
        log_start_offset: Offset(1),
        ..close(log)
    };
    let log = bench.open();
    assert_eq!(log.log_start_offset(), Offset(1));
    assert_eq!(
        log.read(Offset(0), 100, Offset(4), true)
            .unwrap_err()
            .code(),
        ErrorCode::OffsetOutOfRange
    );
    let read = log.read(Offset(1), 0, Offset(4), true).unwrap();
    assert_eq!(read.range, Some(Offset(0)..Offset(3)), "the whole batch");
    let found = log.offset_for_timestamp(WallTime(0), Offset(4)).unwrap();
    assert_eq!(found, Some((Offset(1), WallTime(20))));
}

#[test]
fn another_topics_directory_is_refused() {
    let bench = Bench::new();
    drop(bench.open());
    let place = LogPlace {
        topic_id: TopicId([8; 16]),
        cache_budget: CacheBudget::default(),
        ..bench.place()
    };
    let refused = Log::open(place, bench.config, Noted::default(), None, NOW).unwrap_err();
    assert!(matches!(refused, OpenError::OtherTopic { .. }), "{refused}");
}

#[test]
fn a_batch_larger_than_a_segment_is_refused() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 200;
    let mut log = bench.open();
    let refused = append(&mut log, batch(&[1], 300)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::RecordListTooLarge);
    assert_eq!(log.log_end_offset(), Offset(0));
}

#[test]
fn an_idle_log_gives_everything_back() {
    let mut bench = Bench::new();
    bench.config.cache_bytes_max = 1 << 20;
    let mut place = bench.place();
    place.cache_budget = CacheBudget::new(1 << 20);
    let budget = place.cache_budget.clone();
    let (mut log, _) = Log::open(place, bench.config, Noted::default(), None, NOW).unwrap();
    append(&mut log, batch(&[1], 300)).unwrap();
    assert!(budget.used() > 300);
    flush(&mut log);
    log.release_resources();
    assert_eq!(budget.used(), 0);
    assert_eq!(records_in(&read_all(&log, Offset(0))).len(), 1);
    append(&mut log, batch(&[2], 300)).unwrap();
    assert_eq!(log.log_end_offset(), Offset(2));
}

#[test]
fn a_batch_that_fills_its_frame_is_not_copied() {
    let mut bench = Bench::new();
    bench.config.cache_bytes_max = 1 << 20;
    let mut log = bench.open();
    let frame = Bytes::from([&[0; 50][..], &batch(&[1], 500)].concat());
    let batch = frame.slice(50..);
    let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
    let records = batch.as_ptr().wrapping_add(HEADER_SIZE);
    log.append(batch, frame.len(), &validated, LeaderEpoch(3), NOW)
        .unwrap();
    let read = log.read(Offset(0), 1000, Offset(1), true).unwrap();
    assert_eq!(read.parts.len(), 2);
    assert_eq!(read.parts[1].as_ptr(), records);
    assert_eq!(records_in(&read_all(&log, Offset(0)))[0].1, 3);
}

#[test]
fn checkpoints_bound_what_recovery_reads_for_the_producers() {
    let mut bench = Bench::new();
    let mut log = bench.open();
    let mut ends = Vec::new();
    for number in 0..60 {
        append(&mut log, batch_of((9, 0, number), 1, 200_000)).unwrap();
        flush(&mut log);
        bench.noted = log.checkpoint();
        let names = names(&bench);
        let newest = names.iter().rfind(|name| name.ends_with(".producers"));
        ends.extend(newest.cloned());
    }
    ends.dedup();
    assert_eq!(ends.len(), 2, "one for every four mebibytes: {ends:?}");
    bench.disk.end_process();
    let (mut log, recovery) = bench.open_with_recovery();
    assert!(!recovery.producers_rebuilt);
    assert!(
        append(&mut log, batch_of((9, 0, 55), 1, 200_000))
            .unwrap()
            .duplicate
    );
    assert!(append(&mut log, batch_of((9, 0, 54), 1, 200_000)).is_err());
}

#[test]
fn a_flush_beside_another_has_a_descriptor_of_its_own() {
    let bench = Bench::new();
    let mut log = bench.open();
    append(&mut log, batch(&[1], 100)).unwrap();
    let first = log.begin_flush().unwrap();
    append(&mut log, batch(&[2], 100)).unwrap();
    let FlushBeside::Work(second) = log.begin_flush_beside() else {
        panic!("nothing but bytes is dirty");
    };
    assert!(second.sync.directories.is_empty());
    let shared = |file| {
        first
            .sync
            .files
            .iter()
            .any(|other| Arc::ptr_eq(other, file))
    };
    assert!(!second.sync.files.iter().any(shared));
    log.complete_flush(first.end);
    assert_eq!(log.flushed_offset(), Offset(1));
    log.complete_flush(second.end);
    assert_eq!(log.flushed_offset(), Offset(2));
    assert!(matches!(log.begin_flush_beside(), FlushBeside::Nothing));
}

#[test]
fn a_flush_of_a_new_segment_waits_for_the_one_before() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 300;
    let mut log = bench.open();
    append(&mut log, batch(&[1], 200)).unwrap();
    let first = log.begin_flush().unwrap();
    append(&mut log, batch(&[2], 200)).unwrap();
    assert_eq!(log.segment_count(), 2);
    assert!(matches!(log.begin_flush_beside(), FlushBeside::Wait));
    log.complete_flush(first.end);
    flush(&mut log);
    assert_eq!(log.flushed_offset(), Offset(2));
}

/// The end of an earlier flush says nothing of what was written after it began.
#[test]
fn a_late_end_keeps_the_producers_that_are_durable() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 300;
    let mut log = bench.open();
    let mut sequence = 0;
    let mut write = |log: &mut Log| {
        append(log, batch_of((1, 0, sequence), 1, 200)).unwrap();
        sequence += 1;
    };
    write(&mut log);
    write(&mut log);
    flush(&mut log);
    assert!(!bench.file("00000000000000000001.producers").is_empty());
    let early = log.begin_flush_beside();
    assert!(matches!(early, FlushBeside::Nothing));
    write(&mut log);
    let early = log.begin_flush().unwrap();
    write(&mut log);
    let late = log.begin_flush().unwrap();
    log.complete_flush(early.end);
    for _ in 0..3 {
        write(&mut log);
    }
    let names: Vec<String> = bench.files().into_iter().map(|(name, _)| name).collect();
    let durable = "00000000000000000002.producers".to_owned();
    assert!(names.contains(&durable), "{names:?}");
    drop(late);
}
