//! Everything that is asked of a batch which a client produces, checked once, before the partition
//! is locked.
//!
//! The order is Kafka's, because it decides which error a client sees: exactly one batch of a known
//! format ([`single_batch`]); base offset, size, checksum; then the header's fields; then the
//! records, one by one. Where this is stricter than Kafka: records are numbered from 0 without
//! gaps, no field may reach past its record, timestamps below −1 are refused.
//!
//! Records are walked where they lie, about five nanoseconds each, and nothing is built. Compressed
//! ones pass through one window. What comes out is the header to store: its max timestamp is that of
//! the records (or the broker's clock), whatever the client wrote, and its checksum fits.

use bytes::Bytes;

use super::codec::Codec;
use super::decompress::Decompressor;
use super::error::{BatchError, BatchRefusal, RECORD_ERRORS_MAX, RecordProblem};
use super::header::{
    BatchHeader, HEADER_SIZE, LENGTH_MIN, LENGTH_OVERHEAD, TimestampType, check_magic, crc_of,
    stamp,
};
use super::scan::{Scanned, scan_slice, split_record};
use super::stream::{RecordStream, WINDOW_BYTES};

/// What a topic asks of a batch; by default, what Kafka's defaults are, at the time 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidationRules {
    /// `max.message.bytes`: the largest batch, header included.
    pub max_message_bytes: usize,
    /// Whether `cleanup.policy` has `compact`, which needs keys.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// The broker's clock.
    pub now_ms: i64,
    /// Whether compressed records are believed on the batch's checksum, unseen
    /// (`millstream.produce.validation=relaxed`).
    pub relaxed: bool,
}

/// The timestamp of a record that has none.
const NO_TIMESTAMP: i64 = -1;

impl Default for ValidationRules {
    fn default() -> Self {
        ValidationRules {
            max_message_bytes: 1_048_588,
            compacted: false,
            timestamp_type: TimestampType::CreateTime,
            before_max_ms: i64::MAX,
            after_max_ms: 3_600_000,
            now_ms: 0,
            relaxed: false,
        }
    }
}

impl ValidationRules {
    /// The timestamps a record may have, both ends inclusive; also none at all.
    fn timestamp_window(&self) -> (i64, i64) {
        match self.timestamp_type {
            TimestampType::LogAppendTime => (i64::MIN, i64::MAX),
            TimestampType::CreateTime => (
                self.now_ms.saturating_sub(self.before_max_ms).max(0),
                self.now_ms.saturating_add(self.after_max_ms),
            ),
        }
    }
}

/// A batch that passed, and the header to store it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValidatedBatch {
    /// As received, but for what the broker corrects: timestamp type, max timestamp, checksum.
    pub header: BatchHeader,
    /// The largest timestamp of the records.
    pub max_timestamp: i64,
    /// The offset of the first record with it, counted from the base offset.
    pub offset_of_max_timestamp: i64,
    /// The broker's clock where it is the records' timestamp.
    pub log_append_time: Option<i64>,
}

impl ValidatedBatch {
    /// A batch that this process built itself, from [`super::BatchBuilder`], or that a leader has
    /// checked. The offset of the largest timestamp is then taken to be the last.
    #[must_use]
    pub fn trusted(header: BatchHeader) -> ValidatedBatch {
        ValidatedBatch {
            header,
            max_timestamp: header.max_timestamp,
            offset_of_max_timestamp: i64::from(header.last_offset_delta),
            log_append_time: (header.timestamp_type() == TimestampType::LogAppendTime)
                .then_some(header.max_timestamp),
        }
    }

    /// The header's bytes for its place in the log.
    #[must_use]
    pub fn stamped_header(&self, base_offset: i64, leader_epoch: i32) -> [u8; HEADER_SIZE] {
        let mut bytes = self.header.to_bytes();
        stamp(&mut bytes, base_offset, leader_epoch);
        bytes
    }
}

/// The bytes before and with the magic: what tells one format from another.
const SIZE_TO_MAGIC: usize = 17;
/// The length field of the smallest message in the oldest format.
const OLD_LENGTH_MIN: i32 = 14;

/// The one batch that a producer may send to a partition, without what follows it.
///
/// Bytes behind it are dropped if they do not form another batch. Without `zstd_allowed`, which a
/// request has from version 7, that codec is refused.
pub fn single_batch(records: &Bytes, zstd_allowed: bool) -> Result<Bytes, BatchRefusal> {
    let size = first_batch_size(records)?;
    let rest = &records[size..];
    let second = start_of(rest).is_some_and(|(length, magic)| {
        let complete = usize::try_from(length).is_ok_and(|n| n + LENGTH_OVERHEAD <= rest.len());
        complete && length >= OLD_LENGTH_MIN && (0..=2).contains(&magic)
    });
    if second {
        return Err(BatchError::NotOne { bytes: rest.len() }.into());
    }
    let batch = records.slice(..size);
    let codec = BatchHeader::read(&batch)?.codec();
    if codec == Ok(Codec::Zstd) && !zstd_allowed {
        return Err(BatchError::ZstdTooOld.into());
    }
    Ok(batch)
}

