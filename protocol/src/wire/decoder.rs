//! Reads primitives from a frame, within bounds.
//!
//! Strings and byte arrays borrow from the frame; record batches share it. The only memory a
//! message takes are its arrays. Before one is reserved, its count is compared with what the frame
//! still holds (in units of the element's smallest wire form), then its size is charged to the
//! frame's heap budget: the larger of 64 KiB and 16 times the frame, and never more than 64 MiB. So a
//! few bytes of wire cannot buy megabytes of heap.

use std::borrow::Cow;
use std::mem::size_of;

use bytes::Bytes;

use super::{DecodeError, Records, STRING_BYTES_MAX};

/// Heap any frame may use.
const BUDGET_MIN: usize = 64 << 10;
/// Heap per byte of frame beyond that.
const BUDGET_PER_BYTE: usize = 16;
/// Heap that no frame goes past, however long it is: a million elements.
const BUDGET_MAX: usize = 64 << 20;
/// What the first record batch costs: the frame becomes shared.
const SHARING_BYTES: usize = 64;
/// Unknown tagged fields allowed in one struct.
pub const TAGS_UNKNOWN_MAX: u32 = 64;

/// A cursor over one frame.
pub struct Decoder<'a> {
    frame: &'a Bytes,
    position: usize,
    budget: usize,
    budget_left: usize,
    tags_out_of_order: u64,
}

/// Walks the tagged fields of one struct.
pub struct Tags {
    left: u32,
    last: Option<u32>,
    unknown: u32,
}

impl<'a> Decoder<'a> {
    /// Begins at the start of a frame (without its length prefix).
    #[must_use]
    pub fn new(frame: &'a Bytes) -> Decoder<'a> {
        let budget = frame.len().saturating_mul(BUDGET_PER_BYTE);
        let budget = budget.clamp(BUDGET_MIN, BUDGET_MAX);
        Decoder {
            frame,
            position: 0,
            budget,
            budget_left: budget - SHARING_BYTES,
            tags_out_of_order: 0,
        }
    }

    /// Bytes not read yet. After a message: trailing bytes, which Kafka ignores and so do we.
    #[must_use]
    pub fn trailing(&self) -> usize {
        self.frame.len() - self.position
    }

    /// How many tags came twice or after a higher one. Kafka accepts them and so do we.
    #[must_use]
    pub fn tags_out_of_order(&self) -> u64 {
        self.tags_out_of_order
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.frame[self.position..];
        let taken = rest.get(..count).ok_or(DecodeError::Truncated {
            position: self.position,
            missing: count.saturating_sub(rest.len()),
        })?;
        self.position += count;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        let mut bytes = [0; N];
        bytes.copy_from_slice(taken);
        Ok(bytes)
    }

    /// Reads an int8.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Reads an int16.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Reads a uint16.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Reads an int32.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Reads an int64.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// Reads a float64.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        Ok(f64::from_be_bytes(self.fixed()?))
    }

    /// Reads a uuid.
    pub fn uuid(&mut self) -> Result<[u8; 16], DecodeError> {
        self.fixed()
    }

