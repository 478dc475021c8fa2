//! Cuts the bytes of a socket into answers.
//!
//! An answer is an int32 length and as many bytes. The length comes from the peer, so it is checked against the limit
//! before anything is kept for it, and room is made as bytes arrive: at most [`GROWTH_STEP`] ahead of, or as much
//! again as, what is already there.

use bytes::{Bytes, BytesMut};

/// Most bytes reserved on the word of a length field alone.
const GROWTH_STEP: usize = 1024 * 1024;
/// Room made when nothing is announced yet.
const IDLE_ROOM: usize = 16 * 1024;

/// A length field that is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadLength(pub(crate) i32);

/// Bytes read and not yet handed out.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: BytesMut,
    limit: usize,
}

impl FrameBuffer {
    /// `limit` is the longest answer taken, in bytes without its length field.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            bytes: BytesMut::with_capacity(IDLE_ROOM),
            limit,
        }
    }

    /// The buffer to read into, with room for at least one byte.
    pub(crate) fn room(&mut self) -> Result<&mut BytesMut, BadLength> {
        let have = self.bytes.len();
        let wanted = match self.announced()? {
            Some(length) => (length + 4).saturating_sub(have),
            None => IDLE_ROOM,
        };
        if self.bytes.capacity() - have < wanted.min(IDLE_ROOM / 4) || wanted > IDLE_ROOM {
            self.bytes.reserve(wanted.min(GROWTH_STEP.max(have)));
        } else if self.bytes.capacity() == have {
            self.bytes.reserve(IDLE_ROOM);
        }
        Ok(&mut self.bytes)
    }

    /// The next whole answer without its length field, if it is there.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Bytes>, BadLength> {
        let Some(length) = self.announced()? else {
            return Ok(None);
        };
        if self.bytes.len() < length + 4 {
            return Ok(None);
        }
        let mut frame = self.bytes.split_to(length + 4).freeze();
        Ok(Some(frame.split_off(4)))
    }

    fn announced(&self) -> Result<Option<usize>, BadLength> {
        let Some(field) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*field);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.limit => Ok(Some(bytes)),
            _ => Err(BadLength(length)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn fed(limit: usize, bytes: &[u8]) -> FrameBuffer {
        let mut buffer = FrameBuffer::new(limit);
        buffer.bytes.extend_from_slice(bytes);
        buffer
    }

    #[test]
    fn frames_come_out_whole_and_in_order() {
        let mut buffer = fed(10, b"\0\0\0\x03abc\0\0\0\x00\0\0\0\x02d");
        assert_eq!(buffer.next_frame().unwrap().unwrap(), "abc");
        assert_eq!(buffer.next_frame().unwrap().unwrap(), "");
        assert_eq!(buffer.next_frame().unwrap(), None);
        buffer.bytes.extend_from_slice(b"e");
        assert_eq!(buffer.next_frame().unwrap().unwrap(), "de");
    }

    #[test]
    fn length_at_the_limit_passes_and_one_more_is_refused() {
        assert_eq!(fed(10, b"\0\0\0\x0a").next_frame(), Ok(None));
        assert_eq!(fed(10, b"\0\0\0\x0b").next_frame(), Err(BadLength(11)));
        assert_eq!(
            fed(10, b"\xff\xff\xff\xff").room().unwrap_err(),
            BadLength(-1)
        );
    }

    #[test]
    fn an_announcement_alone_reserves_one_step_only() {
        let mut buffer = fed(1 << 30, &(1i32 << 29).to_be_bytes());
        assert!(buffer.room().unwrap().capacity() <= 2 * GROWTH_STEP + IDLE_ROOM);
    }

    #[test]
    fn there_is_always_room_to_read() {
        let mut buffer = FrameBuffer::new(1 << 20);
        buffer.bytes.extend_from_slice(&100_000i32.to_be_bytes());
        for _ in 0..100_000 {
            let room = buffer.room().unwrap();
            assert!(room.capacity() > room.len());
            room.extend_from_slice(b"x");
        }
        assert_eq!(buffer.next_frame().unwrap().unwrap().len(), 100_000);
    }
}
