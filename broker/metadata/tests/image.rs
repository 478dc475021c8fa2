//! Replay: what records do to an image, and that an image survives its snapshot.
#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::{Cluster, topic, with_config};
use millstream_metadata::{
    BrokerLayers, ConfigRecord, ConfigSource, Configs, DirectoryAssignment, Durability, Image,
    MorePartitions, NewTopic, PartitionRecord, Record, SnapshotError, TopicConfig, TopicRecord,
    TopicToDelete, decode_records, encode_records, topic_config_def,
};
use millstream_model::{BrokerEpoch, DirectoryId, NodeId, TopicId};
use proptest::prelude::*;

fn delete(cluster: &mut Cluster, topics: &[TopicToDelete]) -> Vec<i16> {
    let decision = cluster
        .controller
        .decide_delete_topics(&cluster.image, topics);
    cluster.apply(&decision.records);
    let results = decision.answer.iter().map(|deletion| deletion.result);
    results
        .map(|result| result.map_or_else(|error| error.code().code(), |()| 0))
        .collect()
}

fn by_name(name: &str) -> TopicToDelete {
    TopicToDelete {
        name: Some(name.to_string()),
        id: TopicId::ZERO,
    }
}

fn by_id(id: TopicId) -> TopicToDelete {
    TopicToDelete { name: None, id }
}

fn config(resource_type: i32, resource_name: &str, key: &str, value: Option<&str>) -> Record {
    Record::from(ConfigRecord {
        resource_type,
        resource_name: resource_name.to_string(),
        key: key.to_string(),
        value: value.map(str::to_string),
    })
}

fn more(cluster: &mut Cluster, topics: &[MorePartitions]) -> Vec<i16> {
    let decision =
        cluster
            .controller
            .decide_create_partitions(&cluster.image, topics, false, &mut || 1);
    cluster.apply(&decision.records);
    let results = decision.answer.into_iter().map(|creation| creation.result);
    results
        .map(|result| result.map_or_else(|error| error.code().code(), |()| 0))
        .collect()
}

fn to_count(name: &str, count: i32) -> MorePartitions {
    MorePartitions {
        name: name.to_string(),
        count,
        assignments: None,
    }
}

#[test]
fn deletes_by_name_and_by_id() {
    let mut cluster = Cluster::of(1);
    for name in ["a", "b", "c", "d"] {
        cluster.create_one(topic(name, 1)).unwrap();
    }
    let id = |cluster: &Cluster, name| cluster.image.topic(name).unwrap().id;
    let (a, b, c) = (id(&cluster, "a"), id(&cluster, "b"), id(&cluster, "c"));
    let both = TopicToDelete {
        name: Some("d".into()),
        id: a,
    };
    let requests = [
        by_id(a),
        by_name("b"),
        by_id(b), // the same topic by its other name
        by_name("none"),
        by_id(TopicId([9; 16])),
        both,
        TopicToDelete::default(),
    ];
    assert_eq!(delete(&mut cluster, &requests), [0, 42, 3, 100, 42, 42]);
    let left: Vec<&str> = cluster.image.topics().map(|topic| &*topic.name).collect();
    assert_eq!(left, ["b", "c", "d"]);
    assert_eq!(delete(&mut cluster, &[by_id(c), by_id(c)]), [42]);
    assert_eq!(delete(&mut cluster, &[by_name("zz"), by_name("zz")]), [42]);
    assert_eq!(cluster.image.partition_count(), 3);
}

#[test]
fn deleted_id_is_answered_with_its_name() {
    let mut cluster = Cluster::of(1);
    let id = cluster.create_one(topic("a", 1)).unwrap().id;
    let decision = cluster
        .controller
        .decide_delete_topics(&cluster.image, &[by_id(id)]);
    assert_eq!(decision.answer[0].name.as_deref(), Some("a"));
    assert_eq!(decision.answer[0].id, id);
}

