//! One partition on its leader.
//!
//! ```text
//!   log_start_offset ≤ flushed_offset ≤ log_end_offset
//!                      high_watermark ≤ log_end_offset
//! ```
//!
//! Appending moves the log end. The high watermark follows what is *durable*: under
//! [`Durability::Fsync`] the flushed offset, under [`Durability::Replicated`] the log end of every
//! in-sync replica (which is this one). Everything a client waits for hangs on the high watermark:
//! `acks=all` answers are parked behind the end of their batch, long polls behind the next move. So
//! "answer only after that is flushed" is data in a queue, and no call order can answer too early.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use millstream_log::{
    AppendError, Appended, ColdRead, CompactionError, CompactionPass, CompactionRules, Dirtiness,
    FlushBeside, FlushEnd, FlushWork, Log, LogConfig, LogRead, OffsetMap, ReadError, Retention,
};
use millstream_model::{LeaderEpoch, Offset, RequestToken, WallTime};
use millstream_protocol::records::ValidatedBatch;

use crate::ParkedQueue;

/// How many replicas a producer waits for (`acks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// No answer at all (0).
    None,
    /// After the leader's append, from its page cache (1).
    Leader,
    /// After every in-sync replica has it, durably (−1).
    All,
}

/// What "a replica has it" means for a topic (`millstream.durability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On stable storage.
    Fsync,
    /// In the page cache, which is Kafka's rule.
    Replicated,
}

/// A place that waits for an append: the request, and which of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// The request.
    pub token: RequestToken,
    /// The partition's place in the request's answer.
    pub slot: u32,
}

/// Why a parked append is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckFailure {
    /// The log directory failed before the batch was durable. It may or may not be kept.
    Storage,
    /// The topic was deleted while the batch waited.
    Deleted,
}

/// The outcome of an accepted append.
#[derive(Debug)]
pub struct PartitionAppend {
    /// What the log says of the batch.
    pub appended: Appended,
    /// Whether the answer comes later, through [`Released::acks`].
    pub is_parked: bool,
    /// Whether the log has bytes a flush round should take.
    pub needs_flush: bool,
    /// What the append itself released (only under [`Durability::Replicated`]).
    pub released: Released,
}

/// What a step of the partition released.
#[derive(Debug, Default)]
pub struct Released {
    /// Parked appends that are answered now.
    pub acks: Vec<(Waiter, Result<(), AckFailure>)>,
    /// Long polls that should look again.
    pub fetches: Vec<RequestToken>,
    /// The new high watermark, when it moved.
    pub high_watermark: Option<Offset>,
}

/// A partition this broker leads.
pub struct Partition {
    log: Log,
    leader_epoch: LeaderEpoch,
    durability: Durability,
    high_watermark: Offset,
    acks: ParkedQueue<Waiter>,
    fetches: BTreeSet<RequestToken>,
    is_offline: bool,
}

impl Partition {
    /// Takes over an opened log as its leader. Recovery has synced everything it kept, so all of it
    /// is below the high watermark.
    #[must_use]
    pub fn new(log: Log, leader_epoch: LeaderEpoch, durability: Durability) -> Partition {
        let partition = Partition {
            high_watermark: log.log_end_offset(),
            log,
            leader_epoch,
            durability,
            acks: ParkedQueue::default(),
            fetches: BTreeSet::new(),
            is_offline: false,
        };
        partition.check_invariants();
        partition
    }

    /// Appends one validated batch, which is a slice of an allocation of `frame_bytes`. With
    /// [`Acks::All`] and a batch that is not durable yet, the waiter is parked.
    pub fn handle_append(
        &mut self,
        batch: Bytes,
        frame_bytes: usize,
        validated: &ValidatedBatch,
        acks: Acks,
        waiter: Waiter,
        now: WallTime,
    ) -> Result<PartitionAppend, AppendError> {
        let epoch = self.leader_epoch;
        let appended = self.log.append(batch, frame_bytes, validated, epoch, now)?;
        let released = self.advance();
        let end = appended.last_offset.next();
        let is_parked = acks == Acks::All && end > self.high_watermark;
        if is_parked {
            self.acks.park(end, waiter);
        }
        Ok(PartitionAppend {
            appended,
            is_parked,
            needs_flush: !self.is_flushed(),
            released,
        })
    }

