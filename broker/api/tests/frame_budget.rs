//! The budget of unfinished requests: it holds, and something always completes.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use millstream_api::{FrameBudget, FrameTicket};

const FRAME: usize = 100 << 20;
const OWN: usize = 64 << 10;

/// Numbers from a seed (xorshift, Marsaglia 2003).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

/// Frames that arrive in steps, each of which wants a buffer of four times what has arrived.
struct Model {
    budget: FrameBudget,
    bytes_max: usize,
    /// What is charged for each unfinished frame.
    frames: BTreeMap<FrameTicket, usize>,
    runnable: BTreeSet<FrameTicket>,
    completed: usize,
}

impl Model {
    fn new(bytes_max: usize) -> Model {
        Model {
            budget: FrameBudget::new(bytes_max, FRAME),
            bytes_max,
            frames: BTreeMap::new(),
            runnable: BTreeSet::new(),
            completed: 0,
        }
    }

    fn begin(&mut self) {
        let ticket = self.budget.begin();
        self.frames.insert(ticket, 0);
        self.runnable.insert(ticket);
    }

    /// The frame's next bytes arrive: it grows, waits, or is complete.
    fn arrive(&mut self, ticket: FrameTicket) {
        let charged = self.frames[&ticket];
        if charged == FRAME - OWN {
            self.completed += 1;
            return self.end(ticket);
        }
        let wanted = (OWN + charged).saturating_mul(4).min(FRAME) - OWN;
        match self.budget.grow(ticket, wanted) {
            true => self.frames.insert(ticket, wanted),
            false => {
                self.runnable.remove(&ticket);
                self.frames.insert(ticket, wanted)
            }
        };
        assert!(self.budget.charged() <= self.bytes_max);
    }

    fn end(&mut self, ticket: FrameTicket) {
        self.frames.remove(&ticket);
        self.runnable.remove(&ticket);
        let granted = self.budget.end(ticket);
        assert!(granted.is_sorted(), "the older goes first");
        for ticket in granted {
            assert!(self.runnable.insert(ticket), "only who waited is told");
        }
        assert!(self.budget.charged() <= self.bytes_max);
    }

    fn any(&self, numbers: &mut Numbers) -> FrameTicket {
        *self
            .runnable
            .iter()
            .nth(numbers.below(self.runnable.len()))
            .unwrap()
    }
}

#[test]
fn a_thousand_frames_of_the_largest_size_complete_within_a_budget_of_four() {
    for seed in 1..6 {
        let mut numbers = Numbers(seed);
        let mut model = Model::new(4 * FRAME);
        (0..1000).for_each(|_| model.begin());
        // Who waits does nothing until it is told, so a forgotten one would be left over.
        while !model.runnable.is_empty() {
            let ticket = model.any(&mut numbers);
            model.arrive(ticket);
        }
        assert_eq!(model.completed, 1000, "seed {seed}");
        assert_eq!(model.budget.charged(), 0);
    }
}

#[test]
fn frames_that_come_and_vanish_leave_nothing_behind() {
    for seed in 1..100 {
        let mut numbers = Numbers(seed);
        // From less than one frame to five.
        let mut model = Model::new(numbers.below(5 * FRAME));
        model.bytes_max = model.bytes_max.max(FRAME);
        let mut vanished = 0;
        for _ in 0..2000 {
            match numbers.below(10) {
                0 => model.begin(),
                1 if !model.frames.is_empty() => {
                    // Also one that waits.
                    let index = numbers.below(model.frames.len());
                    let ticket = *model.frames.keys().nth(index).unwrap();
                    model.end(ticket);
                    vanished += 1;
                }
                _ if model.frames.is_empty() => {}
                _ => {
                    let ticket = model.any(&mut numbers);
                    model.arrive(ticket);
                }
            }
            let is_stuck = model.runnable.is_empty() && !model.frames.is_empty();
            assert!(!is_stuck, "seed {seed}: all wait");
        }
        while !model.frames.is_empty() {
            let ticket = model.any(&mut numbers);
            model.arrive(ticket);
        }
        assert!(model.completed > 0 && vanished > 0);
        assert_eq!(model.budget.charged(), 0);
    }
}

#[test]
fn nobody_grows_past_an_older_one_that_waits() {
    let mut budget = FrameBudget::new(20, 10);
    let [oldest, second, third] = [(); 3].map(|()| budget.begin());
    assert!(budget.grow(oldest, 10));
    assert!(budget.grow(third, 5));
    assert!(!budget.grow(second, 6), "5 + 6 is more than the shared 10");
    assert!(
        !budget.try_grow(third, 6),
        "there is room, and an older one waits"
    );
    assert!(budget.try_grow(third, 5), "that it has");
    // The second becomes the oldest and has the reserve for its own.
    assert_eq!(budget.end(oldest), [second]);
    assert!(budget.try_grow(third, 10));
    assert_eq!(budget.charged(), 16);
}

#[test]
fn a_budget_below_one_frame_takes_one_at_a_time() {
    let mut budget = FrameBudget::new(3, 10);
    let [first, second] = [(); 2].map(|()| budget.begin());
    assert!(budget.grow(first, 10));
    assert!(!budget.grow(second, 1));
    assert_eq!(budget.end(first), [second]);
    assert!(budget.grow(second, 10));
    assert_eq!(budget.end(second), []);
}
