//! Which leader epochs to believe while a log is opened.
//!
//! No checksum of a batch covers its epoch, and the text of `leader-epoch-checkpoint` has none. So where
//! the two differ, neither says which is wrong. The log directory's checkpoint does: it holds a checksum
//! of the epochs up to the recovery point. A file that has it is right, and a batch that differs is
//! damage, found when it is read. A file that has not is made again from the batches.

use std::ops::Range;

use millstream_model::{LeaderEpoch, Offset};

use crate::Noted;
use crate::leader_epochs::LeaderEpochs;

/// The epochs of a log that is being opened.
pub(crate) struct OpeningEpochs {
    pub known: LeaderEpochs,
    /// The epoch that this start leads in, if it is a new one.
    pub leads_in: Option<LeaderEpoch>,
    /// The file is as it was noted, up to where batches are checked one by one.
    pub are_vouched_for: bool,
    /// The file is not as it was noted.
    pub is_contradicted: bool,
    /// What the file said.
    file: LeaderEpochs,
    /// What the next checked batch must have at least.
    least: LeaderEpoch,
}

impl OpeningEpochs {
    pub(crate) fn new(leads_in: Option<LeaderEpoch>) -> OpeningEpochs {
        OpeningEpochs {
            known: LeaderEpochs::default(),
            leads_in,
            are_vouched_for: false,
            is_contradicted: false,
            file: LeaderEpochs::default(),
            least: LeaderEpoch(i32::MIN),
        }
    }

    /// Takes what the file says of batches below `point`, from which on batches are checked.
    pub(crate) fn load(&mut self, file: LeaderEpochs, noted: Noted, point: Offset) {
        self.known = file.clone();
        self.file = file;
        self.known.truncate(point);
        let start = noted.log_start_offset.max(Offset::ZERO);
        let found = self.known.checksum(start, noted.recovery_point);
        let fits = noted.epochs_checksum.map(|noted| noted == found);
        self.is_contradicted = fits == Some(false);
        let begins = self.known.start();
        self.are_vouched_for = fits == Some(true)
            && point == noted.recovery_point
            && begins.is_none_or(|begins| begins <= start);
        if let Some(latest) = self.known.latest().filter(|_| self.are_vouched_for) {
            self.least = latest;
        }
    }

    /// What the epoch of the next batch that is checked lies in.
    pub(crate) fn bounds(&self) -> Range<LeaderEpoch> {
        self.least..self.leads_in.unwrap_or(LeaderEpoch(i32::MAX))
    }

    /// Notes a batch that was checked.
    pub(crate) fn note_checked(&mut self, epoch: LeaderEpoch, base: Offset) {
        self.known.assign(epoch, base);
        self.least = epoch;
    }

    /// Whether the file is as it was noted, and says all that there is to say.
    pub(crate) fn are_as_noted(&self) -> bool {
        self.are_vouched_for && self.known == self.file
    }

    /// There are no batches.
    pub(crate) fn forget(&mut self) {
        *self = OpeningEpochs::new(self.leads_in);
    }
}

/// Epochs by the batches alone. An epoch that the one before it or the one after it shows to be wrong is
/// left out: its batch is refused when it is read, and the others are not.
pub(crate) struct GatheredEpochs {
    epochs: LeaderEpochs,
    end: LeaderEpoch,
    /// Compaction may have taken out the first batches: their epoch is unknown, and the log is to begin
    /// in one.
    begin: Option<Offset>,
    /// The last batch, until the one after it is seen.
    held: Option<(LeaderEpoch, Offset)>,
}

impl GatheredEpochs {
    pub(crate) fn from(first: Offset, leads_in: Option<LeaderEpoch>) -> GatheredEpochs {
        GatheredEpochs {
            epochs: LeaderEpochs::default(),
            end: leads_in.unwrap_or(LeaderEpoch(i32::MAX)),
            begin: Some(first),
            held: None,
        }
    }

    /// Adds the next batch.
    pub(crate) fn add(&mut self, epoch: LeaderEpoch, base: Offset) {
        let is_possible = self.epochs.latest().is_none_or(|latest| epoch >= latest);
        if epoch >= self.end || !is_possible {
            return;
        }
        match self.held {
            Some((held, _)) if held > epoch => {}
            _ => self.settle(),
        }
        self.held = Some((epoch, base));
    }

    fn settle(&mut self) {
        if let Some((epoch, base)) = self.held.take() {
            let begin = self.begin.take().unwrap_or(base);
            self.epochs.assign(epoch, begin);
        }
    }

    pub(crate) fn finish(mut self) -> LeaderEpochs {
        self.settle();
        self.epochs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(epochs: &[i32], leads_in: Option<i32>) -> String {
        let mut gathered = GatheredEpochs::from(Offset(0), leads_in.map(LeaderEpoch));
        for (base, epoch) in epochs.iter().enumerate() {
            gathered.add(LeaderEpoch(*epoch), Offset(base as i64));
        }
        gathered.finish().to_text()
    }

    #[test]
    fn an_impossible_epoch_is_left_out() {
        let right = "0\n2\n3 0\n5 3\n";
        for epochs in [
            [3, 3, 3, 5, 5, 5],
            [3, 7, 3, 5, 5, 5],
            [3, 3, 3, 5, 1, 5],
            [3, 3, 3, 5, 5, 1],
            [3, 3, 3, 5, 5, 6],
            [7, 3, 3, 5, 5, 5],
        ] {
            assert_eq!(gathered(&epochs, Some(6)), right, "{epochs:?}");
        }
        assert_eq!(gathered(&[3, 7, 3, 5], None), "0\n2\n3 0\n5 3\n");
        assert_eq!(gathered(&[3, 3, 7], None), "0\n2\n3 0\n7 2\n");
    }
}
