//! A blocking connection, for threads that measure time: no runtime between the clock and the socket.

use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, bail};
use bytes::{Buf, Bytes};
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::wire::{Decoder, Message};
use millstream_protocol::{ApiKey, Request};

pub(crate) const CLIENT_ID: &str = "millstream-bench";
/// Longest answer taken.
const ANSWER_BYTES_MAX: usize = 100 << 20;

/// The end that writes requests.
#[derive(Debug)]
pub(crate) struct Sender {
    stream: TcpStream,
    correlation_id: i32,
}

/// The end that reads answers.
#[derive(Debug)]
pub(crate) struct Receiver {
    stream: TcpStream,
    buffer: Vec<u8>,
    filled: usize,
    consumed: usize,
}

/// Connects to `address`.
pub(crate) fn connect(address: &str) -> anyhow::Result<(Sender, Receiver)> {
    let stream =
        TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let sender = Sender {
        stream: stream.try_clone()?,
        correlation_id: 0,
    };
    let receiver = Receiver {
        stream,
        buffer: vec![0; 64 * 1024],
        filled: 0,
        consumed: 0,
    };
    Ok((sender, receiver))
}

impl Sender {
    /// Writes a request.
    pub(crate) fn send<'a, R: Request + Message<'a>>(
        &mut self,
        request: &R,
        version: i16,
    ) -> anyhow::Result<()> {
        self.correlation_id = self.correlation_id.wrapping_add(1);
        let frame = encode_request(self.correlation_id, CLIENT_ID, version, request)?;
        let mut parts = frame.parts;
        let mut first = 0;
        while first < parts.len() {
            let slices: Vec<IoSlice<'_>> = parts[first..].iter().map(|p| IoSlice::new(p)).collect();
            let mut written = self.stream.write_vectored(&slices)?;
            if written == 0 {
                bail!("the broker takes no more bytes");
            }
            while written > 0 {
                let step = written.min(parts[first].len());
                parts[first].advance(step);
                written -= step;
                if parts[first].is_empty() {
                    first += 1;
                }
            }
            while first < parts.len() && parts[first].is_empty() {
                first += 1;
            }
        }
        Ok(())
    }

    /// Writes frames that were encoded before.
    pub(crate) fn send_bytes(&mut self, frames: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(frames)?)
    }

    /// Ends the connection, for both ends.
    pub(crate) fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

impl Receiver {
    /// Waits for the next answer: its bytes without the length.
    pub(crate) fn receive(&mut self) -> anyhow::Result<Bytes> {
        self.fill(4)?;
        let head = &self.buffer[self.consumed..self.consumed + 4];
        let length = i32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= ANSWER_BYTES_MAX)
            .with_context(|| format!("an answer of {length} bytes"))?;
        self.fill(4 + length)?;
        let start = self.consumed + 4;
        let frame = Bytes::copy_from_slice(&self.buffer[start..start + length]);
        self.consumed = start + length;
        Ok(frame)
    }

    fn fill(&mut self, needed: usize) -> anyhow::Result<()> {
        if self.consumed == self.filled {
            self.consumed = 0;
            self.filled = 0;
        }
        if self.buffer.len() - self.consumed < needed {
            self.buffer.copy_within(self.consumed..self.filled, 0);
            self.filled -= self.consumed;
            self.consumed = 0;
            if self.buffer.len() < needed {
                self.buffer.resize(needed, 0);
            }
        }
        while self.filled - self.consumed < needed {
            let read = self.stream.read(&mut self.buffer[self.filled..])?;
            if read == 0 {
                bail!("the broker closed the connection");
            }
            self.filled += read;
        }
        Ok(())
    }
}

/// Decodes an answer that [`Receiver::receive`] returned.
pub(crate) fn decode<'a, M: Message<'a>>(
    frame: &'a Bytes,
    api: ApiKey,
    version: i16,
) -> anyhow::Result<M> {
    let mut decoder = Decoder::new(frame);
    decode_response_header(&mut decoder, api, version)?;
    Ok(M::decode(&mut decoder, version)?)
}
