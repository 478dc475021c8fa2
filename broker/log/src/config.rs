//! The settings of one log.

use std::time::Duration;

use millstream_model::Offset;

/// Bytes after which what is written in the background is synced: all at once at its end would hold up everybody
/// else's syncs.
pub(crate) const UNSYNCED_MAX: u64 = 2 << 20;

/// When segments roll, how dense indexes are, how long producers are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Largest size of a segment (`segment.bytes`).
    pub segment_bytes: u32,
    /// Longest span of record time in a segment, in milliseconds (`segment.ms`).
    pub segment_ms: i64,
    /// What is taken off that span is random and below this, in milliseconds (`segment.jitter.ms`):
    /// logs that begin together then do not roll, and sync what a roll leaves, together.
    pub segment_jitter_ms: i64,
    /// Random bits of this log, from which each segment's part is made.
    pub segment_jitter_seed: u64,
    /// Bytes between two index entries (`index.interval.bytes`).
    pub index_interval_bytes: u32,
    /// Largest size of an index file (`segment.index.bytes`).
    pub segment_index_bytes: u32,
    /// How long an idle producer is remembered (`producer.id.expiration.ms`).
    pub producer_expiration: Duration,
    /// Bytes of recent batches kept in memory, per log.
    pub cache_bytes_max: usize,
    /// Whether records may use the room that is kept for the broker's own: those of internal topics.
    pub may_use_reserve: bool,
}

impl LogConfig {
    /// The bound of a segment's size. Positions in index files are 31 bits wide.
    pub(crate) fn segment_bytes_max(&self) -> u64 {
        u64::from(self.segment_bytes.min(i32::MAX as u32))
    }

    /// The longest span of record time in the segment that begins at `base`, in milliseconds. *Bounds*:
    /// above 0. The same as long as the log is open: of many draws the shortest would count.
    pub(crate) fn segment_ms_of(&self, base: Offset) -> i64 {
        match self.segment_jitter_ms.min(self.segment_ms) {
            bound @ 1.. => self.segment_ms - (self.bits_of(base) % bound as u64) as i64,
            _ => self.segment_ms,
        }
    }

    /// Bits as random as the seed's, others for each offset (the output step of SplitMix64, Steele,
    /// Lea and Flood 2014).
    fn bits_of(&self, base: Offset) -> u64 {
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.segment_jitter_seed;
        bits = bits.wrapping_add((base.0 as u64).wrapping_mul(GOLDEN));
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 3600 * 1000,
            segment_jitter_ms: 0,
            segment_jitter_seed: 0,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            producer_expiration: Duration::from_secs(24 * 3600),
            cache_bytes_max: 2 << 20,
            may_use_reserve: false,
        }
    }
}
