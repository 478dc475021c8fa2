//! Where a batch ends whose length is damaged.
//!
//! Headers lead from one batch to the next, so one flipped bit of a length hides everything behind it: below
//! the recovery point the walk gets lost, and at the point the tail is looked for in a wrong place, found torn
//! there, and would be cut. The checksum covers the batch up to its end, so it tells which bit it was. The
//! batch is not mended on the disk, and is refused to its readers; what follows it is not lost with it.

use std::io;

use millstream_env::File;
use millstream_protocol::records::{BatchHeader, Crc32c, HEADER_SIZE};

/// The length's bytes in a header.
const LENGTH: std::ops::Range<usize> = 8..12;
/// How much of a batch its length leaves out.
const LENGTH_OVERHEAD: u64 = 12;
/// What the checksum covers begins here.
const CRC_COVERS_FROM: u64 = 21;
/// Bytes that are summed at once.
const WINDOW: usize = 256 << 10;

/// The header of the batch at `start` with the length that its checksum confirms: as it stands, or with one
/// bit flipped. `None` where none does, or `start` is no batch at all. `size` is that of the file.
pub(crate) fn mended_header(
    file: &dyn File,
    start: u64,
    size: u64,
) -> io::Result<Option<BatchHeader>> {
    if size - start < HEADER_SIZE as u64 {
        return Ok(None);
    }
    let mut bytes = [0; HEADER_SIZE];
    file.read_exact_at(&mut bytes, start)?;
    let stored = u32::from_be_bytes(bytes[LENGTH].try_into().expect("4 bytes"));
    let flipped = (0..u32::BITS).map(|bit| stored ^ (1 << bit));
    for length in std::iter::once(stored).chain(flipped) {
        bytes[LENGTH].copy_from_slice(&length.to_be_bytes());
        let Ok(header) = BatchHeader::read(&bytes) else {
            continue;
        };
        let end = start + LENGTH_OVERHEAD + u64::from(length);
        if end <= size && crc_of(file, start + CRC_COVERS_FROM, end)? == header.crc {
            return Ok(Some(header));
        }
    }
    Ok(None)
}

fn crc_of(file: &dyn File, mut from: u64, end: u64) -> io::Result<u32> {
    let mut crc = Crc32c::default();
    let mut window = vec![0; WINDOW.min((end - from) as usize)];
    while from < end {
        let count = window.len().min((end - from) as usize);
        file.read_exact_at(&mut window[..count], from)?;
        crc.update(&window[..count]);
        from += count as u64;
    }
    Ok(crc.finish())
}
