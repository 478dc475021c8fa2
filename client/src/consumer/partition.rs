//! One assigned partition: where the reader stands, and fetched bytes that are not handed out yet.
//!
//! Bytes of an answer are taken apart one batch at a time, when records are asked for; until then they are one shared
//! slice. The position is always the offset of the next record to hand out, so it can be committed at any time.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millstream_protocol::records::{
    BatchError, BatchHeader, Codec, batches, check_crc, records_of,
};
use tokio::time::Instant;

use super::error::ConsumeError;
use super::record::ConsumerRecord;
use crate::cluster::TopicPartition;
use crate::offsets::OffsetSpec;

/// Records and headers of one batch taken apart at a time: a compressed batch of a hostile broker would else cost many
/// times its size in memory.
const PARTS_MAX: usize = 1 << 20;
/// The type of a control record that ends a transaction without success.
const ABORT_MARKER: i16 = 0;

/// Where a partition is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Position {
    /// At the group's committed offset, or where the settings say.
    Committed,
    /// At an offset that must be asked for.
    Spec(OffsetSpec),
    /// Here; with the epoch of the record before, −1 if unknown.
    At { offset: i64, leader_epoch: i32 },
}

/// Fetched bytes and what belongs to them.
#[derive(Debug)]
struct Fetched {
    rest: Bytes,
    // First offsets of aborted transactions, ascending, with their producers.
    aborted: VecDeque<(i64, i64)>,
    aborting: BTreeSet<i64>,
}

/// An assigned partition.
#[derive(Debug)]
pub(crate) struct PartitionState {
    pub(crate) target: TopicPartition,
    pub(crate) position: Position,
    pub(crate) is_paused: bool,
    /// A request that will decide the position or bring records is on its way.
    pub(crate) is_busy: bool,
    /// Counts changes of position from outside, to know late answers.
    pub(crate) generation: u64,
    pub(crate) not_before: Option<Instant>,
    pub(crate) failures: u32,
    pub(crate) high_watermark: Option<i64>,
    fetched: Option<Fetched>,
    // Records of the batch that is being handed out, and where the batch ends.
    decoded: VecDeque<ConsumerRecord>,
    decoded_end: Option<(i64, i32)>,
}

impl PartitionState {
    pub(crate) fn new(target: TopicPartition, position: Position) -> Self {
        Self {
            target,
            position,
            is_paused: false,
            is_busy: false,
            generation: 0,
            not_before: None,
            failures: 0,
            high_watermark: None,
            fetched: None,
            decoded: VecDeque::new(),
            decoded_end: None,
        }
    }

    /// Moves the reader; what was fetched for another place is forgotten, also what is still on its way.
    pub(crate) fn seek(&mut self, position: Position) {
        self.position = position;
        self.generation += 1;
        self.is_busy = false;
        self.not_before = None;
        self.fetched = None;
        self.decoded.clear();
        self.decoded_end = None;
    }

    /// Whether there may be records to hand out without asking a broker.
    pub(crate) fn has_data(&self) -> bool {
        self.fetched.is_some() || !self.decoded.is_empty()
    }

    /// Takes the records of an answer. `aborted` lists producer and first offset of aborted transactions.
    pub(crate) fn accept(&mut self, records: Bytes, aborted: &[(i64, i64)]) {
        let mut by_offset: Vec<(i64, i64)> = aborted
            .iter()
            .map(|&(producer, first_offset)| (first_offset, producer))
            .collect();
        by_offset.sort_unstable();
        self.fetched = (!records.is_empty()).then(|| Fetched {
            rest: records,
            aborted: by_offset.into(),
            aborting: BTreeSet::new(),
        });
    }

