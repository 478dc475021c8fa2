//! Configs of brokers, of one and of all: what is described, what may be changed, and that it is in force.
#![allow(missing_docs, clippy::unwrap_used, clippy::type_complexity)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::configs::{
    APPEND, BROKER as BROKERS, DELETE, SET, SUBTRACT, TOPIC as TOPICS, change, change_all, config,
    describe, replace, value,
};
use common::connection::Connection;
use common::{NOW, TOPIC, batch, create, create_topic, node, node_on};
use millstream_api::ConnectionLimits;
use millstream_env::sim::{SimClock, SimDisk};
use millstream_node::Node;

const DYNAMIC_TOPIC: i8 = 1;
const DYNAMIC_BROKER: i8 = 2;
const DYNAMIC_DEFAULT: i8 = 3;
const STATIC_BROKER: i8 = 4;
const DEFAULT: i8 = 5;

/// The node's id, as a resource.
const OWN: &str = "1";
const ALL: &str = "";

fn place(name: &str, value: &str, source: i8) -> (String, Option<String>, i8) {
    (name.to_owned(), Some(value.to_owned()), source)
}

#[test]
fn a_broker_is_described_with_all_of_kafkas_names() {
    let node = node(&[("log.retention.hours", "5"), ("num.io.threads", "9")]);
    let mut client = Connection::new(&node, 1);
    let described = describe(&mut client, BROKERS, OWN).unwrap();
    assert_eq!(described.len(), 350);
    let names: Vec<&str> = described.iter().map(|config| &*config.name).collect();
    assert!(names.is_sorted());
    let read_only = described.iter().filter(|config| config.read_only);
    assert_eq!(read_only.count(), 246);
    let secret = described.iter().filter(|config| config.sensitive);
    for config in secret.clone() {
        assert_eq!((&config.value, config.type_), (&None, 9), "{}", config.name);
    }
    assert_eq!(secret.count(), 10);
    let threads = config(&mut client, BROKERS, OWN, "num.io.threads");
    assert_eq!(
        (threads.value.as_deref(), threads.source),
        (Some("9"), STATIC_BROKER)
    );
    let places = [
        place("num.io.threads", "9", STATIC_BROKER),
        place("num.io.threads", "8", DEFAULT),
    ];
    assert_eq!(threads.synonyms, places);
    assert_eq!((threads.type_, threads.read_only), (3, false));
    // The names of one thing in several units: each begins with its own.
    let hours = config(&mut client, BROKERS, OWN, "log.retention.hours");
    let places = [
        place("log.retention.hours", "5", STATIC_BROKER),
        place("log.retention.hours", "168", DEFAULT),
    ];
    assert_eq!(
        (hours.synonyms.as_slice(), hours.read_only),
        (&places[..], true)
    );
    let ms = config(&mut client, BROKERS, OWN, "log.retention.ms");
    assert_eq!((ms.value, ms.source, ms.read_only), (None, DEFAULT, false));
    assert_eq!(ms.synonyms, []);
    assert_eq!(describe(&mut client, BROKERS, ALL), Ok(Vec::new()));
}

#[test]
fn only_this_broker_and_all_of_them_are_there() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let set = [(SET, "log.retention.ms", Some("5"))];
    for other in ["2", "-1", "one", "99999999999"] {
        assert_eq!(
            describe(&mut client, BROKERS, other).unwrap_err().0,
            42,
            "{other}"
        );
        assert_eq!(change(&mut client, BROKERS, other, &set), 42, "{other}");
    }
    assert_eq!(change(&mut client, BROKERS, "01", &set), 0);
    assert_eq!(
        value(&mut client, BROKERS, "1", "log.retention.ms"),
        ("5".to_owned(), DYNAMIC_BROKER)
    );
}

