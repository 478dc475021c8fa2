//! Batches: where they were acknowledged and where consumers saw them (N1, N2, N4).

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// A batch by who made it: producer id and sequence.
pub type BatchName = (i64, i32);

/// Batches as clients saw them.
#[derive(Debug, Default)]
pub struct Records {
    /// Acknowledged batches: partition and offset.
    acknowledged: BTreeMap<BatchName, (i32, i64)>,
    /// What a consumer saw at an offset of a partition.
    seen: BTreeMap<(i32, i64), BatchName>,
    /// Where a consumer saw a batch.
    places: BTreeMap<BatchName, (i32, i64)>,
}

impl Records {
    /// A batch was acknowledged, maybe again.
    pub fn acknowledge(
        &mut self,
        batch: BatchName,
        partition: i32,
        offset: i64,
    ) -> Result<(), Violation> {
        let place = (partition, offset);
        match self.acknowledged.insert(batch, place) {
            Some(before) if before != place => violation(format!(
                "batch {batch:?} was acknowledged at {before:?}, now at {place:?}"
            )),
            _ => Ok(()),
        }
    }

    /// A consumer saw a batch.
    pub fn see(&mut self, batch: BatchName, partition: i32, offset: i64) -> Result<(), Violation> {
        let place = (partition, offset);
        if let Some(before) = self.seen.insert(place, batch)
            && before != batch
        {
            return violation(format!(
                "{place:?} held batch {before:?}, now it holds {batch:?}"
            ));
        }
        match self.places.insert(batch, place) {
            Some(before) if before != place => violation(format!(
                "batch {batch:?} is at {before:?} and again at {place:?}"
            )),
            _ => Ok(()),
        }
    }

    /// How many batches were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// Everything was read: all that was acknowledged is there, each producer's in its order.
    pub fn check_the_end(&self) -> Result<(), Violation> {
        for (batch, place) in &self.acknowledged {
            if self.places.get(batch) != Some(place) {
                let found = self.places.get(batch);
                return violation(format!(
                    "batch {batch:?} was acknowledged at {place:?} and is at {found:?}"
                ));
            }
        }
        let mut last: BTreeMap<i64, (i32, i64)> = BTreeMap::new();
        for ((producer, sequence), (_, offset)) in &self.places {
            if let Some((before, at)) = last.insert(*producer, (*sequence, *offset))
                && at >= *offset
            {
                return violation(format!(
                    "producer {producer}: {before} lies at {at}, {sequence} at {offset}"
                ));
            }
        }
        Ok(())
    }
}
