//! The frame around every file format of our own.
//!
//! | offset | size | field |
//! | --- | --- | --- |
//! | 0 | 4 | magic, four letters |
//! | 4 | 2 | version |
//! | 6 | 2 | zero |
//! | 8 | 4 | length of the payload |
//! | 12 | 4 | CRC-32 (IEEE) of bytes 0–11 and the payload |
//! | 16 | | payload |
//!
//! Numbers are big-endian.

/// Bytes before the payload.
pub(crate) const ENVELOPE_BYTES: usize = 16;

/// Wraps a payload.
pub(crate) fn wrap(magic: [u8; 4], version: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("payloads are far below 4 GiB");
    let mut bytes = Vec::with_capacity(ENVELOPE_BYTES + payload.len());
    bytes.extend_from_slice(&magic);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&length.to_be_bytes());
    let checksum = checksum(&bytes, payload);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// The version and payload of a whole, undamaged file of this magic.
pub(crate) fn unwrap(magic: [u8; 4], bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, payload) = bytes.split_at_checked(ENVELOPE_BYTES)?;
    let field =
        |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let is_whole = head[..4] == magic
        && head[6..8] == [0; 2]
        && usize::try_from(field(8)) == Ok(payload.len())
        && field(12) == checksum(&head[..12], payload);
    is_whole.then_some((u16::from_be_bytes([head[4], head[5]]), payload))
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// Reads big-endian fields one after the other.
pub(crate) struct Fields<'a>(pub &'a [u8]);

impl Fields<'_> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_seen_in_every_bit() {
        let bytes = wrap(*b"TEST", 3, b"payload");
        assert_eq!(unwrap(*b"TEST", &bytes), Some((3, &b"payload"[..])));
        assert_eq!(unwrap(*b"ELSE", &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unwrap(*b"TEST", &damaged), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(unwrap(*b"TEST", &bytes[..length]), None);
        }
    }
}
