//! A member of a consumer group: what it does next.
//!
//! ```text
//!             id required            leader brings the plan
//!   Joins ─────────┐   ┌────► Syncs ───────────► Resumes ──────► Consumes: fetch, commit, heartbeat
//!     ▲  ▲─────────┘   │                        OffsetFetch          │
//!     │  └─────────────┘                                             │
//!     └──────── rebalance, unknown member, illegal generation ◄──────┘
//! ```
//!
//! It waits for one answer at a time. It may also give up waiting, sleep past its session, leave, die
//! with its connection closed, or vanish with its connection left open. What a member committed last
//! may be late: it is sent again in a later generation, where it must be refused.

use std::collections::BTreeMap;

use super::Heard;
use super::consumer::fetch;
use super::member_requests as requests;
use crate::sim::Violation;
use crate::sim::checkers::{Seen, Sent};
use crate::sim::wire::{COMMIT_BY_NAME, FETCH_BY_NAME, OFFSETS_BY_NAME, send};
use crate::sim::world::World;

pub(super) const FIND_COORDINATOR: i16 = 6;
pub(super) const JOIN: i16 = 9;
pub(super) const SYNC: i16 = 5;
pub(super) const HEARTBEAT: i16 = 4;
pub(super) const LEAVE: i16 = 5;
/// Longest wait for records; no heartbeat is sent meanwhile.
const FETCH_WAIT_MS_MAX: u64 = 400;
/// Longest sleep: longer than a session.
const SLEEP_MS_MAX: u64 = 12_000;

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Joins,
    Syncs,
    Resumes,
    Consumes,
}

/// What it waits for.
#[derive(Debug)]
pub(super) enum Asked {
    Coordinator,
    Join,
    /// With the newest generation that anybody knew when it was sent.
    Sync(i32),
    Offsets(Sent),
    Records,
    Commit(Commit),
    Heartbeat,
    Leave,
}

/// A commit on its way.
#[derive(Debug)]
pub(super) struct Commit {
    pub sent: Sent,
    pub generation_id: i32,
    /// The newest generation that anybody knew when it was sent.
    pub newest: i32,
    pub offsets: Vec<(i32, i64)>,
}

/// How far a member is in a partition it owns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The next offset to process.
    pub next: i64,
    /// The last offset it read as, or got acknowledged as, committed.
    pub committed: i64,
}

/// What a member held in a generation that it left.
#[derive(Debug)]
struct Former {
    member_id: String,
    generation_id: i32,
    offsets: Vec<(i32, i64)>,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) connection: u64,
    pub(super) asked: Option<Asked>,
    pub(super) knows_coordinator: bool,
    pub(super) phase: Phase,
    pub(super) member_id: String,
    pub(super) generation_id: i32,
    /// As the leader: who gets what.
    pub(super) plan: Vec<(String, Vec<i32>)>,
    pub(super) owned: BTreeMap<i32, Position>,
    former: Option<Former>,
    asleep_until_ms: i64,
    is_calm: bool,
}

impl Member {
    /// A client that has not joined yet.
    pub(crate) fn new(world: &mut World) -> Member {
        Member {
            connection: world.connect(),
            asked: None,
            knows_coordinator: false,
            phase: Phase::Joins,
            member_id: String::new(),
            generation_id: 0,
            plan: Vec::new(),
            owned: BTreeMap::new(),
            former: None,
            asleep_until_ms: 0,
            is_calm: false,
        }
    }

