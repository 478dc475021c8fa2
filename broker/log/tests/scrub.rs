//! Scrubbing sealed segments: digests are written and checked, damage is told and stays where it is.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};

use common::{Bench, DIRECTORY, NOW, append_in, batch, close, flush, read_all};
use millstream_env::Disk;
use millstream_env::sim::{SimFaults, SimRandom};
use millstream_log::inspect::{StoppedDirectory, verify};
use millstream_log::{
    Checkpoint, CheckpointEntry, CompactionError, CompactionPass, CompactionRules, Log, Noted,
    OffsetMap, PassStep, ScrubOutcome, ScrubStep,
};
use millstream_model::{Offset, TopicId, WallTime};
use millstream_protocol::records::{BatchBuilder, Codec};

const SEGMENT: u64 = 5;
const RULES: CompactionRules = CompactionRules {
    min_dirty_ratio: 0.0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: 0,
};

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn size() -> u64 {
    batch(&[1], 100).len() as u64
}

/// A log of segments of five batches of one record, 171 bytes each, whose times go to and fro.
fn filled(batches: i64) -> (Bench, Log) {
    let mut bench = Bench::new();
    bench.config.segment_bytes = (SEGMENT * size()) as u32;
    bench.config.index_interval_bytes = 0;
    let mut log = bench.open();
    for number in 0..batches {
        append_in(
            &mut log,
            batch(&[time_of(number)], 100),
            1 + number as i32 / 8,
        )
        .unwrap();
    }
    flush(&mut log);
    (bench, log)
}

/// The second of three is the latest.
fn time_of(number: i64) -> i64 {
    NOW.0 + number / 3 * 100 + [10, 90, 50][number as usize % 3]
}

fn scrub(log: &mut Log, after: Option<Offset>, only_new: bool) -> Option<(Offset, ScrubOutcome)> {
    let mut scrub = log.begin_scrub(after, only_new)?;
    let base = scrub.base();
    while scrub.step().unwrap() != ScrubStep::Finished {}
    Some((base, log.complete_scrub(scrub)))
}

fn scrub_all(log: &mut Log) -> Vec<(Offset, ScrubOutcome)> {
    let mut outcomes = Vec::new();
    let mut after = None;
    while let Some(outcome) = scrub(log, after, false) {
        after = Some(outcome.0);
        outcomes.push(outcome);
    }
    outcomes
}

fn digests(bench: &Bench) -> Vec<String> {
    let names = bench.files().into_iter().map(|file| file.0);
    names.filter(|name| name.contains("digest")).collect()
}

fn name(base: i64, extension: &str) -> String {
    format!("{base:020}.{extension}")
}

#[test]
fn sealed_segments_get_digests_that_are_checked_from_then_on() {
    let (bench, mut log) = filled(18);
    let new = ScrubOutcome::Whole {
        is_digest_new: true,
    };
    let old = ScrubOutcome::Whole {
        is_digest_new: false,
    };
    assert_eq!(scrub(&mut log, None, true), Some((Offset(0), new.clone())));
    assert_eq!(scrub(&mut log, None, true), Some((Offset(5), new.clone())));
    assert_eq!(scrub(&mut log, None, true), Some((Offset(10), new)));
    assert_eq!(
        scrub(&mut log, None, true),
        None,
        "the active one gets none"
    );
    let expected = [0, 5, 10].map(|base| name(base, "digest"));
    assert_eq!(digests(&bench), expected);
    let all = [0, 5, 10].map(|base| (Offset(base), old.clone()));
    assert_eq!(scrub_all(&mut log), all);
    // Another start knows them.
    let mut bench = bench;
    bench.noted = close(log);
    bench.disk.end_process();
    let mut log = bench.open();
    assert_eq!(scrub(&mut log, None, true), None);
    // One that is not whole, or is about another segment, is no damage, and is written anew.
    bench.disk.flip_bit(&path(&name(0, "digest")), 40, 1);
    let other = bench.file(&name(10, "digest"));
    let file = bench.disk.open(&path(&name(5, "digest")), false).unwrap();
    file.write_all_at(&other, 0).unwrap();
    drop(log);
    bench.disk.end_process();
    log = bench.open();
    let anew = ScrubOutcome::Whole {
        is_digest_new: true,
    };
    let outcomes: Vec<_> = scrub_all(&mut log).into_iter().map(|one| one.1).collect();
    assert_eq!(outcomes, [anew.clone(), anew, old]);
}

