//! What recovery cuts off the end of a log.
//!
//! Bytes after the first incomplete batch were never acknowledged under `fsync`. Still, where whole
//! batches stand behind it, they may be worth something to somebody: they are kept aside as
//! `<base>.log.cut-<offset>`, and nothing reads that file again.
//!
//! That needs room for a copy. Where there is none, the bytes stay where they are, behind the log's end: it is
//! read up to there, and takes no appends until the cut could be made. Throwing them away to make room would
//! lose them for a reason that may be gone in a minute; not opening the log would lose all of it meanwhile.

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::File;
use millstream_model::Offset;
use millstream_protocol::records::{BatchHeader, HEADER_SIZE, check_crc};

use crate::listing::remove_segment;
use crate::{Log, LogPlace, names};

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

/// A cut that is to be made: a segment file ends at `position`, and the segments after it go.
#[derive(Debug)]
pub(crate) struct UnfinishedCut {
    pub path: PathBuf,
    pub position: u64,
    /// The log's end.
    pub offset: Offset,
    pub why: String,
    /// Bytes that go, in all files.
    pub bytes: u64,
    /// Base offset and size of the segments after it.
    pub later: Vec<(Offset, u64)>,
}

impl UnfinishedCut {
    /// Puts aside what is behind the end, in this and the later segments' files, where it holds whole batches,
    /// and cuts it off. The later segments' names are free afterwards; nothing of it is synced. May be called
    /// again after an error.
    pub(crate) fn finish(&self, place: &LogPlace, file: &dyn File) -> io::Result<Cut> {
        let length = file.length()?;
        let mut cut = Cut {
            path: self.path.clone(),
            position: self.position,
            offset: self.offset,
            bytes: self.bytes,
            why: self.why.clone(),
            kept_aside: Vec::new(),
        };
        if find_whole_batch(file, self.position, length, self.offset)?.is_some() {
            let aside = aside_name(&self.path, self.offset);
            if let Err(error) = copy(place, file, self.position, length, &aside) {
                // Half of it is worth nothing, and its room is.
                let _ = place.disk.remove_file(&aside);
                return Err(error);
            }
            cut.kept_aside.push(aside);
        }
        for (base, size) in &self.later {
            let path = names::offset_file(&place.directory, *base, names::LOG);
            let file = match place.disk.open(&path, false) {
                // Put aside before.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                opened => opened?,
            };
            if find_whole_batch(&*file, 0, *size, self.offset)?.is_some() {
                let aside = aside_name(&path, self.offset);
                place.disk.rename(&path, &aside)?;
                cut.kept_aside.push(aside);
            }
        }
        file.truncate(self.position)?;
        for (base, _) in &self.later {
            remove_segment(place, *base)?;
        }
        tracing::warn!(
            path = %cut.path.display(), position = cut.position, offset = cut.offset.0,
            bytes = cut.bytes, why = %cut.why, kept_aside = cut.kept_aside.len(), "end of log cut"
        );
        Ok(cut)
    }
}

impl Log {
    /// Whether recovery has left something behind the log's end for want of room. Until it is set aside,
    /// nothing is appended.
    #[must_use]
    pub fn awaits_cut(&self) -> bool {
        self.unfinished_cut.is_some()
    }

    /// Sets aside what recovery had no room for, durably. *Errors*: there is still none, and this may be
    /// called again; or the disk failed, and the log is offline.
    pub fn finish_cut(&mut self) -> io::Result<()> {
        let Some(unfinished) = &self.unfinished_cut else {
            return Ok(());
        };
        let active = self.segments.last().expect("segment list is never empty");
        let file = active.file(&self.place)?;
        unfinished.finish(&self.place, &*file)?;
        let synced = file.sync_data();
        if let Err(error) =
            synced.and_then(|()| self.place.disk.sync_directory(&self.place.directory))
        {
            self.fail_flush();
            return Err(error);
        }
        self.unfinished_cut = None;
        Ok(())
    }
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
