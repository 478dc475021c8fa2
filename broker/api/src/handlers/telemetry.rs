//! GetTelemetrySubscriptions and PushTelemetry, version 0 (KIP-714).
//!
//! Nobody receives the metrics of clients here, so no client is asked for any: the subscription that is
//! answered names no metrics, whatever subscriptions are configured, and a client with it pushes nothing and
//! asks again after the interval. A push is checked as Kafka checks it, and its metrics are dropped.
//!
//! Nothing is remembered of a client: the id of its subscription follows from that of its instance. So what
//! needs a memory is left out: requests before the interval has passed are answered, and so is a push after
//! one that said it was the last.

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::get_telemetry_subscriptions_request::GetTelemetrySubscriptionsRequest;
use millstream_protocol::messages::get_telemetry_subscriptions_response::GetTelemetrySubscriptionsResponse;
use millstream_protocol::messages::push_telemetry_request::PushTelemetryRequest;
use millstream_protocol::messages::push_telemetry_response::PushTelemetryResponse;
use millstream_protocol::records::Codec;

use crate::dispatch::Request;
use crate::{Broker, Handled};

/// The codecs in Kafka's order: a client takes the first that it has.
const CODECS: [Codec; 4] = [Codec::Zstd, Codec::Lz4, Codec::Gzip, Codec::Snappy];
/// When a client asks again, in milliseconds: Kafka's interval of a subscription that has none.
const INTERVAL_MS: i32 = 300_000;
/// Tells the ids of subscriptions from those of instances.
const NO_METRICS: u32 = 0x6e6f_6e65;

/// The id of a client that has not got one yet.
const NEW: u128 = 0;
/// Kafka's reserved ids end here: nobody's, and that of the metadata topic.
const RESERVED_MAX: u128 = 1;

pub(crate) fn subscriptions(
    broker: &Broker,
    request: &Request<'_>,
    body: &GetTelemetrySubscriptionsRequest,
) -> Handled {
    let mut instance = u128::from_be_bytes(body.client_instance_id);
    if instance == NEW {
        instance = broker.random_u128().max(RESERVED_MAX + 1);
    }
    let telemetry_max_bytes = i32::try_from(broker.config.telemetry_bytes_max);
    request.reply.answered(&GetTelemetrySubscriptionsResponse {
        client_instance_id: instance.to_be_bytes(),
        subscription_id: subscription_id(instance),
        accepted_compression_types: CODECS.map(|codec| codec as i8).to_vec(),
        push_interval_ms: INTERVAL_MS,
        telemetry_max_bytes: telemetry_max_bytes.unwrap_or(i32::MAX),
        delta_temporality: true,
        ..GetTelemetrySubscriptionsResponse::default()
    })
}

pub(crate) fn push(
    broker: &Broker,
    request: &Request<'_>,
    body: &PushTelemetryRequest<'_>,
) -> Handled {
    let code = check_push(broker.config.telemetry_bytes_max, body).err();
    request.reply.answered(&PushTelemetryResponse {
        error_code: code.unwrap_or(ErrorCode::None).code(),
        ..PushTelemetryResponse::default()
    })
}

/// Kafka's checks in Kafka's order, without those that need a memory of the client.
fn check_push(bytes_max: usize, body: &PushTelemetryRequest<'_>) -> Result<(), ErrorCode> {
    let instance = u128::from_be_bytes(body.client_instance_id);
    if instance <= RESERVED_MAX {
        return Err(ErrorCode::InvalidRequest);
    }
    if body.subscription_id != subscription_id(instance) {
        return Err(ErrorCode::UnknownSubscriptionId);
    }
    let is_known = |codec: &Codec| *codec as i8 == body.compression_type;
    if body.compression_type != Codec::None as i8 && !CODECS.iter().any(is_known) {
        return Err(ErrorCode::UnsupportedCompressionType);
    }
    match body.metrics.len() > bytes_max {
        true => Err(ErrorCode::TelemetryTooLarge),
        false => Ok(()),
    }
}

/// Another for each instance, and for each always the same.
fn subscription_id(instance: u128) -> i32 {
    let half = (instance >> 64) as u64 ^ instance as u64;
    let folded = (half >> 32) as u32 ^ half as u32;
    (folded ^ NO_METRICS) as i32
}
