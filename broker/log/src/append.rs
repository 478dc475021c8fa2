//! Appending: check the producer, stamp, one write, then everything else.
//!
//! Nothing that others can see changes before the write has succeeded. A write that fails or takes
//! only a part is taken back by cutting the file to its old size; where even that fails, the end of
//! the log is unknown and the log goes offline.

use std::io::{self, IoSlice};

use bytes::Bytes;
use millstream_model::{LeaderEpoch, Offset, WallTime};
use millstream_protocol::records::{BatchHeader, HEADER_SIZE, ValidatedBatch};

use crate::producer_state::{ProducerBatch, Verdict};
use crate::{AppendError, Log};

/// Where an appended batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record, inclusive.
    pub last_offset: Offset,
    /// What an answer carries as such: the broker's time where it is the records', else
    /// [`WallTime::NONE`]; for a duplicate, the old batch's largest timestamp (as Kafka does).
    pub log_append_time: WallTime,
    /// Whether the batch was in the log already.
    pub duplicate: bool,
    /// Where the log begins.
    pub log_start_offset: Offset,
}

impl Log {
    /// Appends one validated batch at the log's end, or recognises it as a duplicate. `batch` is the
    /// header as received (what is stored is `validated.header`) and its records.
    ///
    /// `batch` is a slice of an allocation of `frame_bytes`: the cache shares it unless that would
    /// keep more than twice the batch alive. Where the allocation is not known, `usize::MAX` has the
    /// cache keep a copy.
    pub fn append(
        &mut self,
        batch: Bytes,
        frame_bytes: usize,
        validated: &ValidatedBatch,
        leader_epoch: LeaderEpoch,
        now: WallTime,
    ) -> Result<Appended, AppendError> {
        let header = self.header_at_end(validated, leader_epoch);
        assert!(batch.len() == header.size_in_bytes(), "a batch is whole");
        if self.is_offline {
            return Err(AppendError::Offline);
        }
        if batch.len() as u64 > self.config.segment_bytes_max() {
            return Err(AppendError::LargerThanSegment {
                size: batch.len(),
                max: self.config.segment_bytes,
            });
        }
        if header.has_producer_id() && !header.is_control() {
            let expiration = self.config.producer_expiration;
            if let Verdict::Duplicate(old) = self.producers.check(&header, now, expiration)? {
                return Ok(self.answer_duplicate(&old));
            }
        }
        self.check_room(batch.len())?;
        self.roll_if_needed(&header, now)?;
        self.write(&header.to_bytes(), &batch[HEADER_SIZE..])?;
        self.publish(&header, &batch, frame_bytes, now);
        Ok(Appended {
            base_offset: Offset(header.base_offset),
            last_offset: Offset(header.last_offset()),
            log_append_time: validated.log_append_time.map_or(WallTime::NONE, WallTime),
            duplicate: false,
            log_start_offset: self.log_start_offset,
        })
    }

    /// Whether records of so many bytes may be written now.
    fn check_room(&self, bytes: usize) -> Result<(), AppendError> {
        if let Some(unfinished) = &self.unfinished_cut {
            return Err(AppendError::AwaitsCut {
                path: unfinished.path.clone(),
                bytes: unfinished.bytes,
            });
        }
        match &self.room {
            Some(room) if !self.config.may_use_reserve => Ok(room.check(bytes)?),
            _ => Ok(()),
        }
    }

    fn header_at_end(&self, validated: &ValidatedBatch, leader_epoch: LeaderEpoch) -> BatchHeader {
        BatchHeader {
            base_offset: self.log_end_offset.0,
            partition_leader_epoch: leader_epoch.0,
            ..validated.header
        }
    }

    fn answer_duplicate(&self, old: &ProducerBatch) -> Appended {
        Appended {
            base_offset: old.base_offset(),
            last_offset: old.last_offset,
            log_append_time: old.timestamp,
            duplicate: true,
            log_start_offset: self.log_start_offset,
        }
    }

    fn roll_if_needed(&mut self, header: &BatchHeader, now: WallTime) -> Result<(), AppendError> {
        let config = self.config;
        let must = self.active().must_roll(
            &config,
            header.size_in_bytes(),
            header.max_timestamp,
            Offset(header.last_offset()),
            now,
        );
        if !must {
            return Ok(());
        }
        self.roll(now).map_err(|source| {
            self.note_failure(&source);
            AppendError::Io {
                path: self.place.directory.clone(),
                source,
            }
        })
    }

    /// Writes header and records at the end of the active segment, whole or not at all.
    fn write(&mut self, header: &[u8; HEADER_SIZE], records: &[u8]) -> Result<(), AppendError> {
        let active = self.segments.last().expect("segment list is never empty");
        let failed = |source| AppendError::Io {
            path: active.log_path(&self.place),
            source,
        };
        let file = active.file(&self.place).map_err(failed)?;
        let parts = [IoSlice::new(header), IoSlice::new(records)];
        let size = header.len() + records.len();
        let failure = match file.write_vectored_at(&parts, active.size) {
            Ok(written) if written == size => return Ok(()),
            Ok(_) => io::ErrorKind::WriteZero.into(),
            Err(failure) => failure,
        };
        let (path, position) = (active.log_path(&self.place), active.size);
        if let Err(source) = file.truncate(position) {
            tracing::error!(
                path = %path.display(), position, error = %source,
                "failed append cannot be taken back: log is offline"
            );
            self.is_offline = true;
        }
        self.note_failure(&failure);
        Err(AppendError::Io {
            path,
            source: failure,
        })
    }

    /// Makes a written batch part of the log.
    fn publish(&mut self, header: &BatchHeader, batch: &Bytes, frame_bytes: usize, now: WallTime) {
        let config = self.config;
        let base = self.log_end_offset;
        let active = self.active();
        let start = active.size;
        active.note_batch(header, &config);
        active.note_verified(start..active.size);
        let end = active.end;
        if active.has_many_pending_entries() {
            self.write_pending_entries();
        }
        self.log_end_offset = end;
        self.dirty.note_appended(header.size_in_bytes());
        if let Some(room) = &self.room {
            room.note_appended(header.size_in_bytes());
        }
        self.idle_checkpoints = 0;
        self.producers.apply(header, now);
        if self
            .epochs
            .assign(LeaderEpoch(header.partition_leader_epoch), base)
        {
            self.dirty.note_epochs();
        }
        self.cache
            .push(base..end, &header.to_bytes(), batch, frame_bytes);
        self.check_invariants();
    }

    /// Index entries are hints: a failure to write them costs time later, and is tried again.
    pub(crate) fn write_pending_entries(&mut self) {
        let place = self.place.clone();
        if let Err(error) = self.active().persist_indexes(&place) {
            tracing::warn!(directory = %place.directory.display(), %error, "index not written");
        }
    }
}
