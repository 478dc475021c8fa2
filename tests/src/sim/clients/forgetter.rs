//! A client without membership that commits offsets for a group of its own, deletes some of them again
//! (OffsetDelete), or the whole group (DeleteGroups), and looks at them. What was deleted does not come back.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millstream_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use millstream_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
};

use super::auditor::hear_offsets;
use super::{Heard, PARTITIONS, TOPIC};
use crate::sim::checkers::{Commits, NONE, Seen, Sent};
use crate::sim::wire::{COMMIT_BY_NAME, OFFSETS_BY_NAME, call, code, decode, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const GROUP: &str = "forgotten";
const DELETE_GROUPS: i16 = 2;
const DELETE_OFFSETS: i16 = 0;

/// What it waits for, of which partitions.
#[derive(Debug)]
enum Asked {
    Commit(Vec<i32>),
    Look,
    DeleteOffsets(Vec<i32>),
    DeleteGroup,
}

/// The client.
#[derive(Debug)]
pub(crate) struct Forgetter {
    connection: u64,
    asked: Option<(Sent, Asked)>,
    /// The last offset it committed. Every further one is higher.
    committed: i64,
    /// Deletions that were acknowledged.
    pub deletions: u32,
}

impl Forgetter {
    pub(crate) fn new(world: &mut World) -> Forgetter {
        Forgetter {
            connection: world.connect(),
            asked: None,
            committed: 0,
            deletions: 0,
        }
    }

    /// The broker started again: what it was asked may have happened or not.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.connection = world.connect();
        self.asked = None;
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        let commits = &mut seen.forgotten;
        if self.asked.is_some() {
            return self.hear(world, commits);
        }
        let sent = commits.send();
        let asked = match world.random.below(100) {
            0..=39 => {
                let partitions = some_partitions(world);
                for partition in &partitions {
                    self.committed += 1;
                    commits.begin(sent, *partition, self.committed);
                }
                let first = self.committed - partitions.len() as i64 + 1;
                let request = commit(&partitions, first);
                send(world, self.connection, COMMIT_BY_NAME, &request)?;
                Asked::Commit(partitions)
            }
            40..=74 => {
                send(world, self.connection, OFFSETS_BY_NAME, &look())?;
                Asked::Look
            }
            75..=89 => {
                let partitions = some_partitions(world);
                for partition in &partitions {
                    commits.begin(sent, *partition, NONE);
                }
                let request = delete_offsets(&partitions);
                send(world, self.connection, DELETE_OFFSETS, &request)?;
                Asked::DeleteOffsets(partitions)
            }
            _ => {
                for partition in 0..PARTITIONS {
                    commits.begin(sent, partition, NONE);
                }
                let request = DeleteGroupsRequest {
                    groups_names: vec![Cow::Borrowed(GROUP)],
                };
                send(world, self.connection, DELETE_GROUPS, &request)?;
                Asked::DeleteGroup
            }
        };
        self.asked = Some((sent, asked));
        Ok(Heard::Nothing)
    }

    fn hear(&mut self, world: &mut World, commits: &mut Commits) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(Heard::Nothing);
        };
        let Some((sent, asked)) = self.asked.take() else {
            return violation("an answer to no request");
        };
        match asked {
            Asked::Look => hear_offsets(world, commits, &answer, sent)?,
            Asked::Commit(partitions) => {
                let answer: OffsetCommitResponse<'_> =
                    decode::<OffsetCommitRequest<'_>, _>(&answer, COMMIT_BY_NAME)?;
                let judged = answer.topics.iter().flat_map(|topic| &topic.partitions);
                for (judged, partition) in judged.zip(partitions) {
                    settle(commits, sent, &[partition], judged.error_code)?;
                }
            }
            Asked::DeleteOffsets(partitions) => {
                let answer: OffsetDeleteResponse<'_> =
                    decode::<OffsetDeleteRequest<'_>, _>(&answer, DELETE_OFFSETS)?;
                let refused = answer.topics.iter().flat_map(|topic| &topic.partitions);
                let refused = refused.map(|one| one.error_code).find(|code| *code != 0);
                let code = match answer.error_code {
                    0 => refused.unwrap_or(0),
                    code => code,
                };
                self.deletions += u32::from(settle(commits, sent, &partitions, code)?);
            }
            Asked::DeleteGroup => {
                let answer: DeleteGroupsResponse<'_> =
                    decode::<DeleteGroupsRequest<'_>, _>(&answer, DELETE_GROUPS)?;
                let all: Vec<i32> = (0..PARTITIONS).collect();
                let code = answer.results[0].error_code;
                self.deletions += u32::from(settle(commits, sent, &all, code)?);
            }
        }
        Ok(Heard::Nothing)
    }

    /// What is there at last is what may be.
    pub(super) fn check_the_end(
        &self,
        world: &mut World,
        commits: &mut Commits,
    ) -> Result<(), Violation> {
        let connection = world.connect();
        let sent = commits.send();
        let answer = call(world, connection, OFFSETS_BY_NAME, &look())?;
        hear_offsets(world, commits, &answer, sent)
    }
}

