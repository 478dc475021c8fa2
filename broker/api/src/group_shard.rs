//! A shard of the group coordinator together with the partition its records live on.
//!
//! Every step runs under the shard's lock: decide, append the records as one batch, replay them, park
//! each answer behind the offset it depends on. If an append fails, or the partition's directory
//! does, the shard is dropped: what was never committed vanishes with it, parked answers become
//! NOT_COORDINATOR, and the shard is loaded again from the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use millstream_coordinator::{After, CoordinatorRecord, GroupAnswer, Outcome, ParkedAnswer, Shard};
use millstream_metadata::OFFSETS_TOPIC;
use millstream_model::{Instant, Offset, RequestToken, WallTime};
use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchBuilder, Codec, ValidationRules, validate};
use millstream_replica::{Acks, HostedPartition, ParkedQueue, Released, Waiter};

use crate::context::queue_flush;
use crate::view::validation_rules;
use crate::{Broker, Completion, CompletionEvent, Effect};

/// Names no request: the shard parks its answers itself.
const NOBODY: Waiter = Waiter {
    token: RequestToken {
        connection: u64::MAX,
        request: 0,
    },
    slot: 0,
};

/// One partition of `__consumer_offsets` as a coordinator.
pub struct GroupShard {
    index: usize,
    state: Mutex<Option<Active>>,
}

/// A loaded shard.
struct Active {
    shard: Shard,
    partition: Arc<HostedPartition>,
    parked: ParkedQueue<ParkedAnswer>,
    high_watermark: Offset,
    /// When the shell was asked to run the timers.
    armed: Option<Instant>,
}

impl GroupShard {
    pub(crate) fn new(index: usize) -> GroupShard {
        GroupShard {
            index,
            state: Mutex::new(None),
        }
    }

    /// Takes a loaded shard into service, unless another thread was sooner.
    pub fn activate(
        &self,
        shard: Shard,
        partition: Arc<HostedPartition>,
        high_watermark: Offset,
        effects: &mut Vec<Effect>,
    ) {
        let parked = ParkedQueue::default();
        let mut active = Active {
            shard,
            partition,
            parked,
            high_watermark,
            armed: None,
        };
        let mut state = self.lock();
        if state.is_none() {
            active.arm(self.index, effects);
            *state = Some(active);
        }
    }

