//! Settings of the broker that may change while it runs: what the metadata says over what it was started with.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use millstream_api::ConnectionLimits;
use millstream_metadata::{BrokerLayers, Image, LISTENER_PREFIX, limit_of_address};

use crate::Node;

/// Longer durations mean the same: never.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Node {
    /// Where the configs of topics and of the broker come from.
    pub(crate) fn layers<'a>(&'a self, image: &'a Image) -> BrokerLayers<'a> {
        let file = &self.config.controller.file_configs;
        BrokerLayers::new(image, self.config.node_id, file)
    }

    /// How long an idle producer's sequence is remembered.
    pub(crate) fn producer_expiration(&self, image: &Image) -> Duration {
        let given = dynamic(&self.layers(image), "producer.id.expiration.ms");
        given.map_or(self.config.producer_expiration, duration_of_ms)
    }

    /// What holds for a new connection of a listener, its name in small letters, from an address
    /// (`max.connections` and its like), as configured now.
    #[must_use]
    pub fn connection_limits(&self, listener: &str, address: IpAddr) -> ConnectionLimits {
        let image = &self.broker.view().image;
        let layers = self.layers(image);
        let of_listener = |name| format!("{LISTENER_PREFIX}{listener}.{name}");
        let number = |name: &str| layers.given(name)?.parse::<u32>().ok();
        let count = |name: &str| number(name).map_or(usize::MAX, |count| count as usize);
        // Kafka's default, the largest number, means that nobody asked for a bound.
        let rate = |name: &str| number(name).filter(|rate| *rate != i32::MAX as u32);
        let overrides = layers.given("max.connections.per.ip.overrides");
        let overridden = overrides.and_then(|limits| limit_of_address(limits, address));
        ConnectionLimits {
            all: count("max.connections"),
            of_listener: count(&of_listener("max.connections")),
            from_address: overridden.unwrap_or_else(|| count("max.connections.per.ip")),
            rate: rate("max.connection.creation.rate"),
            listener_rate: rate(&of_listener("max.connection.creation.rate")),
        }
    }
}

/// What is given dynamically, if it reads: it was checked when it was stored, perhaps by another release.
pub(crate) fn dynamic<T: FromStr>(layers: &BrokerLayers<'_>, name: &str) -> Option<T> {
    layers.dynamic(name)?.parse().ok()
}

pub(crate) fn duration_of_ms(ms: u64) -> Duration {
    Duration::from_millis(ms).min(DURATION_MAX)
}
