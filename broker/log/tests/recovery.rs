//! What opening a log after a crash keeps, cuts, mends and refuses.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;

use bytes::Bytes;
use common::{
    Bench, DIRECTORY, append, append_in, batch, batch_of, close, flush, read_all, records_in,
};
use millstream_env::Disk;
use millstream_env::sim::{SimFaults, SimRandom};
use millstream_log::{Log, Noted, OpenError, ReadError};
use millstream_model::{LeaderEpoch, Offset, WallTime};

const LOG: &str = "00000000000000000000.log";

fn path(name: &str) -> std::path::PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn overwrite(bench: &Bench, name: &str, position: u64, bytes: &[u8]) {
    bench
        .disk
        .open(&path(name), true)
        .unwrap()
        .write_all_at(bytes, position)
        .unwrap();
}

fn truncate(bench: &Bench, name: &str, length: u64) {
    bench
        .disk
        .open(&path(name), false)
        .unwrap()
        .truncate(length)
        .unwrap();
}

/// Ten batches of one record, 171 bytes each; the first four are below the recovery point.
fn ten_batches() -> Bench {
    let mut bench = Bench::new();
    let mut log = bench.open();
    for number in 0..4 {
        append_in(&mut log, batch(&[number], 100), 1).unwrap();
    }
    flush(&mut log);
    bench.noted = log.checkpoint();
    assert_eq!(bench.noted.recovery_point, Offset(4));
    for number in 4..10 {
        append_in(&mut log, batch(&[number], 100), 2).unwrap();
    }
    bench.disk.end_process();
    bench
}

fn size() -> u64 {
    batch(&[1], 100).len() as u64
}

fn offsets(log: &Log) -> Vec<i64> {
    records_in(&read_all(log, log.log_start_offset()))
        .iter()
        .map(|record| record.0)
        .collect()
}

