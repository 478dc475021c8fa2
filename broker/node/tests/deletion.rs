//! Topics that are deleted: their files go later, a piece at a time, and nothing stands in the way of the next of
//! their name.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{NOW, TOKEN, TOPIC, create_topic, fill, node_on, partition};
use millstream_api::Proposal;
use millstream_env::Disk;
use millstream_env::sim::{SimClock, SimDisk};
use millstream_metadata::TopicToDelete;
use millstream_model::TopicId;
use millstream_node::Node;

/// `file.delete.delay.ms`.
const DELETE_DELAY: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

fn delete(node: &Node, topic: &str) {
    node.propose(Proposal::DeleteTopics {
        token: TOKEN,
        topics: vec![TopicToDelete {
            name: Some(topic.to_owned()),
            id: TopicId::ZERO,
        }],
    });
}

/// The folders of partitions.
fn folders(disk: &SimDisk, data: &Path) -> Vec<PathBuf> {
    let entries = disk.list(data).unwrap();
    let folders = entries.into_iter().filter(|entry| entry.is_directory);
    let folders = folders.map(|entry| entry.path);
    folders
        .filter(|path| !path.ends_with("__millstream_metadata"))
        .collect()
}

struct Bench {
    disk: SimDisk,
    clock: Arc<SimClock>,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            disk: SimDisk::default(),
            clock: Arc::new(SimClock::new(NOW)),
        }
    }

    fn start(&self) -> Node {
        node_on(&self.disk, &self.clock, &[])
    }

    fn kill(&self, node: Node) {
        drop(node);
        self.disk.end_process();
    }

    /// Where the only partition lies.
    fn folder(&self, node: &Node) -> PathBuf {
        let data = PathBuf::from(&node.broker.config.log_directories[0]);
        let [folder] = &folders(&self.disk, &data)[..] else {
            panic!("{:?}", folders(&self.disk, &data));
        };
        folder.clone()
    }

    /// A topic with a large file, which is deleted. Answers where that file lies now.
    fn delete_large(&self, node: &Node) -> PathBuf {
        create_topic(node, TOPIC, 1, &[]);
        fill(node, &partition(node, TOPIC, 0), None, 3);
        let large = self.folder(node).join("large");
        let file = self.disk.open(&large, true).unwrap();
        file.truncate(10 * MIB).unwrap();
        delete(node, TOPIC);
        self.folder(node).join("large")
    }

    /// The lengths that a file has while it is being removed.
    fn lengths(&self, node: &Node, file: &Path) -> Vec<u64> {
        let mut lengths = Vec::new();
        while node.remove_step() {
            lengths.extend(self.disk.length(file).map(|length| length / MIB));
        }
        lengths.dedup();
        lengths
    }
}

#[test]
fn files_go_when_nobody_reads_them_any_more_a_piece_at_a_time() {
    let bench = Bench::new();
    let node = bench.start();
    let large = bench.delete_large(&node);
    assert!(!node.remove_step(), "it is not time yet");
    bench.clock.advance(DELETE_DELAY);
    assert_eq!(bench.lengths(&node, &large), [10, 6, 2]);
    assert!(bench.disk.list(large.parent().unwrap()).is_err());
}

/// A start frees nothing itself, and what it found goes at once.
#[test]
fn what_a_kill_leaves_is_removed_by_the_next_run() {
    let bench = Bench::new();
    let node = bench.start();
    let large = bench.delete_large(&node);
    bench.kill(node);
    let node = bench.start();
    assert_eq!(bench.disk.length(&large).unwrap(), 10 * MIB);
    assert_eq!(bench.lengths(&node, &large), [10, 6, 2]);
    assert!(bench.disk.list(large.parent().unwrap()).is_err());
}

#[test]
fn the_longest_name_is_free_again_at_once_and_after_a_start() {
    let bench = Bench::new();
    let longest = "t".repeat(249);
    let mut node = bench.start();
    for is_killed in [false, true, false] {
        create_topic(&node, &longest, 1, &[]);
        let hosted = partition(&node, &longest, 0);
        assert!(!hosted.is_offline());
        assert_eq!(hosted.lock().unwrap().log().log_end_offset().0, 0);
        fill(&node, &hosted, None, 3);
        delete(&node, &longest);
        if is_killed {
            bench.kill(node);
            node = bench.start();
        }
    }
    bench.clock.advance(DELETE_DELAY);
    while node.remove_step() {}
    let data = PathBuf::from(&node.broker.config.log_directories[0]);
    assert_eq!(folders(&bench.disk, &data), Vec::<PathBuf>::new());
}
