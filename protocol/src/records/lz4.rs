//! LZ4 frames with independent blocks, which are the only ones Kafka's Java client reads. There is one
//! level: the encoder has no slower one.
//!
//! ```text
//! 04 22 4d 18 · FLG · BD · [content size, 8 bytes] · HC
//! blocks: uint32 length, top bit: stored · data · [block checksum]
//! uint32 0 · [content checksum]
//! ```
//! Numbers are little-endian. FLG: bits 6–7 version 01, 5 blocks are independent, 4 block checksums,
//! 3 content size, 2 content checksum, 1–0 zero. BD: bits 4–6 block size 4–7: 64 KiB, 256 KiB, 1 MiB,
//! 4 MiB. HC is the second byte of the descriptor's XXH32.

use lz4_flex::block;

use super::error::DecompressError;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// Version 01, independent blocks.
const FLAGS: u8 = 0x60;
const FLAG_INDEPENDENT: u8 = 1 << 5;
const FLAG_BLOCK_CHECKSUM: u8 = 1 << 4;
const FLAG_CONTENT_SIZE: u8 = 1 << 3;
const FLAG_CONTENT_CHECKSUM: u8 = 1 << 2;
const FLAG_RESERVED: u8 = 0x03;
/// Blocks of 64 KiB.
const BLOCK_DESCRIPTOR: u8 = 0x40;
/// What a block holds before compression.
pub const BLOCK_BYTES: usize = 64 << 10;
const STORED: u32 = 1 << 31;
/// One byte of a length makes at most 255, and a block's last literals cost a byte each.
const RATIO_MAX: usize = 256;

/// Begins a frame.
pub(super) fn begin(out: &mut Vec<u8>) {
    let descriptor = [FLAGS, BLOCK_DESCRIPTOR];
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&descriptor);
    out.push(header_checksum(&descriptor));
}

/// Appends the blocks of `piece`; the last of them ends where it ends.
pub(super) fn write(piece: &[u8], out: &mut Vec<u8>) {
    for chunk in piece.chunks(BLOCK_BYTES) {
        let at = out.len();
        out.resize(at + 4 + block::get_maximum_output_size(chunk.len()), 0);
        let size = block::compress_into(chunk, &mut out[at + 4..])
            .expect("the room is what the encoder asks for");
        let (size, mark) = if size < chunk.len() {
            (size, 0)
        } else {
            out[at + 4..at + 4 + chunk.len()].copy_from_slice(chunk);
            (chunk.len(), STORED)
        };
        out[at..at + 4].copy_from_slice(&(size as u32 | mark).to_le_bytes());
        out.truncate(at + 4 + size);
    }
}

/// Ends the frame.
pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0; 4]);
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (xxh32(descriptor) >> 8) as u8
}

