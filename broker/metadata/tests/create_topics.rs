//! CreateTopics and automatic creation, rule by rule.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Cluster, assigned, topic, with_config};
use millstream_metadata::{ConfigSource, NewTopic};
use millstream_model::NodeId;

#[test]
fn created_topic_has_its_partitions_configs_and_leader() {
    let mut cluster = Cluster::of(1);
    let created = cluster
        .create_one(with_config(topic("orders", 3), "retention.ms", " 1000 "))
        .unwrap();
    assert_eq!((created.partitions, created.replication_factor), (3, 1));
    let of_retention = |c: &&millstream_metadata::ResolvedConfig| c.def.name == "retention.ms";
    let retention = created.configs.iter().find(of_retention).unwrap();
    assert_eq!(
        (retention.value.as_str(), retention.source),
        ("1000", ConfigSource::Topic)
    );

    let image = &cluster.image;
    let orders = image.topic("orders").unwrap();
    assert_eq!(image.topic_by_id(created.id), Some(orders));
    assert_eq!(orders.configs["retention.ms"], "1000");
    assert_eq!(orders.partitions.len(), 3);
    for partition in &orders.partitions {
        assert_eq!(partition.leader, NodeId(1));
        assert_eq!(partition.leader_epoch.0, 0);
        assert_eq!(*partition.replicas, [NodeId(1)]);
        assert_eq!(*partition.isr, [NodeId(1)]);
    }
}

#[test]
fn a_name_twice_in_a_request_stops_itself_only() {
    let mut cluster = Cluster::of(1);
    let topics = [topic("a", 1), topic("b", 1), topic("a", 2)];
    let expected = vec![("a".to_string(), 42), ("b".to_string(), 0)];
    assert_eq!(cluster.create(&topics), expected);
    assert!(cluster.image.topic("a").is_none());
    assert!(cluster.image.topic("b").is_some());
}

#[test]
fn names_are_checked_before_all_else() {
    let mut cluster = Cluster::of(1);
    assert_eq!(cluster.code_of(topic("a.b", 1)), 0);
    for name in ["", ".", "..", "a/b", "a\0", &"x".repeat(250)] {
        assert_eq!(cluster.code_of(topic(name, 1)), 17, "{name:?}");
    }
    assert_eq!(cluster.code_of(topic(&"x".repeat(249), 1)), 0);
    assert_eq!(cluster.code_of(topic("a_b", 1)), 17, "collides");
    let existing = with_config(topic("a.b", 1), "no.such", "1");
    assert_eq!(cluster.code_of(existing), 36, "existence before configs");
}

#[test]
fn names_collide_within_a_request_and_no_more_after_deletion() {
    let mut cluster = Cluster::of(1);
    let codes = cluster.create(&[topic("x.y_z", 1), topic("x_y.z", 1)]);
    assert_eq!(codes, [("x.y_z".to_string(), 0), ("x_y.z".to_string(), 17)]);
    let deletion = millstream_metadata::TopicToDelete {
        name: Some("x.y_z".into()),
        ..Default::default()
    };
    let decision = cluster
        .controller
        .decide_delete_topics(&cluster.image, &[deletion]);
    cluster.apply(&decision.records);
    assert_eq!(cluster.code_of(topic("x_y.z", 1)), 0);
}

#[test]
fn counts_at_and_past_their_bounds() {
    let mut cluster = Cluster::of(2);
    let with = |name: &str, partitions, replication_factor| NewTopic {
        replication_factor,
        ..topic(name, partitions)
    };
    assert_eq!(cluster.code_of(with("p0", 0, 1)), 37);
    assert_eq!(cluster.code_of(with("p-2", -2, 1)), 37);
    assert_eq!(cluster.code_of(with("f0", 1, 0)), 38);
    assert_eq!(cluster.code_of(with("f-2", 1, -2)), 38);
    assert_eq!(cluster.code_of(with("f3", 1, 3)), 38);
    assert_eq!(cluster.code_of(with("f2", 1, 2)), 0);
    assert_eq!(cluster.code_of(with("defaults", -1, -1)), 0);
    assert_eq!(cluster.image.topic("defaults").unwrap().partitions.len(), 1);
}

#[test]
fn assignments_are_checked_and_kept() {
    let mut cluster = Cluster::of(3);
    assert_eq!(
        cluster.code_of(assigned("ok", &[(1, &[3, 1]), (0, &[2, 3])])),
        0
    );
    let ok = cluster.image.topic("ok").unwrap();
    assert_eq!(*ok.partitions[0].replicas, [NodeId(2), NodeId(3)]);
    assert_eq!(ok.partitions[1].leader, NodeId(3));
    let refused: &[&[(i32, &[i32])]] = &[
        &[(0, &[1]), (2, &[1])],    // a gap
        &[(1, &[1])],               // not from 0
        &[(-1, &[1])],              // below 0
        &[(0, &[1]), (0, &[2])],    // an index twice
        &[(0, &[1, 1])],            // a broker twice
        &[(0, &[9])],               // an unknown broker
        &[(0, &[])],                // no broker
        &[(0, &[1]), (1, &[1, 2])], // unequal counts
    ];
    for assignments in refused {
        assert_eq!(cluster.code_of(assigned("no", assignments)), 39);
    }
    let both = NewTopic {
        partitions: 1,
        ..assigned("both", &[(0, &[1])])
    };
    assert_eq!(cluster.code_of(both), 42);
}

