//! A disk that fills up to its reserve: records are refused before a write fails, and all else goes on.

use millstream_env::sim::SimRandom;
use millstream_protocol::ErrorCode;

use super::beside::{BESIDE, Beside, readyz};
use super::broker::Broker;
use super::ending::{resume, wait_for_standstill, wait_until};
use super::volume::Volume;
use super::wire::create_topic;
use super::{Failure, Shared, reader};

/// Bytes that records of clients leave free in these runs.
pub(crate) const RESERVE: u64 = 32 << 20;
/// Bytes beyond it that are left to the load.
const ROOM: u64 = 4 << 20;
/// A topic whose deletion makes room: so many records of so many bytes.
const BULK: &str = "bulk";
const BULK_RECORDS: usize = 32;
const BULK_RECORD_BYTES: usize = 900_000;
const GROUP: &str = "beside";

/// Uses up the room beyond the reserve, looks at what goes on, and makes room by deleting a topic.
pub(crate) fn use_up_room(
    shared: &Shared,
    broker: &mut Broker,
    random: &SimRandom,
    volume: &Volume,
) -> Result<(), Failure> {
    let options = &shared.options;
    create_topic(options, BULK, 1)?;
    let mut beside = Beside::open(options)?;
    for _ in 0..BULK_RECORDS {
        let mut said = Ok((ErrorCode::None, String::new()));
        // That there is room again is found out within a second.
        wait_until(shared, || {
            said = beside.produce(BULK, 0, BULK_RECORD_BYTES);
            !matches!(said, Ok((ErrorCode::KafkaStorageError, _)))
        });
        let (code, message) = said?;
        if code != ErrorCode::None {
            return Err(format!(
                "there is room, and {BULK} takes nothing: {code}, {message}"
            ));
        }
    }
    let mut found = Ok(ErrorCode::CoordinatorNotAvailable);
    wait_until(shared, || {
        found = beside.find_coordinator(GROUP);
        !matches!(found, Ok(ErrorCode::CoordinatorNotAvailable))
    })
    .ok_or("a group has no coordinator")?;
    found?;
    volume.fill_up(RESERVE + ROOM)?;
    wait_for_standstill(shared).ok_or("acknowledgements go on without room beyond the reserve")?;
    if random.chance(50) {
        broker.kill()?;
        *broker = Broker::start(options)?;
        beside = Beside::open(options)?;
    }
    check_refused(shared, &mut beside, volume)?;
    if beside.delete(BULK)? != ErrorCode::None {
        return Err("a topic cannot be deleted where there is no room".to_owned());
    }
    resume(shared).map_err(|failure| format!("after a deletion: {failure}"))?;
    volume.make_room()?;
    resume(shared)
}

fn check_refused(shared: &Shared, beside: &mut Beside, volume: &Volume) -> Result<(), Failure> {
    let (code, message) = beside.produce(BESIDE, 0, 1 << 10)?;
    let names_setting = message.contains("millstream.log.dir.reserve.bytes");
    if code != ErrorCode::KafkaStorageError || !names_setting {
        return Err(format!("without room: {code}, {message:?}"));
    }
    let free = volume.free()?;
    // What is found out only when the file system is asked: indexes, small files.
    if free < RESERVE - ROOM {
        return Err(format!("{free} bytes are free of a reserve of {RESERVE}"));
    }
    let (status, text) = readyz(&shared.options)?;
    if status != 200 || !text.contains("millstream.log.dir.reserve.bytes") {
        return Err(format!("/readyz says {status}, {text:?}"));
    }
    for offset in 0..100 {
        let mut code = beside.commit(GROUP, offset)?;
        // After a start it is loaded first.
        wait_until(shared, || {
            let is_loading = code == ErrorCode::CoordinatorLoadInProgress;
            if is_loading && let Ok(next) = beside.commit(GROUP, offset) {
                code = next;
            }
            !is_loading
        });
        if code != ErrorCode::None {
            return Err(format!("an offset is not committed without room: {code}"));
        }
    }
    reader::read_all(&shared.options, &mut |_| {})
        .map_err(|failure| format!("without room: {failure}"))
}
