//! What a connection has to write: parts of answers, shared with the caches they come from.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use millstream_protocol::frame::Frame;
use tokio::net::TcpStream;

/// Parts given to one system call.
const PARTS_MAX: usize = 64;

/// Bytes on their way out, in order.
#[derive(Default)]
pub struct Outgoing {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Outgoing {
    /// Queues an answer.
    pub fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        self.parts
            .extend(frame.parts.into_iter().filter(|part| !part.is_empty()));
    }

    /// Bytes not written yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// Whether everything is written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Writes what the socket takes now. Answers how many bytes it took. *Errors*: those of the
    /// socket, except `WouldBlock`, which ends the writing.
    pub fn write(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let mut total = 0;
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); PARTS_MAX];
            let mut count = 0;
            for (slice, part) in slices.iter_mut().zip(&self.parts) {
                *slice = IoSlice::new(part);
                count += 1;
            }
            match stream.try_write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    total += written;
                    self.consume(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn consume(&mut self, mut written: usize) {
        self.bytes -= written;
        while written > 0 {
            let Some(part) = self.parts.front_mut() else {
                return;
            };
            if part.len() > written {
                part.advance(written);
                return;
            }
            written -= part.len();
            self.parts.pop_front();
        }
    }
}
