//! How the process's descriptors are shared between connections and files.

use millstream_env::raise_descriptor_limit;

/// One of this many descriptors may be a connection's. The others are for files: every partition keeps
/// the file of its active segment open, and those of older segments that consumers have read; and HTTP
/// takes a few. A connection too many is closed, but an append that cannot open its file fails.
const CONNECTIONS_SHARE: u64 = 2;

/// How many connections the descriptors allow at once, whatever is configured. It is said once if that is
/// less than what was asked for (`max.connections`).
pub fn connections_bound(configured: Option<usize>) -> usize {
    let Some(descriptors) = raise_descriptor_limit() else {
        return usize::MAX;
    };
    let bound = share(descriptors);
    if let Some(count) = configured.filter(|count| *count > bound) {
        tracing::warn!(
            "max.connections={count} is more than the process's {descriptors} descriptors allow: \
                 {bound} connections are taken; raise the limit of open files (ulimit -n, \
                 LimitNOFILE=) to {}",
            (count as u64).saturating_mul(CONNECTIONS_SHARE)
        );
    }
    bound
}

fn share(descriptors: u64) -> usize {
    let connections = (descriptors / CONNECTIONS_SHARE).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX)
}
