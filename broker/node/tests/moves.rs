//! Partitions go to other log directories (KIP-113): nothing is lost whenever the power goes, and what cannot
//! be moved stays.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::disks::{Disks, EIO};
use common::{NOW, TOKEN, TOPIC, create_topic, fill, partition};
use millstream_api::{CompletionEvent, Effect, LogDirectoryState, ProposalAnswer};
use millstream_env::sim::{SimClock, SimRandom};
use millstream_env::{Clock, Disk};
use millstream_model::Offset;
use millstream_node::{MoveStep, Node, NodeConfig};

/// `file.delete.delay.ms`.
const DELETE_DELAY: Duration = Duration::from_secs(60);

/// A node on disks with a directory each.
struct Bench {
    directories: &'static [&'static str],
    topic: String,
    disks: Disks,
    clock: Arc<SimClock>,
    node: Option<Node>,
    starts: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench::on(&["/a", "/b"])
    }

    fn on(directories: &'static [&'static str]) -> Bench {
        Bench::with_topic(directories, TOPIC)
    }

    fn with_topic(directories: &'static [&'static str], topic: &str) -> Bench {
        let mut bench = Bench {
            directories,
            topic: topic.to_owned(),
            disks: Disks::at(directories),
            clock: Arc::new(SimClock::new(NOW)),
            node: None,
            starts: 0,
        };
        bench.start();
        create_topic(
            bench.node(),
            topic,
            1,
            &[("internal.segment.bytes", "1000")],
        );
        bench
    }

    fn start(&mut self) {
        self.starts += 1;
        let config = NodeConfig {
            log_directories: self.directories.iter().map(Into::into).collect(),
            auto_create_topics: false,
            group_shards: 1,
            move_bytes_max: 1000,
            ..NodeConfig::default()
        };
        self.clock = Arc::new(SimClock::new(NOW));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let random = Arc::new(SimRandom::new(self.starts));
        let disk = Arc::new(self.disks.clone());
        self.node = Some(Node::open(disk, clock, random, config).unwrap());
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn fill(&self, records: usize) {
        fill(
            self.node(),
            &partition(self.node(), &self.topic, 0),
            None,
            records,
        );
    }

    fn place(&self) -> usize {
        partition(self.node(), &self.topic, 0).directory()
    }

    fn ask(&self, directory: usize) {
        let node = self.node();
        node.broker
            .moves
            .ask(&partition(node, &self.topic, 0), directory);
    }

    /// Steps until there is nothing to do, and nothing left of where it was.
    fn move_all(&self) {
        self.only_move_all();
        self.clock.advance(DELETE_DELAY);
        while self.node().remove_step() {}
    }

    fn only_move_all(&self) {
        let mut effects = Vec::new();
        for directory in 0..self.node().directories() {
            while self.node().move_step(directory, &mut effects) != MoveStep::Idle {}
        }
    }

    /// The offsets that can be read, one after the other.
    fn readable(&self) -> std::ops::Range<i64> {
        let partition = partition(self.node(), &self.topic, 0);
        let locked = partition.lock().unwrap();
        let start = locked.log().log_start_offset();
        let mut next = start;
        while next < locked.high_watermark() {
            let read = locked.read(next, 1 << 20, true).unwrap();
            let range = read.range.unwrap();
            assert_eq!(range.start, next);
            next = range.end;
        }
        start.0..next.0
    }

    fn folders(&self, directory: &str) -> Vec<String> {
        let entries = self.disks.list(Path::new(directory)).unwrap();
        let folders = entries.iter().filter(|entry| entry.is_directory);
        let names = folders.map(|entry| entry.path.file_name().unwrap().to_str().unwrap());
        names
            .filter(|name| name.starts_with(&self.topic[..TOPIC.len()]))
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn a_partition_goes_to_another_directory_and_back() {
    let mut bench = Bench::new();
    assert_eq!(bench.place(), 0);
    bench.fill(40);
    bench.ask(1);
    bench.move_all();
    assert_eq!(bench.place(), 1);
    assert_eq!(bench.readable(), 0..40);
    assert!(bench.folders("/a").is_empty());
    assert_eq!(bench.folders("/b"), ["topic-0"]);
    bench.fill(10);
    bench.disks.crash(&SimRandom::new(1));
    bench.start();
    assert_eq!(bench.place(), 1);
    assert_eq!(bench.readable(), 0..50);
    bench.ask(0);
    bench.move_all();
    bench.fill(1);
    assert_eq!((bench.place(), bench.readable()), (0, 0..51));
    bench.disks.end_process();
    bench.start();
    assert_eq!((bench.place(), bench.readable()), (0, 0..51));
}

#[test]
fn what_is_appended_meanwhile_goes_along() {
    let bench = Bench::new();
    bench.fill(30);
    bench.ask(1);
    let mut effects = Vec::new();
    let mut records = 30;
    while bench.node().move_step(1, &mut effects) != MoveStep::Idle {
        bench.fill(3);
        records += 3;
    }
    assert!(records > 33, "several steps");
    assert_eq!((bench.place(), bench.readable()), (1, 0..records));
}

#[test]
fn deleted_records_stay_deleted() {
    let mut bench = Bench::new();
    bench.fill(40);
    let delete = |bench: &Bench, before| {
        let partition = partition(bench.node(), TOPIC, 0);
        let mut locked = partition.lock().unwrap();
        locked.handle_delete_records(before).unwrap();
    };
    delete(&bench, 17);
    bench.ask(1);
    bench.move_all();
    assert_eq!(bench.readable(), 17..40);
    // Before anybody writes a checkpoint of the running broker.
    bench.disks.crash(&SimRandom::new(1));
    bench.start();
    assert_eq!((bench.place(), bench.readable()), (1, 17..40));
}

/// Somebody may read there still; and what is large goes a piece at a time, for others wait for the disk.
#[test]
fn the_old_files_go_later_and_slowly() {
    let bench = Bench::new();
    bench.fill(40);
    bench.ask(1);
    bench.only_move_all();
    bench.ask(0);
    bench.only_move_all();
    let [old] = &bench.folders("/b")[..] else {
        panic!("one folder");
    };
    assert!(
        old.starts_with("topic-0.") && old.ends_with("-delete"),
        "{old}"
    );
    let large = Path::new("/b").join(old).join("large");
    let file = bench.disks.open(&large, true).unwrap();
    file.truncate(10 << 20).unwrap();
    assert!(!bench.node().remove_step(), "it is not time yet");
    bench.clock.advance(DELETE_DELAY);
    let mut lengths = vec![10];
    while bench.node().remove_step() {
        if let Ok(length) = bench.disks.length(&large) {
            lengths.push(length >> 20);
        }
    }
    lengths.dedup();
    assert_eq!(lengths, [10, 6, 2]);
    assert!(bench.folders("/b").is_empty());
    assert_eq!((bench.place(), bench.readable()), (0, 0..40));
}

/// At every step, and with every choice of what survives.
#[test]
fn whenever_the_power_goes_it_is_in_one_place_and_whole() {
    let mut ends = [0; 2];
    let longest = "t".repeat(249);
    for seed in 0..200 {
        let topic = [TOPIC, &longest][(seed / 12 % 2) as usize];
        let mut bench = Bench::with_topic(&["/a", "/b"], topic);
        bench.fill(25);
        bench.ask(1);
        let mut effects = Vec::new();
        for _ in 0..seed % 12 {
            bench.node().move_step(1, &mut effects);
        }
        bench.disks.crash(&SimRandom::new(seed));
        bench.start();
        ends[bench.place()] += 1;
        assert_eq!(bench.readable(), 0..25, "seed {seed}");
        bench.move_all();
        // A move that was interrupted begins anew, unless nothing of it was on the disk.
        assert_eq!(bench.readable(), 0..25, "seed {seed}");
        bench.fill(1);
        assert_eq!(bench.readable(), 0..26, "seed {seed}");
        let folders = bench.folders("/a").len() + bench.folders("/b").len();
        assert_eq!(folders, 1, "seed {seed}");
    }
    assert!(ends.iter().all(|count| *count > 0), "{ends:?}");
}

#[test]
fn asking_for_the_directory_that_it_is_in_ends_a_move() {
    let bench = Bench::new();
    bench.fill(40);
    bench.ask(1);
    bench.node().move_step(1, &mut Vec::new());
    assert_eq!(bench.folders("/b").len(), 1);
    bench.ask(0);
    bench.move_all();
    assert_eq!(bench.place(), 0);
    assert!(bench.folders("/b").is_empty());
    assert_eq!(bench.readable(), 0..40);
}

/// Between the end of a move and the next look at what is asked for.
#[test]
fn who_asks_too_late_has_it_moved_back() {
    let bench = Bench::new();
    bench.fill(5);
    let partition = partition(bench.node(), TOPIC, 0);
    let moves = &bench.node().broker.moves;
    moves.ask(&partition, 1);
    moves.ask(&partition, 0);
    assert!(moves.all().is_empty());
    // As if the move had ended all the same.
    partition.set_directory(1);
    moves.end_done(&partition, 0);
    assert_eq!(moves.all()[0].directory, 0);
    moves.end_done(&partition, 0);
    assert_eq!(moves.all()[0].directory, 0, "it is asked for still");
}

/// A disk that is slow takes its time, and holds up nobody who goes elsewhere.
#[test]
fn directories_are_moved_to_side_by_side() {
    let bench = Bench::on(&["/a", "/b", "/c"]);
    let second = "second";
    create_topic(bench.node(), second, 1, &[]);
    bench.fill(40);
    bench.ask(1);
    let effects = &mut Vec::new();
    assert_ne!(bench.node().move_step(1, effects), MoveStep::Idle);
    let other = partition(bench.node(), second, 0);
    let to = if other.directory() == 2 { 0 } else { 2 };
    bench.node().broker.moves.ask(&other, to);
    while bench.node().move_step(to, effects) != MoveStep::Idle {}
    assert_eq!((other.directory(), bench.place()), (to, 0));
    bench.move_all();
    assert_eq!((bench.place(), bench.readable()), (1, 0..40));
}

/// A copy of where it was is no copy of where it is.
#[test]
fn a_move_that_is_overtaken_by_another_begins_anew() {
    let bench = Bench::on(&["/a", "/b", "/c"]);
    bench.fill(40);
    let effects = &mut Vec::new();
    bench.ask(1);
    bench.node().move_step(1, effects);
    bench.ask(2);
    bench.node().move_step(2, effects);
    bench.ask(1);
    while bench.node().move_step(1, effects) != MoveStep::Idle {}
    assert_eq!(bench.place(), 1);
    bench.fill(3);
    bench.ask(2);
    bench.move_all();
    assert_eq!((bench.place(), bench.readable()), (2, 0..43));
    let folders: Vec<_> = bench
        .directories
        .iter()
        .flat_map(|directory| bench.folders(directory))
        .collect();
    assert_eq!(folders, ["topic-0"]);
}

#[test]
fn a_move_to_a_disk_that_fails_leaves_the_partition_where_it_is() {
    let bench = Bench::new();
    bench.fill(40);
    bench.ask(1);
    bench.disks.get("/b").fail_writes(EIO);
    bench.move_all();
    assert_eq!((bench.place(), bench.readable()), (0, 0..40));
    assert!(bench.node().broker.moves.all().is_empty());
    bench.fill(1);
    assert_eq!(bench.readable(), 0..41);
}

#[test]
fn a_sync_that_fails_in_the_new_directory_leaves_the_partition_where_it_is() {
    let bench = Bench::new();
    bench.fill(40);
    bench.ask(1);
    bench.disks.get("/b").fail_next_sync();
    bench.move_all();
    assert_eq!((bench.place(), bench.readable()), (0, 0..40));
    let offline = bench.node().offline_directories();
    assert_eq!(offline.len(), 1);
    assert_eq!(offline[0].0, Path::new("/b"));
}

/// A disk that fails is one to move away from, and what cannot be put away there must not come back.
#[test]
fn what_a_failing_disk_keeps_is_older_at_the_next_start() {
    let mut met = [0; 2];
    for seed in 0..30 {
        let mut bench = Bench::new();
        bench.ask(1);
        bench.move_all();
        bench.fill(20);
        bench.ask(0);
        let old = bench.disks.get("/b").disk.clone();
        old.break_below(Some(Path::new("/b")));
        bench.move_all();
        assert_eq!(bench.place(), 0);
        bench.fill(5);
        bench.disks.crash(&SimRandom::new(seed));
        met[bench
            .folders("/b")
            .iter()
            .filter(|name| *name == "topic-0")
            .count()] += 1;
        for _ in 0..2 {
            bench.start();
            assert_eq!((bench.place(), bench.readable()), (0, 0..25), "seed {seed}");
            bench.disks.end_process();
        }
        assert!(
            !bench.folders("/b").contains(&"topic-0".to_owned()),
            "seed {seed}"
        );
        bench.start();
        // What is not put away is in nobody's way either.
        bench.ask(1);
        bench.move_all();
        assert_eq!((bench.place(), bench.readable()), (1, 0..25), "seed {seed}");
    }
    assert!(met.iter().all(|count| *count > 0), "{met:?}");
}

#[test]
fn a_topic_that_is_deleted_meanwhile_leaves_nothing() {
    let bench = Bench::new();
    bench.fill(40);
    bench.ask(1);
    bench.node().move_step(1, &mut Vec::new());
    let id = bench.node().broker.view().topic(TOPIC).unwrap().id;
    bench
        .node()
        .propose(millstream_api::Proposal::DeleteTopics {
            token: TOKEN,
            topics: vec![millstream_metadata::TopicToDelete { name: None, id }],
        });
    bench.move_all();
    assert!(bench.folders("/a").is_empty() && bench.folders("/b").is_empty());
    assert!(bench.node().broker.moves.all().is_empty());
}

#[test]
fn a_flush_that_waits_in_the_old_directory_is_done_in_the_new() {
    let bench = Bench::new();
    bench.fill(5);
    let partition = partition(bench.node(), TOPIC, 0);
    bench.ask(1);
    // It is in the old directory's list when it moves.
    assert!(partition.mark_awaits_flush());
    bench.node().queue_flush(Arc::clone(&partition));
    bench.move_all();
    let effects = bench.node().flush(0);
    assert!(matches!(&effects[..], [Effect::Flush(again)] if again.directory() == 1));
    assert_eq!(bench.node().queue_flush(partition), Some(1));
    bench.node().flush(1);
}

#[test]
fn whenever_it_is_looked_for_it_is_in_one_directory() {
    let bench = Bench::new();
    bench.fill(5);
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..200 {
                bench.ask(number % 2);
                bench.move_all();
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
            let found = described(bench.node());
            let places = found.iter().map(|one| one.partitions.len());
            assert_eq!(places.sum::<usize>(), 1, "{found:?}");
        }
    });
}

#[test]
fn a_partition_on_its_way_is_described_in_both_directories() {
    let bench = Bench::new();
    bench.fill(40);
    bench.ask(1);
    bench.node().move_step(1, &mut Vec::new());
    let found = described(bench.node());
    let [a, b] = &found[..] else {
        panic!("two directories");
    };
    assert_eq!((a.partitions.len(), a.arriving.len()), (1, 0));
    assert_eq!((b.partitions.len(), b.arriving.len()), (0, 1));
    let arriving = &b.arriving[0];
    assert!(
        arriving.bytes > 0 && arriving.offset_lag > 0,
        "{arriving:?}"
    );
    assert!(Offset(arriving.offset_lag) < Offset(40));
}

fn described(node: &Node) -> Vec<LogDirectoryState> {
    let effects = node.describe_log_dirs(TOKEN, None);
    let Ok([Effect::Complete(completion)]) = <[Effect; 1]>::try_from(effects) else {
        panic!("one answer");
    };
    let CompletionEvent::Proposal(ProposalAnswer::LogDirsDescribed(found)) = completion.event
    else {
        panic!("a description");
    };
    found.into_iter().map(|one| one.state.unwrap()).collect()
}
