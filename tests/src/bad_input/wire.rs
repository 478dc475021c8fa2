//! Requests as bytes, good ones and those that no encoder writes; and answers told.

use bytes::Bytes;
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ApiKey, Request};

use super::Tell;

/// Every client id here, in a request's header.
const CLIENT_ID: &[u8] = b"\x00\x04test";
/// No tagged fields.
pub(super) const NO_TAGS: &[u8] = &[0];

/// A request that an encoder writes.
pub(super) fn good<'m, R: Request + Message<'m>>(version: i16, request: &R) -> Vec<u8> {
    let frame = encode_request(1, "test", version, request).expect("the message fits its version");
    frame.parts.concat()
}

/// The bytes behind their length.
pub(super) fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut framed = (bytes.len() as i32).to_be_bytes().to_vec();
    framed.extend_from_slice(bytes);
    framed
}

/// A request whose header goes up to the correlation id.
pub(super) fn bare(key: i16, version: i16, rest: &[&[u8]]) -> Vec<u8> {
    let mut bytes = key.to_be_bytes().to_vec();
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&1_i32.to_be_bytes());
    bytes.extend_from_slice(&rest.concat());
    framed(&bytes)
}

/// A request with a whole header and this body.
pub(super) fn raw(api_key: ApiKey, version: i16, body: &[&[u8]]) -> Vec<u8> {
    let tags = match api_key.request_header_version(version) {
        ..2 => &[][..],
        _ => NO_TAGS,
    };
    let body = body.concat();
    bare(api_key.code(), version, &[CLIENT_ID, tags, &body])
}

/// Reads an answer to a request of this version. `None`: it is none.
pub(super) fn read<'a, R: Request, M: Message<'a>>(answer: &'a Bytes, version: i16) -> Option<M> {
    let mut decoder = Decoder::new(answer);
    let _correlation_id = decode_response_header(&mut decoder, R::API_KEY, version).ok()?;
    M::decode(&mut decoder, version).ok()
}

/// That there is an answer is all there is to tell.
pub(super) fn answered() -> Tell {
    Box::new(|_| Some("answered".to_owned()))
}

/// A varint.
pub(super) fn uvarint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}
