//! Whether the two indexes of a segment agree with its batches.
//!
//! Both are walked beside the log: entries rise, so the next one to meet is always known. Of each file
//! the first fault is told, for what follows it is not believed either.

use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::Offset;
use millstream_protocol::records::BatchHeader;

use crate::derived::read_small;
use crate::digest::FileDigest;
use crate::index::IndexEntry;
use crate::names;
use crate::offset_index::OffsetEntry;
use crate::segment::time_of;
use crate::time_index::TimeEntry;

/// The entries of one index file, and the first that is wrong.
struct Entries<E> {
    path: PathBuf,
    digest: FileDigest,
    entries: Vec<E>,
    /// The next one to meet.
    at: usize,
    fault: Option<(u64, String)>,
}

/// Both indexes of one segment.
pub(crate) struct IndexCheck {
    base: Offset,
    offsets: Entries<OffsetEntry>,
    times: Entries<TimeEntry>,
    largest: Option<i64>,
    /// Batches were left out: entries about them cannot be judged.
    is_behind_hole: bool,
}

impl IndexCheck {
    pub(crate) fn load(disk: &dyn Disk, directory: &Path, base: Offset) -> IndexCheck {
        IndexCheck {
            base,
            offsets: Entries::load(disk, directory, base),
            times: Entries::load(disk, directory, base),
            largest: None,
            is_behind_hole: false,
        }
    }

    /// Length and checksum of the time index's file.
    pub(crate) fn time_index(&self) -> FileDigest {
        self.times.digest
    }

    pub(crate) fn note_hole(&mut self) {
        self.is_behind_hole = true;
    }

    pub(crate) fn note_batch(&mut self, position: u64, header: &BatchHeader) {
        let last_offset = header.last_offset();
        let base = self.base.0;
        let offset_of = |relative: i32| base + i64::from(relative);
        if std::mem::take(&mut self.is_behind_hole) {
            self.offsets.skip(|e| u64::from(e.position) < position);
            self.times
                .skip(|e| offset_of(e.relative_offset) < header.base_offset);
        }
        if let Some(entry) = self.offsets.peek() {
            let at = u64::from(entry.position);
            let found = offset_of(entry.relative_offset);
            if at < position {
                self.offsets
                    .fail(format!("points at byte {at}, where no batch begins"));
            } else if at == position && found != last_offset {
                self.offsets.fail(format!(
                    "says {found} of the batch at byte {at}, which ends with offset {last_offset}"
                ));
            } else if at == position {
                self.offsets.at += 1;
            }
        }
        if let Some(entry) = self.times.peek() {
            let offset = offset_of(entry.relative_offset);
            let timestamp = entry.timestamp;
            let is_first = self.largest.is_none_or(|largest| largest < timestamp);
            if offset < last_offset {
                self.times
                    .fail(format!("names offset {offset}, with which no batch ends"));
            } else if offset == last_offset && timestamp != time_of(header) {
                let max = time_of(header);
                self.times.fail(format!(
                    "says {timestamp} of the batch that ends with offset {offset}, whose largest timestamp is {max}"
                ));
            } else if offset == last_offset && !is_first {
                self.times.fail(format!(
                    "says {timestamp} of offset {offset}, but a batch before it has as much"
                ));
            } else if offset == last_offset {
                self.times.at += 1;
            }
        }
        let time = time_of(header);
        if time >= 0 {
            self.largest = self.largest.max(Some(time));
        }
    }

    /// The segment ends. Answers the faults: file, position, what. A segment that is complete has its
    /// largest timestamp as last entry.
    pub(crate) fn finish(mut self, is_complete: bool) -> Vec<(PathBuf, Option<u64>, String)> {
        if !self.is_behind_hole {
            let behind = "is about what is not in the segment";
            if self.offsets.peek().is_some() {
                self.offsets.fail(behind.to_owned());
            }
            if self.times.peek().is_some() {
                self.times.fail(behind.to_owned());
            }
            let last = self.times.entries.last().map(|entry| entry.timestamp);
            if is_complete && last < self.largest {
                let largest = self.largest.unwrap_or_default();
                self.times.at = self.times.entries.len();
                self.times.fail(format!(
                    "is missing: the segment's largest timestamp is {largest}"
                ));
            }
        }
        let faults = [
            (self.offsets.path, self.offsets.fault),
            (self.times.path, self.times.fault),
        ];
        let found = faults
            .into_iter()
            .filter_map(|(path, fault)| fault.map(|(position, what)| (path, Some(position), what)));
        found.collect()
    }
}

impl<E: IndexEntry> Entries<E> {
    fn load(disk: &dyn Disk, directory: &Path, base: Offset) -> Entries<E> {
        let path = names::offset_file(directory, base, E::EXTENSION);
        let mut loaded = Entries {
            entries: Vec::new(),
            at: 0,
            fault: None,
            digest: FileDigest::default(),
            path,
        };
        let bytes = match read_small(disk, &loaded.path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => {
                loaded.fault = Some((0, "the file is missing, or far too large".to_owned()));
                return loaded;
            }
            Err(error) => {
                loaded.fault = Some((0, format!("the file cannot be read: {error}")));
                return loaded;
            }
        };
        loaded.digest = FileDigest::of(&bytes);
        for (number, entry) in bytes.chunks_exact(E::BYTES).map(E::read).enumerate() {
            let rises = match loaded.entries.last() {
                Some(last) => entry.rises_over(last),
                None => entry.is_plausible(),
            };
            if !rises {
                let position = (number * E::BYTES) as u64;
                let what = format!("entry {number} does not rise over the one before");
                loaded.fault = Some((position, what));
                return loaded;
            }
            loaded.entries.push(entry);
        }
        let rest = bytes.len() % E::BYTES;
        if rest > 0 {
            let position = (bytes.len() - rest) as u64;
            loaded.fault = Some((position, format!("{rest} bytes are less than an entry")));
        }
        loaded
    }

    /// The next entry to meet; none once something is wrong.
    fn peek(&self) -> Option<E> {
        match self.fault {
            Some(_) => None,
            None => self.entries.get(self.at).copied(),
        }
    }

    fn skip(&mut self, goes: impl Fn(&E) -> bool) {
        while self.entries.get(self.at).is_some_and(&goes) {
            self.at += 1;
        }
    }

    fn fail(&mut self, what: String) {
        let number = self.at;
        let position = (number * E::BYTES) as u64;
        self.fault
            .get_or_insert((position, format!("entry {number} {what}")));
    }
}