#[test]
fn a_start_on_a_full_disk_reads_and_appends_once_there_is_room() {
    let bench = ten_batches();
    let full = SimFaults {
        room: Some(0),
        ..SimFaults::default()
    };
    bench.disk.set_faults(full);
    let mut log = bench.open();
    assert_eq!(offsets(&log), (0..10).collect::<Vec<_>>());
    assert_eq!(log.flushed_offset(), Offset(10), "what was found is synced");
    assert!(append_in(&mut log, batch(&[10], 100), 3).is_err());
    bench.disk.set_faults(SimFaults::default());
    append_in(&mut log, batch(&[10], 100), 3).unwrap();
    flush(&mut log);
    let text = String::from_utf8(bench.file("leader-epoch-checkpoint")).unwrap();
    assert_eq!(text, "0\n3\n1 0\n2 4\n3 10\n");
    bench.disk.crash(&SimRandom::new(1));
    let log = bench.open();
    assert_eq!(offsets(&log), (0..11).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_that_a_power_cut_tore_is_removed() {
    let mut bench = ten_batches();
    close(bench.open());
    let snapshot = "00000000000000000010.snapshot";
    let is_there = |bench: &Bench| bench.files().iter().any(|(name, _)| name == snapshot);
    bench.disk.end_process();
    bench.open();
    assert!(is_there(&bench), "a whole one stays");
    bench.disk.end_process();
    // Zeros are what a file has whose length reached the disk before its bytes.
    overwrite(&bench, snapshot, 0, &[0; 8]);
    bench.noted.recovery_point = Offset(10);
    bench.open();
    bench.disk.crash(&SimRandom::new(1));
    assert!(!is_there(&bench));
}

#[test]
fn a_killed_process_loses_nothing() {
    let bench = ten_batches();
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!(offsets(&log), (0..10).collect::<Vec<_>>());
    assert_eq!((recovery.cut, recovery.scanned_bytes), (None, 6 * size()));
    assert_eq!(log.flushed_offset(), Offset(10));
    assert_eq!(
        log.epoch_end_offset(LeaderEpoch(1)),
        Some((LeaderEpoch(1), Offset(4)))
    );
}

#[test]
fn a_torn_batch_and_what_follows_is_cut() {
    let bench = ten_batches();
    truncate(&bench, LOG, 8 * size() + 30);
    let (mut log, recovery) = bench.open_with_recovery();
    let cut = recovery.cut.unwrap();
    assert_eq!(
        (cut.offset, cut.position, cut.bytes),
        (Offset(8), 8 * size(), 30)
    );
    assert!(cut.kept_aside.is_empty());
    assert_eq!(bench.file(LOG).len() as u64, 8 * size());
    assert_eq!(
        append(&mut log, batch(&[9], 5)).unwrap().base_offset,
        Offset(8)
    );
}

#[test]
fn whole_batches_behind_a_bad_one_are_kept_aside() {
    let bench = ten_batches();
    let whole = bench.file(LOG);
    bench.disk.flip_bit(&path(LOG), 6 * size() + 150, 3);
    let damaged = bench.file(LOG);
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!(offsets(&log), (0..6).collect::<Vec<_>>());
    let cut = recovery.cut.unwrap();
    assert_eq!(cut.kept_aside, [path("00000000000000000000.log.cut-6")]);
    let start = 6 * size() as usize;
    assert_eq!(
        bench.file("00000000000000000000.log.cut-6"),
        damaged[start..]
    );
    assert_eq!(bench.file(LOG), whole[..start]);
    // The next start finds nothing wrong and does not take the file for anything.
    drop(log);
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!((log.log_end_offset(), recovery.cut), (Offset(6), None));
}

#[test]
fn a_tail_of_zeros_is_the_end() {
    let bench = ten_batches();
    overwrite(&bench, LOG, 10 * size(), &[0; 5000]);
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!(log.log_end_offset(), Offset(10));
    assert_eq!(recovery.cut.unwrap().bytes, 5000);
}

#[test]
fn every_damaged_header_field_ends_the_log() {
    // Base offset and leader epoch, which no checksum covers, too.
    for position in [0, 7, 8, 11, 12, 15, 16, 17, 22, 26, 60, 100] {
        let bench = ten_batches();
        bench.disk.flip_bit(&path(LOG), 7 * size() + position, 0);
        let (log, recovery) = bench.open_with_recovery();
        if [12, 15].contains(&position) {
            // A larger epoch than it was: the batch after it is the wrong one.
            assert_eq!(offsets(&log).len(), 8);
        } else {
            assert_eq!(offsets(&log).len(), 7, "byte {position}");
        }
        assert!(recovery.cut.is_some());
    }
}

#[test]
fn damage_below_the_recovery_point_is_never_cut() {
    let bench = ten_batches();
    bench.disk.flip_bit(&path(LOG), 2 * size() + 150, 3);
    let before = bench.file(LOG);
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!((log.log_end_offset(), recovery.cut), (Offset(10), None));
    assert_eq!(bench.file(LOG), before);
    let read = |offset, bytes| log.read(Offset(offset), bytes, Offset(10), true);
    assert_eq!(read(0, 300).unwrap().range, Some(Offset(0)..Offset(1)));
    let error = read(2, 300).unwrap_err();
    assert!(matches!(error, ReadError::Damaged { position, .. } if position == 2 * size()));
    let before = read(0, 1 << 20).unwrap().range;
    assert_eq!(before, Some(Offset(0)..Offset(2)), "a run up to it");
    assert_eq!(read(3, 1 << 20).unwrap().range, Some(Offset(3)..Offset(10)));
}

#[test]
fn a_damaged_length_below_the_recovery_point_costs_its_batch_only() {
    let places = (0..4_i64).flat_map(|batch| (0..32_u8).map(move |bit| (batch, bit)));
    for (batch, bit) in places {
        let bench = ten_batches();
        let start = batch as u64 * size();
        let byte = start + 8 + u64::from(bit / 8);
        bench.disk.flip_bit(&path(LOG), byte, bit % 8);
        let before = bench.file(LOG);
        let (log, recovery) = bench.open_with_recovery();
        assert_eq!((log.log_end_offset(), recovery.cut), (Offset(10), None));
        assert_eq!(bench.file(LOG), before, "nothing is cut and nothing mended");
        let read = |offset| log.read(Offset(offset), 1 << 20, Offset(10), true);
        let error = read(batch).unwrap_err();
        assert!(matches!(error, ReadError::Damaged { position, .. } if position == start));
        let after = batch + 1;
        assert_eq!(read(after).unwrap().range, Some(Offset(after)..Offset(10)));
    }
}

#[test]
fn a_log_shorter_than_its_recovery_point_is_not_opened() {
    for length in [0, 100, 2 * size(), 4 * size() - 1] {
        let bench = ten_batches();
        truncate(&bench, LOG, length);
        let refused =
            Log::open(bench.place(), bench.config, bench.noted, None, bench.now).unwrap_err();
        assert!(matches!(refused, OpenError::Damaged(_)), "{refused}");
        let left = bench.files().into_iter().find(|(name, _)| name == LOG);
        assert!(
            left.is_none_or(|(_, bytes)| bytes.len() as u64 == length),
            "nothing is cut"
        );
    }
}

#[test]
fn a_gap_between_segments_ends_the_log() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 600;
    let mut log = bench.open();
    for number in 0..12 {
        append(&mut log, batch(&[number], 100)).unwrap();
    }
    assert_eq!(log.segment_count(), 4);
    drop(log);
    bench
        .disk
        .remove_file(&path("00000000000000000003.log"))
        .unwrap();
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!(offsets(&log), [0, 1, 2]);
    let aside = [
        "00000000000000000006.log.cut-3",
        "00000000000000000009.log.cut-3",
    ];
    assert_eq!(recovery.cut.unwrap().kept_aside, aside.map(path));
    let names: Vec<_> = bench.files().into_iter().map(|(name, _)| name).collect();
    assert!(!names.contains(&"00000000000000000006.index".to_owned()));
}

fn wrong_indexes(bench: &Bench, seed: u64) {
    let random = millstream_env::sim::SimRandom::new(seed);
    let indexes = bench
        .files()
        .into_iter()
        .filter(|(name, _)| name.ends_with("index"));
    for (name, bytes) in indexes {
        match random.below(5) {
            0 => bench.disk.remove_file(&path(&name)).unwrap(),
            1 => truncate(bench, &name, random.below(bytes.len() as u64 + 1)),
            2 => overwrite(bench, &name, 0, &vec![0; bytes.len()]),
            3 if !bytes.is_empty() => {
                let at = random.below(bytes.len() as u64);
                bench.disk.flip_bit(&path(&name), at, random.below(8) as u8);
            }
            _ => overwrite(bench, &name, bytes.len() as u64, &[3; 24]),
        }
    }
}

#[test]
fn wrong_indexes_give_no_wrong_records() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 6000;
    bench.config.index_interval_bytes = 300;
    let mut log = bench.open();
    for number in 0..100 {
        append(&mut log, batch(&[number, number], 100)).unwrap();
    }
    let expected = records_in(&read_all(&log, Offset(0)));
    let clean = close(log);
    let unclean = Noted {
        recovery_point: Offset(150),
        ..clean
    };
    for seed in 0..200 {
        wrong_indexes(&bench, seed);
        bench.noted = if seed % 2 == 0 { clean } else { unclean };
        let log = bench.open();
        for offset in (0..200).rev().step_by(7) {
            let found = log.read(Offset(offset), 1, Offset(200), true).unwrap();
            let range = found.range.unwrap();
            assert!(
                range.contains(&Offset(offset)),
                "seed {seed}, offset {offset}"
            );
        }
        assert_eq!(records_in(&read_all(&log, Offset(0))), expected);
    }
}

