//! Writes primitives into a buffer, with large record batches beside it.
//!
//! ```text
//!   buffer   ├── head ──┤├─ between ─┤├ tail ┤
//!   parts               ▲ batch      ▲ batch
//! ```
//!
//! A batch is remembered with its place in the buffer and never copied; small ones are, since a copy
//! is cheaper than one more part of the vectored write.

use bytes::{BufMut, Bytes, BytesMut};

use super::{EncodeError, Records, STRING_BYTES_MAX};

/// Batches shorter than this are copied into the buffer.
const INLINE_BYTES_MAX: usize = 1024;

/// Collects one message.
#[derive(Default)]
pub struct Encoder {
    buffer: BytesMut,
    /// Shared pieces, each with the length of the buffer at its place.
    shared: Vec<(usize, Bytes)>,
    shared_bytes: usize,
}

/// Where a tagged field's value begins.
pub struct TagMark {
    start: usize,
}

impl Encoder {
    /// An empty encoder with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Encoder {
        Encoder {
            buffer: BytesMut::with_capacity(capacity),
            ..Encoder::default()
        }
    }

    /// Bytes written so far, shared ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buffer.len() + self.shared_bytes
    }

    /// Whether nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Overwrites four bytes at the very start, where the frame's length stands.
    pub(crate) fn set_frame_length(&mut self, length: i32) {
        self.buffer[..4].copy_from_slice(&length.to_be_bytes());
    }

    /// Ends the message: its pieces in order.
    #[must_use]
    pub fn into_parts(self) -> Vec<Bytes> {
        let mut buffer = self.buffer.freeze();
        let mut parts = Vec::with_capacity(2 * self.shared.len() + 1);
        let mut taken = 0;
        for (place, piece) in self.shared {
            if place > taken {
                parts.push(buffer.split_to(place - taken));
                taken = place;
            }
            parts.push(piece);
        }
        if !buffer.is_empty() {
            parts.push(buffer);
        }
        parts
    }

    /// Writes an int8.
    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    /// Writes an int16.
    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    /// Writes a uint16.
    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    /// Writes an int32.
    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    /// Writes an int64.
    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    /// Writes a float64.
    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    /// Writes a uuid.
    pub fn uuid(&mut self, value: &[u8; 16]) {
        self.buffer.put_slice(value);
    }

    /// Writes an unsigned varint in its shortest form.
    pub fn uvarint(&mut self, value: u32) {
        let (bytes, length) = uvarint_bytes(value);
        self.buffer.put_slice(&bytes[..length]);
    }

    fn compact_length(&mut self, length: usize) -> Result<(), EncodeError> {
        let too_long = |_| EncodeError::TooLong(length);
        i32::try_from(length).map_err(too_long)?;
        self.uvarint(length as u32 + 1);
        Ok(())
    }

    fn long_length(&mut self, length: usize, flexible: bool) -> Result<(), EncodeError> {
        if flexible {
            return self.compact_length(length);
        }
        self.i32(i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?);
        Ok(())
    }

    /// Writes a string.
    pub fn string(&mut self, value: &str, flexible: bool) -> Result<(), EncodeError> {
        if value.len() > STRING_BYTES_MAX {
            return Err(EncodeError::StringTooLong(value.len()));
        }
        if flexible {
            self.compact_length(value.len())?;
        } else {
            self.u16(value.len() as u16);
        }
        self.buffer.put_slice(value.as_bytes());
        Ok(())
    }

    /// Writes a null string.
    pub fn null_string(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0)
        } else {
            self.i16(-1)
        }
    }

    /// Writes a byte array.
    pub fn bytes(&mut self, value: &[u8], flexible: bool) -> Result<(), EncodeError> {
        self.long_length(value.len(), flexible)?;
        self.buffer.put_slice(value);
        Ok(())
    }

    /// Writes record batches: their length here, the bytes beside the buffer.
    pub fn records(&mut self, value: &Records, flexible: bool) -> Result<(), EncodeError> {
        let length = value.len();
        self.long_length(length, flexible)?;
        for part in value.parts() {
            if length < INLINE_BYTES_MAX {
                self.buffer.put_slice(part);
            } else if !part.is_empty() {
                self.shared.push((self.buffer.len(), part.clone()));
                self.shared_bytes += part.len();
            }
        }
        Ok(())
    }

    /// Writes the count of an array.
    pub fn array_length(&mut self, count: usize, flexible: bool) -> Result<(), EncodeError> {
        self.long_length(count, flexible)
    }

    /// Writes a null array, byte array or record set.
    pub fn null_array(&mut self, flexible: bool) {
        if flexible {
            self.uvarint(0)
        } else {
            self.i32(-1)
        }
    }

    /// Begins a tagged field, whose size is only known at its end.
    pub fn begin_tag(&mut self, tag: u32) -> TagMark {
        self.uvarint(tag);
        TagMark {
            start: self.buffer.len(),
        }
    }

    /// Ends a tagged field: puts its size before its value. No schema has records in a tagged field.
    pub fn end_tag(&mut self, mark: TagMark) {
        debug_assert!(
            self.shared
                .last()
                .is_none_or(|(place, _)| *place <= mark.start)
        );
        let size = self.buffer.len() - mark.start;
        let (bytes, length) = uvarint_bytes(size as u32);
        self.buffer.put_bytes(0, length);
        self.buffer
            .copy_within(mark.start..mark.start + size, mark.start + length);
        self.buffer[mark.start..mark.start + length].copy_from_slice(&bytes[..length]);
    }
}

/// The shortest form of an unsigned varint, and its length.
fn uvarint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut length = 0;
    loop {
        bytes[length] = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            return (bytes, length + 1);
        }
        bytes[length] |= 0x80;
        length += 1;
    }
}
