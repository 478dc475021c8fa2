//! `partition.metadata`: which topic a directory belongs to.
//!
//! ```text
//!   version: 0
//!   topic_id: <22 characters>
//!   crc32c: <8 digits>               of the lines above; without a newline at the end
//! ```
//!
//! Kafka writes and reads the first two lines only, so a file without the third is read as well. With it a
//! damaged id is told from that of another topic.

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::TopicId;
use millstream_protocol::records::crc32c;

use crate::OpenError;

pub(crate) fn path_in(directory: &Path) -> PathBuf {
    directory.join("partition.metadata")
}

/// What the third line begins with.
const CRC: &str = "crc32c: ";

fn text(id: TopicId) -> String {
    let named = format!("version: 0\ntopic_id: {id}\n");
    let crc = crc32c(named.as_bytes());
    format!("{named}{CRC}{crc:08x}")
}

/// Writes the file if it is absent; otherwise checks that it names this topic. In a log that never
/// was durable (`is_new`) the file may be what a crash left of its first write, and is written anew.
/// What is written is to be synced with the log's first bytes.
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
    let write = || {
        file.truncate(0)?;
        file.write_all_at(text(topic_id).as_bytes(), 0)
    };
    // The file is 60 bytes; what is much longer is not one.
    let mut bytes = [0; 256];
    let length = file.read_at(&mut bytes, 0).map_err(io)?;
    match parse(&bytes[..length]) {
        None if length == 0 => write().map_err(io),
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
    if let Some(last) = lines.next() {
        let crc = u32::from_str_radix(last.strip_prefix(CRC)?, 16).ok()?;
        let named = text.strip_suffix(last)?;
        if crc32c(named.as_bytes()) != crc {
            return None;
        }
    }
    (version == "0").then(|| TopicId::parse(id)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_text() {
        let id = TopicId([1; 16]);
        let golden = "version: 0\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ\ncrc32c: 82964ff4";
        assert_eq!(text(id), golden);
        assert_eq!(parse(golden.as_bytes()), Some(id));
        assert_eq!(parse(b"version: 1\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ"), None);
    }

    #[test]
    fn kafkas_text_is_read() {
        for end in ["", "\n"] {
            let kafkas = format!("version: 0\ntopic_id: AQEBAQEBAQEBAQEBAQEBAQ{end}");
            assert_eq!(parse(kafkas.as_bytes()), Some(TopicId([1; 16])));
        }
    }
}
