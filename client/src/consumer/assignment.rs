//! The partitions of a consumer and what to ask for next; without sockets.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use tokio::time::Instant;

use super::config::{ConsumerConfig, OffsetReset};
use super::error::ConsumeError;
use super::partition::{PartitionState, Position};
use super::record::ConsumerRecord;
use crate::backoff::Dice;
use crate::cluster::{Metadata, TopicPartition};
use crate::error::BrokerCode;
use crate::offsets::{ListedOffset, OffsetSpec};

/// One partition in a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) target: TopicPartition,
    pub(crate) generation: u64,
    pub(crate) offset: i64,
    /// Epoch of the last record read, −1 if unknown.
    pub(crate) last_epoch: i32,
    /// Epoch of the leader as known here.
    pub(crate) leader_epoch: i32,
}

/// The answer for one partition of a fetch.
#[derive(Debug, Clone, Default)]
pub(crate) struct FetchedPartition {
    pub(crate) code: i16,
    pub(crate) high_watermark: i64,
    /// Epoch and end offset where the logs part, if they do.
    pub(crate) diverging: Option<(i32, i64)>,
    pub(crate) aborted: Vec<(i64, i64)>,
    pub(crate) records: Bytes,
}

/// The lookups that are needed before partitions can be read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lookups {
    pub(crate) committed: Vec<(TopicPartition, u64)>,
    pub(crate) specs: BTreeMap<TopicPartition, (OffsetSpec, u64)>,
}

/// Assigned partitions in the order in which they are served.
#[derive(Debug)]
pub(crate) struct Assignment {
    config: ConsumerConfig,
    partitions: Vec<PartitionState>,
    turn: usize,
    dice: Dice,
    // Found while taking an answer apart; handed out by the next `take`.
    trouble: Vec<ConsumeError>,
    pub(crate) wants_metadata: bool,
}

impl Assignment {
    pub(crate) fn new(config: ConsumerConfig, dice: Dice) -> Self {
        Self {
            config,
            partitions: Vec::new(),
            turn: 0,
            dice,
            trouble: Vec::new(),
            wants_metadata: false,
        }
    }

    /// Replaces the assignment; partitions that stay keep their position.
    pub(crate) fn assign(&mut self, targets: Vec<TopicPartition>) {
        let mut old = std::mem::take(&mut self.partitions);
        for target in targets {
            if self.find(&target).is_some() {
                continue;
            }
            let kept = old.iter().position(|state| state.target == target);
            let state = match kept {
                Some(at) => old.swap_remove(at),
                None => PartitionState::new(target, Position::Committed),
            };
            self.partitions.push(state);
        }
        self.turn = 0;
    }

    pub(crate) fn partitions(&self) -> &[PartitionState] {
        &self.partitions
    }

    pub(crate) fn find(&mut self, target: &TopicPartition) -> Option<&mut PartitionState> {
        self.partitions
            .iter_mut()
            .find(|state| state.target == *target)
    }

    /// Hands out up to `poll_records_max` records, partition by partition. *Errors*: only when there is no record before
    /// the trouble.
    pub(crate) fn take(&mut self) -> Result<Vec<ConsumerRecord>, ConsumeError> {
        let mut out = Vec::new();
        let max = self.config.poll_records_max.max(1);
        let count = self.partitions.len();
        for step in 0..count {
            let at = (self.turn + step) % count;
            let state = &mut self.partitions[at];
            if state.is_paused || !state.has_data() {
                continue;
            }
            if let Err(error) = state.take(max, self.config.check_crc, &mut out) {
                self.trouble.push(error);
            }
            if out.len() >= max {
                self.turn = at;
                return Ok(out);
            }
        }
        self.turn = if count == 0 {
            0
        } else {
            (self.turn + 1) % count
        };
        if out.is_empty()
            && let Some(error) = self.trouble.pop()
        {
            return Err(error);
        }
        Ok(out)
    }

