//! One segment: a `.log` file with its two indexes.
//!
//! ```text
//!   .log        [batch][batch][batch][batch][batch] …      size: the end of the last batch
//!   .index           └──────────── every index.interval.bytes or so
//!   .timeindex       └──────────── where the largest timestamp rose
//! ```
//!
//! The last segment of a log is active and grows; the others are sealed and never change. Files are
//! opened when they are needed. Everything a reader may have to load or build again stands behind one
//! small lock, so that reading needs no exclusive access.

mod vouched;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream_env::File;
use millstream_model::{Offset, WallTime};
use millstream_protocol::records::BatchHeader;

use crate::digest::Digest;
use crate::index::{Index, IndexEntry};
use crate::offset_index::OffsetEntry;
use crate::scan::{Found, Scan};
use crate::time_index::TimeEntry;
use crate::verified::VerifiedRanges;
use crate::{LogConfig, LogPlace, ReadError, names};

/// One segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    pub size: u64,
    /// The largest timestamp of the first batch, which a roll by time counts from.
    pub first_timestamp: Option<i64>,
    /// What was walked by headers alone when the log was opened. Look-ups check it before they go by
    /// what those headers said.
    pub walked: Range<u64>,
    /// When it was created or opened, which a roll counts from where records have no timestamps.
    pub created: WallTime,
    /// Whether compaction may have taken batches out, so that there may be gaps between offsets. Even
    /// then the last batch ends at the segment's end.
    pub may_have_gaps: bool,
    /// Whether its file of checksums is there.
    pub digested: Digested,
    /// Where its last batch begins, once one was walked or written.
    pub last_batch: u64,
    inner: Mutex<Inner>,
}

/// What is known of a segment's digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Digested {
    /// It has none yet.
    #[default]
    No,
    /// It has one.
    Yes,
    /// It has none, and gets none until all segments are looked at again: it is damaged, or the disk
    /// refused.
    Refused,
}

struct Inner {
    file: Option<Arc<dyn File>>,
    offsets: Index<OffsetEntry>,
    times: Index<TimeEntry>,
    /// The largest timestamp of the segment. `None`: not known yet.
    largest: Option<Option<TimeEntry>>,
    verified: VerifiedRanges,
    /// The digest, if there is one. `None`: not known yet.
    digest: Option<Option<Arc<Digest>>>,
    /// Whether the time index was compared with what vouches for it.
    times_checked: bool,
    /// Whether the checksums of what was walked when the log was opened have been compared.
    is_walk_checked: bool,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner")
            .field("offsets", &self.offsets)
            .field("times", &self.times)
            .field("largest", &self.largest)
            .finish_non_exhaustive()
    }
}

/// A batch and where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Located {
    pub position: u64,
    pub header: BatchHeader,
}

impl Segment {
    fn new(base: Offset, end: Offset, size: u64, now: WallTime, inner: Inner) -> Segment {
        Segment {
            base,
            end,
            size,
            first_timestamp: None,
            walked: 0..0,
            created: now,
            may_have_gaps: false,
            digested: Digested::No,
            last_batch: 0,
            inner: Mutex::new(inner),
        }
    }

    /// Creates an empty segment. What a crash left under its names is cut.
    pub(crate) fn create(place: &LogPlace, base: Offset, now: WallTime) -> io::Result<Segment> {
        for extension in [names::OFFSET_INDEX, names::TIME_INDEX] {
            let path = names::offset_file(&place.directory, base, extension);
            place.disk.open(&path, true)?.truncate(0)?;
        }
        let path = names::offset_file(&place.directory, base, names::LOG);
        let file = place.disk.open(&path, true)?;
        if file.length()? > 0 {
            file.truncate(0)?;
        }
        let inner = Inner {
            file: Some(file),
            offsets: Index::empty(),
            times: Index::empty(),
            largest: Some(None),
            verified: VerifiedRanges::default(),
            digest: None,
            times_checked: false,
            is_walk_checked: false,
        };
        Ok(Segment::new(base, base, 0, now, inner))
    }

