//! What clients saw, and what must be true of it.

use std::collections::BTreeMap;

/// Knows only answers that were delivered.
#[derive(Default)]
pub struct Checker {
    /// Owner by group, generation and partition.
    owners: BTreeMap<(usize, i32, i32), String>,
    /// The largest offset seen by group and partition.
    seen: BTreeMap<(usize, i32), i64>,
}

impl Checker {
    /// A member was given its partitions.
    pub fn assigned(&mut self, group: usize, generation: i32, owner: &str, partitions: &[i32]) {
        for partition in partitions {
            let key = (group, generation, *partition);
            let before = self.owners.insert(key, owner.to_owned());
            assert!(
                before.as_deref().is_none_or(|before| before == owner),
                "{key:?} is owned by {before:?} and by {owner}"
            );
        }
    }

    /// A commit was acknowledged, or an offset was read: nothing may take it back.
    pub fn saw(&mut self, group: usize, partition: i32, offset: i64) {
        let known = self.seen.entry((group, partition)).or_insert(offset);
        *known = offset.max(*known);
    }

    /// What every read that begins now must at least give.
    pub fn floor(&self, group: usize, partition: i32) -> i64 {
        self.seen.get(&(group, partition)).copied().unwrap_or(-1)
    }
}
