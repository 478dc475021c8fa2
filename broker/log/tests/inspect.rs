//! What the look at a stopped directory finds, and what recovery without a start does.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::{Bench, DIRECTORY, NOW, append_in, close, flush};
use millstream_env::Disk;
use millstream_log::inspect::{
    DumpedBatch, FindingKind, InspectError, PartitionReport, Recovered, StoppedDirectory, dump,
    recover, verify,
};
use millstream_log::{Checkpoint, CheckpointEntry, LogConfig, Noted};
use millstream_model::{Offset, TopicId};
use millstream_protocol::records::{BatchBuilder, Codec};

const FIRST: &str = "00000000000000000000.log";

/// The batch of this number of the one producer, later than the one before.
fn two_records(number: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None).producer(9, 0, number * 2);
    for record in 0..2 {
        let timestamp = NOW.0 + i64::from(number * 2 + record);
        builder.push(timestamp, None, Some(&[b'v'; 100]), []);
    }
    builder.build(0, -1)
}

/// Twelve batches of two records in several segments, with two leader epochs, an entry in the index for
/// nearly every batch, and one producer.
fn twelve_batches() -> (Bench, millstream_log::Log) {
    let mut bench = Bench::new();
    bench.config = LogConfig {
        segment_bytes: 1500,
        index_interval_bytes: 1,
        ..bench.config
    };
    let mut log = bench.open();
    for number in 0..12 {
        let epoch = if number < 5 { 1 } else { 2 };
        append_in(&mut log, two_records(number), epoch).unwrap();
        flush(&mut log);
    }
    assert!(log.segment_count() > 1, "{}", log.segment_count());
    (bench, log)
}

/// A directory as a clean stop leaves it.
fn stopped() -> Bench {
    let (mut bench, log) = twelve_batches();
    bench.noted = close(log);
    write_checkpoint(&bench, true);
    bench.disk.end_process();
    bench
}

fn write_checkpoint(bench: &Bench, is_clean: bool) {
    let entry = CheckpointEntry {
        topic_id: TopicId([7; 16]),
        partition: 0,
        noted: bench.noted,
    };
    let checkpoint = Checkpoint {
        is_clean,
        entries: vec![entry],
    };
    checkpoint.write(&bench.disk, Path::new("/data")).unwrap();
}

fn open(bench: &Bench) -> StoppedDirectory {
    let disk = Arc::new(bench.disk.clone());
    StoppedDirectory::open(disk, Path::new("/data"), None).unwrap()
}

