//! Walks the batches of a segment file, header by header, through one window of memory.
//!
//! What stands in the file is not believed: a length that reaches past the end, a wrong magic or, if
//! asked for, a wrong checksum ends the walk at that batch, before anything is reserved for it.

use std::io;
use std::ops::Range;

use millstream_env::File;
use millstream_model::{LeaderEpoch, Offset};
use millstream_protocol::records::{BatchHeader, HEADER_SIZE, check_crc};

use crate::mended_length::mended_header;

/// Bytes read at once when only headers are looked at.
const WINDOW_OF_HEADERS: usize = 16 << 10;
/// Bytes read at once when everything is.
const WINDOW_OF_BATCHES: usize = 256 << 10;

/// What stands at a position.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A batch.
    Batch(BatchHeader),
    /// Nothing: the end.
    End,
    /// Something that is no whole batch, and why.
    Invalid(String),
}

/// A walk from one position of a file to another.
pub(crate) struct Scan<'a> {
    file: &'a dyn File,
    position: u64,
    end: u64,
    checks_crc: bool,
    /// The base offset that the next batch must have, once known.
    expected: Option<i64>,
    /// Whether it may have a later one: compaction took out what was between.
    allows_gaps: bool,
    /// What no batch may end after.
    offset_end: i64,
    /// The leader epoch that the next batch must have at least.
    epoch_min: i32,
    /// The leader epoch that no batch has, nor a later one.
    epoch_end: i32,
    /// Whether damaged lengths are put right for the walk, by the batch's checksum.
    mends: bool,
    /// Where the batch before the position begins, once known.
    last_start: Option<u64>,
    window: Vec<u8>,
    window_start: u64,
}

impl<'a> Scan<'a> {
    /// Walks headers only.
    pub(crate) fn headers(file: &'a dyn File, position: u64, end: u64) -> Scan<'a> {
        Scan {
            file,
            position,
            end,
            checks_crc: false,
            expected: None,
            allows_gaps: false,
            offset_end: i64::MAX,
            epoch_min: i32::MIN,
            epoch_end: i32::MAX,
            mends: false,
            last_start: None,
            window: Vec::new(),
            window_start: position,
        }
    }

    /// Walks batches and checks the checksum of each.
    pub(crate) fn checked(file: &'a dyn File, position: u64, end: u64) -> Scan<'a> {
        Scan {
            checks_crc: true,
            ..Scan::headers(file, position, end)
        }
    }

    /// Checks the checksum of each batch from here on. What is damaged ends the walk, mended or not.
    pub(crate) fn checking(mut self) -> Scan<'a> {
        self.checks_crc = true;
        self.mends = false;
        self
    }

    /// The first batch must begin with this offset.
    pub(crate) fn expecting(mut self, offset: Offset) -> Scan<'a> {
        self.expected = Some(offset.0);
        self
    }

