//! Quotas of clients: stored, asked for, and obeyed.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use common::connection::{Connection, PRODUCE, produce_request, read};
use common::{NOW, TOPIC, create, fill, node, node_on};
use millstream_env::sim::{SimClock, SimDisk};
use millstream_node::Node;
use millstream_protocol::messages::alter_client_quotas_request::{
    AlterClientQuotasRequest, EntityData, EntryData, OpData,
};
use millstream_protocol::messages::describe_client_quotas_request::{
    ComponentData, DescribeClientQuotasRequest,
};
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use millstream_protocol::messages::{
    AlterClientQuotasResponse, DescribeClientQuotasResponse, FetchResponse, ProduceRequest,
    ProduceResponse,
};

/// An entity: types with a name, or the default.
type Entity<'a> = &'a [(&'a str, Option<&'a str>)];
/// Changes of it: keys with a value, or none.
type Changes<'a> = &'a [(&'a str, Option<f64>)];

fn alter(node: &Node, entries: &[(Entity<'_>, Changes<'_>)], validate_only: bool) -> Vec<i16> {
    let entries = entries.iter().map(|(entity, changes)| EntryData {
        entity: entity
            .iter()
            .map(|(one, name)| EntityData {
                entity_type: Cow::Borrowed(*one),
                entity_name: name.map(Cow::Borrowed),
            })
            .collect(),
        ops: changes
            .iter()
            .map(|(key, value)| OpData {
                key: Cow::Borrowed(*key),
                value: value.unwrap_or(0.0),
                remove: value.is_none(),
            })
            .collect(),
    });
    let request = AlterClientQuotasRequest {
        entries: entries.collect(),
        validate_only,
    };
    let bytes = Connection::new(node, 9).ask(1, &request);
    let answer: AlterClientQuotasResponse<'_> = read::<AlterClientQuotasRequest<'_>, _>(&bytes, 1);
    let entries = answer.entries.iter();
    entries
        .map(|entry| {
            assert_eq!(entry.error_code == 0, entry.error_message.is_none());
            entry.error_code
        })
        .collect()
}

fn set(node: &Node, entity: Entity<'_>, key: &str, value: f64) {
    assert_eq!(alter(node, &[(entity, &[(key, Some(value))])], false), [0]);
}

/// The quotas that match, as text, or the code.
fn describe(
    node: &Node,
    components: &[(&str, i8, Option<&str>)],
    strict: bool,
) -> Result<Vec<String>, i16> {
    let components = components
        .iter()
        .map(|(one, match_type, name)| ComponentData {
            entity_type: Cow::Borrowed(*one),
            match_type: *match_type,
            match_: name.map(Cow::Borrowed),
        });
    let request = DescribeClientQuotasRequest {
        components: components.collect(),
        strict,
    };
    let bytes = Connection::new(node, 9).ask(1, &request);
    let answer: DescribeClientQuotasResponse<'_> =
        read::<DescribeClientQuotasRequest<'_>, _>(&bytes, 1);
    let Some(entries) = &answer.entries else {
        assert!(answer.error_message.is_some());
        return Err(answer.error_code);
    };
    let texts = entries.iter().map(|entry| {
        let entity = entry.entity.iter().map(|part| {
            let name = part.entity_name.as_deref().unwrap_or("*");
            format!("{}={name}", part.entity_type)
        });
        let values = entry.values.iter();
        let values = values.map(|value| format!("{}:{}", value.key, value.value));
        let all: Vec<String> = entity.chain(values).collect();
        all.join(" ")
    });
    Ok(texts.collect())
}

const USER: Entity<'static> = &[("user", Some("u"))];
const CLIENT: Entity<'static> = &[("client-id", Some("test"))];
const PRODUCER_RATE: &str = "producer_byte_rate";
const CONSUMER_RATE: &str = "consumer_byte_rate";

#[test]
fn quotas_are_found_by_type_name_default_and_any() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    let node = node_on(&disk, &clock, &[]);
    let both: Entity<'_> = &[("client-id", None), ("user", Some("u"))];
    set(&node, USER, PRODUCER_RATE, 5.0);
    set(&node, &[("user", None)], "request_percentage", 12.5);
    set(&node, both, CONSUMER_RATE, 7.0);
    set(&node, CLIENT, PRODUCER_RATE, 9.0);
    set(
        &node,
        &[("ip", Some("10.0.0.1"))],
        "connection_creation_rate",
        3.0,
    );
    let (user, of_default, of_both) = (
        "user=u producer_byte_rate:5",
        "user=* request_percentage:12.5",
        "client-id=* user=u consumer_byte_rate:7",
    );
    let sorted = |node: &Node, components: &[(&str, i8, Option<&str>)], strict| {
        let mut found = describe(node, components, strict).unwrap();
        found.sort();
        found
    };
    assert_eq!(sorted(&node, &[], false).len(), 5);
    assert_eq!(sorted(&node, &[], true).len(), 0);
    let any_user = [("user", 2, None)];
    assert_eq!(sorted(&node, &any_user, false), [of_both, of_default, user]);
    assert_eq!(sorted(&node, &any_user, true), [of_default, user]);
    let u = [("user", 0, Some("u"))];
    assert_eq!(sorted(&node, &u, false), [of_both, user]);
    assert_eq!(sorted(&node, &[("user", 1, None)], false), [of_default]);
    let u_and_default = [("user", 0, Some("u")), ("client-id", 1, None)];
    assert_eq!(sorted(&node, &u_and_default, true), [of_both]);
    assert_eq!(sorted(&node, &[("ip", 2, None)], true).len(), 1);
    // They are there after a restart, and go one by one.
    node.close().unwrap();
    drop(node);
    let node = node_on(&disk, &clock, &[]);
    assert_eq!(sorted(&node, &u, false), [of_both, user]);
    let remove: Changes<'_> = &[(PRODUCER_RATE, None), (CONSUMER_RATE, None)];
    assert_eq!(alter(&node, &[(USER, remove)], true), [0]);
    assert_eq!(sorted(&node, &u, false), [of_both, user]);
    assert_eq!(alter(&node, &[(USER, remove)], false), [0]);
    assert_eq!(sorted(&node, &u, false), [of_both]);
    assert_eq!(alter(&node, &[(USER, remove)], false), [0], "gone already");
}

#[test]
fn filters_that_make_no_sense_are_refused() {
    let node = node(&[]);
    for (components, code) in [
        (&[("", 2, None)][..], 42),
        (&[("group", 2, None)], 35),
        (&[("user", 2, None), ("user", 1, None)], 42),
        (&[("user", 0, None)], 42),
        (&[("user", 1, Some("u"))], 42),
        (&[("user", 2, Some("u"))], 42),
        (&[("user", 3, None)], 42),
        (&[("ip", 2, None), ("user", 2, None)], 42),
    ] {
        assert_eq!(
            describe(&node, components, false),
            Err(code),
            "{components:?}"
        );
    }
}

#[test]
fn quotas_that_make_no_sense_are_refused_and_others_stored() {
    let node = node(&[]);
    let rate: Changes<'_> = &[(PRODUCER_RATE, Some(1.0))];
    let wrong: &[(Entity<'_>, Changes<'_>)] = &[
        (&[], rate),
        (&[("group", Some("g"))], rate),
        (&[("user", Some(""))], rate),
        (&[("ip", Some("10.0.0.1"))], rate),
        (&[("ip", Some("10.0.0.1")), ("user", None)], rate),
        (
            &[("ip", Some("no address"))],
            &[("connection_creation_rate", Some(1.0))],
        ),
        (
            &[("user", Some("a"))],
            &[("connection_creation_rate", Some(1.0))],
        ),
        (&[("user", Some("b"))], &[("none", Some(1.0))]),
        (&[("user", Some("c"))], &[(PRODUCER_RATE, Some(0.0))]),
        (&[("user", Some("d"))], &[(PRODUCER_RATE, Some(-1.0))]),
        (&[("user", Some("e"))], &[(PRODUCER_RATE, Some(1.5))]),
        (
            &[("user", Some("f"))],
            &[("request_percentage", Some(f64::NAN))],
        ),
        (
            &[("user", Some("g"))],
            &[("request_percentage", Some(f64::INFINITY))],
        ),
        (
            &[("user", Some("h"))],
            &[(PRODUCER_RATE, Some(1.0)), (PRODUCER_RATE, None)],
        ),
        // One key that is wrong stops its entity.
        (
            &[("user", Some("i"))],
            &[(CONSUMER_RATE, Some(1.0)), ("none", Some(1.0))],
        ),
    ];
    for entry in wrong {
        assert_eq!(alter(&node, &[*entry], false), [42], "{entry:?}");
    }
    assert_eq!(describe(&node, &[], false), Ok(vec![]));
    assert_eq!(alter(&node, &[wrong[0], (USER, rate)], false), [42, 0]);
    // Named twice: one answer, and the first is done.
    let other: Changes<'_> = &[(PRODUCER_RATE, Some(2.0))];
    assert_eq!(
        alter(&node, &[(CLIENT, rate), (CLIENT, other)], false),
        [42]
    );
    let expected = [
        "client-id=test producer_byte_rate:1",
        "user=u producer_byte_rate:1",
    ];
    let mut found = describe(&node, &[], false).unwrap();
    found.sort();
    assert_eq!(found, expected);
}

/// Sends a batch of about so many bytes; answers the throttle time and whether the client may send more.
fn produce(client: &mut Connection<'_>, bytes: usize) -> (i32, bool) {
    let batch = common::batch(NOW.0, bytes);
    let answer = client.ask(PRODUCE, &produce_request(1, 0, &batch));
    let answer: ProduceResponse<'_> = read::<ProduceRequest<'_>, _>(&answer, PRODUCE);
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0, "it is taken, whatever the quota");
    (answer.throttle_time_ms, client.may_send())
}

