//! The answers of one connection, in the order of its requests.
//!
//! A client may send many requests before it reads an answer, and some answers wait: for a flush, for
//! new records, for other members of a group. They still leave in request order. This queue holds
//! one slot per request, ready or parked; what is ready at the front may be written. It also says
//! when the connection should stop reading, because the client owes us reading.

use std::collections::VecDeque;

use millstream_coordinator::GroupAnswer;
use millstream_model::{Instant, RequestToken};
use millstream_protocol::frame::Frame;
use millstream_protocol::{ApiKey, ErrorCode};
use millstream_replica::AckFailure;

use crate::append::AppendRefusal;
use crate::context::CloseReason;
use crate::handlers::{ParkedFetch, ParkedGroup, ParkedProduce, ParkedProposal};
use crate::queued::StoredAppend;
use crate::{Broker, Context, Handled, ProposalAnswer};

/// A request whose answer comes later, and what is needed to give it.
pub enum Parked {
    /// Waits for its batches to be durable.
    Produce(ParkedProduce),
    /// Waits for records.
    Fetch(ParkedFetch),
    /// Waits for a group coordinator.
    Group(ParkedGroup),
    /// Waits for the metadata log.
    Proposal(ParkedProposal),
    /// Is handled elsewhere, later. What it hears before that is kept.
    Queued(Vec<CompletionEvent>),
}

impl Parked {
    /// The memory that it keeps, roughly, where that may be much.
    fn bytes(&self) -> usize {
        match self {
            Parked::Fetch(fetch) => fetch.bytes(),
            Parked::Produce(_) | Parked::Group(_) | Parked::Proposal(_) | Parked::Queued(_) => 0,
        }
    }

    /// When to answer with what there is. `None` where something else keeps the time.
    fn deadline(&self) -> Option<Instant> {
        match self {
            Parked::Produce(produce) => produce.deadline(),
            Parked::Fetch(fetch) => Some(fetch.deadline()),
            Parked::Group(_) | Parked::Proposal(_) | Parked::Queued(_) => None,
        }
    }
}

/// News for a parked request.
#[derive(Debug)]
pub struct Completion {
    /// The request.
    pub token: RequestToken,
    /// The news.
    pub event: CompletionEvent,
}

/// What a parked request may hear.
#[derive(Debug)]
pub enum CompletionEvent {
    /// One batch of a produce request that was queued is in the log, or was refused.
    Stored {
        /// Which of the request's waiting batches.
        slot: u32,
        /// Where it is, or why not.
        outcome: Box<Result<StoredAppend, AppendRefusal>>,
    },
    /// A request that was queued was handled.
    Handled(Box<Handled>),
    /// One batch of a produce request is durable, or never will be.
    Appended {
        /// Which of the request's waiting batches.
        slot: u32,
        /// Whether it is durable.
        result: Result<(), AckFailure>,
    },
    /// The high watermark of a partition moved: look again.
    RecordsArrived,
    /// The group coordinator's answer.
    Group {
        /// The answer.
        answer: GroupAnswer,
        /// Set when the coordinator was lost: the answer is sent as this refusal.
        refused: Option<ErrorCode>,
    },
    /// The metadata log's answer.
    Proposal(ProposalAnswer),
}

/// How much a connection may have open.
#[derive(Clone, Copy, Debug)]
pub struct AnswerLimits {
    /// Requests without a written answer.
    pub requests_max: usize,
    /// Bytes of answers that are ready and not written, and of large requests that wait.
    pub bytes_max: usize,
}

impl Default for AnswerLimits {
    fn default() -> Self {
        AnswerLimits {
            requests_max: 64,
            bytes_max: 1 << 20,
        }
    }
}

/// What the time of an answer is counted by.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// The kind of its request.
    pub api_key: ApiKey,
    /// When that was read.
    pub at: Instant,
}

enum Slot {
    Ready(Frame),
    Silent,
    Parked {
        parked: Box<Parked>,
        /// What is counted for it.
        bytes: usize,
        begun: Option<Begun>,
    },
}