#[test]
fn partitions_are_added_and_never_taken() {
    let mut cluster = Cluster::of(2);
    cluster
        .create_one(NewTopic {
            replication_factor: 2,
            ..topic("t", 2)
        })
        .unwrap();
    let asked = [to_count("t", 4), to_count("none", 2)];
    assert_eq!(more(&mut cluster, &asked), [0, 3]);
    let t = cluster.image.topic("t").unwrap();
    assert_eq!(t.partitions.len(), 4);
    assert!(t.partitions.iter().all(|p| p.replicas.len() == 2));
    assert_eq!(more(&mut cluster, &[to_count("t", 4)]), [37]);
    assert_eq!(more(&mut cluster, &[to_count("t", -1)]), [37]);
    let twice = [to_count("t", 5), to_count("t", 6)];
    assert_eq!(more(&mut cluster, &twice), [42]);
    assert_eq!(more(&mut cluster, &[to_count("t", 20_000)]), [-1]);

    let assigned = |assignments: &[&[i32]]| MorePartitions {
        assignments: Some(assignments.iter().map(|nodes| nodes.to_vec()).collect()),
        ..to_count("t", 5)
    };
    assert_eq!(more(&mut cluster, &[assigned(&[])]), [39]);
    assert_eq!(more(&mut cluster, &[assigned(&[&[1]])]), [39], "factor");
    assert_eq!(more(&mut cluster, &[assigned(&[&[1, 7]])]), [39]);
    assert_eq!(more(&mut cluster, &[assigned(&[&[2, 1]])]), [0]);
    let t = cluster.image.topic("t").unwrap();
    assert_eq!(t.partitions[4].leader, NodeId(2));
}

#[test]
fn start_of_a_broker_raises_the_epochs_of_what_it_leads() {
    let mut cluster = Cluster::of(2);
    cluster.create_one(topic("t", 2)).unwrap();
    let epochs = |cluster: &Cluster| -> Vec<(i32, i32)> {
        let t = cluster.image.topic("t").unwrap();
        let of = |p: &millstream_metadata::PartitionImage| (p.leader.0, p.leader_epoch.0);
        let mut epochs: Vec<_> = t.partitions.iter().map(of).collect();
        epochs.sort_unstable();
        epochs
    };
    assert_eq!(epochs(&cluster), [(1, 0), (2, 0)]);
    let delta = cluster.start(2);
    assert_eq!(epochs(&cluster), [(1, 0), (2, 1)]);
    assert_eq!(delta.changed.len(), 1);
    assert_eq!(cluster.image.brokers()[&NodeId(2)], BrokerEpoch(3));
    cluster.start(2);
    assert_eq!(epochs(&cluster), [(1, 0), (2, 2)]);
}

#[test]
fn another_cluster_is_refused() {
    let cluster = Cluster::of(1);
    let start = cluster
        .controller
        .decide_broker_start(&cluster.image, NodeId(1), "other");
    assert!(start.unwrap_err().to_string().contains("other"));
}

#[test]
fn producer_ids_come_in_blocks_that_never_overlap() {
    let mut cluster = Cluster::of(1);
    let mut take = || {
        let decision = cluster
            .controller
            .decide_allocate_producer_ids(&cluster.image)
            .unwrap();
        cluster.apply(&decision.records);
        decision.answer
    };
    assert_eq!(take(), 0..1000);
    assert_eq!(take(), 1000..2000);
}

#[test]
fn delta_tells_created_changed_and_deleted_apart() {
    let mut cluster = Cluster::of(1);
    let old = cluster.create_one(topic("old", 1)).unwrap().id;
    let gone = cluster.create_one(topic("gone", 1)).unwrap().id;
    let topic_record = |name: &str, id: u8| {
        Record::from(TopicRecord {
            name: name.into(),
            topic_id: vec![id; 16],
        })
    };
    let remove = |id: [u8; 16]| {
        Record::from(millstream_metadata::RemoveTopicRecord {
            topic_id: id.to_vec(),
        })
    };
    let delta = cluster.apply(&[
        topic_record("new", 1),
        topic_record("brief", 2),
        config(2, "old", "retention.ms", Some("5")),
        config(2, "gone", "retention.ms", Some("5")),
        remove(gone.0),
        remove([2; 16]),
        config(4, "", "log.retention.ms", Some("9")),
    ]);
    let ids = |topics: &std::collections::BTreeMap<TopicId, _>| -> Vec<TopicId> {
        topics.keys().copied().collect()
    };
    assert_eq!(ids(&delta.created), [TopicId([1; 16])]);
    assert_eq!(ids(&delta.deleted), [gone]);
    assert_eq!(ids(&delta.changed), [old]);
    assert!(delta.is_broker_config_changed);
    assert!(delta.deleted[&gone].configs.is_empty(), "the old state");
    assert_eq!(delta.changed[&old].configs["retention.ms"], "5");
}

