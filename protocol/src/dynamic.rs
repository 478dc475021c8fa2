//! The codec by name, for whoever holds a message without knowing its type: fuzzers, proofs, tools.

use bytes::Bytes;

use crate::wire::{DecodeError, Decoder, EncodeError, Encoder, Message, Records};
use crate::{ApiKey, messages};

/// A message that was decoded and encoded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reencoded {
    /// Its bytes.
    pub body: Bytes,
    /// Bytes after the message, which were ignored.
    pub trailing: usize,
}

/// Why a message could not be decoded and encoded again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReencodeError {
    /// It could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It could not be encoded.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

/// Every message with a codec: name, first version, last version.
#[must_use]
pub fn all() -> &'static [(&'static str, i16, i16)] {
    messages::ALL
}

/// Decodes the message `name` and encodes it again. `None` when no message has this name.
#[must_use]
pub fn reencode(
    name: &str,
    version: i16,
    body: &Bytes,
) -> Option<Result<Reencoded, ReencodeError>> {
    messages::reencode(name, version, body)
}

/// Decodes a request's body and encodes it again.
pub fn reencode_request(
    api_key: ApiKey,
    version: i16,
    body: &Bytes,
) -> Result<Reencoded, ReencodeError> {
    reencode(&format!("{}Request", api_key.name()), version, body).expect("every key has a request")
}

/// Decodes a response's body and encodes it again.
pub fn reencode_response(
    api_key: ApiKey,
    version: i16,
    body: &Bytes,
) -> Result<Reencoded, ReencodeError> {
    reencode(&format!("{}Response", api_key.name()), version, body)
        .expect("every key has a response")
}

pub(crate) fn again<'a, M: Message<'a>>(
    version: i16,
    body: &'a Bytes,
) -> Result<Reencoded, ReencodeError> {
    let mut decoder = Decoder::new(body);
    let message = M::decode(&mut decoder, version)?;
    let trailing = decoder.trailing();
    let mut encoder = Encoder::default();
    message.encode(&mut encoder, version)?;
    let body = Records::from(encoder.into_parts()).to_bytes();
    Ok(Reencoded { body, trailing })
}
