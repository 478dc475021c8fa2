//! The sealed segments that a pass of compaction reads, a chunk at a time.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use millstream_env::File;
use millstream_model::Offset;
use millstream_protocol::records::BatchHeader;

use crate::digest::Digest;
use crate::scan::{Found, Scan};
use crate::{CompactionError, LogPlace, ReadError, names};

/// Bytes that are read in one step. A batch is read whole, however large.
const CHUNK_BYTES: u64 = 1 << 20;

/// A sealed segment, as it was when the pass began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub base: Offset,
    pub end: Offset,
    pub size: u64,
    pub offset_index_bytes: usize,
    pub time_index_bytes: usize,
    pub may_have_gaps: bool,
}

/// How far a source is read.
pub(crate) struct Cursor {
    /// The number of the source.
    pub source: usize,
    position: u64,
    next: Offset,
    file: Option<Arc<dyn File>>,
    /// The source's digest, if it has one that is about it.
    digest: Option<Digest>,
    /// Blocks that fit it, from the first on.
    blocks_checked: usize,
}

/// What reading a chunk came to.
pub(crate) struct ChunkRead {
    pub bytes: u64,
    pub is_at_end: bool,
}

impl Cursor {
    /// The beginning of a source.
    pub(crate) fn at(number: usize, source: &Source) -> Cursor {
        Cursor {
            source: number,
            position: 0,
            next: source.base,
            file: None,
            digest: None,
            blocks_checked: 0,
        }
    }

    /// Reads whole batches and hands them to `visit` with their positions, until it answers `false`.
    /// *Errors*: the source was taken out of the log, is damaged, or cannot be read.
    pub(crate) fn read(
        &mut self,
        place: &LogPlace,
        source: &Source,
        mut visit: impl FnMut(u64, &BatchHeader, &[u8]) -> Result<bool, CompactionError>,
    ) -> Result<ChunkRead, CompactionError> {
        let path = names::offset_file(&place.directory, source.base, names::LOG);
        let failed = |source| {
            let path = path.clone();
            CompactionError::Read(ReadError::Io { path, source })
        };
        let file = match &self.file {
            // What retention has taken out meanwhile is shortened some day.
            Some(file) => place.disk.length(&path).map(|_| Arc::clone(file)),
            None => place.disk.open(&path, false),
        };
        let file = match file {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(CompactionError::TakenOut { base: source.base });
            }
            Err(error) => return Err(failed(error)),
        };
        if self.file.is_none() {
            self.digest = read_digest(place, source).map_err(failed)?;
            self.file = Some(Arc::clone(&file));
        }
        let start = self.position;
        let mut scan = Scan::checked(&*file, start, source.size)
            .expecting(self.next)
            .with_gaps(source.may_have_gaps, source.end);
        let mut is_at_end = false;
        while self.position - start < CHUNK_BYTES {
            match scan.next().map_err(failed)? {
                Found::Batch(header) => {
                    // What is wrong must not be written anew, with a digest that makes it right.
                    let read = self.position..scan.position();
                    let checked = check_blocks(
                        &*file,
                        self.digest.as_ref(),
                        &mut self.blocks_checked,
                        &read,
                    );
                    if let Some(position) = checked.map_err(failed)? {
                        let what = "the bytes do not fit their digest".to_owned();
                        return Err(damaged(place, source, position, what));
                    }
                    let batch = scan.last_batch(header.size_in_bytes());
                    is_at_end = !visit(self.position, &header, batch)?;
                    self.next = Offset(header.next_offset());
                    self.position = scan.position();
                }
                Found::End if self.next == source.end => is_at_end = true,
                Found::End => {
                    let what = format!("ends at offset {}, not at {}", self.next, source.end);
                    return Err(damaged(place, source, self.position, what));
                }
                Found::Invalid(what) => return Err(damaged(place, source, self.position, what)),
            }
            if is_at_end {
                break;
            }
        }
        Ok(ChunkRead {
            bytes: self.position - start,
            is_at_end,
        })
    }
}

fn read_digest(place: &LogPlace, source: &Source) -> io::Result<Option<Digest>> {
    let path = names::offset_file(&place.directory, source.base, names::DIGEST);
    let digest = Digest::read(place, &path)?;
    let range = source.base..source.end;
    Ok(digest.filter(|digest| digest.is_about(place, &range, source.size)))
}

/// Compares the blocks that `read` lies in with the digest, each once. Answers where one begins that does
/// not fit.
fn check_blocks(
    file: &dyn File,
    digest: Option<&Digest>,
    checked: &mut usize,
    read: &Range<u64>,
) -> io::Result<Option<u64>> {
    let Some(digest) = digest else {
        return Ok(None);
    };
    while *checked < digest.blocks_of(read).end {
        if !digest.is_whole(file, *checked)? {
            return Ok(Some(digest.block(*checked).start));
        }
        *checked += 1;
    }
    Ok(None)
}

pub(crate) fn damaged(
    place: &LogPlace,
    source: &Source,
    position: u64,
    what: String,
) -> CompactionError {
    CompactionError::Read(ReadError::Damaged {
        path: names::offset_file(&place.directory, source.base, names::LOG),
        position,
        what,
    })
}