/// What became of a change of these partitions' offsets. Answers whether it was made now.
fn settle(
    commits: &mut Commits,
    sent: Sent,
    partitions: &[i32],
    error: i16,
) -> Result<bool, Violation> {
    let code = code(error)?;
    for partition in partitions {
        match code {
            ErrorCode::None => commits.acknowledge(sent, *partition)?,
            ErrorCode::CoordinatorLoadInProgress => commits.refuse(sent, *partition)?,
            ErrorCode::NotCoordinator => {}
            ErrorCode::GroupIdNotFound => {}
            code => return violation(format!("offsets of the group {GROUP}: {code:?}")),
        }
    }
    if code == ErrorCode::GroupIdNotFound {
        // No group, no offsets.
        for partition in 0..PARTITIONS {
            commits.read(sent, partition, NONE)?;
        }
    }
    Ok(code == ErrorCode::None)
}

fn some_partitions(world: &World) -> Vec<i32> {
    let first = world.random.below(PARTITIONS as u64) as i32;
    let count = 1 + world.random.below(2) as i32;
    (first..PARTITIONS.min(first + count)).collect()
}

/// Offsets from `first` on, one for each partition.
fn commit(partitions: &[i32], first: i64) -> OffsetCommitRequest<'static> {
    let partitions = partitions.iter().zip(first..);
    let partitions = partitions.map(|(partition, offset)| OffsetCommitRequestPartition {
        partition_index: *partition,
        committed_offset: offset,
        ..OffsetCommitRequestPartition::default()
    });
    let topic = OffsetCommitRequestTopic {
        name: Cow::Borrowed(TOPIC),
        partitions: partitions.collect(),
        ..OffsetCommitRequestTopic::default()
    };
    OffsetCommitRequest {
        group_id: Cow::Borrowed(GROUP),
        topics: vec![topic],
        ..OffsetCommitRequest::default()
    }
}

fn look() -> OffsetFetchRequest<'static> {
    let group = OffsetFetchRequestGroup {
        group_id: Cow::Borrowed(GROUP),
        topics: None,
        ..OffsetFetchRequestGroup::default()
    };
    OffsetFetchRequest {
        groups: vec![group],
        require_stable: true,
        ..OffsetFetchRequest::default()
    }
}

fn delete_offsets(partitions: &[i32]) -> OffsetDeleteRequest<'static> {
    let partitions = partitions.iter();
    let partitions = partitions.map(|partition| OffsetDeleteRequestPartition {
        partition_index: *partition,
    });
    let topic = OffsetDeleteRequestTopic {
        name: Cow::Borrowed(TOPIC),
        partitions: partitions.collect(),
    };
    OffsetDeleteRequest {
        group_id: Cow::Borrowed(GROUP),
        topics: vec![topic],
    }
}
