//! Members of one group, each over a connection of its own: they join, share partitions, send heartbeats, and one of them may
//! die in a phase of its life. Time is the node's.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use millstream_env::sim::SimClock;
use millstream_node::Node;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::connection::{Connection, read};
use super::groups::{
    JOIN_STATIC, Joined, SHARDS, SYNC, code, join_request, joined, sync_request, synced,
};

const TICK: Duration = Duration::from_millis(100);
const HEARTBEAT: Duration = Duration::from_secs(1);
const HEARTBEAT_VERSION: i16 = 3;

/// What a member has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its JoinGroup waits.
    Joining,
    /// Its JoinGroup was answered.
    Joined,
    /// Its SyncGroup waits.
    Syncing,
    Stable,
    /// A heartbeat told it of a rebalance.
    ToldToJoin,
    Dead,
}

pub struct Member<'n> {
    connection: Connection<'n>,
    pub phase: Phase,
    pub id: String,
    instance: Option<String>,
    pub generation: i32,
    pub partitions: BTreeSet<u32>,
    since_heartbeat: Duration,
    heartbeat_waits: bool,
    /// It dies when it comes to this, with its connection or silently.
    dies_in: Option<(Phase, bool)>,
}

pub struct Crowd<'n> {
    node: &'n Node,
    clock: &'n SimClock,
    group: &'static str,
    partitions: u32,
    pub members: Vec<Member<'n>>,
    /// Who owned a partition in a generation.
    owners: BTreeMap<(i32, u32), String>,
}

