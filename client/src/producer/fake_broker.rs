//! A broker's memory of producers, for tests: Kafka's rules for idempotent appends (kafka-facts behaviour 2.3), one log per
//! partition shared by all nodes, and a leader per partition.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchHeader, check_crc, records_of};

use super::queue::PartitionAnswer;
use super::record::Appended;

/// Batches per producer that are known again.
const REMEMBERED: usize = 5;

#[derive(Debug, Default)]
struct ProducerState {
    epoch: i16,
    // First and last sequence, base offset.
    batches: VecDeque<(i32, i32, i64)>,
}

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct FakeLog {
    /// Values of the records, in order.
    pub(crate) values: Vec<String>,
    producers: HashMap<i64, ProducerState>,
}

/// All partitions by number.
#[derive(Debug, Default)]
pub(crate) struct FakeBroker {
    pub(crate) logs: BTreeMap<i32, FakeLog>,
    pub(crate) leaders: BTreeMap<i32, i32>,
}

pub(crate) fn answer(code: i16, base_offset: i64) -> PartitionAnswer {
    PartitionAnswer {
        code,
        appended: Appended {
            base_offset,
            log_append_time: -1,
        },
        message: None,
    }
}

pub(crate) fn refusal(code: ErrorCode) -> PartitionAnswer {
    answer(code.code(), -1)
}

impl FakeBroker {
    /// What `node` answers to a batch.
    pub(crate) fn produce(&mut self, node: i32, partition: i32, batch: &Bytes) -> PartitionAnswer {
        if self.leaders.get(&partition) != Some(&node) {
            return refusal(ErrorCode::NotLeaderOrFollower);
        }
        self.logs.entry(partition).or_default().append(batch)
    }
}

impl FakeLog {
    /// Forgets the producers and the records from `end` on, as after a crash without flush.
    pub(crate) fn lose_from(&mut self, end: usize) {
        self.values.truncate(end);
        for producer in self.producers.values_mut() {
            producer
                .batches
                .retain(|(.., offset)| (*offset as usize) < end);
        }
    }

    fn append(&mut self, batch: &Bytes) -> PartitionAnswer {
        check_crc(batch).expect("the producer sends valid batches");
        let header = BatchHeader::read(batch).expect("a valid batch");
        if header.has_producer_id()
            && let Some(verdict) = self.judge(&header)
        {
            return verdict;
        }
        let base_offset = self.values.len() as i64;
        for record in &records_of(&header, batch).expect("readable records") {
            let value = record.expect("a readable record").value;
            let text = String::from_utf8(value.expect("a value").to_vec());
            self.values.push(text.expect("text"));
        }
        if header.has_producer_id() {
            let state = self.producers.entry(header.producer_id).or_default();
            if state.epoch != header.producer_epoch {
                state.epoch = header.producer_epoch;
                state.batches.clear();
            }
            let last = header.last_sequence();
            state
                .batches
                .push_back((header.base_sequence, last, base_offset));
            if state.batches.len() > REMEMBERED {
                state.batches.pop_front();
            }
        }
        answer(0, base_offset)
    }

    /// The answer to a batch that is not to be appended.
    fn judge(&self, header: &BatchHeader) -> Option<PartitionAnswer> {
        let state = self.producers.get(&header.producer_id)?;
        if header.producer_epoch < state.epoch {
            return Some(refusal(ErrorCode::InvalidProducerEpoch));
        }
        if header.producer_epoch > state.epoch {
            return (header.base_sequence != 0)
                .then(|| refusal(ErrorCode::OutOfOrderSequenceNumber));
        }
        let range = (header.base_sequence, header.last_sequence());
        let known = state.batches.iter().find(|b| (b.0, b.1) == range);
        if let Some(&(_, _, offset)) = known {
            return Some(answer(0, offset));
        }
        let expected = state
            .batches
            .back()
            .map(|b| b.1.wrapping_add(1) & i32::MAX)?;
        (header.base_sequence != expected).then(|| refusal(ErrorCode::OutOfOrderSequenceNumber))
    }
}
