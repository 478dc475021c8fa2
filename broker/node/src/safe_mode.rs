//! What a broker does that has crashed again and again (FAILURES.md S19).
//!
//! Somebody's supervisor starts it anew each time, and each time it does what kills it: takes a certain
//! batch, compacts a certain log. Each start also costs a recovery, and each crash may tear something. So
//! after some crashes in a short time it starts in *safe mode*: what was acknowledged can be read, by groups
//! too, and topics can be looked at, created and deleted, but records of clients are refused, and retention,
//! compaction and expiry of offsets leave the logs alone.
//!
//! It stays so until it was stopped cleanly once. Nobody but a person knows whether the cause is gone: a
//! broker that tried by itself would be the crash loop again, slower. Supervisors see it: `/readyz` is 503.
//! A start that is refused, or fails with an error of its own, is no crash and does not count.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use millstream_env::Disk;
use millstream_log::RecentStarts;
use millstream_model::WallTime;

use crate::{Node, NodeConfig};

/// Crashes within this time count.
const WINDOW: Duration = Duration::from_secs(600);

/// The start that is under way, noted as one that has not ended well yet.
pub(crate) struct NotedStart {
    directory: PathBuf,
    before: RecentStarts,
    now: RecentStarts,
}

impl NotedStart {
    /// Notes a start. Where that cannot be written, on a full disk, this start is not counted.
    pub(crate) fn begin(disk: &dyn Disk, config: &NodeConfig, now: WallTime) -> NotedStart {
        let directory = config.log_directories[0].clone();
        let noted = |error: &io::Error| {
            let directory = directory.display();
            tracing::warn!(%directory, %error, "starts are not counted");
        };
        let before = RecentStarts::read(disk, &directory)
            .inspect_err(noted)
            .unwrap_or_default();
        let now = before.started(now, WINDOW);
        let _not_counted = now.write(disk, &directory).inspect_err(noted);
        NotedStart {
            directory,
            before,
            now,
        }
    }

    /// There was no start after all.
    pub(crate) fn withdraw(&self, disk: &dyn Disk) {
        let _stays = self.before.write(disk, &self.directory);
    }

    /// Why the broker is in safe mode, if it is.
    pub(crate) fn safe_mode(&self, config: &NodeConfig) -> Option<String> {
        let (crashes, limit) = (self.now.unclean(), config.safe_mode_crashes);
        if limit == 0 || crashes < limit {
            return None;
        }
        let minutes = WINDOW.as_secs() / 60;
        Some(format!(
            "safe mode after {crashes} crashes within {minutes} minutes (millstream.safe.mode.crashes={limit}): records are refused until the broker was stopped cleanly and started again"
        ))
    }
}

impl Node {
    /// Why the broker is in safe mode, if it is.
    #[must_use]
    pub fn safe_mode(&self) -> Option<&str> {
        self.broker.config.safe_mode.as_deref()
    }

    /// Whether background work may touch the logs.
    pub(crate) fn may_tidy(&self) -> bool {
        self.safe_mode().is_none()
    }

    /// This life has ended as it should.
    pub(crate) fn note_clean_stop(&self) {
        let directory = &self.directories[0].path;
        if let Err(error) = RecentStarts::default().write(&*self.disk, directory) {
            let directory = directory.display();
            tracing::warn!(%directory, %error, "the next start takes this stop for a crash");
        }
    }
}
