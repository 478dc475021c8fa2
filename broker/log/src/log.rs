//! The log of one partition: what it holds in memory, and what it can be asked.
//!
//! ```text
//!   log_start_offset ≤ flushed_offset ≤ log_end_offset
//!        │                  │                └ the offset of the next record
//!        │                  └ everything before it survives a power cut
//!        └ the first record that may be read
//! ```
//!
//! Appending, flushing, reading, looking up and opening have a file each.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_env::Disk;
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};

use crate::cache::TailCache;
use crate::cut::UnfinishedCut;
use crate::flush::Dirty;
use crate::leader_epochs::LeaderEpochs;
use crate::producer_state::{ActiveProducer, ProducerState};
use crate::segment::Segment;
use crate::{CacheBudget, LogConfig, Room};

/// Where a log lives.
#[derive(Clone)]
pub struct LogPlace {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The partition's directory, `<topic>-<partition>` in a log directory.
    pub directory: PathBuf,
    /// The topic it must belong to.
    pub topic_id: TopicId,
    /// The bound over the caches of all logs.
    pub cache_budget: CacheBudget,
}

impl fmt::Debug for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogPlace")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}

/// The log of one partition.
#[derive(Debug)]
pub struct Log {
    pub(crate) place: LogPlace,
    pub(crate) config: LogConfig,
    /// Ascending by base offset; never empty. The last one is active.
    pub(crate) segments: Vec<Segment>,
    pub(crate) log_start_offset: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) flushed_offset: Offset,
    /// What lies before it is compacted. May lie before the log's start.
    pub(crate) first_dirty: Offset,
    pub(crate) producers: ProducerState,
    pub(crate) epochs: LeaderEpochs,
    pub(crate) cache: TailCache,
    pub(crate) dirty: Dirty,
    pub(crate) is_offline: bool,
    pub(crate) has_disk_failed: bool,
    /// What its directory has room for, if somebody watches that.
    pub(crate) room: Option<Arc<Room>>,
    /// What recovery has to set aside from behind the log's end, once there is room for it.
    pub(crate) unfinished_cut: Option<Box<UnfinishedCut>>,
    /// How often segments were replaced: who has looked at one without the lock knows whether it is still
    /// the same.
    pub(crate) replacements: u32,
    /// Checkpoints since the last append.
    pub(crate) idle_checkpoints: u8,
}

impl Log {
    /// The first offset that may be read.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        self.log_start_offset
    }

    /// The offset of the next record.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// The end of what survives a power cut, exclusive.
    #[must_use]
    pub fn flushed_offset(&self) -> Offset {
        self.flushed_offset
    }

    /// The size of all segments, in bytes.
    #[must_use]
    pub fn size_in_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// How many segments there are.
    #[must_use]
    pub fn segment_count(&self) -> usize {
        self.segments.len()
    }

    /// Where the log lives.
    #[must_use]
    pub fn place(&self) -> &LogPlace {
        &self.place
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Takes new settings, but for the seed of the jitter. They hold for what is appended from now on.
    pub fn set_config(&mut self, config: LogConfig) {
        self.cache.set_max(config.cache_bytes_max);
        self.config = LogConfig {
            segment_jitter_seed: self.config.segment_jitter_seed,
            ..config
        };
    }

    /// From now on nothing is appended that takes the room of its directory's reserve.
    pub fn set_room(&mut self, room: Arc<Room>) {
        self.room = Some(room);
    }

    /// Whether an earlier failure ended its service until it is opened again.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// Whether that failure was one of the disk as a whole ([`millstream_env::is_disk_failure`]): then
    /// nothing else on it is to be believed either.
    #[must_use]
    pub fn has_disk_failed(&self) -> bool {
        self.has_disk_failed
    }

    /// Ends the log's service if an error of a call that changes something says that its disk has failed.
    pub(crate) fn note_failure(&mut self, error: &io::Error) {
        if millstream_env::is_disk_failure(error) {
            self.is_offline = true;
            self.has_disk_failed = true;
        }
    }

    /// The epoch of the last batch.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// The epoch that a record was written in.
    #[must_use]
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.of(offset)
    }

    /// The largest known epoch not above the one asked for, and the exclusive end of its records
    /// (KIP-101, KIP-279). For an epoch before all known ones: itself, and where the known ones
    /// begin. `None` above the newest, and while the log has no records.
    #[must_use]
    pub fn epoch_end_offset(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_of(asked, self.log_end_offset)
    }

    /// Forgets idempotent producers that were silent for too long.
    pub fn expire_producers(&mut self, now: WallTime) {
        self.producers.expire(now, self.config.producer_expiration);
    }

    /// How many idempotent producers are remembered.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// The idempotent producers that are remembered and not expired, by id.
    pub fn active_producers(&self, now: WallTime) -> impl Iterator<Item = ActiveProducer> {
        let expiration = self.config.producer_expiration;
        self.producers.active(now, expiration)
    }

    /// Gives back what an idle log does not need: descriptors and cached batches.
    pub fn release_resources(&mut self) {
        self.cache.clear();
        self.release_files();
    }

    /// Closes the files, unless some of their bytes wait to be synced.
    pub(crate) fn release_files(&mut self) {
        if self.flushed_offset == self.log_end_offset && self.dirty.is_empty() {
            for segment in &mut self.segments {
                segment.close_file();
            }
        }
    }

    pub(crate) fn active(&mut self) -> &mut Segment {
        self.segments
            .last_mut()
            .expect("segment list is never empty")
    }

    pub(crate) fn check_invariants(&self) {
        assert!(self.log_start_offset <= self.log_end_offset);
        assert!(self.flushed_offset <= self.log_end_offset);
        let active = self.segments.last().expect("segment list is never empty");
        assert!(active.end == self.log_end_offset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_log_is_about_a_kilobyte() {
        // Beside it, on the heap: the path, one epoch, a few checkpoints' offsets.
        assert!(size_of::<Log>() + size_of::<Segment>() <= 900);
    }
}