    /// The topic's configs have changed. What is weaker than before releases what waited for more; what is
    /// stronger holds for what is appended from now on.
    pub fn handle_config(&mut self, config: LogConfig, durability: Durability) -> Released {
        self.log.set_config(config);
        self.durability = durability;
        match self.is_offline {
            true => Released::default(),
            false => self.advance(),
        }
    }

    /// Begins a flush: what to sync, and up to which end that makes the log durable. `None` when
    /// nothing is unflushed.
    pub fn begin_flush(&mut self) -> Option<FlushWork> {
        if self.is_offline {
            return None;
        }
        self.log.begin_flush()
    }

    /// Begins a flush while an earlier one is still syncing ([`Log::begin_flush_beside`]).
    pub fn begin_flush_beside(&mut self) -> FlushBeside {
        match self.is_offline {
            true => FlushBeside::Nothing,
            false => self.log.begin_flush_beside(),
        }
    }

    /// A flush begun by [`Partition::begin_flush`] with this `end` has synced everything.
    pub fn handle_flushed(&mut self, end: FlushEnd) -> Released {
        if self.is_offline {
            return Released::default();
        }
        self.log.complete_flush(end);
        self.advance()
    }

    /// The log directory failed: nothing unflushed may be believed, so the partition goes offline
    /// and everything parked is answered with that.
    pub fn handle_storage_failure(&mut self) -> Released {
        self.log.fail_flush();
        self.retire(AckFailure::Storage)
    }

    /// The log goes on in another directory, where all of it is durable.
    pub fn handle_relocated(&mut self) -> Released {
        self.advance()
    }

    /// The topic is gone.
    pub fn handle_deleted(&mut self) -> Released {
        self.retire(AckFailure::Deleted)
    }

    /// Parks a long poll until the high watermark moves past `seen`, the one its last look was made
    /// under. `false` when it has moved already: look again.
    #[must_use]
    pub fn park_fetch(&mut self, token: RequestToken, seen: Offset) -> bool {
        if self.is_offline || self.high_watermark > seen {
            return false;
        }
        self.fetches.insert(token);
        true
    }

    /// Forgets a long poll that was answered for another reason.
    pub fn unpark_fetch(&mut self, token: RequestToken) {
        self.fetches.remove(&token);
    }

    /// Reads batches from `offset` up to the high watermark.
    pub fn read(
        &self,
        offset: Offset,
        max_bytes: usize,
        at_least_one_batch: bool,
    ) -> Result<LogRead, ReadError> {
        self.log
            .read(offset, max_bytes, self.high_watermark, at_least_one_batch)
    }

    /// As [`Partition::read`], but reads only what the page cache holds. *Errors*: what it does not.
    pub fn read_cached(
        &self,
        offset: Offset,
        max_bytes: usize,
        at_least_one_batch: bool,
    ) -> Result<Result<LogRead, ReadError>, ColdRead> {
        self.log
            .read_cached(offset, max_bytes, self.high_watermark, at_least_one_batch)
    }

    /// Moves the log's start behind what retention does not keep, never past what is both durable and
    /// visible. Answers the start, if segments lie before it that are to be taken out once it is durable.
    pub fn handle_retention(
        &mut self,
        retention: Retention,
        now: WallTime,
    ) -> Result<Option<Offset>, ReadError> {
        if self.is_offline {
            return Ok(None);
        }
        let upper = self.high_watermark.min(self.log.flushed_offset());
        self.log.retain(retention, upper, now)?;
        let has_surplus = self.log.has_surplus_segments();
        Ok(has_surplus.then_some(self.log.log_start_offset()))
    }

    /// Takes the segments before a durable start out of the log ([`Log::take_out_segments`]). A partition
    /// that is deleted or failed is not touched: its folder may be that of a new topic of the name.
    pub fn take_out_segments(&mut self, durable_start: Offset) -> io::Result<Vec<PathBuf>> {
        match self.is_offline {
            true => Ok(Vec::new()),
            false => self.log.take_out_segments(durable_start),
        }
    }

    /// Deletes the records before `offset`; −1 stands for the high watermark. Answers the log's start,
    /// which is not durable yet. *Errors*: `offset` is negative otherwise, or past the high watermark.
    pub fn handle_delete_records(&mut self, offset: i64) -> Result<Offset, ReadError> {
        if self.is_offline {
            return Err(ReadError::Offline);
        }
        let offset = match offset {
            -1 => self.high_watermark,
            offset => Offset(offset),
        };
        if offset < Offset::ZERO || offset > self.high_watermark {
            return Err(ReadError::OutOfRange {
                offset,
                valid: self.log.log_start_offset()..self.high_watermark,
            });
        }
        self.log.advance_start(offset);
        self.check_invariants();
        Ok(self.log.log_start_offset())
    }

