//! The header of a batch, and the few fields of it that a broker sets.

use super::codec::Codec;
use super::crc::{crc32c, crc32c_after_edit};
use super::error::BatchError;

/// Bytes before the records.
pub const HEADER_SIZE: usize = 61;
/// Bytes that the length field does not count: base offset and itself.
pub const LENGTH_OVERHEAD: usize = 12;
/// The length field of a batch without records.
pub const LENGTH_MIN: usize = HEADER_SIZE - LENGTH_OVERHEAD;
/// The only message format that is read and written.
pub const MAGIC: i8 = 2;
/// The checksum covers everything from here.
pub const CRC_START: usize = 21;

const TIMESTAMP_TYPE_BIT: i16 = 1 << 3;
const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// What the timestamps of a batch mean: bit 3 of its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// Each record has its own, set by the producer.
    #[default]
    CreateTime,
    /// All records have the batch's max timestamp, set by the broker.
    LogAppendTime,
}

/// The 61 bytes before the records; all fields as on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    /// CRC-32C of everything from the attributes on.
    pub crc: u32,
    pub attributes: i16,
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas count from.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    /// −1 for none.
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub record_count: i32,
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. The records behind it need not be there; the length
    /// and the magic are those of a batch afterwards.
    pub fn read(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let Some(head) = bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(BatchError::HeaderIncomplete { bytes: bytes.len() });
        };
        check_start(head)?;
        Ok(BatchHeader::decode(head))
    }

    /// The fields of `head`, not checked.
    fn decode(head: &[u8; HEADER_SIZE]) -> BatchHeader {
        BatchHeader {
            base_offset: i64::from_be_bytes(field(head, 0)),
            batch_length: i32::from_be_bytes(field(head, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(head, 12)),
            magic: i8::from_be_bytes(field(head, 16)),
            crc: u32::from_be_bytes(field(head, 17)),
            attributes: i16::from_be_bytes(field(head, 21)),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: i64::from_be_bytes(field(head, 27)),
            max_timestamp: i64::from_be_bytes(field(head, 35)),
            producer_id: i64::from_be_bytes(field(head, 43)),
            producer_epoch: i16::from_be_bytes(field(head, 51)),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            record_count: i32::from_be_bytes(field(head, 57)),
        }
    }

    /// The header's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        out[0..8].copy_from_slice(&self.base_offset.to_be_bytes());
        out[8..12].copy_from_slice(&self.batch_length.to_be_bytes());
        out[12..16].copy_from_slice(&self.partition_leader_epoch.to_be_bytes());
        out[16..17].copy_from_slice(&self.magic.to_be_bytes());
        out[17..21].copy_from_slice(&self.crc.to_be_bytes());
        out[21..23].copy_from_slice(&self.attributes.to_be_bytes());
        out[23..27].copy_from_slice(&self.last_offset_delta.to_be_bytes());
        out[27..35].copy_from_slice(&self.base_timestamp.to_be_bytes());
        out[35..43].copy_from_slice(&self.max_timestamp.to_be_bytes());
        out[43..51].copy_from_slice(&self.producer_id.to_be_bytes());
        out[51..53].copy_from_slice(&self.producer_epoch.to_be_bytes());
        out[53..57].copy_from_slice(&self.base_sequence.to_be_bytes());
        out[57..61].copy_from_slice(&self.record_count.to_be_bytes());
        out
    }

    /// The whole batch, header included.
    #[must_use]
    pub fn size_in_bytes(&self) -> usize {
        LENGTH_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    /// The offset of the last record (inclusive).
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// The offset after the last record.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence of the last record; −1 without sequences. After 2147483647 comes 0.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        (last % (i64::from(i32::MAX) + 1)) as i32
    }

    /// The codec of the records.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        Codec::from_attributes(self.attributes)
    }

    /// Whose timestamps the records have.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.attributes & TIMESTAMP_TYPE_BIT == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Sets bit 3 of the attributes; the checksum is not touched.
    pub(super) fn set_timestamp_type(&mut self, timestamp_type: TimestampType) {
        match timestamp_type {
            TimestampType::CreateTime => self.attributes &= !TIMESTAMP_TYPE_BIT,
            TimestampType::LogAppendTime => self.attributes |= TIMESTAMP_TYPE_BIT,
        }
    }

    /// Whether the records belong to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether the batch is a marker of the broker's, not a client's data.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whether compaction has set when tombstones may go; the base timestamp then says when.
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    /// Says from when on the tombstones may go. What the records' timestamps count from moves there; the
    /// records and the checksum are not touched.
    pub(super) fn set_delete_horizon(&mut self, horizon_ms: i64) {
        self.attributes |= DELETE_HORIZON_BIT;
        self.base_timestamp = horizon_ms;
    }

    /// Whether an idempotent producer wrote it.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// Attributes of these properties.
    #[must_use]
    pub fn attributes_of(codec: Codec, transactional: bool, control: bool) -> i16 {
        let mut attributes = codec.id();
        if transactional {
            attributes |= TRANSACTIONAL_BIT;
        }
        if control {
            attributes |= CONTROL_BIT;
        }
        attributes
    }

    /// Computes the checksum anew after a change of header fields, without the records: the present
    /// one must be right.
    #[must_use]
    pub(super) fn crc_of_edit(&self, edited: &BatchHeader) -> u32 {
        let rest_len = self.size_in_bytes().saturating_sub(HEADER_SIZE);
        let before = self.to_bytes();
        let after = edited.to_bytes();
        crc32c_after_edit(
            self.crc,
            &before[CRC_START..],
            &after[CRC_START..],
            rest_len,
        )
    }
}

/// Checks the fields that say whether this is a batch at all: magic, then length.
fn check_start(head: &[u8; HEADER_SIZE]) -> Result<(), BatchError> {
    let length = i32::from_be_bytes(field(head, 8));
    check_magic(i8::from_be_bytes(field(head, 16)))?;
    if length < LENGTH_MIN as i32 {
        return Err(BatchError::Length { length });
    }
    Ok(())
}

/// Tells the old formats, which are refused as such, from those that never were.
pub(super) fn check_magic(magic: i8) -> Result<(), BatchError> {
    match magic {
        MAGIC => Ok(()),
        0 | 1 => Err(BatchError::OldMagic { magic }),
        _ => Err(BatchError::Magic { magic }),
    }
}

/// Sets base offset and leader epoch, which the checksum does not cover.
///
/// # Panics
/// When `header` is shorter than 16 bytes.
pub fn stamp(header: &mut [u8], base_offset: i64, leader_epoch: i32) {
    header[0..8].copy_from_slice(&base_offset.to_be_bytes());
    header[12..16].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Gives every record the broker's time: timestamp type, max timestamp, checksum. The checksum must
/// be right before; the records are not read. The base timestamp stays, as in Kafka.
pub fn set_log_append_time(header: &mut [u8; HEADER_SIZE], now_ms: i64) {
    let before = BatchHeader::decode(header);
    let mut after = before;
    after.set_timestamp_type(TimestampType::LogAppendTime);
    after.max_timestamp = now_ms;
    after.crc = before.crc_of_edit(&after);
    *header = after.to_bytes();
}

/// The checksum of a whole batch.
#[must_use]
pub(super) fn crc_of(batch: &[u8]) -> u32 {
    crc32c(&batch[CRC_START..])
}
