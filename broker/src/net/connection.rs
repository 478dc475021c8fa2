//! One connection: a task that reads requests, hands them to the node, and writes the answers in
//! order.
//!
//! The task owns its state. Each turn takes the news, cuts and handles what has been read, writes
//! what is ready, then sleeps until one of these can go on. Reading stops while the client has too
//! many answers outstanding, and while a large request waits for its part of the budget; a client that
//! does not read its answers is closed. A panic in a turn costs the connection and nothing else.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_api::{
    AnswerBudget, AnswerLimits, AnswerQueue, Begun, Client, Context, Effect, handle_frame, kind_of,
};
use millstream_model::Instant;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::charge::Charge;
use super::complaints::Complaints;
use super::frame_reader::{FrameError, FrameReader};
use super::inbox::Inbox;
use super::listener::{ConnectionCounters, NetLimits, Shared};
use super::outgoing::Outgoing;
use crate::shell::Shell;

/// A frame must arrive within this, and a second more for each MiB it announces.
const FRAME_DEADLINE: Duration = Duration::from_secs(10);
/// A client that takes no byte of a waiting answer for this long is closed.
const WRITE_DEADLINE: Duration = Duration::from_secs(60);
/// The same while there is no room for answers.
const WRITE_DEADLINE_PRESSED: Duration = Duration::from_secs(10);
/// A buffer in which nothing has arrived for this long is given back.
const IDLE_BUFFER: Duration = Duration::from_secs(1);
/// Whoever wakes up so much later than it was to was held up with the whole broker.
const STALL_MIN: Duration = Duration::from_secs(1);
/// Frames handled before the task writes and lets others run.
const FRAMES_PER_TURN: usize = 16;

/// Why a connection ends. Only the first two are the ordinary way.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the peer closed the connection")]
    ByPeer,
    #[error("the broker is stopping")]
    Stopping,
    #[error("idle for connections.max.idle.ms={}", .0.as_millis())]
    Idle(Duration),
    #[error("a request of {0} bytes did not arrive in time")]
    FrameTimeout(usize),
    #[error("{0} bytes of answers were not read for {1:?}")]
    NotReading(usize, Duration),
    #[error("{0} bytes of answers are not read yet, and there is no room for more")]
    NoRoom(usize),
    #[error("a panic in the broker: a bug, told above")]
    Panicked,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("{0}")]
    Refused(millstream_api::CloseReason),
    #[error("socket failed: {0}")]
    Socket(#[from] io::Error),
}

/// A connection and all its state.
pub struct Connection {
    id: u64,
    stream: TcpStream,
    shell: Arc<Shell>,
    inbox: Arc<Inbox>,
    client: Client,
    limits: NetLimits,
    reader: FrameReader,
    /// What the reader's buffer has beyond its allowance.
    charge: Charge,
    /// Whether the frame being read may not grow before the budget grants it.
    awaits_budget: bool,
    answers: AnswerQueue,
    outgoing: Outgoing,
    /// What the broker's budget counts of these two.
    counted_answers: usize,
    complaints: Arc<Complaints>,
    counters: Arc<ConnectionCounters>,
    /// When the frame being read began.
    frame_began: Option<Instant>,
    /// Since when the broker does not read, for a reason of its own.
    paused: Option<Instant>,
    /// When the last byte came or went.
    last_active: Instant,
    /// When the socket last took a byte of what is outgoing.
    last_written: Instant,
    has_unread: bool,
}

impl Connection {
    /// Takes over an accepted socket.
    pub fn new(
        id: u64,
        stream: TcpStream,
        peer: SocketAddr,
        client: Client,
        shell: Arc<Shell>,
        limits: NetLimits,
        shared: &Shared,
    ) -> Connection {
        tracing::debug!(connection = id, %peer, "connection accepted");
        let now = shell.node.now();
        Connection {
            id,
            stream,
            inbox: shell.inboxes.open(id),
            shell,
            client,
            reader: FrameReader::new(limits.frame_bytes_max),
            limits,
            charge: Charge::new(Arc::clone(&shared.budget)),
            awaits_budget: false,
            answers: AnswerQueue::new(id, AnswerLimits::default()),
            outgoing: Outgoing::default(),
            counted_answers: 0,
            complaints: Arc::clone(&shared.complaints),
            counters: Arc::clone(&shared.counters),
            frame_began: None,
            paused: None,
            last_active: now,
            last_written: now,
            has_unread: true,
        }
    }

