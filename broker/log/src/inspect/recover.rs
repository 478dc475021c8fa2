//! Recovery without a start: the same opening, a clean close behind it, and indexes that agree again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use millstream_model::{TopicId, WallTime};

use super::{FindingKind, PartitionFolder, StoppedDirectory, verify};
use crate::partition_metadata::topic_of;
use crate::{CacheBudget, CheckpointEntry, Log, LogConfig, LogPlace, Noted, OpenError, Recovery};

/// What became of one partition.
#[derive(Debug)]
pub struct Recovered {
    /// `<topic>-<partition>`.
    pub name: String,
    /// What was done, or why nothing was.
    pub outcome: Result<Outcome, RecoverError>,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What opening found and did.
    pub recovery: Recovery,
    /// The log as it is now.
    pub noted: Noted,
    /// Index files that were made again.
    pub indexes_rebuilt: u64,
    /// Damage that is left.
    pub damage_count: u64,
}

/// Why a partition was left as it is.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// A start knows the topic from the metadata log.
    #[error("partition.metadata does not say which topic this is; a start of the broker knows")]
    NoTopic,
    /// The log does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The disk failed.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Recovers the partitions one by one; `done` hears of each. What was recovered enters the directory's
/// checkpoint, if there is one: without one, a start goes by the files, and must for all partitions.
pub fn recover(
    directory: &mut StoppedDirectory,
    now: WallTime,
    done: &mut dyn FnMut(Recovered),
) -> io::Result<()> {
    let mut entries = Vec::new();
    for folder in directory.partitions.clone() {
        let outcome = recover_one(directory, &folder, now);
        let outcome = outcome.map(|(topic_id, outcome)| {
            entries.push(CheckpointEntry {
                topic_id,
                partition: folder.partition,
                noted: outcome.noted,
            });
            outcome
        });
        let name = folder.name;
        done(Recovered { name, outcome });
    }
    let Some(checkpoint) = &mut directory.checkpoint else {
        return Ok(());
    };
    for entry in entries {
        let is_same = |known: &&mut CheckpointEntry| {
            known.topic_id == entry.topic_id && known.partition == entry.partition
        };
        match checkpoint.entries.iter_mut().find(is_same) {
            Some(known) => *known = entry,
            None => checkpoint.entries.push(entry),
        }
    }
    checkpoint.write(&*directory.disk, &directory.root)
}

fn recover_one(
    directory: &StoppedDirectory,
    folder: &PartitionFolder,
    now: WallTime,
) -> Result<(TopicId, Outcome), RecoverError> {
    let disk = &directory.disk;
    let topic_id = topic_of(&**disk, &folder.directory)?.ok_or(RecoverError::NoTopic)?;
    let place = LogPlace {
        disk: Arc::clone(disk),
        directory: folder.directory.clone(),
        topic_id,
        cache_budget: CacheBudget::default(),
    };
    let config = LogConfig {
        // How long producers are remembered is the broker's to say: all are kept.
        producer_expiration: Duration::MAX,
        cache_bytes_max: 0,
        ..LogConfig::default()
    };
    let (mut log, recovery) = Log::open(place, config, folder.noted, None, now)?;
    log.prepare_close()?;
    flush(&mut log)?;
    let noted = log.checkpoint();
    let recovered = PartitionFolder {
        noted,
        is_clean: true,
        ..folder.clone()
    };
    let is_index = |kind| kind == FindingKind::Index;
    let before = verify(&**disk, &recovered, &mut |_| {});
    let wrong: Vec<_> = before
        .damage
        .iter()
        .filter(|one| is_index(one.kind))
        .collect();
    for segment in &log.segments {
        let [offsets, times] = ["index", "timeindex"].map(|end| segment.path(log.place(), end));
        let is_its = wrong
            .iter()
            .any(|one| one.path == offsets || one.path == times);
        if is_its {
            let file = segment.file(log.place())?;
            // Damage in the segment itself is told below.
            let _ = segment.rebuild_indexes(log.place(), log.config(), &*file);
        }
    }
    let after = match wrong.is_empty() {
        true => before.clone(),
        false => verify(&**disk, &recovered, &mut |_| {}),
    };
    let left = after.damage.iter().filter(|one| is_index(one.kind)).count();
    let outcome = Outcome {
        recovery,
        noted,
        indexes_rebuilt: (wrong.len() - left) as u64,
        damage_count: after.damage_count,
    };
    Ok((topic_id, outcome))
}

fn flush(log: &mut Log) -> io::Result<()> {
    let Some(work) = log.begin_flush() else {
        return Ok(());
    };
    work.sync.carry_out(&*log.place().disk)?;
    log.complete_flush(work.end);
    Ok(())
}
