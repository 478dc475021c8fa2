//! The settings of a producer.

use std::time::Duration;

use millstream_protocol::records::Codec;

use crate::backoff::Backoff;

/// When the broker answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Never: records may be lost without notice, and offsets are not known.
    None,
    /// When the leader has the records.
    Leader,
    /// When all in-sync replicas have them.
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

/// The settings of a producer.
#[derive(Debug, Clone)]
pub struct ProducerConfig {
    /// Records of one partition are gathered up to this many bytes before compression.
    pub batch_bytes: usize,
    /// How long a batch that is not full waits for more records.
    pub linger: Duration,
    /// Compression of batches.
    pub compression: Codec,
    /// When the broker answers.
    pub acks: Acks,
    /// Whether retries are kept from duplicating or reordering records (needs `acks` All).
    pub idempotent: bool,
    /// Requests without an answer per broker, and batches without one per partition; at most 5 with `idempotent`,
    /// because a broker remembers the last 5 batches. Without `idempotent` a partition has one batch on its way, which
    /// keeps the order.
    pub in_flight_max: usize,
    /// Longest request, in bytes.
    pub request_bytes_max: usize,
    /// Bytes of records not yet acknowledged; past that, `enqueue` waits.
    pub buffer_bytes: usize,
    /// How long `enqueue` waits for room and for metadata.
    pub enqueue_timeout: Duration,
    /// How long a record may take from `enqueue` to its acknowledgement. Attempts end then; one that is on its way may
    /// still take a request timeout.
    pub delivery_timeout: Duration,
    /// Waits between attempts.
    pub backoff: Backoff,
    /// How long the broker may wait for replicas.
    pub replication_timeout: Duration,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            batch_bytes: 64 * 1024,
            linger: Duration::from_millis(5),
            compression: Codec::None,
            acks: Acks::All,
            idempotent: true,
            in_flight_max: 5,
            request_bytes_max: 1024 * 1024,
            buffer_bytes: 32 * 1024 * 1024,
            enqueue_timeout: Duration::from_secs(60),
            delivery_timeout: Duration::from_secs(120),
            backoff: Backoff::default(),
            replication_timeout: Duration::from_secs(30),
        }
    }
}

/// Settings that cannot go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("producer setting {setting}: {reason}")]
pub struct BadProducerConfig {
    /// The field's name.
    pub setting: &'static str,
    /// What is wrong and what to do.
    pub reason: &'static str,
}

impl ProducerConfig {
    /// Checks that the settings go together.
    pub fn check(&self) -> Result<(), BadProducerConfig> {
        let bad = |setting, reason| Err(BadProducerConfig { setting, reason });
        if self.idempotent && self.acks != Acks::All {
            return bad(
                "idempotent",
                "needs acks All; set idempotent to false or acks to All",
            );
        }
        if self.in_flight_max == 0 {
            return bad("in_flight_max", "must be at least 1");
        }
        if self.idempotent && self.in_flight_max > 5 {
            return bad(
                "in_flight_max",
                "must be at most 5 with idempotent, a broker remembers 5 batches",
            );
        }
        if self.buffer_bytes < self.batch_bytes {
            return bad("buffer_bytes", "must be at least batch_bytes");
        }
        if self.buffer_bytes > u32::MAX as usize {
            return bad("buffer_bytes", "must be below 4 GiB");
        }
        if self.linger >= self.delivery_timeout {
            return bad("linger", "must be shorter than delivery_timeout");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together_and_contradictions_are_named() {
        assert_eq!(ProducerConfig::default().check(), Ok(()));
        let contradiction = ProducerConfig {
            acks: Acks::Leader,
            ..Default::default()
        };
        assert_eq!(
            contradiction.check().map_err(|bad| bad.setting),
            Err("idempotent")
        );
        let six = ProducerConfig {
            in_flight_max: 6,
            ..Default::default()
        };
        assert_eq!(six.check().map_err(|bad| bad.setting), Err("in_flight_max"));
    }
}
