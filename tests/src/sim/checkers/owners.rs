//! Nobody owns what another member owns, and a generation that is over has no say (G3, G4).
//!
//! A generation counts from the first SyncGroup that was answered: its record is durable then, so its
//! number is never given out again. Generations that members only joined may come twice, after a crash.

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// The generations of a group as its members saw them.
#[derive(Debug, Default)]
pub struct Owners {
    /// Owner by generation and partition.
    owners: BTreeMap<(i32, i32), String>,
    newest: i32,
}

impl Owners {
    /// A member was given partitions. `newest_before` is [`Owners::newest`] as it asked.
    pub fn assign(
        &mut self,
        generation_id: i32,
        newest_before: i32,
        member_id: &str,
        partitions: &[i32],
    ) -> Result<(), Violation> {
        self.check_current(generation_id, newest_before, "a SyncGroup")?;
        self.newest = self.newest.max(generation_id);
        for partition in partitions {
            let place = (generation_id, *partition);
            let owner = self.owners.entry(place).or_insert(member_id.to_owned());
            if owner != member_id {
                return violation(format!(
                    "generation {generation_id}: {partition} is owned by {owner} and by {member_id}"
                ));
            }
        }
        Ok(())
    }

    /// A commit of a generation was accepted. `newest_before` is [`Owners::newest`] as it was sent.
    pub fn commit(&self, generation_id: i32, newest_before: i32) -> Result<(), Violation> {
        self.check_current(generation_id, newest_before, "a commit")
    }

    /// The newest generation that a member was given partitions in; 0 before the first.
    #[must_use]
    pub fn newest(&self) -> i32 {
        self.newest
    }

    fn check_current(&self, generation_id: i32, newest: i32, what: &str) -> Result<(), Violation> {
        if generation_id < newest {
            return violation(format!(
                "{what} of generation {generation_id} is accepted after generation {newest}"
            ));
        }
        Ok(())
    }
}
