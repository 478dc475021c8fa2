//! What a crash left of moves between log directories ([`crate::moves`]).
//!
//! | the metadata says that the partition lives | a folder `-future` there is | then |
//! | --- | --- | --- |
//! | in this directory | whole: the record is written after it | the old folder is put away, and this one gets its name |
//! | in another one | part of a copy | it is removed, and the move begins anew |
//! | nowhere: the topic is gone | nobody's | it is removed |

use std::io;
use std::path::Path;

use millstream_env::Disk;
use millstream_metadata::Image;
use millstream_model::{NodeId, TopicId, TopicPartition};

use crate::LogDirectory;
use crate::aside::{DELETED, Owned, read_future};

/// A move that a crash interrupted: topic, partition, and the directory that it goes to.
pub(crate) type Interrupted = (TopicId, i32, usize);

/// The folders of moves in the log directories.
pub(crate) struct UnfinishedMoves<'a> {
    pub disk: &'a dyn Disk,
    pub image: &'a Image,
    /// This broker.
    pub node: NodeId,
    pub directories: &'a [LogDirectory],
}

impl UnfinishedMoves<'_> {
    /// Ends the moves to a directory that were decided, and removes what is left of others, which it answers.
    pub(crate) fn finish(&self, index: usize) -> io::Result<Vec<Interrupted>> {
        let directory = &self.directories[index];
        let mut interrupted = Vec::new();
        let mut has_changed = false;
        for entry in self.disk.list(&directory.path)? {
            let name = entry.path.file_name().and_then(|name| name.to_str());
            let Some((begin, partition, id)) = name.and_then(read_future) else {
                continue;
            };
            has_changed = true;
            let known = TopicId::parse(id).and_then(|id| self.image.topic_by_id(id));
            let known = known.filter(|known| known.name.starts_with(begin));
            let lives_in = known.and_then(|known| {
                let lives_in = known.partition(partition)?.directory_of(self.node)?;
                Some((known, lives_in))
            });
            match lives_in {
                Some((topic, lives_in)) if lives_in == directory.id => {
                    self.put_others_away(&topic.name, partition, topic.id);
                    let place = directory.partition_path(&topic.name, partition);
                    tracing::info!(path = %place.display(), "a move to this log directory is ended");
                    self.disk.rename(&entry.path, &place)?;
                }
                other => {
                    // To be removed with what else is: it may be large.
                    let copy = Owned {
                        topic: begin,
                        partition,
                        owner: &id,
                    };
                    copy.put_aside(self.disk, &entry.path, DELETED)?;
                    interrupted.extend(other.map(|(topic, _)| (topic.id, partition, index)));
                }
            }
        }
        if has_changed {
            self.disk.sync_directory(&directory.path)?;
        }
        Ok(interrupted)
    }

    /// Puts away what the directories have of a partition under its name.
    fn put_others_away(&self, topic: &str, partition: i32, id: TopicId) {
        for directory in self.directories {
            let path = directory.partition_path(topic, partition);
            if directory.has_failed() || !self.is_of(&path, id) {
                continue;
            }
            let name = TopicPartition {
                topic: topic.into(),
                partition,
            };
            let renamed = directory.put_aside(self.disk, &name, id);
            if let Err(error) = renamed.and_then(|_| self.disk.sync_directory(&directory.path)) {
                directory.fail(&error);
            }
        }
    }

    fn is_of(&self, path: &Path, id: TopicId) -> bool {
        let owner = millstream_log::topic_of(self.disk, path);
        owner.is_ok_and(|owner| owner == Some(id))
    }
}
