//! Configs of topics: what is described, what may be changed, and that it is in force at once.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::configs::{
    APPEND, DELETE, SET, SUBTRACT, TOPIC as TOPICS, change, change_all, config, describe,
    describe_all, describe_keys, replace, value,
};
use common::connection::Connection;
use common::{NOW, TOPIC, append, batch, create, node, node_on, timestamps_left};
use millstream_env::sim::{SimClock, SimDisk};
use millstream_node::Node;
use millstream_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};

const DYNAMIC_TOPIC: i8 = 1;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

fn text(name: &str, value: &str, source: i8) -> (String, Option<String>, i8) {
    (name.to_owned(), Some(value.to_owned()), source)
}

#[test]
fn a_topic_is_described_with_kafkas_37_configs_and_ours() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let described = describe(&mut client, TOPICS, TOPIC).unwrap();
    assert_eq!(described.len(), 39);
    for config in &described {
        assert_eq!(config.source, DEFAULT, "{}", config.name);
        assert!(!config.read_only && !config.sensitive);
        assert!(config.documentation.as_ref().unwrap().ends_with('.'));
    }
    let policy = config(&mut client, TOPICS, TOPIC, "cleanup.policy");
    assert_eq!((policy.value.as_deref(), policy.type_), (Some("delete"), 7));
    assert_eq!(
        policy.synonyms,
        [text("log.cleanup.policy", "delete", DEFAULT)]
    );
    // Only log.retention.hours has a default, which is not of the name that counts first.
    let retention = config(&mut client, TOPICS, TOPIC, "retention.ms");
    assert_eq!(retention.value.as_deref(), Some("604800000"));
    assert_eq!(retention.synonyms, []);
}

#[test]
fn synonyms_name_every_place_the_one_in_force_first() {
    let node = node(&[
        ("log.segment.bytes", "2000000"),
        ("log.retention.ms", "5000"),
    ]);
    create(&node, &[("segment.bytes", "3000000")]);
    let mut client = Connection::new(&node, 1);
    let size = config(&mut client, TOPICS, TOPIC, "segment.bytes");
    assert_eq!(
        (size.value.as_deref(), size.source),
        (Some("3000000"), DYNAMIC_TOPIC)
    );
    let expected = [
        text("segment.bytes", "3000000", DYNAMIC_TOPIC),
        text("log.segment.bytes", "2000000", STATIC_BROKER),
        text("log.segment.bytes", "1073741824", DEFAULT),
    ];
    assert_eq!(size.synonyms, expected);
    let retention = config(&mut client, TOPICS, TOPIC, "retention.ms");
    let expected = [
        text("log.retention.ms", "5000", STATIC_BROKER),
        text("log.retention.hours", "168", DEFAULT),
    ];
    assert_eq!(retention.synonyms, expected);
}

#[test]
fn what_is_not_asked_for_is_not_said() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let resource = |keys: Option<Vec<&'static str>>| DescribeConfigsResource {
        resource_type: TOPICS,
        resource_name: TOPIC.into(),
        configuration_keys: keys.map(|keys| keys.into_iter().map(Into::into).collect()),
    };
    let some = Some(vec!["segment.ms", "no.such", "segment.ms", "retention.ms"]);
    let request = DescribeConfigsRequest {
        // Twice is answered twice.
        resources: vec![
            resource(some),
            resource(Some(vec![])),
            resource(None),
            resource(None),
        ],
        include_synonyms: false,
        include_documentation: false,
    };
    for version in 1..=4 {
        let answers = describe_all(&mut client, version, &request);
        let counts: Vec<usize> = answers
            .iter()
            .map(|all| all.as_ref().unwrap().len())
            .collect();
        assert_eq!(counts, [2, 39, 39, 39]);
        for config in answers.iter().flat_map(|all| all.as_ref().unwrap()) {
            // Before 3 there is no such field, and reads as empty.
            let documentation = config.documentation.as_deref().unwrap_or_default();
            assert_eq!((config.synonyms.len(), documentation), (0, ""));
        }
    }
}

