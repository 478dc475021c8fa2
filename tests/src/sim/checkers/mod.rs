//! What clients saw, one promise in each file.

mod archive;
mod commits;
mod entrusted;
mod lives;
mod owners;
mod pace;
mod progress;
mod records;
mod settings;
mod table;
mod trimmed;

pub use archive::{Archive, Kept};
pub use commits::{Commits, NONE, Sent};
pub use entrusted::Entrusted;
pub use lives::{Id, Lives};
pub use owners::Owners;
pub use pace::Pace;
pub use progress::Progress;
pub use records::Records;
pub use settings::{Change, Name, Place, Settings, State};
pub use table::{Row, Scan, Table};
pub use trimmed::{BATCH_BYTES_MAX, Trimmed};

/// All that the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Batches of the producers.
    pub records: Records,
    /// The offsets that the group committed.
    pub commits: Commits,
    /// The offsets of the group that is deleted again and again.
    pub forgotten: Commits,
    /// The generations of the group.
    pub owners: Owners,
    /// What the group processed.
    pub progress: Progress,
    /// The topic that comes and goes.
    pub lives: Lives,
    /// The topic whose files are damaged.
    pub archive: Archive,
    /// The compacted topic.
    pub table: Table,
    /// The log whose first records are deleted.
    pub trimmed: Trimmed,
    /// Configs, quotas, credentials, levels of features and numbers of partitions.
    pub settings: Settings,
    /// Records of the topic that is administered.
    pub entrusted: Entrusted,
}
