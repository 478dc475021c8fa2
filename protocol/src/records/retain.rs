//! Takes records out of a batch, as compaction does, and leaves everything else that the log and
//! its readers go by as it was.
//!
//! ```text
//!   kept      base offset, last offset delta, leader epoch, producer, sequence, codec, timestamp type
//!   changes   record count, length, checksum; the largest timestamp, which is that of what is left
//! ```
//!
//! A batch may be left without records: the offsets and the sequence it stands for are known then, and
//! nothing else (61 bytes, base timestamp −1, no codec, as Kafka writes it).
//!
//! With a delete horizon (KIP-534) the base timestamp says from when on the batch's tombstones may go,
//! and the records' timestamps count from there.

use super::codec::Codec;
use super::compress::compress_into;
use super::error::BatchError;
use super::header::{BatchHeader, HEADER_SIZE, LENGTH_OVERHEAD, TimestampType, crc_of};
use super::read::RecordsOf;
use super::scan::{SliceSource, split_record, varlong};
use super::varint::{put_varint, varint_len};

/// The batch of these records with only those that `keeps` says, one entry for each. With a
/// `delete_horizon`, in milliseconds, the batch gets it. *Errors*: a record cannot be read.
pub fn retain_records(
    records: &RecordsOf<'_>,
    keeps: &[bool],
    delete_horizon: Option<i64>,
) -> Result<Vec<u8>, BatchError> {
    let before = records.header();
    let base_timestamp = delete_horizon.unwrap_or(before.base_timestamp);
    let mut plain = Vec::new();
    let mut max_timestamp = -1;
    let mut rest = records.as_bytes();
    for (index, keep) in keeps.iter().enumerate() {
        let index = index as i32;
        let problem = |problem| BatchError::Record { index, problem };
        let (body, after) = split_record(rest).map_err(problem)?;
        rest = after;
        if !keep {
            continue;
        }
        let (attributes, behind) = body.split_first().unwrap_or((&0, &[]));
        let mut source = SliceSource::new(behind);
        let delta = varlong(&mut source);
        let delta = source.check(delta).map_err(problem)?;
        let timestamp = before.base_timestamp.wrapping_add(delta);
        max_timestamp = max_timestamp.max(timestamp);
        let delta = timestamp.wrapping_sub(base_timestamp);
        put_varint(
            &mut plain,
            (1 + varint_len(delta) + source.rest.len()) as i64,
        );
        plain.push(*attributes);
        put_varint(&mut plain, delta);
        plain.extend_from_slice(source.rest);
    }
    let record_count = keeps.iter().filter(|keep| **keep).count();
    if record_count == 0 {
        return Ok(without_records(before));
    }
    let mut after = *before;
    after.record_count = record_count as i32;
    if delete_horizon.is_some() {
        after.set_delete_horizon(base_timestamp);
    }
    if before.timestamp_type() == TimestampType::CreateTime {
        after.max_timestamp = max_timestamp;
    }
    let mut batch = vec![0; HEADER_SIZE];
    match before.codec()? {
        Codec::None => batch.append(&mut plain),
        codec => compress_into(codec, &plain, &mut batch),
    }
    Ok(complete(batch, after))
}

/// The batch without any record.
#[must_use]
pub fn without_records(header: &BatchHeader) -> Vec<u8> {
    let attributes =
        BatchHeader::attributes_of(Codec::None, header.is_transactional(), header.is_control());
    let mut after = BatchHeader {
        attributes,
        base_timestamp: -1,
        record_count: 0,
        ..*header
    };
    after.set_timestamp_type(header.timestamp_type());
    complete(vec![0; HEADER_SIZE], after)
}

