//! Whether a log directory is *fast* or *slow*: a state machine without clocks and threads.
//!
//! ```text
//!            a write > 50 ms, a flush round > 1 s, or the budget of unflushed bytes is full
//!         ┌───────────────────────────────────────────────────────────────────────────────┐
//!       Fast                                                                             Slow
//!         └───────────────────────────────────────────────────────────────────────────────┘
//!            nothing of that for the calm time, at most half of the budget unflushed
//! ```
//!
//! A buffered write takes microseconds until it does not: the journal commits, or the kernel makes the
//! writer wait until dirty pages are written. Whoever writes to a *fast* directory does so on the thread
//! that has the request; to a *slow* one only the directory's own thread writes. One sign makes a
//! directory slow, for each further one costs a thread of the network for as long as it lasts.
//!
//! The way back is longer. A directory that turns slow again soon after it was fast has to be calm for
//! twice the time, up to a minute, so that a disk that limps on costs a thread now and then and not
//! every second.
//!
//! Bytes that no round has synced are kept under a budget, under every durability: the kernel's own limit
//! on dirty pages is never reached, which would stop the writers to all disks. While the directory is slow
//! the budget is a quarter, so that a round, and all that waits for one, takes seconds.

use std::time::Duration;

use millstream_model::Instant;

/// The shortest calm time, and the longest.
const CALM_MIN: Duration = Duration::from_secs(1);
const CALM_MAX: Duration = Duration::from_secs(60);
/// Who turns slow again within so many calm times of being fast has relapsed.
const RELAPSE_CALMS: u32 = 10;
/// The part of the budget that a slow directory has.
const SLOW_SHARE: u64 = 4;

/// What a fast directory keeps to.
#[derive(Clone, Copy, Debug)]
pub struct HealthLimits {
    /// The longest that a write takes.
    pub write_max: Duration,
    /// The longest that a flush round takes.
    pub round_max: Duration,
    /// Bytes that no flush round has synced. *Bounds*: reached, the budget is full.
    pub unflushed_bytes_max: u64,
}

impl Default for HealthLimits {
    fn default() -> Self {
        HealthLimits {
            write_max: Duration::from_millis(50),
            round_max: Duration::from_secs(1),
            // More than a fast disk writes between two rounds; half a minute's worth at 1 MiB/s, which a
            // disk that turns that slow has to write before it takes anything new.
            unflushed_bytes_max: 32 << 20,
        }
    }
}

/// Why a directory is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlowCause {
    /// A write took this long, or is not over after it.
    #[error("a write took {0:?}")]
    Write(Duration),
    /// A flush round took this long, or is not over after it.
    #[error("a flush took {0:?}")]
    Round(Duration),
    /// So many bytes are not flushed.
    #[error("{0} bytes are not flushed")]
    Unflushed(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Since when, if it was slow before.
    Fast {
        again_since: Option<Instant>,
    },
    Slow {
        last_sign: Instant,
    },
}

/// The health of one log directory.
#[derive(Debug)]
pub struct DirectoryHealth {
    limits: HealthLimits,
    state: State,
    /// How long a slow directory must be calm to be fast again.
    calm: Duration,
    /// When the rounds that are not over began.
    rounds: Vec<Instant>,
    unflushed_bytes: u64,
}

impl DirectoryHealth {
    /// A directory of which nothing is known is fast.
    #[must_use]
    pub fn new(limits: HealthLimits) -> DirectoryHealth {
        DirectoryHealth {
            limits,
            state: State::Fast { again_since: None },
            calm: CALM_MIN,
            rounds: Vec::new(),
            unflushed_bytes: 0,
        }
    }

    /// A write has taken so long, and may not be over. Answers the cause if this makes the directory slow.
    pub fn handle_write(&mut self, took: Duration, now: Instant) -> Option<SlowCause> {
        match took > self.limits.write_max {
            true => self.note_sign(SlowCause::Write(took), now),
            false => None,
        }
    }

    /// So many bytes are not flushed. Answers the cause if this makes the directory slow.
    pub fn handle_unflushed(&mut self, bytes: u64, now: Instant) -> Option<SlowCause> {
        self.unflushed_bytes = bytes;
        match bytes >= self.limits.unflushed_bytes_max {
            true => self.note_sign(SlowCause::Unflushed(bytes), now),
            false => None,
        }
    }

    /// A flush round begins.
    pub fn begin_round(&mut self, now: Instant) {
        self.rounds.push(now);
    }

    /// The round that began then is over. Answers the cause if it makes the directory slow.
    pub fn end_round(&mut self, began: Instant, now: Instant) -> Option<SlowCause> {
        let round = self.rounds.iter().position(|at| *at == began);
        self.rounds
            .swap_remove(round.expect("a round ends that has begun"));
        self.check_round(began, now)
    }

    /// Time passes: a round that goes on for too long is noticed before it is over.
    pub fn handle_time(&mut self, now: Instant) -> Option<SlowCause> {
        let oldest = self.oldest_round()?;
        self.check_round(oldest, now)
    }

    /// When the oldest round that is not over began.
    #[must_use]
    pub fn oldest_round(&self) -> Option<Instant> {
        self.rounds.iter().min().copied()
    }

    /// Makes the directory fast if it has been calm for long enough. Answers whether it is fast. Its owner
    /// asks when nothing waits for the directory any more, for what waits goes first.
    pub fn try_become_fast(&mut self, now: Instant) -> bool {
        self.handle_time(now);
        let State::Slow { last_sign } = self.state else {
            return true;
        };
        let is_calm = now.since(last_sign) >= self.calm;
        let has_room = self.unflushed_bytes <= self.limits.unflushed_bytes_max / 2;
        if is_calm && has_room {
            self.state = State::Fast {
                again_since: Some(now),
            };
        }
        !self.is_slow()
    }

    /// When [`DirectoryHealth::try_become_fast`] is worth a try. *Bounds*: after `now`.
    #[must_use]
    pub fn next_try(&self, now: Instant) -> Option<Instant> {
        match self.state {
            State::Fast { .. } => None,
            State::Slow { last_sign } => Some(match last_sign.after(self.calm) {
                calm if calm > now => calm,
                // Calm, but too much is unflushed.
                _ => now.after(self.limits.write_max),
            }),
        }
    }

    /// Whether only the directory's own thread writes.
    #[must_use]
    pub fn is_slow(&self) -> bool {
        matches!(self.state, State::Slow { .. })
    }

    /// Whether a slow directory takes another append before a round has synced some of what there is.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.unflushed_bytes < (self.limits.unflushed_bytes_max / SLOW_SHARE).max(1)
    }

    fn check_round(&mut self, began: Instant, now: Instant) -> Option<SlowCause> {
        let took = now.since(began);
        match took > self.limits.round_max {
            true => self.note_sign(SlowCause::Round(took), now),
            false => None,
        }
    }

    fn note_sign(&mut self, cause: SlowCause, now: Instant) -> Option<SlowCause> {
        let before = std::mem::replace(&mut self.state, State::Slow { last_sign: now });
        let State::Fast { again_since } = before else {
            return None;
        };
        let is_relapse =
            again_since.is_some_and(|since| now.since(since) < self.calm * RELAPSE_CALMS);
        self.calm = match is_relapse {
            true => (self.calm * 2).min(CALM_MAX),
            false => CALM_MIN,
        };
        Some(cause)
    }
}