impl<'n> Crowd<'n> {
    /// A group that shares so many partitions.
    pub fn new(
        node: &'n Node,
        clock: &'n SimClock,
        group: &'static str,
        partitions: u32,
    ) -> Crowd<'n> {
        Crowd {
            node,
            clock,
            group,
            partitions,
            members: Vec::new(),
            owners: BTreeMap::new(),
        }
    }

    /// Another member comes.
    pub fn add(&mut self, instance: Option<&str>, dies_in: Option<(Phase, bool)>) {
        let number = self.members.len();
        let mut member = Member {
            connection: Connection::new(self.node, number as u64),
            phase: Phase::ToldToJoin,
            id: String::new(),
            instance: instance.map(str::to_owned),
            generation: -1,
            partitions: BTreeSet::new(),
            since_heartbeat: Duration::ZERO,
            heartbeat_waits: false,
            dies_in: None,
        };
        member.join(self.group);
        member.dies_in = dies_in;
        self.members.push(member);
        self.enter(number, Phase::Joining);
        self.route();
    }

    /// From now on the member dies when it comes to this phase.
    pub fn doom(&mut self, number: usize, phase: Phase, with_connection: bool) {
        self.members[number].dies_in = Some((phase, with_connection));
        if self.members[number].phase == phase {
            self.enter(number, phase);
        }
    }

    /// A tenth of a second passes.
    pub fn tick(&mut self) {
        self.clock.advance(TICK);
        let connection = &mut self.members[0].connection;
        for shard in 0..SHARDS as usize {
            connection.carry_out(self.node.group_timeout(shard));
        }
        self.members[0].connection.flush();
        self.route();
        // The leader is not always the first to act.
        for number in (0..self.members.len()).rev() {
            self.act(number);
            self.members[number].connection.flush();
            self.route();
        }
        self.check_owners();
    }

    /// Ticks until all who live share all partitions in one generation, or the time is over. How long it took.
    pub fn settle(&mut self, within: Duration) -> Option<Duration> {
        let mut time = Duration::ZERO;
        while time <= within {
            if self.is_settled() {
                return Some(time);
            }
            self.tick();
            time += TICK;
        }
        None
    }

    pub fn alive(&self) -> impl Iterator<Item = &Member<'n>> {
        let members = self.members.iter();
        members.filter(|member| member.phase != Phase::Dead)
    }

    fn is_settled(&self) -> bool {
        let generations: BTreeSet<i32> = self.alive().map(|member| member.generation).collect();
        let owned: BTreeSet<u32> = self.alive().flat_map(|m| m.partitions.clone()).collect();
        self.alive().all(|member| member.phase == Phase::Stable)
            && generations.len() == 1
            && owned.len() == self.partitions as usize
    }

    /// News reaches the connections it is for.
    fn route(&mut self) {
        loop {
            let members = self.members.iter_mut();
            let news: Vec<_> = members
                .flat_map(|member| std::mem::take(&mut member.connection.for_others))
                .collect();
            if news.is_empty() {
                return;
            }
            for news in news {
                let number = news.token.connection as usize;
                if self.members[number].phase != Phase::Dead {
                    let effect = millstream_api::Effect::Complete(news);
                    self.members[number].connection.carry_out(vec![effect]);
                }
            }
        }
    }

    fn act(&mut self, number: usize) {
        let member = &mut self.members[number];
        match member.phase {
            Phase::Joining => {
                if let Some(joined) = joined(&mut member.connection, JOIN_STATIC) {
                    self.handle_joined(number, joined);
                }
            }
            Phase::Syncing => {
                if let Some((error, assignment)) = synced(&mut member.connection) {
                    self.handle_synced(number, error, &assignment);
                }
            }
            Phase::Stable => self.beat(number),
            Phase::Joined | Phase::ToldToJoin | Phase::Dead => {}
        }
    }

    fn handle_joined(&mut self, number: usize, joined: Joined) {
        let member = &mut self.members[number];
        if joined.error != ErrorCode::None {
            if joined.error == ErrorCode::FencedInstanceId {
                return self.enter(number, Phase::Dead);
            }
            member.id = match joined.error {
                ErrorCode::UnknownMemberId => String::new(),
                ErrorCode::MemberIdRequired => joined.member,
                _ => member.id.clone(),
            };
            member.join(self.group);
            return;
        }
        member.id = joined.member;
        member.generation = joined.generation;
        self.enter(number, Phase::Joined);
        if self.members[number].phase == Phase::Dead {
            return;
        }
        let member = &mut self.members[number];
        let assigned: Vec<&str> = joined.members.iter().map(String::as_str).collect();
        let mut request = sync_request(self.group, &member.id, joined.generation, &assigned);
        for (place, given) in request.assignments.iter_mut().enumerate() {
            let every = (0..self.partitions).skip(place).step_by(assigned.len());
            given.assignment = every.flat_map(u32::to_be_bytes).collect::<Vec<u8>>().into();
        }
        request.group_instance_id = member.instance.clone().map(Into::into);
        member.connection.send(SYNC, &request).unwrap();
        self.enter(number, Phase::Syncing);
    }

    fn handle_synced(&mut self, number: usize, error: ErrorCode, assignment: &[u8]) {
        if error != ErrorCode::None {
            return self.join_again(number, error);
        }
        let partitions = assignment.chunks(4);
        let member = &mut self.members[number];
        member.partitions = partitions
            .map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
            .collect();
        member.since_heartbeat = Duration::ZERO;
        self.enter(number, Phase::Stable);
    }

    fn beat(&mut self, number: usize) {
        let member = &mut self.members[number];
        if member.heartbeat_waits
            && let Some(bytes) = member.connection.receive()
        {
            member.heartbeat_waits = false;
            let answer: HeartbeatResponse =
                read::<HeartbeatRequest<'_>, _>(&bytes, HEARTBEAT_VERSION);
            if answer.error_code != 0 {
                return self.join_again(number, code(answer.error_code));
            }
        }
        member.since_heartbeat += TICK;
        if member.since_heartbeat < HEARTBEAT {
            return;
        }
        member.since_heartbeat = Duration::ZERO;
        member.heartbeat_waits = true;
        let request = HeartbeatRequest {
            group_id: self.group.into(),
            generation_id: member.generation,
            member_id: member.id.clone().into(),
            group_instance_id: member.instance.clone().map(Into::into),
        };
        member.connection.send(HEARTBEAT_VERSION, &request).unwrap();
    }

    /// What it owned it gives up, and joins again.
    fn join_again(&mut self, number: usize, error: ErrorCode) {
        self.enter(number, Phase::ToldToJoin);
        let member = &mut self.members[number];
        if member.phase == Phase::Dead {
            return;
        }
        member.partitions.clear();
        match error {
            ErrorCode::FencedInstanceId => return self.enter(number, Phase::Dead),
            ErrorCode::UnknownMemberId => member.id.clear(),
            _ => {}
        }
        member.join(self.group);
        self.enter(number, Phase::Joining);
    }

    fn enter(&mut self, number: usize, phase: Phase) {
        let member = &mut self.members[number];
        member.phase = phase;
        if let Some((doom, with_connection)) = member.dies_in
            && doom == phase
        {
            member.phase = Phase::Dead;
            if with_connection {
                member.connection.close();
            }
        }
    }

    /// In one generation a partition has one owner.
    fn check_owners(&mut self) {
        let members = self.members.iter();
        for member in members.filter(|member| member.phase == Phase::Stable) {
            // Who comes back as a static member takes over what it had.
            let name = member.instance.as_ref().unwrap_or(&member.id);
            for partition in &member.partitions {
                let place = (member.generation, *partition);
                let owner = self.owners.entry(place).or_insert_with(|| name.clone());
                assert_eq!(owner, name, "partition {place:?} is owned twice");
            }
        }
    }
}

impl Member<'_> {
    fn join(&mut self, group: &str) {
        let request = join_request(group, &self.id, self.instance.as_deref());
        self.connection.send(JOIN_STATIC, &request).unwrap();
        self.phase = Phase::Joining;
    }
}
