//! Reads the fields of one record, checking every length, without keeping or copying anything.
//!
//! ```text
//! varint length · int8 attributes · varlong timestamp delta · varint offset delta
//! varint key length (−1 null) · key · varint value length (−1 null) · value
//! varint header count · per header: varint key length · key · varint value length (−1 null) · value
//! ```
//!
//! One function serves records in memory and records that come out of a codec bit by bit: see
//! [`Source`]. It knows where the record ends, so no field can reach into the next one. A source
//! remembers its first failure and is at its end from then on, rather than returning a result for
//! each byte: that lets the compiler keep it in registers, which makes the walk five times faster.

use std::ops::Range;

use super::error::RecordProblem;
use super::varint::unzigzag;

/// The bytes of one record, after its length.
pub(super) trait Source {
    /// The next byte; at the end a failure, and 0.
    fn byte(&mut self) -> u8;
    /// Passes over `bytes`, at most [`Source::left`].
    fn skip(&mut self, bytes: usize);
    /// Bytes to the end of the record; none after a failure.
    fn left(&self) -> usize;
    /// Takes note of a failure, unless there was one, and goes to the end.
    fn fail(&mut self, problem: RecordProblem);
}

/// A record in memory.
pub(super) struct SliceSource<'a> {
    pub(super) rest: &'a [u8],
    problem: Option<RecordProblem>,
}

impl<'a> SliceSource<'a> {
    #[inline(always)]
    pub(super) fn new(rest: &'a [u8]) -> Self {
        SliceSource {
            rest,
            problem: None,
        }
    }

    /// `found`, unless there was a failure.
    #[inline(always)]
    pub(super) fn check<T>(&self, found: T) -> Result<T, RecordProblem> {
        match self.problem {
            None => Ok(found),
            Some(problem) => Err(problem),
        }
    }
}

impl Source for SliceSource<'_> {
    #[inline(always)]
    fn byte(&mut self) -> u8 {
        match self.rest.split_first() {
            Some((&byte, rest)) => {
                self.rest = rest;
                byte
            }
            None => {
                self.fail(RecordProblem::FieldPastEnd);
                0
            }
        }
    }

    #[inline(always)]
    fn skip(&mut self, bytes: usize) {
        match self.rest.get(bytes..) {
            Some(rest) => self.rest = rest,
            None => self.fail(RecordProblem::FieldPastEnd),
        }
    }

    #[inline(always)]
    fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline(always)]
    fn fail(&mut self, problem: RecordProblem) {
        self.problem = self.problem.or(Some(problem));
        self.rest = &[];
    }
}

/// Where the fields of a record are, counted from the byte after its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) timestamp_delta: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
    pub(super) header_count: usize,
    /// Where the first header begins.
    pub(super) headers: usize,
}

/// Reads a varint.
#[inline(always)]
pub(super) fn varint<S: Source>(source: &mut S) -> i32 {
    read_varint(source, 4, 0x0f) as i32
}

/// Reads a varlong.
#[inline(always)]
pub(super) fn varlong<S: Source>(source: &mut S) -> i64 {
    read_varint(source, 9, 0x01)
}

/// Reads an integer of at most `more` bytes after the first, the last of them at most `last_max`.
#[inline(always)]
fn read_varint<S: Source>(source: &mut S, more: u32, last_max: u8) -> i64 {
    let first = source.byte();
    let mut value = u64::from(first & 0x7f);
    if first < 0x80 {
        return unzigzag(value);
    }
    for place in 1..=more {
        let byte = source.byte();
        if place == more && byte > last_max {
            source.fail(RecordProblem::Varint);
            return 0;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            break;
        }
    }
    unzigzag(value)
}

/// Passes over a key or value; `None` when it is null.
#[inline(always)]
fn skip_nullable<S: Source>(source: &mut S, record_len: usize) -> Option<Range<usize>> {
    let length = varint(source);
    if length == -1 {
        return None;
    }
    let bytes = length as usize; // A negative one becomes larger than any record.
    if bytes > source.left() {
        let length = i64::from(length);
        source.fail(RecordProblem::FieldLength { length });
        return None;
    }
    let start = record_len - source.left();
    source.skip(bytes);
    Some(start..start + bytes)
}

/// Reads one record to its end. What it returns means nothing if the source has failed.
#[inline(always)]
pub(super) fn scan_record<S: Source>(source: &mut S) -> Scanned {
    let record_len = source.left();
    source.byte(); // Attributes, of which none are defined.
    let timestamp_delta = varlong(source);
    let offset_delta = varint(source);
    let key = skip_nullable(source, record_len);
    let value = skip_nullable(source, record_len);
    let count = varint(source);
    let headers = record_len - source.left();
    if count != 0 {
        skip_headers(source, count, record_len);
    }
    if source.left() > 0 {
        let bytes = source.left();
        source.fail(RecordProblem::BytesRemain { bytes });
    }
    Scanned {
        timestamp_delta,
        offset_delta,
        key,
        value,
        header_count: count as usize,
        headers,
    }
}

/// Passes over `count` headers; the smallest takes two bytes.
#[inline(always)]
fn skip_headers<S: Source>(source: &mut S, count: i32, record_len: usize) {
    if count as usize > source.left() / 2 {
        let count = i64::from(count);
        source.fail(RecordProblem::HeaderCount { count });
        return;
    }
    for _ in 0..count {
        if source.left() == 0 {
            source.fail(RecordProblem::FieldPastEnd);
            return;
        }
        let length = varint(source);
        if length as usize > source.left() {
            let length = i64::from(length);
            source.fail(RecordProblem::HeaderKeyLength { length });
            return;
        }
        source.skip(length as usize);
        skip_nullable(source, record_len);
    }
}

/// Splits one record off the front of `rest`: its bytes after the length, and what follows it.
#[inline(always)]
pub(super) fn split_record(rest: &[u8]) -> Result<(&[u8], &[u8]), RecordProblem> {
    if rest.is_empty() {
        return Err(RecordProblem::Missing);
    }
    let mut source = SliceSource::new(rest);
    let length = varint(&mut source);
    let length = source.check(length)?;
    source
        .rest
        .split_at_checked(length as usize)
        .ok_or(RecordProblem::Length {
            length: i64::from(length),
        })
}

/// Scans one record in memory.
#[inline(always)]
pub(super) fn scan_slice(body: &[u8]) -> Result<Scanned, RecordProblem> {
    let mut source = SliceSource::new(body);
    let scanned = scan_record(&mut source);
    source.check(scanned)
}
