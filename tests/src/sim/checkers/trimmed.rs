//! A log whose first records are deleted: they do not come back, and no others go (S15).
//!
//! ```text
//!   0 ......... deleted_to ........... asked_to ............... end
//!    gone for     gone, if a request    there, unless retention
//!    certain      was carried out       by size took it
//! ```

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// A record: its number, and the bytes of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    number: i32,
    bytes: usize,
}

/// What is known of the log.
#[derive(Debug, Default)]
pub struct Trimmed {
    /// How many bytes retention keeps, if it deletes any.
    pub retention_bytes: Option<usize>,
    written: BTreeMap<i64, Written>,
    deleted_to: i64,
    asked_to: i64,
    /// Deletions that were acknowledged.
    pub deletions: u32,
    /// Offsets that retention took.
    pub expired_to: i64,
}

/// Bytes of a batch, at most.
pub const BATCH_BYTES_MAX: usize = 600;

impl Trimmed {
    /// A record was acknowledged or read.
    pub fn learn(&mut self, offset: i64, number: i32, bytes: usize) -> Result<(), Violation> {
        let new = Written { number, bytes };
        match self.written.insert(offset, new) {
            Some(before) if before != new => {
                violation(format!("{offset} held {before:?}, now it holds {new:?}"))
            }
            _ => Ok(()),
        }
    }

    /// The end of what is known, exclusive.
    #[must_use]
    pub fn end(&self) -> i64 {
        self.written
            .last_key_value()
            .map_or(0, |(last, _)| last + 1)
    }

    /// Up to where records are gone for certain, exclusive.
    #[must_use]
    pub fn deleted_to(&self) -> i64 {
        self.deleted_to
    }

    /// The records before this offset are to be deleted.
    pub fn ask(&mut self, offset: i64) {
        self.asked_to = self.asked_to.max(offset);
    }

    /// They are, durably: the log begins here now.
    pub fn delete(&mut self, asked: i64, start: i64) -> Result<(), Violation> {
        self.deletions += 1;
        if start < asked {
            return violation(format!(
                "all before {asked} was deleted, yet the log begins at {start}"
            ));
        }
        self.begins_at(start)?;
        self.deleted_to = self.deleted_to.max(start);
        Ok(())
    }

    /// The log is seen to begin here.
    pub fn begins_at(&mut self, start: i64) -> Result<(), Violation> {
        let (deleted_to, asked_to) = (self.deleted_to, self.asked_to);
        if start < deleted_to {
            return violation(format!(
                "the log begins at {start}, all before {deleted_to} was deleted"
            ));
        }
        if start <= asked_to {
            return Ok(());
        }
        if self.retention_bytes.is_none() {
            return violation(format!(
                "the log begins at {start}, nobody deleted more than up to {asked_to}"
            ));
        }
        self.expired_to = self.expired_to.max(start);
        Ok(())
    }

    /// All from the log's start on is known: retention has kept as much as it must. What it counted may
    /// have held one record that a crash took afterwards.
    fn check_kept(&self, start: i64) -> Result<(), Violation> {
        let Some(kept) = self.retention_bytes.filter(|_| start > self.asked_to) else {
            return Ok(());
        };
        let known = self.written.range(start..);
        let bytes = known.map(|(_, written)| written.bytes).sum::<usize>();
        match bytes + BATCH_BYTES_MAX < kept {
            true => violation(format!(
                "retention keeps {kept} bytes, but from the log's start {start} on there are {bytes}"
            )),
            false => Ok(()),
        }
    }

    /// A read of this offset found it to be before the log's start.
    pub fn misses(&self, offset: i64) -> Result<(), Violation> {
        match offset < self.asked_to || self.retention_bytes.is_some() {
            true => Ok(()),
            false => violation(format!("{offset} is out of range, nobody deleted it")),
        }
    }

    /// A read of this offset gave records.
    pub fn finds(&self, offset: i64) -> Result<(), Violation> {
        match offset < self.deleted_to {
            true => violation(format!("{offset} was deleted and is there again")),
            false => Ok(()),
        }
    }

    /// Everything from the log's start on has been read into `found`.
    pub fn check_the_end(&self, start: i64, found: &[i64]) -> Result<(), Violation> {
        let missing = self
            .written
            .range(start..)
            .find(|(offset, _)| found.binary_search(offset).is_err());
        match missing {
            Some((offset, _)) => violation(format!("{offset} is lost, the log begins at {start}")),
            None => self.check_kept(start),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_deleted_stays_deleted_and_nothing_else_goes() {
        let mut trimmed = Trimmed::default();
        trimmed.learn(0, 0, 100).unwrap();
        trimmed.learn(1, 1, 100).unwrap();
        trimmed.begins_at(0).unwrap();
        assert!(trimmed.begins_at(1).is_err());
        trimmed.ask(1);
        trimmed.begins_at(1).unwrap();
        trimmed.begins_at(0).unwrap();
        trimmed.delete(1, 1).unwrap();
        assert!(trimmed.begins_at(0).is_err());
        assert!(trimmed.finds(0).is_err());
        assert!(trimmed.check_the_end(1, &[]).is_err());
    }

    #[test]
    fn retention_keeps_its_bytes() {
        let mut trimmed = Trimmed {
            retention_bytes: Some(900),
            ..Trimmed::default()
        };
        for offset in 0..3 {
            trimmed.learn(offset, offset as i32, 100).unwrap();
        }
        trimmed.check_the_end(0, &[0, 1, 2]).unwrap();
        trimmed.begins_at(1).unwrap();
        assert!(trimmed.check_the_end(1, &[1, 2]).is_err());
    }
}
