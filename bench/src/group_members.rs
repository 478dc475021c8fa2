//! Members of groups that share a connection: how they come to be stable, and the heartbeats they send then.
//!
//! The JoinGroups of a group are all sent before an answer is read, for most are answered only when the last one has come.
//! So this needs a broker that goes on reading a connection while answers wait; Kafka's does not.

use std::collections::VecDeque;

use anyhow::{Context, bail};
use millstream_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millstream_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millstream_protocol::messages::{
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::wire::{CLIENT_ID, Receiver, Sender, connect, decode};

/// The last version that lets a member in without sending it back for an id first.
const JOIN_VERSION: i16 = 3;
const SYNC_VERSION: i16 = 3;
const HEARTBEAT_VERSION: i16 = 3;
const FIND_VERSION: i16 = 3;
/// How long the first coordinator may take: the topic of offsets is made by the first who asks.
const COORDINATOR_TRIES: u32 = 200;

/// One connection with the members of some groups.
pub(crate) struct Seat {
    sender: Sender,
    receiver: Receiver,
    /// The heartbeats of all members, one frame after the other, all of the same length or nearly.
    frames: Vec<Vec<u8>>,
    next: usize,
    /// Heartbeats without an answer.
    outstanding: usize,
}

/// One member of a group that comes to be.
struct Coming {
    id: String,
    generation: i32,
}

impl Seat {
    /// Joins so many members to each group, and leaves all groups stable.
    pub(crate) fn take(
        address: &str,
        groups: &[String],
        members: usize,
        session_timeout_ms: i32,
    ) -> anyhow::Result<Seat> {
        let (mut sender, mut receiver) = connect(address)?;
        let mut frames = Vec::with_capacity(groups.len() * members);
        for group in groups {
            wait_for_coordinator(&mut sender, &mut receiver, group)?;
            let coming = join(
                &mut sender,
                &mut receiver,
                group,
                members,
                session_timeout_ms,
            )
            .with_context(|| format!("join group {group}"))?;
            sync(&mut sender, &mut receiver, group, &coming)
                .with_context(|| format!("sync group {group}"))?;
            for member in coming {
                frames.push(heartbeat(group, member)?);
            }
        }
        Ok(Seat {
            sender,
            receiver,
            frames,
            next: 0,
            outstanding: 0,
        })
    }

    pub(crate) fn members(&self) -> usize {
        self.frames.len()
    }

    /// Writes the heartbeats of the next `count` members at once.
    pub(crate) fn beat(&mut self, count: usize) -> anyhow::Result<()> {
        let mut bytes = Vec::with_capacity(count * self.frames[self.next].len());
        for _ in 0..count {
            bytes.extend_from_slice(&self.frames[self.next]);
            self.next = (self.next + 1) % self.frames.len();
        }
        self.outstanding += count;
        self.sender.send_bytes(&bytes)
    }

    /// Reads the answers to all heartbeats. *Errors*: one of them is an error.
    pub(crate) fn drain(&mut self) -> anyhow::Result<()> {
        while self.outstanding > 0 {
            let frame = self.receiver.receive()?;
            let answer: HeartbeatResponse = decode(&frame, ApiKey::Heartbeat, HEARTBEAT_VERSION)?;
            check("a heartbeat", answer.error_code)?;
            self.outstanding -= 1;
        }
        Ok(())
    }
}

fn check(what: &str, code: i16) -> anyhow::Result<()> {
    match ErrorCode::from_code(code) {
        Some(ErrorCode::None) => Ok(()),
        Some(code) => bail!("{what} was answered {}", code.name()),
        None => bail!("{what} was answered error {code}"),
    }
}

fn wait_for_coordinator(
    sender: &mut Sender,
    receiver: &mut Receiver,
    group: &str,
) -> anyhow::Result<()> {
    let request = FindCoordinatorRequest {
        key: group.into(),
        ..FindCoordinatorRequest::default()
    };
    let mut code = 0;
    for _ in 0..COORDINATOR_TRIES {
        sender.send(&request, FIND_VERSION)?;
        let frame = receiver.receive()?;
        let answer: FindCoordinatorResponse<'_> =
            decode(&frame, ApiKey::FindCoordinator, FIND_VERSION)?;
        code = answer.error_code;
        if code == ErrorCode::None.code() {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    check("the search for the coordinator", code)
}

fn join(
    sender: &mut Sender,
    receiver: &mut Receiver,
    group: &str,
    count: usize,
    session_timeout_ms: i32,
) -> anyhow::Result<Vec<Coming>> {
    let request = |member_id: &str| JoinGroupRequest {
        group_id: group.to_owned().into(),
        session_timeout_ms,
        rebalance_timeout_ms: session_timeout_ms,
        member_id: member_id.to_owned().into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: b"\0\0\0\0\0\x01\0\x05bench\0\0\0\0".into(),
        }],
        ..JoinGroupRequest::default()
    };
    let mut coming: Vec<Coming> = (0..count)
        .map(|_| Coming {
            id: String::new(),
            generation: -1,
        })
        .collect();
    let mut waiting: VecDeque<usize> = (0..count).collect();
    for _ in 0..count {
        sender.send(&request(""), JOIN_VERSION)?;
    }
    while let Some(number) = waiting.pop_front() {
        let frame = receiver.receive()?;
        let answer: JoinGroupResponse<'_> = decode(&frame, ApiKey::JoinGroup, JOIN_VERSION)?;
        let loading = [
            ErrorCode::CoordinatorLoadInProgress.code(),
            ErrorCode::RebalanceInProgress.code(),
        ];
        let member = &mut coming[number];
        if !loading.contains(&answer.error_code) {
            check("a JoinGroup", answer.error_code)?;
            member.id = answer.member_id.to_string();
            member.generation = answer.generation_id;
            // The leader knows whether all have come.
            if answer.leader != member.id || answer.members.len() == count {
                continue;
            }
        }
        sender.send(&request(&member.id), JOIN_VERSION)?;
        waiting.push_back(number);
    }
    let generation = coming[0].generation;
    if coming.iter().any(|member| member.generation != generation) {
        bail!("the members were answered different generations");
    }
    Ok(coming)
}

fn sync(
    sender: &mut Sender,
    receiver: &mut Receiver,
    group: &str,
    coming: &[Coming],
) -> anyhow::Result<()> {
    for (number, member) in coming.iter().enumerate() {
        let given = coming.iter().filter(|_| number == 0);
        let assignments = given.map(|member| SyncGroupRequestAssignment {
            member_id: member.id.as_str().into(),
            assignment: b"\0\0\0\0\0\0\0\0".into(),
        });
        let request = SyncGroupRequest {
            group_id: group.into(),
            generation_id: member.generation,
            member_id: member.id.as_str().into(),
            assignments: assignments.collect(),
            ..SyncGroupRequest::default()
        };
        sender.send(&request, SYNC_VERSION)?;
    }
    for _ in coming {
        let frame = receiver.receive()?;
        let answer: SyncGroupResponse<'_> = decode(&frame, ApiKey::SyncGroup, SYNC_VERSION)?;
        check("a SyncGroup", answer.error_code)?;
    }
    Ok(())
}

fn heartbeat(group: &str, member: Coming) -> anyhow::Result<Vec<u8>> {
    let request = HeartbeatRequest {
        group_id: group.into(),
        generation_id: member.generation,
        member_id: member.id.into(),
        ..HeartbeatRequest::default()
    };
    let frame =
        millstream_protocol::frame::encode_request(0, CLIENT_ID, HEARTBEAT_VERSION, &request)?;
    Ok(frame.parts.concat())
}
