//! Recovering a log: what is below the recovery point is believed, what is above is checked.
//!
//! ```text
//!                    recovery point
//!   ──────────────────────┼────────────────┬──────────
//!    durable: walked only  every checksum   the first incomplete or wrong batch:
//!    from the last index   is checked       cut here; kept aside if whole batches
//!    entry before it                        follow it
//! ```
//!
//! A power cut may leave any mixture of the unsynced writes: later ones without earlier ones, zeros,
//! halves. So the log ends at the first batch that is not whole. Below the recovery point nothing is
//! ever cut: what is wrong there is damage, and the log is not opened if its end cannot be reached.
//! Everything that was kept is synced before anybody may see it. What is above the point is read from the
//! disk, not from the page cache: after a failed sync the two differ (FAILURES.md S10).
//!
//! What compaction has rewritten was durable before, and is synced before it replaces anything. So the
//! recovery point is not before the end of gaps that the partition's `compaction` file names, gaps are
//! walked over only below it, and above it every base offset is the one that must come next.
//!
//! No checksum of a batch covers its leader epoch. Epochs never fall and lie below the one that this start
//! leads in; what the last run noted of them tells the rest (`opening_epochs.rs`).
//!
//! Indexes, producers and leader epochs are derived from batches. What is on disk of them is taken as
//! far as it fits the batches, and the rest is made again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_env::{File, is_out_of_room};
use millstream_model::{LeaderEpoch, Offset, WallTime};

use crate::cut::UnfinishedCut;
use crate::index::{Index, IndexEntry};
use crate::listing::{Listing, remove_if_there, remove_segment};
use crate::mended_length::mended_header;
use crate::offset_index::OffsetEntry;
use crate::opening_epochs::OpeningEpochs;
use crate::scan::{Found, Scan};
use crate::segment::{Digested, Segment};
use crate::time_index::TimeEntry;
use crate::{LogConfig, LogPlace, Noted, OpenError, ReadError, Recovery, names};

/// What a log that is being opened has to sync before anybody sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unsynced {
    Nothing,
    /// The bytes of its last segment.
    Bytes,
    /// These, and names in its directory.
    Names,
}

/// A log that is being opened.
pub(crate) struct Opening<'a> {
    pub place: &'a LogPlace,
    pub config: LogConfig,
    pub now: WallTime,
    pub segments: Vec<Segment>,
    pub epochs: OpeningEpochs,
    pub recovery: Recovery,
    /// Where compaction may have been, exclusive: only before it may there be gaps between offsets.
    pub gaps_end: Offset,
    /// What was kept, or cut, that may not be durable.
    pub unsynced: Unsynced,
    /// What a full disk has no room to set aside.
    pub unfinished_cut: Option<Box<UnfinishedCut>>,
}

