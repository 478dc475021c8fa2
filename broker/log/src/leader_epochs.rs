//! Where each leader's records begin (KIP-101, KIP-279).
//!
//! The file `leader-epoch-checkpoint` is text: `0`, the count, then `<epoch> <start offset>` a line.
//! An epoch enters it with the first batch written in it. Every batch carries its epoch too, so a
//! missing or broken file is rebuilt by reading the log.

use millstream_model::{LeaderEpoch, Offset};

/// Epochs with their start offsets, both strictly rising.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LeaderEpochs {
    entries: Vec<(LeaderEpoch, Offset)>,
}

impl LeaderEpochs {
    /// Notes that records from `start` on belong to `epoch`. Entries that begin there or later, or
    /// have this epoch or a newer one, are replaced. Answers whether anything changed.
    pub(crate) fn assign(&mut self, epoch: LeaderEpoch, start: Offset) -> bool {
        if self.entries.last().is_some_and(|(last, _)| *last == epoch) {
            return false;
        }
        self.entries
            .retain(|(known, begins)| *known < epoch && *begins < start);
        self.entries.push((epoch, start));
        true
    }

    /// Forgets what begins at `end` or later.
    pub(crate) fn truncate(&mut self, end: Offset) {
        self.entries.retain(|(_, start)| *start < end);
    }

    /// The log begins later now: epochs that ended before `start` are forgotten, and the one it lies
    /// in begins there. Answers whether anything changed.
    pub(crate) fn advance_start(&mut self, start: Offset) -> bool {
        let ended = self.entries.partition_point(|(_, begins)| *begins <= start);
        let Some(current) = ended.checked_sub(1) else {
            return false;
        };
        let changes = current > 0 || self.entries[current].1 < start;
        self.entries.drain(..current);
        self.entries[0].1 = start;
        changes
    }

    /// Where the first known epoch begins.
    pub(crate) fn start(&self) -> Option<Offset> {
        self.entries.first().map(|(_, start)| *start)
    }

    /// The newest epoch.
    pub(crate) fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// The epoch an offset was written in.
    pub(crate) fn of(&self, offset: Offset) -> Option<LeaderEpoch> {
        let count = self.entries.partition_point(|(_, start)| *start <= offset);
        Some(self.entries[count.checked_sub(1)?].0)
    }

    /// The largest known epoch not above `asked`, and the exclusive end of its records. For an epoch
    /// before all known ones: itself, and where the known ones begin. `None` above the newest.
    pub(crate) fn end_of(
        &self,
        asked: LeaderEpoch,
        log_end: Offset,
    ) -> Option<(LeaderEpoch, Offset)> {
        let (latest, _) = *self.entries.last()?;
        if asked > latest || asked.0 < 0 {
            return None;
        }
        if asked == latest {
            return Some((latest, log_end));
        }
        let next = self.entries.partition_point(|(epoch, _)| *epoch <= asked);
        let known = next
            .checked_sub(1)
            .map_or(asked, |index| self.entries[index].0);
        Some((known, self.entries[next].1))
    }

    /// Of what the file says about offsets from `start` to `end`, exclusive: CRC-32 of epoch and beginning
    /// of each.
    pub(crate) fn checksum(&self, start: Offset, end: Offset) -> u32 {
        let begun = self.entries.partition_point(|(_, begins)| *begins <= start);
        let mut hasher = crc32fast::Hasher::new();
        for (epoch, begins) in &self.entries[begun.saturating_sub(1)..] {
            if *begins >= end {
                break;
            }
            hasher.update(&epoch.0.to_be_bytes());
            hasher.update(&(*begins).max(start).0.to_be_bytes());
        }
        hasher.finalize()
    }