/// Reads one frame, a block at a time.
pub(super) struct Lz4Stream<'a> {
    rest: &'a [u8],
    flags: u8,
    block_max: usize,
    block: Vec<u8>,
    position: usize,
    ended: bool,
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecompressError> {
    let (taken, left) = rest
        .split_at_checked(count)
        .ok_or(DecompressError::Corrupt("lz4 frame is incomplete"))?;
    *rest = left;
    Ok(taken)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, DecompressError> {
    let mut number = [0; 4];
    number.copy_from_slice(take(rest, 4)?);
    Ok(u32::from_le_bytes(number))
}

impl<'a> Lz4Stream<'a> {
    pub(super) fn new(compressed: &'a [u8]) -> Result<Self, DecompressError> {
        let mut rest = compressed;
        if take(&mut rest, 4)? != MAGIC {
            return Err(DecompressError::Corrupt("not an lz4 frame"));
        }
        let descriptor = rest;
        let (flags, sizes) = match *take(&mut rest, 2)? {
            [flags, sizes] => (flags, sizes),
            _ => return Err(DecompressError::Corrupt("lz4 frame is incomplete")),
        };
        if flags >> 6 != 1 || flags & FLAG_RESERVED != 0 || sizes & 0x8f != 0 {
            return Err(DecompressError::Corrupt("lz4 frame of an unknown version"));
        }
        if flags & FLAG_INDEPENDENT == 0 {
            return Err(DecompressError::Corrupt("lz4 blocks are linked"));
        }
        let block_max = match sizes >> 4 {
            exponent @ 4..=7 => 1 << (8 + 2 * exponent),
            _ => return Err(DecompressError::Corrupt("lz4 block size does not exist")),
        };
        if flags & FLAG_CONTENT_SIZE != 0 {
            take(&mut rest, 8)?;
        }
        let checksum = header_checksum(&descriptor[..descriptor.len() - rest.len()]);
        if take(&mut rest, 1)? != [checksum] {
            return Err(DecompressError::Corrupt("lz4 header checksum is wrong"));
        }
        Ok(Lz4Stream {
            rest,
            flags,
            block_max,
            block: Vec::new(),
            position: 0,
            ended: false,
        })
    }

    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, DecompressError> {
        while self.position == self.block.len() {
            if self.ended {
                return Ok(0);
            }
            self.next_block()?;
        }
        let ready = &self.block[self.position..];
        let count = ready.len().min(out.len());
        out[..count].copy_from_slice(&ready[..count]);
        self.position += count;
        Ok(count)
    }

    fn next_block(&mut self) -> Result<(), DecompressError> {
        self.block.clear();
        self.position = 0;
        let mark = take_u32(&mut self.rest)?;
        if mark == 0 {
            return self.end();
        }
        let length = (mark & !STORED) as usize;
        if length > self.block_max {
            return Err(DecompressError::Corrupt("lz4 block is larger than allowed"));
        }
        let data = take(&mut self.rest, length)?;
        if self.flags & FLAG_BLOCK_CHECKSUM != 0 && take_u32(&mut self.rest)? != xxh32(data) {
            return Err(DecompressError::Corrupt("lz4 block checksum is wrong"));
        }
        if mark & STORED != 0 {
            self.block.extend_from_slice(data);
            return Ok(());
        }
        let room = length.saturating_mul(RATIO_MAX).min(self.block_max);
        self.block.resize(room, 0);
        let size = block::decompress_into(data, &mut self.block)
            .map_err(|_| DecompressError::Corrupt("not lz4 data"))?;
        self.block.truncate(size);
        Ok(())
    }

    /// The content checksum is passed over, as Kafka does: the batch has one of its own.
    fn end(&mut self) -> Result<(), DecompressError> {
        if self.flags & FLAG_CONTENT_CHECKSUM != 0 {
            take(&mut self.rest, 4)?;
        }
        if !self.rest.is_empty() {
            return Err(DecompressError::Corrupt("bytes follow the lz4 frame"));
        }
        self.ended = true;
        Ok(())
    }
}

/// XXH32 with seed 0, which guards the header and, if the sender wishes, the blocks.
fn xxh32(bytes: &[u8]) -> u32 {
    const P1: u32 = 0x9e37_79b1;
    const P2: u32 = 0x85eb_ca77;
    const P3: u32 = 0xc2b2_ae3d;
    const P4: u32 = 0x27d4_eb2f;
    const P5: u32 = 0x1656_67b1;
    let word = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let round = |lane: u32, bytes: &[u8]| {
        lane.wrapping_add(word(bytes).wrapping_mul(P2))
            .rotate_left(13)
            .wrapping_mul(P1)
    };
    let mut stripes = bytes.chunks_exact(16);
    let mut hash = P5;
    if bytes.len() >= 16 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0_u32.wrapping_sub(P1)];
        for stripe in stripes.by_ref() {
            for (lane, bytes) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                *lane = round(*lane, bytes);
            }
        }
        hash = [1, 7, 12, 18]
            .into_iter()
            .zip(lanes)
            .fold(0, |sum: u32, (by, lane)| {
                sum.wrapping_add(lane.rotate_left(by))
            });
    }
    hash = hash.wrapping_add(bytes.len() as u32);
    let mut words = stripes.remainder().chunks_exact(4);
    for bytes in words.by_ref() {
        hash = hash
            .wrapping_add(word(bytes).wrapping_mul(P3))
            .rotate_left(17)
            .wrapping_mul(P4);
    }
    for &byte in words.remainder() {
        hash = hash
            .wrapping_add(u32::from(byte).wrapping_mul(P5))
            .rotate_left(11)
            .wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_DESCRIPTOR, FLAGS, header_checksum, xxh32};

    #[test]
    fn xxh32_has_its_published_values() {
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"a"), 0x550d_7456);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(
            xxh32(b"Nobody inspects the spammish repetition"),
            0xe229_3b2f
        );
    }

    #[test]
    fn the_header_is_the_one_kafka_writes() {
        assert_eq!(header_checksum(&[FLAGS, BLOCK_DESCRIPTOR]), 0x82);
    }
}