#[test]
fn missing_time_indexes_are_built_again() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 3000;
    bench.config.index_interval_bytes = 300;
    let mut log = bench.open();
    for number in 0..60 {
        append(&mut log, batch(&[1000 + number * 10], 100)).unwrap();
    }
    bench.noted = close(log);
    let before = bench.files();
    for (name, _) in before.iter().filter(|(name, _)| name.ends_with("index")) {
        bench.disk.remove_file(&path(name)).unwrap();
    }
    let log = bench.open();
    for number in [0, 7, 23, 59] {
        let at = log
            .offset_for_timestamp(WallTime(1000 + number * 10 - 5), Offset(60))
            .unwrap();
        assert_eq!(at, Some((Offset(number), WallTime(1000 + number * 10))));
    }
    for offset in 0..60 {
        log.read(Offset(offset), 1, Offset(60), true).unwrap();
    }
    assert_eq!(close(log), bench.noted);
    assert_eq!(bench.files(), before, "all indexes are as they were");
}

/// Its name is given once its bytes are synced: whenever the power goes, it is the old file or the new one.
#[test]
fn the_file_of_epochs_is_whole_whenever_the_power_goes() {
    let name = "leader-epoch-checkpoint";
    let (old, new) = (b"0\n1\n1 0\n".to_vec(), b"0\n2\n1 0\n2 1\n".to_vec());
    let mut met = [false; 2];
    for seed in 0..100 {
        let bench = Bench::new();
        let mut log = bench.open();
        append_in(&mut log, batch(&[1], 100), 1).unwrap();
        flush(&mut log);
        assert_eq!(bench.file(name), old);
        append_in(&mut log, batch(&[2], 100), 2).unwrap();
        let is_synced = seed % 2 == 0;
        match is_synced {
            true => flush(&mut log),
            false => drop(log.begin_flush()),
        }
        bench.disk.crash(&SimRandom::new(seed));
        let left = bench.file(name);
        assert!(
            left == new || (left == old && !is_synced),
            "seed {seed}: {left:?}"
        );
        met[usize::from(left == new)] = true;
    }
    assert_eq!(met, [true; 2]);
}

