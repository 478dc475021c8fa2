//! Cuts the bytes of a connection into frames.
//!
//! ```text
//!   offset  size  field
//!   0       4     length of what follows, big-endian, 0 ≤ length ≤ `frame_bytes_max`
//!   4       …     the frame
//! ```
//!
//! The buffer grows with what has arrived, never with what a peer announces: up to [`ALLOWANCE`] at
//! once, then to four times what is there. What goes beyond the allowance is the broker's to grant
//! ([`super::charge`]), so the owner asks for [`FrameReader::wanted`] before it reads.
//!
//! The next frame of a connection is probably as long as the last, so its buffer is made to fit: a
//! stream of equal frames of up to [`GUESS_MAX`] lands each in an allocation of its own, without a
//! copy, and a batch kept in a cache pins nothing but itself.

use bytes::{Bytes, BytesMut};

/// Bytes of the length prefix.
const PREFIX: usize = 4;
/// The smallest buffer: several small requests fit.
pub const BUFFER_MIN: usize = 4 << 10;
/// The buffer that every connection may have without asking, where there are not too many: batches of
/// 64 KiB, which producers are often set to, with the request around them.
pub const ALLOWANCE: usize = 65 << 10;
/// The largest buffer that is made because the last frame was as long. A short frame that follows may
/// pin it whole until its batch leaves the cache.
const GUESS_MAX: usize = 128 << 10;

/// Why a connection's bytes are not frames.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length prefix is negative.
    #[error("frame length {0} is negative")]
    Negative(i32),
    /// The length prefix is over the limit. Text or TLS sent to this port looks like this.
    #[error(
        "frame of {length} bytes is over socket.request.max.bytes={max}: \
         another protocol on this port, or a request too large"
    )]
    TooLong {
        /// The announced length.
        length: usize,
        /// The limit.
        max: usize,
    },
}

/// Collects one connection's bytes and gives out its frames.
pub struct FrameReader {
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// Bytes of the last frame with its prefix: a guess at the next.
    last_frame: usize,
}

