//! The loads on the slow directory: readers from the oldest record on, whose bytes are in no cache; as many
//! bytes as it takes, and readers of its tails.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse, ProduceRequest,
    ProduceResponse,
};
use millstream_protocol::records::{BatchBuilder, Codec};
use millstream_protocol::{ApiKey, ErrorCode};

use crate::crash::wire::{Connection, WireError, code_name, read_answer};
use crate::crash::{Failure, TOPIC};

/// Producers of each partition; half of them do not wait for a flush.
const PRODUCERS: usize = 4;
/// Requests on the way of each.
const IN_FLIGHT: usize = 5;
const BATCH_BYTES: usize = 64 << 10;
/// How long a producer that was refused waits, as clients do.
const BACKOFF: Duration = Duration::from_millis(100);
const PRODUCE: i16 = 9;
const FETCH: i16 = 11;
const LIST_OFFSETS: i16 = 4;

/// What the slow directory did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loaded {
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Batches that were refused, to be sent again.
    pub refused: u64,
    /// Answers to readers.
    pub looks: u64,
}

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = BATCH_BYTES >> 10;
        write!(
            f,
            "{} batches of {kib} KiB acknowledged, {} refused, {} looks at the tails",
            self.acknowledged, self.refused, self.looks
        )
    }
}

/// Produces and reads until it is told to stop.
pub(super) fn run(port: u16, partitions: &[i32], stop: &AtomicBool) -> Result<Loaded, Failure> {
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for partition in partitions.iter().copied() {
            for number in 0..PRODUCERS {
                let acks = if number % 2 == 0 { 1 } else { -1 };
                threads.push(scope.spawn(move || produce(port, partition, acks, stop)));
            }
            threads.push(scope.spawn(move || read(port, partition, stop)));
        }
        let mut all = Loaded::default();
        for thread in threads {
            let one = thread.join().map_err(|_| "a thread ended by a panic")??;
            all.acknowledged += one.acknowledged;
            all.refused += one.refused;
            all.looks += one.looks;
        }
        Ok(all)
    })
}

fn produce(port: u16, partition: i32, acks: i16, stop: &AtomicBool) -> Result<Loaded, Failure> {
    let failed = |error: WireError| format!("load of partition {partition}: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    let request = produce_request(partition, BATCH_BYTES, acks);
    let mut loaded = Loaded::default();
    let mut sent = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while sent.len() < IN_FLIGHT {
            sent.push(connection.send(PRODUCE, &request).map_err(failed)?);
        }
        let frame = connection.receive().map_err(failed)?;
        let id = sent.remove(0);
        let answer: ProduceResponse<'_> = read_answer(&frame, ApiKey::Produce, PRODUCE, id)?;
        let code = answer.responses[0].partition_responses[0].error_code;
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => loaded.acknowledged += 1,
            Some(ErrorCode::RequestTimedOut) => {
                loaded.refused += 1;
                thread::sleep(BACKOFF);
            }
            _ => {
                return Err(format!(
                    "load of partition {partition}: {}",
                    code_name(code)
                ));
            }
        }
    }
    Ok(loaded)
}

/// Appends so many batches to each partition.
pub(super) fn fill(port: u16, partitions: &[i32], batches: usize) -> Result<(), Failure> {
    for partition in partitions.iter().copied() {
        let failed = |error: WireError| format!("filling partition {partition}: {error:?}");
        let mut connection = Connection::open(port).map_err(failed)?;
        let request = produce_request(partition, BATCH_BYTES, -1);
        for _ in 0..batches {
            let (id, frame) = connection.call(PRODUCE, &request).map_err(failed)?;
            let answer: ProduceResponse<'_> = read_answer(&frame, ApiKey::Produce, PRODUCE, id)?;
            let code = answer.responses[0].partition_responses[0].error_code;
            if code != 0 {
                let code = code_name(code);
                return Err(format!("filling partition {partition}: {code}"));
            }
        }
    }
    Ok(())
}

