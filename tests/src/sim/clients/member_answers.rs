//! A member of a consumer group: what it makes of the answers.

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{
    FetchRequest, FetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use super::Heard;
use super::assignment::{partitions, range};
use super::member::{
    Asked, Commit, FIND_COORDINATOR, Given, HEARTBEAT, JOIN, LEAVE, Member, Phase, Position, SYNC,
};
use crate::sim::checkers::{Seen, Sent};
use crate::sim::wire::{COMMIT_BY_NAME, FETCH_BY_NAME, OFFSETS_BY_NAME, batches_of, code, decode};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

impl Member {
    /// Takes the answer it waits for, if it is there.
    pub(super) fn hear(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(Heard::Nothing);
        };
        match self.asked.take() {
            None => violation("a member hears an answer to no request"),
            Some(Asked::Coordinator) => self.hear_coordinator(&answer),
            Some(Asked::Join) => self.hear_join(world, &answer),
            Some(Asked::Sync(newest)) => self.hear_sync(world, seen, &answer, newest),
            Some(Asked::Offsets(sent)) => self.hear_offsets(world, seen, &answer, sent),
            Some(Asked::Records) => self.hear_records(world, seen, &answer),
            Some(Asked::Commit(commit)) => self.hear_commit(world, seen, &answer, &commit),
            Some(Asked::Heartbeat) => {
                let answer: HeartbeatResponse =
                    decode::<HeartbeatRequest<'_>, _>(&answer, HEARTBEAT)?;
                match code(answer.error_code)? {
                    ErrorCode::None => Ok(Heard::Nothing),
                    code => self.hear_refusal(code),
                }
            }
            Some(Asked::Leave) => {
                let _left: LeaveGroupResponse<'_> =
                    decode::<LeaveGroupRequest<'_>, _>(&answer, LEAVE)?;
                self.start_again(world);
                Ok(Heard::Nothing)
            }
            Some(Asked::LateSync) => {
                let answer: SyncGroupResponse<'_> =
                    decode::<SyncGroupRequest<'_>, _>(&answer, SYNC)?;
                match code(answer.error_code)? {
                    ErrorCode::None => violation("a member that is over is given partitions"),
                    _ => Ok(Heard::Nothing),
                }
            }
        }
    }

    fn hear_coordinator(&mut self, answer: &Bytes) -> Result<Heard, Violation> {
        let answer: FindCoordinatorResponse<'_> =
            decode::<FindCoordinatorRequest<'_>, _>(answer, FIND_COORDINATOR)?;
        match code(answer.coordinators[0].error_code)? {
            ErrorCode::None => self.knows_coordinator = true,
            ErrorCode::CoordinatorNotAvailable => {}
            code => return violation(format!("FindCoordinator: {code:?}")),
        }
        Ok(Heard::Nothing)
    }

    fn hear_join(&mut self, world: &mut World, answer: &Bytes) -> Result<Heard, Violation> {
        let answer: JoinGroupResponse<'_> = decode::<JoinGroupRequest<'_>, _>(answer, JOIN)?;
        match code(answer.error_code)? {
            ErrorCode::None => {}
            ErrorCode::MemberIdRequired => {
                self.member_id = answer.member_id.to_string();
                return Ok(Heard::Nothing);
            }
            code => return self.hear_refusal(code),
        }
        world.note(answer.generation_id as u64);
        self.has_synced &= self.member_id == answer.member_id;
        self.member_id = answer.member_id.to_string();
        self.generation_id = answer.generation_id;
        let ids = answer
            .members
            .iter()
            .map(|member| member.member_id.to_string());
        self.plan = ids.zip(range(answer.members.len())).collect();
        self.phase = Phase::Syncs;
        if self.plan.is_empty() == (answer.leader == answer.member_id) {
            return violation("the leader, and only the leader, is told the members");
        }
        if answer.skip_assignment {
            self.plan.clear();
        }
        Ok(Heard::Nothing)
    }

    fn hear_sync(
        &mut self,
        world: &mut World,
        seen: &mut Seen,
        answer: &Bytes,
        newest: i32,
    ) -> Result<Heard, Violation> {
        let answer: SyncGroupResponse<'_> = decode::<SyncGroupRequest<'_>, _>(answer, SYNC)?;
        match code(answer.error_code)? {
            ErrorCode::None => {}
            code => {
                self.must_join();
                return self.hear_refusal(code);
            }
        }
        let given = partitions(&answer.assignment)?;
        world.note(given.len() as u64);
        let generation_id = self.generation_id;
        let owner = self.instance_id.as_ref().unwrap_or(&self.member_id);
        seen.owners.assign(generation_id, newest, owner, &given)?;
        self.has_synced = true;
        if let Some(before) = &self.given
            && before.generation_id == generation_id
            && before.partitions != given
        {
            let before = &before.partitions;
            return violation(format!(
                "generation {generation_id}: {owner} had {before:?} and comes back to {given:?}"
            ));
        }
        self.given = Some(Given {
            generation_id,
            partitions: given.clone(),
        });
        let unknown = Position {
            next: 0,
            committed: -1,
        };
        self.phase = match given.is_empty() {
            true => Phase::Consumes,
            false => Phase::Resumes,
        };
        self.owned = given.into_iter().map(|one| (one, unknown)).collect();
        Ok(Heard::Nothing)
    }

    fn hear_offsets(
        &mut self,
        world: &mut World,
        seen: &mut Seen,
        answer: &Bytes,
        sent: Sent,
    ) -> Result<Heard, Violation> {
        let answer: OffsetFetchResponse<'_> =
            decode::<OffsetFetchRequest<'_>, _>(answer, OFFSETS_BY_NAME)?;
        let group = &answer.groups[0];
        match code(group.error_code)? {
            ErrorCode::None => {}
            code => return self.hear_refusal(code),
        }
        for fetched in group.topics.iter().flat_map(|topic| &topic.partitions) {
            let (partition, committed) = (fetched.partition_index, fetched.committed_offset);
            if fetched.error_code != 0 {
                return violation(format!(
                    "the offset of {partition} is not read: error {}",
                    fetched.error_code
                ));
            }
            world.note(committed as u64);
            seen.commits.read(sent, partition, committed)?;
            seen.progress.resume(partition, committed)?;
            let next = committed.max(0);
            self.owned.insert(partition, Position { next, committed });
        }
        self.phase = Phase::Consumes;
        Ok(Heard::Nothing)
    }

    fn hear_records(
        &mut self,
        world: &mut World,
        seen: &mut Seen,
        answer: &Bytes,
    ) -> Result<Heard, Violation> {
        let answer: FetchResponse<'_> = decode::<FetchRequest<'_>, _>(answer, FETCH_BY_NAME)?;
        for data in answer.responses.iter().flat_map(|topic| &topic.partitions) {
            let partition = data.partition_index;
            match code(data.error_code)? {
                ErrorCode::None => {}
                ErrorCode::KafkaStorageError => return Ok(Heard::DiskFailed),
                code => return violation(format!("a member fetches {partition}: {code:?}")),
            }
            let Some(position) = self.owned.get_mut(&partition) else {
                return violation(format!("{partition} is fetched and was not asked for"));
            };
            for (header, _) in batches_of(data.records.as_ref())? {
                let name = (header.producer_id, header.base_sequence);
                seen.records.see(name, partition, header.base_offset)?;
                let offsets = header.base_offset..header.next_offset();
                seen.progress.process(partition, offsets)?;
                position.next = position.next.max(header.next_offset());
                world.note(header.base_offset as u64);
            }
        }
        Ok(Heard::Nothing)
    }

    fn hear_commit(
        &mut self,
        world: &mut World,
        seen: &mut Seen,
        answer: &Bytes,
        commit: &Commit,
    ) -> Result<Heard, Violation> {
        let answer: OffsetCommitResponse<'_> =
            decode::<OffsetCommitRequest<'_>, _>(answer, COMMIT_BY_NAME)?;
        let mut refused = None;
        let judged = answer.topics.iter().flat_map(|topic| &topic.partitions);
        for (judged, (partition, offset)) in judged.zip(&commit.offsets) {
            world.note(judged.error_code as u64);
            match code(judged.error_code)? {
                ErrorCode::None if commit.is_late => {
                    return violation("a commit of a member that is over is accepted");
                }
                ErrorCode::None => {
                    seen.commits.acknowledge(commit.sent, *partition)?;
                    seen.owners.commit(commit.generation_id, commit.newest)?;
                    if let Some(position) = self.owned.get_mut(partition) {
                        position.committed = *offset;
                    }
                }
                code => {
                    if was_not_applied(code) {
                        seen.commits.refuse(commit.sent, *partition)?;
                    }
                    refused = Some(code);
                }
            }
        }
        match refused {
            // What became of a late one does not concern the member any more.
            Some(code) if !commit.is_late => self.hear_refusal(code),
            _ => Ok(Heard::Nothing),
        }
    }

    /// What a member does about each error of the coordinator.
    fn hear_refusal(&mut self, code: ErrorCode) -> Result<Heard, Violation> {
        match code {
            ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress => self.knows_coordinator = false,
            ErrorCode::UnknownMemberId => self.must_join_anew(),
            // Its member id was lost with a coordinator, and the one before it is the owner again.
            ErrorCode::FencedInstanceId if self.instance_id.is_some() && !self.has_synced => {
                self.must_join_anew();
            }
            ErrorCode::IllegalGeneration | ErrorCode::RebalanceInProgress => self.must_join(),
            code => return violation(format!("a member hears {code:?}")),
        }
        Ok(Heard::Nothing)
    }
}

/// Errors that a coordinator gives before it appends anything. NOT_COORDINATOR also answers for a
/// coordinator that was lost while the commit was on its way to the disk.
fn was_not_applied(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::IllegalGeneration
            | ErrorCode::RebalanceInProgress
            | ErrorCode::CoordinatorLoadInProgress
    )
}