/// Writes length, checksum and the other fields of the header before the records.
fn complete(mut batch: Vec<u8>, mut header: BatchHeader) -> Vec<u8> {
    header.batch_length =
        i32::try_from(batch.len() - LENGTH_OVERHEAD).expect("decompression is capped far below");
    batch[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    header.crc = crc_of(&batch);
    batch[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    batch
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::records::{BatchBuilder, check_crc, records_of};

    type Plain = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>, usize);

    fn records(batch: &[u8]) -> Vec<Plain> {
        check_crc(batch).unwrap();
        let header = BatchHeader::read(batch).unwrap();
        assert_eq!(header.size_in_bytes(), batch.len());
        let records = records_of(&header, batch).unwrap();
        let plain = |record: Result<crate::records::Record<'_>, _>| {
            let record = record.unwrap();
            let (key, value) = (record.key.map(Vec::from), record.value.map(Vec::from));
            (
                record.offset,
                record.timestamp,
                key,
                value,
                record.headers.count(),
            )
        };
        records.iter().map(plain).collect()
    }

    fn batch(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).producer(7, 3, 100);
        let header: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(b"x"))];
        builder.push(1000, Some(b"a"), Some(b"1"), header);
        builder.push(5000, Some(b"b"), None, []);
        builder.push(2000, Some(b"c"), Some(b"3"), []);
        builder.build(40, 9).to_vec()
    }

    #[test]
    fn what_is_left_is_as_it_was() {
        for codec in Codec::ALL {
            let batch = batch(codec);
            let before = BatchHeader::read(&batch).unwrap();
            let all = records(&batch);
            let source = records_of(&before, &batch).unwrap();
            for horizon in [None, Some(1_900_000_000_000)] {
                let kept = retain_records(&source, &[true, false, true], horizon).unwrap();
                assert_eq!(records(&kept), [all[0].clone(), all[2].clone()]);
                let after = BatchHeader::read(&kept).unwrap();
                assert_eq!(after.has_delete_horizon(), horizon.is_some());
                let expected = BatchHeader {
                    record_count: 2,
                    max_timestamp: 2000,
                    base_timestamp: horizon.unwrap_or(1000),
                    crc: after.crc,
                    batch_length: after.batch_length,
                    attributes: after.attributes,
                    ..before
                };
                assert_eq!(after, expected);
                assert_eq!(after.codec(), Ok(codec));
            }
        }
    }

    #[test]
    fn a_horizon_goes_through_a_second_pass() {
        let batch = batch(Codec::None);
        let before = BatchHeader::read(&batch).unwrap();
        let source = records_of(&before, &batch).unwrap();
        let once = retain_records(&source, &[true; 3], Some(77_000)).unwrap();
        let header = BatchHeader::read(&once).unwrap();
        let twice = retain_records(&records_of(&header, &once).unwrap(), &[true; 3], None).unwrap();
        assert_eq!(once, twice);
        assert_eq!(records(&once), records(&batch));
    }

    #[test]
    fn the_broker_s_time_stays() {
        let mut batch = batch(Codec::None);
        let mut head = *batch.first_chunk().unwrap();
        crate::records::set_log_append_time(&mut head, 9000);
        batch[..HEADER_SIZE].copy_from_slice(&head);
        let header = BatchHeader::read(&batch).unwrap();
        let source = records_of(&header, &batch).unwrap();
        let kept = retain_records(&source, &[true, false, false], None).unwrap();
        assert_eq!(records(&kept)[0].1, 9000);
    }

    #[test]
    fn nothing_left_is_a_header() {
        let batch = batch(Codec::Zstd);
        let header = BatchHeader::read(&batch).unwrap();
        let source = records_of(&header, &batch).unwrap();
        let empty = retain_records(&source, &[false; 3], Some(1)).unwrap();
        assert_eq!(empty.len(), HEADER_SIZE);
        assert_eq!(records(&empty), []);
        let after = BatchHeader::read(&empty).unwrap();
        assert_eq!((after.base_timestamp, after.max_timestamp), (-1, 5000));
        assert_eq!((after.last_offset(), after.last_sequence()), (42, 102));
        assert_eq!(after.attributes, 0);
    }
}