#[test]
fn an_image_is_not_changed_by_its_successors() {
    let mut cluster = Cluster::of(1);
    cluster.create_one(topic("t", 1)).unwrap();
    let before = cluster.image.clone();
    let records_before = before.to_records();
    more(&mut cluster, &[to_count("t", 3)]);
    delete(&mut cluster, &[by_name("t")]);
    assert_eq!(before.to_records(), records_before);
    assert_eq!(before.topic("t").unwrap().partitions.len(), 1);
}

#[test]
fn records_that_contradict_the_image_are_refused_whole() {
    let mut cluster = Cluster::of(1);
    let id = cluster.create_one(topic("t", 1)).unwrap().id.0.to_vec();
    let partition = PartitionRecord {
        topic_id: id.clone(),
        partition: 1,
        leader: 1,
        leader_epoch: 0,
        replicas: vec![1],
        isr: vec![1],
        partition_epoch: 0,
        directories: Vec::new(),
    };
    let broken = [
        PartitionRecord {
            partition: 3,
            ..partition.clone()
        },
        PartitionRecord {
            partition: -1,
            ..partition.clone()
        },
        PartitionRecord {
            partition: i32::MAX,
            ..partition.clone()
        },
        PartitionRecord {
            replicas: vec![],
            ..partition.clone()
        },
        PartitionRecord {
            topic_id: vec![3; 16],
            ..partition.clone()
        },
        PartitionRecord {
            topic_id: vec![3; 15],
            ..partition.clone()
        },
        PartitionRecord {
            partition: 0,
            leader_epoch: -1,
            ..partition.clone()
        },
        PartitionRecord {
            directories: vec![vec![1; 16], vec![2; 16]],
            ..partition.clone()
        },
        PartitionRecord {
            directories: vec![vec![1; 15]],
            ..partition.clone()
        },
    ];
    for record in broken {
        let error = cluster
            .image
            .apply(&[partition.clone().into(), record.into()]);
        assert!(error.is_err());
    }
    let again = TopicRecord {
        name: "t".into(),
        topic_id: vec![4; 16],
    };
    assert!(cluster.image.apply(&[again.into()]).is_err());
    let illegal = TopicRecord {
        name: "../t".into(),
        topic_id: vec![4; 16],
    };
    assert!(cluster.image.apply(&[illegal.into()]).is_err());
    let of_no_topic = config(2, "none", "retention.ms", Some("1"));
    assert!(cluster.image.apply(&[of_no_topic]).is_err());
    assert_eq!(cluster.image.partition_count(), 1);
}

