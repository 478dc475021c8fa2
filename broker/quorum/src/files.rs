//! The files of the metadata log: their names, their headers, and how a file is put in place whole.
//!
//! `<metadata directory>/__millstream_metadata/` holds
//! - `<20 digits>.log`: proposals from the index that its name gives. One, or for a moment two.
//! - `<20 digits>.snapshot`: the state after the index that its name gives. None or one, for a moment
//!   two.
//! - `*.tmp`: a file of either kind that was not finished; removed at the next start.
//!
//! The name of the directory differs from that of Kafka's own metadata log, which is another format.
//!
//! Header of a log, big-endian:
//!
//! | offset | size | name | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `MSMETLOG` |
//! | 8 | 2 | version | of the format, 1 |
//! | 10 | 2 | | zero |
//! | 12 | 8 | first index | of its first entry; as in its name |
//! | 20 | 8 | term | of the entry before the first |
//! | 28 | 4 | crc | CRC-32 (IEEE) of bytes 0…27 |
//!
//! Header of a snapshot, followed by its payload:
//!
//! | offset | size | name | meaning |
//! | --- | --- | --- | --- |
//! | 0 | 8 | magic | `MSMETSNP` |
//! | 8 | 2 | version | of the format, 1 |
//! | 10 | 2 | | zero |
//! | 12 | 8 | last index | of the last entry it contains; as in its name |
//! | 20 | 8 | term | of that entry |
//! | 28 | 8 | length | of the payload |
//! | 36 | 4 | crc | CRC-32 (IEEE) of bytes 0…35 and the payload |

use std::io;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use millstream_env::{Disk, File};

use crate::error::OpenError;

/// The directory of the metadata log, inside the metadata directory.
pub const DIRECTORY_NAME: &str = "__millstream_metadata";

/// The version of both files' formats.
pub const FORMAT_VERSION: u16 = 1;

pub(crate) const LOG_HEADER_SIZE: usize = 32;
const SNAPSHOT_HEADER_SIZE: usize = 40;
const LOG_MAGIC: &[u8; 8] = b"MSMETLOG";
const SNAPSHOT_MAGIC: &[u8; 8] = b"MSMETSNP";

/// Bytes of a snapshot at most.
pub const SNAPSHOT_MAX: usize = 1 << 30;

/// What the directory holds, by the numbers in the names, ascending.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) logs: Vec<u64>,
    pub(crate) snapshots: Vec<u64>,
    pub(crate) unfinished: Vec<PathBuf>,
}

pub(crate) fn log_path(directory: &Path, first_index: u64) -> PathBuf {
    directory.join(format!("{first_index:020}.log"))
}

pub(crate) fn snapshot_path(directory: &Path, last_index: u64) -> PathBuf {
    directory.join(format!("{last_index:020}.snapshot"))
}

/// Lists the directory; an absent one is empty. Names that are not ours are left alone.
pub(crate) fn list(disk: &dyn Disk, directory: &Path) -> io::Result<Listing> {
    let entries = match disk.list(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Listing::default()),
        Err(error) => return Err(error),
    };
    let mut listing = Listing::default();
    for entry in entries.into_iter().filter(|entry| !entry.is_directory) {
        let name = entry.path.file_name().and_then(|name| name.to_str());
        let Some((stem, kind)) = name.and_then(|name| name.rsplit_once('.')) else {
            continue;
        };
        match (kind, number(stem)) {
            ("log", Some(first_index)) => listing.logs.push(first_index),
            ("snapshot", Some(last_index)) => listing.snapshots.push(last_index),
            ("tmp", _) => listing.unfinished.push(entry.path),
            _ => {}
        }
    }
    listing.logs.sort_unstable();
    listing.snapshots.sort_unstable();
    Ok(listing)
}

fn number(stem: &str) -> Option<u64> {
    let is_number = stem.len() == 20 && stem.bytes().all(|b| b.is_ascii_digit());
    if is_number { stem.parse().ok() } else { None }
}

/// Puts a file in place so that after a crash it is there whole or not at all.
pub(crate) fn write_whole(
    disk: &dyn Disk,
    path: &Path,
    parts: &[&[u8]],
) -> Result<(), WriteWholeError> {
    let unplaced = |source| WriteWholeError {
        is_in_place: false,
        source,
    };
    let temporary = path.with_extension("tmp");
    let directory = path.parent().expect("a file of a directory");
    let file = disk.open(&temporary, true).map_err(unplaced)?;
    write_parts(&*file, parts).map_err(unplaced)?;
    drop(file);
    let in_place = |source| WriteWholeError {
        is_in_place: true,
        source,
    };
    disk.rename(&temporary, path).map_err(in_place)?;
    disk.sync_directory(directory).map_err(in_place)
}