    /// How dirty the log is by its topic's rules. `None`: not at all, or offline.
    pub fn dirtiness(
        &self,
        rules: &CompactionRules,
        now: WallTime,
    ) -> Result<Option<Dirtiness>, ReadError> {
        match self.is_offline {
            true => Ok(None),
            false => self.log.dirtiness(rules, self.last_stable_offset(), now),
        }
    }

    /// Begins to compact what consumers may see and is durable. `None` when there is nothing to compact.
    pub fn begin_compaction(
        &self,
        rules: &CompactionRules,
        now: WallTime,
        map: OffsetMap,
    ) -> Result<Option<CompactionPass>, ReadError> {
        if self.is_offline {
            return Err(ReadError::Offline);
        }
        let upper = self.last_stable_offset();
        self.log.begin_compaction(rules, upper, now, map)
    }

    /// Puts the segment that a pass has written in place. *Errors*: those of [`Log::install_cleaned`]; or
    /// the partition is offline, perhaps deleted: under its directory's name there may be another one.
    pub fn install_cleaned(&mut self, pass: &mut CompactionPass) -> Result<(), CompactionError> {
        match self.is_offline {
            true => Err(ReadError::Offline.into()),
            false => self.log.install_cleaned(pass),
        }
    }

    /// Renames the files of segments that were replaced, for the owner to remove. *Errors*: as above.
    pub fn put_away_replaced(
        &mut self,
        pass: &mut CompactionPass,
    ) -> Result<Vec<PathBuf>, CompactionError> {
        match self.is_offline {
            true => Err(ReadError::Offline.into()),
            false => self.log.put_away_replaced(pass),
        }
    }

    /// The end of what consumers may see, exclusive.
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The end of what `read_committed` consumers may see: without transactions, the high watermark.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// The epoch this broker leads the partition in.
    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The largest epoch of the log not above the one asked for, and the exclusive end of its records
    /// (KIP-101, KIP-279). The epoch this broker leads in is one of them before anything was written in
    /// it: a position at the end may be of that epoch. For an epoch before all of the log: itself, and
    /// where the log's begin. `None` above the present epoch.
    #[must_use]
    pub fn epoch_end_offset(&self, asked: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        let end = self.log.log_end_offset();
        if asked == self.leader_epoch {
            return Some((asked, end));
        }
        if asked.0 < 0 || asked > self.leader_epoch {
            return None;
        }
        // Those after the newest record's had no record, up to the present one, which begins at the end.
        let without_records = || (self.log.latest_epoch().unwrap_or(asked), end);
        Some(
            self.log
                .epoch_end_offset(asked)
                .unwrap_or_else(without_records),
        )
    }

    /// Whether the partition failed and takes no requests.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.is_offline
    }

    /// The log, to look things up in.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The log, for its owner to close or checkpoint it.
    pub fn log_mut(&mut self) -> &mut Log {
        &mut self.log
    }

    fn is_flushed(&self) -> bool {
        self.log.flushed_offset() >= self.log.log_end_offset()
    }

    /// Moves the high watermark to what is durable now and releases what waited for that.
    fn advance(&mut self) -> Released {
        let durable = match self.durability {
            Durability::Fsync => self.log.flushed_offset(),
            Durability::Replicated => self.log.log_end_offset(),
        };
        if durable <= self.high_watermark {
            return Released::default();
        }
        self.high_watermark = durable;
        self.check_invariants();
        Released {
            acks: self
                .acks
                .release(durable)
                .map(|waiter| (waiter, Ok(())))
                .collect(),
            fetches: std::mem::take(&mut self.fetches).into_iter().collect(),
            high_watermark: Some(durable),
        }
    }

    fn retire(&mut self, failure: AckFailure) -> Released {
        self.is_offline = true;
        Released {
            acks: self
                .acks
                .drain()
                .map(|waiter| (waiter, Err(failure)))
                .collect(),
            fetches: std::mem::take(&mut self.fetches).into_iter().collect(),
            high_watermark: None,
        }
    }

    fn check_invariants(&self) {
        assert!(self.high_watermark <= self.log.log_end_offset());
        assert!(self.log.flushed_offset() <= self.log.log_end_offset());
        assert!(self.log.log_start_offset() <= self.log.log_end_offset());
    }
}
