//! A broker that crashes again and again (FAILURES.md S19).
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{append, batch, create, timestamps_left};
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_model::WallTime;
use millstream_node::{Node, NodeConfig, OpenError};

const NOW: WallTime = WallTime(1_700_000_000_000);

struct Bench {
    disk: SimDisk,
    clock: Arc<SimClock>,
    node: Option<Node>,
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            disk: SimDisk::default(),
            clock: Arc::new(SimClock::new(NOW)),
            node: None,
        };
        bench.start(1).unwrap();
        bench
    }

    fn start(&mut self, node_id: i32) -> Result<(), OpenError> {
        let config = NodeConfig {
            node_id: millstream_model::NodeId(node_id),
            log_directories: vec!["/data".into()],
            auto_create_topics: false,
            group_shards: 1,
            safe_mode_crashes: 5,
            ..NodeConfig::default()
        };
        let random = Arc::new(SimRandom::new(1));
        let clock = Arc::clone(&self.clock);
        let node = Node::open(Arc::new(self.disk.clone()), clock, random, config)?;
        self.node = Some(node);
        Ok(())
    }

    fn end(&mut self) {
        self.node = None;
        self.disk.end_process();
    }

    /// Crashes, some time after the start, and starts again.
    fn crash(&mut self, life: Duration) {
        self.clock.advance(life);
        self.end();
        self.start(1).unwrap();
    }

    fn stop_cleanly(&mut self) {
        self.node().close().unwrap();
        self.end();
        self.start(1).unwrap();
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn is_safe(&self) -> bool {
        self.node().safe_mode().is_some()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn after_five_crashes_in_ten_minutes_a_start_is_safe_until_a_clean_stop() {
    let mut bench = Bench::new();
    for _ in 0..4 {
        bench.crash(MINUTE);
        assert!(!bench.is_safe());
    }
    bench.crash(MINUTE);
    let why = bench.node().safe_mode().unwrap();
    assert!(
        why.contains("5 crashes") && why.contains("millstream.safe.mode.crashes=5"),
        "{why}"
    );
    bench.crash(MINUTE);
    assert!(bench.is_safe(), "a crash in safe mode is one more");
    bench.stop_cleanly();
    assert!(!bench.is_safe());
    bench.crash(MINUTE);
    assert!(!bench.is_safe(), "counted from the start");
}

#[test]
fn crashes_far_apart_are_no_loop() {
    let mut bench = Bench::new();
    for _ in 0..20 {
        bench.crash(3 * MINUTE);
        assert!(!bench.is_safe());
    }
}

/// As a supervisor does with a broker that is set up wrongly.
#[test]
fn starts_that_are_refused_are_no_crashes() {
    let mut bench = Bench::new();
    bench.node().close().unwrap();
    bench.end();
    // Metadata that is damaged: refused after the start was noted.
    let file = bench.disk.files().into_iter().find(|(path, length)| {
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        is_log && path.to_str().unwrap().contains("metadata") && *length > 20
    });
    let (path, _) = file.unwrap();
    bench.disk.flip_bit(&path, 10, 0);
    for _ in 0..8 {
        bench.clock.advance(Duration::from_secs(1));
        assert!(bench.start(1).is_err());
        bench.disk.end_process();
    }
    bench.disk.flip_bit(&path, 10, 0);
    // Another node's: before anything is touched.
    for _ in 0..8 {
        assert!(bench.start(2).is_err());
        bench.disk.end_process();
    }
    bench.start(1).unwrap();
    assert!(!bench.is_safe());
}

#[test]
fn in_safe_mode_logs_are_left_as_they_are() {
    let mut bench = Bench::new();
    let configs = [
        ("internal.segment.bytes", "600"),
        ("retention.ms", "1000"),
        ("cleanup.policy", "delete"),
    ];
    create(bench.node(), &configs);
    for _ in 0..3 {
        append(bench.node(), batch(NOW.0, 500));
    }
    for _ in 0..5 {
        bench.crash(MINUTE);
    }
    assert!(bench.is_safe());
    bench.node().enforce_retention();
    assert_eq!(timestamps_left(bench.node()).len(), 3);
    bench.stop_cleanly();
    bench.node().enforce_retention();
    assert_eq!(timestamps_left(bench.node()), [] as [i64; 0]);
}
