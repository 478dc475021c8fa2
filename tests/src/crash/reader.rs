//! Reading the topic: all the time while brokers come and go, and once everything at the end.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::{FetchRequest, FetchResponse};
use millstream_protocol::records::{batches, check_crc, records_of};
use millstream_protocol::{ApiKey, ErrorCode};

use super::oracle::{ReadRecord, Seen};
use super::payload::RecordId;
use super::wire::{Connection, WireError, code_name, read_answer};
use super::{Failure, Options, Shared, TOPIC};

/// A version that names topics.
const VERSION: i16 = 12;

/// The final reading makes progress within this time.
const PROGRESS_WITHIN: Duration = Duration::from_secs(60);

/// What a Fetch says of a partition.
struct PartitionAnswer {
    code: ErrorCode,
    high_watermark: i64,
    records: Bytes,
}

/// Follows all partitions until the run is over; answers what it saw.
pub(crate) fn follow(shared: &Shared) -> Result<Seen, Failure> {
    let mut positions = start_of_all(&shared.options);
    let mut seen = Seen::new();
    while !shared.is_over() {
        match follow_on_one_connection(shared, &mut positions, &mut seen) {
            Ok(()) => {}
            Err(WireError::Gone) => shared.sleep(Duration::from_millis(10)),
            Err(WireError::Wrong(failure)) => return Err(format!("follower: {failure}")),
        }
    }
    Ok(seen)
}

fn follow_on_one_connection(
    shared: &Shared,
    positions: &mut BTreeMap<i32, i64>,
    seen: &mut Seen,
) -> Result<(), WireError> {
    let mut connection = Connection::open(shared.options.port)?;
    while !shared.is_over() {
        for (partition, answer) in fetch(&mut connection, positions, 200)? {
            if answer.code.is_retriable() {
                shared.sleep(Duration::from_millis(5));
                continue;
            }
            let position = positions.get_mut(&partition);
            let position = position.ok_or_else(|| format!("unasked partition {partition}"))?;
            // An offset that was read before cannot be out of range afterwards.
            if answer.code != ErrorCode::None {
                return Err(format!(
                    "partition {partition} at offset {position}: {}",
                    answer.code
                )
                .into());
            }
            let seen = seen.entry(partition).or_default();
            *position = each_record(&answer.records, partition, *position, &mut |record| {
                if let Some(id) = record.key.and_then(RecordId::of_key) {
                    seen.insert(record.offset, id);
                    shared.seen.fetch_add(1, Ordering::SeqCst);
                }
            })?;
        }
    }
    Ok(())
}

/// Reads every partition from its first to its last record.
pub(crate) fn read_all(
    options: &Options,
    take: &mut dyn FnMut(ReadRecord<'_>),
) -> Result<(), Failure> {
    let problem = |error| format!("final reading: {error:?}");
    let mut connection = Connection::open(options.port).map_err(problem)?;
    let mut positions = start_of_all(options);
    let mut progressed = Instant::now();
    while !positions.is_empty() {
        if progressed.elapsed() > PROGRESS_WITHIN {
            return Err(format!("final reading stands still at {positions:?}"));
        }
        for (partition, answer) in fetch(&mut connection, &positions, 100).map_err(problem)? {
            if answer.code.is_retriable() {
                continue;
            }
            if answer.code != ErrorCode::None {
                return Err(format!("final reading of {partition}: {}", answer.code));
            }
            let position = positions.get_mut(&partition).ok_or("unasked partition")?;
            let before = *position;
            *position = each_record(&answer.records, partition, before, take)?;
            if *position > before {
                progressed = Instant::now();
            }
            if *position >= answer.high_watermark {
                positions.remove(&partition);
            }
        }
    }
    Ok(())
}

fn start_of_all(options: &Options) -> BTreeMap<i32, i64> {
    (0..options.partitions)
        .map(|partition| (partition, 0))
        .collect()
}

fn fetch(
    connection: &mut Connection,
    positions: &BTreeMap<i32, i64>,
    max_wait_ms: i32,
) -> Result<Vec<(i32, PartitionAnswer)>, WireError> {
    let partitions = positions
        .iter()
        .map(|(&partition, &fetch_offset)| FetchPartition {
            partition,
            current_leader_epoch: -1,
            fetch_offset,
            last_fetched_epoch: -1,
            log_start_offset: -1,
            partition_max_bytes: 1 << 20,
            ..FetchPartition::default()
        });
    let topic = FetchTopic {
        topic: TOPIC.into(),
        partitions: partitions.collect(),
        ..FetchTopic::default()
    };
    let request = FetchRequest {
        replica_id: -1,
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 8 << 20,
        session_id: 0,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    };
    let (id, frame) = connection.call(VERSION, &request)?;
    let answer: FetchResponse<'_> = read_answer(&frame, ApiKey::Fetch, VERSION, id)?;
    let mut answers = Vec::new();
    for partition in answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
    {
        let code = ErrorCode::from_code(partition.error_code)
            .ok_or_else(|| code_name(partition.error_code))?;
        answers.push((
            partition.partition_index,
            PartitionAnswer {
                code,
                high_watermark: partition.high_watermark,
                records: partition
                    .records
                    .map(|records| records.to_bytes())
                    .unwrap_or_default(),
            },
        ));
    }
    Ok(answers)
}

/// Gives every record from `position` on and answers the position behind the last.
fn each_record(
    records: &Bytes,
    partition: i32,
    mut position: i64,
    take: &mut dyn FnMut(ReadRecord<'_>),
) -> Result<i64, Failure> {
    let broken = |at: i64, error: &dyn std::fmt::Display| {
        format!("partition {partition}, batch at or after offset {at}: {error}")
    };
    for batch in batches(records) {
        let (header, bytes) = batch.map_err(|error| broken(position, &error))?;
        check_crc(bytes).map_err(|error| broken(header.base_offset, &error))?;
        let owner = records_of(&header, bytes).map_err(|e| broken(header.base_offset, &e))?;
        for record in owner.iter() {
            let record = record.map_err(|error| broken(header.base_offset, &error))?;
            // A fetch from within a batch gets the whole batch.
            if record.offset >= position {
                take(ReadRecord {
                    partition,
                    offset: record.offset,
                    timestamp: record.timestamp,
                    key: record.key,
                    value: record.value,
                });
            }
        }
        position = position.max(header.next_offset());
    }
    Ok(position)
}