    /// Batches may leave gaps between their offsets, if `allowed`, and end at or before `end`: in a
    /// compacted segment that is all that is known of them.
    pub(crate) fn with_gaps(mut self, allowed: bool, end: Offset) -> Scan<'a> {
        if allowed {
            self.allows_gaps = true;
            self.offset_end = end.0;
        }
        self
    }

    /// Leader epochs lie in `epochs`, and do not fall. *Bounds*: the walk checks checksums.
    pub(crate) fn within_epochs(mut self, epochs: Range<LeaderEpoch>) -> Scan<'a> {
        self.epoch_min = epochs.start.0;
        self.epoch_end = epochs.end.0;
        self
    }

    /// A header whose length is damaged does not end the walk. `last_start` is where the batch before the
    /// position begins.
    pub(crate) fn mending(mut self, last_start: Option<u64>) -> Scan<'a> {
        self.mends = true;
        self.last_start = last_start;
        self
    }

    /// Where the batch begins that was found last.
    pub(crate) fn last_start(&self) -> Option<u64> {
        self.last_start
    }

    /// Where the next batch begins.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Makes `size` bytes from the position on stand in the window. *Bounds*: they are in the file
    /// as far as its end was given.
    fn fill(&mut self, size: usize) -> io::Result<&[u8]> {
        let from = (self.position - self.window_start) as usize;
        if from + size > self.window.len() {
            let chunk = if self.checks_crc {
                WINDOW_OF_BATCHES
            } else {
                WINDOW_OF_HEADERS
            };
            let wanted = (chunk.max(size) as u64).min(self.end - self.position) as usize;
            self.window.resize(wanted, 0);
            self.window_start = self.position;
            self.file.read_exact_at(&mut self.window, self.position)?;
        }
        let from = (self.position - self.window_start) as usize;
        Ok(&self.window[from..from + size])
    }

    /// The whole batch of this size that was found last. *Bounds*: the walk checks checksums.
    pub(crate) fn last_batch(&self, size: usize) -> &[u8] {
        let end = (self.position - self.window_start) as usize;
        &self.window[end - size..end]
    }

    /// The batch at the position; moves behind it.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        match self.next_as_it_stands()? {
            Found::Invalid(why) if self.mends => self.next_mended(why),
            found => Ok(found),
        }
    }

    /// The batch that comes next once a damaged length is put right: that of the batch before, or its own.
    fn next_mended(&mut self, why: String) -> io::Result<Found> {
        if let Some(start) = self.last_start
            && let Some(last) = mended_header(self.file, start, self.end)?
        {
            let end = start + last.size_in_bytes() as u64;
            if end != self.position {
                self.tell_of_length(start);
                self.move_to(end);
                return self.next();
            }
        }
        match mended_header(self.file, self.position, self.end)? {
            Some(header) if self.check_order(&header).is_none() => {
                self.tell_of_length(self.position);
                let end = self.position + header.size_in_bytes() as u64;
                self.pass(&header);
                self.move_to(end);
                Ok(Found::Batch(header))
            }
            _ => Ok(Found::Invalid(why)),
        }
    }

    fn move_to(&mut self, position: u64) {
        self.position = position;
        self.window.clear();
        self.window_start = position;
    }

    /// Notes what must come after this batch, which begins at the position.
    fn pass(&mut self, header: &BatchHeader) {
        self.last_start = Some(self.position);
        self.expected = Some(header.next_offset());
        self.epoch_min = header.partition_leader_epoch;
    }

    fn tell_of_length(&self, position: u64) {
        tracing::error!(position, next = ?self.expected, "the length of a batch is damaged: what follows it is found by its checksum");
    }

    fn next_as_it_stands(&mut self) -> io::Result<Found> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(Found::End);
        }
        if left < HEADER_SIZE as u64 {
            return Ok(Found::Invalid(format!(
                "{left} bytes are less than a header"
            )));
        }
        let header = match BatchHeader::read(self.fill(HEADER_SIZE)?) {
            Ok(header) => header,
            Err(error) => return Ok(Found::Invalid(error.to_string())),
        };
        let size = header.size_in_bytes();
        if size as u64 > left {
            return Ok(Found::Invalid(format!(
                "a batch of {size} bytes begins {left} bytes before the end"
            )));
        }
        if let Some(what) = self.check_order(&header) {
            return Ok(Found::Invalid(what));
        }
        if self.checks_crc
            && let Err(error) = check_crc(self.fill(size)?)
        {
            return Ok(Found::Invalid(error.to_string()));
        }
        self.pass(&header);
        self.position += size as u64;
        Ok(Found::Batch(header))
    }

    /// What contradicts the batches before. Base offset and leader epoch are not covered by the
    /// checksum: this is what finds damage in them.
    fn check_order(&self, header: &BatchHeader) -> Option<String> {
        if header.last_offset_delta < 0 || header.base_offset < 0 {
            return Some("its offsets are negative".to_owned());
        }
        if let Some(expected) = self.expected
            && header.base_offset != expected
            && !(self.allows_gaps && header.base_offset > expected)
        {
            let base = header.base_offset;
            return Some(format!("its base offset is {base}, expected {expected}"));
        }
        if header.next_offset() > self.offset_end {
            let last = header.last_offset();
            let end = self.offset_end;
            return Some(format!("its last offset is {last}, not before {end}"));
        }
        // Where headers are only walked, this is left to whoever reads the batch.
        if self.checks_crc && header.partition_leader_epoch < self.epoch_min {
            let epoch = header.partition_leader_epoch;
            let before = self.epoch_min;
            return Some(format!("its leader epoch is {epoch}, after {before}"));
        }
        if self.checks_crc && header.partition_leader_epoch >= self.epoch_end {
            let epoch = header.partition_leader_epoch;
            let end = self.epoch_end;
            return Some(format!(
                "its leader epoch is {epoch}, but {end} is only now begun"
            ));
        }
        None
    }
}