#[test]
fn lost_or_old_epochs_are_gathered_from_the_batches() {
    for broken in [
        None,
        Some(&b"0\n1\n1 0\n"[..]),
        Some(&b"garbage"[..]),
        Some(&b""[..]),
    ] {
        let mut bench = Bench::new();
        bench.config.segment_bytes = 600;
        let mut log = bench.open();
        for number in 0..12 {
            append_in(&mut log, batch(&[number], 100), 1 + number as i32 / 5).unwrap();
        }
        bench.noted = close(log);
        let name = "leader-epoch-checkpoint";
        let good = bench.file(name);
        assert_eq!(good, b"0\n3\n1 0\n2 5\n3 10\n");
        bench.disk.remove_file(&path(name)).unwrap();
        if let Some(broken) = broken {
            overwrite(&bench, name, 0, broken);
        }
        let (log, recovery) = bench.open_with_recovery();
        assert!(recovery.epochs_rebuilt);
        assert_eq!(
            log.epoch_end_offset(LeaderEpoch(1)),
            Some((LeaderEpoch(1), Offset(5)))
        );
        assert_eq!(
            log.epoch_end_offset(LeaderEpoch(2)),
            Some((LeaderEpoch(2), Offset(10)))
        );
        assert_eq!(bench.file(name), good, "and written again");
    }
}

