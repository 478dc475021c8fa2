//! A disk that rots and writes to wrong places, and what is known of it.
//!
//! Bits flip, and writes land where they were not meant to, in the logs of one topic. What that may cost
//! is written down, for its checker: a batch that was hit may be refused, or what is above the recovery
//! point may be cut from there on. In everything else nothing may be lost. A bit that flips in the metadata
//! log must refuse the start, by the file's name, and change nothing: the bit is put right, and the start
//! succeeds.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_log::{Checkpoint, DamagedRange};
use millstream_protocol::records::{BatchHeader, HEADER_SIZE};
use millstream_quorum::DIRECTORY_NAME;

use super::world::World;
use super::{Violation, violation};

/// The topic whose files are damaged.
pub(crate) const DAMAGED_TOPIC: &str = "archive";
const SECTOR: u64 = 512;
/// Bytes before the first proposal of a metadata log, and before the body of each.
const METADATA_HEADER_SIZE: usize = 32;
const PROPOSAL_HEADER_SIZE: usize = 28;
/// Damages of a seed, at most.
const MARKS_MAX: usize = 4;
/// Where a header holds the leader epoch. No checksum covers it, and above the recovery point nothing but its
/// neighbours contradicts a wrong one.
const UNPROTECTED_EPOCH: Range<u64> = 12..16;

/// One damage.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    pub partition: i32,
    /// Which bytes of which file, for whoever looks for a reason.
    what: String,
    /// What may be refused: the batches that were hit, and the rest of the segment where their headers
    /// were. Empty where something else than batches was hit.
    pub offsets: Range<i64>,
    /// The batches that were hit, until a start has seen it.
    hit: Option<Range<i64>>,
    /// Where that start may have cut the log, until its checker is told.
    pub cut_from: Option<i64>,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with offsets {:?}", self.what, self.offsets)
    }
}

/// What was damaged.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    /// Damages of each kind happen in so many of 100 crashes, stops and kills; 0 in most seeds.
    pub percent: u64,
    pub marks: Vec<Mark>,
    /// Starts that were refused because of the metadata log.
    pub refused_starts: u32,
    /// The id of the damaged topic, once it is there.
    pub topic_id: Option<[u8; 16]>,
}

impl Damage {
    /// Whether anything of a partition was damaged.
    pub(crate) fn is_in(&self, partition: i32) -> bool {
        self.marks.iter().any(|mark| mark.partition == partition)
    }

    /// Whether damage that was found is damage that was done.
    pub(crate) fn explains(&self, found: &DamagedRange) -> bool {
        let partition = partition_of(&found.path);
        let range = found.offsets.start.0..found.offsets.end.0;
        self.marks.iter().any(|mark| {
            Some(mark.partition) == partition
                && mark.offsets.start < range.end
                && range.start < mark.offsets.end
        })
    }

    /// Whether a batch with this offset was hit.
    pub(crate) fn has_hit(&self, partition: i32, offset: i64) -> bool {
        let hit = |mark: &Mark| mark.partition == partition && mark.offsets.contains(&offset);
        self.marks.iter().any(hit)
    }
}

/// A batch in a file.
struct Placed {
    bytes: Range<u64>,
    offsets: Range<i64>,
}

impl World {
    /// A write that is lost at its own place in the coming crash, to land elsewhere.
    pub(super) fn take_stray_write(&mut self) -> Option<Vec<u8>> {
        match self.random.chance(self.damage.percent) {
            true => self.disk.take_pending(&self.random),
            false => None,
        }
    }

    /// What happens to the disk while no broker runs.
    pub(super) fn rot_at_rest(&mut self, stray: Option<Vec<u8>>) {
        if let Some(bytes) = stray
            && let Some((path, length)) = self.a_damageable_file()
        {
            let position = self.random.below(length / SECTOR + 1) * SECTOR;
            let end = position + bytes.len() as u64;
            if !self.is_believed(&path, position, &bytes) && self.mark(&path, position..end) {
                self.disk.misdirect(&path, position, &bytes);
            }
        }
        if self.random.chance(self.damage.percent) {
            self.flip(false);
        }
    }

    /// A known hole: a whole batch of another log, at a place where one with its offset may be, is believed
    /// until the segment has a digest. Nothing in a batch says whose it is.
    fn is_believed(&self, path: &Path, position: u64, bytes: &[u8]) -> bool {
        let Ok(header) = BatchHeader::read(bytes) else {
            return false;
        };
        let batches = self.batches_in(path);
        let end = batches
            .last()
            .map(|last| (last.bytes.end, last.offsets.end));
        let places = batches
            .iter()
            .map(|one| (one.bytes.start, one.offsets.start));
        places
            .chain(end)
            .any(|place| place == (position, header.base_offset))
    }

    /// A bit flips on the disk under a running broker, in what the page cache still holds right.
    pub(crate) fn rot(&mut self) {
        self.note(13);
        if self.damage.percent > 0 {
            self.flip(true);
        }
    }