    /// A segment that is found on disk without a record. Nothing is opened yet.
    pub(crate) fn found_empty(base: Offset, now: WallTime) -> Segment {
        let mut segment = Segment::sealed(base..base, 0, (0, 0), now);
        segment.inner().largest = Some(None);
        segment
    }

    /// Marks a segment that compaction may have rewritten.
    pub(crate) fn with_gaps(mut self, may_have_gaps: bool) -> Segment {
        self.may_have_gaps = may_have_gaps;
        self
    }

    /// A sealed segment as it is found on disk. Nothing is read yet.
    pub(crate) fn sealed(
        range: Range<Offset>,
        size: u64,
        index_lengths: (u64, u64),
        now: WallTime,
    ) -> Segment {
        let inner = Inner {
            file: None,
            offsets: Index::sealed(index_lengths.0),
            times: Index::sealed(index_lengths.1),
            largest: None,
            verified: VerifiedRanges::default(),
            digest: None,
            times_checked: false,
            is_walk_checked: false,
        };
        Segment::new(range.start, range.end, size, now, inner)
    }

    /// A segment that recovery is about to walk: its indexes as far as they were loaded.
    pub(crate) fn loaded(
        base: Offset,
        now: WallTime,
        file: Arc<dyn File>,
        offsets: Index<OffsetEntry>,
        times: Index<TimeEntry>,
    ) -> Segment {
        let inner = Inner {
            file: Some(file),
            offsets,
            largest: Some(times.last_known()),
            times,
            verified: VerifiedRanges::default(),
            digest: None,
            times_checked: false,
            is_walk_checked: false,
        };
        Segment::new(base, base, 0, now, inner)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under this lock leaves at worst an index that is checked before it is used.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&mut self) -> &mut Inner {
        self.inner.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn path(&self, place: &LogPlace, extension: &str) -> PathBuf {
        names::offset_file(&place.directory, self.base, extension)
    }

    pub(crate) fn log_path(&self, place: &LogPlace) -> PathBuf {
        self.path(place, names::LOG)
    }

    /// The `.log` file, opened if it is not.
    pub(crate) fn file(&self, place: &LogPlace) -> io::Result<Arc<dyn File>> {
        let mut inner = self.lock();
        if let Some(file) = &inner.file {
            return Ok(Arc::clone(file));
        }
        let file = place.disk.open(&self.log_path(place), false)?;
        inner.file = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Closes the file. Only when none of its bytes wait to be synced: closing would lose the error
    /// of a failed write-back.
    pub(crate) fn close_file(&mut self) {
        self.inner().file = None;
        self.inner().digest = None;
    }

    /// Its files are elsewhere from now on: those that are open are closed, and nothing that was read counts
    /// as checked.
    pub(crate) fn forget_files(&mut self) {
        self.close_file();
        let inner = self.inner();
        inner.verified = VerifiedRanges::default();
        inner.times_checked = false;
    }

    /// Whether a batch must go to a new segment (Kafka's `LogSegment.shouldRoll`).
    pub(crate) fn must_roll(
        &mut self,
        config: &LogConfig,
        size: usize,
        max_timestamp: i64,
        last_offset: Offset,
        now: WallTime,
    ) -> bool {
        if self.size == 0 {
            return false;
        }
        let waited = match self.first_timestamp {
            Some(first) if first >= 0 => max_timestamp.saturating_sub(first),
            _ => now.0.saturating_sub(self.created.0),
        };
        let index_bytes = config.segment_index_bytes as usize;
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.size + size as u64 > config.segment_bytes_max()
            || waited > config.segment_ms_of(self.base)
            || inner.offsets.len() >= index_bytes / OffsetEntry::BYTES
            || inner.times.len() + 1 >= index_bytes / TimeEntry::BYTES
            || last_offset.0 - self.base.0 > i64::from(i32::MAX)
    }

    /// Notes a batch that was written at the end, or found there by recovery.
    pub(crate) fn note_batch(&mut self, header: &BatchHeader, config: &LogConfig) {
        let position = self.size;
        let relative_offset = (header.last_offset() - self.base.0) as i32;
        let timestamp = time_of(header);
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let largest = inner.largest.get_or_insert(None);
        if timestamp >= 0 && largest.is_none_or(|largest| timestamp > largest.timestamp) {
            *largest = Some(TimeEntry {
                timestamp,
                relative_offset,
            });
        }
        let last_position = inner
            .offsets
            .last_known()
            .map_or(0, |entry| entry.position.into());
        if position - last_position > u64::from(config.index_interval_bytes) {
            inner.offsets.push(OffsetEntry {
                relative_offset,
                position: position as u32,
            });
            inner.push_largest();
        }
        if self.size == 0 {
            self.first_timestamp = Some(timestamp);
        }
        self.last_batch = self.size;
        self.size += header.size_in_bytes() as u64;
        self.end = Offset(header.next_offset());
    }

    /// Whether a batch shows that the last entry of the time index is wrong: the batch the entry is
    /// about has that timestamp, those before it have smaller ones.
    pub(crate) fn contradicts_time_index(&mut self, header: &BatchHeader) -> bool {
        let base = self.base.0;
        let Some(last) = self.inner().times.last_known() else {
            return false;
        };
        let at = base + i64::from(last.relative_offset);
        match header.last_offset() {
            offset if offset < at => time_of(header) >= last.timestamp,
            offset if offset == at => time_of(header) != last.timestamp,
            _ => header.base_offset <= at,
        }
    }

    /// Notes that these bytes have been checked, or were written just now.
    pub(crate) fn note_verified(&self, range: Range<u64>) {
        self.lock().verified.add(range);
    }

    pub(crate) fn is_verified(&self, range: &Range<u64>) -> bool {
        self.lock().verified.contains(range)
    }

    /// The largest timestamp of the first batch; `None` when it has none.
    pub(crate) fn first_timestamp(&self, place: &LogPlace) -> Result<Option<i64>, ReadError> {
        let io = |source| self.io(place, source);
        let file = self.file(place).map_err(io)?;
        match self.headers(&*file, 0).next().map_err(io)? {
            Found::Batch(header) => Ok(Some(time_of(&header)).filter(|timestamp| *timestamp >= 0)),
            Found::End => Ok(None),
            Found::Invalid(what) => Err(self.damaged(place, 0, what)),
        }
    }

    /// Adds the last time index entry, as a sealed or closed segment has it. Not where it may come from a
    /// damaged header: agreeing with each other, the two would have retention delete what is not old.
    pub(crate) fn complete_time_index(&mut self, place: &LogPlace) {
        match self.check_walked(place) {
            Ok(()) => self.inner().push_largest(),
            Err(error) => tracing::error!(%error, "the time index is left incomplete"),
        }
    }

    /// The largest timestamp, as far as it is in memory: always for a segment that is being written.
    pub(crate) fn largest_known(&self) -> Option<TimeEntry> {
        self.lock().largest.flatten()
    }

    /// How many entries the two indexes have.
    pub(crate) fn index_entries(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.offsets.len(), inner.times.len())
    }

    /// Whether index entries should be written before they are too many.
    pub(crate) fn has_many_pending_entries(&mut self) -> bool {
        self.inner().offsets.is_pending_full()
    }

    /// Whether index entries are in memory only.
    pub(crate) fn has_pending_entries(&mut self) -> bool {
        let inner = self.inner();
        inner.offsets.has_pending() || inner.times.has_pending()
    }

    /// Writes the index entries that are in memory only. Answers the two files.
    pub(crate) fn persist_indexes(&mut self, place: &LogPlace) -> io::Result<[Arc<dyn File>; 2]> {
        let offsets = self.path(place, names::OFFSET_INDEX);
        let times = self.path(place, names::TIME_INDEX);
        self.persist_indexes_at(place, &offsets, &times)
    }

    /// As [`Segment::persist_indexes`], under other names.
    pub(crate) fn persist_indexes_at(
        &mut self,
        place: &LogPlace,
        offsets: &Path,
        times: &Path,
    ) -> io::Result<[Arc<dyn File>; 2]> {
        let inner = self.inner();
        Ok([
            inner.offsets.persist(&*place.disk, offsets)?,
            inner.times.persist(&*place.disk, times)?,
        ])
    }

    fn io(&self, place: &LogPlace, source: io::Error) -> ReadError {
        ReadError::Io {
            path: self.log_path(place),
            source,
        }
    }

    fn damaged(&self, place: &LogPlace, position: u64, what: String) -> ReadError {
        ReadError::Damaged {
            path: self.log_path(place),
            position,
            what,
        }
    }

    /// The first batch that ends at or after `offset`. `None` at the end of the segment.
    pub(crate) fn find(
        &self,
        place: &LogPlace,
        config: &LogConfig,
        offset: Offset,
    ) -> Result<Option<Located>, ReadError> {
        let io = |source| self.io(place, source);
        let file = self.file(place).map_err(io)?;
        let mut scan = self.scan_from_floor(place, config, &*file, offset)?;
        let start = scan.position();
        loop {
            let position = scan.position();
            match scan.next().map_err(io)? {
                Found::Batch(header) if header.last_offset() >= offset.0 => {
                    let position = scan.last_start().unwrap_or(position);
                    // A wrong base offset may have led past the batch that was looked for.
                    self.check_blocks(place, start..scan.position())?;
                    return Ok(Some(Located { position, header }));
                }
                Found::Batch(_) => {}
                Found::End => return Ok(None),
                Found::Invalid(what) => return Err(self.damaged(place, position, what)),
            }
        }
    }

    /// Begins to walk at the place the index says. A wrong index is built again.
    pub(crate) fn scan_from_floor<'a>(
        &self,
        place: &LogPlace,
        config: &LogConfig,
        file: &'a dyn File,
        offset: Offset,
    ) -> Result<Scan<'a>, ReadError> {
        let path = self.path(place, names::OFFSET_INDEX);
        let is_before = |entry: &OffsetEntry| {
            i64::from(entry.relative_offset) < offset.0.saturating_sub(self.base.0)
        };
        let floor = self.lock().offsets.floor(&*place.disk, &path, is_before);
        match floor {
            Ok(None) => {}
            Ok(Some(entry)) => match self.scan_from_entry(file, entry) {
                Ok(Some(scan)) => return Ok(scan),
                Err(error) if is_cold(&error) => return Err(self.io(place, error)),
                Ok(None) | Err(_) => self.rebuild_after_look_up(place, config, file),
            },
            Err(error) if is_cold(&error) => return Err(self.io(place, error)),
            Err(_) => self.rebuild_after_look_up(place, config, file),
        }
        Ok(self.headers(file, 0).expecting(self.base))
    }

    /// A walk over headers from a position on. A damaged length does not hide what follows.
    fn headers<'a>(&self, file: &'a dyn File, position: u64) -> Scan<'a> {
        Scan::headers(file, position, self.size)
            .with_gaps(self.may_have_gaps, self.end)
            .mending(None)
    }

    /// Begins to walk behind the batch of an index entry, if it stands there.
    fn scan_from_entry<'a>(
        &self,
        file: &'a dyn File,
        entry: OffsetEntry,
    ) -> io::Result<Option<Scan<'a>>> {
        let position = u64::from(entry.position);
        if position >= self.size {
            return Ok(None);
        }
        let last_offset = self.base.0 + i64::from(entry.relative_offset);
        let mut scan = self.headers(file, position);
        Ok(match scan.next()? {
            Found::Batch(header) if header.last_offset() == last_offset => Some(scan),
            _ => None,
        })
    }

    /// Writes the indexes of a sealed segment anew.
    pub(crate) fn rebuild_wrong_indexes(&self, place: &LogPlace, config: &LogConfig) {
        match self.file(place) {
            Ok(file) => self.rebuild_after_look_up(place, config, &*file),
            Err(error) => tracing::error!(%error, "index is kept as it is"),
        }
    }

    /// A look-up goes on without its index: what is damaged is found by the walk that follows.
    fn rebuild_after_look_up(&self, place: &LogPlace, config: &LogConfig, file: &dyn File) {
        self.warn_of_rebuild(place);
        match self.rebuild_indexes(place, config, file) {
            Ok(()) => {}
            // The look-up comes again.
            Err(ReadError::Io { source, .. }) if is_cold(&source) => {}
            Err(error) => tracing::error!(%error, "index is kept as it is"),
        }
    }

    fn warn_of_rebuild(&self, place: &LogPlace) {
        tracing::warn!(segment = %self.log_path(place).display(), "index is wrong and built again");
    }

    /// Walks the segment, with all its checksums, and writes its indexes anew. That they cannot be written is only logged: the
    /// log can be read without them. *Errors*: the walk does not reach the segment's end. The old
    /// indexes stay then, for they still lead to what lies behind the damage.
    pub(crate) fn rebuild_indexes(
        &self,
        place: &LogPlace,
        config: &LogConfig,
        file: &dyn File,
    ) -> Result<(), ReadError> {
        self.check_blocks(place, 0..self.size)?;
        let mut fresh = Segment::sealed(self.base..self.base, 0, (0, 0), self.created);
        let mut scan = self.headers(file, 0).checking().expecting(self.base);
        loop {
            let position = scan.position();
            match scan.next().map_err(|source| self.io(place, source))? {
                Found::Batch(header) => fresh.note_batch(&header, config),
                Found::End => break,
                Found::Invalid(what) => return Err(self.damaged(place, position, what)),
            }
        }
        if fresh.end != self.end {
            let what = format!("batches end at {}, expected {}", fresh.end, self.end);
            return Err(self.damaged(place, fresh.size, what));
        }
        fresh.complete_time_index(place);
        if let Err(error) = fresh
            .persist_indexes(place)
            .and_then(|_| self.digest_again(place, &mut fresh))
        {
            let segment = self.log_path(place);
            tracing::warn!(segment = %segment.display(), %error, "index cannot be written");
        }
        let fresh = fresh.inner.into_inner();
        let fresh = fresh.unwrap_or_else(PoisonError::into_inner);
        let mut inner = self.lock();
        inner.offsets = fresh.offsets;
        inner.times = fresh.times;
        inner.largest = fresh.largest;
        inner.times_checked = true;
        Ok(())
    }

    /// Checks the checksums of what was only walked when the log was opened, once.
    fn check_walked(&self, place: &LogPlace) -> Result<(), ReadError> {
        if self.walked.is_empty() || self.lock().is_walk_checked {
            return Ok(());
        }
        let io = |source| self.io(place, source);
        let file = self.file(place).map_err(io)?;
        let scan = Scan::checked(&*file, self.walked.start, self.walked.end);
        let mut scan = scan.with_gaps(self.may_have_gaps, self.end);
        loop {
            let position = scan.position();
            match scan.next().map_err(io)? {
                Found::Batch(_) => {}
                Found::End => break,
                Found::Invalid(what) => return Err(self.damaged(place, position, what)),
            }
        }
        // Not verified: whoever reads a batch also compares its leader epoch, which no checksum covers.
        self.lock().is_walk_checked = true;
        Ok(())
    }

    /// The largest timestamp of the segment, with the last offset of the first batch that has it.
    /// `None` when no record has a timestamp.
    pub(crate) fn largest_timestamp(
        &self,
        place: &LogPlace,
        config: &LogConfig,
    ) -> Result<Option<(WallTime, Offset)>, ReadError> {
        self.check_walked(place)?;
        let known = self.lock().largest;
        let largest = match known {
            Some(largest) => largest,
            None => self.load_largest_timestamp(place, config)?,
        };
        Ok(largest.map(|entry| (WallTime(entry.timestamp), self.offset_at(entry))))
    }

    fn offset_at(&self, entry: TimeEntry) -> Offset {
        self.base.plus(entry.relative_offset.into())
    }

    fn load_largest_timestamp(
        &self,
        place: &LogPlace,
        config: &LogConfig,
    ) -> Result<Option<TimeEntry>, ReadError> {
        if let Some(digest) = self.digest(place) {
            self.lock().largest = Some(digest.largest);
            return Ok(digest.largest);
        }
        let path = self.path(place, names::TIME_INDEX);
        let last = self.lock().times.last(&*place.disk, &path);
        if let Ok(Some(entry)) = last
            && self.is_entry_of_batch(place, config, &entry)
            && !self.has_larger_behind(place, config, entry)?
        {
            self.lock().largest = Some(Some(entry));
            return Ok(Some(entry));
        }
        let io = |source| self.io(place, source);
        let file = self.file(place).map_err(io)?;
        self.warn_of_rebuild(place);
        self.rebuild_indexes(place, config, &*file)?;
        Ok(self.lock().largest.flatten())
    }

    /// The offset from which on to look for a timestamp: no batch before it has one as large. The entry
    /// that says so must be that of a batch; an index with a wrong one is built again.
    pub(crate) fn floor_of_timestamp(
        &self,
        place: &LogPlace,
        config: &LogConfig,
        timestamp: WallTime,
    ) -> Result<Offset, ReadError> {
        let path = self.path(place, names::TIME_INDEX);
        let is_before = |entry: &TimeEntry| entry.timestamp < timestamp.0;
        let floor = self
            .are_times_right(place)
            .and_then(|are_right| match are_right {
                true => self.lock().times.floor(&*place.disk, &path, is_before),
                false => Err(io::ErrorKind::InvalidData.into()),
            });
        match floor {
            Ok(None) => Ok(self.base),
            Ok(Some(entry)) if self.is_entry_of_batch(place, config, &entry) => {
                Ok(self.offset_at(entry).next())
            }
            Ok(Some(_)) | Err(_) => {
                let file = self.file(place).map_err(|source| self.io(place, source))?;
                self.rebuild_after_look_up(place, config, &*file);
                Ok(self.base)
            }
        }
    }

    fn is_entry_of_batch(&self, place: &LogPlace, config: &LogConfig, entry: &TimeEntry) -> bool {
        if !entry.is_plausible() {
            return false;
        }
        let offset = self.offset_at(*entry);
        let found = self.find(place, config, offset);
        found.ok().flatten().is_some_and(|found| {
            found.header.last_offset() == offset.0 && found.header.max_timestamp == entry.timestamp
        })
    }
}

/// Whether a read failed because it was not to wait for the disk: nothing follows from that.
fn is_cold(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

/// The largest timestamp of a batch's records; −1 when there is none. Compaction leaves the timestamp
/// in a batch whose records it took out.
pub(crate) fn time_of(header: &BatchHeader) -> i64 {
    match header.record_count {
        0 => -1,
        _ => header.max_timestamp,
    }
}

impl Inner {
    fn push_largest(&mut self) {
        let Some(Some(largest)) = self.largest else {
            return;
        };
        let rises = match self.times.last_known() {
            Some(last) => largest.rises_over(&last),
            None => true,
        };
        if rises {
            self.times.push(largest);
        }
    }
}
