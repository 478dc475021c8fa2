//! The files beside the segments: topic, leader epochs, producers, compaction.

use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::Offset;

use super::PartitionFolder;
use super::files::Files;
use crate::compaction::file::CompactionFile;
use crate::derived::read_small;
use crate::leader_epochs::LeaderEpochs;
use crate::partition_metadata::{self, topic_of};
use crate::{names, producer_file};

/// Whether it is damage, the file, what is wrong.
type Fault = (bool, PathBuf, String);

#[derive(Debug, Default)]
pub(super) struct SmallFiles {
    /// Where each leader's records begin, if the file says.
    pub epochs: Option<LeaderEpochs>,
    /// Segments that begin before this offset may have gaps between their batches.
    pub gaps_end: Offset,
}

impl SmallFiles {
    /// Reads them. What is wrong with a file that the flush of the recovery point has not synced for
    /// certain is no damage: a start makes it again.
    pub(super) fn read(
        disk: &dyn Disk,
        folder: &PartitionFolder,
        files: &Files,
        point: Offset,
    ) -> (SmallFiles, Vec<Fault>) {
        let mut faults = Vec::new();
        let was_durable = point > folder.noted.log_start_offset.max(Offset::ZERO);
        check_topic(disk, &folder.directory, was_durable, &mut faults);
        // An epoch has its place with the first batch written in it.
        let epochs = match files.logs.is_empty() {
            true => None,
            false => read_epochs(disk, folder, was_durable, &mut faults),
        };
        for offset in &files.producers {
            let path = names::offset_file(&folder.directory, *offset, names::PRODUCERS);
            check(disk, path, *offset < point, &mut faults, |bytes| {
                producer_file::parse(bytes).is_some_and(|(_, counted)| counted == *offset)
            });
        }
        for offset in &files.snapshots {
            let path = names::offset_file(&folder.directory, *offset, names::SNAPSHOT);
            let is_whole = producer_file::is_whole_snapshot;
            check(disk, path, *offset < point, &mut faults, is_whole);
        }
        let gaps_end = read_gaps_end(disk, &folder.directory, point, &mut faults);
        for path in &files.unfinished {
            let what = "it was not finished, or waits for its removal".to_owned();
            faults.push((false, path.clone(), what));
        }
        (SmallFiles { epochs, gaps_end }, faults)
    }
}

fn check_topic(disk: &dyn Disk, directory: &Path, was_durable: bool, faults: &mut Vec<Fault>) {
    let path = partition_metadata::path_in(directory);
    match topic_of(disk, directory) {
        Ok(Some(_)) => {}
        Ok(None) => {
            let what = "it does not say which topic this is".to_owned();
            faults.push((was_durable, path, what));
        }
        Err(error) => faults.push((true, path, format!("it cannot be read: {error}"))),
    }
}

/// Where the file is there and not whole, all that was durable may have gaps, as recovery has it.
fn read_gaps_end(
    disk: &dyn Disk,
    directory: &Path,
    point: Offset,
    faults: &mut Vec<Fault>,
) -> Offset {
    let path = directory.join(names::COMPACTION);
    let what = match read_small(disk, &path) {
        Ok(None) => return Offset::ZERO,
        Ok(Some(bytes)) => match CompactionFile::parse(&bytes) {
            Some((owner, file)) if topic_of(disk, directory).ok() == Some(Some(owner)) => {
                return file.gaps_end;
            }
            Some(_) => return Offset::ZERO,
            None => "it is not whole: the log is compacted from its start".to_owned(),
        },
        Err(error) => format!("it cannot be read: {error}"),
    };
    faults.push((true, path, what));
    point
}

fn read_epochs(
    disk: &dyn Disk,
    folder: &PartitionFolder,
    was_durable: bool,
    faults: &mut Vec<Fault>,
) -> Option<LeaderEpochs> {
    let path = folder.directory.join(names::LEADER_EPOCHS);
    let bytes = match read_small(disk, &path) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => {
            let what = "it is missing: epochs are gathered from all batches".to_owned();
            faults.push((was_durable, path, what));
            return None;
        }
        Err(error) => {
            faults.push((true, path, format!("it cannot be read: {error}")));
            return None;
        }
    };
    let parsed = std::str::from_utf8(&bytes)
        .ok()
        .and_then(LeaderEpochs::parse);
    if parsed.is_none() {
        let what = "it is not whole: epochs are gathered from all batches".to_owned();
        faults.push((was_durable, path, what));
        return None;
    }
    let noted = folder.noted;
    let start = noted.log_start_offset.max(Offset::ZERO);
    // The file of a start that was not noted yet says nothing about what lies before it.
    let contradicts = |epochs: &LeaderEpochs| {
        epochs.start().is_some_and(|begins| begins <= start)
            && noted
                .epochs_checksum
                .is_some_and(|noted_sum| noted_sum != epochs.checksum(start, noted.recovery_point))
    };
    if parsed.as_ref().is_some_and(contradicts) {
        let what =
            "it is not what was noted of it: epochs are gathered from all batches".to_owned();
        faults.push((was_durable, path, what));
        return None;
    }
    parsed
}

fn check(
    disk: &dyn Disk,
    path: PathBuf,
    was_durable: bool,
    faults: &mut Vec<Fault>,
    is_whole: impl Fn(&[u8]) -> bool,
) {
    let what = match read_small(disk, &path) {
        Ok(Some(bytes)) if is_whole(&bytes) => return,
        Ok(_) => "it is not whole".to_owned(),
        Err(error) => format!("it cannot be read: {error}"),
    };
    faults.push((was_durable, path, what));
}
