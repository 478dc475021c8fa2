//! Putting a compacted segment in the place of those it was made from, so that a crash at any step
//! leaves the old ones or the new one.
//!
//! ```text
//!   0  <base>.log.cleaned, its indexes and its digest are written and synced
//!   1  `compaction` names base and end of what is replaced                    ─ durable: the new one counts
//!   2  <base>.log gets a second name, <base>.digest goes, <base>.log.cleaned ─► <base>.log, then the others,
//!      and in memory, under the log's lock                                    ─ the directory is synced
//!   3  the other old segments are renamed away, under the lock                ─ the directory is synced
//!      all old segments go later, that of the second name too
//!   4  `compaction` names nothing, or what is replaced next
//! ```
//!
//! A directory keeps unsynced names in any mixture, and even a rename may lose both of its names, so
//! each step is durable before the next. A start that finds a replacement under way goes on with it:
//! if `<base>.log.cleaned` is there, it is whole, for it was synced before step 1. If it is not, then
//! `<base>.log` is the new one or the first of the old ones, and its last offset tells which: before
//! step 3 all old ones are there. That retention takes old segments out meanwhile, from the first on,
//! changes none of this: a new one that comes back begins before the log's start and goes with it.
//!
//! The second name is for the time that it takes: a file system frees the blocks of a file as its last name goes,
//! some 25 ms for 100 MB, and would do so under the log's lock.
//!
//! Old and new segment may have one range and one length, so their digests could be taken for each other's.
//! A start that ends a replacement therefore keeps a digest only if every block fits it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_env::File;
use millstream_model::{Offset, WallTime};

use super::file::{CompactionFile, NOTHING};
use crate::digest::Digest;
use crate::listing::{remove_if_there, remove_segment};
use crate::segment::Segment;
use crate::{LogConfig, LogPlace, ReadError, names};

/// The name of a file of a compacted segment before it replaces others.
pub(crate) fn cleaned_file(place: &LogPlace, base: Offset, extension: &str) -> PathBuf {
    let extension = format!("{extension}.{}", names::CLEANED);
    names::offset_file(&place.directory, base, &extension)
}

/// Removes a compacted segment that does not replace anything.
pub(crate) fn remove_cleaned(place: &LogPlace, base: Offset) -> io::Result<()> {
    let others = [names::OFFSET_INDEX, names::TIME_INDEX, names::DIGEST];
    for extension in [names::LOG].into_iter().chain(others) {
        remove_if_there(place, &cleaned_file(place, base, extension))?;
    }
    Ok(())
}

/// A compacted segment that has its place.
pub(crate) struct InPlace {
    /// Whether its digest has its name.
    pub(crate) has_digest: bool,
    /// The log file that was there, to be removed later. `None`: it is gone.
    pub(crate) replaced: Option<PathBuf>,
}

/// Gives the files of a compacted segment their names. That an index cannot be renamed is only logged:
/// the one that is there is wrong, and found to be.
pub(crate) fn rename_cleaned(place: &LogPlace, base: Offset) -> io::Result<InPlace> {
    let rename = |extension| {
        let to = names::offset_file(&place.directory, base, extension);
        place
            .disk
            .rename(&cleaned_file(place, base, extension), &to)
    };
    // The old segment's digest must not be found beside the new one.
    let digest = names::offset_file(&place.directory, base, names::DIGEST);
    remove_if_there(place, &digest)?;
    let replaced = keep_replaced(place, base);
    if let Err(error) = rename(names::LOG) {
        if let Some(path) = replaced {
            remove_if_there(place, &path)?;
        }
        return Err(error);
    }
    let mut has_digest = false;
    for extension in [names::OFFSET_INDEX, names::TIME_INDEX, names::DIGEST] {
        let renamed = rename(extension);
        has_digest = renamed.is_ok();
        if let Err(error) = renamed {
            let directory = place.directory.display();
            tracing::warn!(%directory, segment = base.0, extension, %error, "file of a compacted segment is not in place");
        }
    }
    Ok(InPlace {
        has_digest,
        replaced,
    })
}

/// Gives the log file that is about to be replaced another name. `None`: the one that was replaced before it is not
/// removed yet, or the file system cannot. Then it goes at once.
fn keep_replaced(place: &LogPlace, base: Offset) -> Option<PathBuf> {
    let log = names::offset_file(&place.directory, base, names::LOG);
    let kept = log.with_extension(format!("{}.replaced.{}", names::LOG, names::DELETED));
    let linked = place.disk.link(&log, &kept);
    linked.is_ok().then_some(kept)
}

