//! A client of a group, as real ones behave: one call at a time, heartbeats while it has an
//! assignment, joining again when told to.

use millstream_coordinator::GroupAnswer;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{JoinGroupResponse, SyncGroupResponse};

/// The partitions of the one topic.
pub const PARTITIONS: i32 = 6;

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Does not run.
    Dead,
    /// Will join at its next act.
    MustJoin,
    /// Will sync at its next act, with this assignment of the others.
    MustSync(Vec<(String, Vec<u8>)>),
    /// Has its partitions.
    Working,
}

/// One client.
#[derive(Debug)]
pub struct Client {
    pub group: usize,
    pub instance_id: Option<String>,
    /// Request version of JoinGroup.
    pub version: i16,
    pub member_id: String,
    pub generation: i32,
    pub partitions: Vec<i32>,
    pub phase: Phase,
    /// The call it waits for, by request number.
    pub call: Option<u64>,
    /// Whether its last call was a heartbeat.
    pub has_just_beaten: bool,
    /// Counts its lives, so that acts planned in an earlier one are void.
    pub life: u64,
}

/// When it acts again after an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    AtOnce,
    Soon,
    Later,
}

impl Client {
    pub fn new(group: usize, number: usize) -> Client {
        let is_static = number % 3 == 2;
        Client {
            group,
            instance_id: is_static.then(|| format!("instance{number}")),
            version: [3, 9, 8][number % 3],
            member_id: String::new(),
            generation: -1,
            partitions: Vec::new(),
            phase: Phase::Dead,
            call: None,
            has_just_beaten: false,
            life: 0,
        }
    }

    /// Begins a new life, knowing nothing of the last one.
    pub fn start(&mut self) {
        self.stop();
        self.phase = Phase::MustJoin;
    }

    /// Stops without a word.
    pub fn stop(&mut self) {
        self.life += 1;
        self.member_id.clear();
        self.partitions.clear();
        self.call = None;
        self.phase = Phase::Dead;
    }

    /// Its connection is lost, or the coordinator is elsewhere.
    pub fn rejoin(&mut self) -> Next {
        self.partitions.clear();
        self.phase = Phase::MustJoin;
        Next::Soon
    }

    /// Takes an answer.
    pub fn handle(&mut self, answer: &GroupAnswer) -> Next {
        self.call = None;
        match answer {
            GroupAnswer::Join(join) => self.handle_join(join),
            GroupAnswer::Sync(sync) => self.handle_sync(sync),
            GroupAnswer::Heartbeat(beat) => self.handle_code(beat.error_code),
            GroupAnswer::Commit(commit) => {
                self.handle_code(commit.topics[0].partitions[0].error_code)
            }
            GroupAnswer::OffsetFetch(_) => Next::Later,
            other => panic!("no client asked for {other:?}"),
        }
    }

    fn handle_join(&mut self, join: &JoinGroupResponse<'_>) -> Next {
        if join.error_code == ErrorCode::MemberIdRequired.code() {
            self.member_id = join.member_id.to_string();
            return Next::AtOnce;
        }
        if join.error_code != 0 {
            return self.handle_code(join.error_code);
        }
        self.member_id = join.member_id.to_string();
        self.generation = join.generation_id;
        let is_leader = join.leader == join.member_id && !join.skip_assignment;
        let members = join.members.iter().filter(|_| is_leader);
        let count = join.members.len().max(1);
        let shares = members.enumerate().map(|(index, member)| {
            let own = (0..PARTITIONS).filter(|p| *p as usize % count == index);
            let share: Vec<u8> = own.map(|partition| partition as u8).collect();
            (member.member_id.to_string(), share)
        });
        self.phase = Phase::MustSync(shares.collect());
        Next::AtOnce
    }

    fn handle_sync(&mut self, sync: &SyncGroupResponse<'_>) -> Next {
        if sync.error_code != 0 {
            return self.handle_code(sync.error_code);
        }
        self.partitions = sync
            .assignment
            .iter()
            .map(|partition| i32::from(*partition))
            .collect();
        self.phase = Phase::Working;
        Next::Later
    }

    fn handle_code(&mut self, code: i16) -> Next {
        match ErrorCode::from_code(code).expect("a known code") {
            ErrorCode::None => Next::Later,
            ErrorCode::UnknownMemberId => {
                self.member_id.clear();
                self.rejoin()
            }
            ErrorCode::FencedInstanceId => {
                self.stop();
                Next::Soon
            }
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => self.rejoin(),
            code => panic!("a client never expects {code}"),
        }
    }
}
