//! The log directories and the producers of partitions, as a client asks for them.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use common::connection::{Connection, read};
use common::disks::Disks;
use common::{NOW, TOPIC, create, create_topic, fill, node_on, partition};
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_node::{MoveStep, Node, NodeConfig};
use millstream_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use millstream_protocol::messages::describe_log_dirs_request::{
    DescribableLogDirTopic, DescribeLogDirsRequest,
};
use millstream_protocol::messages::describe_producers_request::{
    DescribeProducersRequest, TopicRequest,
};
use millstream_protocol::messages::{
    AlterReplicaLogDirsResponse, DescribeLogDirsResponse, DescribeProducersResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};

/// A node on the disks `/a` and `/b`.
fn node_on_two(disks: &Disks) -> Node {
    let config = NodeConfig {
        log_directories: vec!["/a".into(), "/b".into()],
        auto_create_topics: false,
        group_shards: 1,
        ..NodeConfig::default()
    };
    let clock = Arc::new(SimClock::new(NOW));
    let random = Arc::new(SimRandom::new(1));
    Node::open(Arc::new(disks.clone()), clock, random, config).unwrap()
}

/// A directory: code, path, whether it has a size, and partitions with their sizes.
type Directory = (i16, String, bool, Vec<(String, i32, i64)>);

fn describe(node: &Node, topics: Option<&[(&str, &[i32])]>) -> Vec<Directory> {
    let mut client = Connection::new(node, 1);
    let request = DescribeLogDirsRequest {
        topics: topics.map(|topics| {
            let topics = topics.iter();
            topics
                .map(|(topic, partitions)| DescribableLogDirTopic {
                    topic: Cow::Borrowed(topic),
                    partitions: partitions.to_vec(),
                })
                .collect()
        }),
    };
    let bytes = client.ask(5, &request);
    let answer: DescribeLogDirsResponse<'_> = read::<DescribeLogDirsRequest<'_>, _>(&bytes, 5);
    assert_eq!(answer.error_code, 0);
    let directories = answer.results.iter().map(|directory| {
        let has_size = directory.total_bytes > 0 && directory.usable_bytes > 0;
        assert!(directory.total_bytes >= directory.usable_bytes);
        let topics = directory.topics.iter();
        let partitions = topics.flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                assert_eq!((partition.offset_lag, partition.is_future_key), (0, false));
                let (index, size) = (partition.partition_index, partition.partition_size);
                (topic.name.to_string(), index, size)
            })
        });
        let path = directory.log_dir.to_string();
        (directory.error_code, path, has_size, partitions.collect())
    });
    directories.collect()
}

fn size(node: &Node, index: usize) -> i64 {
    let partition = partition(node, TOPIC, index);
    let locked = partition.lock().unwrap();
    locked.log().size_in_bytes() as i64
}

#[test]
fn directories_tell_what_is_in_them() {
    let node = node_on_two(&Disks::at(&["/a", "/b"]));
    let partitions = create(&node, &[]);
    create_topic(&node, "other", 1, &[]);
    fill(&node, &partitions[0], None, 2);
    fill(&node, &partitions[1], None, 3);
    let sizes = [0, 1, 2].map(|index| size(&node, index));
    assert!(sizes[0] > 200 && sizes[1] > sizes[0] && sizes[2] == 0);
    let of_topic = |index: usize| (TOPIC.to_owned(), index as i32, sizes[index]);
    let other = ("other".to_owned(), 0, 0);
    let a = vec![of_topic(0), of_topic(2)];
    let b = vec![other.clone(), of_topic(1)];
    let here = |path: &str, partitions| (0, path.to_owned(), true, partitions);
    assert_eq!(describe(&node, None), [here("/a", a), here("/b", b)]);
    let none: [Directory; 2] = [here("/a", vec![]), here("/b", vec![])];
    assert_eq!(describe(&node, Some(&[])), none);
    let some: &[(&str, &[i32])] = &[(TOPIC, &[2, 9]), ("none", &[0]), ("other", &[0])];
    let expected = [here("/a", vec![of_topic(2)]), here("/b", vec![other])];
    assert_eq!(describe(&node, Some(some)), expected);
}

#[test]
fn a_directory_that_has_failed_says_so() {
    let disks = Disks::at(&["/a", "/b"]);
    let node = node_on_two(&disks);
    let partitions = create(&node, &[]);
    disks.get("/b").fail_next_sync();
    let mut client = Connection::new(&node, 1);
    client.produce(1, 1, &common::batch(NOW.0, 10));
    let _effects = node.flush(1);
    assert!(partitions[1].is_offline());
    let found = describe(&node, None);
    let offline = (56, "/b".to_owned(), false, vec![]);
    assert_eq!((found[0].0, &found[1]), (0, &offline));
    assert_eq!(alter(&node, "/b", 1), 56);
}

