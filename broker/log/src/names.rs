//! The names of a partition's files.

use std::path::{Path, PathBuf};

use millstream_model::Offset;

pub(crate) const LOG: &str = "log";
pub(crate) const OFFSET_INDEX: &str = "index";
pub(crate) const TIME_INDEX: &str = "timeindex";
pub(crate) const DIGEST: &str = "digest";
pub(crate) const SNAPSHOT: &str = "snapshot";
pub(crate) const PRODUCERS: &str = "producers";
pub(crate) const COMPACTION: &str = "compaction";
pub(crate) const LEADER_EPOCHS: &str = "leader-epoch-checkpoint";
/// Which log directory the partition was moved from, as long as files of it may be there.
pub(crate) const MOVED_FROM: &str = "moved-from";
/// What has this extension was being written when the process ended.
pub(crate) const TEMPORARY: &str = "tmp";
/// What has this extension at its end is a compacted segment that has not replaced others yet.
pub(crate) const CLEANED: &str = "cleaned";
/// What has this extension was taken out of the log and waits for its removal.
pub(crate) const DELETED: &str = "deleted";

/// `<20-digit offset>.<extension>`.
pub(crate) fn offset_file(directory: &Path, offset: Offset, extension: &str) -> PathBuf {
    directory.join(format!("{:020}.{extension}", offset.0))
}

/// The offset in such a name, if the extension is this one.
pub(crate) fn offset_of(path: &Path, extension: &str) -> Option<Offset> {
    let name = path.file_name()?.to_str()?;
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Offset)
}