#[test]
fn a_producer_over_its_quota_is_served_and_then_not_read() {
    let clock = Arc::new(SimClock::new(NOW));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &[]);
    let mut client = Connection::new(&node, 1);
    assert_eq!(produce(&mut client, 100_000), (0, true), "no quota");
    set(&node, CLIENT, PRODUCER_RATE, 1000.0);
    assert_eq!(produce(&mut client, 5000), (0, true), "it begins now");
    clock.advance(Duration::from_millis(200));
    let (throttle, may_send) = produce(&mut client, 10_000);
    assert!((4_900..5_400).contains(&throttle), "{throttle}");
    assert!(!may_send);
    clock.advance(Duration::from_millis(throttle as u64 - 1));
    client.time_out();
    assert!(!client.may_send());
    clock.advance(Duration::from_millis(1));
    client.time_out();
    assert!(client.may_send());
    // Connections of one client id share it, also what is sent without an answer.
    let mut other = Connection::new(&node, 2);
    other.produce(0, 0, &common::batch(NOW.0, 10));
    assert!(!other.may_send());
    // Nothing is left of it when nothing counts any more.
    clock.advance(Duration::from_secs(20));
    other.time_out();
    assert_eq!(produce(&mut other, 5000), (0, true));
}

#[test]
fn o9_ten_times_over_its_quota_a_producer_goes_at_its_quota() {
    const RATE: f64 = 100_000.0;
    const STEP: Duration = Duration::from_millis(10);
    let clock = Arc::new(SimClock::new(NOW));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    create(&node, &[]);
    set(&node, CLIENT, PRODUCER_RATE, RATE);
    let mut client = Connection::new(&node, 1);
    let measured = Duration::from_secs(300);
    let (mut taken, mut times_muted, mut passed) = (0.0, 0, Duration::ZERO);
    while passed < measured {
        if client.may_send() {
            let (throttle, may_send) = produce(&mut client, 10_000);
            assert_eq!(throttle > 0, !may_send);
            times_muted += u32::from(!may_send);
            taken += 10_000.0;
        }
        // It comes in bursts, each of what ten seconds allow: as with Kafka.
        let allowed = RATE * (passed.as_secs_f64() + 10.0) * 1.1;
        assert!(taken <= allowed, "{taken} bytes after {passed:?}");
        clock.advance(STEP);
        passed += STEP;
        client.time_out();
    }
    let rate = taken / measured.as_secs_f64();
    assert!(
        (0.9 * RATE..1.1 * RATE).contains(&rate),
        "{rate} bytes a second"
    );
    assert!(times_muted >= 10, "{times_muted}");
}

