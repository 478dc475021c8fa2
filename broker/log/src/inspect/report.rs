//! What [`verify`](super::verify) answers.

use std::path::PathBuf;

use millstream_model::Offset;

/// Findings that are kept in words per partition; further ones are counted.
const FINDINGS_MAX: usize = 200;

/// What a finding is about, which says what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Records that were durable: they cannot be read, or not believed.
    Log,
    /// An index: look-ups take longer until it is built again; timestamps may be looked up wrong.
    Index,
    /// A file that is made again from the batches, or that a start needs to know the topic.
    File,
}

impl FindingKind {
    /// One word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FindingKind::Log => "log",
            FindingKind::Index => "index",
            FindingKind::File => "file",
        }
    }
}

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The file.
    pub path: PathBuf,
    /// The byte in it, where there is one.
    pub position: Option<u64>,
    /// The offset that stands there or should, where there is one.
    pub offset: Option<Offset>,
    /// What is wrong.
    pub what: String,
}

/// The end of a log that was never durable and is not whole: what a start cuts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tail {
    /// The segment file.
    pub path: PathBuf,
    /// Where the log will end in it.
    pub position: u64,
    /// The log's end then, exclusive.
    pub offset: Offset,
    /// Bytes that go, in this and later segments.
    pub bytes: u64,
    /// What is wrong there.
    pub what: String,
}

/// What one partition holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionReport {
    /// `<topic>-<partition>`.
    pub name: String,
    /// Segments that hold something.
    pub segments: u64,
    /// Whole batches.
    pub batches: u64,
    /// Records, by the batches' own count.
    pub records: u64,
    /// Bytes of all segment files.
    pub bytes: u64,
    /// Where the log begins.
    pub log_start_offset: Offset,
    /// Everything below it was durable.
    pub recovery_point: Offset,
    /// Behind the last whole batch, exclusive.
    pub log_end_offset: Offset,
    /// What is wrong and should not be.
    pub damage: Vec<Finding>,
    /// How much there is of it, with what was not kept in words.
    pub damage_count: u64,
    /// What the next start mends or removes without a loss.
    pub notes: Vec<Finding>,
    /// What the next start cuts.
    pub tail: Option<Tail>,
}

impl PartitionReport {
    pub(super) fn add_damage(&mut self, finding: Finding) {
        self.damage_count += 1;
        if self.damage.len() < FINDINGS_MAX {
            self.damage.push(finding);
        }
    }

    pub(super) fn add_note(&mut self, finding: Finding) {
        if self.notes.len() < FINDINGS_MAX {
            self.notes.push(finding);
        }
    }
}
