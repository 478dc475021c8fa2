//! Several log directories: where partitions go, what a directory that fails takes with it, and that
//! nothing begins again somewhere because it was not found (FAILURES.md S13).
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::disks::{Disks, EIO, EROFS, Mounted};
use common::{TOKEN, batch};
use millstream_api::{
    AnswerLimits, AnswerQueue, Client, Context, Effect, HostPort, Proposal, handle_frame,
};
use millstream_env::Disk;
use millstream_env::sim::{SimClock, SimRandom};
use millstream_metadata::{NewTopic, OFFSETS_TOPIC, PartitionRecord, Record};
use millstream_model::{Offset, WallTime};
use millstream_node::{Node, NodeConfig, OpenError};
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    MetadataRequest, MetadataResponse,
};
use millstream_protocol::records::{BatchHeader, ValidatedBatch};
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ErrorCode, Request};
use millstream_replica::{Acks, HostedPartition, Waiter};

const NOW: WallTime = WallTime(1_700_000_000_000);
const WAITER: Waiter = Waiter {
    token: TOKEN,
    slot: 0,
};

/// A node on the disks `/a`, `/b` and `/c`.
struct Bench {
    disks: Disks,
    node: Option<Node>,
    starts: u64,
    recovery_threads: usize,
}

impl Bench {
    fn new() -> Bench {
        let mut bench = Bench {
            disks: Disks::at(&["/a", "/b", "/c"]),
            node: None,
            starts: 0,
            recovery_threads: 1,
        };
        bench.start().unwrap();
        bench
    }

    fn start(&mut self) -> Result<(), String> {
        self.starts += 1;
        let config = NodeConfig {
            log_directories: vec!["/a".into(), "/b".into(), "/c".into()],
            auto_create_topics: false,
            group_shards: 3,
            recovery_threads: self.recovery_threads,
            ..NodeConfig::default()
        };
        let clock = Arc::new(SimClock::new(NOW));
        let random = Arc::new(SimRandom::new(self.starts));
        let disk = Arc::new(self.disks.clone());
        match Node::open(disk, clock, random, config) {
            Ok(node) => self.node = Some(node),
            Err(error @ (OpenError::Failed { .. } | OpenError::Refused { .. })) => {
                return Err(error.to_string());
            }
        }
        Ok(())
    }

    fn kill(&mut self) {
        self.node = None;
        self.disks.end_process();
    }

