//! Retention as the node runs it: by which clock, and what is left for readers.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{append, batch, create, node_on, timestamps_left};
use millstream_env::sim::{SimClock, SimDisk};
use millstream_model::WallTime;

const START: WallTime = WallTime(1_700_000_000_000);
const DAY: Duration = Duration::from_secs(86_400);

fn batch_at(timestamp: i64) -> Bytes {
    batch(timestamp, 500)
}

/// Segments of one batch each; records live for a day.
const CONFIGS: [(&str, &str); 2] = [
    ("internal.segment.bytes", "600"),
    ("retention.ms", "86400000"),
];

#[test]
fn records_go_when_their_time_is_over() {
    let clock = std::sync::Arc::new(SimClock::new(START));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &CONFIGS);
    for hours in [0, 5, 10] {
        append(&node, batch_at(START.0 + hours * 3_600_000));
    }
    node.enforce_retention();
    assert_eq!(timestamps_left(&node).len(), 3);
    clock.advance(DAY + Duration::from_secs(6 * 3600));
    node.enforce_retention();
    assert_eq!(timestamps_left(&node), [START.0 + 36_000_000]);
}

/// FAILURES.md C1.
#[test]
fn a_wall_clock_set_forward_by_years_deletes_nothing() {
    let clock = std::sync::Arc::new(SimClock::new(START));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &CONFIGS);
    append(&node, batch_at(START.0));
    append(&node, batch_at(START.0 + 1));
    clock.set_wall(10 * 365 * DAY);
    node.enforce_retention();
    assert_eq!(timestamps_left(&node).len(), 2);
    // What the clock really says a day later is right again.
    clock.set_wall(Duration::ZERO);
    clock.advance(DAY + Duration::from_secs(1));
    node.enforce_retention();
    assert_eq!(timestamps_left(&node), [] as [i64; 0]);
}

#[test]
fn the_files_of_a_deleted_partition_are_left_to_the_new_topic_of_the_name() {
    let clock = std::sync::Arc::new(SimClock::new(START));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    let partition = std::sync::Arc::clone(&create(&node, &CONFIGS)[0]);
    for _ in 0..3 {
        append(&node, batch_at(START.0));
    }
    let mut locked = partition.lock().unwrap();
    let start = locked.handle_delete_records(-1).unwrap();
    assert_eq!(locked.log().segment_count(), 3);
    // The topic goes between the move of the start and the removal.
    locked.handle_deleted();
    assert!(locked.take_out_segments(start).unwrap().is_empty());
    assert_eq!(locked.log().segment_count(), 3);
}