#[test]
fn resources_that_are_not_there_are_refused() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        describe(&mut client, TOPICS, "no-such"),
        Err((3, String::new()))
    );
    for (type_, name, code) in [
        (TOPICS, "", 17),
        (TOPICS, "a/b", 17),
        (0, "a", 42),
        (77, "a", 42),
    ] {
        let (answered, message) = describe(&mut client, type_, name).unwrap_err();
        assert_eq!(answered, code, "{type_} {name}: {message}");
        assert!(!message.is_empty());
        let set: &[_] = &[(SET, "retention.ms", Some("1"))];
        let code = if name.is_empty() { 42 } else { code };
        assert_eq!(
            change(&mut client, type_, name, set),
            code,
            "{type_} {name}"
        );
        let set = [("retention.ms", Some("1"))];
        assert_eq!(
            replace(&mut client, type_, name, &set, false),
            code,
            "{type_} {name}"
        );
    }
    let set: &[_] = &[(SET, "retention.ms", Some("1"))];
    assert_eq!(change(&mut client, TOPICS, "no-such", set), 3);
    // What is wrong with a config is said before that there is no topic.
    let bad: &[_] = &[(SET, "retention.ms", Some("soon"))];
    assert_eq!(change(&mut client, TOPICS, "no-such", bad), 40);
}

#[test]
fn an_answer_has_an_end() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let resource = DescribeConfigsResource {
        resource_type: TOPICS,
        resource_name: TOPIC.into(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource; 10_300],
        ..DescribeConfigsRequest::default()
    };
    let answers = describe_all(&mut client, 4, &request);
    assert!(answers[10_256].is_ok());
    let (code, message) = answers[10_257].as_ref().unwrap_err();
    assert_eq!(*code, 42);
    assert!(message.contains("400000"), "{message}");
}

#[test]
fn single_configs_are_set_and_deleted_and_lists_grow_and_shrink() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let mut policy = |operation, elements| {
        let code = change(
            &mut client,
            TOPICS,
            TOPIC,
            &[(operation, "cleanup.policy", elements)],
        );
        assert_eq!(code, 0);
        value(&mut client, TOPICS, TOPIC, "cleanup.policy")
    };
    // The base is the default.
    let both = ("delete,compact".to_owned(), DYNAMIC_TOPIC);
    assert_eq!(policy(APPEND, Some("compact")), both);
    assert_eq!(policy(APPEND, Some("delete, compact")), both);
    assert_eq!(
        policy(SUBTRACT, Some("delete")),
        ("compact".to_owned(), DYNAMIC_TOPIC)
    );
    assert_eq!(
        policy(SUBTRACT, Some("delete")),
        ("compact".to_owned(), DYNAMIC_TOPIC)
    );
    assert_eq!(
        policy(SUBTRACT, Some("compact")),
        (String::new(), DYNAMIC_TOPIC)
    );
    assert_eq!(policy(DELETE, None), ("delete".to_owned(), DEFAULT));
    let set = [
        (SET, "retention.ms", Some(" 007 ")),
        (DELETE, "no.such", None),
    ];
    assert_eq!(change(&mut client, TOPICS, TOPIC, &set), 0);
    assert_eq!(value(&mut client, TOPICS, TOPIC, "retention.ms").0, "7");
}

#[test]
fn a_bad_config_stops_its_resource_and_no_other() {
    let node = node(&[]);
    create(&node, &[]);
    common::create_topic(&node, "other", 1, &[]);
    let mut client = Connection::new(&node, 1);
    let good = (SET, "retention.ms", Some("1000"));
    let (long, other) = ("x".repeat(16_384), "y".repeat(16_384));
    let list = "follower.replication.throttled.replicas";
    let longest = [
        (SET, list, Some(&*long)),
        (SET, "retention.bytes", Some("7")),
    ];
    assert_eq!(change(&mut client, TOPICS, TOPIC, &longest), 0);
    let cases: &[(&[_], i16)] = &[
        (&[good, (SET, "no.such", Some("1"))], 40),
        (&[good, (SET, "segment.bytes", Some("1"))], 40),
        (&[good, (SET, "segment.bytes", Some("much"))], 40),
        (&[good, (SET, "remote.storage.enable", Some("true"))], 40),
        (
            &[
                good,
                (SET, "min.compaction.lag.ms", Some("9")),
                (SET, "max.compaction.lag.ms", Some("8")),
            ],
            40,
        ),
        (&[good, (APPEND, "segment.bytes", Some("1"))], 40),
        (&[good, (SUBTRACT, "no.such", Some("1"))], 40),
        (&[good, (APPEND, list, Some(&other))], 40),
        (&[good, (SET, "segment.bytes", None)], 42),
        (&[good, (APPEND, "cleanup.policy", None)], 42),
        (&[good, (SET, "retention.ms", Some("2000"))], 42),
        (&[good, (DELETE, "retention.ms", None)], 42),
        (&[good, (4, "segment.bytes", Some("1"))], -1),
    ];
    for (changes, code) in cases {
        let other = [(SET, "segment.ms", Some("77"))];
        let asked: &[(_, _, &[_])] = &[(TOPICS, TOPIC, changes), (TOPICS, "other", &other)];
        let answers = change_all(&mut client, asked, false);
        assert_eq!(
            (answers[0].0, answers[1].0),
            (*code, 0),
            "{changes:?}: {answers:?}"
        );
        assert!(!answers[0].1.is_empty() && answers[0].1.len() < 500);
        assert_eq!(value(&mut client, TOPICS, TOPIC, "retention.ms").1, DEFAULT);
        assert_eq!(value(&mut client, TOPICS, "other", "segment.ms").0, "77");
        let undo = [(DELETE, "segment.ms", None)];
        assert_eq!(change(&mut client, TOPICS, "other", &undo), 0);
    }
    // As long as a value may be.
    let fits = [(APPEND, list, Some(&other[..16_382]))];
    assert_eq!(change(&mut client, TOPICS, TOPIC, &fits), 0);
    // The same resource twice is answered twice and left alone.
    let asked: &[(_, _, &[_])] = &[
        (TOPICS, TOPIC, &[good]),
        (TOPICS, "other", &[good]),
        (TOPICS, TOPIC, &[]),
    ];
    let codes: Vec<i16> = change_all(&mut client, asked, false)
        .iter()
        .map(|a| a.0)
        .collect();
    assert_eq!(codes, [42, 0, 42]);
    assert_eq!(value(&mut client, TOPICS, TOPIC, "retention.ms").1, DEFAULT);
    assert_eq!(
        value(&mut client, TOPICS, "other", "retention.ms").0,
        "1000"
    );
}

