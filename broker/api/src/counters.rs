//! What the broker counts of the requests that it answers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_protocol::ApiKey;

use crate::durations::{Durations, Histogram};
use crate::supported_apis;

/// More than the largest key of a request.
const KEYS: usize = 128;
/// More than the newest version of any request.
const VERSIONS: usize = 32;

/// Counts of one version of one kind of request.
#[derive(Default)]
struct VersionCounter {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// Counts of one kind of request, in cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct ApiCounter {
    by_version: [VersionCounter; VERSIONS],
    took: Durations,
}

/// What was asked in one version of one kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The kind.
    pub api_key: ApiKey,
    /// The version.
    pub version: i16,
    /// Requests.
    pub requests: u64,
    /// Their bytes, with headers.
    pub bytes: u64,
}

/// Counts since the start. Each is right by itself; two that are read one after the other may not fit.
pub struct Counters {
    by_api: Box<[ApiCounter]>,
    refused: AtomicU64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            by_api: (0..KEYS).map(|_| ApiCounter::default()).collect(),
            refused: AtomicU64::new(0),
        }
    }
}

impl Counters {
    /// Counts a request that is advertised.
    pub(crate) fn note_request(&self, api_key: ApiKey, version: i16, bytes: usize) {
        let counter = self.of(api_key).and_then(|api| api.of(version));
        let Some(counter) = counter else {
            return;
        };
        counter.requests.fetch_add(1, Ordering::Relaxed);
        counter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts how long an answer took, from when its request was read to when it was ready.
    pub fn note_took(&self, api_key: ApiKey, took: Duration) {
        if let Some(api) = self.of(api_key) {
            api.took.note(took);
        }
    }

    /// Counts a request whose connection is closed instead of an answer.
    pub(crate) fn note_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What was asked, in the order of keys and versions; what nobody asked is left out.
    pub fn asked(&self) -> impl Iterator<Item = Asked> {
        let advertised = supported_apis().iter().flat_map(|api| {
            (api.min_version..=api.max_version).map(|version| (api.api_key, version))
        });
        let counted = advertised.filter_map(|(api_key, version)| {
            let counter = self.of(api_key)?.of(version)?;
            Some(Asked {
                api_key,
                version,
                requests: counter.requests.load(Ordering::Relaxed),
                bytes: counter.bytes.load(Ordering::Relaxed),
            })
        });
        counted.filter(|asked| asked.requests > 0)
    }

    /// How long the answers to each kind of request took, in the order of keys; what was never answered is left out.
    pub fn took(&self) -> impl Iterator<Item = (ApiKey, Histogram)> {
        let keys = supported_apis().iter().map(|api| api.api_key);
        keys.filter_map(|api_key| Some((api_key, self.of(api_key)?.took.read()?)))
    }

    /// Requests whose connections were closed at once: malformed, not advertised, or over a limit.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn of(&self, api_key: ApiKey) -> Option<&ApiCounter> {
        self.by_api.get(usize::try_from(api_key.code()).ok()?)
    }
}

impl ApiCounter {
    fn of(&self, version: i16) -> Option<&VersionCounter> {
        self.by_version.get(usize::try_from(version).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_advertised_version_is_counted_by_itself() {
        let counters = Counters::default();
        let mut expected = Vec::new();
        for api in supported_apis() {
            for version in api.min_version..=api.max_version {
                let requests = expected.len() as u64 + 1;
                for _ in 0..requests {
                    counters.note_request(api.api_key, version, 10);
                }
                expected.push(Asked {
                    api_key: api.api_key,
                    version,
                    requests,
                    bytes: 10 * requests,
                });
            }
        }
        assert_eq!(counters.asked().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_nobody_asked_is_left_out() {
        let counters = Counters::default();
        counters.note_request(ApiKey::Fetch, 18, 100);
        counters.note_request(ApiKey::Fetch, 19, 100);
        let asked: Vec<_> = counters.asked().collect();
        assert_eq!(asked.len(), 1);
        assert_eq!((asked[0].version, asked[0].requests), (18, 1));
    }
}