#[test]
fn configs_are_checked_and_the_last_of_a_key_counts() {
    let mut cluster = Cluster::of(1);
    let code = |cluster: &mut Cluster, key: &str, value: &str| {
        cluster.code_of(with_config(topic("t", 1), key, value))
    };
    assert_eq!(code(&mut cluster, "no.such", "1"), 40);
    assert_eq!(code(&mut cluster, "retention.ms", "soon"), 40);
    assert_eq!(code(&mut cluster, "segment.bytes", "1048575"), 40);
    let mut null = topic("t", 1);
    null.configs.push(("retention.ms".into(), None));
    assert_eq!(cluster.code_of(null), 40);
    let lags = with_config(topic("t", 1), "min.compaction.lag.ms", "11");
    let lags = with_config(lags, "max.compaction.lag.ms", "10");
    assert_eq!(cluster.code_of(lags), 40);

    let twice = with_config(topic("t", 1), "retention.ms", "nonsense");
    let twice = with_config(twice, "retention.ms", "7");
    assert_eq!(cluster.code_of(twice), 0);
    assert_eq!(
        cluster.image.topic("t").unwrap().configs["retention.ms"],
        "7"
    );
}

#[test]
fn too_many_partitions_in_a_request_create_nothing() {
    let mut cluster = Cluster::of(1);
    let codes = cluster.create(&[topic("a", 9_999), topic("b", 2)]);
    assert_eq!(codes, [("a".to_string(), 44), ("b".to_string(), 44)]);
    assert_eq!(cluster.code_of(topic("huge", i32::MAX)), 44);
    assert_eq!(cluster.image.partition_count(), 0);
    let codes = cluster.create(&[topic("a", 9_999), topic("b", 1)]);
    assert_eq!(codes, [("a".to_string(), 0), ("b".to_string(), 0)]);
    assert_eq!(cluster.image.partition_count(), 10_000);
}

#[test]
fn cluster_has_a_bound_on_partitions_of_its_own() {
    let mut cluster = Cluster::of(1);
    cluster.controller.settings.cluster_partitions_max = 10;
    let codes = cluster.create(&[topic("a", 6), topic("b", 5), topic("c", 4)]);
    let codes: Vec<i16> = codes.into_iter().map(|(_, code)| code).collect();
    assert_eq!(codes, [0, 44, 0]);
    assert_eq!(cluster.code_of(topic("d", 1)), 44);
}

#[test]
fn automatic_creation_is_bounded_too() {
    let mut cluster = Cluster::of(1);
    cluster.controller.settings.num_partitions = i32::MAX;
    let error = cluster
        .controller
        .decide_auto_create(&cluster.image, "t", 1)
        .unwrap_err();
    assert_eq!(error.code().code(), 44);
}

#[test]
fn validate_only_answers_the_same_and_records_nothing() {
    let cluster = Cluster::of(1);
    let topics = [topic("a", 2), topic("b", 0)];
    let mut bits = || 77;
    let real = cluster
        .controller
        .decide_create_topics(&cluster.image, &topics, false, &mut bits);
    let validated =
        cluster
            .controller
            .decide_create_topics(&cluster.image, &topics, true, &mut bits);
    assert_eq!(validated.answer, real.answer);
    assert!(validated.records.is_empty());
    assert!(!real.records.is_empty());
}

#[test]
fn offsets_topic_is_created_with_its_own_settings_on_one_broker() {
    let mut cluster = Cluster::of(1);
    let decision = cluster
        .controller
        .decide_auto_create(&cluster.image, "__consumer_offsets", 5)
        .unwrap();
    assert_eq!(decision.answer.replication_factor, 1, "cut to the brokers");
    cluster.apply(&decision.records);
    let offsets = cluster.image.topic("__consumer_offsets").unwrap();
    assert!(offsets.is_internal());
    assert_eq!(offsets.partitions.len(), 50);
    let configs: Vec<_> = offsets
        .configs
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(
        configs,
        [
            "cleanup.policy=compact",
            "compression.type=producer",
            "segment.bytes=104857600"
        ]
    );
}

#[test]
fn automatic_creation_of_a_user_topic_uses_the_defaults() {
    let mut cluster = Cluster::of(1);
    cluster.controller.settings.num_partitions = 4;
    let decision = cluster
        .controller
        .decide_auto_create(&cluster.image, "clicks", 5)
        .unwrap();
    cluster.apply(&decision.records);
    assert_eq!(cluster.image.topic("clicks").unwrap().partitions.len(), 4);
    let again = cluster
        .controller
        .decide_auto_create(&cluster.image, "clicks", 6);
    assert_eq!(again.unwrap_err().code().code(), 36);
    cluster.controller.settings.default_replication_factor = 3;
    let wide = cluster
        .controller
        .decide_auto_create(&cluster.image, "wide", 7);
    assert_eq!(wide.unwrap_err().code().code(), 38);
}

#[test]
fn leaders_go_round_the_brokers() {
    let mut cluster = Cluster::of(3);
    let wide = NewTopic {
        replication_factor: 2,
        ..topic("wide", 6)
    };
    assert_eq!(cluster.code_of(wide), 0);
    let mut led = [0; 4];
    for partition in &cluster.image.topic("wide").unwrap().partitions {
        led[partition.leader.0 as usize] += 1;
        assert_ne!(partition.replicas[0], partition.replicas[1]);
    }
    assert_eq!(led, [0, 2, 2, 2]);
}
