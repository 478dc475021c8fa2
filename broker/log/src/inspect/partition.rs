//! Judging one partition: every batch, both indexes of every segment, and the small files.

use std::ops::Range;
use std::path::{Path, PathBuf};

use millstream_env::{Disk, File};
use millstream_model::Offset;
use millstream_protocol::records::{BatchHeader, check_crc};

use super::files::Files;
use super::indexes::IndexCheck;
use super::order::Order;
use super::small_files::SmallFiles;
use super::walk::{Step, Walk};
use super::{Finding, FindingKind, PartitionFolder, PartitionReport, Tail};
use crate::cut::find_whole_batch;
use crate::derived::read_small;
use crate::digest::Digest;
use crate::{Noted, names};

/// Reads a whole partition and says what is wrong. Changes nothing. `progress` is told bytes as they are
/// read.
pub fn verify(
    disk: &dyn Disk,
    folder: &PartitionFolder,
    progress: &mut dyn FnMut(u64),
) -> PartitionReport {
    let mut check = PartitionCheck {
        disk,
        folder,
        progress,
        small: SmallFiles::default(),
        order: Order::from(Offset::ZERO),
        report: PartitionReport {
            name: folder.name.clone(),
            recovery_point: folder.noted.recovery_point,
            log_start_offset: folder.noted.log_start_offset,
            ..PartitionReport::default()
        },
    };
    match Files::list(disk, &folder.directory) {
        Ok(files) => check.run(&files),
        Err(error) => {
            let what = format!("the folder cannot be listed: {error}");
            check.damage(FindingKind::Log, folder.directory.clone(), None, None, what);
        }
    }
    check.report
}

struct PartitionCheck<'a> {
    disk: &'a dyn Disk,
    folder: &'a PartitionFolder,
    progress: &'a mut dyn FnMut(u64),
    small: SmallFiles,
    order: Order,
    report: PartitionReport,
}

/// What follows a segment.
struct Following<'a> {
    base: Option<Offset>,
    /// Bytes of all later segments.
    bytes: u64,
    path: &'a Path,
}

