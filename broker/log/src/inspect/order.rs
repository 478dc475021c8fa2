//! Which offset and leader epoch the next batch must have. The checksum covers neither: this is what
//! finds damage in them.

use millstream_model::{LeaderEpoch, Offset};
use millstream_protocol::records::BatchHeader;

use crate::leader_epochs::LeaderEpochs;

#[derive(Debug)]
pub(super) struct Order {
    /// The offset after the last batch.
    pub next: Offset,
    /// Whether the next batch must have it; otherwise, behind a hole, it has this one or a later.
    pub is_sure: bool,
    /// Whether compaction may have taken batches out before the next one.
    pub may_have_gaps: bool,
    /// Behind a batch whose base offset was wrong: what would follow if it was right.
    alternative: Option<i64>,
    epoch: i32,
}

impl Order {
    pub(super) fn from(next: Offset) -> Order {
        Order {
            next,
            is_sure: true,
            may_have_gaps: false,
            alternative: None,
            epoch: i32::MIN,
        }
    }

    /// What follows is not known to follow at once.
    pub(super) fn lose(&mut self) {
        self.is_sure = false;
    }

    /// What is wrong with the place of a batch. `known`: the epochs' file, where it is to be believed.
    pub(super) fn check(&self, header: &BatchHeader, known: Option<&LeaderEpochs>) -> Vec<String> {
        let mut faults = Vec::new();
        let (base, next) = (header.base_offset, self.next.0);
        let is_next = self.is_sure && !self.may_have_gaps;
        if header.last_offset_delta < 0 || base < 0 {
            faults.push("its offsets are negative".to_owned());
        } else if is_next && base != next && self.alternative != Some(base) {
            faults.push(format!("its base offset is {base}, expected {next}"));
        } else if !is_next && base < next {
            faults.push(format!(
                "its base offset is {base}, expected {next} or more"
            ));
        }
        let epoch = header.partition_leader_epoch;
        let place = if is_next { next } else { base };
        match known.and_then(|known| known.of(Offset(place))) {
            Some(LeaderEpoch(known)) if known != epoch => {
                faults.push(format!("its leader epoch is {epoch}, expected {known}"));
            }
            None if epoch < self.epoch => {
                let before = self.epoch;
                faults.push(format!("its leader epoch is {epoch}, after {before}"));
            }
            _ => {}
        }
        faults
    }

    /// A batch that is right follows.
    pub(super) fn accept(&mut self, header: &BatchHeader) {
        self.next = Offset(header.next_offset());
        self.is_sure = true;
        self.alternative = None;
        self.epoch = header.partition_leader_epoch;
    }

    /// A batch follows whose records are right and whose place is not.
    pub(super) fn accept_misplaced(&mut self, header: &BatchHeader) {
        let count = i64::from(header.last_offset_delta.max(0)) + 1;
        self.alternative = Some(header.next_offset());
        self.next = self.next.plus(count);
        self.is_sure = true;
    }
}
