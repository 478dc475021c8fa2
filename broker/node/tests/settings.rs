//! Settings of the broker and configs of topics arrive where they have their effect.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{create, node};
use millstream_log::LogConfig;
use millstream_node::Node;

/// The settings of the logs of a new topic of three partitions.
fn logs_of_new_topic(node: &Node, configs: &[(&str, &str)]) -> Vec<LogConfig> {
    let hosted = create(node, configs);
    let config = |partition: &Arc<millstream_replica::HostedPartition>| {
        *partition.lock().unwrap().log().config()
    };
    hosted.iter().map(config).collect()
}

#[test]
fn settings_of_the_file_reach_the_logs() {
    let node = node(&[
        ("log.roll.ms", "5000"),
        ("log.roll.jitter.ms", "300"),
        ("log.segment.bytes", "2000000"),
        ("log.index.interval.bytes", "77"),
        ("log.index.size.max.bytes", "888"),
    ]);
    let logs = logs_of_new_topic(&node, &[]);
    for log in &logs {
        let expected = LogConfig {
            segment_bytes: 2_000_000,
            segment_ms: 5000,
            segment_jitter_ms: 300,
            segment_jitter_seed: log.segment_jitter_seed,
            index_interval_bytes: 77,
            segment_index_bytes: 888,
            producer_expiration: Duration::from_secs(7),
            ..LogConfig::default()
        };
        assert_eq!(*log, expected);
    }
    let seeds: BTreeSet<u64> = logs.iter().map(|log| log.segment_jitter_seed).collect();
    assert_eq!(seeds.len(), 3, "each log rolls at times of its own");
}

#[test]
fn configs_of_a_topic_win_over_the_file() {
    let node = node(&[("log.roll.jitter.hours", "1"), ("log.roll.ms", "5000")]);
    assert_eq!(
        logs_of_new_topic(&node, &[])[0].segment_jitter_ms,
        3_600_000
    );
    let other = common::node(&[("log.roll.jitter.hours", "1")]);
    let configs = [("segment.jitter.ms", "40"), ("segment.ms", "60")];
    let log = logs_of_new_topic(&other, &configs)[2];
    assert_eq!((log.segment_jitter_ms, log.segment_ms), (40, 60));
}