    /// Hands out records until `out` has `max`, or nothing is left. *Errors*: a damaged batch; records before it are in
    /// `out`, and the position stays in front of it.
    pub(crate) fn take(
        &mut self,
        max: usize,
        check: bool,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<(), ConsumeError> {
        while out.len() < max {
            if let Some(record) = self.decoded.pop_front() {
                self.position = Position::At {
                    offset: record.offset.saturating_add(1),
                    leader_epoch: record.leader_epoch,
                };
                out.push(record);
                continue;
            }
            if let Some((offset, leader_epoch)) = self.decoded_end.take() {
                self.position = Position::At {
                    offset,
                    leader_epoch,
                };
            }
            if !self.decode_next(check)? {
                break;
            }
        }
        Ok(())
    }

    /// Takes the next batch apart; false when there is no whole one.
    fn decode_next(&mut self, check: bool) -> Result<bool, ConsumeError> {
        let Position::At { offset, .. } = self.position else {
            self.fetched = None;
            return Ok(false);
        };
        let Some(fetched) = &mut self.fetched else {
            return Ok(false);
        };
        let first = batches(&fetched.rest).next();
        let (header, length) = match first {
            Some(Ok((header, batch))) => (header, batch.len()),
            Some(Err(error)) => {
                self.fetched = None;
                return Err(damaged(&self.target, offset, &error));
            }
            None => {
                self.fetched = None;
                return Ok(false);
            }
        };
        let batch = fetched.rest.split_to(length);
        if header.last_offset() < offset {
            return Ok(true);
        }
        let decoded = open(fetched, &self.target, &header, &batch, offset, check);
        match decoded {
            Ok(records) => {
                self.decoded = records;
                self.decoded_end = Some((header.next_offset(), header.partition_leader_epoch));
                Ok(true)
            }
            Err(error) => {
                self.fetched = None;
                Err(damaged(&self.target, offset, &error))
            }
        }
    }
}

fn damaged(target: &TopicPartition, offset: i64, error: &dyn std::fmt::Display) -> ConsumeError {
    ConsumeError::Corrupt {
        target: target.clone(),
        offset,
        reason: error.to_string(),
    }
}

/// Why a batch is not handed out.
#[derive(Debug, thiserror::Error)]
enum Damage {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(
        "more than {PARTS_MAX} records and headers in one batch, the most this client takes apart"
    )]
    Parts,
}

fn open(
    fetched: &mut Fetched,
    target: &TopicPartition,
    header: &BatchHeader,
    batch: &Bytes,
    position: i64,
    check: bool,
) -> Result<VecDeque<ConsumerRecord>, Damage> {
    if check {
        check_crc(batch)?;
    }
    let records = records_of(header, batch)?;
    if header.is_control() {
        if let Some(Ok(marker)) = records.iter().next()
            && marker.key.and_then(|key| key.get(2..4)) == Some(&ABORT_MARKER.to_be_bytes())
        {
            fetched.aborting.remove(&header.producer_id);
        }
        return Ok(VecDeque::new());
    }
    if header.is_transactional() && fetched.is_aborted(header) {
        return Ok(VecDeque::new());
    }
    // Slices of the answer, or of one copy of what was decompressed.
    let (owner, base) = match header.codec()? {
        Codec::None => (batch.clone(), batch.as_ptr()),
        _ => (
            Bytes::copy_from_slice(records.as_bytes()),
            records.as_bytes().as_ptr(),
        ),
    };
    let share = |part: &[u8]| {
        let start = part.as_ptr() as usize - base as usize;
        owner.slice(start..start + part.len())
    };
    let mut decoded = VecDeque::new();
    let mut parts = 0;
    for record in &records {
        let record = record?;
        parts += 1 + record.headers.len();
        if parts > PARTS_MAX {
            return Err(Damage::Parts);
        }
        if record.offset < position {
            continue;
        }
        decoded.push_back(ConsumerRecord {
            topic: Arc::clone(&target.topic),
            partition: target.partition,
            offset: record.offset,
            leader_epoch: header.partition_leader_epoch,
            timestamp: record.timestamp,
            timestamp_type: header.timestamp_type(),
            key: record.key.map(share),
            value: record.value.map(share),
            headers: record
                .headers
                .map(|(name, value)| (share(name), value.map(share)))
                .collect(),
        });
    }
    Ok(decoded)
}

impl Fetched {
    /// Whether the batch belongs to a transaction that was aborted later.
    fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        while let Some(&(first_offset, producer)) = self.aborted.front()
            && first_offset <= header.last_offset()
        {
            self.aborting.insert(producer);
            self.aborted.pop_front();
        }
        self.aborting.contains(&header.producer_id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_protocol::records::BatchBuilder;

    fn batch(base: i64, values: &[&str], codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec);
        for value in values {
            let headers = [(&b"h"[..], Some(value.as_bytes())), (b"h", None)];
            builder.push(5, Some(b"k"), Some(value.as_bytes()), headers);
        }
        builder.build(base, 3).to_vec()
    }

