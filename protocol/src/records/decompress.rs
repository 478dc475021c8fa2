//! Decompresses the records of a batch, never past the cap.
//!
//! [`Decompressor`] is a stream: validation reads through it with one small buffer, so that a
//! hostile batch costs no more memory than an honest one. Consumers want the records whole:
//! [`decompress`].

use std::io::Read;

use flate2::bufread::MultiGzDecoder;

use super::codec::{Codec, output_cap};
use super::error::DecompressError;
use super::lz4::Lz4Stream;
use super::snappy::SnappyStream;
use super::zstandard::ZstdStream;

/// A stream of the records that `compressed` holds.
pub struct Decompressor<'a> {
    format: Format<'a>,
    produced: usize,
    cap: usize,
}

enum Format<'a> {
    None(&'a [u8]),
    Gzip(Box<MultiGzDecoder<&'a [u8]>>),
    Snappy(SnappyStream<'a>),
    Lz4(Lz4Stream<'a>),
    Zstd(ZstdStream<'a>),
}

impl<'a> Decompressor<'a> {
    /// Begins to read `compressed`.
    pub fn new(codec: Codec, compressed: &'a [u8]) -> Result<Self, DecompressError> {
        let cap = output_cap(compressed.len());
        Ok(Decompressor {
            format: match codec {
                Codec::None => Format::None(compressed),
                Codec::Gzip => Format::Gzip(Box::new(MultiGzDecoder::new(compressed))),
                Codec::Snappy => Format::Snappy(SnappyStream::new(compressed, cap)?),
                Codec::Lz4 => Format::Lz4(Lz4Stream::new(compressed)?),
                Codec::Zstd => Format::Zstd(ZstdStream::new(compressed)),
            },
            produced: 0,
            cap,
        })
    }

    /// Fills the front of `out` and says how far; 0 only at the end, when all checksums were right.
    pub fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        if out.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.format {
            Format::None(rest) => rest
                .read(out)
                .map_err(|_| DecompressError::Corrupt("reading from memory failed"))?,
            Format::Gzip(stream) => stream
                .read(out)
                .map_err(|_| DecompressError::Corrupt("not a gzip stream"))?,
            Format::Snappy(stream) => stream.read(out)?,
            Format::Lz4(stream) => stream.read(out)?,
            Format::Zstd(stream) => stream.read(out)?,
        };
        self.produced += read;
        if self.produced > self.cap {
            return Err(DecompressError::TooLarge { cap: self.cap });
        }
        Ok(read)
    }
}

/// What is reserved at first; growth follows what has come out, not what was announced.
const FIRST_RESERVE_MAX: usize = 64 << 10;

/// Decompresses the whole of `compressed`.
pub fn decompress(codec: Codec, compressed: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let mut stream = Decompressor::new(codec, compressed)?;
    let cap = output_cap(compressed.len());
    let mut out = vec![0; compressed.len().saturating_mul(4).min(FIRST_RESERVE_MAX)];
    let mut filled = 0;
    loop {
        if filled == out.len() {
            // One byte past the cap, so that the stream can be seen to end there or to go on.
            let grown = (filled * 2).clamp(1024, cap + 1);
            out.reserve_exact(grown - filled);
            out.resize(grown, 0);
        }
        match stream.read(&mut out[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    out.truncate(filled);
    Ok(out)
}
