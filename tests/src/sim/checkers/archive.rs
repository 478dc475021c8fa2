//! The topic whose files are damaged: what is served is right, and only what was damaged is not served
//! (N10, S6, S9).
//!
//! ```text
//!   below the recovery point     the batch that was hit may be refused, for good
//!   above it                     the log may end there at the next start: what was written from there on is
//!                                gone, and another record at such an offset has a higher leader epoch
//! ```

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// A record of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its number among all that its client wrote.
    pub number: i32,
    /// Its leader epoch, once it was seen.
    pub epoch: Option<i32>,
}

/// One partition.
#[derive(Debug, Default)]
struct Shelf {
    known: BTreeMap<i64, Kept>,
    /// What may have been cut off.
    former: BTreeMap<i64, Kept>,
    offsets: BTreeMap<i32, i64>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Archive {
    shelves: BTreeMap<i32, Shelf>,
}

impl Archive {
    /// The log of a partition may have been cut at this offset.
    pub fn may_be_cut(&mut self, partition: i32, from: i64) {
        let shelf = self.shelves.entry(partition).or_default();
        let mut cut = shelf.known.split_off(&from);
        shelf.former.append(&mut cut);
    }

    /// A record was acknowledged.
    pub fn acknowledge(
        &mut self,
        partition: i32,
        offset: i64,
        number: i32,
    ) -> Result<(), Violation> {
        let kept = Kept {
            number,
            epoch: None,
        };
        self.learn(partition, offset, kept)
    }

    /// A record was read.
    pub fn see(&mut self, partition: i32, offset: i64, kept: Kept) -> Result<(), Violation> {
        self.learn(partition, offset, kept)
    }

    /// The offsets of a partition that must be there, or be refused.
    #[must_use]
    pub fn offsets(&self, partition: i32) -> Vec<i64> {
        let shelf = self.shelves.get(&partition);
        shelf.map_or(Vec::new(), |shelf| shelf.known.keys().copied().collect())
    }

    /// Whether an offset must be there, or be refused.
    #[must_use]
    pub fn has(&self, partition: i32, offset: i64) -> bool {
        let shelf = self.shelves.get(&partition);
        shelf.is_some_and(|shelf| shelf.known.contains_key(&offset))
    }

    fn learn(&mut self, partition: i32, offset: i64, new: Kept) -> Result<(), Violation> {
        let shelf = self.shelves.entry(partition).or_default();
        if let Some(former) = shelf.former.remove(&offset) {
            let is_other = former.number != new.number;
            if is_other
                && former.epoch.is_some()
                && new.epoch.is_some()
                && new.epoch <= former.epoch
            {
                return violation(format!(
                    "{offset} of {partition} held {former:?}, after a cut it holds {new:?}: the epoch did not rise"
                ));
            }
            if !is_other {
                return self.learn_known(
                    partition,
                    offset,
                    Kept {
                        epoch: new.epoch.or(former.epoch),
                        ..new
                    },
                );
            }
            shelf.offsets.remove(&former.number);
        }
        self.learn_known(partition, offset, new)
    }

    fn learn_known(&mut self, partition: i32, offset: i64, new: Kept) -> Result<(), Violation> {
        let shelf = self.shelves.entry(partition).or_default();
        let known = shelf.known.entry(offset).or_insert(new);
        let epochs_differ =
            known.epoch.is_some() && new.epoch.is_some() && known.epoch != new.epoch;
        if known.number != new.number || epochs_differ {
            return violation(format!(
                "{offset} of {partition} held {known:?}, now it holds {new:?}"
            ));
        }
        known.epoch = known.epoch.or(new.epoch);
        match shelf.offsets.insert(new.number, offset) {
            Some(before) if before != offset => violation(format!(
                "record {} of {partition} is at {before} and at {offset}",
                new.number
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kept(number: i32, epoch: i32) -> Kept {
        Kept {
            number,
            epoch: Some(epoch),
        }
    }

    #[test]
    fn what_was_not_damaged_stays_as_it_was() {
        let mut archive = Archive::default();
        archive.acknowledge(0, 7, 1).unwrap();
        archive.see(0, 7, kept(1, 3)).unwrap();
        assert!(archive.see(0, 7, kept(2, 4)).is_err());
        assert!(archive.see(0, 7, kept(1, 4)).is_err());
        assert!(archive.see(0, 8, kept(1, 3)).is_err());
    }

    #[test]
    fn after_a_cut_an_offset_is_used_again_in_a_higher_epoch_only() {
        let mut archive = Archive::default();
        archive.see(0, 6, kept(1, 3)).unwrap();
        archive.see(0, 7, kept(2, 3)).unwrap();
        archive.may_be_cut(0, 7);
        assert!(archive.has(0, 6) && !archive.has(0, 7));
        archive.see(0, 6, kept(1, 3)).unwrap();
        archive.see(0, 7, kept(3, 4)).unwrap();
        archive.may_be_cut(0, 6);
        assert!(archive.see(0, 6, kept(4, 3)).is_err());
    }
}