    fn at(offset: i64) -> PartitionState {
        let position = Position::At {
            offset,
            leader_epoch: -1,
        };
        PartitionState::new(TopicPartition::new("t", 0), position)
    }

    fn values(records: &[ConsumerRecord]) -> Vec<String> {
        records
            .iter()
            .map(|record| {
                let value = record.value.clone().unwrap();
                format!("{}:{}", record.offset, String::from_utf8_lossy(&value))
            })
            .collect()
    }

    #[test]
    fn records_before_the_position_and_a_cut_tail_are_left_out() {
        for codec in Codec::ALL {
            let mut bytes = batch(10, &["a", "b", "c"], codec);
            bytes.extend(batch(13, &["d"], codec));
            let cut = batch(14, &["e"], codec);
            bytes.extend(&cut[..cut.len() - 1]);
            let mut state = at(11);
            state.accept(bytes.into(), &[]);
            let mut out = Vec::new();
            state.take(2, true, &mut out).unwrap();
            assert_eq!(values(&out), ["11:b", "12:c"]);
            state.take(10, true, &mut out).unwrap();
            assert_eq!(values(&out), ["11:b", "12:c", "13:d"]);
            assert_eq!(out[0].headers[0].1.as_deref(), Some(&b"b"[..]));
            assert_eq!(out[0].headers[1], ("h".into(), None));
            assert_eq!(
                state.position,
                Position::At {
                    offset: 14,
                    leader_epoch: 3
                }
            );
            assert!(!state.has_data());
        }
    }

    #[test]
    fn a_flipped_bit_is_found_and_the_position_stays() {
        let mut bytes = batch(0, &["a"], Codec::None);
        let damaged_at = bytes.len() + 70;
        bytes.extend(batch(1, &["bbbbbbbbbb"], Codec::None));
        bytes[damaged_at] ^= 1;
        let mut state = at(0);
        state.accept(bytes.clone().into(), &[]);
        let mut out = Vec::new();
        let error = state.take(10, true, &mut out).unwrap_err();
        assert_eq!(values(&out), ["0:a"]);
        assert!(
            matches!(error, ConsumeError::Corrupt { offset: 1, .. }),
            "{error}"
        );
        let mut unchecked = at(0);
        unchecked.accept(bytes.into(), &[]);
        unchecked.take(10, false, &mut out).unwrap();
        assert_eq!(out.len(), 3);
    }

    #[test]
    fn a_small_batch_of_very_many_records_is_refused() {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        for _ in 0..=PARTS_MAX {
            builder.push(0, None, None, []);
        }
        let bytes = builder.build(0, 0);
        assert!(bytes.len() < PARTS_MAX * 8);
        let mut state = at(0);
        state.accept(bytes, &[]);
        let error = state.take(10, true, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("more than 1048576"), "{error}");
    }

    #[test]
    fn aborted_transactions_are_left_out_until_their_marker() {
        let transactional = |base: i64, value: &[u8], producer: i64| {
            let mut builder = BatchBuilder::new(Codec::None)
                .producer(producer, 0, 0)
                .transactional(true);
            builder.push(5, None, Some(value), []);
            builder.build(base, 0).to_vec()
        };
        let abort = |base: i64, producer: i64| {
            let mut builder = BatchBuilder::new(Codec::None)
                .producer(producer, 0, -1)
                .transactional(true)
                .control(true);
            builder.push(5, Some(&[0, 0, 0, 0]), Some(&[0, 0, 0, 0, 0, 0]), []);
            builder.build(base, 0).to_vec()
        };
        let bytes = [
            transactional(0, b"aborted", 7),
            transactional(1, b"kept", 8),
            abort(2, 7),
            transactional(3, b"later", 7),
        ]
        .concat();
        let mut state = at(0);
        state.accept(bytes.into(), &[(7, 0)]);
        let mut out = Vec::new();
        state.take(10, true, &mut out).unwrap();
        assert_eq!(values(&out), ["1:kept", "3:later"]);
    }

    #[test]
    fn a_batch_without_visible_records_moves_the_position_past_it() {
        let mut marker = BatchBuilder::new(Codec::None).control(true);
        marker.push(5, Some(&[0, 0, 0, 1]), None, []);
        let mut state = at(4);
        state.accept(marker.build(4, 2), &[]);
        state.take(10, true, &mut Vec::new()).unwrap();
        assert_eq!(
            state.position,
            Position::At {
                offset: 5,
                leader_epoch: 2
            }
        );
    }
}