    fn restart(&mut self) {
        self.kill();
        self.start().unwrap();
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn create(&self, name: &str, partitions: i32) -> Vec<Effect> {
        self.node().propose(Proposal::CreateTopics {
            token: TOKEN,
            topics: vec![NewTopic {
                name: name.to_owned(),
                partitions,
                replication_factor: 1,
                ..NewTopic::default()
            }],
            validate_only: false,
        })
    }

    fn partitions(&self, topic: &str) -> Vec<Arc<HostedPartition>> {
        let view = self.node().broker.view();
        view.topic(topic).unwrap().partitions.clone()
    }

    fn places(&self, topic: &str) -> Vec<usize> {
        let partitions = self.partitions(topic);
        partitions
            .iter()
            .map(|partition| partition.directory())
            .collect()
    }

    fn offline(&self, topic: &str) -> Vec<bool> {
        let partitions = self.partitions(topic);
        partitions
            .iter()
            .map(|partition| partition.is_offline())
            .collect()
    }

    /// Appends a record and flushes; answers whether the record is durable.
    fn append(&self, partition: &Arc<HostedPartition>) -> bool {
        let batch = batch(NOW.0, 100);
        let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
        let Ok(mut locked) = partition.lock() else {
            return false;
        };
        let appended = locked.handle_append(batch, usize::MAX, &validated, Acks::All, WAITER, NOW);
        let is_offline = locked.log().is_offline();
        drop(locked);
        if (appended.is_ok() || is_offline) && partition.mark_awaits_flush() {
            self.node().queue_flush(Arc::clone(partition));
        }
        self.node().flush(partition.directory());
        let is_durable = |end| partition.lock().unwrap().high_watermark() >= end;
        appended.is_ok_and(|append| is_durable(append.appended.last_offset.next()))
    }

    fn append_to_all(&self, topic: &str) -> Vec<bool> {
        let partitions = self.partitions(topic);
        partitions
            .iter()
            .map(|partition| self.append(partition))
            .collect()
    }

    /// The ends of a topic's logs; `None` where they are offline.
    fn ends(&self, topic: &str) -> Vec<Option<i64>> {
        let partitions = self.partitions(topic);
        let end = |partition: &Arc<HostedPartition>| {
            let locked = partition.lock().ok()?;
            (!locked.is_offline()).then(|| locked.high_watermark().0)
        };
        partitions.iter().map(end).collect()
    }

    /// Sends a request; answers what is sent back at once, or by the effects of the step.
    fn call<'m, R: Request + Message<'m>>(&self, version: i16, request: &R) -> Bytes {
        let frame = encode_request(0, "test", version, request).unwrap();
        let bytes = Bytes::from(frame.parts.concat()).slice(4..);
        let client = Client {
            host: "/127.0.0.1".to_owned(),
            advertised: "localhost:9092".parse::<HostPort>().unwrap(),
        };
        let broker = &self.node().broker;
        let mut answers = AnswerQueue::new(1, AnswerLimits::default());
        let mut effects = Vec::new();
        let mut context = Context {
            now: self.node().now(),
            wall: NOW,
            token: answers.next_token(),
            client: &client,
            effects: &mut effects,
            may_wait: false,
        };
        let handled = handle_frame(broker, &mut context, &bytes);
        answers.push(handled).unwrap();
        for effect in std::mem::take(context.effects) {
            if let Effect::Complete(completion) = effect {
                let handled = answers.handle_completion(broker, &mut context, completion);
                handled.unwrap();
            }
        }
        let answer = answers.pop_ready().unwrap();
        Bytes::from(answer.parts.concat()).slice(4..)
    }
}

fn decode<'a, R: Request, M: Message<'a>>(answer: &'a Bytes, version: i16) -> M {
    let mut decoder = Decoder::new(answer);
    decode_response_header(&mut decoder, R::API_KEY, version).unwrap();
    M::decode(&mut decoder, version).unwrap()
}

#[test]
fn logs_that_are_opened_side_by_side_are_each_in_their_place() {
    let mut bench = Bench::new();
    bench.create("orders", 40);
    bench.create("bills", 5);
    let orders = bench.partitions("orders");
    for (count, partition) in orders.iter().enumerate() {
        for _ in 0..count % 7 {
            assert!(bench.append(partition));
        }
    }
    let before = (bench.places("orders"), bench.ends("orders"));
    drop(orders);
    bench.recovery_threads = 4;
    bench.restart();
    assert_eq!((bench.places("orders"), bench.ends("orders")), before);
    let names = bench.partitions("orders").into_iter();
    let names: Vec<_> = names.map(|partition| partition.name.partition).collect();
    assert_eq!(names, (0..40).collect::<Vec<_>>());
    assert_eq!(bench.ends("bills"), [Some(0); 5]);
    assert!(bench.append_to_all("orders").iter().all(|taken| *taken));
}

#[test]
fn new_partitions_go_where_the_fewest_are() {
    let mut bench = Bench::new();
    bench.create("seven", 7);
    assert_eq!(bench.places("seven"), [0, 1, 2, 0, 1, 2, 0]);
    bench.create("two", 2);
    assert_eq!(bench.places("two"), [1, 2]);
    bench.create("one", 1);
    assert_eq!(bench.places("one"), [0]);
    // Where the topics are deleted there is room again.
    bench.node().propose(Proposal::DeleteTopics {
        token: TOKEN,
        topics: vec![millstream_metadata::TopicToDelete {
            name: Some("two".to_owned()),
            id: millstream_model::TopicId::ZERO,
        }],
    });
    bench.create("again", 3);
    assert_eq!(bench.places("again"), [1, 2, 1]);
    bench.restart();
    assert_eq!(bench.places("seven"), [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!(bench.places("again"), [1, 2, 1]);
}

#[test]
fn a_failed_sync_takes_the_partitions_of_its_directory_and_no_others() {
    let mut bench = Bench::new();
    bench.create("topic", 6);
    assert_eq!(bench.append_to_all("topic"), [true; 6]);
    bench.disks.get("/b").fail_next_sync();
    let lost = [false, true, false, false, true, false];
    assert_eq!(bench.append_to_all("topic"), lost.map(|lost| !lost));
    assert_eq!(bench.offline("topic"), lost);
    assert_eq!(bench.append_to_all("topic"), lost.map(|lost| !lost));
    let offline = bench.node().offline_directories();
    assert_eq!(offline.len(), 1);
    assert_eq!(offline[0].0, Path::new("/b"));
    // What is created now goes to the others.
    bench.create("later", 4);
    assert_eq!(bench.places("later"), [0, 2, 0, 2]);
    bench.node().close().unwrap();
    bench.restart();
    let ends = [3, 1, 3, 3, 1, 3].map(Some);
    assert_eq!(bench.ends("topic"), ends);
}

#[test]
fn a_write_that_a_broken_file_system_refuses_takes_its_directory_and_a_full_disk_does_not() {
    for (errno, is_lost) in [(EIO, true), (EROFS, true), (28, false), (24, false)] {
        let bench = Bench::new();
        bench.create("topic", 6);
        bench.append_to_all("topic");
        bench.disks.get("/b").fail_writes(errno);
        let partition = Arc::clone(&bench.partitions("topic")[1]);
        assert!(!bench.append(&partition));
        let lost = [false, is_lost, false, false, is_lost, false];
        assert_eq!(bench.offline("topic"), lost, "errno {errno}");
        bench.disks.get("/b").fail_writes(0);
        assert_eq!(bench.append(&partition), !is_lost, "errno {errno}");
    }
}

#[test]
fn checkpoints_that_cannot_be_written_take_their_directory_and_the_others_are_noted() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.disks.get("/a").fail_writes(28);
    bench.disks.get("/b").fail_writes(EROFS);
    bench.node().checkpoint();
    assert_eq!(bench.offline("topic"), [false, true, false]);
    let noted = millstream_log::Checkpoint::read(&bench.disks, Path::new("/c"));
    let entries = noted.unwrap().unwrap().entries;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].noted.recovery_point, Offset(1));
    bench.restart();
    assert_eq!(bench.ends("topic"), [Some(1); 3]);
}

