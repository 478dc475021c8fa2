//! Folders in a log directory that are no partition's, or not yet:
//! `<topic>-<partition>.<topic id>` and what they are.
//!
//! | it ends with | it is | a start |
//! | --- | --- | --- |
//! | `-future` | a partition on its way here from another log directory | finishes it, or removes it: [`crate::unfinished_moves`] |
//! | `-delete` | what a deleted topic or a move left, to be removed | removes it: [`crate::removals`] |
//! | `-stray` | what no topic of the metadata owns | leaves it to whoever misses it |
//!
//! Kafka calls them so too. A file's name has 255 bytes and a topic's up to 249: of a topic's name stays what
//! there is room for.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use millstream_env::Disk;

/// The end of the name of a partition on its way here.
pub(crate) const FUTURE: &str = "-future";
/// The end of the name of a partition that is being removed.
pub(crate) const DELETED: &str = "-delete";
/// The end of the name of a partition that no topic owns.
pub(crate) const STRAY: &str = "-stray";

/// Bytes of a file's name.
const NAME_MAX: usize = 255;

/// A partition, and whose it is.
pub(crate) struct Owned<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// The id of its topic.
    pub owner: &'a dyn Display,
}

impl Owned<'_> {
    /// The name of its folder with this end.
    pub(crate) fn name(&self, end: &str) -> String {
        let rest = format!("-{}.{}{end}", self.partition, self.owner);
        let room = NAME_MAX.saturating_sub(rest.len()).min(self.topic.len());
        // Topics have names of ASCII.
        let topic = self.topic.get(..room).unwrap_or_default();
        format!("{topic}{rest}")
    }

    /// Renames its folder so that it has this end, and answers its new name. Durable once the log directory is
    /// synced. What an earlier one of the same partition left there is not touched.
    pub(crate) fn put_aside(&self, disk: &dyn Disk, from: &Path, end: &str) -> io::Result<PathBuf> {
        let mut to = from.with_file_name(self.name(end));
        let mut number = 0;
        while disk.list(&to).is_ok() {
            number += 1;
            to = from.with_file_name(self.name(&format!("-{number}{end}")));
        }
        disk.rename(from, &to)?;
        Ok(to)
    }
}

/// The topic and partition that a folder is named after. `None` for the other folders of a log directory.
pub(crate) fn split(name: &str) -> Option<(&str, i32)> {
    if name.ends_with(STRAY) {
        return None;
    }
    let (topic, index) = name.rsplit_once('-')?;
    Some((topic, index.parse().ok()?))
}

/// What a topic's name begins with, the partition and the topic's id of a folder on its way here.
pub(crate) fn read_future(name: &str) -> Option<(&str, i32, &str)> {
    let (folder, id) = name.strip_suffix(FUTURE)?.rsplit_once('.')?;
    let (topic, partition) = split(folder)?;
    Some((topic, partition, id))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millstream_env::sim::SimDisk;

    use super::*;

    #[test]
    fn a_name_has_room_for_the_longest_topic() {
        let owner = "AIAn7xA0RSS9i1Vv9bjuaA";
        for length in [1, 200, 220, 249] {
            let topic = "t".repeat(length);
            let owned = Owned {
                topic: &topic,
                partition: 99_999,
                owner: &owner,
            };
            let name = owned.name(FUTURE);
            assert!(name.len() <= NAME_MAX, "{name}");
            let (begin, partition, id) = read_future(&name).unwrap();
            assert!(topic.starts_with(begin) && begin.len() + 40 > topic.len());
            assert_eq!((partition, id), (99_999, owner));
        }
    }

    #[test]
    fn what_lies_aside_already_is_not_touched() {
        let disk = SimDisk::default();
        let owned = Owned {
            topic: "topic",
            partition: 3,
            owner: &"unknown",
        };
        let from = Path::new("/a/topic-3");
        for name in ["unknown-stray", "unknown-1-stray", "unknown-2-stray"] {
            disk.create_directory(from).unwrap();
            let to = owned.put_aside(&disk, from, STRAY).unwrap();
            assert_eq!(to, Path::new("/a").join(format!("topic-3.{name}")));
        }
    }
}
