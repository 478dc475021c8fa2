//! What clients saw, one promise in each file.

mod commits;
mod lives;
mod owners;
mod progress;
mod records;

pub use commits::{Commits, NONE, Sent};
pub use lives::{Id, Lives};
pub use owners::Owners;
pub use progress::Progress;
pub use records::Records;

/// All that the clients saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Batches of the producers.
    pub records: Records,
    /// The offsets that the group committed.
    pub commits: Commits,
    /// The generations of the group.
    pub owners: Owners,
    /// What the group processed.
    pub progress: Progress,
    /// The topic that comes and goes.
    pub lives: Lives,
}
