//! The group processes every record: it never passes one over, and it never resumes beyond what it
//! processed. Processing twice is allowed, that is what a lost commit costs.

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// How far the group as a whole has processed, by partition.
#[derive(Debug, Default)]
pub struct Progress {
    ends: BTreeMap<i32, i64>,
}

impl Progress {
    /// A member processed the records of `offsets`.
    pub fn process(
        &mut self,
        partition: i32,
        offsets: std::ops::Range<i64>,
    ) -> Result<(), Violation> {
        let end = self.ends.entry(partition).or_default();
        if offsets.start > *end {
            return violation(format!(
                "the group passed over {end}..{} of {partition}",
                offsets.start
            ));
        }
        *end = offsets.end.max(*end);
        Ok(())
    }

    /// A member resumes here.
    pub fn resume(&self, partition: i32, offset: i64) -> Result<(), Violation> {
        let end = self.end(partition);
        if offset > end {
            return violation(format!(
                "a member resumes {partition} at {offset}, processed is up to {end}"
            ));
        }
        Ok(())
    }

    /// The end, exclusive, of what was processed.
    #[must_use]
    pub fn end(&self, partition: i32) -> i64 {
        self.ends.get(&partition).copied().unwrap_or(0)
    }
}
