//! Somebody outside the group who looks at its committed offsets at any time, also between a commit and
//! its answer. What is shown must stand, whatever fails afterwards.

use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::member_requests as requests;
use super::{Heard, PARTITIONS};
use crate::sim::checkers::{Commits, NONE, Seen, Sent};
use crate::sim::wire::{OFFSETS_BY_NAME, code, decode, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

/// The client.
#[derive(Debug)]
pub(crate) struct Auditor {
    connection: u64,
    asked: Option<Sent>,
}

impl Auditor {
    pub(crate) fn new(world: &mut World) -> Auditor {
        Auditor {
            connection: world.connect(),
            asked: None,
        }
    }

    /// The broker started again.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        *self = Auditor::new(world);
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if let Some(sent) = self.asked {
            return self.hear(world, seen, sent);
        }
        self.asked = Some(seen.commits.send());
        let request = match world.random.chance(50) {
            true => requests::offsets(0..PARTITIONS),
            false => requests::all_offsets(),
        };
        send(world, self.connection, OFFSETS_BY_NAME, &request)?;
        Ok(Heard::Nothing)
    }

    fn hear(&mut self, world: &mut World, seen: &mut Seen, sent: Sent) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(Heard::Nothing);
        };
        self.asked = None;
        hear_offsets(world, &mut seen.commits, &answer, sent)?;
        Ok(Heard::Nothing)
    }
}

/// Notes the offsets of a group that an answer shows, to a request that was sent as `sent`.
pub(super) fn hear_offsets(
    world: &mut World,
    commits: &mut Commits,
    answer: &Bytes,
    sent: Sent,
) -> Result<(), Violation> {
    let answer: OffsetFetchResponse<'_> =
        decode::<OffsetFetchRequest<'_>, _>(answer, OFFSETS_BY_NAME)?;
    let group = &answer.groups[0];
    match code(group.error_code)? {
        ErrorCode::None => {}
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => return Ok(()),
        code => {
            return violation(format!(
                "the offsets of the group {}: {code:?}",
                group.group_id
            ));
        }
    }
    let shown = group.topics.iter().flat_map(|topic| &topic.partitions);
    let shown: BTreeMap<i32, i64> = shown
        .map(|partition| (partition.partition_index, partition.committed_offset))
        .collect();
    for partition in 0..PARTITIONS {
        // Asked for all, the broker leaves out what has no offset.
        let offset = shown.get(&partition).copied().unwrap_or(NONE);
        world.note(offset as u64);
        commits.read(sent, partition, offset)?;
    }
    Ok(())
}