#[test]
fn what_is_not_durable_is_left_alone_and_what_was_taken_out_too() {
    let (_, mut log) = filled(7);
    append_in(&mut log, batch(&[NOW.0], 300), 3).unwrap();
    append_in(&mut log, batch(&[NOW.0], 700), 3).unwrap();
    assert_eq!(log.segment_count(), 3);
    let after = Some(Offset(0));
    assert!(log.begin_scrub(after, false).is_none(), "not flushed");
    flush(&mut log);
    let mut begun = log.begin_scrub(after, false).unwrap();
    while begun.step().unwrap() != ScrubStep::Finished {}
    log.advance_start(Offset(9));
    log.prepare_close().unwrap();
    flush(&mut log);
    log.checkpoint();
    flush(&mut log);
    assert!(!log.take_out_segments(Offset(9)).unwrap().is_empty());
    assert_eq!(log.complete_scrub(begun), ScrubOutcome::Gone);
}

#[test]
fn damage_is_told_by_range_and_only_that_is_refused() {
    for has_digest in [false, true] {
        // A bit of the records, of a base offset, of a leader epoch, of a length.
        for byte in [80, 7, 15, 10] {
            let (bench, mut log) = filled(18);
            assert_eq!(read_all(&log, Offset(0)).len() as u64, 18 * size());
            if has_digest {
                scrub_all(&mut log);
            }
            // The third batch of the second segment, which was read before.
            bench
                .disk
                .flip_bit(&path(&name(5, "log")), 2 * size() + byte, 1);
            let outcomes = scrub_all(&mut log);
            let ScrubOutcome::Damaged(ranges) = &outcomes[1].1 else {
                panic!("byte {byte}: {outcomes:?}");
            };
            assert_eq!(ranges.len(), 1, "{ranges:?}");
            assert_eq!(ranges[0].path, path(&name(5, "log")));
            assert_eq!(ranges[0].bytes, 2 * size()..3 * size(), "byte {byte}");
            assert_eq!(ranges[0].offsets, Offset(7)..Offset(8));
            // A base offset that is wrong also hides what follows it up to the next index entry.
            let hidden = if byte == 7 { 7..9 } else { 7..8 };
            for offset in 0..18 {
                let read = log.read(Offset(offset), 1, Offset(18), true);
                let is_refused = hidden.contains(&offset);
                assert_eq!(read.is_err(), is_refused, "byte {byte} offset {offset}");
            }
            // A large read gets what lies before.
            let read = log.read(Offset(5), 1 << 20, Offset(18), true).unwrap();
            assert_eq!(read.range, Some(Offset(5)..Offset(7)));
            // It is tried once among the new ones, and with every pass over all.
            assert_eq!(scrub(&mut log, None, true), None);
            assert!(matches!(scrub_all(&mut log)[1].1, ScrubOutcome::Damaged(_)));
        }
    }
}

/// A write that went astray: a whole batch with the offset of the one it lies in.
#[test]
fn a_batch_inside_a_damaged_one_is_not_what_follows_it() {
    // The header of the batch around it is as it was, or its magic is not.
    for is_header_right in [true, false] {
        let (bench, mut log) = filled(18);
        let mut stray = BatchBuilder::new(Codec::None);
        stray.push(NOW.0, None, Some(b"astray"), []);
        let stray = stray.build(7, 1);
        let log_path = path(&name(5, "log"));
        assert!(61 + stray.len() as u64 <= size());
        bench.disk.misdirect(&log_path, 2 * size() + 61, &stray);
        if !is_header_right {
            bench.disk.flip_bit(&log_path, 2 * size() + 16, 0);
        }
        let outcomes = scrub_all(&mut log);
        let ScrubOutcome::Damaged(ranges) = &outcomes[1].1 else {
            panic!("{outcomes:?}");
        };
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert_eq!(ranges[0].bytes, 2 * size()..3 * size());
        assert_eq!(ranges[0].offsets, Offset(7)..Offset(8));
        // A header that is wrong hides what follows up to the next index entry.
        let hidden = if is_header_right { 7..8 } else { 7..9 };
        for offset in 0..18 {
            let read = log.read(Offset(offset), 1, Offset(18), true);
            assert_eq!(read.is_err(), hidden.contains(&offset), "offset {offset}");
        }
    }
}

