//! What a start after a kill reads (FAILURES.md S18).
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{NOW, TOPIC, append, batch, create, node_on, partition};
use millstream_env::sim::{SimClock, SimDisk};

const BATCH: usize = 200_000;
/// Batches whose producers are walked for again: 4 MiB at most, and what the last checkpoints were too early for.
const WALKED_MAX: u64 = 6 << 20;

/// What a start reads of a log with so many batches, of which the last was in flight.
fn read_by_a_start(batches: usize) -> u64 {
    let clock = Arc::new(SimClock::new(NOW));
    let disk = SimDisk::default();
    let node = node_on(&disk, &clock, &[]);
    create(&node, &[]);
    for number in 0..batches {
        if number % 10 == 9 {
            node.checkpoint();
        }
        append(&node, batch(NOW.0, BATCH));
    }
    drop(node);
    disk.end_process();
    let before = disk.bytes_read();
    let node = node_on(&disk, &clock, &[]);
    let partition = partition(&node, TOPIC, 0);
    let end = partition.lock().unwrap().log().log_end_offset();
    assert_eq!(end.0, batches as i64);
    disk.bytes_read() - before
}

#[test]
fn s18_a_start_reads_what_was_in_flight_and_little_of_what_is_there() {
    for batches in [50, 100] {
        let read = read_by_a_start(batches);
        let bounds = BATCH as u64..WALKED_MAX;
        assert!(bounds.contains(&read), "{read} after {batches} batches");
    }
}