    /// Serves the connection to its end.
    pub async fn run(mut self, stop: watch::Receiver<bool>) {
        let ended = self.serve(stop).await;
        self.shell.inboxes.close(self.id);
        let mut effects = Vec::new();
        self.with_context(&mut effects, |this, context| {
            this.answers.close(&this.shell.node.broker, context);
        });
        self.shell.carry_out(effects);
        let budget = &self.shell.node.broker.answers;
        let _nothing_is_left = budget.count(self.counted_answers, 0);
        self.say(&ended);
    }

    /// Says in the log why the connection ended. Of what peers do wrong, not more than a line a minute each.
    fn say(&self, ended: &Ended) {
        let (connection, client) = (self.id, &*self.client.host);
        match ended {
            Ended::ByPeer | Ended::Stopping | Ended::Idle(_) | Ended::Socket(_) => {
                tracing::debug!(connection, reason = %ended, "connection closed");
            }
            Ended::Panicked => {
                tracing::error!(connection, client, reason = %ended, "connection closed");
            }
            _ => {
                let now = self.shell.node.now();
                if let Some(unsaid) = self.complaints.begin(client, now) {
                    tracing::warn!(connection, client, reason = %ended, unsaid, "connection refused");
                }
            }
        }
    }

    async fn serve(&mut self, mut stop: watch::Receiver<bool>) -> Ended {
        loop {
            // What a panic leaves behind is only taken out of the queues where others would find it.
            let turn = catch_unwind(AssertUnwindSafe(|| self.turn()));
            let may_go_on = match turn {
                Ok(Ok(may_go_on)) => may_go_on,
                Ok(Err(ended)) => return ended,
                Err(_told_by_the_hook) => {
                    self.shell.panics.fetch_add(1, Ordering::Relaxed);
                    return Ended::Panicked;
                }
            };
            if *stop.borrow() && self.answers.is_empty() && self.outgoing.is_empty() {
                return Ended::Stopping;
            }
            if may_go_on {
                tokio::task::yield_now().await;
                continue;
            }
            let (until, on_timeout) = self.next_deadline();
            let wait = until.since(self.shell.node.now());
            let may_read = self.may_read() && !*stop.borrow();
            // Every arm only waits; what became ready is done in the next turn, so all are
            // cancel-safe.
            tokio::select! {
                ready = self.stream.readable(), if may_read => match ready {
                    Ok(()) => self.has_unread = true,
                    Err(error) => return error.into(),
                },
                ready = self.stream.writable(), if !self.outgoing.is_empty() => {
                    if let Err(error) = ready {
                        return error.into();
                    }
                }
                () = self.charge.granted(), if self.awaits_budget => {}
                () = self.inbox.wait() => {}
                _ = stop.changed() => {}
                () = tokio::time::sleep(wait) => {
                    if !self.was_stalled(until) && let Some(ended) = on_timeout {
                        return ended;
                    }
                    self.release_idle_buffer();
                }
            }
        }
    }

    /// Whether the broker was held up: it wakes up long after `until`. What did not come or go meanwhile is not
    /// the peer's fault, so all its deadlines begin anew.
    fn was_stalled(&mut self, until: Instant) -> bool {
        let now = self.shell.node.now();
        if now.since(until) < STALL_MIN {
            return false;
        }
        self.last_active = now;
        self.last_written = now;
        self.frame_began = self.frame_began.map(|_| now);
        true
    }

    /// Most connections are silent most of the time, and what they read into last is memory all the same.
    fn release_idle_buffer(&mut self) {
        if self.shell.node.now() >= self.last_active.after(IDLE_BUFFER) {
            self.reader.release_unused();
        }
    }

    /// Does everything that can be done without waiting. Answers whether it stopped early only to
    /// let others run.
    fn turn(&mut self) -> Result<bool, Ended> {
        self.hear()?;
        self.awaits_budget = false;
        let mut handled = 0;
        while self.may_read() && handled < FRAMES_PER_TURN {
            match self.reader.next()? {
                Some(frame) => {
                    self.frame_began = None;
                    self.handle(&frame)?;
                    drop(frame);
                    self.charge.release();
                    handled += 1;
                }
                None if self.has_unread => self.read()?,
                None => break,
            }
        }
        self.write()?;
        self.count_answers()?;
        self.note_pause();
        Ok(handled == FRAMES_PER_TURN)
    }