    fn flip(&mut self, is_cold: bool) {
        let Some((path, length)) = self.a_damageable_file() else {
            return;
        };
        let position = self.a_position(&path, length);
        let bit = self.random.below(8) as u8;
        if self.mark(&path, position..position + 1) {
            match is_cold {
                true => self.disk.flip_cold_bit(&path, position, bit),
                false => self.disk.flip_bit(&path, position, bit),
            }
        }
    }

    /// A byte of a file; often one of a batch's header, of which there are few.
    fn a_position(&self, path: &Path, length: u64) -> u64 {
        let batches = self.batches_in(path);
        if batches.is_empty() || self.random.chance(50) {
            return self.random.below(length);
        }
        let chosen = self.random.below(batches.len() as u64) as usize;
        batches[chosen].bytes.start + self.random.below(HEADER_SIZE as u64)
    }

    fn a_damageable_file(&mut self) -> Option<(PathBuf, u64)> {
        if self.damage.marks.len() == MARKS_MAX {
            return None;
        }
        let files = self.disk.files().into_iter();
        let files = files.filter(|(path, length)| *length > 0 && partition_of(path).is_some());
        let files: Vec<_> = files.collect();
        let chosen = self.random.below(files.len().max(1) as u64) as usize;
        files.get(chosen).cloned()
    }

    /// Notes what a damage of these bytes may cost. `false` where it is to be left out.
    fn mark(&mut self, path: &Path, bytes: Range<u64>) -> bool {
        let Some(partition) = partition_of(path) else {
            return false;
        };
        let mut mark = Mark {
            partition,
            what: format!("{} {bytes:?}", path.display()),
            offsets: 0..0,
            hit: None,
            cut_from: None,
        };
        if path.ends_with("leader-epoch-checkpoint") {
            // Batches of another epoch than the log knows are refused.
            mark.offsets = 0..i64::MAX;
        }
        if path.ends_with("partition.metadata") {
            // The folder is refused where a checkpoint knows its log.
            mark.offsets = 0..i64::MAX;
            mark.hit = Some(0..1);
        }
        if path.extension().is_some_and(|extension| extension == "log") {
            let Some((hit, refused)) = self.hit_batches(path, partition, &bytes) else {
                return false;
            };
            (mark.hit, mark.offsets) = (Some(hit), refused);
        }
        self.damage.marks.push(mark);
        true
    }

    /// The offsets of the batches that a damage of these bytes hits, and those that may be refused for it:
    /// behind a wrong header nobody finds the next. `None` where it is to be left out.
    fn hit_batches(
        &self,
        path: &Path,
        partition: i32,
        bytes: &Range<u64>,
    ) -> Option<(Range<i64>, Range<i64>)> {
        let batches = self.batches_in(path);
        let hits = |batch: &&Placed| batch.bytes.start < bytes.end && bytes.start < batch.bytes.end;
        let hit: Vec<&Placed> = batches.iter().filter(hits).collect();
        // Behind the last batch, or behind another damage, nobody reads it.
        let (first, last) = (hit.first()?, hit.last()?);
        let recovery_point = self.recovery_point(partition).ok()?;
        let is_known_hole = |batch: &&Placed| {
            hits_only_epoch(&batch.bytes, bytes) && batch.offsets.end > recovery_point
        };
        if hit.iter().any(is_known_hole) {
            return None;
        }
        let hits_header = |batch: &&Placed| bytes.start < batch.bytes.start + HEADER_SIZE as u64;
        let refused = match hit.iter().any(hits_header) {
            true => first.offsets.start..self.end_of_segment(path),
            false => first.offsets.start..last.offsets.end,
        };
        Some((first.offsets.start..last.offsets.end, refused))
    }

    /// Where the segment after this one begins; for the last one, which grows, nowhere.
    fn end_of_segment(&self, path: &Path) -> i64 {
        let base = |path: &Path| path.file_stem()?.to_str()?.parse::<i64>().ok();
        let files = self.disk.files().into_iter().map(|(path, _)| path);
        let logs = files.filter(|other| {
            other.parent() == path.parent() && other.extension() == path.extension()
        });
        let later = logs
            .filter_map(|other| base(&other))
            .filter(|other| Some(*other) > base(path));
        later.min().unwrap_or(i64::MAX)
    }

    /// The batches of a file, up to the first that is none.
    fn batches_in(&self, path: &Path) -> Vec<Placed> {
        let bytes = self.disk.read(path);
        let mut batches: Vec<Placed> = Vec::new();
        let mut start = 0;
        while let Some(Ok(header)) = bytes.get(start..).map(BatchHeader::read) {
            let end = start + header.size_in_bytes();
            let follows = batches
                .last()
                .is_none_or(|last| last.offsets.end == header.base_offset);
            if end > bytes.len() || !follows {
                break;
            }
            batches.push(Placed {
                bytes: start as u64..end as u64,
                offsets: header.base_offset..header.next_offset(),
            });
            start = end;
        }
        batches
    }