    /// Positions to look up; they count as being looked up from now on.
    pub(crate) fn lookups(&mut self, now: Instant) -> Lookups {
        let mut lookups = Lookups::default();
        let has_group = self.config.group_id.is_some();
        let reset = self.config.offset_reset;
        for state in &mut self.partitions {
            if state.is_busy || state.not_before.is_some_and(|at| at > now) {
                continue;
            }
            if state.position == Position::Committed && !has_group {
                match spec_of(reset) {
                    Some(spec) => state.position = Position::Spec(spec),
                    None => {
                        self.trouble.push(ConsumeError::NoPosition {
                            target: state.target.clone(),
                        });
                        // Asked about once per wait, not in every turn.
                        state.not_before = Some(now + self.config.backoff.longest);
                        continue;
                    }
                }
            }
            let generation = state.generation;
            match state.position {
                Position::Committed => lookups.committed.push((state.target.clone(), generation)),
                Position::Spec(spec) => {
                    lookups
                        .specs
                        .insert(state.target.clone(), (spec, generation));
                }
                Position::At { .. } => continue,
            }
            state.is_busy = true;
        }
        lookups
    }

    /// The result of looking up committed offsets: none for a partition without one.
    pub(crate) fn handle_committed(
        &mut self,
        target: &TopicPartition,
        generation: u64,
        committed: Option<(i64, i32)>,
        now: Instant,
    ) {
        let reset = self.config.offset_reset;
        let longest = self.config.backoff.longest;
        let Some(state) = self.current(target, generation) else {
            return;
        };
        state.is_busy = false;
        match (committed, spec_of(reset)) {
            (Some((offset, leader_epoch)), _) => {
                state.position = Position::At {
                    offset,
                    leader_epoch,
                }
            }
            (None, Some(spec)) => state.position = Position::Spec(spec),
            (None, None) => {
                state.not_before = Some(now + longest);
                self.trouble.push(ConsumeError::NoPosition {
                    target: target.clone(),
                });
            }
        }
    }

    /// The result of ListOffsets; where nothing fits, the end is asked for.
    pub(crate) fn handle_listed(
        &mut self,
        target: &TopicPartition,
        generation: u64,
        listed: ListedOffset,
    ) {
        if let Some(state) = self.current(target, generation) {
            state.is_busy = false;
            state.failures = 0;
            state.position = match listed.offset {
                // The epoch is that of the record there, not of the one before.
                Some(offset) => Position::At {
                    offset,
                    leader_epoch: -1,
                },
                None => Position::Spec(OffsetSpec::Latest),
            };
        }
    }

    /// A lookup failed; it is tried again after a wait.
    pub(crate) fn handle_lookup_failed(
        &mut self,
        target: &TopicPartition,
        generation: u64,
        now: Instant,
    ) {
        self.back_off(target, generation, now);
    }

    /// What to ask which broker, leaving out brokers for which `is_asked`. Partitions count as busy from now on.
    pub(crate) fn fetches(
        &mut self,
        metadata: &Metadata,
        now: Instant,
        is_asked: impl Fn(i32) -> bool,
    ) -> BTreeMap<i32, Vec<Ask>> {
        let mut fetches: BTreeMap<i32, Vec<Ask>> = BTreeMap::new();
        let count = self.partitions.len();
        for step in 0..count {
            let state = &mut self.partitions[(self.turn + step) % count];
            let Position::At {
                offset,
                leader_epoch: last_epoch,
            } = state.position
            else {
                continue;
            };
            let must_wait = state.not_before.is_some_and(|at| at > now);
            if state.is_paused || state.is_busy || state.has_data() || must_wait {
                continue;
            }
            let TopicPartition { topic, partition } = &state.target;
            let Some((node, leader_epoch)) = metadata.leader(topic, *partition) else {
                self.wants_metadata = true;
                continue;
            };
            if is_asked(node) {
                continue;
            }
            state.is_busy = true;
            fetches.entry(node).or_default().push(Ask {
                target: state.target.clone(),
                generation: state.generation,
                offset,
                last_epoch,
                leader_epoch,
            });
        }
        fetches
    }

