//! A crowd of producers with a request of the largest size each, at once (row O2).
//!
//! Each is one batch larger than a topic takes. It has to be read to its end to be refused, and writes nothing to
//! the disk, so the requests themselves are all there is to hold.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::messages::ProduceResponse;
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ApiKey, ErrorCode};

use super::probe;
use crate::crash::Failure;

const VERSION: i16 = 9;
/// Room for the request around its one record.
const AROUND: usize = 1000;
/// Whoever is not answered in this time never is.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
const STACK: usize = 64 << 10;
/// A small request is answered in this time, whatever large ones wait.
const SMALL_WITHIN: Duration = Duration::from_secs(5);

/// Answers how many were answered, and how long that took.
pub(super) fn send(
    port: u16,
    producers: usize,
    request_bytes: usize,
) -> Result<(usize, Duration), Failure> {
    let request = probe::produce(1, request_bytes - AROUND, 1);
    let frame = encode_request(1, "bounds", VERSION, &request);
    let frame = frame.map_err(|error| error.to_string())?;
    let bytes = Arc::new(frame.parts.concat());
    let began = Instant::now();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let small = scope.spawn(|| small_ones(port, &stop));
        let spawn = |_| {
            let bytes = Arc::clone(&bytes);
            let builder = thread::Builder::new().stack_size(STACK);
            builder.spawn_scoped(scope, move || produce(port, &bytes))
        };
        let spawned: Vec<_> = (0..producers).map(spawn).collect();
        let joined = spawned.into_iter().map(|producer| {
            let producer = producer.map_err(|error| format!("a thread: {error}"))?;
            producer.join().map_err(|_| "a thread ended by a panic")?
        });
        // All of them, for whoever is left would be waited for with the small ones still running.
        let failures: Vec<Failure> = joined.filter_map(Result::err).collect();
        let took = began.elapsed();
        stop.store(true, Ordering::Relaxed);
        let slowest = small.join().map_err(|_| "a thread ended by a panic")??;
        println!("     beside the producers a small request took {slowest:.1?} at most");
        if slowest > SMALL_WITHIN {
            return Err(format!("a small request took {slowest:.1?}"));
        }
        match failures.first() {
            None => Ok((producers, took)),
            Some(first) => Err(format!(
                "{} producers failed, the first: {first}",
                failures.len()
            )),
        }
    })
}

fn produce(port: u16, bytes: &[u8]) -> Result<(), Failure> {
    let send = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(ANSWER_WITHIN))?;
        stream.set_write_timeout(Some(ANSWER_WITHIN))?;
        stream.write_all(bytes)?;
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length).min(1 << 16) as usize];
        stream.read_exact(&mut answer)?;
        Ok(Bytes::from(answer))
    };
    let answer = send().map_err(|error: std::io::Error| format!("a producer: {error}"))?;
    let mut decoder = Decoder::new(&answer);
    let answer = decode_response_header(&mut decoder, ApiKey::Produce, VERSION)
        .and_then(|_| ProduceResponse::decode(&mut decoder, VERSION));
    let answer = answer.map_err(|error| format!("a producer: {error}"))?;
    let code = answer.responses[0].partition_responses[0].error_code;
    match code == ErrorCode::MessageTooLarge.code() {
        true => Ok(()),
        false => Err(format!("a producer was answered with error {code}")),
    }
}

/// Small requests all the while. Answers how long the slowest took.
fn small_ones(port: u16, stop: &AtomicBool) -> Result<Duration, Failure> {
    let mut slowest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let measured = probe::measure(port, Duration::from_millis(500))?;
        slowest = slowest.max(measured.max);
    }
    Ok(slowest)
}
