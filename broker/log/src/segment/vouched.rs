//! What vouches for a segment where its batches cannot: its digest, and what this process has written.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::{Segment, is_cold, time_of};
use crate::derived::read_small;
use crate::digest::{Digest, FileDigest};
use crate::scan::{Found, Scan};
use crate::time_index::TimeEntry;
use crate::{LogConfig, LogPlace, ReadError, names};

impl Segment {
    /// Forgets that these bytes were checked: they were found to be damaged since.
    pub(crate) fn forget_verified(&self, range: &Range<u64>) {
        self.lock().verified.remove(range);
    }

    /// The segment's digest, if there is one that is about it. *Bounds*: the segment is sealed.
    pub(crate) fn digest(&self, place: &LogPlace) -> Option<Arc<Digest>> {
        self.cached_digest(place).unwrap_or_default()
    }

    /// As [`Segment::digest`]. *Errors*: it would have had to wait for the disk, and was not to.
    fn cached_digest(&self, place: &LogPlace) -> io::Result<Option<Arc<Digest>>> {
        if let Some(known) = &self.lock().digest {
            return Ok(known.clone());
        }
        let path = self.path(place, names::DIGEST);
        let read = match Digest::read(place, &path) {
            Err(error) if is_cold(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "digest cannot be read");
                None
            }
            Ok(read) => read,
        };
        let range = self.base..self.end;
        let read = read.filter(|digest| digest.is_about(place, &range, self.size));
        Ok(self.set_digest(read.map(Arc::new)))
    }

    /// Takes a digest for the segment's, and answers it. `None`: there is none.
    pub(crate) fn set_digest(&self, digest: Option<Arc<Digest>>) -> Option<Arc<Digest>> {
        self.lock().digest = Some(digest.clone());
        digest
    }

    /// Compares the blocks that some bytes lie in with the digest, once. Only where there may be gaps:
    /// elsewhere the batches' neighbours tell as much. Without a digest there is nothing to compare.
    pub(crate) fn check_blocks(
        &self,
        place: &LogPlace,
        bytes: Range<u64>,
    ) -> Result<(), ReadError> {
        if !self.may_have_gaps || self.is_verified(&bytes) {
            return Ok(());
        }
        let digest = self.cached_digest(place);
        let Some(digest) = digest.map_err(|source| self.io(place, source))? else {
            return Ok(());
        };
        let file = self.file(place).map_err(|source| self.io(place, source))?;
        for number in digest.blocks_of(&bytes) {
            let range = digest.block(number);
            if self.is_verified(&range) {
                continue;
            }
            let is_whole = digest.is_whole(&*file, number);
            if !is_whole.map_err(|source| self.io(place, source))? {
                let what = format!("the bytes up to {} do not fit their digest", range.end);
                return Err(self.damaged(place, range.start, what));
            }
            self.note_verified(range);
        }
        Ok(())
    }

    /// A digest vouches for the time index too, which was written anew.
    pub(super) fn digest_again(&self, place: &LogPlace, fresh: &mut Segment) -> io::Result<()> {
        let Some(old) = self.digest(place) else {
            return Ok(());
        };
        let time_index = fresh.time_index_digest().unwrap_or_default();
        if old.time_index == time_index && old.largest == fresh.inner().largest.flatten() {
            return Ok(());
        }
        let new = Digest {
            time_index,
            largest: fresh.inner().largest.flatten(),
            ..(*old).clone()
        };
        new.replace(place)?;
        self.set_digest(Some(Arc::new(new)));
        Ok(())
    }

    /// Length and checksum of the time index's file, if this process has written all of it.
    pub(crate) fn time_index_digest(&self) -> Option<FileDigest> {
        let inner = self.lock();
        inner.times.digest().filter(|_| !inner.times.has_pending())
    }

    /// Whether a batch behind that of the last entry contradicts it: entries are missing. What is damaged
    /// there contradicts nothing.
    pub(super) fn has_larger_behind(
        &self,
        place: &LogPlace,
        config: &LogConfig,
        last: TimeEntry,
    ) -> Result<bool, ReadError> {
        let Some(found) = self.find(place, config, self.offset_at(last))? else {
            return Ok(false);
        };
        let io = |source| self.io(place, source);
        let file = self.file(place).map_err(io)?;
        let scan = Scan::checked(&*file, found.position, self.size);
        let mut scan = scan.with_gaps(self.may_have_gaps, self.end);
        loop {
            match scan.next().map_err(io)? {
                Found::Batch(header) if time_of(&header) > last.timestamp => return Ok(true),
                Found::Batch(_) => {}
                Found::End | Found::Invalid(_) => return Ok(false),
            }
        }
    }

    /// Compares the time index with what vouches for it, once: the digest, or what this process has
    /// written. An entry says that none before it has as large a timestamp, which no batch confirms.
    pub(super) fn are_times_right(&self, place: &LogPlace) -> io::Result<bool> {
        let inner = self.lock();
        if inner.times_checked || inner.times.has_pending() {
            return Ok(true);
        }
        drop(inner);
        let written = self.time_index_digest();
        let vouched = written.or_else(|| self.digest(place).map(|digest| digest.time_index));
        let Some(vouched) = vouched else {
            return Ok(true);
        };
        let bytes = read_small(&*place.disk, &self.path(place, names::TIME_INDEX))?;
        let is_right = bytes.is_some_and(|bytes| FileDigest::of(&bytes) == vouched);
        self.lock().times_checked = is_right;
        Ok(is_right)
    }
}
