//! Configs of groups, client metrics subscriptions and loggers, and the list of what has configs.
#![allow(missing_docs, clippy::unwrap_used, clippy::type_complexity)]

mod common;

use std::sync::{Arc, Mutex};

use common::configs::{
    APPEND, BROKER, DELETE, SET, SUBTRACT, TOPIC as TOPICS, change, change_all, config, describe,
    replace, value,
};
use common::connection::{Connection, read};
use common::{NOW, TOPIC, create, node, node_on};
use millstream_api::LogLevels;
use millstream_env::sim::{SimClock, SimDisk};
use millstream_metadata::LogLevel;
use millstream_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use millstream_protocol::messages::list_config_resources_response::ListConfigResourcesResponse;

const LOGGERS: i8 = 8;
const METRICS: i8 = 16;
const GROUPS: i8 = 32;

const DYNAMIC_DEFAULT: i8 = 3;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;
const OF_LOGGER: i8 = 6;
const OF_SUBSCRIPTION: i8 = 7;
const OF_GROUP: i8 = 8;

/// Error code, and type and name of each resource.
fn list(client: &mut Connection<'_>, version: i16, types: &[i8]) -> (i16, Vec<(i8, String)>) {
    let request = ListConfigResourcesRequest {
        resource_types: types.to_vec(),
    };
    client.send(version, &request).unwrap();
    let bytes = client.receive().unwrap();
    let answer: ListConfigResourcesResponse<'_> =
        read::<ListConfigResourcesRequest, _>(&bytes, version);
    let resources = answer.config_resources.iter();
    let listed = resources.map(|one| (one.resource_type, one.resource_name.to_string()));
    (answer.error_code, listed.collect())
}

fn place(name: &str, value: &str, source: i8) -> (String, Option<String>, i8) {
    (name.to_owned(), Some(value.to_owned()), source)
}

#[test]
fn a_group_has_21_configs_whether_it_is_there_or_not() {
    let node = node(&[("group.consumer.session.timeout.ms", "50000")]);
    let mut client = Connection::new(&node, 1);
    let described = describe(&mut client, GROUPS, "readers").unwrap();
    assert_eq!(described.len(), 21);
    assert!(
        described
            .iter()
            .all(|config| !config.read_only && !config.sensitive)
    );
    let timeout = config(
        &mut client,
        GROUPS,
        "readers",
        "consumer.session.timeout.ms",
    );
    let behind = [
        place("group.consumer.session.timeout.ms", "50000", STATIC_BROKER),
        place("group.consumer.session.timeout.ms", "45000", DEFAULT),
    ];
    assert_eq!(
        (timeout.value.as_deref(), timeout.synonyms.as_slice()),
        (Some("50000"), &behind[..])
    );
    let set = [(SET, "consumer.session.timeout.ms", Some("55000"))];
    assert_eq!(change(&mut client, GROUPS, "readers", &set), 0);
    let timeout = config(
        &mut client,
        GROUPS,
        "readers",
        "consumer.session.timeout.ms",
    );
    assert_eq!(
        (timeout.value.as_deref(), timeout.source),
        (Some("55000"), OF_GROUP)
    );
    assert_eq!(
        timeout.synonyms[0],
        place("consumer.session.timeout.ms", "55000", OF_GROUP)
    );
    assert_eq!(timeout.synonyms[1..], behind);
    assert_eq!(
        value(&mut client, GROUPS, "others", "consumer.session.timeout.ms").0,
        "50000"
    );
    // One that can be changed for all brokers while they run.
    let all = [(SET, "group.share.assignment.interval.ms", Some("7"))];
    assert_eq!(change(&mut client, BROKER, "", &all), 0);
    let interval = value(
        &mut client,
        GROUPS,
        "others",
        "share.assignment.interval.ms",
    );
    assert_eq!(interval, ("7".to_owned(), DYNAMIC_DEFAULT));
}

