//! Reads that do not wait for the disk: what the page cache does not hold is named, and nothing that a
//! read in vain has met is remembered.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Bench, NOW, append, batch, close};
use millstream_env::sim::SimFaults;
use millstream_log::{Log, LogRead, ReadError};
use millstream_model::Offset;

const TRIES_MAX: usize = 200;

/// Three sealed segments with indexes, and an active one.
fn stored() -> Bench {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 20_000;
    bench.config.index_interval_bytes = 500;
    let mut log = bench.open();
    for _ in 0..200 {
        append(&mut log, batch(&[NOW.0, NOW.0], 100)).unwrap();
    }
    bench.noted = close(log);
    bench.disk.end_process();
    bench
}

/// Of the reads that are not to wait, one of so many is cold. There is no room to write.
fn be_cold(bench: &Bench, cold_every: u64) {
    bench.disk.set_faults(SimFaults {
        cold_every,
        room: Some(0),
        ..SimFaults::default()
    });
}

/// Tries until everything is warm. Answers how often something was not.
fn read_cold(log: &Log, offset: Offset) -> (usize, Result<LogRead, ReadError>) {
    for tries in 0..TRIES_MAX {
        match log.read_cached(offset, 3_000, log.log_end_offset(), true) {
            Ok(read) => return (tries, read),
            Err(cold) => cold.wait(),
        }
    }
    panic!("{offset} is cold for ever");
}

#[test]
fn a_cold_read_gives_the_same_in_the_end() {
    let bench = stored();
    let expected = bench.open();
    let mut waited = 0;
    for cold_every in 6..16 {
        let log = bench.open();
        be_cold(&bench, cold_every);
        for offset in (0..log.log_end_offset().0).map(Offset) {
            let (tries, read) = read_cold(&log, offset);
            let read = read.unwrap();
            let right = expected
                .read(offset, 3_000, log.log_end_offset(), true)
                .unwrap();
            assert_eq!(read.parts.concat(), right.parts.concat());
            assert_eq!(read.range, right.range);
            waited += tries;
        }
        let refused = bench.disk.counts().refused_writes;
        assert_eq!(refused, 0, "no index is built again because it was cold");
    }
    assert!(waited > 500, "{waited}");
}

#[test]
fn a_read_that_may_wait_is_never_cold() {
    let bench = stored();
    let log = bench.open();
    be_cold(&bench, 1);
    assert!(
        log.read_cached(Offset(0), 3_000, log.log_end_offset(), true)
            .is_err()
    );
    let read = log.read(Offset(0), 3_000, log.log_end_offset(), true);
    assert!(!read.unwrap().parts.is_empty());
}

#[test]
fn damage_is_found_by_a_cold_read_too() {
    let bench = stored();
    let name = "/data/topic-0/00000000000000000000.log";
    for position in [40, 200, 900] {
        bench.disk.flip_bit(Path::new(name), position, 3);
        for cold_every in 6..12 {
            let log = bench.open();
            be_cold(&bench, cold_every);
            let (_, read) = read_cold(&log, Offset(0));
            let right = log.read(Offset(0), 3_000, log.log_end_offset(), true);
            assert_eq!(
                read.map(|read| read.parts.concat())
                    .map_err(|error| error.to_string()),
                right
                    .map(|read| read.parts.concat())
                    .map_err(|error| error.to_string())
            );
        }
        bench.disk.flip_bit(Path::new(name), position, 3);
    }
}