#[test]
fn a_time_index_is_not_believed_when_it_is_not_what_was_noted() {
    let lookups = |log: &Log| -> Vec<_> {
        let end = log.log_end_offset();
        let times = (0..70).map(|step| WallTime(NOW.0 + step * 10 - 5));
        let found = times.map(|time| log.offset_for_timestamp(time, end).unwrap());
        found
            .chain([log.max_timestamp_record(end).unwrap()])
            .collect()
    };
    for has_digest in [true, false] {
        let (mut bench, mut log) = filled(18);
        if has_digest {
            scrub_all(&mut log);
        }
        let expected = lookups(&log);
        bench.noted = close(log);
        bench.disk.end_process();
        for base in [0, 5, 10] {
            let name = name(base, "timeindex");
            let whole = bench.file(&name);
            let file = bench.disk.open(&path(&name), false).unwrap();
            // Cut by hand between two entries.
            for entries in 0..whole.len() as u64 / 12 {
                file.truncate(entries * 12).unwrap();
                assert_eq!(lookups(&bench.open()), expected, "{entries} entries");
                assert_eq!(bench.file(&name), whole, "it is built again");
            }
            // An entry that names a later batch with a timestamp as large.
            if has_digest {
                for position in 0..whole.len() as u64 {
                    bench.disk.flip_bit(&path(&name), position, 1);
                    assert_eq!(lookups(&bench.open()), expected, "byte {position}");
                }
            }
        }
    }
}

#[test]
fn a_wrong_index_is_mended_and_the_digest_written_for_the_right_one() {
    for has_digest in [true, false] {
        let (bench, mut log) = filled(8);
        if has_digest {
            scrub_all(&mut log);
        }
        let right = bench.file(&name(0, "timeindex"));
        bench.disk.flip_bit(&path(&name(0, "timeindex")), 5, 1);
        let is_digest_new = !has_digest;
        let outcomes = scrub_all(&mut log);
        assert_eq!(outcomes[0].1, ScrubOutcome::Whole { is_digest_new });
        assert_eq!(bench.file(&name(0, "timeindex")), right);
        // It vouches for it: a second run finds nothing to do.
        bench.disk.end_process();
        let log = bench.open();
        log.offset_for_timestamp(NOW, Offset(8)).unwrap();
        assert_eq!(bench.file(&name(0, "timeindex")), right);
    }
}

/// Keys by twos: of each pair the later record stays.
fn compacted() -> (Bench, Log) {
    let (bench, mut log) = keyed(2);
    compact(&mut log);
    (bench, log)
}

/// Forty batches of one record; so many after each other have one key.
fn keyed(alike: i64) -> (Bench, Log) {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 1000;
    bench.config.index_interval_bytes = 0;
    let mut log = bench.open();
    for number in 0..40 {
        let mut builder = BatchBuilder::new(Codec::None);
        let key = [(number / alike) as u8];
        builder.push(NOW.0 + number, Some(&key), Some(&[b'v'; 60]), []);
        append_in(&mut log, builder.build(0, -1), 1).unwrap();
    }
    flush(&mut log);
    (bench, log)
}

fn begin_pass(log: &Log) -> CompactionPass {
    let end = log.log_end_offset();
    let map = OffsetMap::new(1 << 16, [1, 2]);
    let pass = log.begin_compaction(&RULES, end, NOW, map);
    pass.unwrap().unwrap()
}

