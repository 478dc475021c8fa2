//! What a crash between two steps of deleting a topic leaves in a log directory.

use std::io;
use std::path::Path;

use millstream_env::Disk;
use millstream_metadata::Image;
use millstream_model::{DirectoryId, NodeId, TopicId};

use crate::LogDirectory;
use crate::aside::{DELETED, Owned, STRAY, split};
use crate::placement::Found;

/// A look at what lies in the log directories.
pub(crate) struct Sweep<'a> {
    pub disk: &'a dyn Disk,
    pub image: &'a Image,
    /// This broker.
    pub node: NodeId,
}

impl Sweep<'_> {
    /// Notes what was being removed, for it takes a while, and renames partitions that no topic of the image owns, so
    /// that a new topic of the same name finds their place free. Their bytes stay for whoever misses them. What
    /// is owned is noted.
    ///
    /// Where the metadata says that a partition lives here, the opening of its log looks whose the files
    /// are, by several threads, and the file is not read twice: see [`set_aside`].
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
                found.deleted.push(entry.path);
                continue;
            }
            let Some((topic, partition)) = split(name) else {
                continue;
            };
            if self.lives_in(directory, topic, partition) {
                found.note(topic, partition, index);
                continue;
            }
            let owner = match millstream_log::topic_of(self.disk, &entry.path) {
                Ok(owner) => owner,
                Err(error) => {
                    // Whose it is cannot be read, so it is left alone; a topic that needs it will find out.
                    tracing::error!(path = %entry.path.display(), %error, "partition cannot be read");
                    found.note(topic, partition, index);
                    continue;
                }
            };
            if self.is_owned(topic, partition, owner) {
                found.note(topic, partition, index);
                continue;
            }
            set_aside(self.disk, &entry.path, (topic, partition), owner)?;
            has_changed = true;
        }
        match has_changed {
            true => self.disk.sync_directory(&directory.path),
            false => Ok(()),
        }
    }

    /// Whether the metadata says that the partition of this name lives in this directory.
    fn lives_in(&self, directory: &LogDirectory, topic: &str, index: i32) -> bool {
        let assigned = self.assigned(topic, index);
        assigned.is_some_and(|(_, assigned)| assigned == directory.id)
    }

    /// Whether a topic owns the partition, which does not live in this directory as far as the metadata
    /// says. One that does not say whose it is was being created when the power went: it is that of the
    /// topic of its name, if it is not said yet where that lives.
    fn is_owned(&self, topic: &str, index: i32, owner: Option<TopicId>) -> bool {
        let Some((id, assigned)) = self.assigned(topic, index) else {
            return false;
        };
        match owner {
            Some(owner) => owner == id,
            None => assigned == DirectoryId::UNASSIGNED,
        }
    }

    /// The topic of a partition's name, and the directory that it lives in.
    fn assigned(&self, topic: &str, index: i32) -> Option<(TopicId, DirectoryId)> {
        let topic = self.image.topic(topic)?;
        let assigned = topic.partition(index)?.directory_of(self.node);
        Some((topic.id, assigned.unwrap_or(DirectoryId::UNASSIGNED)))
    }
}

/// Renames the files of a partition that no topic owns. Durable once the log directory is synced.
pub(crate) fn set_aside(
    disk: &dyn Disk,
    path: &Path,
    (topic, partition): (&str, i32),
    owner: Option<TopicId>,
) -> io::Result<()> {
    let owner = owner.map_or("unknown".to_owned(), |id| id.to_string());
    let owned = Owned {
        topic,
        partition,
        owner: &owner,
    };
    let renamed = owned.put_aside(disk, path, STRAY)?;
    tracing::warn!(path = %path.display(), renamed = %renamed.display(), "no topic owns this partition");
    Ok(())
}
