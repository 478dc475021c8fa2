//! Record batches, version 2: the unit in which records are sent, stored, replicated and fetched.
//!
//! A batch is a header of [`HEADER_SIZE`] bytes and its records, which may be compressed. The
//! broker does not take a batch apart: it reads the header ([`BatchHeader`]), checks everything once
//! when the batch arrives ([`validate`]), stamps offset and epoch into the header and stores the
//! rest as sent. Clients build batches ([`BatchBuilder`]) and read their records ([`records_of`]).
//! Where a topic asks for another codec than the producer's, the records are compressed anew
//! ([`recompress`]). Compaction alone takes records out of a stored batch ([`retain_records`]).
//!
//! ```text
//! offset size field                       offset size field
//!  0      8   base offset                  27     8   base timestamp
//!  8      4   length of what follows       35     8   max timestamp
//! 12      4   partition leader epoch       43     8   producer id, −1 none
//! 16      1   magic, 2                     51     2   producer epoch
//! 17      4   CRC-32C of byte 21 … end     53     4   base sequence
//! 21      2   attributes                   57     4   record count
//! 23      4   last offset delta            61         records
//! ```
//!
//! Attributes: bits 0–2 codec, 3 timestamp type, 4 transactional, 5 control, 6 delete horizon. The
//! checksum leaves out base offset and leader epoch, so the broker sets them without computing it
//! again; for the few later fields it corrects, [`crc::crc32c_after_edit`] avoids a second pass.
//!
//! Everything read here may be hostile: lengths are compared with what is there before anything is
//! reserved for them, and decompression stops at [`output_cap`].

pub mod builder;
pub mod codec;
pub mod compress;
pub mod crc;
pub mod decompress;
pub mod error;
pub mod header;
pub mod lz4;
pub mod read;
pub mod recompress;
pub mod retain;
mod scan;
pub mod snappy;
mod stream;
#[cfg(test)]
mod tests;
pub mod validate;
pub mod varint;
pub mod walk;
pub mod zstandard;

pub use builder::BatchBuilder;
pub use codec::{Codec, output_cap};
pub use compress::Compression;
pub use crc::{Crc32c, crc32c};
pub use error::{BatchError, BatchRefusal, DecompressError, RecordProblem};
pub use header::{BatchHeader, HEADER_SIZE, TimestampType, set_log_append_time, stamp};
pub use read::{Headers, Record, RecordIter, RecordsOf, check_crc, records_of};
pub use recompress::recompress;
pub use retain::{retain_records, without_records};
pub use validate::{ValidatedBatch, ValidationRules, single_batch, validate};
pub use walk::{Batches, batches};