#[test]
fn all_configs_are_replaced_at_once() {
    let node = node(&[]);
    create(&node, &[("segment.ms", "77"), ("retention.ms", "1")]);
    let mut client = Connection::new(&node, 1);
    let configs = [
        ("retention.ms", Some("2")),
        ("cleanup.policy", Some("compact")),
    ];
    assert_eq!(replace(&mut client, TOPICS, TOPIC, &configs, true), 0);
    assert_eq!(value(&mut client, TOPICS, TOPIC, "retention.ms").0, "1");
    assert_eq!(replace(&mut client, TOPICS, TOPIC, &configs, false), 0);
    let own: Vec<_> = describe(&mut client, TOPICS, TOPIC).unwrap();
    let own: Vec<_> = own
        .into_iter()
        .filter(|config| config.source == DYNAMIC_TOPIC)
        .map(|config| (config.name, config.value.unwrap()))
        .collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        own,
        [pair("cleanup.policy", "compact"), pair("retention.ms", "2")]
    );
    for (bad, code) in [
        (&[("retention.ms", None)][..], 42),
        (
            &[("retention.ms", Some("3")), ("retention.ms", Some("4"))],
            42,
        ),
        (&[("no.such", Some("3"))], 40),
    ] {
        assert_eq!(replace(&mut client, TOPICS, TOPIC, bad, false), code);
        assert_eq!(value(&mut client, TOPICS, TOPIC, "retention.ms").0, "2");
    }
}

#[test]
fn what_is_only_checked_is_not_stored() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let asked: &[(_, _, &[_])] = &[(TOPICS, TOPIC, &[(SET, "retention.ms", Some("1"))])];
    assert_eq!(change_all(&mut client, asked, true)[0].0, 0);
    assert_eq!(value(&mut client, TOPICS, TOPIC, "retention.ms").1, DEFAULT);
    let bad: &[(_, _, &[_])] = &[(TOPICS, TOPIC, &[(SET, "retention.ms", Some("-2"))])];
    assert_eq!(change_all(&mut client, bad, true)[0].0, 40);
}

#[test]
fn the_next_batch_meets_the_new_bound() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let sent = batch(NOW.0, 1000);
    let produce = |client: &mut Connection<'_>| {
        client.produce(1, 0, &sent);
        client.produced().unwrap().error
    };
    assert_eq!(produce(&mut client), 0);
    assert_eq!(
        change(
            &mut client,
            TOPICS,
            TOPIC,
            &[(SET, "max.message.bytes", Some("500"))]
        ),
        0
    );
    assert_eq!(produce(&mut client), 10);
    assert_eq!(
        change(
            &mut client,
            TOPICS,
            TOPIC,
            &[(DELETE, "max.message.bytes", None)]
        ),
        0
    );
    assert_eq!(produce(&mut client), 0);
}

