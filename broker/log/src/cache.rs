//! The newest batches of a log, kept in memory for readers at its end.
//!
//! A batch is kept as it will be sent: its stamped header and, shared with the frame it came in, its
//! records. A slice keeps its whole frame alive, so one that is less than half of its frame is copied
//! instead. What is kept is counted by the allocation it keeps alive, per log and, in a
//! [`CacheBudget`], over all logs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Bytes, BytesMut};
use millstream_model::Offset;
use millstream_protocol::records::HEADER_SIZE;

/// Bookkeeping per batch, roughly.
const BATCH_OVERHEAD: usize = 192;

/// A bound over the caches of many logs. Clones share it.
#[derive(Clone, Debug)]
pub struct CacheBudget {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    used: AtomicUsize,
    max: usize,
}

impl CacheBudget {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(max: usize) -> CacheBudget {
        CacheBudget {
            shared: Arc::new(Shared {
                used: AtomicUsize::new(0),
                max,
            }),
        }
    }

    /// The bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.shared.used.load(Ordering::Relaxed)
    }

    fn try_take(&self, bytes: usize) -> bool {
        let take = |used: usize| {
            used.checked_add(bytes)
                .filter(|sum| *sum <= self.shared.max)
        };
        self.shared
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.shared.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Default for CacheBudget {
    fn default() -> Self {
        CacheBudget::new(64 << 20)
    }
}

#[derive(Debug)]
struct CachedBatch {
    base: Offset,
    end: Offset,
    size: usize,
    charge: usize,
    head: Bytes,
    /// Empty when the records stand in `head` too.
    payload: Bytes,
}

/// The batches from some offset to the log's end, without a gap.
#[derive(Debug)]
pub(crate) struct TailCache {
    batches: VecDeque<CachedBatch>,
    charged: usize,
    max: usize,
    budget: CacheBudget,
}

/// A run of whole batches.
#[derive(Debug, Default)]
pub(crate) struct CachedRun {
    pub parts: Vec<Bytes>,
    pub end: Option<(Offset, Offset)>,
}

impl TailCache {
    pub(crate) fn new(max: usize, budget: CacheBudget) -> TailCache {
        TailCache {
            batches: VecDeque::new(),
            charged: 0,
            max,
            budget,
        }
    }

    /// Takes a new bound of its own.
    pub(crate) fn set_max(&mut self, max: usize) {
        self.max = max;
        while self.charged > self.max && self.drop_oldest() {}
    }

    /// Adds the batch at the log's end. `frame_bytes` is the size of the allocation that `batch` is
    /// a slice of.
    pub(crate) fn push(
        &mut self,
        range: std::ops::Range<Offset>,
        header: &[u8; HEADER_SIZE],
        batch: &Bytes,
        frame_bytes: usize,
    ) {
        let is_shared = batch.len() >= frame_bytes / 2;
        let charge = BATCH_OVERHEAD
            + if is_shared {
                frame_bytes.max(batch.len())
            } else {
                batch.len()
            };
        if !self.make_room(charge) {
            // A gap would be worse than an empty cache.
            self.clear();
            return;
        }
        let (head, payload) = if is_shared {
            let head = Bytes::copy_from_slice(header);
            (head, batch.slice(HEADER_SIZE..))
        } else {
            let mut whole = BytesMut::with_capacity(batch.len());
            whole.extend_from_slice(header);
            whole.extend_from_slice(&batch[HEADER_SIZE..]);
            (whole.freeze(), Bytes::new())
        };
        self.charged += charge;
        self.batches.push_back(CachedBatch {
            base: range.start,
            end: range.end,
            size: batch.len(),
            charge,
            head,
            payload,
        });
    }

    fn make_room(&mut self, charge: usize) -> bool {
        if charge > self.max {
            return false;
        }
        while self.charged + charge > self.max {
            self.drop_oldest();
        }
        while !self.budget.try_take(charge) {
            if !self.drop_oldest() {
                return false;
            }
        }
        true
    }

    /// Forgets the batches that begin before an offset.
    pub(crate) fn forget_before(&mut self, offset: Offset) {
        while self
            .batches
            .front()
            .is_some_and(|oldest| oldest.base < offset)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.batches.pop_front() else {
            return false;
        };
        self.charged -= oldest.charge;
        self.budget.give_back(oldest.charge);
        true
    }

    /// Forgets everything and frees the memory.
    pub(crate) fn clear(&mut self) {
        while self.drop_oldest() {}
        self.batches = VecDeque::new();
    }

    /// Whole batches from the one that holds `offset`, up to `upper` and `max_bytes`. `None` when
    /// the batch is not kept.
    pub(crate) fn read(
        &self,
        offset: Offset,
        upper: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Option<CachedRun> {
        if self.batches.front()?.base > offset {
            return None;
        }
        let first = self.batches.partition_point(|batch| batch.end <= offset);
        self.batches.get(first)?;
        let mut run = CachedRun::default();
        let mut size = 0;
        for batch in self.batches.range(first..) {
            let must = at_least_one && run.end.is_none();
            if batch.end > upper || (size + batch.size > max_bytes && !must) {
                break;
            }
            size += batch.size;
            run.parts.push(batch.head.clone());
            if !batch.payload.is_empty() {
                run.parts.push(batch.payload.clone());
            }
            let base = run.end.map_or(batch.base, |(base, _)| base);
            run.end = Some((base, batch.end));
        }
        Some(run)
    }
}

impl Drop for TailCache {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn push(cache: &mut TailCache, base: i64, size: usize, frame: usize) {
        let batch = Bytes::from(vec![base as u8; size]);
        cache.push(
            Offset(base)..Offset(base + 1),
            &[base as u8; 61],
            &batch,
            frame,
        );
    }

    #[test]
    fn the_newest_batches_are_kept_within_both_bounds() {
        let budget = CacheBudget::new(4000);
        let mut cache = TailCache::new(2500, budget.clone());
        for base in 0..10 {
            push(&mut cache, base, 1000, 1000);
        }
        assert_eq!(budget.used(), 2 * 1192);
        assert!(cache.read(Offset(7), Offset(10), 9999, true).is_none());
        let run = cache.read(Offset(8), Offset(10), 9999, true).unwrap();
        assert_eq!(run.end, Some((Offset(8), Offset(10))));
        let mut other = TailCache::new(2500, budget.clone());
        push(&mut other, 0, 1000, 1000);
        push(&mut other, 1, 1000, 1000);
        assert!(budget.used() <= 4000);
        drop(cache);
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_small_part_of_a_frame_is_copied() {
        let budget = CacheBudget::new(1 << 20);
        let mut cache = TailCache::new(1 << 20, budget.clone());
        push(&mut cache, 0, 1000, 100_000);
        assert_eq!(budget.used(), 1192);
        push(&mut cache, 1, 1000, 1500);
        assert_eq!(budget.used(), 1192 + 1692);
        let run = cache.read(Offset(0), Offset(2), 2000, true).unwrap();
        let lengths: Vec<usize> = run.parts.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [1000, 61, 939]);
    }

    #[test]
    fn limits_and_the_upper_bound_hold() {
        let mut cache = TailCache::new(1 << 20, CacheBudget::default());
        for base in 0..4 {
            push(&mut cache, base, 1000, 1000);
        }
        let read = |offset, upper, max, first| {
            let run = cache
                .read(Offset(offset), Offset(upper), max, first)
                .unwrap();
            run.end.map(|(base, end)| (base.0, end.0))
        };
        assert_eq!(read(1, 4, 2999, true), Some((1, 3)));
        assert_eq!(read(1, 2, 9999, true), Some((1, 2)));
        assert_eq!(read(1, 4, 0, true), Some((1, 2)));
        assert_eq!(read(1, 4, 999, false), None);
        assert_eq!(read(1, 1, 9999, true), None);
        assert!(cache.read(Offset(4), Offset(4), 1, true).is_none());
    }
}