    /// Its connection is gone; what it waited for may have happened or not.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.connection = world.connect();
        self.knows_coordinator = false;
        if let Some(Asked::Leave) = self.asked.take() {
            self.must_join_anew();
        }
        if self.phase == Phase::Syncs {
            self.must_join();
        }
    }

    /// No dying, leaving and sleeping any more.
    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
        self.asleep_until_ms = 0;
    }

    pub(crate) fn is_consuming(&self) -> bool {
        self.phase == Phase::Consumes
    }

    pub(crate) fn generation_id(&self) -> i32 {
        self.generation_id
    }

    pub(crate) fn owned(&self) -> &BTreeMap<i32, Position> {
        &self.owned
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if world.now_ms() < self.asleep_until_ms {
            return Ok(Heard::Nothing);
        }
        if !self.is_calm && self.misbehaves(world) {
            return Ok(Heard::Nothing);
        }
        if self.asked.is_some() {
            return self.hear(world, seen);
        }
        let asked = self.ask(world, seen)?;
        self.asked = Some(asked);
        Ok(Heard::Nothing)
    }

    /// What only some members do, and seldom.
    fn misbehaves(&mut self, world: &mut World) -> bool {
        match world.random.below(1000) {
            // Dies; the broker hears the connection end.
            0..=2 => {
                world.disconnect(self.connection);
                *self = Member::new(world);
            }
            // Vanishes; the broker hears nothing.
            3..=5 => *self = Member::new(world),
            // Gives up waiting, if it does.
            6..=12 => {
                world.disconnect(self.connection);
                self.reconnect(world);
            }
            13..=24 => {
                let sleep = world.random.below(SLEEP_MS_MAX) as i64;
                self.asleep_until_ms = world.now_ms() + sleep;
            }
            _ => return false,
        }
        world.note(5);
        true
    }

    fn ask(&mut self, world: &mut World, seen: &mut Seen) -> Result<Asked, Violation> {
        let connection = self.connection;
        if !self.knows_coordinator {
            let request = requests::find_coordinator();
            send(world, connection, FIND_COORDINATOR, &request)?;
            return Ok(Asked::Coordinator);
        }
        match self.phase {
            Phase::Joins => {
                send(world, connection, JOIN, &requests::join(&self.member_id)?)?;
                Ok(Asked::Join)
            }
            Phase::Syncs => {
                let request = requests::sync(&self.member_id, self.generation_id, &self.plan)?;
                send(world, connection, SYNC, &request)?;
                Ok(Asked::Sync(seen.owners.newest()))
            }
            Phase::Resumes => {
                let sent = seen.commits.send();
                let request = requests::offsets(self.owned.keys().copied());
                send(world, connection, OFFSETS_BY_NAME, &request)?;
                Ok(Asked::Offsets(sent))
            }
            Phase::Consumes => self.consume(world, seen),
        }
    }

    fn consume(&mut self, world: &mut World, seen: &mut Seen) -> Result<Asked, Violation> {
        match world.random.below(100) {
            0..=49 if !self.owned.is_empty() => {
                let positions = self.held().into_iter();
                let request = fetch(positions, world.random.below(FETCH_WAIT_MS_MAX) as i32);
                send(world, self.connection, FETCH_BY_NAME, &request)?;
                Ok(Asked::Records)
            }
            50..=74 if !self.owned.is_empty() => {
                let held = self.held();
                let generation_id = self.generation_id;
                let member_id = self.member_id.clone();
                self.commit(world, seen, &member_id, generation_id, held)
            }
            75..=79 => match self.take_late() {
                Some(late) => {
                    let (member_id, generation_id) = (&late.member_id, late.generation_id);
                    self.commit(world, seen, member_id, generation_id, late.offsets)
                }
                None => self.heartbeat(world),
            },
            80 if !self.is_calm => {
                let request = requests::leave(&self.member_id);
                send(world, self.connection, LEAVE, &request)?;
                Ok(Asked::Leave)
            }
            _ => self.heartbeat(world),
        }
    }

    fn heartbeat(&self, world: &mut World) -> Result<Asked, Violation> {
        let request = requests::heartbeat(&self.member_id, self.generation_id);
        send(world, self.connection, HEARTBEAT, &request)?;
        Ok(Asked::Heartbeat)
    }

    fn commit(
        &self,
        world: &mut World,
        seen: &mut Seen,
        member_id: &str,
        generation_id: i32,
        offsets: Vec<(i32, i64)>,
    ) -> Result<Asked, Violation> {
        let sent = seen.commits.send();
        for (partition, offset) in &offsets {
            seen.commits.begin(sent, *partition, *offset);
        }
        let request = requests::commit(member_id, generation_id, &offsets);
        send(world, self.connection, COMMIT_BY_NAME, &request)?;
        Ok(Asked::Commit(Commit {
            sent,
            generation_id,
            newest: seen.owners.newest(),
            offsets,
        }))
    }

    /// It joins again, under its id if it still has one.
    pub(super) fn must_join(&mut self) {
        self.remember_former();
        self.phase = Phase::Joins;
    }

    /// The group does not know it any more.
    pub(super) fn must_join_anew(&mut self) {
        self.must_join();
        self.member_id.clear();
    }

    fn held(&self) -> Vec<(i32, i64)> {
        let positions = self.owned.iter();
        positions
            .map(|(partition, position)| (*partition, position.next))
            .collect()
    }

    fn remember_former(&mut self) {
        let offsets = self.held();
        self.owned.clear();
        if !offsets.is_empty() {
            self.former = Some(Former {
                member_id: self.member_id.clone(),
                generation_id: self.generation_id,
                offsets,
            });
        }
    }

    /// A commit of a generation that is over. Joining again may give the same generation, which is
    /// not over.
    fn take_late(&mut self) -> Option<Former> {
        self.former
            .take_if(|former| former.generation_id < self.generation_id)
    }
}