#[test]
fn layers_of_configs_win_in_kafkas_order() {
    let mut cluster = Cluster::of(1);
    let def = topic_config_def("retention.ms").unwrap();
    let mut file = Configs::new();
    let resolve = |cluster: &Cluster, file: &Configs, name: &str| {
        let layers = BrokerLayers::new(&cluster.image, NodeId(1), file);
        let topic = cluster.image.topic(name).unwrap();
        let resolved = layers.resolve(def, Some(&topic.configs));
        (resolved.value, resolved.source, resolved.synonyms.len())
    };
    cluster.create_one(topic("t", 1)).unwrap();
    let week = "604800000".to_string();
    assert_eq!(
        resolve(&cluster, &file, "t"),
        (week, ConfigSource::Default, 1)
    );
    file.insert("log.retention.hours".into(), "2".into());
    let hours = "7200000".to_string();
    assert_eq!(
        resolve(&cluster, &file, "t"),
        (hours, ConfigSource::StaticBroker, 2)
    );
    file.insert("log.retention.minutes".into(), "3".into());
    let minutes = "180000".to_string();
    assert_eq!(
        resolve(&cluster, &file, "t"),
        (minutes, ConfigSource::StaticBroker, 3)
    );
    cluster.apply(&[config(4, "", "log.retention.ms", Some("30"))]);
    assert_eq!(
        resolve(&cluster, &file, "t"),
        ("30".into(), ConfigSource::DefaultBroker, 4)
    );
    cluster.apply(&[config(4, "1", "log.retention.ms", Some("20"))]);
    assert_eq!(
        resolve(&cluster, &file, "t"),
        ("20".into(), ConfigSource::Broker, 5)
    );
    cluster.apply(&[config(4, "2", "log.retention.ms", Some("99"))]);
    assert_eq!(resolve(&cluster, &file, "t").0, "20", "another broker's");
    cluster.apply(&[config(2, "t", "retention.ms", Some("10"))]);
    assert_eq!(
        resolve(&cluster, &file, "t"),
        ("10".into(), ConfigSource::Topic, 6)
    );
    cluster.apply(&[
        config(2, "t", "retention.ms", None),
        config(4, "1", "log.retention.ms", None),
        config(4, "", "log.retention.ms", None),
    ]);
    assert_eq!(resolve(&cluster, &file, "t").1, ConfigSource::StaticBroker);
    file.insert("log.retention.hours".into(), "-1".into());
    file.remove("log.retention.minutes");
    assert_eq!(
        resolve(&cluster, &file, "t").0,
        "-1",
        "for ever, not -3600000"
    );
}

#[test]
fn typed_configs_are_the_ones_in_force() {
    let mut cluster = Cluster::of(1);
    let t = with_config(topic("t", 1), "internal.segment.bytes", "1000");
    let t = with_config(t, "cleanup.policy", "compact,delete");
    let t = with_config(t, "millstream.durability", "replicated");
    cluster.create_one(t).unwrap();
    let file = Configs::from([("message.max.bytes".to_string(), "5000".to_string())]);
    let layers = BrokerLayers::new(&cluster.image, NodeId(1), &file);
    let config = TopicConfig::resolve(cluster.image.topic("t").map(|t| &**t), &layers);
    assert_eq!(config.segment_bytes, 1000);
    assert_eq!(config.max_message_bytes, 5000);
    assert!(config.is_compacted && config.is_deleted_by_retention);
    assert_eq!(config.durability, Durability::Replicated);
    let default = TopicConfig::resolve(None, &layers);
    assert_eq!(default.segment_bytes, 1 << 30);
    assert_eq!(default.durability, Durability::Fsync);
    assert_eq!(
        (default.retention_bytes, default.retention_ms),
        (None, Some(604_800_000))
    );
    assert!(!default.is_compacted && default.is_deleted_by_retention);
}

#[test]
fn the_directories_of_replicas_survive_a_snapshot() {
    let mut cluster = Cluster::of(2);
    let id = cluster.create_one(topic("t", 1)).unwrap().id;
    let unassigned = &cluster.image.topic("t").unwrap().partitions[0];
    let leader = unassigned.leader;
    assert_eq!(
        unassigned.directory_of(leader),
        Some(DirectoryId::UNASSIGNED)
    );
    assert_eq!(unassigned.directory_of(NodeId(3)), None);
    let placed = PartitionRecord {
        topic_id: id.0.to_vec(),
        partition: 0,
        leader: 2,
        leader_epoch: 1,
        replicas: vec![2, 1],
        isr: vec![2],
        partition_epoch: 1,
        directories: vec![vec![7; 16], vec![0; 16]],
    };
    cluster.apply(&[placed.into()]);
    let bytes = encode_records(&cluster.image.to_records());
    let (image, _) = Image::default()
        .apply(&decode_records(&bytes).unwrap())
        .unwrap();
    assert_eq!(image, cluster.image);
    let partition = &image.topic("t").unwrap().partitions[0];
    assert_eq!(
        partition.directory_of(NodeId(2)),
        Some(DirectoryId(TopicId([7; 16])))
    );
}

