//! Snappy: written in the framing of xerial's Java library, read in it or raw, as other clients
//! write it.
//!
//! ```text
//! offset size xerial framing
//!   0     8   82 "SNAPPY" 00
//!   8     4   version, 1
//!  12     4   oldest version that can read it, 1
//!  16         chunks: int32 length, raw snappy of at most 32 KiB
//! ```

use super::error::DecompressError;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const HEADER_SIZE: usize = 16;
/// What one chunk holds before compression.
pub const CHUNK_BYTES: usize = 32 << 10;
/// No three bytes of raw snappy make more than 64; a claim beyond that is a lie, and is not
/// reserved for.
const RATIO_MAX: usize = 22;

/// Begins the framing.
pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
}

/// Appends the chunks of `piece`; the last of them ends where it ends.
pub(super) fn write(piece: &[u8], out: &mut Vec<u8>) {
    let mut encoder = snap::raw::Encoder::new();
    for chunk in piece.chunks(CHUNK_BYTES) {
        let at = out.len();
        let room = snap::raw::max_compress_len(chunk.len());
        out.resize(at + 4 + room, 0);
        let size = encoder
            .compress(chunk, &mut out[at + 4..])
            .expect("the room is what the encoder asks for");
        out[at..at + 4].copy_from_slice(&(size as u32).to_be_bytes());
        out.truncate(at + 4 + size);
    }
}

/// Reads either form, a chunk at a time; raw snappy is one chunk.
pub(super) struct SnappyStream<'a> {
    rest: &'a [u8],
    framed: bool,
    cap: usize,
    chunk: Vec<u8>,
    position: usize,
}

impl<'a> SnappyStream<'a> {
    pub(super) fn new(compressed: &'a [u8], cap: usize) -> Result<Self, DecompressError> {
        let framed = compressed.starts_with(&MAGIC);
        let rest = if framed {
            compressed
                .get(HEADER_SIZE..)
                .ok_or(DecompressError::Corrupt("snappy frame without a header"))?
        } else {
            compressed
        };
        if !framed && rest.is_empty() {
            return Err(DecompressError::Corrupt("no snappy data"));
        }
        Ok(SnappyStream {
            rest,
            framed,
            cap,
            chunk: Vec::new(),
            position: 0,
        })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        while self.position == self.chunk.len() {
            if self.rest.is_empty() {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let ready = &self.chunk[self.position..];
        let count = ready.len().min(out.len());
        out[..count].copy_from_slice(&ready[..count]);
        self.position += count;
        Ok(count)
    }

    fn next_chunk(&mut self) -> Result<(), DecompressError> {
        let chunk = if self.framed {
            self.take_framed()?
        } else {
            std::mem::take(&mut self.rest)
        };
        let size = snap::raw::decompress_len(chunk)
            .map_err(|_| DecompressError::Corrupt("snappy length is unreadable"))?;
        if size > self.cap {
            return Err(DecompressError::TooLarge { cap: self.cap });
        }
        if size > chunk.len().saturating_mul(RATIO_MAX) {
            return Err(DecompressError::Corrupt("snappy length cannot be reached"));
        }
        self.chunk.resize(size, 0);
        self.position = 0;
        if chunk.is_empty() {
            return Ok(());
        }
        snap::raw::Decoder::new()
            .decompress(chunk, &mut self.chunk)
            .map_err(|_| DecompressError::Corrupt("not snappy data"))?;
        Ok(())
    }

    fn take_framed(&mut self) -> Result<&'a [u8], DecompressError> {
        let (length, rest) = self
            .rest
            .split_first_chunk::<4>()
            .ok_or(DecompressError::Corrupt("snappy chunk without a length"))?;
        let (chunk, rest) = usize::try_from(i32::from_be_bytes(*length))
            .ok()
            .and_then(|length| rest.split_at_checked(length))
            .ok_or(DecompressError::Corrupt("snappy chunk runs past the data"))?;
        self.rest = rest;
        Ok(chunk)
    }
}