/// Ends a replacement that was under way when the process ended. Answers what is known of the log's
/// compaction; `None` when the file that says it is damaged.
pub(crate) fn settle(
    place: &LogPlace,
    config: &LogConfig,
    now: WallTime,
) -> io::Result<Option<CompactionFile>> {
    let Some(mut known) = CompactionFile::read(place)? else {
        let directory = place.directory.display();
        tracing::warn!(%directory, "compaction file is damaged: the log is compacted from its start");
        return Ok(None);
    };
    if known.replaced.is_empty() {
        return Ok(Some(known));
    }
    let Offset(base) = known.replaced.start;
    let replacement = Replacement {
        place,
        config,
        known: &known,
        now,
    };
    let is_replaced = replacement.take_cleaned()? || replacement.is_in_place()?;
    replacement.keep_digest_that_fits()?;
    place.disk.sync_directory(&place.directory)?;
    if is_replaced {
        replacement.remove_old()?;
        place.disk.sync_directory(&place.directory)?;
    }
    let directory = place.directory.display();
    tracing::info!(%directory, segment = base, is_replaced, "replacement by compaction ended");
    known.replaced = NOTHING;
    known.write(place)?;
    place.disk.sync_directory(&place.directory)?;
    Ok(Some(known))
}

struct Replacement<'a> {
    place: &'a LogPlace,
    config: &'a LogConfig,
    known: &'a CompactionFile,
    now: WallTime,
}

impl Replacement<'_> {
    /// Puts the compacted segment in place, if it is there.
    fn take_cleaned(&self) -> io::Result<bool> {
        let base = self.known.replaced.start;
        let cleaned = cleaned_file(self.place, base, names::LOG);
        let file = match self.place.disk.open(&cleaned, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if !self.index_if_whole(file)? {
            return Ok(false);
        }
        let log = names::offset_file(&self.place.directory, base, names::LOG);
        self.place.disk.rename(&cleaned, &log)?;
        Ok(true)
    }

    /// Of the digests that the segment may have, keeps the one that is about it.
    fn keep_digest_that_fits(&self) -> io::Result<()> {
        let base = self.known.replaced.start;
        let kept = names::offset_file(&self.place.directory, base, names::DIGEST);
        let cleaned = cleaned_file(self.place, base, names::DIGEST);
        let log = names::offset_file(&self.place.directory, base, names::LOG);
        for path in [&cleaned, &kept] {
            let Some(digest) = Digest::read(self.place, path)? else {
                continue;
            };
            match self.place.disk.open(&log, false) {
                Ok(file) if digest.fits(&*file)? => {
                    return match *path == kept {
                        true => Ok(()),
                        false => self.place.disk.rename(path, &kept),
                    };
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        remove_if_there(self.place, &kept)
    }

    /// Whether the compacted segment is in place already.
    fn is_in_place(&self) -> io::Result<bool> {
        let base = self.known.replaced.start;
        let log = names::offset_file(&self.place.directory, base, names::LOG);
        match self.place.disk.open(&log, false) {
            Ok(file) => self.index_if_whole(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a file holds batches up to the end of what is replaced. If so, its indexes are written:
    /// those on disk may be an old segment's.
    fn index_if_whole(&self, file: Arc<dyn File>) -> io::Result<bool> {
        let range = self.known.replaced.clone();
        let base = range.start;
        let segment = Segment::sealed(range, file.length()?, (0, 0), self.now).with_gaps(true);
        // What is there may be the digest of an old segment.
        segment.set_digest(None);
        match segment.rebuild_indexes(self.place, self.config, &*file) {
            Ok(()) => {}
            Err(ReadError::Io { source, .. }) => return Err(source),
            Err(_) => return Ok(false),
        }
        for extension in [names::OFFSET_INDEX, names::TIME_INDEX] {
            let path = names::offset_file(&self.place.directory, base, extension);
            self.place.disk.open(&path, true)?.sync_data()?;
        }
        Ok(true)
    }

    /// Removes the segments that began within the new one.
    fn remove_old(&self) -> io::Result<()> {
        let range = &self.known.replaced;
        for entry in self.place.disk.list(&self.place.directory)? {
            let inside = |base: &Offset| range.start < *base && *base < range.end;
            if let Some(base) = names::offset_of(&entry.path, names::LOG).filter(inside) {
                remove_segment(self.place, base)?;
            }
        }
        Ok(())
    }
}