/// Length field and magic at the start of `bytes`.
fn start_of(bytes: &[u8]) -> Option<(i32, i8)> {
    let start = bytes.first_chunk::<SIZE_TO_MAGIC>()?;
    let length = i32::from_be_bytes([start[8], start[9], start[10], start[11]]);
    Some((length, start[16] as i8))
}

fn first_batch_size(records: &[u8]) -> Result<usize, BatchError> {
    let bytes = records.len();
    let Some((length, magic)) = start_of(records) else {
        return Err(if bytes == 0 {
            BatchError::Missing
        } else {
            let declared = SIZE_TO_MAGIC;
            BatchError::Incomplete { declared, bytes }
        });
    };
    if length < OLD_LENGTH_MIN {
        return Err(BatchError::Length { length });
    }
    check_magic(magic)?;
    let declared = LENGTH_OVERHEAD.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
    if declared > bytes {
        return Err(BatchError::Incomplete { declared, bytes });
    }
    if declared < LENGTH_MIN + LENGTH_OVERHEAD {
        return Err(BatchError::Length { length });
    }
    Ok(declared)
}

/// Checks `batch`, exactly one batch as [`single_batch`] returns it; strictly, unless the rules are relaxed.
pub fn validate(batch: &[u8], rules: &ValidationRules) -> Result<ValidatedBatch, BatchRefusal> {
    let size = first_batch_size(batch)?;
    if size < batch.len() {
        let bytes = batch.len() - size;
        return Err(BatchError::NotOne { bytes }.into());
    }
    let header = BatchHeader::read(batch)?;
    check_envelope(batch, &header, rules)?;
    check_header(&header, rules)?;
    let codec = header.codec()?;
    if codec != Codec::None && is_believed(&header, rules) {
        return Ok(Found::of_header(&header).corrected(header, rules));
    }
    let mut walk = RecordWalk::new(&header, rules);
    let records = &batch[HEADER_SIZE..];
    match codec {
        Codec::None => walk.walk_slice(records)?,
        codec => walk.walk_stream(codec, records, WINDOW_BYTES)?,
    }
    let found = walk.finish()?;
    Ok(found.corrected(header, rules))
}

/// What is checked before anything in the batch is believed.
fn check_envelope(
    batch: &[u8],
    header: &BatchHeader,
    rules: &ValidationRules,
) -> Result<(), BatchError> {
    if header.base_offset != 0 {
        let base_offset = header.base_offset;
        return Err(BatchError::BaseOffset { base_offset });
    }
    if batch.len() > rules.max_message_bytes {
        return Err(BatchError::TooLarge {
            bytes: batch.len(),
            max: rules.max_message_bytes,
        });
    }
    let computed = crc_of(batch);
    if computed != header.crc {
        let stored = header.crc;
        return Err(BatchError::Crc { stored, computed });
    }
    Ok(())
}

fn check_header(header: &BatchHeader, rules: &ValidationRules) -> Result<(), BatchError> {
    let count = header.record_count;
    if count <= 0 {
        return Err(BatchError::Count { count });
    }
    if header.last_offset_delta != count - 1 {
        return Err(BatchError::OffsetRange {
            last_offset_delta: header.last_offset_delta,
            count,
        });
    }
    if header.is_control() {
        return Err(BatchError::Control);
    }
    if header.has_producer_id() && header.base_sequence < 0 {
        return Err(BatchError::Sequence {
            producer_id: header.producer_id,
            base_sequence: header.base_sequence,
        });
    }
    if header.is_transactional() && !header.has_producer_id() {
        return Err(BatchError::TransactionalWithoutProducer);
    }
    header.codec()?;
    let sets_type = header.timestamp_type() == TimestampType::LogAppendTime;
    if sets_type && rules.timestamp_type == TimestampType::LogAppendTime {
        return Err(BatchError::TimestampType);
    }
    Ok(())
}

/// Whether what the header says of compressed records is taken as it is. Retention and look-ups by time go
/// by the max timestamp, so it must be one that a record may have; and compaction needs keys.
fn is_believed(header: &BatchHeader, rules: &ValidationRules) -> bool {
    let (earliest, latest) = rules.timestamp_window();
    let is_plausible = rules.timestamp_type == TimestampType::LogAppendTime
        || (header.base_timestamp.max(earliest)..=latest).contains(&header.max_timestamp);
    rules.relaxed && !rules.compacted && is_plausible
}

/// Goes through the records and keeps what is needed of them.
struct RecordWalk<'a> {
    header: &'a BatchHeader,
    compacted: bool,
    earliest: i64,
    latest: i64,
    max_timestamp: i64,
    offset_of_max_timestamp: i32,
    bad_timestamps: bool,
    record_errors: Vec<(i32, String)>,
}

impl<'a> RecordWalk<'a> {
    fn new(header: &'a BatchHeader, rules: &ValidationRules) -> Self {
        let (earliest, latest) = rules.timestamp_window();
        RecordWalk {
            header,
            compacted: rules.compacted,
            earliest,
            latest,
            max_timestamp: i64::MIN,
            offset_of_max_timestamp: 0,
            bad_timestamps: false,
            record_errors: Vec::new(),
        }
    }

