//! Settings of the broker that may change while it runs: what the metadata says over what it was started with.

use std::str::FromStr;
use std::time::Duration;

use millstream_metadata::{BrokerLayers, Image};

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

    /// Connections open at once (`max.connections`), where that was changed while the broker runs.
    #[must_use]
    pub fn dynamic_connections_max(&self) -> Option<usize> {
        let image = &self.broker.view().image;
        dynamic(&self.layers(image), "max.connections")
    }
}

/// What is given dynamically, if it reads: it was checked when it was stored, perhaps by another release.
pub(crate) fn dynamic<T: FromStr>(layers: &BrokerLayers<'_>, name: &str) -> Option<T> {
    layers.dynamic(name)?.parse().ok()
}

pub(crate) fn duration_of_ms(ms: u64) -> Duration {
    Duration::from_millis(ms).min(DURATION_MAX)
}