    /// Whether the broker wants more of this connection. A frame that has charged the budget is read
    /// to its end, for others may wait for what it holds.
    fn may_read(&self) -> bool {
        (self.answers.has_room() || self.charge.is_held()) && !self.awaits_budget
    }

    /// Notes whether the broker reads from here on.
    fn note_pause(&mut self) {
        if self.may_read() {
            self.resume();
        } else if self.paused.is_none() {
            self.paused = Some(self.shell.node.now());
        }
    }

    /// The time in which the broker did not read is not the peer's: it moves the frame's deadline.
    fn resume(&mut self) {
        let Some(since) = self.paused.take() else {
            return;
        };
        let now = self.shell.node.now();
        self.last_active = now;
        self.frame_began = self.frame_began.map(|began| began.after(now.since(since)));
    }

    /// Asks for the buffer that the next read should have. Answers how large it may be; `None`: the
    /// frame waits for the budget.
    fn granted_space(&mut self) -> Option<usize> {
        let wanted = self.reader.wanted();
        let allowance = self.charge.allowance();
        let beyond = wanted.saturating_sub(allowance);
        if beyond == 0 {
            return Some(wanted);
        }
        match self.reader.announced() {
            Some(_) => self.charge.grow(beyond).then_some(wanted),
            // A buffer for a frame of which nothing is known is worth no waiting.
            None if self.charge.is_held() || self.charge.begin(beyond) => Some(wanted),
            None => Some(allowance),
        }
    }