fn compact(log: &mut Log) {
    let mut pass = begin_pass(log);
    loop {
        match pass.step().unwrap() {
            PassStep::Worked { .. } => {}
            PassStep::Install => log.install_cleaned(&mut pass).unwrap(),
            PassStep::PutAway => drop(log.put_away_replaced(&mut pass).unwrap()),
            PassStep::Finished => {
                log.complete_compaction(&pass);
                return;
            }
        }
    }
}

#[test]
fn a_digest_that_was_cold_is_compared_all_the_same() {
    let (mut bench, log) = compacted();
    bench.noted = close(log);
    bench.disk.end_process();
    let (name, length) = logs_of(&bench).swap_remove(0);
    let batches = served(&bench.open());
    let digest = path(&name.replace(".log", ".digest"));
    let read = |bench: &Bench, offset: Offset| {
        let log = bench.open();
        let read = log.read(offset, 1, log.log_end_offset(), true);
        read.map(|read| read.parts.concat())
    };
    let mut only_digest_tells = 0;
    // Base offsets: in a gap, no batch contradicts a wrong one.
    for position in (0..length).filter(|at| at % 131 < 16) {
        bench.disk.flip_bit(&path(&name), position, 0);
        let without = Bench {
            disk: bench.disk.copy(),
            ..bench
        };
        without.disk.remove_file(&digest).unwrap();
        for (offset, right) in &batches {
            if !read(&without, *offset).is_ok_and(|found| found != *right) {
                continue;
            }
            only_digest_tells += 1;
            assert!(read(&bench, *offset).is_err());
            for cold_every in [3, 5, 7] {
                let log = bench.open();
                bench.disk.set_faults(SimFaults {
                    cold_every,
                    ..SimFaults::default()
                });
                for _ in 0..50 {
                    match log.read_cached(*offset, 1, log.log_end_offset(), true) {
                        Ok(read) => assert!(read.is_err(), "{offset}, cold every {cold_every}"),
                        Err(cold) => cold.wait(),
                    }
                }
                bench.disk.set_faults(SimFaults::default());
            }
        }
        bench.disk.flip_bit(&path(&name), position, 0);
    }
    assert!(only_digest_tells > 0);
}

#[test]
fn a_compacted_segment_has_a_digest_of_what_was_written() {
    let (mut bench, mut log) = compacted();
    assert_eq!(scrub(&mut log, None, true).map(|one| one.0), None);
    let old = ScrubOutcome::Whole {
        is_digest_new: false,
    };
    let outcomes = scrub_all(&mut log);
    assert!(outcomes.iter().all(|one| one.1 == old), "{outcomes:?}");
    assert!(outcomes.len() > 2);
    let all = read_all(&log, Offset(0));
    bench.noted = close(log);
    bench.disk.end_process();
    let (logs, bench) = (logs_of(&bench), bench);
    let log = bench.open();
    assert_eq!(read_all(&log, Offset(0)), all);
    drop(log);
    let batches = served(&bench.open());
    // A base offset, one bit at a time: in a gap, no batch contradicts it.
    let mut refused = 0;
    for (name, length) in &logs[..logs.len() - 1] {
        for position in (0..*length).filter(|at| at % 131 < 16) {
            bench
                .disk
                .flip_bit(&path(name), position, (position % 8) as u8);
            let log = bench.open();
            for (offset, expected) in &batches {
                match log.read(*offset, 1, log.log_end_offset(), true) {
                    Ok(read) => assert_eq!(&read.parts.concat(), expected, "{name} {position}"),
                    Err(_) => refused += 1,
                }
            }
            bench
                .disk
                .flip_bit(&path(name), position, (position % 8) as u8);
        }
    }
    assert!(refused > 100, "{refused}");
}

fn logs_of(bench: &Bench) -> Vec<(String, u64)> {
    let files = bench.files().into_iter();
    let logs = files.filter(|file| file.0.ends_with(".log"));
    logs.map(|file| (file.0, file.1.len() as u64)).collect()
}

