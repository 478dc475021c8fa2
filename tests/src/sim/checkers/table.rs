//! A compacted topic: the last record of each key is there, in its order, and what was deleted does not
//! come back (S16).
//!
//! A scan reads the log from its start to the high watermark that its last answer tells. Every record known to lie
//! there and to be the last of its key must have been met, with two exceptions: a record before the
//! log's start (`compact,delete`), and a tombstone that is older than `delete.retention.ms`. In its place
//! stands nothing: no earlier record of the key. A tombstone whose answer never came counts as well.

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// A record of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its key.
    pub key: u8,
    /// Its value; none deletes the key.
    pub value: Option<i32>,
    /// When it was written, by its client's clock.
    pub timestamp: i64,
}

/// A whole walk over the log.
#[derive(Debug, Default)]
pub struct Scan {
    /// Where the log began, as the last answer said.
    pub start: i64,
    /// Where the walk ends, exclusive.
    pub end: i64,
    /// When it began.
    pub since_ms: i64,
    /// The last offset of each key that it met.
    last: BTreeMap<u8, i64>,
    before: Option<i64>,
}

/// What is known of the topic.
#[derive(Debug, Default)]
pub struct Table {
    rows: BTreeMap<i64, Row>,
    /// Tombstones that may have been appended: their answers never came, or said nothing.
    uncertain: Vec<Row>,
    /// Scans that came to their end.
    pub scans: u32,
    /// Keys that were found to be deleted, tombstone and all.
    pub forgotten: u32,
}

impl Scan {
    /// A walk begins.
    #[must_use]
    pub fn from(start: i64, since_ms: i64) -> Scan {
        Scan {
            start,
            since_ms,
            ..Scan::default()
        }
    }

    /// The walk meets a record.
    pub fn meet(&mut self, offset: i64, row: Row) -> Result<(), Violation> {
        if self.before.is_some_and(|before| before >= offset) {
            return violation(format!("a scan meets {offset} after {:?}", self.before));
        }
        self.before = Some(offset);
        self.last.insert(row.key, offset);
        Ok(())
    }
}

impl Table {
    /// A record was acknowledged or read.
    pub fn learn(&mut self, offset: i64, row: Row) -> Result<(), Violation> {
        match self.rows.insert(offset, row) {
            Some(before) if before != row => {
                violation(format!("{offset} held {before:?}, now it holds {row:?}"))
            }
            _ => Ok(()),
        }
    }

    /// Records may have been appended, nobody knows where.
    pub fn doubt(&mut self, rows: Vec<Row>) {
        let tombstones = rows.into_iter().filter(|row| row.value.is_none());
        self.uncertain.extend(tombstones);
    }

    /// A scan has come to its end.
    pub fn judge(
        &mut self,
        scan: &Scan,
        now_ms: i64,
        delete_retention_ms: i64,
    ) -> Result<(), Violation> {
        self.scans += 1;
        let mut last: BTreeMap<u8, (i64, Row)> = BTreeMap::new();
        for (offset, row) in self.rows.range(..scan.end) {
            last.insert(row.key, (*offset, *row));
        }
        for (key, (offset, row)) in last {
            let met = scan.last.get(&key).copied();
            if offset < scan.start || met == Some(offset) {
                continue;
            }
            let is_old =
                |row: &Row| row.value.is_none() && now_ms - row.timestamp >= delete_retention_ms;
            let deletes = |other: &&Row| other.key == key && other.timestamp >= row.timestamp;
            let is_old = is_old(&row) || self.uncertain.iter().filter(deletes).any(is_old);
            match met {
                None if is_old => self.forgotten += 1,
                // The walk may have passed the earlier record before the tombstone went.
                Some(_) if is_old && now_ms - scan.since_ms >= delete_retention_ms => {}
                met => {
                    return violation(format!(
                        "the last record of key {key} is {row:?} at {offset}; a scan of {}..{} met {met:?}",
                        scan.start, scan.end
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn row(key: u8, value: Option<i32>) -> Row {
        Row {
            key,
            value,
            timestamp: 1000,
        }
    }

    fn scan(met: &[(i64, Row)]) -> Scan {
        let mut scan = Scan {
            end: 10,
            since_ms: 5000,
            ..Scan::default()
        };
        for (offset, row) in met {
            scan.meet(*offset, *row).unwrap();
        }
        scan
    }

    #[test]
    fn the_last_of_each_key_must_be_met() {
        let mut table = Table::default();
        table.learn(1, row(1, Some(1))).unwrap();
        table.learn(2, row(1, Some(2))).unwrap();
        let newest = scan(&[(2, row(1, Some(2)))]);
        table.judge(&newest, 5000, 100).unwrap();
        let older = scan(&[(1, row(1, Some(1)))]);
        assert!(table.judge(&older, 5000, 100).is_err());
        assert!(table.judge(&scan(&[]), 5000, 100).is_err());
    }

    #[test]
    fn a_tombstone_may_go_when_it_is_old_but_not_bring_back_what_it_deleted() {
        let mut table = Table::default();
        table.learn(1, row(1, Some(1))).unwrap();
        table.learn(2, row(1, None)).unwrap();
        assert!(table.judge(&scan(&[]), 1050, 100).is_err(), "too young");
        table.judge(&scan(&[]), 5000, 100).unwrap();
        let resurrected = scan(&[(1, row(1, Some(1)))]);
        assert!(table.judge(&resurrected, 5050, 100).is_err());
    }

    #[test]
    fn records_before_the_start_may_be_gone() {
        let mut table = Table::default();
        table.learn(1, row(1, Some(1))).unwrap();
        let later = Scan {
            start: 2,
            ..scan(&[])
        };
        table.judge(&later, 5000, 100).unwrap();
    }
}