    fn read(&mut self) -> Result<(), Ended> {
        let Some(space) = self.granted_space() else {
            self.awaits_budget = true;
            return Ok(());
        };
        self.resume();
        match self.stream.try_read_buf(self.reader.space(space)) {
            Ok(0) => Err(Ended::ByPeer),
            Ok(_) => {
                let now = self.shell.node.now();
                self.last_active = now;
                self.frame_began.get_or_insert(now);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.has_unread = false;
                if self.charge.is_held() && !self.reader.is_inside_frame() {
                    self.reader.release_unused();
                    self.charge.release();
                }
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    fn handle(&mut self, frame: &bytes::Bytes) -> Result<(), Ended> {
        let mut effects = Vec::new();
        let token = self.answers.next_token();
        let (handled, at) = self.with_context(&mut effects, |this, context| {
            context.token = token;
            let handled = handle_frame(&this.shell.node.broker, context, frame);
            (handled, context.now)
        });
        let begun = kind_of(frame).map(|api_key| Begun { api_key, at });
        let pushed = self.answers.push_begun(handled, begun);
        if let (Some(begun), Ok(true)) = (begun, &pushed) {
            let node = &self.shell.node;
            let took = node.now().since(begun.at);
            node.broker.counters.note_took(begun.api_key, took);
        }
        let is_parked = matches!(pushed, Ok(false));
        // What else has arrived would have to wait for the sync, and not be in it.
        if is_parked && self.reader.is_empty() {
            self.shell.flush_here(&mut effects);
        }
        self.carry_out(effects)?;
        pushed.map(drop).map_err(Ended::Refused)
    }

    /// Takes the news for parked requests, and what is due.
    fn hear(&mut self) -> Result<(), Ended> {
        for completion in self.inbox.take() {
            self.complete(completion)?;
        }
        if self
            .answers
            .next_timeout()
            .is_some_and(|at| at <= self.shell.node.now())
        {
            let mut effects = Vec::new();
            let timed_out = self.with_context(&mut effects, |this, context| {
                this.answers
                    .handle_timeout(&this.shell.node.broker, context)
            });
            self.carry_out(effects)?;
            timed_out.map_err(Ended::Refused)?;
        }
        Ok(())
    }

    fn complete(&mut self, completion: millstream_api::Completion) -> Result<(), Ended> {
        let mut effects = Vec::new();
        let completed = self.with_context(&mut effects, |this, context| {
            this.answers
                .handle_completion(&this.shell.node.broker, context, completion)
        });
        self.carry_out(effects)?;
        completed.map_err(Ended::Refused)
    }

    /// Carries out effects; news for this very connection takes no way round.
    fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), Ended> {
        if effects.is_empty() {
            return Ok(());
        }
        let (own, others): (Vec<Effect>, Vec<Effect>) = effects.into_iter().partition(
            |effect| matches!(effect, Effect::Complete(news) if news.token.connection == self.id),
        );
        self.shell.carry_out(others);
        for effect in own {
            if let Effect::Complete(completion) = effect {
                self.complete(completion)?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), Ended> {
        let was_empty = self.outgoing.is_empty();
        while self.outgoing.len() < self.limits.outgoing_bytes_max {
            let Some(frame) = self.answers.pop_ready() else {
                break;
            };
            self.outgoing.push(frame);
        }
        if self.outgoing.is_empty() {
            return Ok(());
        }
        let written = self.outgoing.write(&self.stream)?;
        let counters = &self.counters.written_bytes;
        counters.fetch_add(written as u64, Ordering::Relaxed);
        if written > 0 || was_empty {
            self.last_written = self.shell.node.now();
            self.last_active = self.last_written;
        }
        Ok(())
    }

    /// Has the broker's budget count what waits to be written.
    fn count_answers(&mut self) -> Result<(), Ended> {
        let held = self.answers.held_bytes() + self.outgoing.len();
        if held <= AnswerBudget::OWN_BYTES && self.counted_answers == 0 {
            return Ok(());
        }
        let budget = &self.shell.node.broker.answers;
        let counted = budget.count(self.counted_answers, held);
        self.counted_answers = counted.ok_or(Ended::NoRoom(held))?;
        Ok(())
    }

    fn next_deadline(&self) -> (Instant, Option<Ended>) {
        let idle_max = self.limits.idle_max;
        // Who waits for an answer, or for the broker to read, is not idle, however long that takes.
        let mut next = match self.answers.is_empty() && self.paused.is_none() {
            true => (
                self.last_active.after(idle_max),
                Some(Ended::Idle(idle_max)),
            ),
            false => (self.shell.node.now().after(idle_max), None),
        };
        let mut consider = |at: Instant, ended: Option<Ended>| {
            if at < next.0 {
                next = (at, ended);
            }
        };
        if let Some(at) = self.answers.next_timeout() {
            consider(at, None);
        }
        let is_arriving = self.reader.is_inside_frame() && self.paused.is_none();
        if let Some(began) = self.frame_began.filter(|_| is_arriving) {
            let length = self.reader.announced().unwrap_or(0);
            let extra = Duration::from_secs(length as u64 >> 20);
            consider(
                began.after(FRAME_DEADLINE + extra),
                Some(Ended::FrameTimeout(length)),
            );
        }
        if !self.outgoing.is_empty() {
            let is_pressed = self.shell.node.broker.answers.room() == 0;
            let deadline = match is_pressed {
                true => WRITE_DEADLINE_PRESSED,
                false => WRITE_DEADLINE,
            };
            let ended = Ended::NotReading(self.outgoing.len(), deadline);
            consider(self.last_written.after(deadline), Some(ended));
            // The room may go meanwhile.
            let now = self.shell.node.now();
            consider(now.after(WRITE_DEADLINE_PRESSED), None);
        }
        if self.reader.has_unused_buffer() && self.paused.is_none() {
            consider(self.last_active.after(IDLE_BUFFER), None);
        }
        next
    }

    fn with_context<T>(
        &mut self,
        effects: &mut Vec<Effect>,
        step: impl FnOnce(&mut ConnectionParts<'_>, &mut Context<'_>) -> T,
    ) -> T {
        let node = &self.shell.node;
        let mut context = Context {
            now: node.now(),
            wall: node.wall_time(),
            token: self.answers.next_token(),
            client: &self.client,
            effects,
            may_wait: false,
        };
        let mut parts = ConnectionParts {
            shell: &self.shell,
            answers: &mut self.answers,
        };
        step(&mut parts, &mut context)
    }
}

/// What a step may touch beside its context.
struct ConnectionParts<'a> {
    shell: &'a Shell,
    answers: &'a mut AnswerQueue,
}