#[test]
fn the_nearest_place_is_in_force() {
    let node = node(&[("log.retention.ms", "4000")]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    let set = |client: &mut Connection<'_>, type_, name, key, value| {
        assert_eq!(change(client, type_, name, &[(SET, key, Some(value))]), 0);
    };
    let in_force = |client: &mut Connection<'_>| value(client, TOPICS, TOPIC, "retention.ms");
    assert_eq!(in_force(&mut client), ("4000".to_owned(), STATIC_BROKER));
    set(&mut client, BROKERS, ALL, "log.retention.ms", "3000");
    assert_eq!(in_force(&mut client), ("3000".to_owned(), DYNAMIC_DEFAULT));
    set(&mut client, BROKERS, OWN, "log.retention.ms", "2000");
    assert_eq!(in_force(&mut client), ("2000".to_owned(), DYNAMIC_BROKER));
    set(&mut client, TOPICS, TOPIC, "retention.ms", "1000");
    let of_topic = config(&mut client, TOPICS, TOPIC, "retention.ms");
    let below = [
        place("log.retention.ms", "2000", DYNAMIC_BROKER),
        place("log.retention.ms", "3000", DYNAMIC_DEFAULT),
        place("log.retention.ms", "4000", STATIC_BROKER),
        place("log.retention.hours", "168", DEFAULT),
    ];
    assert_eq!(
        of_topic.synonyms[0],
        place("retention.ms", "1000", DYNAMIC_TOPIC)
    );
    assert_eq!(of_topic.synonyms[1..], below);
    let of_broker = config(&mut client, BROKERS, OWN, "log.retention.ms");
    assert_eq!(
        (of_broker.value.as_deref(), of_broker.synonyms.as_slice()),
        (Some("2000"), &below[..])
    );
    // Of all brokers only what was set for all is shown.
    let of_all = describe(&mut client, BROKERS, ALL).unwrap();
    assert_eq!(of_all.len(), 1);
    assert_eq!(
        of_all[0].synonyms,
        [place("log.retention.ms", "3000", DYNAMIC_DEFAULT)]
    );
    assert_eq!(
        (of_all[0].value.as_deref(), of_all[0].source),
        (Some("3000"), DYNAMIC_DEFAULT)
    );
    for (type_, name, key) in [
        (TOPICS, TOPIC, "retention.ms"),
        (BROKERS, OWN, "log.retention.ms"),
        (BROKERS, ALL, "log.retention.ms"),
    ] {
        assert_eq!(change(&mut client, type_, name, &[(DELETE, key, None)]), 0);
    }
    assert_eq!(in_force(&mut client), ("4000".to_owned(), STATIC_BROKER));
}