#[test]
fn configs_of_groups_keep_to_the_bounds_of_the_broker() {
    let node = node(&[("group.consumer.max.session.timeout.ms", "70000")]);
    let mut client = Connection::new(&node, 1);
    for (name, text, code) in [
        ("consumer.session.timeout.ms", "70000", 0),
        ("consumer.session.timeout.ms", "70001", 40),
        ("consumer.session.timeout.ms", "44999", 40),
        ("consumer.session.timeout.ms", "long", 40),
        ("streams.num.standby.replicas", "2", 0),
        ("streams.num.standby.replicas", "3", 40),
        ("share.isolation.level", "read_committed", 0),
        ("share.isolation.level", "dirty", 40),
        ("share.auto.offset.reset", "by_duration:PT1H", 0),
        ("share.auto.offset.reset", "by_duration:soon", 40),
        ("no.such", "1", 40),
    ] {
        assert_eq!(
            change(&mut client, GROUPS, "g", &[(SET, name, Some(text))]),
            code,
            "{name}={text}"
        );
    }
    assert_eq!(
        change(
            &mut client,
            GROUPS,
            "",
            &[(SET, "share.isolation.level", Some("read_committed"))]
        ),
        42
    );
    assert_eq!(describe(&mut client, GROUPS, "").unwrap_err().0, 42);
    let tags = [(APPEND, "streams.rack.aware.assignment.tags", Some("a,b"))];
    assert_eq!(change(&mut client, GROUPS, "g", &tags), 0);
    let tags = [(SUBTRACT, "streams.rack.aware.assignment.tags", Some("a"))];
    assert_eq!(change(&mut client, GROUPS, "g", &tags), 0);
    assert_eq!(
        value(
            &mut client,
            GROUPS,
            "g",
            "streams.rack.aware.assignment.tags"
        )
        .0,
        "b"
    );
    assert_eq!(
        change(
            &mut client,
            GROUPS,
            "g",
            &[(APPEND, "share.isolation.level", Some("a"))]
        ),
        40
    );
    assert_eq!(
        change(
            &mut client,
            GROUPS,
            &"g".repeat(1001),
            &[(SET, "share.isolation.level", Some("read_committed"))]
        ),
        44
    );
}

#[test]
fn a_heartbeat_is_shorter_than_the_session() {
    let node = node(&[
        ("group.share.min.session.timeout.ms", "5000"),
        ("group.share.max.heartbeat.interval.ms", "60000"),
    ]);
    let mut client = Connection::new(&node, 1);
    let equal = [
        (SET, "share.heartbeat.interval.ms", Some("6000")),
        (SET, "share.session.timeout.ms", Some("6000")),
    ];
    assert_eq!(change(&mut client, GROUPS, "g", &equal), 40);
    let below = [
        (SET, "share.heartbeat.interval.ms", Some("5999")),
        (SET, "share.session.timeout.ms", Some("6000")),
    ];
    assert_eq!(change(&mut client, GROUPS, "g", &below), 0);
}

#[test]
fn a_subscription_of_client_metrics_is_its_configs() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(describe(&mut client, METRICS, "basic").unwrap().len(), 3);
    assert_eq!(
        value(&mut client, METRICS, "basic", "interval.ms"),
        ("300000".to_owned(), DEFAULT)
    );
    for (name, text, code) in [
        ("interval.ms", "100", 0),
        ("interval.ms", "99", 42),
        ("interval.ms", "3600001", 42),
        ("interval.ms", "often", 40),
        ("no.such", "1", 42),
        ("match", "client_software_name=apache.*, client_id = a", 0),
        ("match", "colour=red", 40),
        ("match", "client_id", 40),
        ("match", "client_id=a=b", 40),
        (
            "metrics",
            "org.apache.kafka.producer.,org.apache.kafka.consumer.",
            0,
        ),
    ] {
        assert_eq!(
            change(&mut client, METRICS, "basic", &[(SET, name, Some(text))]),
            code,
            "{name}={text}"
        );
    }
    assert_eq!(
        value(&mut client, METRICS, "basic", "interval.ms"),
        ("100".to_owned(), OF_SUBSCRIPTION)
    );
    assert_eq!(
        change(
            &mut client,
            METRICS,
            "",
            &[(SET, "interval.ms", Some("100"))]
        ),
        42
    );
    assert_eq!(describe(&mut client, METRICS, "").unwrap_err().0, 42);
    assert_eq!(
        list(&mut client, 0, &[]),
        (0, vec![(METRICS, "basic".to_owned())])
    );
    // Without configs it is gone.
    assert_eq!(replace(&mut client, METRICS, "basic", &[], false), 0);
    assert_eq!(list(&mut client, 0, &[]), (0, vec![]));
}