#[test]
fn producers_of_a_lost_tail_are_forgotten() {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 400;
    let mut log = bench.open();
    append(&mut log, batch_of((1, 0, 0), 1, 200)).unwrap();
    flush(&mut log);
    bench.noted = log.checkpoint();
    append(&mut log, batch_of((1, 0, 1), 1, 200)).unwrap();
    append(&mut log, batch_of((1, 0, 2), 1, 200)).unwrap();
    bench.disk.end_process();
    // The data of the second segment is lost, the checkpoint made behind it is not.
    truncate(&bench, "00000000000000000001.log", 0);
    let (mut log, recovery) = bench.open_with_recovery();
    assert!(recovery.cut.is_some());
    assert_eq!(log.log_end_offset(), Offset(1));
    assert_eq!(
        append(&mut log, batch_of((1, 0, 1), 1, 200))
            .unwrap()
            .base_offset,
        Offset(1)
    );
}

#[test]
fn a_log_that_begins_later_opens_empty() {
    let mut bench = Bench::new();
    bench.noted = Noted {
        recovery_point: Offset(40),
        log_start_offset: Offset(40),
        ..Noted::default()
    };
    let mut log = bench.open();
    assert_eq!(log.log_end_offset(), Offset(40));
    assert_eq!(
        append(&mut log, Bytes::clone(&batch(&[1], 1)))
            .unwrap()
            .base_offset,
        Offset(40)
    );
    bench.noted = close(log);
    let log = bench.open();
    assert_eq!(
        (log.log_start_offset(), log.log_end_offset()),
        (Offset(40), Offset(41))
    );
}

/// Three batches of two records; the last two share the largest timestamp. Closed cleanly.
fn closed_log_with_many_entries() -> Bench {
    let mut bench = Bench::new();
    bench.config.index_interval_bytes = 1;
    let mut log = bench.open();
    for timestamps in [[8, 9], [9, 10], [10, 10]] {
        append(&mut log, batch(&timestamps, 100)).unwrap();
    }
    bench.noted = close(log);
    bench.disk.end_process();
    bench
}

#[test]
fn a_lost_time_index_changes_no_answer_about_timestamps() {
    let upper = Offset(6);
    for length in [None, Some(0), Some(12)] {
        let bench = closed_log_with_many_entries();
        let times = "00000000000000000000.timeindex";
        match length {
            None => bench.disk.remove_file(&path(times)).unwrap(),
            Some(length) => truncate(&bench, times, length),
        }
        let log = bench.open();
        let largest = log.max_timestamp_record(upper).unwrap();
        assert_eq!(largest, Some((Offset(3), WallTime(10))), "{length:?}");
        let found = log.offset_for_timestamp(WallTime(10), upper).unwrap();
        assert_eq!(found, Some((Offset(3), WallTime(10))), "{length:?}");
    }
}

#[test]
fn damage_stays_where_it_is_and_does_not_hide_what_follows() {
    let mut bench = Bench::new();
    bench.config.index_interval_bytes = 1;
    let mut log = bench.open();
    for number in 0..10 {
        append(&mut log, batch(&[number], 100)).unwrap();
    }
    bench.noted = close(log);
    bench.disk.end_process();
    // The last offset delta of the fifth batch: the header no longer says where the next one begins.
    bench.disk.flip_bit(&path(LOG), 4 * size() + 26, 2);
    let mut log = bench.open();
    // Look-ups meet the damage: in the batch itself, and where its index entry is checked.
    for offset in [4, 5] {
        let read = log.read(Offset(offset), 300, Offset(10), true);
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{offset}");
    }
    let upper = Offset(11);
    append(&mut log, batch(&[20], 100)).unwrap();
    for log in [log, {
        bench.disk.end_process();
        bench.open()
    }] {
        assert_eq!(
            log.read(Offset(6), 1 << 20, upper, true).unwrap().range,
            Some(Offset(6)..Offset(11))
        );
    }
}