#[test]
fn what_cannot_be_changed_is_refused() {
    let node = node(&[("num.io.threads", "8")]);
    let mut client = Connection::new(&node, 1);
    let good = (SET, "log.retention.ms", Some("1000"));
    let long = "n".repeat(1001);
    let cases: &[(&str, (i8, &str, Option<&str>), i16)] = &[
        // By a restart.
        (OWN, (SET, "log.retention.hours", Some("1")), 42),
        (ALL, (SET, "auto.create.topics.enable", Some("true")), 42),
        (
            OWN,
            (SET, "advertised.listeners", Some("PLAINTEXT://a:1")),
            42,
        ),
        // One broker's own, or nothing that is here.
        (ALL, (SET, "listeners", Some("PLAINTEXT://:9092")), 42),
        (OWN, (SET, "listeners", Some("PLAINTEXT://:9093")), 42),
        (OWN, (SET, "ssl.keystore.location", Some("/a")), 42),
        (OWN, (SET, "sasl.jaas.config", Some("a")), 42),
        (
            OWN,
            (SET, "listener.name.a.ssl.keystore.location", Some("/a")),
            42,
        ),
        (ALL, (SET, "cordoned.log.dirs", Some("/data")), 42),
        // Values.
        (OWN, (SET, "log.segment.bytes", Some("1")), 42),
        (ALL, (SET, "message.max.bytes", Some("much")), 42),
        (
            ALL,
            (SET, "log.cleaner.io.max.bytes.per.second", Some("0")),
            42,
        ),
        (
            ALL,
            (
                SET,
                "log.cleaner.min.compaction.lag.ms",
                Some("9223372036854775807"),
            ),
            0,
        ),
        (
            ALL,
            (SET, "log.cleaner.max.compaction.lag.ms", Some("5")),
            42,
        ),
        (ALL, (DELETE, "log.cleaner.min.compaction.lag.ms", None), 0),
        (ALL, (SET, "num.io.threads", Some("3")), 42),
        (ALL, (SET, "num.io.threads", Some("17")), 42),
        (ALL, (SET, "num.io.threads", Some("16")), 0),
        (ALL, (DELETE, "num.io.threads", None), 0),
        (
            ALL,
            (SET, "leader.replication.throttled.rate", Some("-1")),
            42,
        ),
        (ALL, (SET, &long, Some("-1")), 44),
        // Operations.
        (ALL, (SET, "log.retention.bytes", None), 42),
        (ALL, (SET, "log.retention.ms", Some("2")), 42),
        (ALL, (APPEND, "log.segment.bytes", Some("1")), 40),
        (ALL, (SUBTRACT, "no.such", Some("1")), 40),
        (ALL, (7, "log.segment.bytes", Some("1")), 42),
        (ALL, (DELETE, "no.such", None), 0),
        (ALL, (DELETE, "log.retention.hours", None), 0),
    ];
    for (name, bad, code) in cases {
        let asked: &[(_, _, &[_])] = &[(BROKERS, *name, &[good, *bad])];
        let (answered, message) = &change_all(&mut client, asked, false)[0];
        assert_eq!(answered, code, "{name:?} {bad:?}: {message}");
        let stored = describe(&mut client, BROKERS, name).unwrap();
        let stored = stored
            .iter()
            .find(|config| config.name == "log.retention.ms");
        let is_stored = stored.is_some_and(|config| config.source != DEFAULT);
        assert_eq!(is_stored, *code == 0, "{bad:?}");
        assert_eq!(
            change(
                &mut client,
                BROKERS,
                name,
                &[(DELETE, "log.retention.ms", None)]
            ),
            0
        );
    }
}

#[test]
fn names_that_nobody_knows_are_kept_and_not_shown() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        change(
            &mut client,
            BROKERS,
            ALL,
            &[(SET, "my.secret", Some("x y"))]
        ),
        0
    );
    for name in [OWN, ALL] {
        let unknown = config(&mut client, BROKERS, name, "my.secret");
        assert_eq!(
            (unknown.value, unknown.type_, unknown.sensitive),
            (None, 0, true)
        );
        assert_eq!((unknown.source, unknown.read_only), (DYNAMIC_DEFAULT, true));
        assert_eq!(
            unknown.synonyms,
            [("my.secret".to_owned(), None, DYNAMIC_DEFAULT)]
        );
    }
    // Not without end.
    let names: Vec<String> = (0..1000).map(|i| format!("name.{i}")).collect();
    let all: Vec<_> = names
        .iter()
        .map(|name| (SET, name.as_str(), Some("v")))
        .collect();
    assert_eq!(change(&mut client, BROKERS, OWN, &all), 0);
    assert_eq!(
        change(&mut client, BROKERS, OWN, &[(SET, "one.more", Some("v"))]),
        44
    );
    assert_eq!(
        change(&mut client, BROKERS, OWN, &[(SET, "name.7", Some("w"))]),
        0
    );
}

#[test]
fn all_dynamic_configs_are_replaced_at_once() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let first = [
        ("log.retention.ms", Some("1")),
        ("log.segment.bytes", Some("2000000")),
    ];
    assert_eq!(replace(&mut client, BROKERS, ALL, &first, false), 0);
    assert_eq!(
        replace(
            &mut client,
            BROKERS,
            ALL,
            &[("log.retention.ms", Some("2"))],
            true
        ),
        0
    );
    assert_eq!(describe(&mut client, BROKERS, ALL).unwrap().len(), 2);
    assert_eq!(
        replace(
            &mut client,
            BROKERS,
            ALL,
            &[("log.retention.ms", Some("2"))],
            false
        ),
        0
    );
    let left = describe(&mut client, BROKERS, ALL).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].value.as_deref(), Some("2"));
    assert_eq!(
        replace(
            &mut client,
            BROKERS,
            ALL,
            &[("broker.rack", Some("a"))],
            false
        ),
        42
    );
}

