//! One proposal as bytes: the unit that is wholly in the log after a crash, or not at all.
//!
//! *Shape*, big-endian:
//!
//! | offset | size | name | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 4 | crc | CRC-32 (IEEE) of everything after it |
//! | 4 | 4 | length | bytes of the body, up to [`FRAME_BODY_MAX`] |
//! | 8 | 8 | index | of its first entry |
//! | 16 | 8 | term | in which it was proposed |
//! | 24 | 4 | count | of entries, at least 1 |
//! | 28 | length | body | per entry: type `u16`, length `u32`, payload |

use bytes::{BufMut, Bytes, BytesMut};

use crate::{Entry, Index, Term};

/// Bytes before a frame's body.
pub(crate) const FRAME_HEADER_SIZE: usize = 28;

/// Bytes of a proposal's entries at most, with six bytes for each entry.
pub const FRAME_BODY_MAX: usize = 64 << 20;

const ENTRY_HEADER_SIZE: usize = 6;

/// A frame's header as it stands, before its checksum is known to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) crc: u32,
    pub(crate) length: usize,
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) count: u32,
}

impl FrameHeader {
    pub(crate) fn read(bytes: &[u8; FRAME_HEADER_SIZE]) -> FrameHeader {
        let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        let u64_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
        FrameHeader {
            crc: u32_at(0),
            length: u32_at(4) as usize,
            index: u64_at(8),
            term: u64_at(16),
            count: u32_at(24),
        }
    }

    /// Whether a frame like this could stand where `available` bytes are left for its body.
    pub(crate) fn is_plausible(&self, available: u64) -> bool {
        self.length <= FRAME_BODY_MAX
            && self.length as u64 <= available
            && self.count >= 1
            && self.count as usize <= self.length / ENTRY_HEADER_SIZE
            && self.index.checked_add(u64::from(self.count)).is_some()
    }

    /// The index after its last entry.
    pub(crate) fn next_index(&self) -> u64 {
        self.index + u64::from(self.count)
    }

    /// Whether header and body are what was written.
    pub(crate) fn is_checksum_right(&self, header: &[u8], body: &[u8]) -> bool {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&header[4..FRAME_HEADER_SIZE]);
        crc.update(body);
        crc.finalize() == self.crc
    }
}

/// Bytes that a proposal's entries take in a frame's body.
pub(crate) fn body_length(records: &[(u16, Bytes)]) -> usize {
    let lengths = records.iter().map(|(_, payload)| payload.len());
    lengths.sum::<usize>() + ENTRY_HEADER_SIZE * records.len()
}

/// Writes a frame. `records` is not empty and fits [`FRAME_BODY_MAX`].
pub(crate) fn encode(index: Index, term: Term, records: &[(u16, Bytes)]) -> Bytes {
    let length = body_length(records);
    assert!(!records.is_empty());
    assert!(length <= FRAME_BODY_MAX);
    let mut out = BytesMut::with_capacity(FRAME_HEADER_SIZE + length);
    out.put_u32(0);
    out.put_u32(length as u32);
    out.put_u64(index.0);
    out.put_u64(term.0);
    out.put_u32(records.len() as u32);
    for (type_, payload) in records {
        out.put_u16(*type_);
        out.put_u32(payload.len() as u32);
        out.put_slice(payload);
    }
    let crc = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

/// Reads the entries of a frame whose checksum is right. `None` when lengths do not add up, which a
/// right checksum leaves to a bug.
pub(crate) fn decode_body(header: &FrameHeader, body: &Bytes) -> Option<Vec<Entry>> {
    let mut entries = Vec::with_capacity(header.count as usize);
    let mut position = 0;
    for number in 0..u64::from(header.count) {
        let head = body.get(position..position + ENTRY_HEADER_SIZE)?;
        let type_ = u16::from_be_bytes([head[0], head[1]]);
        let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]) as usize;
        position += ENTRY_HEADER_SIZE;
        if length > body.len() - position {
            return None;
        }
        entries.push(Entry {
            index: Index(header.index + number),
            term: Term(header.term),
            type_,
            payload: body.slice(position..position + length),
        });
        position += length;
    }
    (position == body.len()).then_some(entries)
}
