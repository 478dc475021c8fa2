//! Compresses the records of a batch the way Kafka's own producer does.

use std::io::Write;

use flate2::write::GzEncoder;

use super::codec::Codec;
use super::zstandard::ZstdWriter;
use super::{lz4, snappy};

/// A codec and how hard it tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The codec.
    pub codec: Codec,
    /// gzip takes 1 – 9, zstd −131072 – 22; the others have one level. `None`: the codec's default.
    pub level: Option<i32>,
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Compression { codec, level: None }
    }
}

/// Appends `records` to `out`, compressed.
pub fn compress_into(codec: Codec, records: &[u8], out: &mut Vec<u8>) {
    let mut compressor = Compressor::new(codec.into(), std::mem::take(out));
    compressor.write(records, true);
    *out = compressor.finish();
}

/// Every piece of a stream but the last is this long, so that it ends where a chunk or block does.
pub(super) const PIECE_BYTES: usize = 64 << 10;

const _: () = assert!(PIECE_BYTES.is_multiple_of(lz4::BLOCK_BYTES));
const _: () = assert!(PIECE_BYTES.is_multiple_of(snappy::CHUNK_BYTES));

/// Compresses records that come in pieces.
pub(super) struct Compressor(Format);

enum Format {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Snappy(Vec<u8>),
    Lz4(Vec<u8>),
    Zstd(ZstdWriter, Vec<u8>),
}

impl Compressor {
    /// Begins to write behind what is in `out`.
    pub(super) fn new(compression: Compression, mut out: Vec<u8>) -> Compressor {
        Compressor(match compression.codec {
            Codec::None => Format::None(out),
            Codec::Gzip => {
                let level = compression
                    .level
                    .and_then(|level| u32::try_from(level).ok());
                let level = level.map(flate2::Compression::new).unwrap_or_default();
                Format::Gzip(GzEncoder::new(out, level))
            }
            Codec::Snappy => {
                snappy::begin(&mut out);
                Format::Snappy(out)
            }
            Codec::Lz4 => {
                lz4::begin(&mut out);
                Format::Lz4(out)
            }
            Codec::Zstd => Format::Zstd(ZstdWriter::new(compression.level), out),
        })
    }

    /// Takes a piece of [`PIECE_BYTES`], or of any length if it is the last.
    pub(super) fn write(&mut self, piece: &[u8], is_last: bool) {
        match &mut self.0 {
            Format::None(out) => out.extend_from_slice(piece),
            Format::Gzip(encoder) => encoder
                .write_all(piece)
                .expect("writing to memory does not fail"),
            Format::Snappy(out) => snappy::write(piece, out),
            Format::Lz4(out) => {
                lz4::write(piece, out);
                if is_last {
                    lz4::end(out);
                }
            }
            Format::Zstd(writer, out) => writer.write(piece, is_last, out),
        }
    }

    /// Bytes written so far; a codec may hold some back until the end.
    pub(super) fn len_bytes(&self) -> usize {
        match &self.0 {
            Format::None(out) | Format::Snappy(out) | Format::Lz4(out) | Format::Zstd(_, out) => {
                out.len()
            }
            Format::Gzip(encoder) => encoder.get_ref().len(),
        }
    }

    /// Everything, after the last piece.
    pub(super) fn finish(self) -> Vec<u8> {
        match self.0 {
            Format::None(out) | Format::Snappy(out) | Format::Lz4(out) | Format::Zstd(_, out) => {
                out
            }
            Format::Gzip(encoder) => encoder.finish().expect("writing to memory does not fail"),
        }
    }
}