impl PartitionCheck<'_> {
    fn run(&mut self, files: &Files) {
        let first = files.logs.first().map(|(base, _)| *base);
        if self.folder.noted == Noted::UNKNOWN {
            self.report.log_start_offset = first.unwrap_or(Offset::ZERO);
        }
        self.read_small_files(files);
        self.check_beginning(first);
        for (number, (base, length)) in files.logs.iter().enumerate() {
            let path = self.log_path(*base);
            let following = Following {
                base: files.logs.get(number + 1).map(|(base, _)| *base),
                bytes: files.logs[number + 1..].iter().map(|(_, size)| size).sum(),
                path: &path,
            };
            let goes_on = self.check_joint(number, *base, *length, &following)
                && self.check_segment(*base, *length, &following);
            if !goes_on {
                break;
            }
        }
        self.report.bytes = files.logs.iter().map(|(_, size)| size).sum();
        self.report.log_end_offset = self.order.next;
        let (next, point) = (self.order.next, self.report.recovery_point);
        if !files.logs.is_empty() && self.order.is_sure && next < point {
            let path = self.folder.directory.clone();
            let what = format!("offsets up to {point} were durable, but the log ends at {next}");
            self.damage(FindingKind::Log, path, None, Some(next), what);
        }
    }

    fn log_path(&self, base: Offset) -> PathBuf {
        names::offset_file(&self.folder.directory, base, names::LOG)
    }

    fn read_small_files(&mut self, files: &Files) {
        let point = self.report.recovery_point;
        let (small, faults) = SmallFiles::read(self.disk, self.folder, files, point);
        self.small = small;
        for (is_damage, path, what) in faults {
            let finding = finding(FindingKind::File, path, None, None, what);
            match is_damage {
                true => self.report.add_damage(finding),
                false => self.report.add_note(finding),
            }
        }
    }

    fn check_beginning(&mut self, first: Option<Offset>) {
        let (start, point) = (self.report.log_start_offset, self.report.recovery_point);
        self.order = Order::from(first.unwrap_or(start));
        if point > start && first.is_none_or(|first| first > start) {
            let what =
                format!("offsets {start} to {point} were durable, but no segment holds the first");
            let path = self.folder.directory.clone();
            self.damage(FindingKind::Log, path, None, Some(start), what);
        }
    }

    /// Whether a segment begins where the one before it ends. Answers whether to go on.
    fn check_joint(
        &mut self,
        number: usize,
        base: Offset,
        length: u64,
        following: &Following<'_>,
    ) -> bool {
        let next = self.order.next;
        let is_behind_hole = !self.order.is_sure && base >= next;
        // Of what lies before the log's start, retention may have taken out some.
        let is_before_start = base <= self.report.log_start_offset;
        if number > 0 && base != next && !is_behind_hole && !is_before_start {
            let what = format!("the segment begins at offset {base}, not at {next}");
            if next >= self.report.recovery_point {
                self.tail(following.path, 0, length + following.bytes, what);
                return false;
            }
            let path = following.path.to_owned();
            self.damage(FindingKind::Log, path, Some(0), Some(next), what);
        }
        self.order.next = base;
        self.order.is_sure = true;
        self.order.may_have_gaps = base < self.small.gaps_end;
        true
    }

    /// Answers whether what follows is to be looked at.
    fn check_segment(&mut self, base: Offset, length: u64, following: &Following<'_>) -> bool {
        self.report.segments += 1;
        let mut indexes = IndexCheck::load(self.disk, &self.folder.directory, base);
        let opened = self.disk.open(following.path, false);
        let walked = opened
            .and_then(|file| {
                let misfits = self.check_digest(&*file, base, length, following)?;
                self.walk_segment(&*file, length, following, &mut indexes, &misfits)
            })
            .unwrap_or_else(|error| {
                let what = format!("the file cannot be read: {error}");
                let (path, next) = (following.path.to_owned(), self.order.next);
                self.damage(FindingKind::Log, path, None, Some(next), what);
                indexes.note_hole();
                self.order.lose();
                true
            });
        self.judge_indexes(indexes, following.base.is_some());
        walked
    }

    fn walk_segment(
        &mut self,
        file: &dyn File,
        length: u64,
        following: &Following<'_>,
        indexes: &mut IndexCheck,
        misfits: &[Range<u64>],
    ) -> std::io::Result<bool> {
        let damaged_before = self.report.damage_count;
        let goes_on = self.walk_batches(file, length, following, indexes, misfits)?;
        // What a batch says is more exact.
        if self.report.damage_count == damaged_before {
            let last = self.order.next.plus(-1);
            for block in misfits {
                let path = following.path.to_owned();
                let what = format!("the bytes up to {} do not fit the digest", block.end);
                self.damage(FindingKind::Log, path, Some(block.start), Some(last), what);
            }
        }
        Ok(goes_on)
    }

    /// Compares a sealed segment with its digest, if it has one. Answers the blocks that do not fit.
    fn check_digest(
        &mut self,
        file: &dyn File,
        base: Offset,
        length: u64,
        following: &Following<'_>,
    ) -> std::io::Result<Vec<Range<u64>>> {
        let path = names::offset_file(&self.folder.directory, base, names::DIGEST);
        let (Some(end), Some(bytes)) = (following.base, read_small(self.disk, &path)?) else {
            return Ok(Vec::new());
        };
        let digest = match Digest::parse(&bytes) {
            Some(digest) if digest.range == (base..end) && digest.size == length => digest,
            Some(_) => {
                let what = "it is about another segment: it is made again".to_owned();
                self.damage(FindingKind::File, path, None, None, what);
                return Ok(Vec::new());
            }
            None => {
                let what = "it is not whole: it is made again".to_owned();
                self.damage(FindingKind::File, path, None, None, what);
                return Ok(Vec::new());
            }
        };
        let misfits = digest.misfits(file)?;
        Ok(misfits.map(|number| digest.block(number)).collect())
    }

    fn walk_batches(
        &mut self,
        file: &dyn File,
        length: u64,
        following: &Following<'_>,
        indexes: &mut IndexCheck,
        misfits: &[Range<u64>],
    ) -> std::io::Result<bool> {
        let mut walk = Walk::new(file, length);
        loop {
            let (position, faults, header) = match walk.next()? {
                Step::End => return Ok(true),
                Step::Unreadable { position, what } => (position, vec![what], None),
                Step::Batch { position, header } => {
                    let bytes = walk.batch();
                    let mut faults = self.order.check(&header, self.known_epochs());
                    let crc = check_crc(bytes).map_err(|error| error.to_string());
                    let is_readable = crc.is_ok();
                    faults.extend(crc.err());
                    if faults.is_empty() {
                        let is_misfit = misfits
                            .iter()
                            .any(|block| position < block.end && block.start < walk.position);
                        match is_misfit {
                            // Whether the batch or an index is wrong is not known.
                            true => indexes.note_hole(),
                            false => indexes.note_batch(position, &header),
                        }
                        self.accept(&header);
                        continue;
                    }
                    (position, faults, is_readable.then_some(header))
                }
            };
            let next = self.order.next;
            if self.order.is_sure && next >= self.report.recovery_point {
                let what = faults.join("; ");
                return Ok(self.end_at(position, length, what, following));
            }
            for what in faults {
                let path = following.path.to_owned();
                self.damage(FindingKind::Log, path, Some(position), Some(next), what);
            }
            indexes.note_hole();
            match header {
                Some(header) => self.order.accept_misplaced(&header),
                None => {
                    self.order.lose();
                    if walk.position > position && walk.is_plausible()? {
                        continue;
                    }
                    // What is lost had one offset at least.
                    let least = next.plus(1);
                    let found = find_whole_batch(file, position + 1, length, least)?;
                    walk.position = found.unwrap_or(length);
                }
            }
        }
    }

    /// The epochs' file is written with the batches that it is about, and believed below the point.
    fn known_epochs(&self) -> Option<&crate::leader_epochs::LeaderEpochs> {
        let is_durable = self.order.next < self.report.recovery_point;
        self.small.epochs.as_ref().filter(|_| is_durable)
    }

    fn accept(&mut self, header: &BatchHeader) {
        self.order.accept(header);
        self.report.batches += 1;
        (self.progress)(header.size_in_bytes() as u64);
        self.report.records += u64::try_from(header.record_count).unwrap_or(0);
    }

    /// Nothing that was durable follows. What is left in a segment that the next one goes on from is an
    /// append that failed and was taken back. Answers whether there is more to look at.
    fn end_at(
        &mut self,
        position: u64,
        length: u64,
        what: String,
        following: &Following<'_>,
    ) -> bool {
        if following.base == Some(self.order.next) {
            let path = following.path.to_owned();
            let next = Some(self.order.next);
            let finding = finding(FindingKind::Log, path, Some(position), next, what);
            self.report.add_note(finding);
            return true;
        }
        let bytes = length - position + following.bytes;
        self.tail(following.path, position, bytes, what);
        false
    }

    fn judge_indexes(&mut self, indexes: IndexCheck, is_sealed: bool) {
        let (next, point) = (self.order.next, self.report.recovery_point);
        let is_clean = self.folder.is_clean && self.report.tail.is_none();
        // A roll's indexes are synced with the first flush after it.
        let is_durable = next < point || (is_clean && next <= point);
        for (path, position, what) in indexes.finish(is_sealed || is_clean) {
            if is_durable {
                self.damage(FindingKind::Index, path, position, None, what);
            } else {
                let finding = finding(FindingKind::Index, path, position, None, what);
                self.report.add_note(finding);
            }
        }
    }

    fn tail(&mut self, path: &Path, position: u64, bytes: u64, what: String) {
        self.report.tail = Some(Tail {
            path: path.to_owned(),
            position,
            offset: self.order.next,
            bytes,
            what,
        });
    }

    /// Something is wrong. What lies before the log's start is about to be removed, and costs nothing.
    fn damage(
        &mut self,
        kind: FindingKind,
        path: PathBuf,
        position: Option<u64>,
        offset: Option<Offset>,
        what: String,
    ) {
        let finding = finding(kind, path, position, offset, what);
        match offset.is_some_and(|offset| offset < self.report.log_start_offset) {
            true => self.report.add_note(finding),
            false => self.report.add_damage(finding),
        }
    }
}

fn finding(
    kind: FindingKind,
    path: PathBuf,
    position: Option<u64>,
    offset: Option<Offset>,
    what: String,
) -> Finding {
    Finding {
        kind,
        path,
        position,
        offset,
        what,
    }
}
