//! Parts of requests on their way to the socket, written with as few system calls as their number allows.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Parts handed to one vectored write.
pub(crate) const SLICES: usize = 64;

/// Bytes to be written, in order.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    parts: VecDeque<Bytes>,
}

impl WriteQueue {
    pub(crate) fn push(&mut self, parts: impl IntoIterator<Item = Bytes>) {
        self.parts
            .extend(parts.into_iter().filter(|part| !part.is_empty()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Fills `slices` with the next parts and says how many there are.
    pub(crate) fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>; SLICES]) -> usize {
        let mut count = 0;
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
            count += 1;
        }
        count
    }

    /// Forgets `written` bytes from the front.
    pub(crate) fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let Some(front) = self.parts.front_mut() else {
                return;
            };
            if front.len() > written {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(queue: &WriteQueue) -> String {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = queue.slices(&mut slices);
        slices[..count]
            .iter()
            .map(|slice| String::from_utf8_lossy(slice).into_owned())
            .collect::<Vec<_>>()
            .join("|")
    }

    #[test]
    fn short_writes_continue_where_they_stopped() {
        let mut queue = WriteQueue::default();
        queue.push(["abc".into(), "".into(), "de".into(), "f".into()]);
        assert_eq!(text(&queue), "abc|de|f");
        queue.advance(2);
        assert_eq!(text(&queue), "c|de|f");
        queue.advance(3);
        assert_eq!(text(&queue), "f");
        queue.advance(1);
        assert!(queue.is_empty());
    }
}
