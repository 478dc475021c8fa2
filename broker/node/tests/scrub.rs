//! Which segment is scrubbed, when, and what is refused of one that is damaged.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::{NOW, create_topic, fill, partition};
use millstream_env::Disk;
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_log::ScrubOutcome;
use millstream_model::{NodeId, Offset};
use millstream_node::{Node, NodeConfig, ScrubConfig};
use millstream_replica::HostedPartition;

const INTERVAL: Duration = Duration::from_secs(1000);

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
            log_directories: vec!["/a".into()],
            scrub: ScrubConfig {
                bytes_per_second_max: 1,
                interval: INTERVAL,
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

    fn create(&self, name: &str, partitions: i32) {
        let configs = [("internal.segment.bytes", "1000")];
        create_topic(&self.node, name, partitions, &configs);
    }

    fn partition(&self, name: &str, index: usize) -> Arc<HostedPartition> {
        partition(&self.node, name, index)
    }

    /// Appends records of 171 bytes each, one a batch, and flushes.
    fn fill(&self, partition: &Arc<HostedPartition>, records: usize) {
        fill(&self.node, partition, None, records);
    }

    fn scrub(&self) -> Option<ScrubOutcome> {
        self.node.scrub_once(&mut |_| true)
    }

    /// Scrubs while there is something to scrub. Answers how many segments, and how many were new.
    fn scrub_all(&self) -> (usize, usize) {
        let (mut all, mut new) = (0, 0);
        while let Some(outcome) = self.scrub() {
            all += 1;
            let is_new = ScrubOutcome::Whole {
                is_digest_new: true,
            };
            new += usize::from(outcome == is_new);
        }
        (all, new)
    }

    fn digests(&self, folder: &str) -> usize {
        let entries = self.disk.list(&Path::new("/a").join(folder)).unwrap();
        let is_digest = |path: &PathBuf| path.extension().is_some_and(|end| end == "digest");
        entries
            .iter()
            .filter(|entry| is_digest(&entry.path))
            .count()
    }
}

#[test]
fn new_segments_come_first_and_all_of_them_once_in_an_interval() {
    let bench = Bench::new();
    assert_eq!(bench.scrub(), None);
    bench.create("some", 3);
    for (index, records) in [12, 7, 40].into_iter().enumerate() {
        bench.fill(&bench.partition("some", index), records);
    }
    // Five batches a segment, and the last one is active: 2, 1 and 7 are sealed.
    let mut new = 0;
    for _ in 0..10 {
        new += usize::from(
            bench.scrub()
                == Some(ScrubOutcome::Whole {
                    is_digest_new: true,
                }),
        );
    }
    assert_eq!(new, 10);
    let folders = ["some-0", "some-1", "some-2"];
    assert_eq!(folders.map(|folder| bench.digests(folder)), [2, 1, 7]);
    // What is left of the pass that began at a random place, and a whole one.
    let (all, new) = bench.scrub_all();
    assert!((10..=20).contains(&all), "{all}");
    assert_eq!((new, bench.scrub_all()), (0, (0, 0)));
    bench.clock.advance(INTERVAL / 2);
    bench.fill(&bench.partition("some", 1), 5);
    assert_eq!(bench.scrub_all(), (1, 1));
    bench.clock.advance(INTERVAL);
    assert_eq!(bench.scrub_all(), (11, 0));
    assert_eq!(bench.scrub_all(), (0, 0));
}

#[test]
fn damage_is_found_in_the_background_and_only_it_is_refused() {
    let bench = Bench::new();
    bench.create("some", 1);
    let partition = bench.partition("some", 0);
    bench.fill(&partition, 12);
    assert!(bench.scrub_all().0 >= 2);
    partition.lock().unwrap().log_mut().release_resources();
    let log = PathBuf::from("/a/some-0/00000000000000000005.log");
    bench.disk.flip_bit(&log, 3 * 168 + 100, 1);
    bench.clock.advance(INTERVAL);
    let first = bench.scrub();
    assert_eq!(
        first,
        Some(ScrubOutcome::Whole {
            is_digest_new: false
        })
    );
    let Some(ScrubOutcome::Damaged(ranges)) = bench.scrub() else {
        panic!("it is not found");
    };
    assert_eq!((ranges.len(), &ranges[0].path), (1, &log));
    let refused = ranges[0].offsets.start;
    let locked = partition.lock().unwrap();
    for offset in (0..12).map(Offset) {
        let read = locked.read(offset, 1, true);
        assert_eq!(read.is_err(), offset == refused, "{offset}");
    }
}

#[test]
fn a_stop_or_a_deleted_topic_leaves_nothing_behind() {
    let bench = Bench::new();
    bench.create("some", 1);
    let partition = bench.partition("some", 0);
    bench.fill(&partition, 12);
    assert_eq!(
        bench.node.scrub_once(&mut |_| false),
        Some(ScrubOutcome::Gone)
    );
    assert_eq!(bench.digests("some-0"), 0);
    partition.mark_deleted();
    assert_eq!(bench.scrub(), None);
}