#[test]
fn a_directory_that_cannot_be_read_at_the_start_is_offline_until_it_can() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.node().close().unwrap();
    bench.kill();
    bench.disks.get("/b").fail_all(EIO);
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1), None, Some(1)]);
    bench.append_to_all("topic");
    bench.create("new", 2);
    assert_eq!(bench.places("new"), [0, 2]);
    bench.node().close().unwrap();
    bench.restart();
    assert_eq!(bench.ends("topic"), [Some(2), Some(1), Some(2)]);
}

#[test]
fn a_directory_that_is_mounted_read_only_or_does_not_sync_is_offline() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.kill();
    bench.disks.get("/c").fail_writes(EROFS);
    bench.disks.get("/b").fail_next_sync();
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1), None, None]);
    let offline = bench.node().offline_directories();
    assert!(offline[0].1.contains("a sync failed"), "{}", offline[0].1);
}

#[test]
fn without_the_directory_of_the_metadata_log_there_is_no_start() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.kill();
    bench.disks.get("/a").fail_all(EIO);
    let refused = bench.start().unwrap_err();
    assert!(
        refused.contains("/a") && refused.contains("metadata log"),
        "{refused}"
    );
}

/// A new disk under the old path, or none there: what was on the old one is not begun again.
#[test]
fn partitions_of_a_disk_that_was_taken_out_stay_offline_until_it_is_back() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.kill();
    let taken_out = bench.disks.replace("/b", Mounted::default());
    for _ in 0..2 {
        bench.start().unwrap();
        assert_eq!(bench.ends("topic"), [Some(1), None, Some(1)]);
        assert!(bench.disks.list(Path::new("/b/topic-1")).is_err());
        bench.kill();
    }
    // The new disk is used for what is new.
    bench.start().unwrap();
    bench.create("new", 1);
    assert_eq!(bench.places("new"), [1]);
    bench.kill();
    let new = bench.disks.replace("/b", taken_out);
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1); 3]);
    assert_eq!(bench.ends("new"), [None]);
    bench.kill();
    new.disk.rename(Path::new("/b"), Path::new("/c")).unwrap();
    bench.disks.replace("/c", new);
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1), Some(1), None]);
    assert_eq!(
        bench.ends("new"),
        [Some(0)],
        "a directory is known by its id"
    );
}

#[test]
fn a_partition_in_two_directories_or_in_the_wrong_one_is_offline_and_nothing_is_touched() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.kill();
    bench.disks.copy_folder("/b/topic-1", "/c/topic-1");
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1), None, Some(1)]);
    bench.kill();
    bench
        .disks
        .get("/b")
        .disk
        .remove_directory(Path::new("/b/topic-1"))
        .unwrap();
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1), None, Some(1)]);
    assert!(bench.disks.list(Path::new("/c/topic-1")).is_ok());
    bench.kill();
    bench.disks.copy_folder("/c/topic-1", "/b/topic-1");
    bench
        .disks
        .get("/c")
        .disk
        .remove_directory(Path::new("/c/topic-1"))
        .unwrap();
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1); 3]);
}

