//! What recovery cuts off the end of a log.
//!
//! Bytes after the first incomplete batch were never acknowledged under `fsync`. Still, where whole
//! batches stand behind it, they may be worth something to somebody: they are kept aside as
//! `<base>.log.cut-<offset>`, and nothing reads that file again.

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::File;
use millstream_model::Offset;
use millstream_protocol::records::{BatchHeader, HEADER_SIZE, check_crc};

use crate::{LogPlace, names};

/// A cut that recovery made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment file.
    pub path: PathBuf,
    /// Where it ends now.
    pub position: u64,
    /// The log's end now, exclusive.
    pub offset: Offset,
    /// Bytes that were cut, in this and all later segments.
    pub bytes: u64,
    /// What was wrong there.
    pub why: String,
    /// Files that keep what was cut; empty when it held no whole batch.
    pub kept_aside: Vec<PathBuf>,
}

/// Bytes looked at or copied at once.
const CHUNK: usize = 1 << 20;
/// Bytes whose checksums are computed at most in the search for whole batches. A producer may send
/// records that look like the beginnings of batches; past this, one is taken to be there.
const SEARCH_BYTES_MAX: u64 = 256 << 20;

/// Cuts a segment file at `position`, and puts it and the later segments' files aside where they hold
/// whole batches. The later segments' names are free afterwards.
pub(crate) fn cut(
    place: &LogPlace,
    file: &dyn File,
    path: &Path,
    position: u64,
    offset: Offset,
    why: String,
    later: &[(Offset, u64)],
) -> io::Result<Cut> {
    let length = file.length()?;
    let mut cut = Cut {
        path: path.to_owned(),
        position,
        offset,
        bytes: length.saturating_sub(position),
        why,
        kept_aside: Vec::new(),
    };
    if find_whole_batch(file, position, length, offset)?.is_some() {
        let aside = aside_name(path, offset);
        copy(place, file, position, length, &aside)?;
        cut.kept_aside.push(aside);
    }
    for (base, size) in later {
        cut.bytes += size;
        let path = names::offset_file(&place.directory, *base, names::LOG);
        let file = place.disk.open(&path, false)?;
        if find_whole_batch(&*file, 0, *size, offset)?.is_some() {
            let aside = aside_name(&path, offset);
            place.disk.rename(&path, &aside)?;
            cut.kept_aside.push(aside);
        }
    }
    file.truncate(position)?;
    Ok(cut)
}

fn aside_name(path: &Path, offset: Offset) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".cut-{offset}"));
    PathBuf::from(name)
}

fn copy(place: &LogPlace, file: &dyn File, from: u64, to: u64, target: &Path) -> io::Result<()> {
    let copy = place.disk.open(target, true)?;
    copy.truncate(0)?;
    let mut chunk = vec![0; CHUNK];
    let mut position = from;
    while position < to {
        let size = (to - position).min(CHUNK as u64) as usize;
        file.read_exact_at(&mut chunk[..size], position)?;
        copy.write_all_at(&chunk[..size], position - from)?;
        position += size as u64;
    }
    copy.sync_data()
}

/// Where the first batch of an offset from `offset` on stands whole in these bytes. After so many checksums
/// the first place that looks like one is answered unchecked.
pub(crate) fn find_whole_batch(
    file: &dyn File,
    from: u64,
    to: u64,
    offset: Offset,
) -> io::Result<Option<u64>> {
    let mut window = vec![0; CHUNK + HEADER_SIZE];
    let mut searched = 0;
    let mut start = from;
    while start < to {
        let size = (to - start).min(window.len() as u64) as usize;
        file.read_exact_at(&mut window[..size], start)?;
        for at in 0..size.saturating_sub(HEADER_SIZE - 1).min(CHUNK) {
            // The magic is looked at first: it throws out nearly everything.
            if window[at + 16] != 2 {
                continue;
            }
            let Ok(header) = BatchHeader::read(&window[at..size]) else {
                continue;
            };
            let position = start + at as u64;
            if !may_be_whole(&header, to - position, offset) {
                continue;
            }
            let mut batch = vec![0; header.size_in_bytes()];
            file.read_exact_at(&mut batch, position)?;
            searched += batch.len() as u64;
            if check_crc(&batch).is_ok() || searched > SEARCH_BYTES_MAX {
                return Ok(Some(position));
            }
        }
        start += CHUNK as u64;
    }
    Ok(None)
}

fn may_be_whole(header: &BatchHeader, left: u64, offset: Offset) -> bool {
    header.size_in_bytes() as u64 <= left
        && header.base_offset >= offset.0
        && header.record_count > 0
}