    /// Reads a boolean: any byte but 0 is true, as with Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.i8()? != 0)
    }

    /// Reads the marker before a nullable struct: −1 for null, else 1.
    pub fn is_present(&mut self) -> Result<bool, DecodeError> {
        let position = self.position;
        match self.i8()? {
            -1 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::BadMarker { position, value }),
        }
    }

    /// Reads an unsigned varint of at most five bytes, in its shortest form.
    pub fn uvarint(&mut self) -> Result<u32, DecodeError> {
        let position = self.position;
        let too_long = DecodeError::VarintTooLong { position };
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.fixed()?;
            let bits = u32::from(byte & 0x7f);
            if shift == 28 && bits > 0x0f {
                return Err(too_long);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let is_padded = byte == 0 && shift > 0;
                return if is_padded { Err(too_long) } else { Ok(value) };
            }
        }
        Err(too_long)
    }

    /// A length: `None` is null.
    fn compact_length(&mut self) -> Result<Option<usize>, DecodeError> {
        Ok((self.uvarint()? as usize).checked_sub(1))
    }

    fn classic_length(&mut self, length: i64) -> Result<Option<usize>, DecodeError> {
        match length {
            -1 => Ok(None),
            _ => usize::try_from(length)
                .map(Some)
                .map_err(|_| DecodeError::BadLength {
                    position: self.position,
                    length,
                }),
        }
    }

    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.i16()?;
        self.classic_length(i64::from(length))
    }

    fn long_length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            return self.compact_length();
        }
        let length = self.i32()?;
        self.classic_length(i64::from(length))
    }

    fn no_null(&self) -> DecodeError {
        DecodeError::BadLength {
            position: self.position,
            length: -1,
        }
    }

    /// Reads a string.
    pub fn string(&mut self, flexible: bool) -> Result<Cow<'a, str>, DecodeError> {
        self.nullable_string(flexible)?
            .ok_or_else(|| self.no_null())
    }

    /// Reads a string or null.
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<Cow<'a, str>>, DecodeError> {
        let position = self.position;
        let Some(length) = self.string_length(flexible)? else {
            return Ok(None);
        };
        if length > STRING_BYTES_MAX {
            return Err(DecodeError::StringTooLong { position, length });
        }
        let text = std::str::from_utf8(self.take(length)?);
        let text = text.map_err(|_| DecodeError::NotUtf8 { position })?;
        Ok(Some(Cow::Borrowed(text)))
    }

    /// Reads a byte array.
    pub fn bytes(&mut self, flexible: bool) -> Result<Cow<'a, [u8]>, DecodeError> {
        self.nullable_bytes(flexible)?.ok_or_else(|| self.no_null())
    }

    /// Reads a byte array or null.
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<Cow<'a, [u8]>>, DecodeError> {
        let Some(length) = self.long_length(flexible)? else {
            return Ok(None);
        };
        Ok(Some(Cow::Borrowed(self.take(length)?)))
    }

    /// Reads record batches where null is not allowed.
    pub fn records(&mut self, flexible: bool) -> Result<Records, DecodeError> {
        self.nullable_records(flexible)?
            .ok_or_else(|| self.no_null())
    }

    /// Reads record batches or null: a slice of the frame that shares it.
    pub fn nullable_records(&mut self, flexible: bool) -> Result<Option<Records>, DecodeError> {
        let Some(length) = self.long_length(flexible)? else {
            return Ok(None);
        };
        let start = self.position;
        self.take(length)?;
        Ok(Some(Records::Whole(self.frame.slice(start..self.position))))
    }

    /// Reads an array of elements that take at least `min_size` bytes each.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(flexible, min_size, read)?
            .ok_or_else(|| self.no_null())
    }

    /// Reads an array or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.array_length(flexible, min_size, size_of::<T>())? else {
            return Ok(None);
        };
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// Reads an array's count and charges its memory, before any is reserved.
    fn array_length(
        &mut self,
        flexible: bool,
        min_size: usize,
        element_bytes: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let position = self.position;
        let Some(count) = self.long_length(flexible)? else {
            return Ok(None);
        };
        let remaining = self.trailing();
        if count > remaining / min_size.max(1) {
            return Err(DecodeError::TooManyElements {
                position,
                count,
                remaining,
            });
        }
        let needed = count.saturating_mul(element_bytes);
        match self.budget_left.checked_sub(needed) {
            Some(left) => self.budget_left = left,
            None => {
                let needed = needed - self.budget_left;
                return Err(DecodeError::OverBudget {
                    budget: self.budget,
                    needed,
                });
            }
        }
        Ok(Some(count))
    }

    /// Begins the tagged fields of a struct.
    pub fn tags(&mut self) -> Result<Tags, DecodeError> {
        Ok(Tags {
            left: self.uvarint()?,
            last: None,
            unknown: 0,
        })
    }

    /// The next tagged field and where its value must end.
    pub fn next_tag(&mut self, tags: &mut Tags) -> Result<Option<(u32, usize)>, DecodeError> {
        let Some(left) = tags.left.checked_sub(1) else {
            return Ok(None);
        };
        tags.left = left;
        let tag = self.uvarint()?;
        let size = self.uvarint()? as usize;
        if size > self.trailing() {
            let missing = size - self.trailing();
            return Err(DecodeError::Truncated {
                position: self.position,
                missing,
            });
        }
        if tags.last.is_some_and(|last| tag <= last) {
            self.tags_out_of_order += 1;
        }
        tags.last = Some(tag);
        Ok(Some((tag, self.position + size)))
    }

    /// Reads past a tagged field this version of the protocol does not know.
    pub fn skip_tag(&mut self, tags: &mut Tags, end: usize) -> Result<(), DecodeError> {
        tags.unknown += 1;
        if tags.unknown > TAGS_UNKNOWN_MAX {
            return Err(DecodeError::TooManyTags {
                position: self.position,
            });
        }
        self.position = end;
        Ok(())
    }

    /// Checks that a tagged field's value ended where its size says.
    pub fn end_tag(&mut self, end: usize) -> Result<(), DecodeError> {
        if self.position == end {
            return Ok(());
        }
        let difference = end as i64 - self.position as i64;
        Err(DecodeError::TagSize {
            position: self.position,
            difference,
        })
    }

    pub(crate) fn tag_not_in_version(&self, tag: u32, version: i16) -> DecodeError {
        DecodeError::TagNotInVersion { tag, version }
    }
}
