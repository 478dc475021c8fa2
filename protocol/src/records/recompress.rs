//! Compresses a batch anew, for a topic that asks for another codec than the producer's
//! (`compression.type`).
//!
//! ```text
//!   kept      the records, byte for byte; count, offsets, timestamps, producer, sequence, transaction
//!   changes   codec, length, checksum; the bits of the attributes that only a broker sets are cleared
//! ```
//!
//! The records go from one codec to the other through a window, and what comes out is measured as it
//! grows: a batch costs `max.message.bytes` and the window, whatever it decompresses to.

use bytes::Bytes;

use super::codec::Codec;
use super::compress::{Compression, Compressor, PIECE_BYTES};
use super::decompress::Decompressor;
use super::error::{BatchError, DecompressError};
use super::header::{BatchHeader, HEADER_SIZE, LENGTH_OVERHEAD, crc_of};
use super::validate::ValidatedBatch;

/// The valid `batch` in the codec of `target`, and what is to be stored of it; base offset and leader
/// epoch are the caller's to stamp. *Errors*: more than `bytes_max` come out (`max.message.bytes`, which
/// holds before and after, as in Kafka); the records cannot be read.
pub fn recompress(
    batch: &[u8],
    validated: &ValidatedBatch,
    target: Compression,
    bytes_max: usize,
) -> Result<(Bytes, ValidatedBatch), BatchError> {
    let from = validated.header.codec()?;
    let fault = |problem| BatchError::Decompress {
        codec: from,
        problem,
    };
    let mut source = Decompressor::new(from, &batch[HEADER_SIZE..]).map_err(fault)?;
    let mut compressor = Compressor::new(target, vec![0; HEADER_SIZE]);
    let mut piece = vec![0; PIECE_BYTES];
    let mut is_last = false;
    while !is_last {
        let filled = fill(&mut source, &mut piece).map_err(fault)?;
        is_last = filled < piece.len();
        compressor.write(&piece[..filled], is_last);
        check_size(compressor.len_bytes(), bytes_max)?;
    }
    let mut bytes = compressor.finish();
    check_size(bytes.len(), bytes_max)?;
    let header = complete(&mut bytes, &validated.header, target.codec);
    let stored = ValidatedBatch {
        header,
        ..*validated
    };
    Ok((Bytes::from(bytes), stored))
}

/// Fills all of `piece`, but for the end of the records.
fn fill(source: &mut Decompressor<'_>, piece: &mut [u8]) -> Result<usize, DecompressError> {
    let mut filled = 0;
    while filled < piece.len() {
        match source.read(&mut piece[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn check_size(bytes: usize, max: usize) -> Result<(), BatchError> {
    match bytes > max {
        true => Err(BatchError::TooLarge { bytes, max }),
        false => Ok(()),
    }
}

/// Writes the header before the records.
fn complete(bytes: &mut [u8], before: &BatchHeader, codec: Codec) -> BatchHeader {
    let mut header = *before;
    header.attributes =
        BatchHeader::attributes_of(codec, before.is_transactional(), before.is_control());
    header.set_timestamp_type(before.timestamp_type());
    header.batch_length = i32::try_from(bytes.len() - LENGTH_OVERHEAD)
        .expect("max.message.bytes is an int32 on the wire");
    bytes[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    header.crc = crc_of(bytes);
    bytes[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    header
}
