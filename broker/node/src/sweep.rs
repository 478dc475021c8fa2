//! What a crash between two steps of deleting a topic leaves in a log directory.

use std::io;
use std::path::Path;

use millstream_env::Disk;
use millstream_metadata::Image;
use millstream_model::TopicId;

/// The end of the name of a partition that is being removed.
pub(crate) const DELETED: &str = "-delete";
/// The end of the name of a partition that no topic owns.
const STRAY: &str = "-stray";

/// Removes what was being removed, and renames partitions that no topic of the image owns, so that
/// a new topic of the same name finds their place free. Their bytes stay for whoever misses them.
pub(crate) fn sweep(disk: &dyn Disk, directory: &Path, image: &Image) -> io::Result<()> {
    let mut has_changed = false;
    for entry in disk.list(directory)? {
        let name = entry.path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|_| entry.is_directory) else {
            continue;
        };
        if name.ends_with(DELETED) {
            disk.remove_directory(&entry.path)?;
            has_changed = true;
            continue;
        }
        let Some((topic, index)) = split(name) else {
            continue;
        };
        let owner = millstream_log::topic_of(disk, &entry.path)?;
        if !is_owned(image, topic, index, owner) {
            let owner = owner.map_or("unknown".to_owned(), |id| id.to_string());
            let stray = directory.join(format!("{name}.{owner}{STRAY}"));
            tracing::warn!(path = %entry.path.display(), renamed = %stray.display(), "no topic owns this partition");
            disk.rename(&entry.path, &stray)?;
            has_changed = true;
        }
    }
    match has_changed {
        true => disk.sync_directory(directory),
        false => Ok(()),
    }
}

fn is_owned(image: &Image, topic: &str, index: usize, owner: Option<TopicId>) -> bool {
    let Some(topic) = image.topic(topic) else {
        return false;
    };
    index < topic.partitions.len() && owner.is_none_or(|owner| owner == topic.id)
}

/// The topic and partition that a directory is named after.
fn split(name: &str) -> Option<(&str, usize)> {
    if name.ends_with(STRAY) {
        return None;
    }
    let (topic, index) = name.rsplit_once('-')?;
    Some((topic, index.parse().ok()?))
}
