//! Reads the records of a batch, for whoever consumes them: clients, coordinators that load.

use std::borrow::Cow;

use super::codec::Codec;
use super::decompress::decompress;
use super::error::{BatchError, RecordProblem};
use super::header::{BatchHeader, HEADER_SIZE, TimestampType, crc_of};
use super::scan::{SliceSource, scan_slice, split_record, varint};

/// One record, as slices of its batch.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// In milliseconds; the broker's time in a batch with LogAppendTime.
    pub timestamp: i64,
    /// The key, if it has one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` deletes the key on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: Headers<'a>,
}

/// The headers of a record: key and value of each, in order, duplicate keys kept.
///
/// Keys are text by convention, but no broker checks that, so they are bytes here.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    rest: &'a [u8],
    count: usize,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let key = self.field().flatten();
        let value = self.field();
        // The lengths were checked when the record was read.
        Some((key?, value?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.count, Some(self.count))
    }
}

impl ExactSizeIterator for Headers<'_> {}

impl<'a> Headers<'a> {
    fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let mut source = SliceSource::new(self.rest);
        let Ok(length) = usize::try_from(varint(&mut source)) else {
            self.rest = source.rest;
            return Some(None);
        };
        let (field, rest) = source.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(field))
    }
}

/// The records of one batch; owns them where they had to be decompressed.
#[derive(Clone, Debug)]
pub struct RecordsOf<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl<'a> RecordsOf<'a> {
    /// The records of the batch with this header, already decompressed if they were compressed.
    #[must_use]
    pub fn of_plain(header: &BatchHeader, records: &'a [u8]) -> RecordsOf<'a> {
        RecordsOf {
            header: *header,
            bytes: Cow::Borrowed(records),
        }
    }

    /// The header of the batch.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records as they stand in an uncompressed batch.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The records, in order. An error ends them.
    #[must_use]
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter {
            header: &self.header,
            rest: &self.bytes,
            next: 0,
            failed: false,
        }
    }
}

impl<'a> IntoIterator for &'a RecordsOf<'_> {
    type Item = Result<Record<'a>, BatchError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// The iterator of [`RecordsOf::iter`].
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    rest: &'a [u8],
    next: i32,
    failed: bool,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.next >= self.header.record_count {
            if self.rest.is_empty() {
                return None;
            }
            self.failed = true;
            let count = self.header.record_count;
            return Some(Err(BatchError::BytesRemain { count }));
        }
        let record = self.read_next();
        self.failed = record.is_err();
        let index = self.next;
        self.next += 1;
        Some(record.map_err(|problem| BatchError::Record { index, problem }))
    }
}

impl<'a> RecordIter<'a> {
    fn read_next(&mut self) -> Result<Record<'a>, RecordProblem> {
        let (body, rest) = split_record(self.rest)?;
        self.rest = rest;
        let scanned = scan_slice(body)?;
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self
                .header
                .base_timestamp
                .wrapping_add(scanned.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        Ok(Record {
            offset: self
                .header
                .base_offset
                .wrapping_add(i64::from(scanned.offset_delta)),
            timestamp,
            key: scanned.key.map(|range| &body[range]),
            value: scanned.value.map(|range| &body[range]),
            headers: Headers {
                rest: &body[scanned.headers..],
                count: scanned.header_count,
            },
        })
    }
}

/// The records of `batch`, a whole batch whose header is `header`; decompresses them if need be.
/// The checksum is not looked at: see [`check_crc`].
pub fn records_of<'a>(header: &BatchHeader, batch: &'a [u8]) -> Result<RecordsOf<'a>, BatchError> {
    let declared = header.size_in_bytes();
    let bytes = batch.len();
    let records = batch
        .get(HEADER_SIZE..declared)
        .ok_or(BatchError::Incomplete { declared, bytes })?;
    let bytes = match header.codec()? {
        Codec::None => Cow::Borrowed(records),
        codec => Cow::Owned(
            decompress(codec, records)
                .map_err(|problem| BatchError::Decompress { codec, problem })?,
        ),
    };
    Ok(RecordsOf {
        header: *header,
        bytes,
    })
}

/// Compares the checksum of `batch`, a whole batch, with its bytes.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    let header = BatchHeader::read(batch)?;
    let computed = crc_of(batch);
    if computed != header.crc {
        return Err(BatchError::Crc {
            stored: header.crc,
            computed,
        });
    }
    Ok(())
}
