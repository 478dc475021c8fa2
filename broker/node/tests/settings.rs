//! Settings of the broker and configs of topics arrive where they have their effect.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use millstream_api::Proposal;
use millstream_coordinator::GroupConfig;
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_log::LogConfig;
use millstream_metadata::{ControllerSettings, NewTopic};
use millstream_model::{NodeId, RequestToken, WallTime};
use millstream_node::{CompactionConfig, Node, NodeConfig};

/// A node with these settings in its file.
fn node(settings: &[(&str, &str)]) -> Node {
    let given = settings.iter();
    let config = NodeConfig {
        node_id: NodeId(1),
        cluster_id: None,
        rack: None,
        log_directories: vec!["/data".into()],
        auto_create_topics: false,
        delete_topics: true,
        controller: ControllerSettings {
            file_configs: given.map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            ..ControllerSettings::default()
        },
        fetch_bytes_max: 1 << 20,
        fetch_wait_max: Duration::from_secs(1),
        groups: GroupConfig::default(),
        group_shards: 1,
        producer_expiration: Duration::from_secs(7),
        retention_interval: Duration::from_secs(300),
        compaction: CompactionConfig::default(),
    };
    let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000)));
    let random = Arc::new(SimRandom::new(1));
    Node::open(Arc::new(SimDisk::default()), clock, random, config).unwrap()
}

/// The settings of the logs of a new topic of three partitions.
fn logs_of_new_topic(node: &Node, configs: &[(&str, &str)]) -> Vec<LogConfig> {
    let given = configs.iter();
    let topic = NewTopic {
        name: "topic".to_owned(),
        partitions: 3,
        replication_factor: 1,
        assignments: Default::default(),
        configs: given
            .map(|(key, value)| (key.to_string(), Some(value.to_string())))
            .collect(),
    };
    let token = RequestToken {
        connection: 1,
        request: 1,
    };
    let _answered = node.propose(Proposal::CreateTopics {
        token,
        topics: vec![topic],
        validate_only: false,
    });
    let view = node.broker.view();
    let hosted = &view.topic("topic").unwrap().partitions;
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
    let other = self::node(&[("log.roll.jitter.hours", "1")]);
    let configs = [("segment.jitter.ms", "40"), ("segment.ms", "60")];
    let log = logs_of_new_topic(&other, &configs)[2];
    assert_eq!((log.segment_jitter_ms, log.segment_ms), (40, 60));
}
