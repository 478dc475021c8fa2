//! What can be wrong with a batch, and the error code each fault is answered with.
//!
//! The codes are those Kafka answers, but for two: an unknown codec is UNSUPPORTED_COMPRESSION_TYPE
//! where Kafka fails without saying why, and bytes that no codec can read are CORRUPT_MESSAGE.

use thiserror::Error;

use super::codec::Codec;
use crate::ErrorCode;

/// A batch that cannot be read or is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// No batch where one is needed.
    #[error("no record batch")]
    Missing,
    /// Fewer bytes than a header.
    #[error(
        "{bytes} bytes are less than the {} of a batch header",
        super::HEADER_SIZE
    )]
    HeaderIncomplete {
        /// What is there.
        bytes: usize,
    },
    /// A length field that no batch can have.
    #[error("batch length {length} is less than {}", super::header::LENGTH_MIN)]
    Length {
        /// The field.
        length: i32,
    },
    /// A length field beyond the bytes that are there.
    #[error("batch of {declared} bytes, of which {bytes} are there")]
    Incomplete {
        /// What the header says.
        declared: usize,
        /// What is there.
        bytes: usize,
    },
    /// Bytes after the batch, or a second batch, where exactly one is allowed.
    #[error("exactly one record batch is allowed, {bytes} bytes follow the first")]
    NotOne {
        /// What follows.
        bytes: usize,
    },
    /// Message format 0 or 1.
    #[error("message format {magic} is too old, version 2 is needed")]
    OldMagic {
        /// The magic byte.
        magic: i8,
    },
    /// No message format that exists.
    #[error("message format {magic} does not exist")]
    Magic {
        /// The magic byte.
        magic: i8,
    },
    /// The checksum does not match.
    #[error("CRC-32C is {computed:08x}, the batch says {stored:08x}")]
    Crc {
        /// The header's.
        stored: u32,
        /// The bytes'.
        computed: u32,
    },
    /// More bytes than the topic allows.
    #[error("batch of {bytes} bytes is larger than max.message.bytes {max}")]
    TooLarge {
        /// The batch with its header.
        bytes: usize,
        /// `max.message.bytes`.
        max: usize,
    },
    /// A produced batch must start at offset 0.
    #[error("base offset is {base_offset}, a produced batch must have 0")]
    BaseOffset {
        /// The field.
        base_offset: i64,
    },
    /// A codec id that names none.
    #[error("compression type {id} does not exist")]
    Codec {
        /// Bits 0–2 of the attributes.
        id: i16,
    },
    /// Zstandard in a request too old for it.
    #[error("zstd needs Produce version 7")]
    ZstdTooOld,
    /// A control batch from a client.
    #[error("clients may not write control batches")]
    Control,
    /// No records, or a negative number.
    #[error("record count is {count}")]
    Count {
        /// The field.
        count: i32,
    },
    /// The count and the offsets disagree.
    #[error("last offset delta is {last_offset_delta} with {count} records")]
    OffsetRange {
        /// The field.
        last_offset_delta: i32,
        /// Records the header announces.
        count: i32,
    },
    /// A producer without a sequence.
    #[error("producer id {producer_id} with base sequence {base_sequence}")]
    Sequence {
        /// The field.
        producer_id: i64,
        /// The field.
        base_sequence: i32,
    },
    /// A transaction needs a producer.
    #[error("transactional batch without a producer id")]
    TransactionalWithoutProducer,
    /// The timestamp type is the broker's to set on such a topic.
    #[error("a producer may not set the timestamp type to LogAppendTime")]
    TimestampType,
    /// A record that cannot be read.
    #[error("record {index}: {problem}")]
    Record {
        /// Its place in the batch.
        index: i32,
        /// What is wrong.
        problem: RecordProblem,
    },
    /// More bytes than records.
    #[error("bytes remain after the last of {count} records")]
    BytesRemain {
        /// Records the header announces.
        count: i32,
    },
    /// The records cannot be decompressed.
    #[error("{codec}: {problem}")]
    Decompress {
        /// The codec.
        codec: Codec,
        /// What is wrong.
        problem: DecompressError,
    },
    /// Records whose timestamps are out of bounds.
    #[error("one or more records have a timestamp out of bounds")]
    Timestamps,
    /// Records that the topic does not take.
    #[error("one or more records have no key, which a compacted topic needs")]
    Keys,
}

