//! Scrubbing: sealed segments are read in the background, so that what a disk has lost is known before
//! somebody needs it.
//!
//! ```text
//!   begin (lock) ─► steps of about 1 MiB (no lock) ─► complete (lock)
//!                    │ with a digest: its blocks, and only where one does not fit, batches
//!                    └ without: every batch and both indexes, and then a digest is written
//! ```
//!
//! A digest is written here and not at the roll, which happens under the lock of an append. It loses
//! nothing: as long as a segment has no gaps, all its bytes are covered, by the checksum of a batch, by the
//! base offset of the next, or by the epochs of the log. Where compaction was they are not, and it writes
//! its digests itself.
//!
//! What is found to be damaged is told by range. The next read of it checks it again and refuses it;
//! nothing is cut, and the rest is served.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_env::File;
use millstream_model::{LeaderEpoch, Offset};
use millstream_protocol::records::{BatchHeader, check_crc};

use crate::cut::find_whole_batch;
use crate::derived::read_small;
use crate::digest::{self, BLOCK_BYTES, BlockChecksums, Digest, FileDigest, partition_of};
use crate::inspect::indexes::IndexCheck;
use crate::inspect::walk::{Step, Walk};
use crate::leader_epochs::LeaderEpochs;
use crate::listing::remove_if_there;
use crate::segment::{Digested, Segment, time_of};
use crate::time_index::TimeEntry;
use crate::{Log, LogPlace, names};

/// Damaged ranges that are told apart in one segment; the last one is made longer then.
const RANGES_MAX: usize = 64;

/// A part of a segment that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRange {
    /// The segment's file.
    pub path: PathBuf,
    /// The bytes in it.
    pub bytes: Range<u64>,
    /// The offsets that are, or were, in them.
    pub offsets: Range<Offset>,
    /// What is wrong.
    pub what: String,
}

/// What is to happen after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrubStep {
    /// The next step, after a pause for so many bytes that were read.
    Worked {
        /// The bytes.
        bytes: u64,
    },
    /// [`Log::complete_scrub`].
    Finished,
}

/// What scrubbing a segment has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScrubOutcome {
    /// It is as it was written.
    Whole {
        /// Whether it got a digest.
        is_digest_new: bool,
    },
    /// It is not.
    Damaged(Vec<DamagedRange>),
    /// It is not in the log any more.
    Gone,
}

/// One sealed segment that is being read.
pub struct Scrub {
    place: LogPlace,
    base: Offset,
    end: Offset,
    size: u64,
    may_have_gaps: bool,
    epochs: LeaderEpochs,
    replacements: u32,
    /// Opened for this alone, so that what is read once does not stay in the page cache.
    file: Option<Arc<dyn File>>,
    digest: Option<Arc<Digest>>,
    stage: Stage,
    damage: Vec<DamagedRange>,
    is_index_wrong: bool,
    written: Option<Digest>,
}

enum Stage {
    Blocks { next: usize, suspects: Vec<Suspect> },
    Batches(Box<Batches>),
    Done,
}

/// A block that does not fit, and the offsets of the batches that lie in it.
struct Suspect {
    bytes: Range<u64>,
    offsets: Option<Range<Offset>>,
}

/// How far the batches are checked.
struct Batches {
    position: u64,
    /// The offset behind the last one that was whole.
    next: Offset,
    /// Whether something damaged lies between that one and the position: it had one offset at least.
    is_behind_damage: bool,
    checksums: BlockChecksums,
    indexes: IndexCheck,
    largest: Option<TimeEntry>,
    suspects: Vec<Suspect>,
}

impl Batches {
    /// The offset that the next one has at least.
    fn least(&self) -> Offset {
        self.next.plus(i64::from(self.is_behind_damage))
    }
}