#[test]
fn a_broker_says_where_its_replicas_are_and_nobody_elses() {
    let mut cluster = Cluster::of(2);
    let id = cluster.create_one(topic("t", 2)).unwrap().id;
    let image = &cluster.image;
    let holder = |index: usize| image.topic("t").unwrap().partitions[index].leader;
    let (first, directory) = (holder(0), DirectoryId(TopicId([7; 16])));
    let assignment = |partition| DirectoryAssignment {
        topic_id: id,
        partition,
        directory,
    };
    let records = cluster.controller.decide_assign_directories(
        image,
        first,
        &[assignment(0), assignment(1), assignment(2)],
    );
    assert_eq!(
        records.len(),
        1,
        "the other partition is the other broker's"
    );
    cluster.apply(&records);
    let partition = &cluster.image.topic("t").unwrap().partitions[0];
    assert_eq!(partition.directory_of(first), Some(directory));
    assert_eq!((partition.leader, partition.partition_epoch), (first, 1));
}

#[test]
fn malformed_snapshots_are_errors() {
    let mut cluster = Cluster::of(1);
    cluster.create_one(topic("t", 1)).unwrap();
    let bytes = encode_records(&cluster.image.to_records());
    for end in 0..bytes.len() {
        assert!(decode_records(&bytes.slice(..end)).is_err());
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    let error = decode_records(&Bytes::from(longer));
    assert!(matches!(error, Err(SnapshotError::Malformed { .. })));
    let promise = Bytes::from_static(&[0xff; 4]);
    assert!(decode_records(&promise).is_err());
}

/// One step of a cluster's life.
#[derive(Clone, Debug)]
enum Step {
    Create(u8, i32),
    Delete(u8),
    Grow(u8, i32),
    Start(i32),
    Config(u8, bool),
    BrokerConfig(u8, bool),
    Ids,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..8u8, 1..5i32).prop_map(|(name, count)| Step::Create(name, count)),
        (0..8u8).prop_map(Step::Delete),
        (0..8u8, 1..9i32).prop_map(|(name, count)| Step::Grow(name, count)),
        (1..4i32).prop_map(Step::Start),
        (0..8u8, any::<bool>()).prop_map(|(name, set)| Step::Config(name, set)),
        (0..3u8, any::<bool>()).prop_map(|(name, set)| Step::BrokerConfig(name, set)),
        Just(Step::Ids),
    ];
    proptest::collection::vec(step, 0..40)
}

/// Names of which some collide.
fn name(number: u8) -> String {
    let separator = if number.is_multiple_of(2) { '.' } else { '_' };
    format!("t{separator}{}", number / 2)
}

fn run(cluster: &mut Cluster, step: &Step) {
    match step {
        Step::Create(number, count) => {
            let _ = cluster.code_of(topic(&name(*number), *count));
        }
        Step::Delete(number) => {
            delete(cluster, &[by_name(&name(*number))]);
        }
        Step::Grow(number, count) => {
            more(cluster, &[to_count(&name(*number), *count)]);
        }
        Step::Start(node) => {
            cluster.start(*node);
        }
        Step::Config(number, set) => {
            let name = name(*number);
            if cluster.image.topic(&name).is_some() {
                cluster.apply(&[config(2, &name, "retention.ms", set.then_some("1"))]);
            }
        }
        Step::BrokerConfig(number, set) => {
            let name = number.to_string();
            cluster.apply(&[config(4, &name, "log.retention.ms", set.then_some("1"))]);
        }
        Step::Ids => {
            let decision = cluster
                .controller
                .decide_allocate_producer_ids(&cluster.image)
                .unwrap();
            cluster.apply(&decision.records);
        }
    }
}

fn check_indexes(image: &Image) {
    let topics: Vec<_> = image.topics().collect();
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    assert_eq!(image.partition_count(), partitions);
    for topic in topics {
        assert_eq!(image.topic_by_id(topic.id), Some(topic));
        assert!(image.colliding_topic(&topic.name).is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_image_comes_back_from_its_snapshot(steps in steps()) {
        let mut cluster = Cluster::of(1);
        for step in &steps {
            run(&mut cluster, step);
            check_indexes(&cluster.image);
        }
        let bytes = encode_records(&cluster.image.to_records());
        let records = decode_records(&bytes).unwrap();
        let (image, _) = Image::default().apply(&records).unwrap();
        prop_assert_eq!(&image, &cluster.image);
    }

    #[test]
    fn no_bytes_break_the_reading_of_a_snapshot(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_records(&Bytes::from(bytes));
    }
}
