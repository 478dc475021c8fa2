//! What a crash between two steps of deleting a topic leaves in a log directory.

use std::io;

use millstream_env::Disk;
use millstream_metadata::Image;
use millstream_model::{DirectoryId, NodeId, TopicId};

use crate::LogDirectory;
use crate::placement::Found;

/// The end of the name of a partition that is being removed.
pub(crate) const DELETED: &str = "-delete";
/// The end of the name of a partition that no topic owns.
const STRAY: &str = "-stray";

/// A look at what lies in the log directories.
pub(crate) struct Sweep<'a> {
    pub disk: &'a dyn Disk,
    pub image: &'a Image,
    /// This broker.
    pub node: NodeId,
}

impl Sweep<'_> {
    /// Removes what was being removed, and renames partitions that no topic of the image owns, so that
    /// a new topic of the same name finds their place free. Their bytes stay for whoever misses them. What
    /// is owned is noted.
    pub(crate) fn run(
        &self,
        index: usize,
        directory: &LogDirectory,
        found: &mut Found,
    ) -> io::Result<()> {
        let mut has_changed = false;
        for entry in self.disk.list(&directory.path)? {
            let name = entry.path.file_name().and_then(|name| name.to_str());
            let Some(name) = name.filter(|_| entry.is_directory) else {
                continue;
            };
            if name.ends_with(DELETED) {
                self.disk.remove_directory(&entry.path)?;
                has_changed = true;
                continue;
            }
            let Some((topic, partition)) = split(name) else {
                continue;
            };
            let owner = match millstream_log::topic_of(self.disk, &entry.path) {
                Ok(owner) => owner,
                Err(error) => {
                    // Whose it is cannot be read, so it is left alone; a topic that needs it will find out.
                    tracing::error!(path = %entry.path.display(), %error, "partition cannot be read");
                    found.note(topic, partition, index);
                    continue;
                }
            };
            if self.is_owned(directory, topic, partition, owner) {
                found.note(topic, partition, index);
                continue;
            }
            let owner = owner.map_or("unknown".to_owned(), |id| id.to_string());
            let stray = directory.path.join(format!("{name}.{owner}{STRAY}"));
            tracing::warn!(path = %entry.path.display(), renamed = %stray.display(), "no topic owns this partition");
            self.disk.rename(&entry.path, &stray)?;
            has_changed = true;
        }
        match has_changed {
            true => self.disk.sync_directory(&directory.path),
            false => Ok(()),
        }
    }

    /// Whether a topic owns the partition. One that does not say whose it is was being created when the
    /// power went: it is that of the topic of its name, in the directory that this was to be in.
    fn is_owned(
        &self,
        directory: &LogDirectory,
        topic: &str,
        index: i32,
        owner: Option<TopicId>,
    ) -> bool {
        let Some(topic) = self.image.topic(topic) else {
            return false;
        };
        let Some(partition) = topic.partition(index) else {
            return false;
        };
        match owner {
            Some(owner) => owner == topic.id,
            None => {
                let assigned = partition.directory_of(self.node);
                let assigned = assigned.unwrap_or(DirectoryId::UNASSIGNED);
                assigned == directory.id || assigned == DirectoryId::UNASSIGNED
            }
        }
    }
}

/// The topic and partition that a directory is named after.
fn split(name: &str) -> Option<(&str, i32)> {
    if name.ends_with(STRAY) {
        return None;
    }
    let (topic, index) = name.rsplit_once('-')?;
    Some((topic, index.parse().ok()?))
}
