//! The settings of one log.

use std::time::Duration;

/// When segments roll, how dense indexes are, how long producers are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Largest size of a segment (`segment.bytes`).
    pub segment_bytes: u32,
    /// Longest span of record time in a segment, in milliseconds (`segment.ms`, less its jitter).
    pub segment_ms: i64,
    /// Bytes between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Largest size of an index file (`segment.index.bytes`).
    pub segment_index_bytes: u32,
    /// How long an idle producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
    /// Bytes of recent batches kept in memory, per log.
    pub cache_bytes_max: usize,
}

impl LogConfig {
    /// The bound of a segment's size. Positions in index files are 31 bits wide.
    pub(crate) fn segment_bytes_max(&self) -> u64 {
        u64::from(self.segment_bytes.min(i32::MAX as u32))
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            producer_expiration: Duration::from_secs(24 * 3600),
            cache_bytes_max: 2 << 20,
        }
    }
}
