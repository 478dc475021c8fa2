//! A committed offset never goes back and is never forgotten (N6, G1), but by a deletion, which stays (DeleteGroups,
//! OffsetDelete).
//!
//! A partition's committed offset is a register. The broker is handed each request as it is sent, so the
//! order of sending is the order in which a register was written and read. Commits whose answer never
//! came may have been applied or not, each of them. What a read may show is therefore a set:
//!
//! ```text
//!   order      commit 5   commit 9   read    commit 12   read
//!   fate       acked      unknown    saw 9   refused     pending
//!   may show   {5}        {5, 9}     {9}     {9}         must be 9
//! ```
//!
//! A read narrows the set as well: what was shown once is durable. The group resumes where it
//! committed, so beyond the register it holds that no acknowledged commit is below an earlier one. A
//! deletion is a commit of "no offset".

use std::collections::{BTreeMap, BTreeSet};

use crate::sim::{Violation, violation};

/// "No offset", as OffsetFetch says it.
pub const NONE: i64 = -1;

/// Names a request in the order of sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sent(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Unknown,
    Acknowledged,
    Refused,
    /// Not a commit: a read that showed this.
    Read,
}

/// The committed offsets of one group.
#[derive(Debug, Default)]
pub struct Commits {
    sent: u64,
    acknowledged: usize,
    partitions: BTreeMap<i32, BTreeMap<Sent, (i64, Fate)>>,
}

impl Commits {
    /// A commit or a read is sent.
    pub fn send(&mut self) -> Sent {
        self.sent += 1;
        Sent(self.sent)
    }

    /// The commit sent as `sent` has this offset for a partition. Its fate is unknown yet.
    pub fn begin(&mut self, sent: Sent, partition: i32, offset: i64) {
        self.register(partition)
            .insert(sent, (offset, Fate::Unknown));
    }

    /// The commit was acknowledged.
    pub fn acknowledge(&mut self, sent: Sent, partition: i32) -> Result<(), Violation> {
        self.acknowledged += 1;
        self.settle(sent, partition, Fate::Acknowledged)
    }

    /// The commit was refused by an error that says it was not applied.
    pub fn refuse(&mut self, sent: Sent, partition: i32) -> Result<(), Violation> {
        self.settle(sent, partition, Fate::Refused)
    }

    /// The read sent as `sent` showed this offset.
    pub fn read(&mut self, sent: Sent, partition: i32, offset: i64) -> Result<(), Violation> {
        self.register(partition).insert(sent, (offset, Fate::Read));
        self.check(partition)
    }

    /// How many offsets were acknowledged.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    fn register(&mut self, partition: i32) -> &mut BTreeMap<Sent, (i64, Fate)> {
        self.partitions.entry(partition).or_default()
    }

    fn settle(&mut self, sent: Sent, partition: i32, fate: Fate) -> Result<(), Violation> {
        if let Some(entry) = self.register(partition).get_mut(&sent) {
            entry.1 = fate;
        }
        self.check(partition)
    }

    /// Walks the register's history again: an answer may come after a later request's.
    fn check(&mut self, partition: i32) -> Result<(), Violation> {
        let mut possible = BTreeSet::from([NONE]);
        let mut highest = NONE;
        for (sent, (offset, fate)) in self.register(partition) {
            match fate {
                Fate::Refused => {}
                Fate::Unknown => {
                    possible.insert(*offset);
                }
                Fate::Read if !possible.contains(offset) => {
                    return violation(format!(
                        "committed offset of {partition} is shown as {offset} ({sent:?}), possible are {possible:?}"
                    ));
                }
                Fate::Acknowledged if *offset != NONE && *offset < highest => {
                    return violation(format!(
                        "committed offset of {partition} goes back from {highest} to {offset} ({sent:?})"
                    ));
                }
                Fate::Read | Fate::Acknowledged => {
                    highest = highest.max(*offset);
                    possible = BTreeSet::from([*offset]);
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

    fn commit(commits: &mut Commits, offset: i64) -> Sent {
        let sent = commits.send();
        commits.begin(sent, 0, offset);
        sent
    }

    #[test]
    fn an_acknowledged_commit_is_shown_until_a_later_one_may_have_been_applied() {
        let mut commits = Commits::default();
        let first = commit(&mut commits, 5);
        commits.acknowledge(first, 0).unwrap();
        commit(&mut commits, 9);
        let read = commits.send();
        assert!(commits.read(read, 0, NONE).is_err());
        commits.read(read, 0, 5).unwrap();
        let read = commits.send();
        assert!(commits.read(read, 0, 9).is_err(), "5 was shown after it");
    }

    #[test]
    fn what_was_deleted_does_not_come_back() {
        let mut commits = Commits::default();
        let first = commit(&mut commits, 5);
        commits.acknowledge(first, 0).unwrap();
        let deletion = commit(&mut commits, NONE);
        commits.acknowledge(deletion, 0).unwrap();
        let read = commits.send();
        assert!(commits.read(read, 0, 5).is_err());
        commits.read(read, 0, NONE).unwrap();
    }

    #[test]
    fn an_answer_that_comes_late_convicts_an_earlier_read() {
        let mut commits = Commits::default();
        let sent = commit(&mut commits, 5);
        let read = commits.send();
        commits.read(read, 0, NONE).unwrap();
        assert!(commits.acknowledge(sent, 0).is_err());
    }

    #[test]
    fn a_refused_commit_is_never_shown_and_an_accepted_one_never_goes_back() {
        let mut commits = Commits::default();
        let refused = commit(&mut commits, 7);
        commits.refuse(refused, 0).unwrap();
        let read = commits.send();
        assert!(commits.read(read, 0, 7).is_err());
        commits.read(read, 0, NONE).unwrap();
        let high = commit(&mut commits, 8);
        commits.acknowledge(high, 0).unwrap();
        let low = commit(&mut commits, 3);
        assert!(commits.acknowledge(low, 0).is_err());
    }
}
