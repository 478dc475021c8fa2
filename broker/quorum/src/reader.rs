//! Reading a log at start, and telling a torn tail from damage.
//!
//! A proposal is written only after the one before it was synced. So when a frame does not check, there
//! are two cases. Nothing whole comes after it: it is the last write, cut short by a crash and never
//! answered, and it is dropped. Or a whole later frame comes after it: then it was synced, perhaps
//! answered, and the disk has changed it since; opening would forget something promised, so the log is
//! refused.
//!
//! One case cannot be told apart: damage of exactly the last frame looks like a torn write. Starting a
//! term writes a frame, so only a change made since the last start is exposed to it.

use std::path::Path;

use bytes::Bytes;
use millstream_env::File;

use crate::Entry;
use crate::error::OpenError;
use crate::files::LOG_HEADER_SIZE;
use crate::frame::{FRAME_HEADER_SIZE, FrameHeader, decode_body};

/// Walks the frames of a log.
pub(crate) struct LogReader<'a> {
    file: &'a dyn File,
    path: &'a Path,
    length: u64,
    /// Where the next frame begins.
    pub(crate) position: u64,
    /// The index that it must have.
    pub(crate) next_index: u64,
    /// The term that it must have at least.
    pub(crate) term: u64,
}

impl<'a> LogReader<'a> {
    pub(crate) fn new(
        file: &'a dyn File,
        path: &'a Path,
        first_index: u64,
        term: u64,
    ) -> Result<LogReader<'a>, OpenError> {
        let length = file
            .length()
            .map_err(|source| OpenError::io(path, source))?;
        Ok(LogReader {
            file,
            path,
            length,
            position: LOG_HEADER_SIZE as u64,
            next_index: first_index,
            term,
        })
    }

    /// The next frame's entries. `None` at the end of what is whole; then [`LogReader::position`] is
    /// that end. *Errors*: damage before the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<Entry>>, OpenError> {
        let Some((header, body)) = self.frame_at(self.position)? else {
            self.check_tail()?;
            return Ok(None);
        };
        if header.index != self.next_index {
            let reason = format!("index {} where {} is due", header.index, self.next_index);
            return Err(OpenError::damaged(self.path, self.position, reason));
        }
        if header.term < self.term {
            let reason = format!("term {} after term {}", header.term, self.term);
            return Err(OpenError::damaged(self.path, self.position, reason));
        }
        let entries = decode_body(&header, &body).ok_or_else(|| {
            let reason = "its entries do not fill the frame";
            OpenError::damaged(self.path, self.position, reason)
        })?;
        self.position += (FRAME_HEADER_SIZE + header.length) as u64;
        self.next_index = header.next_index();
        self.term = header.term;
        Ok(Some(entries))
    }

    /// The frame at a position, when one that checks is there.
    fn frame_at(&self, position: u64) -> Result<Option<(FrameHeader, Bytes)>, OpenError> {
        let body_position = position + FRAME_HEADER_SIZE as u64;
        if body_position > self.length {
            return Ok(None);
        }
        let io = |source| OpenError::io(self.path, source);
        let mut bytes = [0; FRAME_HEADER_SIZE];
        self.file.read_exact_at(&mut bytes, position).map_err(io)?;
        let header = FrameHeader::read(&bytes);
        if !header.is_plausible(self.length - body_position) {
            return Ok(None);
        }
        let mut body = vec![0; header.length];
        self.file
            .read_exact_at(&mut body, body_position)
            .map_err(io)?;
        let is_right = header.is_checksum_right(&bytes, &body);
        Ok(is_right.then(|| (header, Bytes::from(body))))
    }

    /// Looks for a later frame behind one that does not check.
    fn check_tail(&self) -> Result<(), OpenError> {
        let io = |source| OpenError::io(self.path, source);
        let mut window = vec![0; 1 << 16];
        let mut start = self.position + 1;
        while start + FRAME_HEADER_SIZE as u64 <= self.length {
            let count = self.file.read_at(&mut window, start).map_err(io)?;
            let Some(candidates) = (count + 1).checked_sub(FRAME_HEADER_SIZE) else {
                break;
            };
            for at in 0..candidates {
                let bytes = window[at..at + FRAME_HEADER_SIZE].try_into();
                let header = FrameHeader::read(bytes.expect("the length of a header"));
                let position = start + at as u64;
                if self.could_follow(&header, position) && self.frame_at(position)?.is_some() {
                    let reason =
                        format!("it does not check, but a later change at byte {position} does");
                    return Err(OpenError::damaged(self.path, self.position, reason));
                }
            }
            start += candidates as u64;
        }
        Ok(())
    }

    /// Cheap test that leaves few candidates for the checksum.
    fn could_follow(&self, header: &FrameHeader, position: u64) -> bool {
        let body_position = position + FRAME_HEADER_SIZE as u64;
        header.is_plausible(self.length - body_position)
            && header.index > self.next_index
            && header.index - self.next_index <= self.length
            && header.term >= self.term
    }
}
