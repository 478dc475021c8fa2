//! The codecs a batch's records may be compressed with, and how much one may grow.

use super::error::BatchError;

/// How the records of a batch are compressed: bits 0–2 of its attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub enum Codec {
    /// Not compressed.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// Snappy in xerial's framing; raw snappy is read too.
    Snappy = 2,
    /// LZ4 frames with independent blocks.
    Lz4 = 3,
    /// Zstandard (KIP-110); needs Produce 7.
    Zstd = 4,
}

impl Codec {
    /// Every codec, by id.
    pub const ALL: [Codec; 5] = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];

    /// The codec that a batch's attributes name; ids 5–7 name none.
    pub fn from_attributes(attributes: i16) -> Result<Codec, BatchError> {
        match attributes & 0x07 {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            id => Err(BatchError::Codec { id }),
        }
    }

    /// The id in the attributes.
    #[must_use]
    pub fn id(self) -> i16 {
        self as i16
    }

    /// The name that `compression.type` uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }

    /// The codec of this `compression.type`; `uncompressed` is the same as `none`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Codec> {
        if name == "uncompressed" {
            return Some(Codec::None);
        }
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }
}

impl std::fmt::Display for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Any batch may grow to this when decompressed, however small it is.
pub const OUTPUT_CAP_MIN: usize = 16 << 20;
/// No batch may grow past this.
pub const OUTPUT_CAP_MAX: usize = 64 << 20;
/// Between the two, a batch may grow this many times.
pub const OUTPUT_CAP_RATIO: usize = 32;

const _: () = assert!(OUTPUT_CAP_MIN <= OUTPUT_CAP_MAX);

/// How many bytes may come out of `compressed` bytes.
#[must_use]
pub fn output_cap(compressed: usize) -> usize {
    compressed
        .saturating_mul(OUTPUT_CAP_RATIO)
        .clamp(OUTPUT_CAP_MIN, OUTPUT_CAP_MAX)
}