#[test]
fn the_nearest_quota_applies() {
    let anonymous = Some("ANONYMOUS");
    let order: [Entity<'_>; 8] = [
        &[("client-id", None)],
        &[("client-id", Some("test"))],
        &[("user", None)],
        &[("user", None), ("client-id", None)],
        &[("user", None), ("client-id", Some("test"))],
        &[("user", anonymous)],
        &[("user", anonymous), ("client-id", None)],
        &[("user", anonymous), ("client-id", Some("test"))],
    ];
    let node = node(&[]);
    create(&node, &[]);
    // Each is smaller than those before: only if it applies, the client waits as long.
    let mut limit = 1024.0;
    for entity in order {
        limit /= 2.0;
        set(&node, entity, PRODUCER_RATE, limit);
        let batch = common::batch(NOW.0, 1);
        let mut client = Connection::new(&node, 1);
        let answer = client.ask(PRODUCE, &produce_request(1, 0, &batch));
        let answer: ProduceResponse<'_> = read::<ProduceRequest<'_>, _>(&answer, PRODUCE);
        let quota = node
            .broker
            .view()
            .image
            .quota_of(PRODUCER_RATE, "ANONYMOUS", "test");
        assert_eq!(quota.unwrap().limit, limit, "{entity:?}");
        assert!(answer.throttle_time_ms >= 0);
    }
    // Somebody else's do not.
    for entity in [USER, &[("client-id", Some("other"))]] {
        set(&node, entity, PRODUCER_RATE, 1.0);
    }
    let view = node.broker.view();
    let quota = view.image.quota_of(PRODUCER_RATE, "ANONYMOUS", "test");
    assert_eq!(quota.unwrap().limit, limit);
}

