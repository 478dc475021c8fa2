//! What the two indexes of a segment share: a file of fixed entries that rise, appended to by plain
//! writes.
//!
//! Entries that are not in the file yet wait in memory and are written a few at a time; those in the
//! file are not kept in memory but looked up by binary search. Index files are never preallocated:
//! the length says how many entries there are. An index is a hint. What it says is checked against
//! the log before it is used, and a wrong one is built again.

use std::io;
use std::path::Path;
use std::sync::Arc;

use millstream_env::{Disk, File};

use crate::digest::FileDigest;

/// An entry of an index.
pub(crate) trait IndexEntry: Copy {
    /// Its size in the file.
    const BYTES: usize;
    /// The extension of the file's name.
    const EXTENSION: &'static str;

    /// Appends the entry's bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads an entry. *Bounds*: `bytes` has [`IndexEntry::BYTES`] bytes.
    fn read(bytes: &[u8]) -> Self;
    /// Whether it may stand behind `last`.
    fn rises_over(&self, last: &Self) -> bool;
    /// Whether it may stand at the beginning.
    fn is_plausible(&self) -> bool;
}

/// Entries that wait in memory at most before they are written.
const PENDING_MAX: usize = 64;
/// Bytes of the file that a look-up reads at once at its end.
const LOOKUP_BYTES: usize = 4096;

/// One index of one segment.
#[derive(Debug)]
pub(crate) struct Index<E> {
    in_file: u32,
    pending: Vec<E>,
    /// The last entry of all, once known.
    last: Option<E>,
    /// Of the entries in the file; `None` when some were not written by this process.
    digest: Option<FileDigest>,
}

impl<E: IndexEntry> Index<E> {
    /// An index without entries.
    pub(crate) fn empty() -> Index<E> {
        Index {
            in_file: 0,
            pending: Vec::new(),
            last: None,
            digest: Some(FileDigest::default()),
        }
    }

    /// The index of a sealed segment whose file has this length; nothing is read yet.
    pub(crate) fn sealed(file_length: u64) -> Index<E> {
        Index {
            in_file: u32::try_from(file_length / E::BYTES as u64).unwrap_or(u32::MAX),
            digest: None,
            ..Index::empty()
        }
    }

    /// Reads the whole file of an active segment and keeps the entries up to the first that does not
    /// rise or that `is_valid` refuses. What follows it is overwritten later.
    pub(crate) fn load(
        disk: &dyn Disk,
        path: &Path,
        length: u64,
        is_valid: impl Fn(&E) -> bool,
    ) -> io::Result<Index<E>> {
        let mut index = Index::empty();
        if length < E::BYTES as u64 {
            return Ok(index);
        }
        let file = disk.open(path, false)?;
        let mut chunk = vec![0; 1024 * E::BYTES];
        let mut position = 0;
        loop {
            let read = file.read_at(&mut chunk, position)?;
            for bytes in chunk[..read].chunks_exact(E::BYTES) {
                let entry = E::read(bytes);
                let rises = match &index.last {
                    Some(last) => entry.rises_over(last),
                    None => entry.is_plausible(),
                };
                if !rises || !is_valid(&entry) {
                    return Ok(index);
                }
                index.last = Some(entry);
                index.in_file += 1;
                index.digest = None;
            }
            if read < chunk.len() {
                return Ok(index);
            }
            position += read as u64;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.in_file as usize + self.pending.len()
    }

    /// Whether entries wait to be written.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether so many wait that they should be written now.
    pub(crate) fn is_pending_full(&self) -> bool {
        self.pending.len() >= PENDING_MAX
    }

    pub(crate) fn push(&mut self, entry: E) {
        debug_assert!(self.last.is_none_or(|last| entry.rises_over(&last)));
        self.pending.push(entry);
        self.last = Some(entry);
    }

    /// Length and checksum of the file, if this process has written each of its entries.
    pub(crate) fn digest(&self) -> Option<FileDigest> {
        self.digest
    }

    /// The last entry, as far as it is in memory: always for an active segment.
    pub(crate) fn last_known(&self) -> Option<E> {
        self.last
    }

    /// Writes what waits, cuts what the file has beyond it, and answers the file.
    pub(crate) fn persist(&mut self, disk: &dyn Disk, path: &Path) -> io::Result<Arc<dyn File>> {
        let file = disk.open(path, true)?;
        let start = u64::from(self.in_file) * E::BYTES as u64;
        let mut bytes = Vec::with_capacity(self.pending.len() * E::BYTES);
        for entry in &self.pending {
            entry.write(&mut bytes);
        }
        let end = start + bytes.len() as u64;
        if file.length()? > end {
            file.truncate(end)?;
        }
        file.write_all_at(&bytes, start)?;
        self.in_file += self.pending.len() as u32;
        self.digest = self.digest.map(|digest| digest.and(&bytes));
        self.pending = Vec::new();
        Ok(file)
    }

    /// The entry with this number.
    fn entry(&self, file: Option<&dyn File>, number: usize) -> io::Result<E> {
        if let Some(pending) = number.checked_sub(self.in_file as usize) {
            return Ok(self.pending[pending]);
        }
        let file = file.ok_or(io::ErrorKind::NotFound)?;
        // The largest entry has 12 bytes.
        let mut bytes = [0; 16];
        file.read_exact_at(&mut bytes[..E::BYTES], (number * E::BYTES) as u64)?;
        Ok(E::read(&bytes[..E::BYTES]))
    }

    /// The last entry for which `is_before` holds, when it holds for a prefix.
    pub(crate) fn floor(
        &self,
        disk: &dyn Disk,
        path: &Path,
        is_before: impl Fn(&E) -> bool,
    ) -> io::Result<Option<E>> {
        let first_pending = self.pending.first().copied();
        if first_pending.is_some_and(|entry| is_before(&entry)) {
            let count = self.pending.partition_point(is_before);
            return Ok(Some(self.pending[count - 1]));
        }
        if self.in_file == 0 {
            return Ok(None);
        }
        let file = disk.open(path, false)?;
        let (mut low, mut high) = (0, self.in_file as usize);
        // `is_before` holds below `low` and not from `high` on.
        while (high - low) * E::BYTES > LOOKUP_BYTES {
            let middle = low + (high - low) / 2;
            if is_before(&self.entry(Some(&*file), middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let first = low.saturating_sub(1);
        let mut bytes = vec![0; (high - first) * E::BYTES];
        file.read_exact_at(&mut bytes, (first * E::BYTES) as u64)?;
        let entries = bytes.chunks_exact(E::BYTES).map(E::read);
        Ok(entries.take_while(|entry| is_before(entry)).last())
    }

    /// The last entry, read from the file if it must be.
    pub(crate) fn last(&self, disk: &dyn Disk, path: &Path) -> io::Result<Option<E>> {
        if self.last.is_some() || self.in_file == 0 {
            return Ok(self.last);
        }
        let file = disk.open(path, false)?;
        self.entry(Some(&*file), self.in_file as usize - 1)
            .map(Some)
    }
}