/// Why a file could not be put in place.
#[derive(Debug)]
pub(crate) struct WriteWholeError {
    /// Whether it may be there all the same.
    pub(crate) is_in_place: bool,
    pub(crate) source: io::Error,
}

fn write_parts(file: &dyn File, parts: &[&[u8]]) -> io::Result<()> {
    // A temporary file of an earlier attempt may be longer.
    file.truncate(0)?;
    let mut position = 0;
    for part in parts {
        file.write_all_at(part, position)?;
        position += part.len() as u64;
    }
    file.sync_data()
}

/// The header of a log.
pub(crate) fn log_header(first_index: u64, term: u64) -> Bytes {
    let mut out = BytesMut::with_capacity(LOG_HEADER_SIZE);
    out.put_slice(LOG_MAGIC);
    out.put_u16(FORMAT_VERSION);
    out.put_u16(0);
    out.put_u64(first_index);
    out.put_u64(term);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

/// Reads a log's header and answers the term before its first entry.
pub(crate) fn read_log_header(
    file: &dyn File,
    path: &Path,
    first_index: u64,
) -> Result<u64, OpenError> {
    let mut header = [0; LOG_HEADER_SIZE];
    read_header(file, path, &mut header, LOG_MAGIC)?;
    let crc = u32::from_be_bytes(header[28..32].try_into().expect("4 bytes"));
    if crc32fast::hash(&header[..28]) != crc {
        return Err(OpenError::damaged(
            path,
            0,
            "the header's checksum is wrong",
        ));
    }
    if u64_at(&header, 12) != first_index {
        let reason = "its name and its header give different first indexes";
        return Err(OpenError::damaged(path, 12, reason));
    }
    Ok(u64_at(&header, 20))
}

fn read_header(
    file: &dyn File,
    path: &Path,
    header: &mut [u8],
    magic: &[u8; 8],
) -> Result<(), OpenError> {
    let count = file
        .read_at(header, 0)
        .map_err(|source| OpenError::io(path, source))?;
    if count < header.len() || header[..8] != *magic {
        return Err(OpenError::damaged(
            path,
            0,
            "it does not begin with its header",
        ));
    }
    // The version comes before the checksum: a newer header may have another shape.
    let version = u16::from_be_bytes([header[8], header[9]]);
    if version != FORMAT_VERSION {
        return Err(OpenError::UnknownFormat {
            path: path.to_path_buf(),
            version,
            supported: FORMAT_VERSION,
        });
    }
    Ok(())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// The state after an index.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) last_index: u64,
    pub(crate) term: u64,
    pub(crate) payload: Bytes,
}

/// The header of a snapshot.
pub(crate) fn snapshot_header(last_index: u64, term: u64, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(SNAPSHOT_HEADER_SIZE);
    out.put_slice(SNAPSHOT_MAGIC);
    out.put_u16(FORMAT_VERSION);
    out.put_u16(0);
    out.put_u64(last_index);
    out.put_u64(term);
    out.put_u64(payload.len() as u64);
    let mut crc = crc32fast::Hasher::new();
    crc.update(&out);
    crc.update(payload);
    out.put_u32(crc.finalize());
    out.freeze()
}

/// Reads a snapshot and checks all of it.
pub(crate) fn read_snapshot(
    disk: &dyn Disk,
    directory: &Path,
    last_index: u64,
) -> Result<Snapshot, OpenError> {
    let path = &snapshot_path(directory, last_index);
    let io = |source| OpenError::io(path, source);
    let file = disk.open(path, false).map_err(io)?;
    let mut header = [0; SNAPSHOT_HEADER_SIZE];
    read_header(&*file, path, &mut header, SNAPSHOT_MAGIC)?;
    let length = u64_at(&header, 28);
    let available = file
        .length()
        .map_err(io)?
        .saturating_sub(SNAPSHOT_HEADER_SIZE as u64);
    if length != available || length > SNAPSHOT_MAX as u64 {
        let reason = "its length is not the one in its header";
        return Err(OpenError::damaged(path, 28, reason));
    }
    let mut payload = vec![0; length as usize];
    file.read_exact_at(&mut payload, SNAPSHOT_HEADER_SIZE as u64)
        .map_err(io)?;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..36]);
    crc.update(&payload);
    if crc.finalize().to_be_bytes() != header[36..40] {
        return Err(OpenError::damaged(path, 36, "its checksum is wrong"));
    }
    if u64_at(&header, 12) != last_index {
        let reason = "its name and its header give different last indexes";
        return Err(OpenError::damaged(path, 12, reason));
    }
    Ok(Snapshot {
        last_index,
        term: u64_at(&header, 20),
        payload: Bytes::from(payload),
    })
}