impl Log {
    /// The first sealed segment that begins behind `after` and is durable, to be scrubbed: with `only_new`
    /// one that has no digest yet. Nothing is read yet.
    #[must_use]
    pub fn begin_scrub(&self, after: Option<Offset>, only_new: bool) -> Option<Scrub> {
        if self.is_offline {
            return None;
        }
        let sealed = self.segments_before_start()..self.segments.len() - 1;
        let segment = self.segments[sealed].iter().find(|segment| {
            after.is_none_or(|after| segment.base > after)
                && segment.end <= self.flushed_offset
                && (!only_new || segment.digested == Digested::No)
        })?;
        Some(Scrub {
            base: segment.base,
            end: segment.end,
            size: segment.size,
            may_have_gaps: segment.may_have_gaps,
            epochs: self.epochs.clone(),
            replacements: self.replacements,
            digest: None,
            place: self.place.clone(),
            file: None,
            stage: Stage::Blocks {
                next: 0,
                suspects: Vec::new(),
            },
            damage: Vec::new(),
            is_index_wrong: false,
            written: None,
        })
    }

    /// Takes over what was found. A segment that was replaced or taken out meanwhile is left alone.
    pub fn complete_scrub(&mut self, scrub: Scrub) -> ScrubOutcome {
        let sealed = self.segments.len() - 1;
        let found = self.segments[..sealed].binary_search_by_key(&scrub.base, |one| one.base);
        let is_same = |segment: &Segment| {
            (segment.end, segment.size) == (scrub.end, scrub.size)
                && self.replacements == scrub.replacements
        };
        let found = found.ok().filter(|at| is_same(&self.segments[*at]));
        let Some(at) = found.filter(|_| !self.is_offline) else {
            scrub.abandon();
            return ScrubOutcome::Gone;
        };
        let segment = &mut self.segments[at];
        if !scrub.damage.is_empty() {
            if scrub.digest.is_none() {
                segment.digested = Digested::Refused;
            }
            for range in &scrub.damage {
                let start = range.bytes.start / BLOCK_BYTES * BLOCK_BYTES;
                let end = range.bytes.end.next_multiple_of(BLOCK_BYTES);
                segment.forget_verified(&(start..end));
            }
            return ScrubOutcome::Damaged(scrub.damage);
        }
        let is_digest_new = scrub.written.is_some();
        if let Some(digest) = scrub.written {
            let from = digest::temporary_path(&self.place, scrub.base);
            let to = segment.path(&self.place, names::DIGEST);
            if let Err(error) = self.place.disk.rename(&from, &to) {
                tracing::warn!(path = %to.display(), %error, "digest is not in place");
                segment.digested = Digested::Refused;
                return ScrubOutcome::Whole {
                    is_digest_new: false,
                };
            }
            segment.set_digest(Some(Arc::new(digest)));
            segment.digested = Digested::Yes;
            // A digest that is lost is written again: its name goes with the next flush.
            self.dirty.note_renamed();
        }
        if scrub.is_index_wrong {
            segment.rebuild_wrong_indexes(&self.place, &self.config);
        }
        ScrubOutcome::Whole { is_digest_new }
    }
}

impl Scrub {
    /// The base offset of the segment.
    #[must_use]
    pub fn base(&self) -> Offset {
        self.base
    }

    fn log_path(&self) -> PathBuf {
        names::offset_file(&self.place.directory, self.base, names::LOG)
    }

    /// Reads on by about a MiB. *Errors*: the disk did not read, or the segment is gone. The scrub is over
    /// then, and is to be given to [`Scrub::abandon`].
    pub fn step(&mut self) -> io::Result<ScrubStep> {
        let file = match &self.file {
            Some(file) => {
                // What retention has taken out meanwhile is shortened some day.
                self.place.disk.length(&self.log_path())?;
                Arc::clone(file)
            }
            None => {
                self.digest = self.read_digest()?.map(Arc::new);
                Arc::new(ReadOnce(self.place.disk.open(&self.log_path(), false)?))
            }
        };
        self.file = Some(Arc::clone(&file));
        match std::mem::replace(&mut self.stage, Stage::Done) {
            Stage::Blocks { next, suspects } => self.check_block(&*file, next, suspects),
            Stage::Batches(batches) => self.check_batches(&*file, *batches),
            Stage::Done => Ok(ScrubStep::Finished),
        }
    }