#[test]
fn lists_grow_from_what_the_broker_has() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let append = [(APPEND, "log.cleanup.policy", Some("compact"))];
    assert_eq!(change(&mut client, BROKERS, ALL, &append), 0);
    assert_eq!(
        value(&mut client, BROKERS, ALL, "log.cleanup.policy").0,
        "delete,compact"
    );
}

#[test]
fn topics_that_have_no_config_of_their_own_follow_at_once() {
    let node = node(&[]);
    create_topic(
        &node,
        "own",
        1,
        &[("max.message.bytes", "5000"), ("segment.bytes", "4000000")],
    );
    let partitions = create(&node, &[]);
    let own = common::partition(&node, "own", 0);
    let mut client = Connection::new(&node, 1);
    let set = [
        (SET, "message.max.bytes", Some("500")),
        (SET, "log.segment.bytes", Some("3000000")),
        (SET, "producer.id.expiration.ms", Some("9000")),
    ];
    assert_eq!(change(&mut client, BROKERS, ALL, &set), 0);
    client.produce(1, 0, &batch(NOW.0, 1000));
    assert_eq!(client.produced().unwrap().error, 10);
    let log = |partition: &Arc<millstream_replica::HostedPartition>| {
        let log = *partition.lock().unwrap().log().config();
        (log.segment_bytes, log.producer_expiration)
    };
    assert_eq!(log(&partitions[2]), (3_000_000, Duration::from_secs(9)));
    assert_eq!(log(&own), (4_000_000, Duration::from_secs(9)));
    assert_eq!(
        node.broker
            .view()
            .topic("own")
            .unwrap()
            .config
            .max_message_bytes,
        5000
    );
    // And so does a topic that is created later.
    create_topic(&node, "later", 1, &[]);
    assert_eq!(log(&common::partition(&node, "later", 0)).0, 3_000_000);
    let back: Vec<_> = set
        .iter()
        .map(|(_, name, _)| (DELETE, *name, None))
        .collect();
    assert_eq!(change(&mut client, BROKERS, ALL, &back), 0);
    client.produce(1, 0, &batch(NOW.0, 1000));
    assert_eq!(client.produced().unwrap().error, 0);
    assert_eq!(log(&partitions[2]), (1 << 30, Duration::from_secs(7)));
}

#[test]
fn what_the_broker_does_by_itself_follows_too() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let before = node.compaction_config();
    let limits = |listener| node.connection_limits(listener, "10.0.0.1".parse().unwrap());
    assert_eq!(limits("a"), ConnectionLimits::default());
    let set = [
        (SET, "log.cleaner.backoff.ms", Some("77")),
        (
            SET,
            "log.cleaner.dedupe.buffer.size",
            Some("9223372036854775807"),
        ),
        (SET, "log.cleaner.io.max.bytes.per.second", Some("1000.5")),
        (SET, "max.connections", Some("12")),
        (SET, "max.connections.per.ip", Some("3")),
        (SET, "max.connection.creation.rate", Some("40")),
        (SET, "listener.name.a.max.connections", Some("5")),
        (
            SET,
            "listener.name.a.max.connection.creation.rate",
            Some("6"),
        ),
    ];
    assert_eq!(change(&mut client, BROKERS, OWN, &set), 0);
    let now = node.compaction_config();
    assert_eq!(now.backoff, Duration::from_millis(77));
    assert_eq!(now.bytes_per_second_max, 1000.5);
    // As much as Kafka takes for one thread, and no request can ask for more.
    assert_eq!(now.map_bytes, i32::MAX as usize);
    let of_a = ConnectionLimits {
        all: 12,
        of_listener: 5,
        from_address: 3,
        rate: Some(40),
        listener_rate: Some(6),
    };
    assert_eq!(limits("a"), of_a);
    let of_b = ConnectionLimits {
        of_listener: usize::MAX,
        listener_rate: None,
        ..of_a
    };
    assert_eq!(limits("b"), of_b);
    let limit = config(&mut client, BROKERS, OWN, "listener.name.a.max.connections");
    assert_eq!((limit.value.as_deref(), limit.type_), (Some("5"), 3));
    assert!(!limit.sensitive && !limit.read_only);
    let back: Vec<_> = set
        .iter()
        .map(|(_, name, _)| (DELETE, *name, None))
        .collect();
    assert_eq!(change(&mut client, BROKERS, OWN, &back), 0);
    assert_eq!(node.compaction_config(), before);
    assert_eq!(limits("a"), ConnectionLimits::default());
}

