//! Requests and answers as the simulated clients send and read them.

use bytes::Bytes;
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::records::{BatchHeader, batches, check_crc};
use millstream_protocol::wire::{Decoder, Message, Records};
use millstream_protocol::{ErrorCode, Request};

use super::world::World;
use super::{Violation, violation};

/// The newest version of each request that names topics.
pub(crate) const PRODUCE_BY_NAME: i16 = 11;
pub(crate) const FETCH_BY_NAME: i16 = 12;
pub(crate) const COMMIT_BY_NAME: i16 = 9;
pub(crate) const OFFSETS_BY_NAME: i16 = 9;
/// Turns of the broker's threads that a request may take where nothing fails.
const TURNS: u32 = 10_000;

/// Sends a request.
pub(crate) fn send<'m, R: Request + Message<'m>>(
    world: &mut World,
    connection: u64,
    version: i16,
    request: &R,
) -> Result<(), Violation> {
    send_as(world, connection, "simulated", version, request)
}

/// The same as another client.
pub(crate) fn send_as<'m, R: Request + Message<'m>>(
    world: &mut World,
    connection: u64,
    client_id: &str,
    version: i16,
    request: &R,
) -> Result<(), Violation> {
    let frame = encode_request(0, client_id, version, request).map_err(|error| Violation {
        what: format!("a request cannot be encoded: {error}"),
    })?;
    world.send(connection, &frame)
}

/// Sends a request and lets the broker work until it is answered. For times without faults.
pub(crate) fn call<'m, R: Request + Message<'m>>(
    world: &mut World,
    connection: u64,
    version: i16,
    request: &R,
) -> Result<Bytes, Violation> {
    send(world, connection, version, request)?;
    for _ in 0..TURNS {
        if let Some(answer) = world.receive(connection) {
            return Ok(answer);
        }
        world.work()?;
    }
    violation(format!("a {} is not answered", R::API_KEY.name()))
}

/// Reads the answer to a request of this version.
pub(crate) fn decode<'a, R: Request, M: Message<'a>>(
    answer: &'a Bytes,
    version: i16,
) -> Result<M, Violation> {
    let mut decoder = Decoder::new(answer);
    decode_response_header(&mut decoder, R::API_KEY, version)
        .and_then(|_| M::decode(&mut decoder, version))
        .map_err(|error| Violation {
            what: format!("an answer cannot be decoded: {error}"),
        })
}

/// The error of an answer by its name; a code nobody knows is a broken promise.
pub(crate) fn code(code: i16) -> Result<ErrorCode, Violation> {
    match ErrorCode::from_code(code) {
        Some(code) => Ok(code),
        None => violation(format!("error code {code} does not exist")),
    }
}

/// The batches of a fetched partition, each checked against its CRC.
pub(crate) fn batches_of(
    records: Option<&Records>,
) -> Result<Vec<(BatchHeader, Bytes)>, Violation> {
    let bytes = records.map(Records::to_bytes).unwrap_or_default();
    let mut all = Vec::new();
    for batch in batches(&bytes) {
        let damaged = |_| Violation {
            what: "a fetched batch is damaged".to_owned(),
        };
        let (header, batch) = batch.map_err(damaged)?;
        check_crc(batch).map_err(damaged)?;
        all.push((header, Bytes::copy_from_slice(batch)));
    }
    Ok(all)
}
