//! What is measured: acknowledgements in the fast directory, syncs of its disk without a broker, and answers of the
//! HTTP listener.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::load::produce_request;
use super::{Latencies, Measured};
use crate::crash::Failure;
use crate::crash::wire::{Connection, WireError, code_name, read_answer};
use millstream_protocol::ApiKey;
use millstream_protocol::messages::ProduceResponse;

/// Batches a second and partition.
const RATE: u32 = 100;
const BATCH_BYTES: usize = 1024;
const VERSION: i16 = 9;

/// Produces to each of the partitions at a fixed rate for so long, and syncs a file beside them.
pub(super) fn measure(
    port: u16,
    partitions: &[i32],
    file: &Path,
    duration: Duration,
) -> Result<Measured, Failure> {
    thread::scope(|scope| {
        let floor = scope.spawn(|| floor(file, duration));
        let probes: Vec<_> = partitions
            .iter()
            .map(|partition| scope.spawn(move || probe(port, *partition, duration)))
            .collect();
        let mut all = Vec::new();
        for probe in probes {
            all.extend(probe.join().map_err(|_| "a thread ended by a panic")??);
        }
        let floor = floor.join().map_err(|_| "a thread ended by a panic")?;
        Ok(Measured {
            broker: Latencies::of(all),
            disk: Latencies::of(floor.map_err(|error| format!("{}: {error}", file.display()))?),
        })
    })
}

/// Appends as much as a probe does and syncs it, without a broker.
fn floor(path: &Path, duration: Duration) -> std::io::Result<Vec<Duration>> {
    let mut file = File::create(path)?;
    at_fixed_rate(duration, || {
        file.write_all(&[0; BATCH_BYTES])?;
        file.sync_data()
    })
}

fn probe(port: u16, partition: i32, duration: Duration) -> Result<Vec<Duration>, Failure> {
    let failed = |error: WireError| format!("probe of partition {partition}: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    at_fixed_rate(duration, || {
        let request = produce_request(partition, BATCH_BYTES, -1);
        let (id, frame) = connection.call(VERSION, &request).map_err(failed)?;
        let answer: ProduceResponse<'_> = read_answer(&frame, ApiKey::Produce, VERSION, id)?;
        let code = answer.responses[0].partition_responses[0].error_code;
        if code != 0 {
            return Err(format!(
                "probe of partition {partition}: {}",
                code_name(code)
            ));
        }
        Ok(())
    })
}

/// How long each call took from the time at which it was due.
fn at_fixed_rate<E>(
    duration: Duration,
    mut call: impl FnMut() -> Result<(), E>,
) -> Result<Vec<Duration>, E> {
    let began = Instant::now();
    let mut latencies = Vec::new();
    let mut due = began;
    while due < began + duration {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        call()?;
        latencies.push(due.elapsed());
        due += Duration::from_secs(1) / RATE;
    }
    Ok(latencies)
}

/// Asks for `/healthz` ten times a second for so long. Answers how long the slowest answer took.
pub(super) fn health(port: u16, duration: Duration) -> Result<Duration, Failure> {
    let began = Instant::now();
    let mut slowest = Duration::ZERO;
    while began.elapsed() < duration {
        let asked = Instant::now();
        let answer = ask(port).map_err(|error| format!("/healthz: {error}"))?;
        if !answer.starts_with("HTTP/1.1 200") {
            return Err(format!("/healthz answers {answer:?}"));
        }
        slowest = slowest.max(asked.elapsed());
        thread::sleep(Duration::from_millis(100));
    }
    Ok(slowest)
}

fn ask(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
