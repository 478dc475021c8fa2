//! The primitives that messages are made of.
//!
//! | type | classic versions | flexible versions |
//! | --- | --- | --- |
//! | numbers, booleans, uuid | fixed size, big-endian | the same |
//! | string | int16 length, −1 = null | uvarint length + 1, 0 = null |
//! | bytes, records | int32 length, −1 = null | uvarint length + 1, 0 = null |
//! | array | int32 count, −1 = null | uvarint count + 1, 0 = null |
//! | tagged fields | – | uvarint count, then each: uvarint tag, uvarint size, value |

mod decoder;
mod encoder;
mod error;
mod records;

pub use decoder::{Decoder, TAGS_UNKNOWN_MAX, Tags};
pub use encoder::{Encoder, TagMark};
pub use error::{DecodeError, EncodeError};
pub use records::Records;

use std::ops::RangeInclusive;

/// The longest string of the protocol, in bytes: what Kafka's int16 lengths can say.
pub const STRING_BYTES_MAX: usize = 32767;

/// A message with a codec.
pub trait Message<'a>: Sized {
    /// Its name, as the schema writes it.
    const NAME: &'static str;
    /// The versions that have a codec.
    const VERSIONS: RangeInclusive<i16>;
    /// Reads a message of this version. *Errors*: see [`DecodeError`]; never panics on input.
    fn decode(decoder: &mut Decoder<'a>, version: i16) -> Result<Self, DecodeError>;
    /// Writes the message in this version. *Errors*: the message says what the version cannot.
    fn encode(&self, encoder: &mut Encoder, version: i16) -> Result<(), EncodeError>;
}