impl BatchError {
    /// The code of an answer.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::HeaderIncomplete { .. }
            | BatchError::Length { .. }
            | BatchError::Magic { .. }
            | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            BatchError::Missing
            | BatchError::Incomplete { .. }
            | BatchError::NotOne { .. }
            | BatchError::OldMagic { .. }
            | BatchError::BaseOffset { .. }
            | BatchError::Control
            | BatchError::Count { .. }
            | BatchError::OffsetRange { .. }
            | BatchError::Sequence { .. }
            | BatchError::TransactionalWithoutProducer
            | BatchError::Record { .. }
            | BatchError::BytesRemain { .. }
            | BatchError::Keys => ErrorCode::InvalidRecord,
            BatchError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            BatchError::Codec { .. } | BatchError::ZstdTooOld => {
                ErrorCode::UnsupportedCompressionType
            }
            BatchError::TimestampType | BatchError::Timestamps => ErrorCode::InvalidTimestamp,
            BatchError::Decompress { problem, .. } => problem.code(),
        }
    }
}

/// Why one record cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordProblem {
    /// The batch ends before it.
    #[error("is missing")]
    Missing,
    /// Its length is negative or more than what is left.
    #[error("length {length} does not fit into what is left")]
    Length {
        /// The field.
        length: i64,
    },
    /// A variable-length integer with too many bits.
    #[error("a variable-length integer is too long")]
    Varint,
    /// A field that runs past the record.
    #[error("ends inside a field")]
    FieldPastEnd,
    /// A key or value whose length is below −1 or runs past the record.
    #[error("key or value length {length} does not fit into the record")]
    FieldLength {
        /// The field.
        length: i64,
    },
    /// A negative number of headers, or more than fit.
    #[error("header count {count} does not fit into the record")]
    HeaderCount {
        /// The field.
        count: i64,
    },
    /// A header's key is null or runs past the record.
    #[error("header key length {length} does not fit into the record")]
    HeaderKeyLength {
        /// The field.
        length: i64,
    },
    /// The fields end before the record does.
    #[error("{bytes} bytes remain after its fields")]
    BytesRemain {
        /// What is left.
        bytes: usize,
    },
    /// Its offset is not the next one.
    #[error("offset delta is {offset_delta}")]
    OffsetDelta {
        /// The field.
        offset_delta: i32,
    },
}

/// Why compressed records cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecompressError {
    /// The bytes are not of this codec.
    #[error("{0}")]
    Corrupt(&'static str),
    /// More comes out than is allowed.
    #[error("decompressed size is more than the {cap} bytes allowed")]
    TooLarge {
        /// See [`super::output_cap`].
        cap: usize,
    },
}

impl DecompressError {
    /// The code of an answer. A producer splits a batch that is too large and tries again, but would
    /// send a corrupt one again as it is: an honest batch past the cap gets through this way.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            DecompressError::Corrupt(_) => ErrorCode::CorruptMessage,
            DecompressError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        }
    }
}

/// Why a produced batch is refused: the fault, and the records it lies in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{error}")]
pub struct BatchRefusal {
    /// What is wrong.
    pub error: BatchError,
    /// Place in the batch and text of each record at fault, at most [`RECORD_ERRORS_MAX`].
    pub record_errors: Vec<(i32, String)>,
}

/// Record errors that are told; a batch may hold a hundred thousand bad records.
pub const RECORD_ERRORS_MAX: usize = 1000;

impl BatchRefusal {
    /// The code of the answer.
    #[must_use]
    pub fn error_code(&self) -> ErrorCode {
        self.error.code()
    }

    /// The text of the answer; Kafka sends one only beside record errors.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        (!self.record_errors.is_empty()).then(|| self.error.to_string())
    }
}

impl From<BatchError> for BatchRefusal {
    fn from(error: BatchError) -> Self {
        BatchRefusal {
            error,
            record_errors: Vec::new(),
        }
    }
}
