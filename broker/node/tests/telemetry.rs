//! Clients that offer metrics are told that none are wanted, and what they send all the same is checked.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::borrow::Cow;

use common::configs::{SET, change};
use common::connection::{Connection, read};
use common::node;
use millstream_protocol::messages::{
    GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
    PushTelemetryResponse,
};

const CLIENT_METRICS: i8 = 16;
const ZSTD: i8 = 4;

const INVALID_REQUEST: i16 = 42;
const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
const UNKNOWN_SUBSCRIPTION_ID: i16 = 117;
const TELEMETRY_TOO_LARGE: i16 = 118;

/// What a client is told: its id, its subscription's id, and how many metrics are wanted of it.
fn subscribe(client: &mut Connection<'_>, client_instance_id: [u8; 16]) -> ([u8; 16], i32, usize) {
    let asked = GetTelemetrySubscriptionsRequest { client_instance_id };
    let bytes = client.ask(0, &asked);
    let told: GetTelemetrySubscriptionsResponse<'_> =
        read::<GetTelemetrySubscriptionsRequest, _>(&bytes, 0);
    assert_eq!((told.error_code, told.throttle_time_ms), (0, 0));
    assert_eq!(told.accepted_compression_types, [4, 3, 1, 2]);
    assert_eq!(told.push_interval_ms, 300_000);
    assert_eq!(told.telemetry_max_bytes, 1 << 20);
    assert!(told.delta_temporality);
    (
        told.client_instance_id,
        told.subscription_id,
        told.requested_metrics.len(),
    )
}

fn push(client: &mut Connection<'_>, request: &PushTelemetryRequest<'_>) -> i16 {
    let bytes = client.ask(0, request);
    let answer: PushTelemetryResponse = read::<PushTelemetryRequest<'_>, _>(&bytes, 0);
    assert_eq!(answer.throttle_time_ms, 0);
    answer.error_code
}

#[test]
fn a_new_client_gets_an_id_and_no_metrics_to_push() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let (first, first_subscription, wanted) = subscribe(&mut client, [0; 16]);
    let (second, second_subscription, _) = subscribe(&mut client, [0; 16]);
    assert_eq!(wanted, 0);
    assert_ne!(first, [0; 16]);
    assert_ne!(first, second);
    assert_ne!(first_subscription, second_subscription);
    // Whoever has an id keeps it, and its subscription with it.
    let again = subscribe(&mut Connection::new(&node, 2), first);
    assert_eq!(again, (first, first_subscription, 0));
}

#[test]
fn subscriptions_that_are_configured_ask_nobody() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let all = [
        (SET, "metrics", Some("*")),
        (SET, "interval.ms", Some("1000")),
    ];
    assert_eq!(change(&mut client, CLIENT_METRICS, "everything", &all), 0);
    assert_eq!(subscribe(&mut client, [0; 16]).2, 0);
}

#[test]
fn a_push_is_checked_in_kafkas_order() {
    let node = node(&[]);
    let mut client = Connection::new(&node, 1);
    let (id, subscription, _) = subscribe(&mut client, [7; 16]);
    let metrics = vec![0; (1 << 20) + 1];
    let mut request = PushTelemetryRequest {
        client_instance_id: [0; 16],
        subscription_id: subscription ^ 1,
        terminating: false,
        compression_type: 5,
        metrics: Cow::Borrowed(&metrics),
    };
    assert_eq!(push(&mut client, &request), INVALID_REQUEST);
    request.client_instance_id[15] = 1;
    assert_eq!(push(&mut client, &request), INVALID_REQUEST);
    request.client_instance_id = id;
    assert_eq!(push(&mut client, &request), UNKNOWN_SUBSCRIPTION_ID);
    request.subscription_id = subscription;
    assert_eq!(push(&mut client, &request), UNSUPPORTED_COMPRESSION_TYPE);
    request.compression_type = ZSTD;
    assert_eq!(push(&mut client, &request), TELEMETRY_TOO_LARGE);
    request.metrics = Cow::Borrowed(&metrics[1..]);
    assert_eq!(push(&mut client, &request), 0);
    // Not compressed is a codec too, and the last push may be empty.
    request.compression_type = 0;
    request.metrics = Cow::Borrowed(&[]);
    request.terminating = true;
    assert_eq!(push(&mut client, &request), 0);
}
