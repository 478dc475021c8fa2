//! How the process's memory is shared out.

use millstream_env::memory_bytes;

/// Requests that are being read may hold one of this many bytes of the memory. The others are for
/// what the log keeps in memory, for answers, and above all for the system's page cache, which
/// consumers are served from.
const REQUESTS_SHARE: u64 = 8;

/// Largest requests that the budget should hold at once, so that one slow producer of large requests
/// does not hold up the others; but no more than half of the memory.
const LARGEST_REQUESTS: u64 = 4;

/// Appends that wait for a slow log directory may hold one of this many bytes of the memory.
const DIRECTORY_QUEUE_SHARE: u64 = 16;
const DIRECTORY_QUEUE_MIN: u64 = 32 << 20;

/// Answers that clients have not read may hold one of this many bytes of the memory.
const ANSWERS_SHARE: u64 = 8;
const ANSWERS_MIN: u64 = 32 << 20;

/// What connections read small requests into should come to one of this many bytes of the memory.
const CONNECTIONS_SHARE: u64 = 8;

/// Bytes of records in answers that are not read yet: what was asked for
/// (`millstream.queued.answer.bytes`), else a share of the memory.
pub fn answer_bytes_max(configured: Option<usize>) -> usize {
    configured.unwrap_or_else(|| {
        let share = memory_bytes().map(|memory| memory / ANSWERS_SHARE);
        usize::try_from(share.unwrap_or(u64::MAX).max(ANSWERS_MIN)).unwrap_or(usize::MAX)
    })
}

/// Bytes that all connections should have together to read small requests into.
pub fn connections_bytes_max() -> usize {
    let share = memory_bytes().map(|memory| memory / CONNECTIONS_SHARE);
    share.map_or(usize::MAX, |share| {
        usize::try_from(share).unwrap_or(usize::MAX)
    })
}

/// Bytes of appends that wait for a slow log directory: what was asked for
/// (`millstream.log.dir.queue.bytes`), else a share of the memory.
pub fn directory_queue_bytes_max(configured: Option<usize>) -> usize {
    configured.unwrap_or_else(|| {
        let share = memory_bytes().unwrap_or(0) / DIRECTORY_QUEUE_SHARE;
        usize::try_from(share.max(DIRECTORY_QUEUE_MIN)).unwrap_or(usize::MAX)
    })
}

/// Bytes of unfinished requests held at once: what was asked for (`queued.max.request.bytes`), else a
/// share of the memory.
pub fn queued_bytes_max(configured: Option<usize>, request_bytes_max: usize) -> usize {
    configured.unwrap_or_else(|| share(memory_bytes(), request_bytes_max))
}

/// *Bounds*: at least one request of the largest size, else it could never be read.
fn share(memory: Option<u64>, request_bytes_max: usize) -> usize {
    let largest = request_bytes_max as u64;
    let several = largest.saturating_mul(LARGEST_REQUESTS);
    let bytes = match memory {
        Some(memory) => (memory / REQUESTS_SHARE).max(several.min(memory / 2)),
        None => several,
    };
    usize::try_from(bytes.max(largest)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn a_share_of_the_memory_but_room_for_some_large_requests() {
        const MIB: usize = 1 << 20;
        let of = |memory_mib: u64| share(Some(memory_mib << 20), 100 * MIB) / MIB;
        assert_eq!(of(16 << 10), 2048, "an eighth");
        assert_eq!(of(2048), 400, "four requests");
        assert_eq!(of(512), 256, "half of little");
        assert_eq!(of(64), 100, "one request, whatever there is");
        assert_eq!(share(None, MIB), 4 * MIB);
    }
}