    /// Whether it decides.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.lock().is_some()
    }

    /// Groups that it coordinates.
    #[must_use]
    pub fn group_count(&self) -> usize {
        let state = self.lock();
        state
            .as_ref()
            .map_or(0, |active| active.shard.group_count())
    }

    /// Drops the shard; whoever waits for it is told to look for the coordinator again.
    pub fn unload(&self, effects: &mut Vec<Effect>) {
        if let Some(active) = self.lock().take() {
            active.refuse_all(effects);
        }
    }

    /// Runs one request. `decide` gets the shard, or a loading one when there is none.
    pub(crate) fn step(
        &self,
        broker: &Broker,
        wall: WallTime,
        effects: &mut Vec<Effect>,
        decide: impl FnOnce(&mut Shard) -> Outcome,
    ) {
        let Err(decide) = self.step_if_active(broker, wall, effects, decide) else {
            return;
        };
        let outcome = decide(&mut Shard::loading(broker.config.groups.clone()));
        let view = broker.view();
        let topic = view.topic(OFFSETS_TOPIC);
        let partition = topic.and_then(|topic| topic.partitions.get(self.index));
        let is_hosted = partition.is_some_and(|partition| !partition.is_offline());
        for answer in outcome.answers {
            effects.push(match is_hosted {
                true => complete(answer),
                false => refuse(answer),
            });
        }
    }

    /// Runs a step, or gives `decide` back when the shard is not loaded.
    pub(crate) fn step_if_active<F: FnOnce(&mut Shard) -> Outcome>(
        &self,
        broker: &Broker,
        wall: WallTime,
        effects: &mut Vec<Effect>,
        decide: F,
    ) -> Result<(), F> {
        let mut state = self.lock();
        let Some(active) = state.as_mut() else {
            return Err(decide);
        };
        let outcome = decide(&mut active.shard);
        let released = active.carry_out(broker, wall, outcome, effects);
        self.finish(broker, state, released, effects);
        Ok(())
    }

    /// Runs the timers that are due.
    pub(crate) fn handle_timeout(
        &self,
        broker: &Broker,
        now: Instant,
        wall: WallTime,
        effects: &mut Vec<Effect>,
    ) {
        let mut state = self.lock();
        let Some(active) = state.as_mut() else { return };
        active.armed = None;
        let mut released = Ok(Vec::new());
        while let Ok(all) = &mut released
            && active.shard.next_timeout().is_some_and(|at| at <= now)
        {
            let outcome = active.shard.handle_timeout(now, wall);
            match active.carry_out(broker, wall, outcome, effects) {
                Ok(more) => all.extend(more),
                Err(lost) => released = Err(lost),
            }
        }
        self.finish(broker, state, released, effects);
    }

    /// Sends what waited for records up to `high_watermark`.
    pub fn handle_high_watermark(&self, high_watermark: Offset, effects: &mut Vec<Effect>) {
        if let Some(active) = self.lock().as_mut() {
            active.high_watermark = active.high_watermark.max(high_watermark);
            effects.extend(active.parked.release(active.high_watermark).map(complete));
        }
    }

    /// After a step: arms the timer, or drops the shard; then passes on, without the lock, what the
    /// append released.
    fn finish(
        &self,
        broker: &Broker,
        mut state: MutexGuard<'_, Option<Active>>,
        released: Result<Vec<Released>, AppendFailed>,
        effects: &mut Vec<Effect>,
    ) {
        match released {
            Ok(released) => {
                let Some(active) = state.as_mut() else { return };
                active.arm(self.index, effects);
                let partition = Arc::clone(&active.partition);
                drop(state);
                for one in released {
                    broker.handle_released(&partition, one, effects);
                }
            }
            Err(AppendFailed) => {
                if let Some(active) = state.take() {
                    active.refuse_all(effects);
                }
                effects.push(Effect::ReloadGroups { shard: self.index });
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Active>> {
        // A panic inside a step leaves state that was never committed: the log is the truth.
        self.state
            .lock()
            .unwrap_or_else(|poisoned: PoisonError<_>| {
                self.state.clear_poison();
                let mut state = poisoned.into_inner();
                *state = None;
                state
            })
    }
}

/// The partition did not take the records.
struct AppendFailed;

impl Active {
    fn carry_out(
        &mut self,
        broker: &Broker,
        wall: WallTime,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Released>, AppendFailed> {
        let appended: Result<Vec<_>, _> = outcome
            .batches(broker.config.groups.records_max_bytes)
            .map(|records| self.append(broker, wall, records, effects))
            .collect();
        let appended = match appended {
            Ok(appended) => appended,
            Err(failed) => {
                effects.extend(outcome.answers.into_iter().map(refuse));
                return Err(failed);
            }
        };
        let records_end = appended.last().map_or(self.high_watermark, |(end, _)| *end);
        for answer in outcome.answers {
            let until = match answer.after {
                After::Immediate => Offset::ZERO,
                After::Records => records_end,
                After::Committed(end) => end,
            };
            if until <= self.high_watermark {
                effects.push(complete(answer));
            } else {
                self.parked.park(until, answer);
            }
        }
        Ok(appended.into_iter().map(|(_, released)| released).collect())
    }

    /// Appends the records as one batch and replays them.
    fn append(
        &mut self,
        broker: &Broker,
        wall: WallTime,
        records: &[CoordinatorRecord],
        effects: &mut Vec<Effect>,
    ) -> Result<(Offset, Released), AppendFailed> {
        let failed = |what: &dyn std::fmt::Display| {
            tracing::error!(partition = %self.partition.name, error = %what, "group records lost");
            AppendFailed
        };
        let mut builder = BatchBuilder::new(Codec::None);
        for record in records {
            builder.push(wall.0, Some(&record.key), record.value.as_deref(), []);
        }
        let batch: Bytes = builder.build(0, 0);
        let view = broker.view();
        let topic = view.topic_by_id(self.partition.topic_id);
        let topic = topic.ok_or_else(|| failed(&"the topic is gone"))?;
        // The coordinator keeps to `records_max_bytes`; the bound for clients is not meant for it.
        let rules = ValidationRules {
            max_message_bytes: usize::MAX,
            ..validation_rules(&topic.config, wall)
        };
        let validated = validate(&batch, &rules).map_err(|refusal| failed(&refusal))?;
        let size = batch.len();
        let timed = broker.gates.time_write(self.partition.directory());
        let append = {
            let mut locked = self
                .partition
                .lock()
                .map_err(|_| failed(&"the partition is offline"))?;
            let append = locked.handle_append(batch, size, &validated, Acks::Leader, NOBODY, wall);
            if locked.log().is_offline() {
                // The next round retires what has failed.
                queue_flush(&self.partition, effects);
            }
            if append.is_ok() {
                broker.gates.note_appended(&self.partition, size);
            }
            append
        };
        drop(timed);
        let append = append.map_err(|error| failed(&error))?;
        if append.needs_flush {
            queue_flush(&self.partition, effects);
        }
        for (index, record) in records.iter().enumerate() {
            let offset = append.appended.base_offset.plus(index as i64);
            self.shard
                .replay(offset, record)
                .expect("a record of our own replays");
        }
        Ok((append.appended.last_offset.next(), append.released))
    }

    /// Asks for the timers to be run, if that is sooner than asked before. A timer that moved later is
    /// found out when it fires: heartbeats ask for nothing.
    fn arm(&mut self, index: usize, effects: &mut Vec<Effect>) {
        let Some(at) = self.shard.next_timeout() else {
            return;
        };
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            effects.push(Effect::GroupTimer { shard: index, at });
        }
    }

    fn refuse_all(mut self, effects: &mut Vec<Effect>) {
        effects.extend(self.parked.drain().map(refuse));
        effects.extend(self.shard.drain_parked().into_iter().map(complete));
    }
}

fn complete(answer: ParkedAnswer) -> Effect {
    let event = CompletionEvent::Group {
        answer: answer.body,
        refused: None,
    };
    Effect::Complete(Completion {
        token: answer.token,
        event,
    })
}

fn refuse(answer: ParkedAnswer) -> Effect {
    let refused = Some(ErrorCode::NotCoordinator);
    let event = CompletionEvent::Group {
        answer: answer.body,
        refused,
    };
    Effect::Complete(Completion {
        token: answer.token,
        event,
    })
}

/// The answer as it is sent: refused where the coordinator was lost.
pub(crate) fn settle(answer: GroupAnswer, refused: Option<ErrorCode>, version: i16) -> GroupAnswer {
    match refused {
        None => answer,
        Some(code) => answer.into_refusal(version, code),
    }
}
