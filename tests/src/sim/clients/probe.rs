//! A client that asks, while a log directory has failed, whether the others still acknowledge (S13).

use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchBuilder, Codec};

use super::plain::{create_topic, produce, produced};
use crate::sim::wire::{PRODUCE_BY_NAME, call};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const TOPIC: &str = "probed";
/// As many as there are log directories, at most.
const PARTITIONS: i32 = 3;

/// Makes its topic.
pub(super) fn create(world: &mut World) -> Result<(), Violation> {
    create_topic(world, TOPIC, PARTITIONS, &[]).map(drop)
}

/// Every partition whose directory has not failed acknowledges. Answers how many.
pub(super) fn check(world: &mut World) -> Result<u32, Violation> {
    let mut acknowledged = 0;
    for partition in 0..PARTITIONS {
        if world.may_be_offline(TOPIC, partition) {
            continue;
        }
        let place = world.directory_of(TOPIC, partition);
        let connection = world.connect();
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(world.now_ms(), None, Some(b"still there"), []);
        let request = produce((TOPIC, partition), builder.build(0, -1));
        let answer = call(world, connection, PRODUCE_BY_NAME, &request)?;
        world.disconnect(connection);
        match produced(&answer)? {
            (ErrorCode::None, _) => acknowledged += 1,
            (ErrorCode::KafkaStorageError, _) if world.may_be_offline(TOPIC, partition) => {}
            // Its disk has failed meanwhile, or the queue of a slow one is full.
            (ErrorCode::RequestTimedOut, _) => {}
            // It waited in the queue of a slow directory, which the partition has left.
            (ErrorCode::NotLeaderOrFollower, _)
                if world.directory_of(TOPIC, partition) != place => {}
            (code, _) => {
                return violation(format!(
                    "partition {partition} is refused with {code:?}, but its log directory has not failed"
                ));
            }
        }
    }
    Ok(acknowledged)
}