/// Reads partitions from their oldest record on until it is told to stop, each by a consumer of its own.
/// Answers how many batches were read.
pub(super) fn backfill(port: u16, partitions: &[i32], stop: &AtomicBool) -> Result<u64, Failure> {
    thread::scope(|scope| {
        let partitions = partitions.iter().copied();
        let threads: Vec<_> = partitions
            .map(|partition| scope.spawn(move || read_from_oldest(port, partition, stop)))
            .collect();
        let mut all = 0;
        for thread in threads {
            all += thread.join().map_err(|_| "a thread ended by a panic")??;
        }
        Ok(all)
    })
}

fn read_from_oldest(port: u16, partition: i32, stop: &AtomicBool) -> Result<u64, Failure> {
    let failed = |error: WireError| format!("backfill of partition {partition}: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    let mut batches = 0;
    while !stop.load(Ordering::Relaxed) {
        // A batch has one record.
        let request = fetch_request(partition, batches as i64, BATCH_BYTES as i32);
        let (id, frame) = connection.call(FETCH, &request).map_err(failed)?;
        let answer: FetchResponse<'_> = read_answer(&frame, ApiKey::Fetch, FETCH, id)?;
        let found = &answer.responses[0].partitions[0];
        check(partition, found.error_code)?;
        batches += u64::from(found.records.as_ref().is_some_and(|one| !one.is_empty()));
    }
    Ok(batches)
}

/// Follows the tail of a partition, asking for its end again and again.
fn read(port: u16, partition: i32, stop: &AtomicBool) -> Result<Loaded, Failure> {
    let failed = |error: WireError| format!("reader of partition {partition}: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    let mut loaded = Loaded::default();
    while !stop.load(Ordering::Relaxed) {
        let request = list_offsets_request(partition);
        let (id, frame) = connection.call(LIST_OFFSETS, &request).map_err(failed)?;
        let answer: ListOffsetsResponse<'_> =
            read_answer(&frame, ApiKey::ListOffsets, LIST_OFFSETS, id)?;
        let found = &answer.topics[0].partitions[0];
        check(partition, found.error_code)?;
        let request = fetch_request(partition, found.offset, 1 << 20);
        let (id, frame) = connection.call(FETCH, &request).map_err(failed)?;
        let answer: FetchResponse<'_> = read_answer(&frame, ApiKey::Fetch, FETCH, id)?;
        check(partition, answer.responses[0].partitions[0].error_code)?;
        loaded.looks += 1;
    }
    Ok(loaded)
}

fn check(partition: i32, code: i16) -> Result<(), Failure> {
    match code {
        0 => Ok(()),
        code => Err(format!(
            "reader of partition {partition}: {}",
            code_name(code)
        )),
    }
}

/// A batch of one record of so many bytes.
pub(super) fn produce_request(partition: i32, bytes: usize, acks: i16) -> ProduceRequest<'static> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(-1, None, Some(&vec![partition as u8; bytes]), []);
    let data = PartitionProduceData {
        index: partition,
        records: Some(builder.build(0, -1).into()),
    };
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 120_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![data],
            ..TopicProduceData::default()
        }],
    }
}

fn list_offsets_request(partition: i32) -> ListOffsetsRequest<'static> {
    ListOffsetsRequest {
        replica_id: -1,
        topics: vec![ListOffsetsTopic {
            name: TOPIC.into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: partition,
                current_leader_epoch: -1,
                timestamp: -1,
            }],
        }],
        ..ListOffsetsRequest::default()
    }
}

fn fetch_request(partition: i32, offset: i64, bytes_max: i32) -> FetchRequest<'static> {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: bytes_max,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition,
                current_leader_epoch: -1,
                fetch_offset: offset,
                last_fetched_epoch: -1,
                partition_max_bytes: bytes_max,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}
