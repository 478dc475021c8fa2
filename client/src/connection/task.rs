//! The task that owns a socket: writes requests, reads answers, watches the clock.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use super::frame_buffer::{BadLength, FrameBuffer};
use super::in_flight::{InFlight, Waiting};
use super::write_queue::{SLICES, WriteQueue};
use crate::error::ConnectionError;

/// How often the age of waiting requests is looked at.
const TICK: Duration = Duration::from_millis(100);
/// Requests taken from the channel before the socket is written.
const GATHER: usize = 32;

/// A request as parts to write.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) frame: Vec<Bytes>,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) waits: Option<Waits>,
}

/// Who waits for the answer.
#[derive(Debug)]
pub(super) struct Waits {
    pub(super) correlation_id: i32,
    pub(super) api: &'static str,
    pub(super) limit: Duration,
    pub(super) answer: oneshot::Sender<Result<Bytes, ConnectionError>>,
}

struct Waiter {
    answer: oneshot::Sender<Result<Bytes, ConnectionError>>,
    _permit: OwnedSemaphorePermit,
}

pub(super) struct Task<R, W> {
    reader: R,
    writer: W,
    address: String,
    incoming: mpsc::UnboundedReceiver<Outgoing>,
    read: FrameBuffer,
    write: WriteQueue,
    in_flight: InFlight<Waiter>,
    // Permits of requests without an answer, given back when everything is written.
    unanswered: Vec<OwnedSemaphorePermit>,
    answer_bytes_max: usize,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Task<R, W> {
    pub(super) fn new(
        reader: R,
        writer: W,
        address: String,
        answer_bytes_max: usize,
        incoming: mpsc::UnboundedReceiver<Outgoing>,
    ) -> Self {
        Self {
            reader,
            writer,
            address,
            incoming,
            read: FrameBuffer::new(answer_bytes_max),
            write: WriteQueue::default(),
            in_flight: InFlight::new(),
            unanswered: Vec::new(),
            answer_bytes_max,
        }
    }

    /// Runs until the last handle is dropped, the peer closes, or something fails.
    pub(super) async fn run(mut self) {
        let cause = self.drive().await.err();
        self.incoming.close();
        while let Ok(outgoing) = self.incoming.try_recv() {
            self.accept(outgoing);
        }
        for waiting in self.in_flight.drain() {
            let error = match &cause {
                Some(ConnectionError::Closed { .. }) | None => ConnectionError::Closed {
                    address: self.address.clone(),
                    api: waiting.api,
                },
                Some(cause) => cause.clone(),
            };
            let _ = waiting.tag.answer.send(Err(error));
        }
        if let Some(cause) = cause {
            tracing::debug!(address = %self.address, %cause, "connection ended");
        }
    }

    async fn drive(&mut self) -> Result<(), ConnectionError> {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Every arm is cancel-safe: a read or write that does not win has moved nothing.
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = self.write.slices(&mut slices);
            let room = self
                .read
                .room()
                .map_err(|bad| bad_length(&self.address, bad, self.answer_bytes_max))?;
            let event = tokio::select! {
                read = self.reader.read_buf(room) => Event::Read(read),
                written = self.writer.write_vectored(&slices[..count]), if count > 0 => Event::Written(written),
                outgoing = self.incoming.recv(), if count < SLICES => Event::Request(outgoing),
                now = ticks.tick() => Event::Tick(now),
            };
            match event {
                Event::Read(Ok(0)) => {
                    return Err(ConnectionError::Closed {
                        address: self.address.clone(),
                        api: "the next request",
                    });
                }
                Event::Read(read) => {
                    read.map_err(|source| self.broken(source))?;
                    self.deliver()?;
                }
                Event::Written(Ok(0)) => {
                    return Err(self.broken(io::ErrorKind::WriteZero.into()));
                }
                Event::Written(written) => {
                    let written = written.map_err(|source| self.broken(source))?;
                    self.write.advance(written);
                    if self.write.is_empty() {
                        self.unanswered.clear();
                    }
                }
                Event::Request(None) => return Ok(()),
                Event::Request(Some(outgoing)) => self.gather(outgoing),
                Event::Tick(now) => self.check_age(now)?,
            }
        }
    }

    fn gather(&mut self, first: Outgoing) {
        self.accept(first);
        for _ in 1..GATHER {
            let Ok(next) = self.incoming.try_recv() else {
                return;
            };
            self.accept(next);
        }
    }

    fn accept(&mut self, outgoing: Outgoing) {
        self.write.push(outgoing.frame);
        let Some(waits) = outgoing.waits else {
            self.unanswered.push(outgoing.permit);
            return;
        };
        self.in_flight.push(Waiting {
            correlation_id: waits.correlation_id,
            api: waits.api,
            sent: Instant::now(),
            limit: waits.limit,
            tag: Waiter {
                answer: waits.answer,
                _permit: outgoing.permit,
            },
        });
    }

    fn deliver(&mut self) -> Result<(), ConnectionError> {
        while let Some(frame) = self
            .read
            .next_frame()
            .map_err(|bad| bad_length(&self.address, bad, self.answer_bytes_max))?
        {
            let Some(head) = frame.first_chunk::<4>() else {
                return Err(self.malformed("an answer shorter than its correlation id".into()));
            };
            let waiting = self
                .in_flight
                .take(i32::from_be_bytes(*head))
                .map_err(|unexpected| {
                    self.malformed(format!(
                        "an answer with correlation id {} where {} was due",
                        unexpected.got,
                        match unexpected.expected {
                            Some(expected) => expected.to_string(),
                            None => "none".to_owned(),
                        }
                    ))
                })?;
            // Nobody waits when the request's future was dropped.
            let _ = waiting.tag.answer.send(Ok(frame));
        }
        Ok(())
    }

    fn check_age(&self, now: Instant) -> Result<(), ConnectionError> {
        match self.in_flight.expired(now) {
            None => Ok(()),
            Some(waiting) => Err(ConnectionError::RequestTimeout {
                address: self.address.clone(),
                api: waiting.api,
                after: waiting.limit,
            }),
        }
    }

    fn broken(&self, source: io::Error) -> ConnectionError {
        ConnectionError::Io {
            address: self.address.clone(),
            source: Arc::new(source),
        }
    }

    fn malformed(&self, what: String) -> ConnectionError {
        ConnectionError::Malformed {
            address: self.address.clone(),
            what,
        }
    }
}

enum Event {
    Read(io::Result<usize>),
    Written(io::Result<usize>),
    Request(Option<Outgoing>),
    Tick(Instant),
}

fn bad_length(address: &str, bad: BadLength, limit: usize) -> ConnectionError {
    if bad.0 < 0 {
        return ConnectionError::Malformed {
            address: address.to_owned(),
            what: format!("an answer of {} bytes", bad.0),
        };
    }
    ConnectionError::AnswerTooLarge {
        address: address.to_owned(),
        length: i64::from(bad.0),
        limit,
    }
}
