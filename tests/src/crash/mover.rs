//! Moves partitions between the two log directories (AlterReplicaLogDirs) while the load goes on.

use std::path::Path;
use std::time::{Duration, Instant};

use millstream_env::sim::SimRandom;
use millstream_protocol::messages::alter_replica_log_dirs_request::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic,
};
use millstream_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use millstream_protocol::messages::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse,
};
use millstream_protocol::{ApiKey, ErrorCode};

use super::wire::{Connection, WireError, code_name, read_answer};
use super::{Failure, Shared, TOPIC};

const ALTER: i16 = 2;
const DESCRIBE: i16 = 4;

/// A move that was asked for has ended within this time, however often the broker is killed meanwhile.
const MOVED_WITHIN: Duration = Duration::from_secs(180);
/// Milliseconds between two moves at most.
const PAUSE: u64 = 150;

/// A partition on its way.
struct Wish<'a> {
    partition: i32,
    to: &'a Path,
    since: Instant,
}

/// Moves one partition after the other until the run drains; answers how many moves ended.
pub(crate) fn run(shared: &Shared) -> Result<u64, Failure> {
    let options = &shared.options;
    let Some(second) = &options.second_data_dir else {
        return Err("moves need a second log directory".to_owned());
    };
    let directories = [options.data_dir.as_path(), second.as_path()];
    let random = SimRandom::new(options.seed ^ 0x6d6f_7665);
    let mut moved = 0;
    while !shared.is_draining() && !shared.is_over() {
        let wish = Wish {
            partition: random.below(options.partitions as u64) as i32,
            to: directories[random.below(2) as usize],
            since: Instant::now(),
        };
        moved += u64::from(fulfil(shared, &wish)?);
        shared.sleep(Duration::from_millis(random.below(PAUSE)));
    }
    Ok(moved)
}

/// Asks for a move until it has ended. Whether it was one.
fn fulfil(shared: &Shared, wish: &Wish<'_>) -> Result<bool, Failure> {
    let mut is_move = false;
    while !shared.is_draining() && !shared.is_over() {
        match follow(shared, wish, &mut is_move) {
            Ok(has_arrived) => return Ok(has_arrived && is_move),
            Err(WireError::Gone) => shared.sleep(Duration::from_millis(10)),
            Err(WireError::Wrong(failure)) => return Err(format!("mover: {failure}")),
        }
    }
    Ok(false)
}

/// Asks on one connection; whether the partition arrived. `is_move` is set when it was seen elsewhere.
fn follow(shared: &Shared, wish: &Wish<'_>, is_move: &mut bool) -> Result<bool, WireError> {
    let mut connection = Connection::open(shared.options.port)?;
    while !shared.is_draining() && !shared.is_over() {
        if is_there(&mut connection, wish)? {
            return Ok(true);
        }
        *is_move = true;
        if wish.since.elapsed() > MOVED_WITHIN {
            let (partition, to) = (wish.partition, wish.to.display());
            let failure = format!("partition {partition} is not in {to} after {MOVED_WITHIN:?}");
            return Err(failure.into());
        }
        // What was asked for is forgotten at a kill.
        ask(&mut connection, wish)?;
        shared.sleep(Duration::from_millis(5));
    }
    Ok(false)
}

fn ask(connection: &mut Connection, wish: &Wish<'_>) -> Result<(), WireError> {
    let request = AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: wish.to.display().to_string().into(),
            topics: vec![AlterReplicaLogDirTopic {
                name: TOPIC.into(),
                partitions: vec![wish.partition],
            }],
        }],
    };
    let (id, frame) = connection.call(ALTER, &request)?;
    let answer: AlterReplicaLogDirsResponse<'_> =
        read_answer(&frame, ApiKey::AlterReplicaLogDirs, ALTER, id)?;
    let topic = answer.results.first();
    let partition = topic.and_then(|topic| topic.partitions.first());
    let code = partition.ok_or_else(|| "AlterReplicaLogDirs without the partition".to_owned())?;
    match ErrorCode::from_code(code.error_code) {
        Some(ErrorCode::None) => Ok(()),
        // A disk that dies under the broker.
        Some(ErrorCode::KafkaStorageError) => Err(WireError::Gone),
        _ => Err(format!("AlterReplicaLogDirs: {}", code_name(code.error_code)).into()),
    }
}

/// Whether the partition is where it is to be, and not on its way any more.
fn is_there(connection: &mut Connection, wish: &Wish<'_>) -> Result<bool, WireError> {
    let request = DescribeLogDirsRequest {
        topics: Some(vec![DescribableLogDirTopic {
            topic: TOPIC.into(),
            partitions: vec![wish.partition],
        }]),
    };
    let (id, frame) = connection.call(DESCRIBE, &request)?;
    let answer: DescribeLogDirsResponse<'_> =
        read_answer(&frame, ApiKey::DescribeLogDirs, DESCRIBE, id)?;
    let mut places = Vec::new();
    for directory in &answer.results {
        let found = directory.topics.iter().flat_map(|topic| &topic.partitions);
        places.extend(
            found
                .filter(|found| !found.is_future_key)
                .map(|_| Path::new(&*directory.log_dir)),
        );
    }
    match places[..] {
        [place] => Ok(place == wish.to),
        // Its disk has died.
        [] => Err(WireError::Gone),
        _ => Err(format!("partition {} is in {places:?}", wish.partition).into()),
    }
}