impl FrameReader {
    /// A reader that refuses frames longer than `frame_bytes_max`.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> FrameReader {
        FrameReader {
            buffer: BytesMut::new(),
            frame_bytes_max,
            last_frame: 0,
        }
    }

    /// The bytes of buffer that the next read should have, with those that have arrived.
    #[must_use]
    pub fn wanted(&self) -> usize {
        let (arrived, capacity) = (self.buffer.len(), self.buffer.capacity());
        let wanted = match self.announced() {
            Some(length) => length
                .saturating_add(PREFIX)
                .min(ALLOWANCE.max(arrived * 4)),
            None => self.last_frame.clamp(BUFFER_MIN, GUESS_MAX),
        };
        // A large buffer is filled before it is copied to a larger one.
        if wanted > ALLOWANCE && capacity > arrived {
            return capacity.max(ALLOWANCE);
        }
        wanted.max(arrived + 1)
    }

    /// The buffer to read into, with space: `bytes` in all, as many as [`FrameReader::wanted`] or those
    /// of them that were granted.
    pub fn space(&mut self, bytes: usize) -> &mut BytesMut {
        let bytes = bytes.max(self.buffer.len() + 1);
        if self.buffer.capacity() < bytes {
            let mut larger = BytesMut::with_capacity(bytes);
            larger.extend_from_slice(&self.buffer);
            self.buffer = larger;
        }
        &mut self.buffer
    }

    /// Whether nothing has arrived that is not given out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Whether there is a buffer in which nothing has arrived.
    #[must_use]
    pub fn has_unused_buffer(&self) -> bool {
        self.buffer.is_empty() && self.buffer.capacity() > 0
    }

    /// Gives back a buffer in which nothing has arrived.
    pub fn release_unused(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
    }

    /// The next whole frame, without its prefix. `None` until more bytes have arrived.
    pub fn next(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let announced = i32::from_be_bytes(*prefix);
        let length = usize::try_from(announced).map_err(|_| FrameError::Negative(announced))?;
        if length > self.frame_bytes_max {
            return Err(FrameError::TooLong {
                length,
                max: self.frame_bytes_max,
            });
        }
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.last_frame = PREFIX + length;
        let mut frame = self.buffer.split_to(PREFIX + length).freeze();
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        bytes::Buf::advance(&mut frame, PREFIX);
        Ok(Some(frame))
    }

    /// Whether part of a frame has arrived.
    #[must_use]
    pub fn is_inside_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The length of the frame that has begun, once its prefix is there.
    #[must_use]
    pub fn announced(&self) -> Option<usize> {
        let prefix = self.buffer.first_chunk::<PREFIX>()?;
        usize::try_from(i32::from_be_bytes(*prefix)).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use super::*;

    fn feed(reader: &mut FrameReader, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let wanted = reader.wanted();
            let space = reader.space(wanted);
            let room = (space.capacity() - space.len()).min(rest.len());
            space.extend_from_slice(&rest[..room]);
            rest = &rest[room..];
        }
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut bytes = (body.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn several_frames_in_one_read() {
        let mut reader = FrameReader::new(100);
        let bytes = [framed(b"one"), framed(b""), framed(b"three"), vec![0, 0]].concat();
        feed(&mut reader, &bytes);
        assert_eq!(reader.next().unwrap().unwrap(), "one");
        assert_eq!(reader.next().unwrap().unwrap(), "");
        assert_eq!(reader.next().unwrap().unwrap(), "three");
        assert_eq!(reader.next().unwrap(), None);
        assert!(reader.is_inside_frame());
    }

    #[test]
    fn a_frame_in_single_bytes() {
        let mut reader = FrameReader::new(100);
        for byte in framed(b"slow") {
            assert_eq!(reader.next().unwrap(), None);
            feed(&mut reader, &[byte]);
        }
        assert_eq!(reader.next().unwrap().unwrap(), "slow");
        assert!(!reader.is_inside_frame());
    }

    #[test]
    fn lengths_at_and_past_the_limit() {
        let mut reader = FrameReader::new(8);
        feed(&mut reader, &framed(&[7; 8]));
        assert_eq!(reader.next().unwrap().unwrap().len(), 8);
        feed(&mut reader, &framed(&[7; 9]));
        assert_eq!(
            reader.next(),
            Err(FrameError::TooLong { length: 9, max: 8 })
        );
        let mut reader = FrameReader::new(8);
        feed(&mut reader, &[0xff; 4]);
        assert_eq!(reader.next(), Err(FrameError::Negative(-1)));
    }

    #[test]
    fn an_announced_giant_reserves_only_what_arrives() {
        let mut reader = FrameReader::new(100 << 20);
        feed(&mut reader, &(100u32 << 20).to_be_bytes());
        assert!(reader.wanted() <= ALLOWANCE);
        feed(&mut reader, &vec![0; 1 << 20]);
        assert!(reader.wanted() <= 4 * ((1 << 20) + PREFIX));
    }

    #[test]
    fn a_stream_of_equal_frames_lands_each_in_its_own_buffer() {
        let mut reader = FrameReader::new(1 << 20);
        let frame = framed(&vec![1; 70_000]);
        feed(&mut reader, &frame);
        reader.next().unwrap().unwrap();
        assert_eq!(reader.wanted(), 70_004);
        feed(&mut reader, &frame);
        assert_eq!(reader.buffer.capacity(), 70_004);
        // A guess that is not granted is no loss: the buffer grows when it is full.
        reader.next().unwrap().unwrap();
        assert_eq!(reader.space(ALLOWANCE).capacity(), ALLOWANCE);
        feed(&mut reader, &frame);
        assert_eq!(reader.next().unwrap().unwrap().len(), 70_000);
    }

    #[test]
    fn frames_within_the_allowance_never_want_more() {
        let mut reader = FrameReader::new(1 << 20);
        for length in [0, 1, 5000, 64 << 10, ALLOWANCE - PREFIX, 7] {
            for byte in framed(&vec![1; length]).chunks(1000) {
                assert!(reader.wanted() <= ALLOWANCE);
                feed(&mut reader, byte);
            }
            assert_eq!(reader.next().unwrap().unwrap().len(), length);
        }
    }

    #[test]
    fn a_large_frame_is_copied_a_few_times_only() {
        let mut reader = FrameReader::new(100 << 20);
        let (mut capacities, mut rest) = (BTreeSet::new(), &framed(&vec![1; 10 << 20])[..]);
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(3000));
            feed(&mut reader, now);
            capacities.insert(reader.buffer.capacity());
            rest = later;
        }
        let expected = [
            4096,
            ALLOWANCE,
            4 * ALLOWANCE,
            16 * ALLOWANCE,
            64 * ALLOWANCE,
        ];
        let whole = (10 << 20) + PREFIX;
        assert_eq!(
            Vec::from_iter(capacities),
            [&expected[..], &[whole]].concat()
        );
    }
}