#[test]
fn partition_metadata_that_a_crash_left_as_zeros_is_written_anew_in_a_new_log_only() {
    let bench = ten_batches();
    let name = "partition.metadata";
    let good = bench.file(name);
    overwrite(&bench, name, 0, &vec![0; good.len()]);
    let refused = Log::open(bench.place(), bench.config, bench.noted, None, bench.now).unwrap_err();
    assert!(
        matches!(refused, OpenError::PartitionMetadata { .. }),
        "{refused}"
    );
    let opened = Log::open(
        bench.place(),
        bench.config,
        Noted::default(),
        None,
        bench.now,
    );
    assert_eq!(opened.unwrap().0.log_end_offset(), Offset(10));
    assert_eq!(bench.file(name), good);
}

/// Else a folder that no checkpoint knows yet would be taken for a deleted topic's.
#[test]
fn a_bit_flipped_in_partition_metadata_names_no_other_topic() {
    let bench = ten_batches();
    let name = "partition.metadata";
    let good = bench.file(name);
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        overwrite(&bench, name, 0, &bytes);
        let open = |noted| Log::open(bench.place(), bench.config, noted, None, bench.now);
        match open(bench.noted) {
            // Digits in capitals are as good.
            Ok(_) => assert!(bytes.eq_ignore_ascii_case(&good), "bit {bit}"),
            Err(OpenError::PartitionMetadata { .. }) => {}
            Err(other) => panic!("bit {bit}: {other}"),
        }
        let (log, _) = open(Noted::default()).unwrap();
        assert_eq!(log.log_end_offset(), Offset(10), "bit {bit}");
    }
}

#[test]
fn what_was_flushed_before_there_was_a_checkpoint_survives_a_power_cut() {
    for seed in 0..20 {
        let mut bench = Bench::new();
        bench.noted = Noted::UNKNOWN;
        let mut log = bench.open();
        append(&mut log, batch(&[1], 100)).unwrap();
        flush(&mut log);
        drop(log);
        bench.disk.crash(&SimRandom::new(seed));
        assert_eq!(bench.open().log_end_offset(), Offset(1), "seed {seed}");
    }
}

/// What was served after a start is there after the next, with segments that were begun since the recovery
/// point and without, in a new leader epoch and in the same.
#[test]
fn what_recovery_has_kept_survives_a_power_cut() {
    for (segment_bytes, epoch) in [(1 << 20, 1), (1 << 20, 2), (400, 1), (400, 2)] {
        for seed in 0..20 {
            let mut bench = Bench::new();
            bench.config.segment_bytes = segment_bytes;
            let mut log = bench.open();
            append_in(&mut log, batch(&[0], 100), 1).unwrap();
            flush(&mut log);
            bench.noted = log.checkpoint();
            for number in 1..8 {
                append_in(&mut log, batch(&[number], 100), epoch).unwrap();
            }
            drop(log);
            bench.disk.end_process();
            let log = bench.open();
            assert_eq!(log.flushed_offset(), Offset(8));
            drop(log);
            bench.disk.crash(&SimRandom::new(seed));
            let log = bench.open();
            let what = format!("seed {seed}, segments of {segment_bytes}, epoch {epoch}");
            assert_eq!(offsets(&log), (0..8).collect::<Vec<_>>(), "{what}");
            let ends = [1, epoch].map(|epoch| log.epoch_end_offset(LeaderEpoch(epoch)));
            let end = |epoch, offset| Some((LeaderEpoch(epoch), Offset(offset)));
            let expected = match epoch {
                1 => [end(1, 8), end(1, 8)],
                _ => [end(1, 1), end(2, 8)],
            };
            assert_eq!(ends, expected, "{what}");
        }
    }
}

/// Byte 12 to 15 of a batch: its leader epoch.
fn set_epoch(bench: &Bench, number: u64, epoch: i32) {
    overwrite(bench, LOG, number * size() + 12, &epoch.to_be_bytes());
}

