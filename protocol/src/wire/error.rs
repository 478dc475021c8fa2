//! What can be wrong with a message.

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends inside a field.
    #[error("frame ends {missing} bytes too early at byte {position}")]
    Truncated {
        /// Where the field begins.
        position: usize,
        /// How many bytes are missing.
        missing: usize,
    },
    /// A length is negative and not −1, or −1 where null is not allowed.
    #[error("length {length} at byte {position} is not allowed here")]
    BadLength {
        /// Where.
        position: usize,
        /// The length.
        length: i64,
    },
    /// A string is longer than [`super::STRING_BYTES_MAX`].
    #[error("string of {length} bytes at byte {position} is over the limit of 32767")]
    StringTooLong {
        /// Where.
        position: usize,
        /// Its length.
        length: usize,
    },
    /// A string is not UTF-8.
    #[error("string at byte {position} is not UTF-8")]
    NotUtf8 {
        /// Where.
        position: usize,
    },
    /// A boolean or a presence marker has a value of its own.
    #[error("marker {value} at byte {position} is not allowed")]
    BadMarker {
        /// Where.
        position: usize,
        /// The value.
        value: i8,
    },
    /// A varint is longer than its type or than it must be.
    #[error("varint at byte {position} is too long")]
    VarintTooLong {
        /// Where.
        position: usize,
    },
    /// An array announces more elements than the frame can hold.
    #[error("array of {count} elements at byte {position} cannot fit into {remaining} bytes")]
    TooManyElements {
        /// Where.
        position: usize,
        /// The announced count.
        count: usize,
        /// Bytes left in the frame.
        remaining: usize,
    },
    /// The decoded form would take more memory than a frame of this size may.
    #[error(
        "decoding needs {needed} bytes more than the frame's heap budget of {budget} \
         (16 times the frame, from 64 KiB to 64 MiB); send less in one request"
    )]
    OverBudget {
        /// The frame's whole budget.
        budget: usize,
        /// What did not fit.
        needed: usize,
    },
    /// A known tag is not valid in this version.
    #[error("tag {tag} is not valid in version {version}")]
    TagNotInVersion {
        /// The tag.
        tag: u32,
        /// The message's version.
        version: i16,
    },
    /// A tagged field's size differs from what its value takes.
    #[error("tagged field ending at byte {position} has a size that is off by {difference}")]
    TagSize {
        /// Where its value ended.
        position: usize,
        /// Announced minus read.
        difference: i64,
    },
    /// More unknown tags in one struct than anybody sends.
    #[error("more than 64 unknown tagged fields in one struct at byte {position}")]
    TooManyTags {
        /// Where.
        position: usize,
    },
}

/// Why a message cannot be written in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field that the version lacks has a value the receiver may not miss.
    #[error("{field} has a value but does not exist in version {version}")]
    NotInVersion {
        /// The field, as `Struct.Field`.
        field: &'static str,
        /// The version.
        version: i16,
    },
    /// A field is null where the version has no null.
    #[error("{field} cannot be null in version {version}")]
    NotNullable {
        /// The field, as `Struct.Field`.
        field: &'static str,
        /// The version.
        version: i16,
    },
    /// A string is longer than [`super::STRING_BYTES_MAX`].
    #[error("string of {0} bytes is over the limit of 32767")]
    StringTooLong(usize),
    /// A length does not fit its field.
    #[error("{0} bytes or elements do not fit into one field")]
    TooLong(usize),
}

impl EncodeError {
    pub(crate) fn not_in_version(field: &'static str, version: i16) -> EncodeError {
        EncodeError::NotInVersion { field, version }
    }

    pub(crate) fn not_nullable(field: &'static str, version: i16) -> EncodeError {
        EncodeError::NotNullable { field, version }
    }
}
