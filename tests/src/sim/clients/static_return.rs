//! At the end of a seed, in a group that is stable: a static member that is started again has its partitions
//! back in the same generation, nobody else hears of it, and its former process is fenced (KIP-345, G5).

use std::borrow::Cow;
use std::collections::BTreeSet;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    SyncGroupRequest, SyncGroupResponse,
};

use super::assignment::partitions;
use super::member::{HEARTBEAT, JOIN, Member, SYNC};
use super::member_requests::{self as requests, GROUP, Who};
use crate::sim::wire::{COMMIT_BY_NAME, call, code, decode};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const DESCRIBE_GROUPS: i16 = 6;

/// Starts the first static member again. Answers whether there was one, in a group of these members alone.
pub(super) fn check(world: &mut World, members: &[Member]) -> Result<bool, Violation> {
    let connection = world.connect();
    let ids: BTreeSet<String> = members.iter().map(|one| one.member_id.clone()).collect();
    let Some(member) = members.iter().find(|one| one.instance_id.is_some()) else {
        return Ok(false);
    };
    // One that went away may still have its session.
    if stable_members(world, connection)? != Some(ids) {
        return Ok(false);
    }
    // A session that ends during the check would be taken for its doing.
    for who in members.iter().map(Member::who) {
        if heartbeat(world, connection, &who, member.generation_id())? != ErrorCode::None {
            return Ok(false);
        }
    }
    let former = member.who();
    let nobody = Who {
        member_id: "",
        ..former
    };
    let answer = call(world, connection, JOIN, &requests::join(&nobody)?)?;
    let joined: JoinGroupResponse<'_> = decode::<JoinGroupRequest<'_>, _>(&answer, JOIN)?;
    let generation_id = member.generation_id();
    if joined.error_code != 0 || joined.generation_id != generation_id {
        return violation(format!(
            "a static member comes back to generation {} (error {}) of a group that is stable in {generation_id}",
            joined.generation_id, joined.error_code
        ));
    }
    let returned = Who {
        member_id: &joined.member_id,
        ..former
    };
    let request = requests::sync(&returned, generation_id, &[])?;
    let answer = call(world, connection, SYNC, &request)?;
    let synced: SyncGroupResponse<'_> = decode::<SyncGroupRequest<'_>, _>(&answer, SYNC)?;
    let given = partitions(&synced.assignment)?;
    let owned: Vec<i32> = member.owned().keys().copied().collect();
    if synced.error_code != 0 || given != owned {
        return violation(format!(
            "a static member owned {owned:?} and comes back to {given:?} (error {})",
            synced.error_code
        ));
    }
    check_fenced(world, connection, &former, generation_id)?;
    let others = members
        .iter()
        .filter(|one| one.member_id != former.member_id);
    for who in others.map(Member::who).chain([returned]) {
        let heard = heartbeat(world, connection, &who, generation_id)?;
        if heard != ErrorCode::None {
            return violation(format!(
                "a static member came back, and {} hears {heard:?}",
                who.member_id
            ));
        }
    }
    Ok(true)
}

/// The members' ids, if the group is stable.
fn stable_members(
    world: &mut World,
    connection: u64,
) -> Result<Option<BTreeSet<String>>, Violation> {
    let request = DescribeGroupsRequest {
        groups: vec![Cow::Borrowed(GROUP)],
        ..DescribeGroupsRequest::default()
    };
    let answer = call(world, connection, DESCRIBE_GROUPS, &request)?;
    let answer: DescribeGroupsResponse<'_> =
        decode::<DescribeGroupsRequest<'_>, _>(&answer, DESCRIBE_GROUPS)?;
    let group = &answer.groups[0];
    let ids = group.members.iter().map(|one| one.member_id.to_string());
    Ok((group.group_state == "Stable").then(|| ids.collect()))
}

fn heartbeat(
    world: &mut World,
    connection: u64,
    who: &Who<'_>,
    generation_id: i32,
) -> Result<ErrorCode, Violation> {
    let request = requests::heartbeat(who, generation_id);
    let answer = call(world, connection, HEARTBEAT, &request)?;
    let answer: HeartbeatResponse = decode::<HeartbeatRequest<'_>, _>(&answer, HEARTBEAT)?;
    code(answer.error_code)
}

fn check_fenced(
    world: &mut World,
    connection: u64,
    former: &Who<'_>,
    generation_id: i32,
) -> Result<(), Violation> {
    let request = requests::commit(former, generation_id, &[(0, 0)]);
    let answer = call(world, connection, COMMIT_BY_NAME, &request)?;
    let committed: OffsetCommitResponse<'_> =
        decode::<OffsetCommitRequest<'_>, _>(&answer, COMMIT_BY_NAME)?;
    let committed = code(committed.topics[0].partitions[0].error_code)?;
    let heard = heartbeat(world, connection, former, generation_id)?;
    match (committed, heard) {
        (ErrorCode::FencedInstanceId, ErrorCode::FencedInstanceId) => Ok(()),
        other => violation(format!(
            "commit and heartbeat of a fenced member are answered with {other:?}"
        )),
    }
}
