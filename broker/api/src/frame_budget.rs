//! How many bytes of unfinished requests the broker holds (`queued.max.request.bytes`).
//!
//! Every connection reads into a buffer that grows with what has arrived. A small part of it is the
//! connection's own and not counted here; what goes beyond is charged to this budget. Where the
//! budget is spent, a frame waits, and its connection does not read.
//!
//! The danger is that all wait: if the budget is spent on halves, none becomes whole and none gives
//! back. So the budget is in two parts:
//!
//! ```text
//!   ├──────────── shared ────────────┼── reserve: one frame of the largest size ──┤
//!     all frames but the oldest        the oldest frame, whatever it has charged
//! ```
//!
//! The oldest frame never waits. When it ends, the next one is the oldest: what that had charged
//! moves from the shared part to the reserve, which fits, for no frame is larger, and makes room
//! for others. So something always completes, and the bound holds at every moment. That the oldest
//! frame's peer sends nothing is not seen here; a deadline of its connection ends it.
//!
//! Among those that wait the older goes first, and nobody grows past one that waits and is older:
//! otherwise many small growths would starve a large one.

use std::collections::{BTreeMap, BTreeSet};

/// The name of an unfinished frame. A smaller one is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameTicket(u64);

/// The bytes charged by unfinished frames, and who waits.
#[derive(Debug)]
pub struct FrameBudget {
    /// Bound of what all frames but the oldest have charged.
    shared_max: usize,
    /// Bound of what one frame may charge: the reserve.
    frame_bytes_max: usize,
    frames: BTreeMap<FrameTicket, Frame>,
    /// Those of `frames` that wait. Never the oldest.
    waiting: BTreeSet<FrameTicket>,
    /// What all frames have charged.
    charged: usize,
    next_ticket: u64,
}

#[derive(Debug)]
struct Frame {
    charged: usize,
    /// What it waits for, in all.
    wanted: usize,
}

impl FrameBudget {
    /// A budget of `bytes_max` in all, for frames of at most `frame_bytes_max`. One that is smaller
    /// than a frame lets one frame at a time go beyond what is its connection's own.
    #[must_use]
    pub fn new(bytes_max: usize, frame_bytes_max: usize) -> FrameBudget {
        FrameBudget {
            shared_max: bytes_max.saturating_sub(frame_bytes_max),
            frame_bytes_max,
            frames: BTreeMap::new(),
            waiting: BTreeSet::new(),
            charged: 0,
            next_ticket: 0,
        }
    }

    /// A frame begins to go beyond its connection's own part.
    pub fn begin(&mut self) -> FrameTicket {
        let ticket = FrameTicket(self.next_ticket);
        self.next_ticket += 1;
        let frame = Frame {
            charged: 0,
            wanted: 0,
        };
        self.frames.insert(ticket, frame);
        ticket
    }

    /// Charges a frame `bytes` in all, if that is possible now. Asking for what is charged already is.
    ///
    /// *Bounds*: `bytes` up to the largest frame. *Panics* for a ticket that has ended: our bug.
    pub fn try_grow(&mut self, ticket: FrameTicket, bytes: usize) -> bool {
        assert!(bytes <= self.frame_bytes_max, "no frame is that large");
        let frame = self.frame(ticket);
        let growth = bytes.saturating_sub(frame.charged);
        if growth == 0 {
            return true;
        }
        let has_older_waiter = self.waiting.first().is_some_and(|first| *first < ticket);
        if has_older_waiter || !self.has_room(ticket, growth) {
            return false;
        }
        self.charge(ticket, growth);
        self.waiting.remove(&ticket);
        self.check_invariants();
        true
    }

    /// Charges a frame `bytes` in all, or has it wait for them: then it is among those that
    /// [`FrameBudget::end`] answers, once they are charged. Answers whether they are charged now.
    pub fn grow(&mut self, ticket: FrameTicket, bytes: usize) -> bool {
        if self.try_grow(ticket, bytes) {
            return true;
        }
        let frame = self.frames.get_mut(&ticket).expect("just asked for");
        frame.wanted = bytes;
        self.waiting.insert(ticket);
        self.check_invariants();
        false
    }

    /// A frame is handled, or its connection has gone: what it charged is free. Answers those that
    /// waited and are charged now what they wanted, oldest first.
    pub fn end(&mut self, ticket: FrameTicket) -> Vec<FrameTicket> {
        let Some(frame) = self.frames.remove(&ticket) else {
            return Vec::new();
        };
        self.waiting.remove(&ticket);
        self.charged -= frame.charged;
        let mut granted = Vec::new();
        while let Some(first) = self.waiting.first().copied() {
            let frame = self.frame(first);
            let growth = frame.wanted - frame.charged;
            if !self.has_room(first, growth) {
                break;
            }
            self.charge(first, growth);
            self.waiting.remove(&first);
            granted.push(first);
        }
        self.check_invariants();
        granted
    }

    /// What all frames have charged, in bytes.
    #[must_use]
    pub fn charged(&self) -> usize {
        self.charged
    }

    fn frame(&self, ticket: FrameTicket) -> &Frame {
        self.frames
            .get(&ticket)
            .expect("a ticket names its frame until it ends")
    }

    fn has_room(&self, ticket: FrameTicket, growth: usize) -> bool {
        match self.frames.first_key_value() {
            Some((oldest, _)) if *oldest == ticket => true,
            Some((_, oldest)) => self.charged - oldest.charged + growth <= self.shared_max,
            None => false,
        }
    }

    fn charge(&mut self, ticket: FrameTicket, growth: usize) {
        let frame = self.frames.get_mut(&ticket);
        frame
            .expect("a ticket names its frame until it ends")
            .charged += growth;
        self.charged += growth;
    }

    fn check_invariants(&self) {
        let Some((oldest, frame)) = self.frames.first_key_value() else {
            assert!(self.charged == 0);
            return;
        };
        assert!(frame.charged <= self.frame_bytes_max);
        assert!(self.charged - frame.charged <= self.shared_max);
        assert!(!self.waiting.contains(oldest), "the oldest never waits");
        debug_assert!(
            self.charged
                == self
                    .frames
                    .values()
                    .map(|frame| frame.charged)
                    .sum::<usize>()
        );
    }
}
