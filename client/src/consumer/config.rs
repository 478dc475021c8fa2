//! The settings of a consumer.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::offsets::Isolation;

/// Where to read when there is no position, or the position is outside the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetReset {
    /// At the first record there is.
    Earliest,
    /// At the next record that is written.
    Latest,
    /// Nowhere: `poll` fails and names the position.
    Fail,
}

/// The settings of a consumer.
#[derive(Debug, Clone)]
pub struct ConsumerConfig {
    /// Group whose committed offsets are read and written; none for positions in memory only.
    pub group_id: Option<String>,
    /// Where to read without a usable position.
    pub offset_reset: OffsetReset,
    /// What is seen of transactions.
    pub isolation: Isolation,
    /// Longest time a broker waits for `fetch_bytes_min`.
    pub fetch_wait_max: Duration,
    /// Bytes worth answering before `fetch_wait_max`.
    pub fetch_bytes_min: i32,
    /// Bytes of one answer, about.
    pub fetch_bytes_max: i32,
    /// Bytes of one partition in an answer, about.
    pub partition_bytes_max: i32,
    /// Most records that one `poll` returns.
    pub poll_records_max: usize,
    /// Whether checksums are checked.
    pub check_crc: bool,
    /// Waits between attempts.
    pub backoff: Backoff,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            group_id: None,
            offset_reset: OffsetReset::Latest,
            isolation: Isolation::ReadUncommitted,
            fetch_wait_max: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 * 1024 * 1024,
            partition_bytes_max: 1024 * 1024,
            poll_records_max: 500,
            check_crc: true,
            backoff: Backoff::default(),
        }
    }
}