    fn walk_slice(&mut self, records: &[u8]) -> Result<(), BatchError> {
        let mut rest = records;
        for index in 0..self.header.record_count {
            let at = |problem| BatchError::Record { index, problem };
            let (body, after) = split_record(rest).map_err(at)?;
            rest = after;
            let scanned = scan_slice(body).map_err(at)?;
            self.see(index, &scanned).map_err(at)?;
        }
        self.check_end(rest.is_empty())
    }

    fn walk_stream(
        &mut self,
        codec: Codec,
        records: &[u8],
        window_bytes: usize,
    ) -> Result<(), BatchError> {
        let fault = |problem| BatchError::Decompress { codec, problem };
        let stream = Decompressor::new(codec, records).map_err(fault)?;
        let mut stream = RecordStream::new(stream, window_bytes);
        for index in 0..self.header.record_count {
            let scanned = stream.next_record();
            let scanned = scanned.map_err(|error| error.at(index, codec))?;
            self.see(index, &scanned)
                .map_err(|problem| BatchError::Record { index, problem })?;
        }
        self.check_end(stream.is_at_end().map_err(fault)?)
    }

    #[inline]
    fn see(&mut self, index: i32, record: &Scanned) -> Result<(), RecordProblem> {
        if record.offset_delta != index {
            return Err(RecordProblem::OffsetDelta {
                offset_delta: record.offset_delta,
            });
        }
        let timestamp = self
            .header
            .base_timestamp
            .wrapping_add(record.timestamp_delta);
        if timestamp > self.max_timestamp || index == 0 {
            self.max_timestamp = timestamp;
            self.offset_of_max_timestamp = index;
        }
        let keyless = self.compacted && record.key.is_none();
        if keyless || timestamp < self.earliest || timestamp > self.latest {
            self.see_fault(index, keyless, timestamp);
        }
        Ok(())
    }

    #[cold]
    fn see_fault(&mut self, index: i32, keyless: bool, timestamp: i64) {
        if keyless {
            self.add_error(index, "a compacted topic needs a key".to_owned());
        } else if timestamp != NO_TIMESTAMP {
            let (earliest, latest) = (self.earliest, self.latest);
            let text =
                format!("timestamp {timestamp} is outside the allowed {earliest} to {latest}");
            self.bad_timestamps = true;
            self.add_error(index, text);
        }
    }

    fn add_error(&mut self, index: i32, text: String) {
        if self.record_errors.len() < RECORD_ERRORS_MAX {
            self.record_errors.push((index, text));
        }
    }

    fn check_end(&self, at_end: bool) -> Result<(), BatchError> {
        if !at_end {
            let count = self.header.record_count;
            return Err(BatchError::BytesRemain { count });
        }
        Ok(())
    }

    /// A bad timestamp outweighs a missing key, as in Kafka.
    fn finish(self) -> Result<Found, BatchRefusal> {
        if self.record_errors.is_empty() {
            return Ok(Found {
                max_timestamp: self.max_timestamp,
                offset_of_max_timestamp: self.offset_of_max_timestamp,
            });
        }
        Err(BatchRefusal {
            error: if self.bad_timestamps {
                BatchError::Timestamps
            } else {
                BatchError::Keys
            },
            record_errors: self.record_errors,
        })
    }
}

/// What the records say.
struct Found {
    max_timestamp: i64,
    offset_of_max_timestamp: i32,
}

impl Found {
    /// What the header says of the records; of which it is the largest timestamp, it does not.
    fn of_header(header: &BatchHeader) -> Found {
        Found {
            max_timestamp: header.max_timestamp,
            offset_of_max_timestamp: header.last_offset_delta,
        }
    }

    /// The batch as it is stored: the timestamp type is the topic's, the max timestamp true.
    fn corrected(&self, received: BatchHeader, rules: &ValidationRules) -> ValidatedBatch {
        let mut header = received;
        header.set_timestamp_type(rules.timestamp_type);
        let by_broker = rules.timestamp_type == TimestampType::LogAppendTime;
        header.max_timestamp = if by_broker {
            rules.now_ms
        } else {
            self.max_timestamp
        };
        if header != received {
            header.crc = received.crc_of_edit(&header);
        }
        ValidatedBatch {
            header,
            max_timestamp: header.max_timestamp,
            offset_of_max_timestamp: if by_broker {
                0
            } else {
                i64::from(self.offset_of_max_timestamp)
            },
            log_append_time: by_broker.then_some(rules.now_ms),
        }
    }
}

#[cfg(test)]
pub(super) fn validate_in_window(
    batch: &[u8],
    rules: &ValidationRules,
    window_bytes: usize,
) -> Result<i64, BatchRefusal> {
    let header = BatchHeader::read(batch)?;
    let mut walk = RecordWalk::new(&header, rules);
    walk.walk_stream(header.codec()?, &batch[HEADER_SIZE..], window_bytes)?;
    Ok(walk.finish()?.max_timestamp)
}
