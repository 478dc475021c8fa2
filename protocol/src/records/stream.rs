//! Records that come out of a codec, scanned in one window and then forgotten.
//!
//! A record that is whole in the window is scanned as if it were in memory; a larger one is passed
//! over piece by piece. Nothing is ever as large as the batch.

use super::codec::Codec;
use super::decompress::Decompressor;
use super::error::{BatchError, DecompressError, RecordProblem};
use super::scan::{Scanned, Source, scan_record, scan_slice, varint};

/// Decompressed bytes that are held at a time.
pub(super) const WINDOW_BYTES: usize = 64 << 10;

/// What scanning a stream can fail with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamError {
    Record(RecordProblem),
    Decompress(DecompressError),
}

impl From<RecordProblem> for StreamError {
    fn from(problem: RecordProblem) -> Self {
        StreamError::Record(problem)
    }
}

impl StreamError {
    /// The fault of the batch, met at record `index`.
    pub(super) fn at(self, index: i32, codec: Codec) -> BatchError {
        match self {
            StreamError::Record(problem) => BatchError::Record { index, problem },
            StreamError::Decompress(problem) => BatchError::Decompress { codec, problem },
        }
    }
}

/// The decompressed records, from the next one on.
pub(super) struct RecordStream<'a> {
    stream: Decompressor<'a>,
    window: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes to the end of the record that is being passed over.
    left: usize,
    failure: Option<StreamError>,
}

impl<'a> RecordStream<'a> {
    pub(super) fn new(stream: Decompressor<'a>, window_bytes: usize) -> Self {
        RecordStream {
            stream,
            window: vec![0; window_bytes],
            start: 0,
            end: 0,
            left: 0,
            failure: None,
        }
    }

    /// Scans the next record.
    pub(super) fn next_record(&mut self) -> Result<Scanned, StreamError> {
        if !self.fill()? {
            return Err(RecordProblem::Missing.into());
        }
        self.left = usize::MAX; // The length itself belongs to no record.
        let length = varint(self);
        self.check(())?;
        let Ok(bytes) = usize::try_from(length) else {
            let length = i64::from(length);
            return Err(RecordProblem::Length { length }.into());
        };
        self.left = bytes;
        if bytes <= self.window.len() && self.fill_to(bytes)? {
            let body = &self.window[self.start..self.start + bytes];
            let scanned = scan_slice(body)?;
            self.start += bytes;
            return Ok(scanned);
        }
        let scanned = scan_record(self);
        self.check(scanned)
    }

    /// `found`, unless there was a failure.
    fn check<T>(&self, found: T) -> Result<T, StreamError> {
        match self.failure {
            None => Ok(found),
            Some(failure) => Err(failure),
        }
    }

    /// Whether nothing follows; only then are the codec's own checks complete.
    pub(super) fn is_at_end(&mut self) -> Result<bool, DecompressError> {
        self.fill().map(|more| !more)
    }

    /// Makes at least one byte ready; false at the end.
    fn fill(&mut self) -> Result<bool, DecompressError> {
        if self.start == self.end {
            self.start = 0;
            self.end = self.stream.read(&mut self.window)?;
        }
        Ok(self.start < self.end)
    }

    /// As [`RecordStream::fill`], with the codec's failure kept for later.
    fn has_more(&mut self) -> bool {
        self.fill().unwrap_or_else(|problem| {
            self.failure = self.failure.or(Some(problem.into()));
            self.left = 0;
            false
        })
    }

    /// Makes `bytes`, at most the window, ready in one piece; false when the stream ends before.
    fn fill_to(&mut self, bytes: usize) -> Result<bool, StreamError> {
        if self.start + bytes > self.window.len() {
            self.window.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < bytes {
            match self.stream.read(&mut self.window[self.end..])? {
                0 => return Ok(false),
                read => self.end += read,
            }
        }
        Ok(true)
    }
}

impl From<DecompressError> for StreamError {
    fn from(problem: DecompressError) -> Self {
        StreamError::Decompress(problem)
    }
}

impl Source for RecordStream<'_> {
    fn byte(&mut self) -> u8 {
        if self.left == 0 || !self.has_more() {
            self.fail(RecordProblem::FieldPastEnd);
            return 0;
        }
        let byte = self.window[self.start];
        self.start += 1;
        self.left -= 1;
        byte
    }

    fn skip(&mut self, bytes: usize) {
        let mut rest = bytes;
        while rest > 0 {
            if !self.has_more() {
                self.fail(RecordProblem::FieldPastEnd);
                return;
            }
            let step = rest.min(self.end - self.start);
            self.start += step;
            rest -= step;
        }
        self.left -= bytes;
    }

    fn left(&self) -> usize {
        self.left
    }

    fn fail(&mut self, problem: RecordProblem) {
        self.failure = self.failure.or(Some(problem.into()));
        self.left = 0;
    }
}