#[test]
fn a_copy_of_a_directory_is_not_taken_for_another_one() {
    let mut bench = Bench::new();
    bench.kill();
    let copy = Mounted::of(bench.disks.get("/b").disk.copy());
    copy.disk.rename(Path::new("/b"), Path::new("/c")).unwrap();
    bench.disks.replace("/c", copy);
    let refused = bench.start().unwrap_err();
    assert!(refused.contains("directory.id of /b"), "{refused}");
}

impl Bench {
    /// Has the metadata say of a topic's partitions what records of before said: nothing of where they are.
    fn forget_places(&self, topic: &str) {
        let disk = Arc::new(self.disks.clone());
        let directory = Path::new("/a").join(millstream_quorum::DIRECTORY_NAME);
        let image = Arc::clone(&self.node().broker.view().image);
        let topic = image.topic(topic).unwrap();
        let record = |index: usize| {
            Record::from(PartitionRecord {
                topic_id: topic.id.0.to_vec(),
                partition: index as i32,
                leader: 1,
                leader_epoch: topic.partitions[index].leader_epoch.0,
                replicas: vec![1],
                isr: vec![1],
                partition_epoch: 0,
                directories: Vec::new(),
            })
        };
        let records = (0..topic.partitions.len()).map(|index| record(index).encode());
        let records: Vec<_> = records.collect();
        let (mut quorum, _) = millstream_quorum::Quorum::open(disk, directory).unwrap();
        quorum.lead().unwrap();
        quorum.propose(&records).unwrap();
    }
}

#[test]
fn where_older_records_leave_it_open_partitions_are_found_and_that_is_noted() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.forget_places("topic");
    bench.kill();
    bench.disks.copy_folder("/c/topic-2", "/a/topic-2");
    bench.start().unwrap();
    assert_eq!(
        bench.ends("topic"),
        [Some(1), Some(1), None],
        "in two places"
    );
    bench.kill();
    let copy = Path::new("/a/topic-2");
    bench.disks.get("/a").disk.remove_directory(copy).unwrap();
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1); 3]);
    bench.kill();
    bench.disks.replace("/b", Mounted::default());
    for _ in 0..2 {
        bench.start().unwrap();
        assert_eq!(bench.ends("topic"), [Some(1), None, Some(1)]);
        bench.kill();
    }
}

#[test]
fn what_older_records_name_and_no_directory_has_begins_only_if_all_could_be_read() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.forget_places("topic");
    bench.kill();
    let lost = Path::new("/b/topic-1");
    bench.disks.get("/b").disk.remove_directory(lost).unwrap();
    bench.disks.get("/c").fail_all(EIO);
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(0), None, None]);
    bench.restart();
    assert_eq!(bench.ends("topic"), [Some(0); 3]);
    assert_eq!(bench.places("topic"), [0, 1, 2]);
}

#[test]
fn a_topic_deleted_while_its_disk_was_out_is_set_aside_when_it_is_back() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.append_to_all("topic");
    bench.kill();
    bench.disks.get("/b").fail_all(EIO);
    bench.start().unwrap();
    bench.node().propose(Proposal::DeleteTopics {
        token: TOKEN,
        topics: vec![millstream_metadata::TopicToDelete {
            name: Some("topic".to_owned()),
            id: millstream_model::TopicId::ZERO,
        }],
    });
    bench.create("topic", 3);
    bench.restart();
    assert_eq!(bench.offline("topic"), [false; 3]);
    let names = bench.disks.list(Path::new("/b")).unwrap();
    let is_stray = |name: &str| name.starts_with("/b/topic-1.") && name.ends_with("-stray");
    let strays = names
        .iter()
        .filter(|entry| is_stray(entry.path.to_str().unwrap()));
    assert_eq!(strays.count(), 1, "{names:?}");
}

