//! Walks the batches of a run of bytes, as a log file or a fetch answer holds them.

use super::error::BatchError;
use super::header::{BatchHeader, HEADER_SIZE};

/// The complete batches at the start of `bytes`, one after the other.
///
/// An incomplete batch at the end, as fetch answers have it, ends the walk without an error; bytes
/// that are no batch end it with one. Checksums are not looked at.
#[must_use]
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches {
        bytes,
        position: 0,
        failed: false,
    }
}

/// The walk of [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Where the next batch begins: the end of what was walked.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    /// What was not walked; after the end of the walk, the incomplete batch.
    #[must_use]
    pub fn leftover(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.leftover();
        if self.failed || rest.len() < HEADER_SIZE {
            return None;
        }
        match BatchHeader::read(rest) {
            Ok(header) => {
                let batch = rest.get(..header.size_in_bytes())?;
                self.position += batch.len();
                Some(Ok((header, batch)))
            }
            Err(error) => {
                self.failed = true;
                Some(Err(error))
            }
        }
    }
}

impl std::iter::FusedIterator for Batches<'_> {}
