//! A client whose topic comes and goes: it creates the topic, writes, reads and commits, deletes it and
//! creates it again. Now and then it asks for an id that is gone.

use std::collections::BTreeMap;

use super::Heard;
use super::topic_requests as requests;
use crate::sim::Violation;
use crate::sim::checkers::{Id, Lives, Seen, Sent};
use crate::sim::wire::{OFFSETS_BY_NAME, send};
use crate::sim::world::World;

pub(super) const METADATA: i16 = 13;
pub(super) const CREATE: i16 = 7;
pub(super) const DELETE: i16 = 6;
pub(super) const PRODUCE: i16 = 13;
pub(super) const FETCH: i16 = 17;
pub(super) const COMMIT: i16 = 10;
pub(super) const OFFSETS_BY_ID: i16 = 10;

/// What the client believes of its topic.
#[derive(Clone, Copy, Debug)]
pub(super) enum Topic {
    /// It has to look.
    Unknown,
    Absent,
    Present(Id),
}

/// What it waits for.
#[derive(Debug)]
pub(super) enum Asked {
    Look,
    Create,
    Delete,
    Write(Id, i32),
    /// And then for the deletion, sent with it: the record may be in the middle of a flush round when the
    /// topic goes.
    LastWrite(Id, i32),
    Read(Id),
    Commit(Id, Sent),
    /// With the version, which says whether by name or by id.
    Offsets(Id, Sent, i16),
    RecordsOfDead,
    OffsetsOfDead,
}

/// The client.
#[derive(Debug)]
pub(crate) struct TopicOwner {
    pub(super) connection: u64,
    pub(super) asked: Option<Asked>,
    pub(super) topic: Topic,
    pub(super) dead: Vec<Id>,
    sequence: i32,
    pub(super) next: i64,
    /// The highest offset that it tried to commit, of each id: it never goes back.
    committed: BTreeMap<Id, i64>,
    is_calm: bool,
}

impl TopicOwner {
    pub(crate) fn new(world: &mut World) -> TopicOwner {
        TopicOwner {
            connection: world.connect(),
            asked: None,
            topic: Topic::Unknown,
            dead: Vec::new(),
            sequence: 0,
            next: 0,
            committed: BTreeMap::new(),
            is_calm: false,
        }
    }

    /// The broker started again: what it was asked may have happened or not.
    pub(crate) fn reconnect(&mut self, world: &mut World, lives: &mut Lives) {
        self.connection = world.connect();
        self.asked = None;
        self.topic = Topic::Unknown;
        lives.restart();
    }

    /// The topic stays from now on.
    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
    }

    /// Whether the topic is there and all that was acknowledged was read.
    pub(crate) fn is_done(&self, lives: &mut Lives) -> bool {
        match self.topic {
            Topic::Present(id) => lives.life(id).is_read(),
            Topic::Unknown | Topic::Absent => false,
        }
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if self.asked.is_some() {
            return self.hear(world, &mut seen.lives);
        }
        let asked = match self.topic {
            Topic::Unknown => {
                send(world, self.connection, METADATA, &requests::look())?;
                Asked::Look
            }
            Topic::Absent => {
                seen.lives.create();
                send(world, self.connection, CREATE, &requests::create())?;
                Asked::Create
            }
            Topic::Present(id) => self.use_topic(world, &mut seen.lives, id)?,
        };
        self.asked = Some(asked);
        Ok(Heard::Nothing)
    }

    fn use_topic(
        &mut self,
        world: &mut World,
        lives: &mut Lives,
        id: Id,
    ) -> Result<Asked, Violation> {
        let connection = self.connection;
        let dead = self.dead.last().copied();
        match (world.random.below(100), dead) {
            (0..=29, _) => {
                self.write(world, id)?;
                Ok(Asked::Write(id, self.sequence))
            }
            (30..=44, _) if self.next >= self.committed.get(&id).copied().unwrap_or(0) => {
                self.committed.insert(id, self.next);
                let sent = lives.life(id).commits.send();
                lives.life(id).commits.begin(sent, 0, self.next);
                send(world, connection, COMMIT, &requests::commit(id, self.next))?;
                Ok(Asked::Commit(id, sent))
            }
            (45..=59, _) => {
                let version = match world.random.chance(50) {
                    true => OFFSETS_BY_NAME,
                    false => OFFSETS_BY_ID,
                };
                let sent = lives.life(id).commits.send();
                send(world, connection, version, &requests::offsets(id))?;
                Ok(Asked::Offsets(id, sent, version))
            }
            (60..=64, _) if !self.is_calm => {
                let is_written_to = world.random.chance(50);
                if is_written_to {
                    self.write(world, id)?;
                }
                lives.delete();
                send(world, connection, DELETE, &requests::delete(id))?;
                match is_written_to {
                    true => Ok(Asked::LastWrite(id, self.sequence)),
                    false => Ok(Asked::Delete),
                }
            }
            (65..=69, Some(dead)) => {
                send(world, connection, FETCH, &requests::fetch(dead, 0))?;
                Ok(Asked::RecordsOfDead)
            }
            (70..=74, Some(dead)) => {
                send(world, connection, OFFSETS_BY_ID, &requests::offsets(dead))?;
                Ok(Asked::OffsetsOfDead)
            }
            _ => {
                send(world, connection, FETCH, &requests::fetch(id, self.next))?;
                Ok(Asked::Read(id))
            }
        }
    }

    fn write(&mut self, world: &mut World, id: Id) -> Result<(), Violation> {
        self.sequence += 1;
        let request = requests::produce(id, self.sequence, world.now_ms());
        send(world, self.connection, PRODUCE, &request)
    }

    /// Begins anew with a topic: what was read once is read again.
    pub(super) fn is_there(&mut self, id: Id) {
        self.topic = Topic::Present(id);
        self.next = 0;
    }
}