    /// Before a start: whether it may cut a log at a damage, and whether the metadata log is damaged.
    pub(super) fn settle_damage(&mut self) -> Result<(), Violation> {
        for place in 0..self.damage.marks.len() {
            let mark = &mut self.damage.marks[place];
            let partition = mark.partition;
            if let Some(hit) = mark.hit.take() {
                let recovery_point = self.recovery_point(partition)?;
                // Below the point nothing is cut, whatever was hit there.
                let cut_from = (hit.end > recovery_point).then_some(hit.start.max(recovery_point));
                self.damage.marks[place].cut_from = cut_from;
            }
        }
        if self.random.chance(self.damage.percent / 4) {
            self.start_with_damaged_metadata()?;
        }
        Ok(())
    }

    /// The metadata log.
    fn metadata_log(&self) -> Option<PathBuf> {
        let is_log = |path: &Path| {
            path.parent()
                .is_some_and(|parent| parent.ends_with(DIRECTORY_NAME))
                && path.extension().is_some_and(|extension| extension == "log")
        };
        let mut files = self.disk.files().into_iter().map(|(path, _)| path);
        files.find(|path| is_log(path))
    }

    /// What the next start believes to be durable of a partition.
    fn recovery_point(&self, partition: i32) -> Result<i64, Violation> {
        let name = format!("{DAMAGED_TOPIC}-{partition}");
        for directory in &self.log_directories {
            let metadata = self
                .disk
                .read(&directory.join(&name).join("partition.metadata"));
            if metadata.is_empty() {
                continue;
            }
            let read = Checkpoint::read(&self.disk, directory);
            let read = read.map_err(|error| Violation {
                what: format!("a checkpoint cannot be read: {error}"),
            })?;
            let entries = read.into_iter().flat_map(|checkpoint| checkpoint.entries);
            let id = self.damage.topic_id;
            let mut entries = entries
                .filter(|entry| entry.partition == partition && Some(entry.topic_id.0) == id);
            return Ok(entries
                .next()
                .map_or(0, |entry| entry.noted.recovery_point.0));
        }
        Ok(0)
    }

    /// A bit of the metadata log flips: the start is refused, the log as it was.
    fn start_with_damaged_metadata(&mut self) -> Result<(), Violation> {
        let Some(path) = self.metadata_log() else {
            return Ok(());
        };
        let dropped = self
            .disk
            .open(&path, false)
            .and_then(|file| file.forget_cached(0));
        dropped.map_err(|error| Violation {
            what: format!("the page cache is not dropped: {error}"),
        })?;
        let bytes = self.disk.read(&path);
        let length = bytes.len();
        // Damage in the last proposal cannot be told from a torn write.
        let Some(before_the_last) = last_proposal(&bytes) else {
            return Ok(());
        };
        let position = self.random.below(before_the_last as u64);
        let bit = self.random.below(8) as u8;
        self.disk.flip_bit(&path, position, bit);
        let before = self.disk.read(&path);
        let outcome = self.try_open();
        self.forget_process();
        self.disk.end_process();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match &outcome {
            Ok(()) => {
                return violation(format!(
                    "bit {bit} of byte {position} of {length} of the metadata log is not missed"
                ));
            }
            Err(refused) if !refused.what.contains(&*name) => {
                return violation(format!("{name} is damaged and not named: {refused}"));
            }
            Err(_) => {}
        }
        if self.disk.read(&path) != before {
            return violation(format!(
                "a start has changed {name}, and was refused: {outcome:?}"
            ));
        }
        self.disk.flip_bit(&path, position, bit);
        self.damage.refused_starts += 1;
        Ok(())
    }
}

/// Where the last whole proposal of a metadata log begins; what a crash cut short may follow it.
fn last_proposal(log: &[u8]) -> Option<usize> {
    let word = |at: usize| log.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    let (mut last, mut start) = (None, METADATA_HEADER_SIZE);
    while let (Some(crc), Some(length)) = (word(start), word(start + 4)) {
        let end = start + PROPOSAL_HEADER_SIZE + length as usize;
        let is_whole = log
            .get(start + 4..end)
            .is_some_and(|bytes| crc32fast::hash(bytes) == crc);
        if !is_whole {
            break;
        }
        (last, start) = (Some(start), end);
    }
    last
}

/// The partition of the damaged topic that a file belongs to.
fn partition_of(path: &Path) -> Option<i32> {
    let name = path.parent()?.file_name()?.to_str()?;
    let (topic, partition) = name.rsplit_once('-')?;
    (topic == DAMAGED_TOPIC).then(|| partition.parse().ok())?
}

/// Whether damage of a batch ends in its leader epoch: the checksum covers what is behind, and what is
/// before it is checked otherwise.
fn hits_only_epoch(batch: &Range<u64>, damage: &Range<u64>) -> bool {
    let end = damage.end.min(batch.end).saturating_sub(batch.start);
    end > UNPROTECTED_EPOCH.start && end <= UNPROTECTED_EPOCH.end
}
