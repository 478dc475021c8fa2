//! Frames: a header and a message behind a length.
//!
//! ```text
//!   request   length i32 │ header v1 or v2 │ body
//!   response  length i32 │ header v0 or v1 │ body
//! ```

use std::borrow::Cow;

use bytes::Bytes;

use crate::messages::{RequestHeader, ResponseHeader};
use crate::wire::{DecodeError, Decoder, EncodeError, Encoder, Message};
use crate::{ApiKey, Request};

/// Room for most headers and small bodies.
const FRAME_CAPACITY: usize = 256;

/// A frame ready to be written, its length prefix included. Written one after another, the parts
/// are the frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The pieces in order.
    pub parts: Vec<Bytes>,
}

impl Frame {
    /// Length in bytes, with the prefix.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads a request's header. The version of the header follows from key and version; a key nobody
/// knows is read as far as all headers agree.
pub fn decode_request_header<'a>(
    decoder: &mut Decoder<'a>,
) -> Result<RequestHeader<'a>, DecodeError> {
    let mut header = RequestHeader {
        request_api_key: decoder.i16()?,
        request_api_version: decoder.i16()?,
        correlation_id: decoder.i32()?,
        client_id: decoder.nullable_string(false)?,
    };
    let api_key = ApiKey::from_i16(header.request_api_key);
    let version = header.request_api_version;
    if api_key.is_some_and(|key| key.request_header_version(version) >= 2) {
        let mut tags = decoder.tags()?;
        while let Some((_, end)) = decoder.next_tag(&mut tags)? {
            decoder.skip_tag(&mut tags, end)?;
        }
    }
    if header.client_id.is_none() {
        header.client_id = Some(Cow::Borrowed(""));
    }
    Ok(header)
}

/// Reads a response's header: the correlation id.
pub fn decode_response_header(
    decoder: &mut Decoder<'_>,
    api_key: ApiKey,
    version: i16,
) -> Result<i32, DecodeError> {
    let header = ResponseHeader::decode(decoder, api_key.response_header_version(version))?;
    Ok(header.correlation_id)
}

/// Writes a response with its header.
pub fn encode_response<'m>(
    correlation_id: i32,
    api_key: ApiKey,
    version: i16,
    body: &impl Message<'m>,
) -> Result<Frame, EncodeError> {
    let header = ResponseHeader { correlation_id };
    encode(
        &header,
        api_key.response_header_version(version),
        body,
        version,
    )
}

/// Writes a request with its header.
pub fn encode_request<'m, R: Request + Message<'m>>(
    correlation_id: i32,
    client_id: &str,
    version: i16,
    body: &R,
) -> Result<Frame, EncodeError> {
    let header = RequestHeader {
        request_api_key: R::API_KEY.code(),
        request_api_version: version,
        correlation_id,
        client_id: Some(Cow::Borrowed(client_id)),
    };
    encode(
        &header,
        R::API_KEY.request_header_version(version),
        body,
        version,
    )
}

fn encode<'h, 'm>(
    header: &impl Message<'h>,
    header_version: i16,
    body: &impl Message<'m>,
    version: i16,
) -> Result<Frame, EncodeError> {
    let mut encoder = Encoder::with_capacity(FRAME_CAPACITY);
    encoder.i32(0);
    header.encode(&mut encoder, header_version)?;
    body.encode(&mut encoder, version)?;
    let length = encoder.len() - 4;
    let length = i32::try_from(length).map_err(|_| EncodeError::TooLong(length))?;
    encoder.set_frame_length(length);
    Ok(Frame {
        parts: encoder.into_parts(),
    })
}