    fn read_digest(&self) -> io::Result<Option<Digest>> {
        let path = names::offset_file(&self.place.directory, self.base, names::DIGEST);
        let range = self.base..self.end;
        let digest = Digest::read(&self.place, &path)?;
        Ok(digest.filter(|digest| digest.is_about(&self.place, &range, self.size)))
    }

    /// Removes what was not brought into the log.
    pub fn abandon(self) {
        let path = digest::temporary_path(&self.place, self.base);
        if self.written.is_some()
            && let Err(error) = remove_if_there(&self.place, &path)
        {
            tracing::warn!(path = %path.display(), %error, "file could not be removed");
        }
    }

    fn check_block(
        &mut self,
        file: &dyn File,
        next: usize,
        mut suspects: Vec<Suspect>,
    ) -> io::Result<ScrubStep> {
        let Some(digest) = self.digest.clone() else {
            self.begin_batches(suspects);
            return Ok(ScrubStep::Worked { bytes: 0 });
        };
        if next == digest.blocks.len() {
            if !suspects.is_empty() {
                self.begin_batches(suspects);
                return Ok(ScrubStep::Worked { bytes: 0 });
            }
            let path = names::offset_file(&self.place.directory, self.base, names::TIME_INDEX);
            let index = read_small(&*self.place.disk, &path)?.unwrap_or_default();
            self.is_index_wrong = FileDigest::of(&index) != digest.time_index;
            return Ok(ScrubStep::Finished);
        }
        let bytes = digest.block(next);
        if !digest.is_whole(file, next)? {
            suspects.push(Suspect {
                bytes: bytes.clone(),
                offsets: None,
            });
        }
        self.stage = Stage::Blocks {
            next: next + 1,
            suspects,
        };
        let bytes = bytes.end - bytes.start;
        Ok(ScrubStep::Worked { bytes })
    }

    fn begin_batches(&mut self, suspects: Vec<Suspect>) {
        let place = &self.place;
        self.stage = Stage::Batches(Box::new(Batches {
            position: 0,
            next: self.base,
            is_behind_damage: false,
            checksums: BlockChecksums::default(),
            indexes: IndexCheck::load(&*place.disk, &place.directory, self.base),
            largest: None,
            suspects,
        }));
    }

    fn check_batches(&mut self, file: &dyn File, mut batches: Batches) -> io::Result<ScrubStep> {
        let start = batches.position;
        // A file that is shorter than it should be ends earlier.
        let end = self.size.min(file.length()?);
        let mut walk = Walk::new(file, end);
        walk.position = start;
        while batches.position - start < BLOCK_BYTES {
            let (position, header, what) = match walk.next()? {
                Step::End => {
                    self.finish_batches(batches)?;
                    return Ok(ScrubStep::Finished);
                }
                Step::Unreadable { position, what } => (position, None, what),
                Step::Batch { position, header } => {
                    let bytes = walk.batch();
                    batches.checksums.add(bytes);
                    match self.check_batch(&batches, &header, bytes) {
                        Ok(()) => {
                            self.accept(&mut batches, position, &header);
                            batches.position = walk.position;
                            continue;
                        }
                        Err(what) => (position, Some(header), what),
                    }
                }
            };
            batches.is_behind_damage = true;
            batches.indexes.note_hole();
            let is_length_right = match header {
                // Its place is wrong.
                Some(_) if check_crc(walk.batch()).is_ok() => true,
                Some(header) => walk.follows(&header)?,
                None => false,
            };
            batches.position = match is_length_right {
                true => walk.position,
                false => find_whole_batch(file, position + 1, end, batches.least())?.unwrap_or(end),
            };
            walk.position = batches.position;
            self.note_damage(position..batches.position, batches.next, what);
        }
        let bytes = batches.position - start;
        self.stage = Stage::Batches(Box::new(batches));
        Ok(ScrubStep::Worked { bytes })
    }

