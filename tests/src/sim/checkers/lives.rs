//! A topic that is deleted and created again under its name is another topic (G6): it has another id,
//! holds none of the old records and none of the old committed offsets.
//!
//! Whether the topic exists is a set of possibilities, as a change may be answered by nothing or by an
//! error that leaves it open. A change that failed with the disk is settled by the next start only: until
//! then the broker answers from what it had, and afterwards from what is on the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::Commits;
use crate::sim::{Violation, violation};

/// A topic id as it is on the wire.
pub type Id = [u8; 16];

/// What may be there under the topic's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum May {
    BeAbsent,
    BeNew,
    Be(Id),
}

/// One topic id and what it held.
#[derive(Debug, Default)]
pub struct Life {
    /// The offsets a group committed for it.
    pub commits: Commits,
    /// Sequence by offset.
    acknowledged: BTreeMap<i64, i32>,
    seen: BTreeMap<i64, i32>,
}

/// The lives of one name.
#[derive(Debug)]
pub struct Lives {
    lives: BTreeMap<Id, Life>,
    possible: BTreeSet<May>,
    is_unsettled: bool,
}

impl Default for Lives {
    fn default() -> Lives {
        Lives {
            lives: BTreeMap::new(),
            possible: BTreeSet::from([May::BeAbsent]),
            is_unsettled: false,
        }
    }
}

impl Lives {
    /// The topic is to be created.
    pub fn create(&mut self) {
        self.possible.insert(May::BeNew);
    }

    /// The topic is to be deleted.
    pub fn delete(&mut self) {
        self.possible.insert(May::BeAbsent);
    }

    /// A change failed with the disk.
    pub fn unsettle(&mut self) {
        self.is_unsettled = true;
    }

    /// The broker started again: what is possible no longer changes by itself.
    pub fn restart(&mut self) {
        self.is_unsettled = false;
    }

    /// The broker says, or promises by acknowledging a change, what there is.
    pub fn find(&mut self, id: Option<Id>) -> Result<(), Violation> {
        let is_possible = match id {
            None => self.possible.contains(&May::BeAbsent),
            Some(id) if self.lives.contains_key(&id) => self.possible.contains(&May::Be(id)),
            Some(_) => self.possible.contains(&May::BeNew),
        };
        if !is_possible {
            let possible = &self.possible;
            return violation(format!("topic {id:?} is there, possible are {possible:?}"));
        }
        if !self.is_unsettled {
            self.possible.clear();
        }
        self.possible.insert(match id {
            None => May::BeAbsent,
            Some(id) => May::Be(id),
        });
        if let Some(id) = id {
            self.lives.entry(id).or_default();
        }
        Ok(())
    }

    /// A life that was found.
    pub fn life(&mut self, id: Id) -> &mut Life {
        self.lives.entry(id).or_default()
    }

    /// How many ids the name had.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lives.len()
    }
}

impl Life {
    /// A record was acknowledged.
    pub fn acknowledge(&mut self, offset: i64, sequence: i32) -> Result<(), Violation> {
        self.acknowledged.insert(offset, sequence);
        self.check(offset)
    }

    /// A record was read.
    pub fn see(&mut self, offset: i64, sequence: i32) -> Result<(), Violation> {
        if let Some(before) = self.seen.insert(offset, sequence)
            && before != sequence
        {
            return violation(format!("{offset} held {before}, now it holds {sequence}"));
        }
        let mut before = self.seen.range(..offset);
        if let Some((at, earlier)) = before.next_back()
            && *earlier >= sequence
        {
            return violation(format!("{earlier} lies at {at}, {sequence} at {offset}"));
        }
        self.check(offset)
    }

    /// Whether something was acknowledged, and all that was acknowledged was read.
    #[must_use]
    pub fn is_read(&self) -> bool {
        let mut offsets = self.acknowledged.keys();
        !self.acknowledged.is_empty() && offsets.all(|offset| self.seen.contains_key(offset))
    }

    fn check(&self, offset: i64) -> Result<(), Violation> {
        let (acknowledged, seen) = (self.acknowledged.get(&offset), self.seen.get(&offset));
        match (acknowledged, seen) {
            (Some(acknowledged), Some(seen)) if acknowledged != seen => violation(format!(
                "{acknowledged} was acknowledged at {offset}, there lies {seen}"
            )),
            _ => Ok(()),
        }
    }
}