    /// The file's text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!("0\n{}\n", self.entries.len());
        for (epoch, start) in &self.entries {
            text.push_str(&format!("{epoch} {start}\n"));
        }
        text
    }

    /// Reads the file's text. `None` when it is not whole and rising.
    pub(crate) fn parse(text: &str) -> Option<LeaderEpochs> {
        let mut lines = text.lines();
        if lines.next()? != "0" {
            return None;
        }
        let count: usize = lines.next()?.parse().ok()?;
        let mut entries: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for line in lines {
            let (epoch, start) = line.split_once(' ')?;
            let entry = (
                LeaderEpoch(epoch.parse().ok()?),
                Offset(start.parse().ok()?),
            );
            if entries
                .last()
                .is_some_and(|last| last.0 >= entry.0 || last.1 >= entry.1)
            {
                return None;
            }
            entries.push(entry);
        }
        (entries.len() == count && text.ends_with('\n')).then_some(LeaderEpochs { entries })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn three() -> LeaderEpochs {
        LeaderEpochs::parse("0\n3\n1 0\n3 10\n4 25\n").unwrap()
    }

    #[test]
    fn text_round_trips_and_is_checked() {
        assert_eq!(three().to_text(), "0\n3\n1 0\n3 10\n4 25\n");
        for broken in ["", "1\n0\n", "0\n2\n1 0\n", "0\n2\n3 0\n1 9\n", "0\n1\n1 0"] {
            assert_eq!(LeaderEpochs::parse(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn a_later_start_cuts_the_history_before_it() {
        let mut epochs = three();
        assert!(!epochs.advance_start(Offset(0)));
        assert!(epochs.advance_start(Offset(9)));
        assert_eq!(epochs.to_text(), "0\n3\n1 9\n3 10\n4 25\n");
        assert!(epochs.advance_start(Offset(25)));
        assert!(!epochs.advance_start(Offset(25)));
        assert!(epochs.advance_start(Offset(30)));
        assert_eq!(epochs.to_text(), "0\n1\n4 30\n");
        assert!(!LeaderEpochs::default().advance_start(Offset(3)));
    }

    #[test]
    fn the_checksum_is_of_what_lies_between() {
        let of = |text: &str, start: i64, end: i64| {
            let epochs = LeaderEpochs::parse(text).unwrap();
            epochs.checksum(Offset(start), Offset(end))
        };
        let three = "0\n3\n1 0\n3 10\n4 25\n";
        // Files of an earlier start, and of a later end, say the same of what lies between.
        assert_eq!(of(three, 12, 25), of("0\n1\n3 12\n", 12, 25));
        assert_eq!(of(three, 0, 26), of("0\n4\n1 0\n3 10\n4 25\n5 26\n", 0, 26));
        assert_ne!(of(three, 0, 26), of(three, 0, 25));
        assert_ne!(of(three, 0, 26), of("0\n3\n1 0\n3 11\n4 25\n", 0, 26));
        assert_ne!(of(three, 0, 26), of("0\n3\n1 0\n2 10\n4 25\n", 0, 26));
    }

    #[test]
    fn ends_of_epochs() {
        let ends: Vec<_> = [-1, 0, 1, 2, 3, 4, 5]
            .map(|epoch| {
                three()
                    .end_of(LeaderEpoch(epoch), Offset(40))
                    .map(|(e, o)| (e.0, o.0))
            })
            .to_vec();
        let expected = [
            None,
            Some((0, 0)),
            Some((1, 10)),
            Some((1, 10)),
            Some((3, 25)),
            Some((4, 40)),
            None,
        ];
        assert_eq!(ends, expected);
        assert_eq!(three().of(Offset(24)), Some(LeaderEpoch(3)));
    }

    #[test]
    fn an_epoch_without_records_is_replaced() {
        let mut epochs = three();
        assert!(epochs.assign(LeaderEpoch(5), Offset(30)));
        assert!(epochs.assign(LeaderEpoch(6), Offset(30)));
        assert!(!epochs.assign(LeaderEpoch(6), Offset(35)));
        assert_eq!(epochs.to_text(), "0\n4\n1 0\n3 10\n4 25\n6 30\n");
        epochs.truncate(Offset(25));
        assert_eq!(epochs.to_text(), "0\n2\n1 0\n3 10\n");
    }
}