    /// The answer for one partition of a fetch.
    pub(crate) fn handle_fetched(&mut self, ask: &Ask, fetched: FetchedPartition, now: Instant) {
        let reset = spec_of(self.config.offset_reset);
        let Some(state) = self.current(&ask.target, ask.generation) else {
            return;
        };
        state.is_busy = false;
        let Some(code) = BrokerCode::of(fetched.code) else {
            state.failures = 0;
            if let Some((epoch, end_offset)) = fetched.diverging {
                let truncated = ConsumeError::Truncated {
                    target: ask.target.clone(),
                    offset: ask.offset,
                    epoch,
                    end_offset,
                };
                return self.handle_truncated(ask, truncated, end_offset, now);
            }
            state.high_watermark = Some(fetched.high_watermark);
            state.accept(fetched.records, &fetched.aborted);
            return;
        };
        if code.is(ErrorCode::OffsetOutOfRange) {
            match reset {
                Some(spec) => {
                    tracing::warn!(partition = %ask.target, offset = ask.offset, ?spec, "position is outside the log");
                    state.seek(Position::Spec(spec));
                }
                None => {
                    self.back_off(&ask.target, ask.generation, now);
                    self.trouble.push(ConsumeError::OffsetOutOfRange {
                        target: ask.target.clone(),
                        offset: ask.offset,
                    });
                }
            }
            return;
        }
        self.wants_metadata |= code.means_stale_metadata();
        self.back_off(&ask.target, ask.generation, now);
        if !code.is_retriable() || code.is(ErrorCode::CorruptMessage) {
            self.trouble.push(ConsumeError::Refused {
                target: ask.target.clone(),
                code,
            });
        }
    }

    /// A whole fetch failed.
    pub(crate) fn handle_fetch_failed(&mut self, asks: &[Ask], now: Instant) {
        self.wants_metadata = true;
        for ask in asks {
            self.back_off(&ask.target, ask.generation, now);
        }
    }

    /// When a waiting partition may be asked about again.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let waits = self.partitions.iter().filter_map(|state| state.not_before);
        waits.filter(|at| *at > now).min()
    }

    /// The log parted from what was read: with a reset policy reading goes on where the logs part (KIP-320).
    fn handle_truncated(
        &mut self,
        ask: &Ask,
        truncated: ConsumeError,
        end_offset: i64,
        now: Instant,
    ) {
        if self.config.offset_reset == OffsetReset::Fail {
            self.back_off(&ask.target, ask.generation, now);
            self.trouble.push(truncated);
            return;
        }
        tracing::warn!(%truncated, "reading on where the logs part");
        if let Some(state) = self.current(&ask.target, ask.generation) {
            state.seek(Position::At {
                offset: end_offset.min(ask.offset),
                leader_epoch: -1,
            });
        }
    }

    fn back_off(&mut self, target: &TopicPartition, generation: u64, now: Instant) {
        let random = self.dice.roll();
        let backoff = self.config.backoff;
        if let Some(state) = self.current(target, generation) {
            state.is_busy = false;
            state.failures += 1;
            state.not_before = Some(now + backoff.after(state.failures, random));
        }
    }

    fn current(&mut self, target: &TopicPartition, generation: u64) -> Option<&mut PartitionState> {
        self.find(target)
            .filter(|state| state.generation == generation)
    }
}

fn spec_of(reset: OffsetReset) -> Option<OffsetSpec> {
    match reset {
        OffsetReset::Earliest => Some(OffsetSpec::Earliest),
        OffsetReset::Latest => Some(OffsetSpec::Latest),
        OffsetReset::Fail => None,
    }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
mod tests;
