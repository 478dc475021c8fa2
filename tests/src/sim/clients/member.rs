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
//! with its connection closed, or vanish with its connection left open. What a member held last may be
//! late: it commits or asks for its partitions once more in a later generation, where it must be refused.
//!
//! Some members are static (KIP-345): who dies or vanishes comes back under its instance id and gets a
//! new member id. In the same generation it has the same partitions, and from then on the old member id
//! is fenced: what the former process still sends is refused, generation or not. A member that was given
//! partitions under its member id is never fenced itself, for nobody else has its instance id.

use std::collections::BTreeMap;

use super::Heard;
use super::consumer::fetch;
use super::member_requests::{self as requests, Who};
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
/// Of 100 members, so many are static.
const STATIC_PERCENT: u64 = 40;

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
    /// The partitions of a generation, or of a process, that is over.
    LateSync,
}

/// A commit on its way.
#[derive(Debug)]
pub(super) struct Commit {
    pub sent: Sent,
    pub generation_id: i32,
    /// The newest generation that anybody knew when it was sent.
    pub newest: i32,
    pub offsets: Vec<(i32, i64)>,
    /// Whether its generation, or its process, is over.
    pub is_late: bool,
}

/// How far a member is in a partition it owns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    /// The next offset to process.
    pub next: i64,
    /// The last offset it read as, or got acknowledged as, committed.
    pub committed: i64,
}

/// What a member held in a generation that it left, or that its last process was in.
#[derive(Debug)]
struct Former {
    member_id: String,
    generation_id: i32,
    offsets: Vec<(i32, i64)>,
}

/// What a member was given last.
#[derive(Debug)]
pub(super) struct Given {
    pub generation_id: i32,
    pub partitions: Vec<i32>,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(super) connection: u64,
    pub(super) asked: Option<Asked>,
    pub(super) knows_coordinator: bool,
    pub(super) phase: Phase,
    /// Set for static members.
    pub(super) instance_id: Option<String>,
    pub(super) member_id: String,
    /// Whether it was given partitions, or none, under its member id: that is durable.
    pub(super) has_synced: bool,
    pub(super) generation_id: i32,
    /// It outlives the process of a static member.
    pub(super) given: Option<Given>,
    /// As the leader: who gets what.
    pub(super) plan: Vec<(String, Vec<i32>)>,
    pub(super) owned: BTreeMap<i32, Position>,
    former: Option<Former>,
    asleep_until_ms: i64,
    is_calm: bool,
}

impl Member {
    /// A client that has not joined yet.
    pub(crate) fn new(world: &mut World, number: usize) -> Member {
        let is_static = world.random.chance(STATIC_PERCENT);
        Member::unknown(world, is_static.then(|| format!("instance-{number}")))
    }

    fn unknown(world: &mut World, instance_id: Option<String>) -> Member {
        Member {
            connection: world.connect(),
            asked: None,
            knows_coordinator: false,
            phase: Phase::Joins,
            instance_id,
            member_id: String::new(),
            has_synced: false,
            generation_id: 0,
            given: None,
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

    /// Its process ends and another begins. A static member is known by its instance id still, and what
    /// its former process held is sent late by that.
    pub(super) fn start_again(&mut self, world: &mut World) {
        self.remember_former();
        let mut next = Member::unknown(world, self.instance_id.take());
        if next.instance_id.is_some() {
            next.former = self.former.take();
            next.given = self.given.take();
        }
        *self = next;
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
                self.start_again(world);
            }
            // Vanishes; the broker hears nothing.
            3..=5 => self.start_again(world),
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
                send(world, connection, JOIN, &requests::join(&self.who())?)?;
                Ok(Asked::Join)
            }
            Phase::Syncs => {
                let request = requests::sync(&self.who(), self.generation_id, &self.plan)?;
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
                self.commit(world, seen, &self.who(), self.generation_id, held)
            }
            75..=79 => match self.take_late() {
                Some(late) => self.act_late(world, seen, late),
                None => self.heartbeat(world),
            },
            80 if !self.is_calm => {
                let request = requests::leave(&self.who());
                send(world, self.connection, LEAVE, &request)?;
                Ok(Asked::Leave)
            }
            _ => self.heartbeat(world),
        }
    }

    fn heartbeat(&self, world: &mut World) -> Result<Asked, Violation> {
        let request = requests::heartbeat(&self.who(), self.generation_id);
        send(world, self.connection, HEARTBEAT, &request)?;
        Ok(Asked::Heartbeat)
    }

    /// Who the broker takes it for.
    pub(super) fn who(&self) -> Who<'_> {
        Who {
            member_id: &self.member_id,
            instance_id: self.instance_id.as_deref(),
        }
    }

    /// What it held is committed late, or asked for once more.
    fn act_late(
        &self,
        world: &mut World,
        seen: &mut Seen,
        late: Former,
    ) -> Result<Asked, Violation> {
        let who = Who {
            member_id: &late.member_id,
            instance_id: self.instance_id.as_deref(),
        };
        if world.random.chance(50) {
            return self.commit(world, seen, &who, late.generation_id, late.offsets);
        }
        let request = requests::sync(&who, late.generation_id, &[])?;
        send(world, self.connection, SYNC, &request)?;
        Ok(Asked::LateSync)
    }

    fn commit(
        &self,
        world: &mut World,
        seen: &mut Seen,
        who: &Who<'_>,
        generation_id: i32,
        offsets: Vec<(i32, i64)>,
    ) -> Result<Asked, Violation> {
        let sent = seen.commits.send();
        for (partition, offset) in &offsets {
            seen.commits.begin(sent, *partition, *offset);
        }
        let request = requests::commit(who, generation_id, &offsets);
        send(world, self.connection, COMMIT_BY_NAME, &request)?;
        Ok(Asked::Commit(Commit {
            sent,
            generation_id,
            newest: seen.owners.newest(),
            offsets,
            is_late: generation_id != self.generation_id || who.member_id != self.member_id,
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
        self.has_synced = false;
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

    /// What it held in a generation that is over, or as a process whose instance id it has now. Joining
    /// again may give the same generation, which is not over.
    fn take_late(&mut self) -> Option<Former> {
        self.former.take_if(|former| {
            let is_fenced = self.instance_id.is_some() && former.member_id != self.member_id;
            former.generation_id < self.generation_id || is_fenced
        })
    }
}
