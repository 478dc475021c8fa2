//! Which bytes of a segment have been checked since they were last read cold, or written by us.

use std::ops::Range;

/// Ranges that are kept apart at most; a lost one costs a second check.
const RANGES_MAX: usize = 8;

/// Disjoint ranges of positions, ascending.
#[derive(Debug, Default)]
pub(crate) struct VerifiedRanges {
    ranges: Vec<Range<u64>>,
}

impl VerifiedRanges {
    pub(crate) fn contains(&self, range: &Range<u64>) -> bool {
        self.ranges
            .iter()
            .any(|known| known.start <= range.start && range.end <= known.end)
    }

    pub(crate) fn remove(&mut self, gone: &Range<u64>) {
        let parts = self.ranges.iter().flat_map(|known| {
            let before = known.start..known.end.min(gone.start);
            let behind = known.start.max(gone.end)..known.end;
            [before, behind]
        });
        self.ranges = parts.filter(|range| range.start < range.end).collect();
    }

    pub(crate) fn add(&mut self, range: Range<u64>) {
        let mut whole = range;
        self.ranges.retain(|known| {
            let touches = known.start <= whole.end && whole.start <= known.end;
            if touches {
                whole = whole.start.min(known.start)..whole.end.max(known.end);
            }
            !touches
        });
        let at = self
            .ranges
            .partition_point(|known| known.start < whole.start);
        self.ranges.insert(at, whole);
        if self.ranges.len() > RANGES_MAX {
            let shortest = (0..self.ranges.len())
                .min_by_key(|&at| self.ranges[at].end - self.ranges[at].start)
                .expect("there are ranges");
            self.ranges.remove(shortest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge_where_they_touch() {
        let mut verified = VerifiedRanges::default();
        verified.add(10..20);
        verified.add(30..40);
        assert!(verified.contains(&(12..20)));
        assert!(!verified.contains(&(12..31)));
        verified.add(20..30);
        assert_eq!(verified.ranges.len(), 1);
        assert!(verified.contains(&(10..40)));
        verified.add(5..50);
        assert_eq!(verified.ranges.len(), 1);
        assert!(verified.contains(&(5..50)));
    }

    #[test]
    fn what_is_removed_is_not_verified() {
        let mut verified = VerifiedRanges::default();
        verified.add(0..100);
        verified.add(200..300);
        verified.remove(&(50..250));
        assert_eq!(verified.ranges, [0..50, 250..300]);
        verified.remove(&(10..20));
        assert_eq!(verified.ranges, [0..10, 20..50, 250..300]);
        verified.remove(&(0..1000));
        assert_eq!(verified.ranges, []);
    }

    #[test]
    fn the_shortest_range_is_forgotten() {
        let mut verified = VerifiedRanges::default();
        for start in 0..20 {
            verified.add(start * 100..start * 100 + start + 1);
        }
        assert_eq!(verified.ranges.len(), RANGES_MAX);
        assert!(verified.contains(&(1900..1920)));
        assert!(!verified.contains(&(0..1)));
    }
}