/// Fetches the first partition; answers the throttle time, the topics answered, and the bytes of records.
fn fetch(client: &mut Connection<'_>, bytes_max: i32) -> (i32, usize, usize) {
    let request = FetchRequest {
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: bytes_max,
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition: 0,
                partition_max_bytes: bytes_max,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer = client.ask(12, &request);
    let answer: FetchResponse<'_> = read::<FetchRequest<'_>, _>(&answer, 12);
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let records = partitions.filter_map(|partition| partition.records.as_ref());
    let bytes = records.map(|records| records.len()).sum();
    (answer.throttle_time_ms, answer.responses.len(), bytes)
}

#[test]
fn a_consumer_over_its_quota_gets_nothing_and_waits() {
    let clock = Arc::new(SimClock::new(NOW));
    let node = node_on(&SimDisk::default(), &clock, &[]);
    let partitions = create(&node, &[]);
    fill(&node, &partitions[0], None, 400);
    let mut client = Connection::new(&node, 1);
    let (throttle, topics, all) = fetch(&mut client, 1 << 20);
    assert_eq!((throttle, topics), (0, 1));
    assert!(all > 50_000);
    set(&node, &[("client-id", None)], CONSUMER_RATE, 1000.0);
    // No more than ten seconds of it at once.
    let (throttle, topics, bytes) = fetch(&mut client, 1 << 20);
    assert_eq!(topics, if throttle == 0 { 1 } else { 0 });
    let (throttle, topics, bytes) = match topics {
        1 => (throttle, topics, bytes),
        // The frame around the records was too much: a little less.
        _ => {
            clock.advance(Duration::from_millis(throttle as u64));
            client.time_out();
            fetch(&mut client, 9_000)
        }
    };
    assert_eq!((throttle, topics), (0, 1));
    assert!((8_000..=10_000).contains(&bytes), "{bytes}");
    // What is kept back does not count.
    let waits: Vec<i32> = (0..3)
        .map(|_| {
            let (throttle, topics, bytes) = fetch(&mut Connection::new(&node, 2), 5_000);
            assert_eq!((topics, bytes), (0, 0));
            throttle
        })
        .collect();
    assert!((3_000..6_000).contains(&waits[0]), "{waits:?}");
    assert_eq!(waits, [waits[0]; 3]);
    let _throttled = fetch(&mut client, 5_000);
    assert!(!client.may_send());
    clock.advance(Duration::from_secs(12));
    client.time_out();
    assert_eq!(fetch(&mut client, 5_000).1, 1);
}