#[test]
fn another_topics_files_in_the_place_of_a_known_log_stay_there_and_no_log_begins_anew() {
    let mut bench = Bench::new();
    bench.create("topic", 3);
    bench.create("other", 3);
    bench.append_to_all("topic");
    bench.append_to_all("other");
    bench.node().checkpoint();
    bench.kill();
    let replace = |bench: &Bench, by: &str| {
        let disk = &bench.disks.get("/b").disk;
        disk.remove_directory(Path::new("/b/topic-1")).unwrap();
        bench.disks.copy_folder(by, "/b/topic-1");
    };
    bench.disks.copy_folder("/b/topic-1", "/b/kept");
    replace(&bench, "/b/other-1");
    bench.start().unwrap();
    assert_eq!(bench.offline("topic"), [false, true, false]);
    assert_eq!(bench.offline("other"), [false; 3]);
    let names = bench.disks.list(Path::new("/b")).unwrap();
    let is_stray = |name: &Path| name.to_str().unwrap().ends_with("-stray");
    assert!(
        !names.iter().any(|entry| is_stray(&entry.path)),
        "{names:?}"
    );
    bench.kill();
    replace(&bench, "/b/kept");
    bench.start().unwrap();
    assert_eq!(bench.ends("topic"), [Some(1); 3]);
}

#[test]
fn a_power_cut_after_a_creation_loses_no_place() {
    for seed in 0..60 {
        let random = SimRandom::new(seed);
        let mut bench = Bench::new();
        bench.create("topic", 6);
        let places = bench.places("topic");
        let written: Vec<bool> = bench
            .partitions("topic")
            .iter()
            .map(|partition| random.chance(50) && bench.append(partition))
            .collect();
        bench.node = None;
        bench.disks.crash(&random);
        bench.start().unwrap();
        assert_eq!(bench.places("topic"), places, "seed {seed}");
        let ends = written.iter().map(|written| Some(i64::from(*written)));
        assert_eq!(bench.ends("topic"), ends.collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn metadata_shows_an_offline_partition_without_a_leader() {
    let bench = Bench::new();
    bench.create("topic", 3);
    bench.disks.get("/b").fail_next_sync();
    bench.append_to_all("topic");
    let request = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("topic".into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    let answer = bench.call(9, &request);
    let answer: MetadataResponse<'_> = decode::<MetadataRequest<'_>, _>(&answer, 9);
    let partitions = answer.topics[0].partitions.iter();
    let described: Vec<_> = partitions
        .map(|partition| {
            let replicas = (&partition.isr_nodes[..], &partition.offline_replicas[..]);
            (partition.error_code, partition.leader_id, replicas)
        })
        .collect();
    let served = (0, 1, (&[1][..], &[][..]));
    let not_available = ErrorCode::LeaderNotAvailable.code();
    let offline = (not_available, -1, (&[1][..], &[1][..]));
    assert_eq!(described, [served, offline, served]);
}

#[test]
fn a_group_on_a_failed_directory_has_no_coordinator() {
    let bench = Bench::new();
    bench.create(OFFSETS_TOPIC, 3);
    for shard in 0..3 {
        bench.node().load_groups(shard);
    }
    let find = || {
        let request = FindCoordinatorRequest {
            key_type: 0,
            coordinator_keys: vec!["a".into(), "b".into(), "c".into()],
            ..FindCoordinatorRequest::default()
        };
        let answer = bench.call(4, &request);
        let answer: FindCoordinatorResponse<'_> =
            decode::<FindCoordinatorRequest<'_>, _>(&answer, 4);
        let coordinators = answer.coordinators.iter();
        coordinators
            .map(|found| (found.error_code, found.node_id))
            .collect::<Vec<_>>()
    };
    assert_eq!(find(), [(0, 1); 3]);
    // Of the groups a, b and c the second one's shard.
    let lost = bench.partitions(OFFSETS_TOPIC)[millstream_coordinator::shard_of("b", 3) as usize]
        .directory();
    let lost = ["/a", "/b", "/c"][lost];
    bench.disks.get(lost).fail_next_sync();
    bench.append_to_all(OFFSETS_TOPIC);
    let not_available = ErrorCode::CoordinatorNotAvailable.code();
    assert_eq!(find(), [(0, 1), (not_available, -1), (0, 1)]);
    let heartbeat = |group: &'static str| {
        let request = HeartbeatRequest {
            group_id: group.into(),
            member_id: "m".into(),
            ..HeartbeatRequest::default()
        };
        let answer = bench.call(3, &request);
        let answer: HeartbeatResponse = decode::<HeartbeatRequest<'_>, _>(&answer, 3);
        ErrorCode::from_code(answer.error_code).unwrap()
    };
    assert_eq!(heartbeat("b"), ErrorCode::NotCoordinator);
    assert_eq!(heartbeat("a"), ErrorCode::UnknownMemberId);
}