    fn check_batch(
        &self,
        batches: &Batches,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Result<(), String> {
        check_crc(bytes).map_err(|error| error.to_string())?;
        let (base, least) = (header.base_offset, batches.least().0);
        let may_skip = self.may_have_gaps || batches.is_behind_damage;
        let is_next = base == least || (may_skip && base > least);
        if !is_next || header.last_offset_delta < 0 || header.next_offset() > self.end.0 {
            return Err(format!("base offset is {base}, expected {least}"));
        }
        let epoch = LeaderEpoch(header.partition_leader_epoch);
        match self.epochs.of(Offset(base)) {
            Some(known) if known != epoch => Err(format!("leader epoch is {epoch}, not {known}")),
            _ => Ok(()),
        }
    }

    fn accept(&mut self, batches: &mut Batches, position: u64, header: &BatchHeader) {
        if let Some(last) = self
            .damage
            .last_mut()
            .filter(|last| last.bytes.end == position)
        {
            last.offsets.end = Offset(header.base_offset);
        }
        batches.is_behind_damage = false;
        batches.next = Offset(header.next_offset());
        batches.indexes.note_batch(position, header);
        let timestamp = time_of(header);
        if timestamp >= 0
            && batches
                .largest
                .is_none_or(|largest| largest.timestamp < timestamp)
        {
            batches.largest = Some(TimeEntry {
                timestamp,
                relative_offset: (header.last_offset() - self.base.0) as i32,
            });
        }
        let bytes = position..position + header.size_in_bytes() as u64;
        for suspect in &mut batches.suspects {
            if bytes.start < suspect.bytes.end && suspect.bytes.start < bytes.end {
                let offsets = suspect
                    .offsets
                    .get_or_insert(Offset(header.base_offset)..Offset(0));
                offsets.end = batches.next;
            }
        }
    }

    fn note_damage(&mut self, bytes: Range<u64>, next: Offset, what: String) {
        let is_full = self.damage.len() >= RANGES_MAX;
        match self.damage.last_mut() {
            Some(last) if is_full || last.bytes.end == bytes.start => {
                last.bytes.end = bytes.end;
                last.offsets.end = self.end;
            }
            _ => self.damage.push(DamagedRange {
                path: self.log_path(),
                bytes,
                offsets: next..self.end,
                what,
            }),
        }
    }

    fn finish_batches(&mut self, batches: Batches) -> io::Result<()> {
        for suspect in batches.suspects {
            let is_told = self.damage.iter().any(|known| {
                known.bytes.start < suspect.bytes.end && suspect.bytes.start < known.bytes.end
            });
            if !is_told {
                self.damage.push(DamagedRange {
                    path: self.log_path(),
                    bytes: suspect.bytes,
                    offsets: suspect.offsets.unwrap_or(self.base..self.end),
                    what: "the bytes do not fit their digest".to_owned(),
                });
            }
        }
        if batches.next != self.end && self.damage.is_empty() {
            let what = format!(
                "batches end at offset {}, not at {}",
                batches.next, self.end
            );
            self.note_damage(batches.position..self.size, batches.next, what);
        }
        if !self.damage.is_empty() || self.digest.is_some() {
            return Ok(());
        }
        let time_index = batches.indexes.time_index();
        self.is_index_wrong = !batches.indexes.finish(true).is_empty();
        let digest = Digest {
            topic_id: self.place.topic_id,
            partition: partition_of(&self.place.directory),
            range: self.base..self.end,
            size: self.size,
            largest: batches.largest,
            time_index,
            blocks: batches.checksums.finish(),
        };
        digest.write(&self.place, &digest::temporary_path(&self.place, self.base))?;
        self.written = Some(digest);
        Ok(())
    }
}

/// A file that is read as by one who comes once: see [`File::read_once_at`].
struct ReadOnce(Arc<dyn File>);

impl File for ReadOnce {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_once_at(buffer, position)
    }

    fn write_vectored_at(&self, parts: &[io::IoSlice<'_>], position: u64) -> io::Result<usize> {
        self.0.write_vectored_at(parts, position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.0.forget_cached(position)
    }
}
