//! Parked work: what waits for an offset to be safe, in the order of the offsets it waits for.
//!
//! One rising mark releases a prefix. The same queue serves produce answers that wait for the high
//! watermark and coordinator answers that wait for their records to be committed.

use std::collections::VecDeque;

use millstream_model::Offset;

/// A queue of items, each released once a mark reaches the offset it waits for.
#[derive(Debug)]
pub struct ParkedQueue<T> {
    /// Ascending by offset; equal offsets in arrival order.
    items: VecDeque<(Offset, T)>,
}

impl<T> Default for ParkedQueue<T> {
    fn default() -> Self {
        ParkedQueue {
            items: VecDeque::new(),
        }
    }
}

impl<T> ParkedQueue<T> {
    /// Parks `item` until the mark is at least `until`. Nearly always `until` is the largest yet; a
    /// retried batch waits for the offset of its original, which may lie before others.
    pub fn park(&mut self, until: Offset, item: T) {
        let behind = self
            .items
            .iter()
            .rev()
            .take_while(|(other, _)| *other > until)
            .count();
        self.items.insert(self.items.len() - behind, (until, item));
    }

    /// Takes out everything that waits for `mark` or less, in order.
    pub fn release(&mut self, mark: Offset) -> impl Iterator<Item = T> + '_ {
        let count = self.items.partition_point(|(until, _)| *until <= mark);
        self.items.drain(..count).map(|(_, item)| item)
    }

    /// Takes out everything, because the mark will never come.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.items.drain(..).map(|(_, item)| item)
    }

    /// How many items are parked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is parked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rising_mark_releases_a_prefix_in_order() {
        let mut queue = ParkedQueue::default();
        queue.park(Offset(3), "a");
        queue.park(Offset(5), "b");
        queue.park(Offset(5), "c");
        queue.park(Offset(9), "d");
        assert_eq!(queue.release(Offset(2)).count(), 0);
        assert_eq!(
            queue.release(Offset(5)).collect::<Vec<_>>(),
            ["a", "b", "c"]
        );
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.drain().collect::<Vec<_>>(), ["d"]);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_retry_of_an_older_batch_is_sorted_in() {
        let mut queue = ParkedQueue::default();
        queue.park(Offset(8), "new");
        queue.park(Offset(4), "retry of an older one");
        assert_eq!(
            queue.release(Offset(4)).collect::<Vec<_>>(),
            ["retry of an older one"]
        );
    }
}