#[test]
fn dynamic_configs_are_there_after_a_restart() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node: Node = node_on(&disk, &clock, &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        change(
            &mut client,
            BROKERS,
            ALL,
            &[(SET, "log.segment.bytes", Some("3000000"))]
        ),
        0
    );
    assert_eq!(
        change(&mut client, BROKERS, OWN, &[(SET, "my.own", Some("v"))]),
        0
    );
    let before = [OWN, ALL].map(|name| describe(&mut client, BROKERS, name).unwrap());
    drop(node);
    disk.end_process();
    let node = node_on(&disk, &clock, &[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(
        [OWN, ALL].map(|name| describe(&mut client, BROKERS, name).unwrap()),
        before
    );
    assert_eq!(before[0].len(), 351);
    let partition = common::partition(&node, TOPIC, 0);
    assert_eq!(
        partition.lock().unwrap().log().config().segment_bytes,
        3_000_000
    );
}

#[test]
fn single_addresses_have_limits_of_their_own() {
    let settings = [
        ("max.connections.per.ip", "7"),
        ("max.connections.per.ip.overrides", "10.0.0.1:2"),
    ];
    let node = node(&settings);
    let mut client = Connection::new(&node, 1);
    let limit = |address: &str| {
        let limits = node.connection_limits("plaintext", address.parse().unwrap());
        limits.from_address
    };
    assert_eq!((limit("10.0.0.1"), limit("10.0.0.2")), (2, 7));
    let name = "max.connections.per.ip.overrides";
    let set = |value| [(SET, name, Some(value))];
    // For all brokers, under the file of none of them.
    let change = |client: &mut Connection<'_>, value| change(client, BROKERS, ALL, &set(value));
    assert_eq!(change(&mut client, " ::ffff:10.0.0.2:5, ::1:0 "), 0);
    assert_eq!((limit("10.0.0.1"), limit("10.0.0.2")), (7, 5));
    assert_eq!((limit("::1"), limit("::2")), (0, 7));
    for refused in ["localhost:5", "10.0.0.1", "10.0.0.1:-1"] {
        assert_eq!(change(&mut client, refused), 42, "{refused}");
    }
}

#[test]
fn nobody_can_be_let_in_only_with_exceptions() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let nobody = (SET, "max.connections.per.ip", Some("0"));
    let exception = (SET, "max.connections.per.ip.overrides", Some("10.0.0.1:5"));
    assert_eq!(change(&mut client, BROKERS, OWN, &[nobody]), 42);
    assert_eq!(change(&mut client, BROKERS, OWN, &[nobody, exception]), 0);
    let delete = (DELETE, exception.1, None);
    assert_eq!(change(&mut client, BROKERS, OWN, &[delete]), 42);
}

#[test]
fn of_single_listeners_only_limits_are_changed() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let set = |name| [(SET, name, Some("5"))];
    let limit = set("listener.name.a.max.connections");
    assert_eq!(change(&mut client, BROKERS, ALL, &limit), 0);
    let threads = set("listener.name.a.num.network.threads");
    assert_eq!(change(&mut client, BROKERS, OWN, &threads), 42);
    let negative = [(SET, "listener.name.a.max.connections", Some("-1"))];
    assert_eq!(change(&mut client, BROKERS, OWN, &negative), 42);
}
