//! What the broker counts of the requests that it answers.

use std::sync::atomic::{AtomicU64, Ordering};

use millstream_protocol::ApiKey;

/// More than the largest key of a request.
const KEYS: usize = 128;

/// Counts of one kind of request, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct ApiCounter {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Counts since the start. Each is right by itself; two that are read one after the other may not fit.
pub struct Counters {
    by_api: [ApiCounter; KEYS],
    refused: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            by_api: std::array::from_fn(|_| ApiCounter::default()),
            refused: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Counts a request that is advertised.
    pub(crate) fn note_request(&self, api_key: ApiKey, bytes: usize) {
        let Some(counter) = self.of(api_key) else {
            return;
        };
        counter.requests.fetch_add(1, Ordering::Relaxed);
        counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts a request whose connection is closed instead of an answer.
    pub(crate) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests of this kind, and their bytes with headers.
    #[must_use]
    pub fn requests(&self, api_key: ApiKey) -> (u64, u64) {
        let counter = self.of(api_key);
        counter.map_or((0, 0), |counter| {
            let requests = counter.requests.load(Ordering::Relaxed);
            (requests, counter.bytes.load(Ordering::Relaxed))
        })
    }

    /// Requests whose connections were closed at once: malformed, not advertised, or over a limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn of(&self, api_key: ApiKey) -> Option<&ApiCounter> {
        let index = usize::try_from(api_key.code()).ok()?;
        self.by_api.get(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supported_apis;

    #[test]
    fn every_advertised_request_is_counted_by_itself() {
        let counters = Counters::default();
        for (index, api) in supported_apis().iter().enumerate() {
            for _ in 0..=index {
                counters.note_request(api.api_key, 10);
            }
        }
        for (index, api) in supported_apis().iter().enumerate() {
            let count = index as u64 + 1;
            assert_eq!(counters.requests(api.api_key), (count, 10 * count));
        }
    }
}
