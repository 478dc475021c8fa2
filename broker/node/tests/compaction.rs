//! Which log is compacted, and what happens to a pass when its topic or its disk goes.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{NOW, TOKEN, create_topic, fill, partition};
use millstream_api::Proposal;
use millstream_coordinator::GroupConfig;
use millstream_env::Disk;
use millstream_env::sim::{SimClock, SimDisk, SimFaults, SimRandom};
use millstream_metadata::{ControllerSettings, TopicToDelete};
use millstream_model::{NodeId, TopicId};
use millstream_node::{CompactionConfig, Node, NodeConfig};
use millstream_protocol::records::{BatchBuilder, Codec};
use millstream_replica::HostedPartition;

struct Bench {
    node: Node,
    disk: SimDisk,
    clock: Arc<SimClock>,
}

impl Bench {
    fn new() -> Bench {
        let disk = SimDisk::default();
        let clock = Arc::new(SimClock::new(NOW));
        let config = NodeConfig {
            node_id: NodeId(1),
            cluster_id: None,
            rack: None,
            log_directories: vec!["/a".into(), "/b".into()],
            auto_create_topics: false,
            delete_topics: true,
            controller: ControllerSettings::default(),
            fetch_bytes_max: 1 << 20,
            fetch_wait_max: Duration::from_secs(1),
            groups: GroupConfig::default(),
            group_shards: 1,
            producer_expiration: Duration::from_secs(86_400),
            retention_interval: Duration::from_secs(300),
            compaction: CompactionConfig {
                map_bytes: 1 << 16,
                ..CompactionConfig::default()
            },
            ..NodeConfig::default()
        };
        let random = Arc::new(SimRandom::new(1));
        let opened = Node::open(Arc::new(disk.clone()), clock.clone(), random, config);
        Bench {
            node: opened.unwrap(),
            disk,
            clock,
        }
    }

    fn create(&self, name: &str, partitions: i32, policy: &str) {
        let configs = [
            ("cleanup.policy", policy),
            ("internal.segment.bytes", "1000"),
            ("file.delete.delay.ms", "0"),
        ];
        create_topic(&self.node, name, partitions, &configs);
    }

    fn partition(&self, name: &str, index: usize) -> Arc<HostedPartition> {
        partition(&self.node, name, index)
    }

    /// Appends a record of one key so many times, and flushes.
    fn fill(&self, partition: &Arc<HostedPartition>, records: usize) {
        fill(&self.node, partition, Some(b"key"), records);
    }

    fn compact(&self) -> bool {
        self.node.compact_once(&mut |_| true, &mut Vec::new())
    }
}

fn size_of_batch() -> u64 {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(NOW.0, Some(b"key"), Some(&[b'v'; 100]), []);
    builder.build(0, -1).len() as u64
}

fn size(partition: &HostedPartition) -> u64 {
    partition.lock().unwrap().log().size_in_bytes()
}

#[test]
fn the_dirtiest_log_of_all_directories_is_compacted_first_and_others_are_not() {
    let bench = Bench::new();
    bench.create("kept", 1, "delete");
    bench.create("compacted", 2, "compact");
    let kept = bench.partition("kept", 0);
    let (small, large) = (
        bench.partition("compacted", 0),
        bench.partition("compacted", 1),
    );
    assert_ne!(small.directory(), large.directory());
    assert!(!bench.compact(), "nothing is there");
    bench.fill(&kept, 40);
    bench.fill(&small, 40);
    assert!(bench.compact());
    bench.fill(&small, 10);
    bench.fill(&large, 40);
    let (before_small, before_large) = (size(&small), size(&large));
    assert!(bench.compact());
    assert_eq!(size(&small), before_small);
    assert!(size(&large) < before_large / 3);
    let mut bytes = 0;
    let mut pause = |step| {
        bytes += step;
        true
    };
    assert!(bench.node.compact_once(&mut pause, &mut Vec::new()));
    assert!(bytes >= before_small, "read twice, and some of it written");
    assert!(size(&small) < before_small);
    assert!(!bench.compact(), "all are clean");
    assert!(size(&kept) > 40 * 100);
    let put_away = || {
        let entries = bench.disk.list(Path::new("/b/compacted-0")).unwrap();
        let gone = |path: &Path| path.extension().is_some_and(|end| end == "deleted");
        entries.iter().filter(|entry| gone(&entry.path)).count()
    };
    assert!(put_away() > 0);
    while bench.node.remove_step() {}
    assert_eq!(put_away(), 0);
}

#[test]
fn a_pass_ends_with_its_topic_and_leaves_a_new_one_of_the_name_alone() {
    // The topic is replaced before each step in turn.
    for replaced_at in 0..30 {
        let bench = Bench::new();
        bench.create("topic", 1, "compact");
        bench.fill(&bench.partition("topic", 0), 40);
        let mut step = 0;
        let mut pause = |_| {
            if step == replaced_at {
                let topic = TopicToDelete {
                    name: Some("topic".to_owned()),
                    id: TopicId::ZERO,
                };
                let _answered = bench.node.propose(Proposal::DeleteTopics {
                    token: TOKEN,
                    topics: vec![topic],
                });
                bench.create("topic", 1, "compact");
                bench.fill(&bench.partition("topic", 0), 40);
            }
            step += 1;
            true
        };
        assert!(bench.node.compact_once(&mut pause, &mut Vec::new()));
        let partition = bench.partition("topic", 0);
        if step > replaced_at {
            assert_eq!(size(&partition), 40 * size_of_batch());
        }
        assert_eq!(partition.lock().unwrap().log().log_end_offset().0, 40);
    }
}

#[test]
fn a_full_disk_ends_the_pass() {
    let bench = Bench::new();
    bench.create("topic", 1, "compact");
    let partition = bench.partition("topic", 0);
    bench.fill(&partition, 40);
    let before = size(&partition);
    bench.disk.set_faults(SimFaults {
        room: Some(100),
        ..SimFaults::default()
    });
    assert!(bench.compact());
    assert_eq!(size(&partition), before);
    bench.disk.set_faults(SimFaults::default());
    assert!(!bench.compact(), "it is left alone for a while");
    bench.clock.advance(Duration::from_secs(601));
    assert!(bench.compact());
    assert!(size(&partition) < before / 3);
}

#[test]
fn a_failed_sync_ends_the_pass_or_the_directory() {
    let mut outcomes = Vec::new();
    for fails_at in 0..12 {
        let bench = Bench::new();
        bench.create("topic", 1, "compact");
        let partition = bench.partition("topic", 0);
        bench.fill(&partition, 40);
        let before = size(&partition);
        let mut step = 0;
        let mut pause = |_| {
            if step == fails_at {
                bench.disk.set_faults(SimFaults {
                    fail_next_sync: true,
                    ..SimFaults::default()
                });
            }
            step += 1;
            true
        };
        assert!(bench.node.compact_once(&mut pause, &mut Vec::new()));
        let is_offline = partition.lock().unwrap().is_offline();
        outcomes.push(is_offline);
        if !is_offline {
            bench.disk.set_faults(SimFaults::default());
            bench.clock.advance(Duration::from_secs(601));
            bench.compact();
            assert!(size(&partition) < before / 3, "step {fails_at}");
        }
    }
    // Of names, and of files that nothing depends on yet.
    assert!(outcomes.contains(&true) && outcomes.contains(&false));
}