/// The answers of one connection.
pub struct AnswerQueue {
    connection: u64,
    limits: AnswerLimits,
    slots: VecDeque<Slot>,
    /// The number of the request in the front slot.
    front_request: u64,
    /// Bytes of answers that are ready, and of large requests that are parked.
    held_bytes: usize,
    /// Until when no further request is to be read: the client is over its quota.
    muted_until: Option<Instant>,
}

impl AnswerQueue {
    /// The empty queue of a new connection.
    #[must_use]
    pub fn new(connection: u64, limits: AnswerLimits) -> AnswerQueue {
        AnswerQueue {
            connection,
            limits,
            slots: VecDeque::new(),
            front_request: 0,
            held_bytes: 0,
            muted_until: None,
        }
    }

    /// Whether another request may be read.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.muted_until.is_none()
            && self.slots.len() < self.limits.requests_max
            && self.held_bytes < self.limits.bytes_max
    }

    /// Bytes of answers that are ready, and of large requests that wait.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// The token the next request will have.
    #[must_use]
    pub fn next_token(&self) -> RequestToken {
        self.token(self.slots.len())
    }

    /// The token of the request in this slot.
    fn token(&self, slot: usize) -> RequestToken {
        RequestToken {
            connection: self.connection,
            request: self.front_request + slot as u64,
        }
    }

    /// Takes the outcome of the request that was given [`AnswerQueue::next_token`]. Nobody counts its time.
    pub fn push(&mut self, handled: Handled) -> Result<(), CloseReason> {
        self.push_begun(handled, None).map(drop)
    }

    /// The same for a request that began at a time. Answers whether its answer is ready; if it is not, the queue
    /// counts how long it took.
    pub fn push_begun(
        &mut self,
        handled: Handled,
        begun: Option<Begun>,
    ) -> Result<bool, CloseReason> {
        let handled = unmuted(handled, &mut self.muted_until);
        let slot = Slot::new(handled, begun, &mut self.held_bytes)?;
        let is_ready = slot.is_ready();
        self.slots.push_back(slot);
        Ok(is_ready)
    }

    /// Takes the next answer to write, if it is ready.
    pub fn pop_ready(&mut self) -> Option<Frame> {
        loop {
            match self.slots.front() {
                None | Some(Slot::Parked { .. }) => return None,
                Some(Slot::Ready(_) | Slot::Silent) => {}
            }
            self.front_request += 1;
            if let Some(Slot::Ready(frame)) = self.slots.pop_front() {
                self.held_bytes -= frame.len();
                return Some(frame);
            }
        }
    }

    /// Whether nothing is left to answer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes news for one request. News for a request that was answered meanwhile is dropped.
    pub fn handle_completion(
        &mut self,
        broker: &Broker,
        context: &mut Context<'_>,
        completion: Completion,
    ) -> Result<(), CloseReason> {
        let Some(index) = completion.token.request.checked_sub(self.front_request) else {
            return Ok(());
        };
        let token = completion.token;
        context.token = token;
        let mut kept = Vec::new();
        let now = context.now;
        self.step(broker, now, index as usize, |parked| {
            match (parked, completion.event) {
                (Parked::Queued(early), CompletionEvent::Handled(handled)) => {
                    kept = std::mem::take(early);
                    Ok(Some(*handled))
                }
                (Parked::Queued(early), event) => {
                    early.push(event);
                    Ok(None)
                }
                (Parked::Produce(produce), CompletionEvent::Stored { slot, outcome }) => {
                    produce.handle_stored(slot, *outcome)
                }
                (Parked::Produce(produce), CompletionEvent::Appended { slot, result }) => {
                    produce.handle_appended(slot, result)
                }
                (Parked::Fetch(fetch), CompletionEvent::RecordsArrived) => {
                    fetch.look(broker, context)
                }
                (Parked::Group(group), CompletionEvent::Group { answer, refused }) => {
                    answered(group.handle_answer(answer, refused))
                }
                (Parked::Proposal(proposal), CompletionEvent::Proposal(answer)) => {
                    answered(proposal.handle_answer(answer))
                }
                (_, event) => {
                    debug_assert!(false, "news {event:?} for a request of another kind");
                    Ok(None)
                }
            }
        })?;
        for event in kept {
            self.handle_completion(broker, context, Completion { token, event })?;
        }
        Ok(())
    }

    /// The next time at which [`AnswerQueue::handle_timeout`] has something to do.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let parked = self.slots.iter().filter_map(|slot| match slot {
            Slot::Parked { parked, .. } => parked.deadline(),
            Slot::Ready(_) | Slot::Silent => None,
        });
        parked.chain(self.muted_until).min()
    }

    /// Answers every parked request whose time is over.
    pub fn handle_timeout(
        &mut self,
        broker: &Broker,
        context: &mut Context<'_>,
    ) -> Result<(), CloseReason> {
        self.muted_until = self.muted_until.filter(|until| *until > context.now);
        for index in 0..self.slots.len() {
            let Slot::Parked { parked, .. } = &self.slots[index] else {
                continue;
            };
            if parked
                .deadline()
                .is_none_or(|deadline| deadline > context.now)
            {
                continue;
            }
            context.token = self.token(index);
            self.step(broker, context.now, index, |parked| match parked {
                Parked::Produce(produce) => produce.handle_timeout(),
                Parked::Fetch(fetch) => fetch.handle_timeout(broker, context),
                Parked::Group(_) | Parked::Proposal(_) | Parked::Queued(_) => Ok(None),
            })?;
        }
        Ok(())
    }

    /// The connection ends: takes its requests out of the queues they wait in.
    pub fn close(&mut self, broker: &Broker, context: &mut Context<'_>) {
        for (index, slot) in std::mem::take(&mut self.slots).into_iter().enumerate() {
            let Slot::Parked { parked, .. } = slot else {
                continue;
            };
            context.token = self.token(index);
            match *parked {
                Parked::Fetch(mut fetch) => fetch.unpark(broker, context),
                Parked::Group(group) => group.disconnect(broker, context),
                Parked::Produce(_) | Parked::Proposal(_) | Parked::Queued(_) => {}
            }
        }
    }

    fn step(
        &mut self,
        broker: &Broker,
        now: Instant,
        index: usize,
        news: impl FnOnce(&mut Parked) -> Result<Option<Handled>, CloseReason>,
    ) -> Result<(), CloseReason> {
        let Some(slot) = self.slots.get_mut(index) else {
            return Ok(());
        };
        let Slot::Parked {
            parked,
            bytes,
            begun,
        } = slot
        else {
            return Ok(());
        };
        let (bytes, begun) = (*bytes, *begun);
        if let Some(handled) = news(parked)? {
            self.held_bytes -= bytes;
            let handled = unmuted(handled, &mut self.muted_until);
            *slot = Slot::new(handled, begun, &mut self.held_bytes)?;
            if let Some(begun) = begun.filter(|_| slot.is_ready()) {
                let took = now.since(begun.at);
                broker.counters.note_took(begun.api_key, took);
            }
        }
        Ok(())
    }
}