fn look(bench: &Bench) -> PartitionReport {
    let directory = open(bench);
    let mut read = 0;
    let report = verify(&bench.disk, &directory.partitions[0], &mut |bytes| {
        read += bytes
    });
    assert!(read <= report.bytes);
    report
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn overwrite(bench: &Bench, name: &str, position: u64, bytes: &[u8]) {
    let file = bench.disk.open(&path(name), true).unwrap();
    file.write_all_at(bytes, position).unwrap();
}

fn size() -> u64 {
    two_records(0).len() as u64
}

#[test]
fn a_clean_stop_verifies_clean_and_nothing_is_changed() {
    let bench = stopped();
    let before = bench.files();
    let report = look(&bench);
    assert_eq!((&report.damage, &report.notes), (&vec![], &vec![]));
    assert_eq!(report.tail, None);
    assert_eq!((report.batches, report.records), (12, 24));
    assert_eq!(report.bytes, 12 * size());
    assert_eq!(report.log_end_offset, Offset(24));
    assert_eq!(report.recovery_point, Offset(24));
    assert_eq!(bench.files(), before);
}

#[test]
fn a_flipped_bit_anywhere_in_a_log_is_found_and_named() {
    let bench = stopped();
    let logs = bench
        .files()
        .into_iter()
        .filter(|file| file.0.ends_with(".log"));
    let mut flips = 0;
    for (name, bytes) in logs {
        for position in 0..bytes.len() as u64 {
            let bit = (position % 8) as u8;
            bench.disk.flip_bit(&path(&name), position, bit);
            let report = look(&bench);
            let found: Vec<_> = report
                .damage
                .iter()
                .map(|one| (one.path.clone(), one.position.unwrap()))
                .collect();
            let batch = position / size() * size();
            let named = found.iter().any(|one| *one == (path(&name), batch));
            assert!(named, "byte {position} of {name}: {found:?}");
            assert_eq!(report.tail, None, "all of it was durable");
            // What lies behind is still read.
            assert!(report.batches >= 11, "byte {position}: {}", report.batches);
            bench.disk.flip_bit(&path(&name), position, bit);
            flips += 1;
        }
    }
    assert_eq!(flips, 12 * size());
    assert_eq!(look(&bench).damage_count, 0);
}

/// A write that went astray: a whole batch with the offset of the one it lies in.
#[test]
fn a_batch_inside_a_damaged_one_is_not_counted() {
    // The header of the batch around it is as it was, or its magic is not.
    for is_header_right in [true, false] {
        let bench = stopped();
        let mut stray = BatchBuilder::new(Codec::None);
        stray.push(NOW.0, None, Some(b"astray"), []);
        let stray = stray.build(2, 1);
        assert!(61 + stray.len() as u64 <= size());
        bench.disk.misdirect(&path(FIRST), size() + 61, &stray);
        if !is_header_right {
            bench.disk.flip_bit(&path(FIRST), size() + 16, 0);
        }
        let report = look(&bench);
        assert_eq!(report.damage_count, 1, "{:?}", report.damage);
        assert_eq!(report.damage[0].position, Some(size()));
        assert_eq!((report.batches, report.records), (11, 22));
    }
}

#[test]
fn a_wrong_index_is_found_named_and_built_again() {
    let names = |bench: &Bench, end: &str| -> Vec<(String, Vec<u8>)> {
        let files = bench.files().into_iter();
        files.filter(|file| file.0.ends_with(end)).collect()
    };
    for end in [".index", ".timeindex"] {
        let bench = stopped();
        let indexes = names(&bench, end);
        let mut wrong = 0;
        for (name, bytes) in &indexes {
            for position in 0..bytes.len() as u64 {
                bench.disk.flip_bit(&path(name), position, 0);
                let report = look(&bench);
                let found: Vec<_> = report
                    .damage
                    .iter()
                    .map(|one| (one.kind, &one.path))
                    .collect();
                let expected = [(FindingKind::Index, &path(name))];
                assert_eq!(found, expected, "byte {position} of {name}");
                bench.disk.flip_bit(&path(name), position, 0);
                wrong += 1;
            }
        }
        assert!(wrong > 20, "{wrong}");
        // One byte short; empty; gone.
        let (name, bytes) = indexes.iter().find(|file| file.1.len() >= 24).unwrap();
        let file = bench.disk.open(&path(name), false).unwrap();
        file.truncate(bytes.len() as u64 - 1).unwrap();
        assert_eq!(look(&bench).damage_count, 1);
        bench.disk.remove_file(&path(name)).unwrap();
        assert_eq!(look(&bench).damage_count, 1);
        let outcome = recover_all(&bench).pop().unwrap().outcome.unwrap();
        assert_eq!((outcome.indexes_rebuilt, outcome.damage_count), (1, 0));
        assert_eq!(look(&bench).damage_count, 0);
    }
}

fn recover_all(bench: &Bench) -> Vec<Recovered> {
    let mut all = Vec::new();
    recover(&mut open(bench), NOW, &mut |one| all.push(one)).unwrap();
    all
}

#[test]
fn the_small_files_are_checked() {
    let files = [
        "leader-epoch-checkpoint",
        "partition.metadata",
        ".producers",
        ".snapshot",
    ];
    for end in files {
        let bench = stopped();
        let all = bench.files().into_iter();
        // The oldest: what is newest may be about the recovery point itself.
        let (name, bytes) = all.into_iter().find(|file| file.0.ends_with(end)).unwrap();
        overwrite(&bench, &name, 0, &vec![b'x'; bytes.len()]);
        let report = look(&bench);
        let wrong: Vec<_> = report.damage.iter().chain(&report.notes).collect();
        assert!(
            wrong.iter().any(|one| one.path == path(&name)),
            "{end}: {wrong:?}"
        );
    }
    let bench = stopped();
    let checkpoint = Path::new("/data/millstream-checkpoint");
    bench.disk.flip_bit(checkpoint, 20, 3);
    let directory = open(&bench);
    assert_eq!(directory.damage[0].path, checkpoint);
    assert_eq!(directory.partitions[0].noted, Noted::UNKNOWN);
}

#[test]
fn a_torn_tail_is_no_damage_and_recovery_cuts_it() {
    let (mut bench, mut log) = twelve_batches();
    bench.noted = log.checkpoint();
    write_checkpoint(&bench, false);
    for number in 12..15 {
        append_in(&mut log, two_records(number), 2).unwrap();
    }
    bench.disk.end_process();
    let last = bench
        .files()
        .into_iter()
        .rfind(|file| file.0.ends_with(".log"))
        .unwrap();
    let end = last.1.len() as u64;
    bench
        .disk
        .open(&path(&last.0), false)
        .unwrap()
        .truncate(end - 10)
        .unwrap();
    let report = look(&bench);
    assert_eq!(report.damage, []);
    let tail = report.tail.unwrap();
    assert_eq!((tail.path, tail.offset), (path(&last.0), Offset(28)));
    assert_eq!(tail.bytes, size() - 10);
    assert_eq!((report.batches, report.log_end_offset), (14, Offset(28)));

    let outcome = recover_all(&bench).pop().unwrap().outcome.unwrap();
    let cut = outcome.recovery.cut.unwrap();
    assert_eq!((cut.offset, cut.bytes), (Offset(28), size() - 10));
    assert_eq!(outcome.noted.recovery_point, Offset(28));
    let report = look(&bench);
    assert_eq!((report.damage_count, report.tail), (0, None));
    assert_eq!(report.recovery_point, Offset(28), "the checkpoint says so");
    bench.noted = Noted {
        recovery_point: Offset(28),
        log_start_offset: Offset(0),
        ..Noted::default()
    };
    let (log, recovery) = bench.open_with_recovery();
    assert_eq!((log.log_end_offset(), recovery.cut), (Offset(28), None));
    assert_eq!(log.producer_count(), 1);
}

#[test]
fn recovery_never_cuts_below_the_recovery_point() {
    let bench = stopped();
    bench.disk.flip_bit(&path(FIRST), 2, 1);
    bench.disk.flip_bit(&path(FIRST), size() + 100, 1);
    let logs = |bench: &Bench| -> Vec<_> {
        let files = bench.files().into_iter();
        files.filter(|file| file.0.ends_with(".log")).collect()
    };
    let before = logs(&bench);
    let outcome = recover_all(&bench).pop().unwrap().outcome.unwrap();
    assert_eq!(outcome.damage_count, 2);
    assert_eq!(logs(&bench), before);
    let segments = before
        .iter()
        .filter(|file| file.0.ends_with(".log"))
        .count();
    let last = &before[segments - 1];
    // The end of what was durable is gone: such a log is not opened.
    bench
        .disk
        .open(&path(&last.0), false)
        .unwrap()
        .truncate(1)
        .unwrap();
    assert!(recover_all(&bench).pop().unwrap().outcome.is_err());
    let report = look(&bench);
    assert!(
        report.damage.iter().any(|one| one.path == path(&last.0)),
        "{report:?}"
    );
}

#[test]
fn a_missing_segment_is_named_by_its_offsets() {
    let bench = stopped();
    bench.disk.remove_file(&path(FIRST)).unwrap();
    let report = look(&bench);
    assert_eq!(report.damage_count, 1, "{:?}", report.damage);
    assert!(
        report.damage[0].what.contains("no segment holds the first"),
        "{report:?}"
    );
}

#[test]
fn dump_shows_batches_from_an_offset_on_and_goes_on_behind_damage() {
    let bench = stopped();
    bench.disk.flip_bit(&path(FIRST), size() + 100, 1);
    let directory = open(&bench);
    let mut shown = Vec::new();
    let mut show = |batch: DumpedBatch<'_>| {
        let base = batch.header.map(|header| header.base_offset);
        shown.push((base, batch.problem.is_none(), batch.bytes.len() as u64));
        match shown.len() {
            4 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    dump(&bench.disk, &directory.partitions[0], Offset(1), &mut show).unwrap();
    let expected = [0, 2, 4, 6].map(|base| (Some(base), base != 2, size()));
    assert_eq!(shown, expected);
}

#[test]
fn a_directory_in_use_and_one_without_partitions_are_refused() {
    let bench = stopped();
    let disk: Arc<dyn Disk> = Arc::new(bench.disk.clone());
    let opened =
        |path: &str, only| StoppedDirectory::open(Arc::clone(&disk), Path::new(path), only);
    let broker = disk.lock(Path::new("/data/.lock")).unwrap();
    for path in ["/data", DIRECTORY] {
        let refused = opened(path, None).err().unwrap();
        assert!(matches!(refused, InspectError::InUse { .. }), "{refused}");
    }
    drop(broker);
    let one = opened(DIRECTORY, None).unwrap();
    assert_eq!(
        one.partitions[0].noted, bench.noted,
        "from the checkpoint beside it"
    );
    drop(one);
    disk.create_directory(Path::new("/empty")).unwrap();
    let refused = opened("/empty", None).err().unwrap();
    assert!(
        matches!(refused, InspectError::NoPartitions { .. }),
        "{refused}"
    );
    let refused = opened("/data", Some("other-0")).err().unwrap();
    assert_eq!(
        refused.to_string(),
        "/data has no partition other-0; it has topic-0"
    );
}

#[test]
fn a_wrong_digit_in_the_epochs_is_not_taken_for_damaged_batches() {
    let bench = stopped();
    let text = bench.file("leader-epoch-checkpoint");
    assert_eq!(text, b"0\n2\n1 0\n2 10\n");
    // Epoch 2 begins at 12.
    overwrite(&bench, "leader-epoch-checkpoint", 11, b"2");
    let report = look(&bench);
    let found: Vec<_> = report
        .damage
        .iter()
        .map(|one| (one.kind, &one.path))
        .collect();
    let expected = [(FindingKind::File, &path("leader-epoch-checkpoint"))];
    assert_eq!(found, expected);
}