/// What a read at each offset gives.
fn served(log: &Log) -> Vec<(Offset, Vec<u8>)> {
    let end = log.log_end_offset();
    let offsets = (0..end.0).map(Offset);
    offsets
        .map(|offset| {
            (
                offset,
                log.read(offset, 1, end, true).unwrap().parts.concat(),
            )
        })
        .collect()
}

#[test]
fn damage_is_not_compacted_into_a_segment_that_looks_whole() {
    let (bench, mut log) = compacted();
    // The second batch that is left: its base offset 3 becomes 2, which was compacted away.
    let name = name(0, "log");
    let bytes = bench.file(&name);
    let length = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as u64;
    bench.disk.flip_bit(&path(&name), length + 7, 0);
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NOW.0, Some(b"new"), Some(&[b'v'; 900]), []);
    append_in(&mut log, builder.build(0, -1), 1).unwrap();
    flush(&mut log);
    let mut pass = begin_pass(&log);
    let error = loop {
        match pass.step() {
            Ok(PassStep::Worked { .. }) => {}
            Ok(step) => panic!("{step:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        error.to_string().contains("do not fit their digest"),
        "{error}"
    );
}

#[test]
fn a_sealed_segment_stays_sealed_when_the_one_behind_it_was_empty() {
    let (mut bench, mut log) = compacted();
    // Retention has sealed the last one; nothing was appended since.
    let end = log.log_end_offset();
    append_in(&mut log, batch(&[NOW.0], 900), 1).unwrap();
    flush(&mut log);
    scrub_all(&mut log);
    bench.noted = close(log);
    bench.disk.end_process();
    let last = logs_of(&bench).pop().unwrap().0;
    // The append that began the last segment never was.
    bench.disk.remove_file(&path(&last)).unwrap();
    bench.noted.recovery_point = end;
    bench.noted.epochs_checksum = None;
    let mut log = bench.open();
    assert_eq!(log.log_end_offset(), end);
    let before = digests(&bench);
    append_in(&mut log, batch(&[NOW.0], 100), 1).unwrap();
    assert_eq!(
        logs_of(&bench).pop().unwrap().0,
        last,
        "a segment of its own"
    );
    assert_eq!(digests(&bench), before);
    flush(&mut log);
    let outcomes = scrub_all(&mut log);
    let old = ScrubOutcome::Whole {
        is_digest_new: false,
    };
    assert!(outcomes.iter().all(|one| one.1 == old), "{outcomes:?}");
}

#[test]
fn power_cuts_never_leave_a_digest_of_another_segment() {
    for seed in 0..300 {
        let random = SimRandom::new(seed);
        let (mut bench, mut log) = compacted();
        scrub_all(&mut log);
        let number = random.below(30) as i64;
        for extra in 0..number {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.push(NOW.0, Some(&[extra as u8 % 9]), Some(&[b'w'; 60]), []);
            append_in(&mut log, builder.build(0, -1), 1).unwrap();
            if random.chance(20) {
                flush(&mut log);
                scrub(&mut log, None, true);
            }
        }
        flush(&mut log);
        bench.noted = log.checkpoint();
        if random.chance(70) {
            compact(&mut log);
        }
        bench.disk.crash(&random);
        let mut log = bench.open();
        for (base, outcome) in scrub_all(&mut log) {
            assert!(
                matches!(outcome, ScrubOutcome::Whole { .. }),
                "seed {seed} {base}: {outcome:?}"
            );
        }
    }
}

#[test]
fn a_start_that_ends_a_replacement_keeps_only_a_digest_that_fits() {
    let (mut bench, log) = keyed(2);
    bench.noted = Noted {
        recovery_point: log.flushed_offset(),
        ..Noted::default()
    };
    let mut pass = begin_pass(&log);
    while pass.step().unwrap() != PassStep::Install {}
    bench.disk.end_process();
    // As if the digest were that of another segment of the same range and length: the second batch has
    // another place in its gap.
    let cleaned = name(0, "log.cleaned");
    let bytes = bench.file(&cleaned);
    let length = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as u64;
    bench.disk.flip_bit(&path(&cleaned), length + 7, 0);
    let mut log = bench.open();
    assert!(digests(&bench).is_empty(), "{:?}", digests(&bench));
    let (base, outcome) = scrub(&mut log, None, true).unwrap();
    assert_eq!(
        (base, outcome),
        (
            Offset(0),
            ScrubOutcome::Whole {
                is_digest_new: true
            }
        )
    );
}

#[test]
fn the_digest_of_a_segment_that_was_replaced_meanwhile_is_not_put_beside_the_new_one() {
    // All keys differ: the new segment is as long as the old one.
    let (bench, mut log) = keyed(1);
    let mut begun = log.begin_scrub(None, true).unwrap();
    while begun.step().unwrap() != ScrubStep::Finished {}
    compact(&mut log);
    assert_eq!(log.complete_scrub(begun), ScrubOutcome::Gone);
    assert!(digests(&bench).iter().all(|name| name.ends_with(".digest")));
}

#[test]
fn verify_checks_digests() {
    let (mut bench, mut log) = compacted();
    scrub_all(&mut log);
    bench.noted = close(log);
    bench.disk.end_process();
    let entry = CheckpointEntry {
        topic_id: TopicId([7; 16]),
        partition: 0,
        noted: bench.noted,
    };
    let checkpoint = Checkpoint {
        is_clean: true,
        entries: vec![entry],
    };
    checkpoint.write(&bench.disk, Path::new("/data")).unwrap();
    let look = || {
        let disk = std::sync::Arc::new(bench.disk.clone());
        let directory = StoppedDirectory::open(disk, Path::new("/data"), None).unwrap();
        let report = verify(&bench.disk, &directory.partitions[0], &mut |_| {});
        let damage = report.damage.into_iter();
        damage
            .map(|one| (one.kind.name(), one.path, one.position))
            .collect::<Vec<_>>()
    };
    assert_eq!(look(), []);
    // In a gap no batch contradicts a base offset.
    let log = path(&name(0, "log"));
    let bytes = bench.file(&name(0, "log"));
    let length = 12 + u32::from_be_bytes(bytes[8..12].try_into().unwrap()) as u64;
    bench.disk.flip_bit(&log, length + 7, 0);
    assert_eq!(look(), [("log", log.clone(), Some(0))]);
    bench.disk.flip_bit(&log, length + 7, 0);
    let digest = path(&name(0, "digest"));
    bench.disk.flip_bit(&digest, 50, 0);
    assert_eq!(look(), [("file", digest.clone(), None)]);
    // None is no damage.
    bench.disk.remove_file(&digest).unwrap();
    assert_eq!(look(), []);
    let others = bench
        .files()
        .into_iter()
        .find(|file| file.0.ends_with(".digest"))
        .unwrap()
        .1;
    bench
        .disk
        .open(&digest, true)
        .unwrap()
        .write_all_at(&others, 0)
        .unwrap();
    assert_eq!(look(), [("file", digest, None)]);
}

/// Retention takes a segment out while it is read, and what is removed goes in pieces.
#[test]
fn what_is_shortened_under_a_reader_is_gone_and_not_damaged() {
    let (mut bench, _) = filled(0);
    bench.config.segment_bytes = 3 << 20;
    let mut log = bench.open();
    for number in 0..80 {
        append_in(&mut log, batch(&[time_of(number)], 100_000), 1).unwrap();
    }
    flush(&mut log);
    let mut scrub = log.begin_scrub(None, false).unwrap();
    let mut pass = begin_pass(&log);
    assert!(matches!(scrub.step(), Ok(ScrubStep::Worked { .. })));
    assert!(matches!(pass.step(), Ok(PassStep::Worked { .. })));
    // The first of those with 31 batches.
    let start = Offset(31);
    log.advance_start(start);
    flush(&mut log);
    for path in log.take_out_segments(start).unwrap() {
        bench.disk.open(&path, false).unwrap().truncate(1).unwrap();
    }
    let error = scrub.step().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    let error = pass.step().unwrap_err();
    assert!(matches!(error, CompactionError::TakenOut { .. }), "{error}");
}
