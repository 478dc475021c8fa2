//! How the process's descriptors are shared between connections and files.

use millstream_env::raise_descriptor_limit;

/// One of this many descriptors is kept from connections. Files need them: every partition in use keeps the
/// file of its active segment open, and those of older segments that consumers read; one that is idle gives
/// them back. HTTP takes a few. A connection too many is closed, but an append that cannot open its file
/// fails.
const FILES_SHARE: u64 = 4;

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
            needed(count as u64)
        );
    }
    bound
}

fn share(descriptors: u64) -> usize {
    let connections = (descriptors - descriptors / FILES_SHARE).max(1);
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// The fewest descriptors that leave room for so many connections.
fn needed(connections: u64) -> u64 {
    connections.saturating_add((connections - 1) / (FILES_SHARE - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_enough_and_one_less_is_not() {
        for connections in 1..5000 {
            let needed = needed(connections);
            assert!(share(needed) as u64 >= connections, "{connections}");
            assert!(
                needed == 1 || (share(needed - 1) as u64) < connections,
                "{connections}"
            );
        }
    }
}