#[test]
fn open_logs_take_new_settings_at_once() {
    let node = node(&[]);
    let partitions = create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let seed = partitions[1]
        .lock()
        .unwrap()
        .log()
        .config()
        .segment_jitter_seed;
    append(&node, batch(NOW.0, 500));
    append(&node, batch(NOW.0, 500));
    let segments = || partitions[0].lock().unwrap().log().segment_count();
    assert_eq!(segments(), 1);
    let set = [
        (SET, "internal.segment.bytes", Some("600")),
        (SET, "segment.jitter.ms", Some("50")),
        (SET, "segment.ms", Some("60")),
        (SET, "index.interval.bytes", Some("70")),
        (SET, "segment.index.bytes", Some("80")),
    ];
    assert_eq!(change(&mut client, TOPICS, TOPIC, &set), 0);
    append(&node, batch(NOW.0, 500));
    append(&node, batch(NOW.0, 500));
    assert_eq!(segments(), 3);
    let log = *partitions[1].lock().unwrap().log().config();
    assert_eq!(
        (log.segment_bytes, log.segment_jitter_ms, log.segment_ms),
        (600, 50, 60)
    );
    assert_eq!(
        (log.index_interval_bytes, log.segment_index_bytes),
        (70, 80)
    );
    assert_eq!(log.segment_jitter_seed, seed);
    assert_eq!(log.producer_expiration, Duration::from_secs(7));
}

#[test]
fn retention_goes_by_the_new_age() {
    let clock = Arc::new(SimClock::new(NOW));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &[("internal.segment.bytes", "600")]);
    for hours in [0, 1, 2] {
        append(&node, batch(NOW.0 + hours * 3_600_000, 500));
    }
    clock.advance(Duration::from_secs(2 * 3600));
    node.enforce_retention();
    assert_eq!(timestamps_left(&node).len(), 3);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        change(
            &mut client,
            TOPICS,
            TOPIC,
            &[(SET, "retention.ms", Some("1800000"))]
        ),
        0
    );
    node.enforce_retention();
    assert_eq!(timestamps_left(&node).len(), 1);
}

#[test]
fn a_weaker_durability_answers_those_who_wait_for_the_disk() {
    let node = node(&[]);
    create(&node, &[]);
    let mut producer = Connection::new(&node, 1);
    producer.produce(-1, 0, &batch(NOW.0, 100));
    assert_eq!(producer.produced(), None);
    let replicated = [(SET, "millstream.durability", Some("replicated"))];
    assert_eq!(
        change_behind(&mut producer, &replicated),
        [(0, Some(0)), (0, None)]
    );
    // And the stronger one holds for what comes after it.
    assert_eq!(
        change(
            &mut producer,
            TOPICS,
            TOPIC,
            &[(DELETE, "millstream.durability", None)]
        ),
        0
    );
    producer.produce(-1, 0, &batch(NOW.0, 100));
    assert_eq!(producer.produced(), None);
    producer.flush();
    assert_eq!(producer.produced().unwrap().base_offset, 1);
}

/// Changes configs of the topic on a connection whose first request is a parked produce: its code and
/// offset, then the code of the change.
fn change_behind(
    client: &mut Connection<'_>,
    changes: &[(i8, &str, Option<&str>)],
) -> [(i16, Option<i64>); 2] {
    let changed = common::configs::send_change(client, TOPICS, TOPIC, changes);
    let produced = client.produced().unwrap();
    [
        (produced.error, Some(produced.base_offset)),
        (changed(client), None),
    ]
}

#[test]
fn configs_are_there_after_a_restart() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node: Node = node_on(&disk, &clock, &[]);
    create(&node, &[("segment.ms", "77")]);
    let mut client = Connection::new(&node, 1);
    let changes = [
        (SET, "internal.segment.bytes", Some("600")),
        (SET, "cleanup.policy", Some("compact")),
        (DELETE, "segment.ms", None),
    ];
    assert_eq!(change(&mut client, TOPICS, TOPIC, &changes), 0);
    let before = describe(&mut client, TOPICS, TOPIC).unwrap();
    assert_eq!(
        before.len(),
        40,
        "one that is not listed is described where it is set"
    );
    drop(node);
    disk.end_process();
    let node = node_on(&disk, &clock, &[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(describe(&mut client, TOPICS, TOPIC).unwrap(), before);
    let partition = common::partition(&node, TOPIC, 2);
    assert_eq!(partition.lock().unwrap().log().config().segment_bytes, 600);
    let keys = describe_keys(&mut client, TOPICS, TOPIC, Some(&["segment.ms"])).unwrap();
    assert_eq!(keys[0].source, DEFAULT);
}
