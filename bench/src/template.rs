//! A batch that is built once and sent many times under new sequence numbers.
//!
//! Only the producer's sequence differs from one sending to the next, so only the 61 bytes of the header are made anew;
//! the records are one shared slice. The checksum covers the sequence too, and is found without reading the batch again: a
//! CRC is affine over the bits of its input, so for batches that differ in the sequence alone
//!
//! ```text
//!   crc(sequence) = crc(0) ⊕ delta[i] for each set bit i,   delta[i] = crc(1 << i) ⊕ crc(0)
//! ```
//!
//! and the 32 deltas are computed once per template.

use bytes::Bytes;
use millstream_protocol::records::{BatchBuilder, Codec, HEADER_SIZE, crc32c};

const CRC: std::ops::Range<usize> = 17..21;
const SEQUENCE: std::ops::Range<usize> = 53..57;

/// Records of a batch and how to stamp its header.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    header: [u8; HEADER_SIZE],
    records: Bytes,
    record_count: i32,
    crc_of_zero: u32,
    crc_deltas: [u32; 32],
}

/// What a template is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) records: usize,
    pub(crate) record_size: usize,
    pub(crate) codec: Codec,
    /// Id and epoch; none without idempotence.
    pub(crate) producer: Option<(i64, i16)>,
    pub(crate) timestamp: i64,
}

/// How many records of this size fit into a batch; at least one.
pub(crate) fn records_in(batch_bytes: usize, record_size: usize) -> usize {
    // Lengths, deltas and counts take at most 12 bytes at usual sizes.
    (batch_bytes.saturating_sub(HEADER_SIZE) / (record_size + 12)).max(1)
}

impl Template {
    pub(crate) fn new(shape: &Shape) -> Self {
        let mut builder = BatchBuilder::new(shape.codec);
        if let Some((id, epoch)) = shape.producer {
            builder.set_producer(id, epoch, 0);
        }
        for index in 0..shape.records {
            let value = value(index as u64, shape.record_size);
            builder.push(shape.timestamp, None, Some(&value), []);
        }
        let record_count = builder.record_count();
        let mut batch = builder.build(0, -1).to_vec();
        let mut header = [0; HEADER_SIZE];
        header.copy_from_slice(&batch[..HEADER_SIZE]);
        let crc_of_zero = crc32c(&batch[21..]);
        let mut crc_deltas = [0; 32];
        if shape.producer.is_some() {
            for (bit, delta) in crc_deltas.iter_mut().enumerate() {
                batch[SEQUENCE].copy_from_slice(&(1u32 << bit).to_be_bytes());
                *delta = crc32c(&batch[21..]) ^ crc_of_zero;
            }
        }
        Self {
            header,
            records: Bytes::from(batch).slice(HEADER_SIZE..),
            record_count,
            crc_of_zero,
            crc_deltas,
        }
    }

    pub(crate) fn record_count(&self) -> i32 {
        self.record_count
    }

    /// The batch with this base sequence, in two parts. Without idempotence the sequence is not looked at.
    pub(crate) fn stamped(&self, sequence: i32) -> Vec<Bytes> {
        let mut header = self.header;
        if self.crc_deltas[0] != 0 {
            header[SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
            let mut crc = self.crc_of_zero;
            for (bit, delta) in self.crc_deltas.iter().enumerate() {
                if sequence >> bit & 1 == 1 {
                    crc ^= delta;
                }
            }
            header[CRC].copy_from_slice(&crc.to_be_bytes());
        }
        vec![Bytes::copy_from_slice(&header), self.records.clone()]
    }
}

/// Sequences count from 0 to 2³¹−1 and begin anew.
pub(crate) fn sequence_after(sequence: i32, records: i32) -> i32 {
    sequence.wrapping_add(records) & i32::MAX
}

/// Text of `size` bytes that compresses about as well as log lines do.
fn value(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut value = Vec::with_capacity(size + 16);
    while value.len() < size {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        value.extend_from_slice(format!("{:x} field={} ", state >> 40, state >> 60).as_bytes());
    }
    value.truncate(size);
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_protocol::records::{BatchHeader, check_crc, records_of};

    fn shape(producer: Option<(i64, i16)>, codec: Codec) -> Shape {
        Shape {
            records: 10,
            record_size: 100,
            codec,
            producer,
            timestamp: 1_700_000_000_000,
        }
    }

    #[test]
    fn every_stamped_batch_is_valid() {
        for codec in Codec::ALL {
            let template = Template::new(&shape(Some((9, 1)), codec));
            for sequence in [0, 1, 10, 12_345, i32::MAX] {
                let batch = template.stamped(sequence).concat();
                check_crc(&batch).unwrap();
                let header = BatchHeader::read(&batch).unwrap();
                assert_eq!(header.base_sequence, sequence);
                assert_eq!((header.producer_id, header.producer_epoch), (9, 1));
                let records = records_of(&header, &batch).unwrap();
                let sizes: Vec<usize> = records
                    .iter()
                    .map(|record| record.unwrap().value.unwrap().len())
                    .collect();
                assert_eq!(sizes, [100; 10]);
            }
        }
    }

    #[test]
    fn without_a_producer_nothing_is_stamped() {
        let template = Template::new(&shape(None, Codec::None));
        let batch = template.stamped(77).concat();
        check_crc(&batch).unwrap();
        assert_eq!(BatchHeader::read(&batch).unwrap().base_sequence, -1);
    }

    #[test]
    fn batches_stay_within_their_size() {
        for (batch_bytes, record_size) in [(65_536, 1024), (65_536, 10), (16_384, 100)] {
            let records = records_in(batch_bytes, record_size);
            let template = Template::new(&Shape {
                records,
                record_size,
                ..shape(Some((1, 0)), Codec::None)
            });
            assert!(template.stamped(0).concat().len() <= batch_bytes);
        }
        assert_eq!(records_in(1, 1024), 1);
    }
}