#[test]
fn everything_with_configs_is_listed() {
    let node = node(&[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        change(
            &mut client,
            METRICS,
            "m",
            &[(SET, "interval.ms", Some("100"))]
        ),
        0
    );
    assert_eq!(
        change(
            &mut client,
            GROUPS,
            "g",
            &[(SET, "share.isolation.level", Some("read_committed"))]
        ),
        0
    );
    let named = |types: &[(i8, &str)]| {
        let named: Vec<_> = types
            .iter()
            .map(|(type_, name)| (*type_, (*name).to_owned()))
            .collect();
        (0, named)
    };
    let all = named(&[
        (TOPICS, TOPIC),
        (BROKER, "1"),
        (LOGGERS, "1"),
        (METRICS, "m"),
        (GROUPS, "g"),
    ]);
    assert_eq!(list(&mut client, 1, &[]), all);
    assert_eq!(
        list(&mut client, 1, &[GROUPS, TOPICS, GROUPS]),
        named(&[(TOPICS, TOPIC), (GROUPS, "g")])
    );
    assert_eq!(list(&mut client, 1, &[TOPICS, 5]), (35, vec![]));
}

#[test]
fn levels_of_loggers_are_seen_and_set() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let told: Arc<Mutex<Vec<LogLevels>>> = Arc::default();
    let hearing = Arc::clone(&told);
    let levels = LogLevels {
        root: LogLevel::Warn,
        modules: [("millstream_log".to_owned(), LogLevel::Debug)]
            .into_iter()
            .collect(),
    };
    node.broker.loggers.begin(levels, move |levels| {
        hearing.lock().unwrap().push(levels.clone())
    });
    let of = |client: &mut Connection<'_>, logger| {
        let logger = config(client, LOGGERS, "1", logger);
        assert_eq!(
            (logger.source, logger.type_, logger.read_only),
            (OF_LOGGER, 0, false)
        );
        logger.value.unwrap()
    };
    assert_eq!(of(&mut client, "root"), "WARN");
    assert_eq!(of(&mut client, "millstream_log"), "DEBUG");
    assert_eq!(of(&mut client, "millstream_node"), "WARN");
    let set = [
        (SET, "millstream_node", Some("TRACE")),
        (SET, "root", Some("ERROR")),
    ];
    let asked: &[(_, _, &[_])] = &[(LOGGERS, "1", &set)];
    assert_eq!(change_all(&mut client, asked, true)[0].0, 0);
    assert!(told.lock().unwrap().is_empty());
    assert_eq!(change(&mut client, LOGGERS, "1", &set), 0);
    assert_eq!(of(&mut client, "millstream_node"), "TRACE");
    assert_eq!(of(&mut client, "millstream_api"), "ERROR");
    let now = told.lock().unwrap().pop().unwrap();
    assert_eq!(
        (now.root, now.modules["millstream_node"]),
        (LogLevel::Error, LogLevel::Trace)
    );
    assert_eq!(
        change(
            &mut client,
            LOGGERS,
            "1",
            &[(DELETE, "millstream_node", None)]
        ),
        0
    );
    assert_eq!(of(&mut client, "millstream_node"), "ERROR");
    let good = (SET, "millstream_node", Some("TRACE"));
    for (name, bad, code) in [
        ("1", (SET, "kafka.server.KafkaApis", Some("INFO")), 40),
        ("1", (SET, "root", Some("info")), 40),
        ("1", (DELETE, "root", None), 42),
        ("1", (DELETE, "no.such", None), 40),
        ("1", (APPEND, "root", Some("INFO")), 42),
        ("1", (9, "root", Some("INFO")), 42),
        ("2", (SET, "root", Some("INFO")), 42),
        ("", (SET, "root", Some("INFO")), 42),
    ] {
        assert_eq!(
            change(&mut client, LOGGERS, name, &[good, bad]),
            code,
            "{bad:?}"
        );
        assert_eq!(of(&mut client, "millstream_node"), "ERROR");
    }
    assert_eq!(
        replace(&mut client, LOGGERS, "1", &[("root", Some("INFO"))], false),
        42
    );
    assert_eq!(describe(&mut client, LOGGERS, "").unwrap_err().0, 42);
    assert_eq!(describe(&mut client, LOGGERS, "2").unwrap_err().0, 42);
}

#[test]
fn they_are_there_after_a_restart_but_levels_of_loggers() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node = node_on(&disk, &clock, &[]);
    let mut client = Connection::new(&node, 1);
    let own = [(SET, "share.isolation.level", Some("read_committed"))];
    assert_eq!(change(&mut client, GROUPS, "g", &own), 0);
    assert_eq!(
        change(
            &mut client,
            METRICS,
            "m",
            &[(SET, "interval.ms", Some("100"))]
        ),
        0
    );
    assert_eq!(
        change(&mut client, LOGGERS, "1", &[(SET, "root", Some("ERROR"))]),
        0
    );
    let before = (
        describe(&mut client, GROUPS, "g"),
        describe(&mut client, METRICS, "m"),
    );
    drop(node);
    disk.end_process();
    let node = node_on(&disk, &clock, &[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        (
            describe(&mut client, GROUPS, "g"),
            describe(&mut client, METRICS, "m")
        ),
        before
    );
    assert_eq!(
        config(&mut client, LOGGERS, "1", "root").value.as_deref(),
        Some("INFO")
    );
}