fn alter(node: &Node, path: &str, partition: i32) -> i16 {
    let mut client = Connection::new(node, 1);
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: Cow::Borrowed(path),
            topics: vec![AlterReplicaLogDirTopic {
                name: Cow::Borrowed(TOPIC),
                partitions: vec![partition],
            }],
        }],
    };
    let bytes = client.ask(2, &request);
    let answer: AlterReplicaLogDirsResponse<'_> =
        read::<AlterReplicaLogDirsRequest<'_>, _>(&bytes, 2);
    let [topic] = &answer.results[..] else {
        panic!("one topic was asked for");
    };
    assert_eq!(topic.topic_name, TOPIC);
    assert_eq!(topic.partitions[0].partition_index, partition);
    topic.partitions[0].error_code
}

#[test]
fn partitions_go_to_the_directory_that_is_asked_for() {
    let disks = Disks::at(&["/a", "/b"]);
    let node = node_on_two(&disks);
    create(&node, &[]);
    assert_eq!(alter(&node, "/a", 0), 0);
    assert_eq!(alter(&node, "/b", 1), 0);
    assert!(node.broker.moves.all().is_empty(), "they are there");
    assert_eq!(alter(&node, "/b", 0), 0);
    assert_eq!(node.broker.moves.all().len(), 1);
    while node.move_step(1, &mut Vec::new()) != MoveStep::Idle {}
    assert_eq!(partition(&node, TOPIC, 0).directory(), 1);
    for unknown in ["/c", "/a/", "a", ""] {
        assert_eq!(alter(&node, unknown, 0), 57, "{unknown}");
    }
    assert_eq!(alter(&node, "/a", 3), 3);
    disks.get("/b").fail_next_sync();
    fill(&node, &partition(&node, TOPIC, 0), None, 1);
    assert_eq!(alter(&node, "/b", 2), 56, "its directory has failed");
    assert_eq!(alter(&node, "/a", 0), 56, "it is in one that has failed");
}

/// Id, epoch, last sequence and last timestamp of producers, or the code.
type Producers = Result<Vec<(i64, i32, i32, i64)>, i16>;

fn producers(node: &Node, topic: &str, partitions: &[i32]) -> Vec<Producers> {
    let mut client = Connection::new(node, 1);
    let request = DescribeProducersRequest {
        topics: vec![TopicRequest {
            name: Cow::Borrowed(topic),
            partition_indexes: partitions.to_vec(),
        }],
    };
    let bytes = client.ask(0, &request);
    let answer: DescribeProducersResponse<'_> = read::<DescribeProducersRequest<'_>, _>(&bytes, 0);
    let partitions = answer.topics[0].partitions.iter();
    let answers = partitions.map(|partition| {
        assert_eq!(partition.error_code == 0, partition.error_message.is_none());
        let producers = partition.active_producers.iter().map(|producer| {
            let none = (
                producer.coordinator_epoch,
                producer.current_txn_start_offset,
            );
            assert_eq!(none, (-1, -1));
            let (id, epoch) = (producer.producer_id, producer.producer_epoch);
            (id, epoch, producer.last_sequence, producer.last_timestamp)
        });
        match partition.error_code {
            0 => Ok(producers.collect()),
            code => Err(code),
        }
    });
    answers.collect()
}

fn idempotent(id: i64, epoch: i16, sequence: i32, timestamp: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, sequence);
    builder.push(timestamp, None, Some(b"v"), []);
    builder.push(timestamp - 5, None, Some(b"v"), []);
    builder.build(0, -1).to_vec()
}

#[test]
fn producers_are_described_until_they_expire() {
    let clock = Arc::new(SimClock::new(NOW));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    client.produce(1, 0, &idempotent(7, 0, 0, NOW.0));
    client.produce(1, 0, &idempotent(7, 0, 2, NOW.0 + 9));
    client.produce(1, 0, &idempotent(9, 3, 40, NOW.0 + 1));
    client.flush();
    let known = vec![(7, 0, 3, NOW.0 + 9), (9, 3, 41, NOW.0 + 1)];
    let asked = producers(&node, TOPIC, &[0, 1, 0, 3]);
    assert_eq!(asked, [Ok(known), Ok(vec![]), Err(3)]);
    assert_eq!(producers(&node, "none", &[0]), [Err(3)]);
    assert_eq!(producers(&node, "not/legal", &[0]), [Err(17)]);
    // `producer.id.expiration.ms` of these nodes is seven seconds.
    clock.advance(Duration::from_secs(6));
    client.produce(1, 0, &idempotent(9, 3, 42, NOW.0 + 2));
    clock.advance(Duration::from_secs(1));
    assert_eq!(
        producers(&node, TOPIC, &[0]),
        [Ok(vec![(9, 3, 43, NOW.0 + 2)])]
    );
}