#[test]
fn a_damaged_leader_epoch_is_never_served() {
    // The first four batches are of epoch 1, the others of epoch 5.
    let filled = || {
        let mut bench = Bench::new();
        let mut log = bench.open();
        for number in 0..10 {
            let epoch = if number < 4 { 1 } else { 5 };
            append_in(&mut log, batch(&[number], 100), epoch).unwrap();
        }
        bench.noted = close(log);
        bench.disk.end_process();
        bench
    };
    // 4 would fit between its neighbours; 7 is possible, as far as epochs go, for the last one.
    for (number, epoch) in [
        (9, 4),
        (9, 7),
        (9, 1),
        (3, 4),
        (4, 4),
        (4, 1),
        (5, 7),
        (0, 0),
    ] {
        let bench = filled();
        set_epoch(&bench, number, epoch);
        let (log, recovery) = bench.open_with_recovery();
        assert_eq!(recovery.cut, None);
        let end = log.log_end_offset();
        assert_eq!(end, Offset(10));
        // A look-up checks checksums, which do not cover epochs. It may fail on an epoch that falls.
        let _found = log.max_timestamp_record(end);
        for offset in 0..10 {
            let read = log.read(Offset(offset), 1, end, true);
            assert_eq!(
                read.is_err(),
                offset == number as i64,
                "{number} {epoch} {offset}"
            );
        }
        let ends = [1, 5].map(|epoch| log.epoch_end_offset(LeaderEpoch(epoch)));
        let expected = [(1, 4), (5, 10)].map(|(epoch, end)| (LeaderEpoch(epoch), Offset(end)));
        assert_eq!(ends, expected.map(Some));
    }
    // What the file says is not believed when it is not what was noted.
    for text in [
        "0\n2\n1 0\n4 4\n",
        "0\n2\n1 0\n5 6\n",
        "0\n2\n0 0\n5 4\n",
        "",
    ] {
        let bench = filled();
        truncate(&bench, "leader-epoch-checkpoint", 0);
        overwrite(&bench, "leader-epoch-checkpoint", 0, text.as_bytes());
        let (log, recovery) = bench.open_with_recovery();
        assert!(recovery.epochs_rebuilt, "{text:?}");
        let epochs: Vec<i32> = records_in(&read_all(&log, Offset(0)))
            .iter()
            .map(|record| record.1)
            .collect();
        assert_eq!(epochs, [1, 1, 1, 1, 5, 5, 5, 5, 5, 5]);
        let end = log.epoch_end_offset(LeaderEpoch(1));
        assert_eq!(end, Some((LeaderEpoch(1), Offset(4))), "{text:?}");
    }
}

#[test]
fn an_epoch_that_was_not_begun_ends_the_log() {
    // Epochs 1 and, above the recovery point, 2; this start leads in 3.
    let open = |bench: &Bench| {
        let leads_in = Some(LeaderEpoch(3));
        Log::open(
            bench.place(),
            bench.config,
            bench.noted,
            leads_in,
            bench.now,
        )
        .unwrap()
    };
    let (log, recovery) = open(&ten_batches());
    assert_eq!((log.log_end_offset(), recovery.cut), (Offset(10), None));
    for epoch in [0, 3, 7] {
        let bench = ten_batches();
        set_epoch(&bench, 9, epoch);
        let (log, recovery) = open(&bench);
        assert_eq!(log.log_end_offset(), Offset(9), "epoch {epoch}");
        assert_eq!(recovery.cut.unwrap().position, 9 * size());
    }
    // Without any note of what was durable, the epoch before the point is bounded too.
    let mut bench = ten_batches();
    bench.noted.epochs_checksum = None;
    bench.noted.recovery_point = Offset(10);
    set_epoch(&bench, 9, 3);
    let (log, recovery) = open(&bench);
    assert_eq!((log.log_end_offset(), recovery.cut), (Offset(10), None));
    assert!(log.read(Offset(9), 1, Offset(10), true).is_err());
    assert!(log.read(Offset(8), 1, Offset(10), true).is_ok());
}
