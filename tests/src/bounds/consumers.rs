//! Consumers that ask for much and read nothing (row O3).

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use millstream_protocol::ApiKey;
use millstream_protocol::frame::encode_request;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::{FetchRequest, FetchResponse, ProduceResponse};

use super::{TOPIC, probe};
use crate::crash::Failure;
use crate::crash::wire::{Connection, WireError, code_name, read_answer};

const PRODUCE: i16 = 9;
const FETCH: i16 = 11;
/// What there is to read: as much as a fetch may give, in batches as large as a topic takes.
const BATCHES: usize = 60;
const BATCH_BYTES: usize = 1_000_000;
/// What a consumer asks for, again and again.
const WANTED: i32 = 50 << 20;
const REQUESTS: usize = 50;
/// The broker ends whoever reads nothing after a minute.
const ROOM_WITHIN: Duration = Duration::from_secs(90);

/// Answers how many were closed, and how long it took until one that reads got all that it asked for.
pub(super) fn ask_and_not_read(port: u16, count: usize) -> Result<(usize, Duration), Failure> {
    fill(port)?;
    let request = encode_request(1, "bounds", FETCH, &fetch());
    let request = request.map_err(|error| error.to_string())?.parts.concat();
    let requests = request.repeat(REQUESTS);
    let began = Instant::now();
    let mut crowd = Vec::with_capacity(count);
    for _ in 0..count {
        let ask = || {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_nonblocking(true)?;
            let _ = stream.write(&requests);
            Ok(stream)
        };
        crowd.push(ask().map_err(|error: std::io::Error| format!("a consumer: {error}"))?);
    }
    // Others go on, and in the end there is room again.
    loop {
        probe::measure(port, Duration::from_millis(500))?;
        let got = read_all(port)?;
        if got >= BATCH_BYTES * 45 {
            break;
        }
        if began.elapsed() > ROOM_WITHIN {
            return Err(format!("a consumer that reads gets {got} bytes at once"));
        }
        thread::sleep(Duration::from_millis(500));
    }
    let closed = crowd
        .iter_mut()
        .filter_map(|stream| is_closed(stream).then_some(()));
    match closed.count() {
        0 => Err("nobody was closed who reads nothing".to_owned()),
        closed => Ok((closed, began.elapsed())),
    }
}

fn fill(port: u16) -> Result<(), Failure> {
    let failed = |error: WireError| format!("filling the topic: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    for _ in 0..BATCHES {
        let request = probe::produce(1, BATCH_BYTES, 1);
        let (id, frame) = connection.call(PRODUCE, &request).map_err(failed)?;
        let answer: ProduceResponse<'_> = read_answer(&frame, ApiKey::Produce, PRODUCE, id)?;
        let code = answer.responses[0].partition_responses[0].error_code;
        if code != 0 {
            return Err(format!("filling the topic: {}", code_name(code)));
        }
    }
    Ok(())
}

fn fetch() -> FetchRequest<'static> {
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 500,
        min_bytes: 1,
        max_bytes: WANTED,
        session_epoch: -1,
        topics: vec![FetchTopic {
            topic: TOPIC.into(),
            partitions: vec![FetchPartition {
                partition: 1,
                current_leader_epoch: -1,
                last_fetched_epoch: -1,
                partition_max_bytes: WANTED,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    }
}

/// What one fetch gives a consumer that reads.
fn read_all(port: u16) -> Result<usize, Failure> {
    let failed = |error: WireError| format!("a consumer that reads: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    let (id, frame) = connection.call(FETCH, &fetch()).map_err(failed)?;
    let answer: FetchResponse<'_> = read_answer(&frame, ApiKey::Fetch, FETCH, id)?;
    let partition = &answer.responses[0].partitions[0];
    match partition.error_code {
        0 => Ok(partition
            .records
            .as_ref()
            .map_or(0, |records| records.len())),
        code => Err(format!("a consumer that reads: {}", code_name(code))),
    }
}

/// Whether the broker has closed it. What it had sent before is read past.
fn is_closed(stream: &mut TcpStream) -> bool {
    let mut taken = vec![0; 1 << 20];
    loop {
        match stream.read(&mut taken) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() != ErrorKind::WouldBlock,
        }
    }
}
