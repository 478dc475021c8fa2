//! Which checkpoints of its producers a log has on disk, and which of them are durable.
//!
//! A checkpoint is named by the log's end when it was written. One whose end a crash takes back is
//! worth nothing, so the newest that is durable, and was written at or below the flushed offset, is
//! kept whatever comes after it. Producers that wrote only to segments that retention takes out are
//! known from nowhere else.

use millstream_model::Offset;

/// Checkpoints kept beside those that must be: a restart reads the newest that fits.
const FILES_MAX: usize = 2;

#[derive(Debug, Default)]
pub(crate) struct ProducerFiles {
    /// Ascending.
    offsets: Vec<Offset>,
    /// The newest that this process has written.
    written: Option<Offset>,
    durable: Option<Offset>,
}

impl ProducerFiles {
    /// What a start has found. Whether they are durable is unknown.
    pub(crate) fn found(offsets: Vec<Offset>) -> ProducerFiles {
        ProducerFiles {
            offsets,
            ..ProducerFiles::default()
        }
    }

    /// The newest.
    pub(crate) fn last(&self) -> Option<Offset> {
        self.offsets.last().copied()
    }

    /// Whether the one of this offset was written by this process: writing it again would only put
    /// at risk what is durable of it, or is about to be.
    pub(crate) fn is_written(&self, offset: Offset) -> bool {
        self.written == Some(offset)
    }

    pub(crate) fn note_written(&mut self, offset: Offset) {
        self.written = Some(offset);
        if self.last() != Some(offset) {
            self.offsets.push(offset);
        }
    }

    /// The newest that this process has written: a flush that begins now makes it durable.
    pub(crate) fn written(&self) -> Option<Offset> {
        self.written
    }

    pub(crate) fn note_durable(&mut self, offset: Option<Offset>) {
        self.durable = self.durable.max(offset);
    }

    /// Whether the producers as of `offset` survive a power cut.
    pub(crate) fn are_durable_at(&self, offset: Offset) -> bool {
        self.durable >= Some(offset)
    }

    /// The oldest, when it is not needed any more. The caller removes its file.
    pub(crate) fn take_surplus(&mut self) -> Option<Offset> {
        let is_replaced = self.offsets.len() > FILES_MAX && self.are_durable_at(self.offsets[1]);
        is_replaced.then(|| self.offsets.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_durable_one_outlives_those_that_are_not() {
        let mut files = ProducerFiles::found(vec![Offset(1)]);
        assert!(!files.are_durable_at(Offset(1)));
        files.note_durable(files.written());
        assert!(!files.are_durable_at(Offset(1)), "nobody has synced it");
        files.note_written(Offset(5));
        assert!(files.is_written(Offset(5)) && !files.is_written(Offset(1)));
        let flush = files.written();
        files.note_written(Offset(8));
        files.note_written(Offset(8));
        files.note_written(Offset(9));
        assert_eq!(files.take_surplus(), None);
        files.note_durable(flush);
        assert!(files.are_durable_at(Offset(5)));
        assert!(!files.are_durable_at(Offset(6)));
        assert_eq!(files.take_surplus(), Some(Offset(1)));
        assert_eq!(files.take_surplus(), None, "8 and 9 may not survive");
        files.note_durable(files.written());
        assert_eq!(files.take_surplus(), Some(Offset(5)));
        assert_eq!(files.take_surplus(), None, "two are kept");
    }
}