/// Takes off how long the connection is muted.
fn unmuted(handled: Handled, muted_until: &mut Option<Instant>) -> Handled {
    let Handled::Throttled { until, handled } = handled else {
        return handled;
    };
    *muted_until = (*muted_until).max(Some(until));
    unmuted(*handled, muted_until)
}

impl Slot {
    fn new(
        handled: Handled,
        begun: Option<Begun>,
        held_bytes: &mut usize,
    ) -> Result<Slot, CloseReason> {
        Ok(match handled {
            Handled::Answered(frame) => {
                *held_bytes += frame.len();
                Slot::Ready(frame)
            }
            Handled::Silent => Slot::Silent,
            Handled::Parked(parked) => {
                let bytes = parked.bytes();
                *held_bytes += bytes;
                Slot::Parked {
                    parked,
                    bytes,
                    begun,
                }
            }
            Handled::Close(reason) => return Err(reason),
            Handled::Throttled { .. } => unreachable!("the queue has taken that off"),
        })
    }

    fn is_ready(&self) -> bool {
        matches!(self, Slot::Ready(_) | Slot::Silent)
    }
}

fn answered(answer: Result<Option<Frame>, CloseReason>) -> Result<Option<Handled>, CloseReason> {
    Ok(answer?.map(Handled::Answered))
}
