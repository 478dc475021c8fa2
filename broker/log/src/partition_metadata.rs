//! `partition.metadata`: which topic a directory belongs to.
//!
//! ```text
//!   version: 0
//!   topic_id: <22 characters>        without a newline at the end
//! ```

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::TopicId;

use crate::OpenError;

pub(crate) fn path_in(directory: &Path) -> PathBuf {
    directory.join("partition.metadata")
}

fn text(id: TopicId) -> String {
    format!("version: 0\ntopic_id: {id}")
}

/// Writes the file if it is absent; otherwise checks that it names this topic. In a log that never
/// was durable (`is_new`) the file may be what a crash left of its first write, and is written anew.
pub(crate) fn check_or_write(
    disk: &dyn Disk,
    directory: &Path,
    topic_id: TopicId,
    is_new: bool,
) -> Result<(), OpenError> {
    let path = path_in(directory);
    let io = |source| OpenError::Io {
        path: path_in(directory),
        source,
    };
    let file = disk.open(&path, true).map_err(io)?;
    let length = file.length().map_err(io)?;
    let write = || {
        file.truncate(0)?;
        file.write_all_at(text(topic_id).as_bytes(), 0)?;
        file.sync_data()
    };
    if length == 0 {
        return write().map_err(io);
    }
    // The file is 43 bytes; what is much longer is not one.
    let mut bytes = vec![0; length.min(256) as usize];
    file.read_exact_at(&mut bytes, 0).map_err(io)?;
    match parse(&bytes) {
        Some(found) if found == topic_id => Ok(()),
        Some(found) => Err(OpenError::OtherTopic {
            path: directory.to_owned(),
            found,
            expected: topic_id,
        }),
        None if is_new => write().map_err(io),
        None => Err(OpenError::PartitionMetadata { path }),
    }
}

/// The topic that a partition's directory belongs to. `None` when it does not say.
pub fn topic_of(disk: &dyn Disk, directory: &Path) -> io::Result<Option<TopicId>> {
    let file = match disk.open(&path_in(directory), false) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0)?;
    Ok(parse(&bytes[..length]))
}

fn parse(bytes: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version:")?.trim();
    let id = lines.next()?.strip_prefix("topic_id:")?.trim();
    (version == "0").then(|| TopicId::parse(id)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_text() {
        let id = TopicId([1; 16]);
        assert_eq!(text(id), "version: 0\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ");
        assert_eq!(text(id).len(), 43);
        assert_eq!(parse(text(id).as_bytes()), Some(id));
        assert_eq!(parse(b"version: 1\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ"), None);
    }
}