impl Opening<'_> {
    pub(crate) fn io(&self, source: io::Error) -> OpenError {
        OpenError::Io {
            path: self.place.directory.clone(),
            source,
        }
    }

    pub(crate) fn damaged(&self, path: PathBuf, position: u64, what: String) -> OpenError {
        ReadError::Damaged {
            path,
            position,
            what,
        }
        .into()
    }

    fn log_path(&self, base: Offset) -> PathBuf {
        names::offset_file(&self.place.directory, base, names::LOG)
    }

    /// Begins a log without segments.
    pub(crate) fn begin_empty(&mut self, start: Offset) -> Result<(), OpenError> {
        let segment = Segment::create(self.place, start, self.now);
        self.segments.push(segment.map_err(|error| self.io(error))?);
        Ok(())
    }

    /// Takes the segments below the recovery point as they are, and walks the others, with the one
    /// that ends at the point. The log begins at `start`, in its first segment.
    pub(crate) fn walk(
        &mut self,
        listing: &Listing,
        noted: Noted,
        point: Offset,
        start: Offset,
    ) -> Result<(), OpenError> {
        let logs = &listing.logs;
        // Of what lies wholly before the start, retention may have taken out some.
        let holds_start = logs.partition_point(|(base, _)| *base <= start);
        let holds_point = logs.partition_point(|(base, _)| *base < point);
        let first = holds_point.max(holds_start).saturating_sub(1);
        let point = point.max(logs[first].0);
        for pair in logs[..=first].windows(2) {
            let [(base, size), (end, _)] = *pair else {
                continue;
            };
            let lengths = self.index_lengths(listing, base);
            let sealed = Segment::sealed(base..end, size, lengths, self.now);
            self.segments.push(sealed.with_gaps(base < self.gaps_end));
        }
        self.load_epochs(noted, point);
        let (base, size) = logs[first];
        let mut broken = self.walk_segment(listing, base, size, point)?;
        let mut rest = &logs[first + 1..];
        while let [(base, size), after @ ..] = rest {
            let end = self.segments.last().expect("one was walked").end;
            if *base != end {
                let gap = format!("the next segment begins at offset {base}, not at {end}");
                broken = Some(broken.unwrap_or(gap));
                break;
            }
            // What is behind the last batch of a segment that was sealed there is an append that
            // failed and was taken back, which the crash undid.
            self.seal_last()?;
            broken = self.walk_segment(listing, *base, *size, *base)?;
            rest = after;
        }
        if let Some(why) = broken {
            self.cut(why, rest)?;
        }
        self.check_epochs(point, start)?;
        self.settle_digests(listing)
    }

    /// Only sealed segments have digests. If the last one has, then the one that followed it was empty: it
    /// is begun again, for what was sealed does not change.
    fn settle_digests(&mut self, listing: &Listing) -> Result<(), OpenError> {
        let place = self.place;
        let last = self.segments.last_mut().expect("one was walked");
        let (base, end) = (last.base, last.end);
        let was_sealed = listing.digests.contains(&base) && last.digest(place).is_some();
        if was_sealed {
            self.seal_last()?;
            self.begin_empty(end)?;
            self.unsynced = Unsynced::Names;
        }
        let sealed = self.segments.len() - 1;
        for base in &listing.digests {
            let found = self.segments[..sealed].binary_search_by_key(base, |segment| segment.base);
            if let Ok(at) = found {
                self.segments[at].digested = Digested::Yes;
            } else {
                // If its name came back, it could be taken for that of a later segment.
                self.unsynced = Unsynced::Names;
                let path = names::offset_file(&place.directory, *base, names::DIGEST);
                remove_if_there(place, &path).map_err(|error| self.io(error))?;
            }
        }
        Ok(())
    }

    fn index_lengths(&self, listing: &Listing, base: Offset) -> (u64, u64) {
        let length = |extension| {
            let path = names::offset_file(&self.place.directory, base, extension);
            listing.lengths.get(&path).copied().unwrap_or(0)
        };
        (length(names::OFFSET_INDEX), length(names::TIME_INDEX))
    }

    /// Sets everything aside that lies behind a beginning that was lost, none of it durable.
    pub(crate) fn begin_again(
        &mut self,
        listing: &Listing,
        start: Offset,
    ) -> Result<(), OpenError> {
        self.begin_empty(start)?;
        let first = listing.logs[0].0;
        let why = format!("the log begins at offset {start}, but its first segment at {first}");
        self.cut(why, &listing.logs)
    }

    /// Begins at the log's start, and removes the segments before it.
    pub(crate) fn begin_after_deleted(
        &mut self,
        listing: &Listing,
        start: Offset,
    ) -> Result<(), OpenError> {
        self.segments.clear();
        self.epochs.forget();
        let removed = listing
            .logs
            .iter()
            .try_for_each(|(base, _)| remove_segment(self.place, *base));
        removed.map_err(|error| self.io(error))?;
        self.unsynced = Unsynced::Names;
        self.begin_empty(start)
    }

    /// Walks one segment: headers up to `point`, everything from there on. Answers what is wrong
    /// with what follows the last batch, if anything does.
    fn walk_segment(
        &mut self,
        listing: &Listing,
        base: Offset,
        size: u64,
        point: Offset,
    ) -> Result<Option<String>, OpenError> {
        let path = self.log_path(base);
        let file = self
            .place
            .disk
            .open(&path, false)
            .map_err(|error| self.io(error))?;
        let mut segment = self.load_segment(listing, base, size, point, &file)?;
        let mut indexed = segment.size;
        if !self.walk_trusted(&mut segment, &*file, size, point)? {
            // The indexes contradict the batches: once more without them.
            let (offsets, times) = (Index::empty(), Index::empty());
            segment = self.loaded(base, &file, offsets, times);
            indexed = 0;
            if !self.walk_trusted(&mut segment, &*file, size, point)? {
                let what = format!(
                    "offsets up to {point} were durable, but batches end at {}",
                    segment.end
                );
                return Err(self.damaged(path, segment.size, what));
            }
        }
        if segment.size < size {
            // The last process may have ended after a failed sync, whose bytes the page cache shows
            // and the disk does not have.
            file.forget_cached(segment.last_batch)
                .map_err(|error| self.io(error))?;
            self.find_tail(&mut segment, &*file, size)?;
        }
        let start = segment.size;
        segment.walked = indexed..start;
        let mut scan = Scan::checked(&*file, start, size)
            .expecting(segment.end)
            .within_epochs(self.epochs.bounds());
        let broken = loop {
            match scan.next().map_err(|error| self.io(error))? {
                Found::Batch(header) => {
                    segment.note_batch(&header, &self.config);
                    let epoch = LeaderEpoch(header.partition_leader_epoch);
                    self.epochs.note_checked(epoch, Offset(header.base_offset));
                }
                Found::End => break None,
                Found::Invalid(why) => break Some(why),
            }
        };
        self.recovery.scanned_bytes += segment.size - start;
        if segment.size > start {
            // The flush that moved the recovery point has synced the names of segments before it.
            let unsynced = match base >= point {
                true => Unsynced::Names,
                false => Unsynced::Bytes,
            };
            self.unsynced = self.unsynced.max(unsynced);
        }
        segment.note_verified(start..segment.size);
        self.segments.push(segment);
        Ok(broken)
    }

    /// Loads the index entries of batches below `point`, and places the segment's end behind the
    /// batch of the last one.
    ///
    /// Each index is a file of its own, and one may have lost its tail without the other. So offset
    /// entries count only up to the last time entry: what lies behind it is walked again.
    fn load_segment(
        &self,
        listing: &Listing,
        base: Offset,
        size: u64,
        point: Offset,
        file: &Arc<dyn File>,
    ) -> Result<Segment, OpenError> {
        let lengths = self.index_lengths(listing, base);
        let below = point.0 - base.0;
        let times = self.load_index(base, lengths.1, |entry: &TimeEntry| {
            i64::from(entry.relative_offset) < below
        });
        let timed = times.last_known();
        let offsets = self.load_index(base, lengths.0, |entry: &OffsetEntry| {
            timed.is_some_and(|timed| entry.relative_offset <= timed.relative_offset)
                && i64::from(entry.relative_offset) < below
                && u64::from(entry.position) < size
        });
        let last = offsets.last_known();
        let mut segment = self.loaded(base, file, offsets, times);
        let mut start = Scan::headers(&**file, 0, size);
        if let Found::Batch(header) = start.next().map_err(|error| self.io(error))? {
            segment.first_timestamp = Some(header.max_timestamp);
        }
        if let Some(entry) = last {
            let mut scan = Scan::headers(&**file, entry.position.into(), size);
            let found = scan.next().map_err(|error| self.io(error))?;
            let last_offset = base.0 + i64::from(entry.relative_offset);
            match found {
                Found::Batch(header)
                    if header.last_offset() == last_offset
                        && !segment.contradicts_time_index(&header) =>
                {
                    segment.last_batch = entry.position.into();
                    segment.size = scan.position();
                    segment.end = Offset(header.next_offset());
                }
                _ => {
                    let (offsets, times) = (Index::empty(), Index::empty());
                    segment = self.loaded(base, file, offsets, times);
                }
            }
        }
        Ok(segment)
    }

    fn loaded(
        &self,
        base: Offset,
        file: &Arc<dyn File>,
        offsets: Index<OffsetEntry>,
        times: Index<TimeEntry>,
    ) -> Segment {
        Segment::loaded(base, self.now, Arc::clone(file), offsets, times)
            .with_gaps(base < self.gaps_end)
    }

    /// An index that cannot be read is as good as an empty one.
    fn load_index<E: IndexEntry>(
        &self,
        base: Offset,
        length: u64,
        is_valid: impl Fn(&E) -> bool,
    ) -> Index<E> {
        let path = names::offset_file(&self.place.directory, base, E::EXTENSION);
        Index::load(&*self.place.disk, &path, length, is_valid).unwrap_or_else(|error| {
            tracing::warn!(path = %path.display(), %error, "index cannot be read");
            Index::empty()
        })
    }

    /// Walks the headers from where the index ends to the recovery point. `false` when the point
    /// cannot be reached so, or the time index contradicts a batch.
    fn walk_trusted(
        &self,
        segment: &mut Segment,
        file: &dyn File,
        size: u64,
        point: Offset,
    ) -> Result<bool, OpenError> {
        let last_start = (segment.size > 0).then_some(segment.last_batch);
        let mut scan = Scan::headers(file, segment.size, size)
            .expecting(segment.end)
            .with_gaps(segment.may_have_gaps, point)
            .mending(last_start);
        while segment.end < point {
            match scan.next().map_err(|error| self.io(error))? {
                Found::Batch(header) if segment.contradicts_time_index(&header) => {
                    return Ok(false);
                }
                Found::Batch(header) => {
                    segment.size = scan.last_start().unwrap_or(segment.size);
                    segment.note_batch(&header, &self.config);
                }
                Found::End | Found::Invalid(_) => return Ok(false),
            }
        }
        Ok(segment.end == point)
    }

    /// Where no whole batch follows the recovery point, the length of the batch before it may be damaged.
    fn find_tail(
        &self,
        segment: &mut Segment,
        file: &dyn File,
        size: u64,
    ) -> Result<(), OpenError> {
        let io = |error| self.io(error);
        let mut scan = Scan::checked(file, segment.size, size).expecting(segment.end);
        if segment.size == 0 || matches!(scan.next().map_err(io)?, Found::Batch(_)) {
            return Ok(());
        }
        let start = segment.last_batch;
        let Some(header) = mended_header(file, start, size).map_err(io)? else {
            return Ok(());
        };
        segment.size = start + header.size_in_bytes() as u64;
        Ok(())
    }

    /// Completes a segment that another one follows.
    fn seal_last(&mut self) -> Result<(), OpenError> {
        let place = self.place;
        let segment = self.segments.last_mut().expect("one was walked");
        segment.complete_time_index(place);
        let sync = |segment: &mut Segment| -> io::Result<()> {
            let indexes = segment.persist_indexes(place)?;
            let file = segment.file(place)?;
            if file.length()? > segment.size {
                file.truncate(segment.size)?;
            }
            file.sync_data()?;
            indexes.iter().try_for_each(|index| index.sync_data())?;
            segment.close_file();
            Ok(())
        };
        let synced = sync(segment);
        synced.map_err(|error| self.io(error))
    }

    /// Ends the log behind the last walked batch: cuts its segment there and puts the later ones
    /// aside.
    fn cut(&mut self, why: String, later: &[(Offset, u64)]) -> Result<(), OpenError> {
        let segment = self.segments.last().expect("one was walked");
        let file = segment.file(self.place).map_err(|error| self.io(error))?;
        let path = segment.log_path(self.place);
        let position = segment.size;
        let end = segment.end;
        let length = file.length().map_err(|error| self.io(error))?;
        let in_later: u64 = later.iter().map(|(_, size)| size).sum();
        let unfinished = UnfinishedCut {
            path,
            position,
            offset: end,
            why,
            bytes: length.saturating_sub(position) + in_later,
            later: later.to_vec(),
        };
        self.epochs.known.truncate(end);
        self.unsynced = Unsynced::Names;
        match unfinished.finish(self.place, &*file) {
            Ok(cut) => self.recovery.cut = Some(cut),
            Err(error) if is_out_of_room(&error) => {
                tracing::warn!(
                    path = %unfinished.path.display(), position, offset = end.0, why = %unfinished.why, %error,
                    "no room to set aside what is behind the end of the log: it is read, and takes nothing until there is"
                );
                self.unfinished_cut = Some(Box::new(unfinished));
            }
            Err(error) => return Err(self.io(error)),
        }
        Ok(())
    }
}
