//! Walks a segment file batch by batch and hands out bytes, right or wrong: the judging is the caller's.
//!
//! Recovery's own walk ends at the first fault. This one says what a batch claims to be and lets the
//! caller go on behind it.

use std::io;

use millstream_env::File;
use millstream_protocol::records::{BatchHeader, HEADER_SIZE};

/// Bytes read at once.
const WINDOW: usize = 1 << 20;

/// What stands at the position.
pub(crate) enum Step {
    /// Something with the length of a batch; the position is behind it now.
    Batch { position: u64, header: BatchHeader },
    /// Nothing that has a length that fits. The position has not moved.
    Unreadable { position: u64, what: String },
    /// The end of the file.
    End,
}

pub(crate) struct Walk<'a> {
    file: &'a dyn File,
    pub position: u64,
    pub end: u64,
    window: Vec<u8>,
    window_start: u64,
    /// Where the last batch stands in the window, and its size.
    last: (usize, usize),
}

impl<'a> Walk<'a> {
    pub(crate) fn new(file: &'a dyn File, end: u64) -> Walk<'a> {
        Walk {
            file,
            position: 0,
            end,
            window: Vec::new(),
            window_start: 0,
            last: (0, 0),
        }
    }

    pub(crate) fn next(&mut self) -> io::Result<Step> {
        let position = self.position;
        let left = self.end - position;
        if left == 0 {
            return Ok(Step::End);
        }
        let unreadable = |what| Ok(Step::Unreadable { position, what });
        if left < HEADER_SIZE as u64 {
            return unreadable(format!("{left} bytes are less than a header"));
        }
        let at = self.fill(HEADER_SIZE)?;
        let header = match BatchHeader::read(&self.window[at..at + HEADER_SIZE]) {
            Ok(header) => header,
            Err(error) => return unreadable(error.to_string()),
        };
        let size = header.size_in_bytes();
        if size as u64 > left {
            return unreadable(format!(
                "a batch of {size} bytes begins {left} bytes before the end"
            ));
        }
        self.last = (self.fill(size)?, size);
        self.position += size as u64;
        Ok(Step::Batch { position, header })
    }

    /// The bytes of the last batch.
    pub(crate) fn batch(&self) -> &[u8] {
        let (at, size) = self.last;
        &self.window[at..at + size]
    }

    /// Whether a header stands at the position whose batch fits, or the end.
    pub(crate) fn is_plausible(&mut self) -> io::Result<bool> {
        Ok(!matches!(self.look()?, Step::Unreadable { .. }))
    }

    /// Whether what stands at the position confirms the length of the batch before it, whose header this is: the
    /// batch with the offset that it ends before, or the end.
    pub(crate) fn follows(&mut self, header: &BatchHeader) -> io::Result<bool> {
        Ok(match self.look()? {
            Step::Batch { header: next, .. } => next.base_offset == header.next_offset(),
            Step::End => true,
            Step::Unreadable { .. } => false,
        })
    }

    /// What stands at the position, without moving on.
    fn look(&mut self) -> io::Result<Step> {
        let position = self.position;
        let step = self.next()?;
        self.position = position;
        Ok(step)
    }

    /// Makes so many bytes from the position on stand in the window; answers where in it. *Bounds*: the
    /// file has them.
    fn fill(&mut self, size: usize) -> io::Result<usize> {
        let window_end = self.window_start + self.window.len() as u64;
        let is_inside =
            self.position >= self.window_start && self.position + size as u64 <= window_end;
        if !is_inside {
            let wanted = (WINDOW.max(size) as u64).min(self.end - self.position) as usize;
            self.window.resize(wanted, 0);
            self.window_start = self.position;
            self.file.read_exact_at(&mut self.window, self.position)?;
        }
        Ok((self.position - self.window_start) as usize)
    }
}
