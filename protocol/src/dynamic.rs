//! The codec by name, for whoever holds a message without knowing its type: fuzzers, proofs, tools.

use std::fmt;

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
    transcode(name, version, version, body)
}

/// Decodes the message `name` in one version and encodes it in another.
#[must_use]
pub fn transcode(
    name: &str,
    from: i16,
    to: i16,
    body: &Bytes,
) -> Option<Result<Reencoded, ReencodeError>> {
    messages::with_type(name, Transcode { from, to, body })
}

/// Decodes the message `name` and drops it; gives the number of bytes after it, which were ignored.
#[must_use]
pub fn decode(name: &str, version: i16, body: &Bytes) -> Option<Result<usize, DecodeError>> {
    messages::with_type(name, Decode { version, body })
}

/// Encodes the message `name` with every field at its default.
#[must_use]
pub fn encode_default(name: &str, version: i16) -> Option<Result<Bytes, EncodeError>> {
    messages::with_type(name, EncodeDefault { version })
}

/// The message `name` as text, with the names of its fields.
#[must_use]
pub fn describe(name: &str, version: i16, body: &Bytes) -> Option<Result<String, DecodeError>> {
    messages::with_type(name, Describe { version, body })
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

/// Something to be done with a message whose type is chosen by its name.
pub(crate) trait Work<'a> {
    type Output;

    fn on<M: Message<'a> + Default + fmt::Debug>(self) -> Self::Output;
}

struct Transcode<'a> {
    from: i16,
    to: i16,
    body: &'a Bytes,
}

impl<'a> Work<'a> for Transcode<'a> {
    type Output = Result<Reencoded, ReencodeError>;

    fn on<M: Message<'a> + Default + fmt::Debug>(self) -> Self::Output {
        let mut decoder = Decoder::new(self.body);
        let message = M::decode(&mut decoder, self.from)?;
        Ok(Reencoded {
            body: encode(&message, self.to)?,
            trailing: decoder.trailing(),
        })
    }
}

struct Decode<'a> {
    version: i16,
    body: &'a Bytes,
}

impl<'a> Work<'a> for Decode<'a> {
    type Output = Result<usize, DecodeError>;

    fn on<M: Message<'a> + Default + fmt::Debug>(self) -> Self::Output {
        let mut decoder = Decoder::new(self.body);
        M::decode(&mut decoder, self.version)?;
        Ok(decoder.trailing())
    }
}

struct EncodeDefault {
    version: i16,
}

impl<'a> Work<'a> for EncodeDefault {
    type Output = Result<Bytes, EncodeError>;

    fn on<M: Message<'a> + Default + fmt::Debug>(self) -> Self::Output {
        encode(&M::default(), self.version)
    }
}

struct Describe<'a> {
    version: i16,
    body: &'a Bytes,
}

impl<'a> Work<'a> for Describe<'a> {
    type Output = Result<String, DecodeError>;

    fn on<M: Message<'a> + Default + fmt::Debug>(self) -> Self::Output {
        let message = M::decode(&mut Decoder::new(self.body), self.version)?;
        Ok(format!("{message:?}"))
    }
}

fn encode<'a>(message: &impl Message<'a>, version: i16) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::default();
    message.encode(&mut encoder, version)?;
    Ok(Records::from(encoder.into_parts()).to_bytes())
}
