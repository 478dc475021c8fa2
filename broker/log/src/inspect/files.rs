//! The files of a partition, as they are: nothing is removed, as a start would do.

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::Offset;

use crate::names;

#[derive(Debug, Default)]
pub(super) struct Files {
    /// Base offset and length of each `.log` file that is not empty, ascending.
    pub logs: Vec<(Offset, u64)>,
    /// The checkpoints of producers, by offset, ascending.
    pub producers: Vec<Offset>,
    pub snapshots: Vec<Offset>,
    /// What was never finished, or waits for its removal.
    pub unfinished: Vec<PathBuf>,
}

impl Files {
    pub(super) fn list(disk: &dyn Disk, directory: &Path) -> io::Result<Files> {
        let mut files = Files::default();
        for entry in disk.list(directory)? {
            let path = entry.path;
            let extension = path.extension().and_then(|extension| extension.to_str());
            if matches!(
                extension,
                Some(names::TEMPORARY | names::DELETED | names::CLEANED)
            ) {
                files.unfinished.push(path);
            } else if let Some(base) = names::offset_of(&path, names::LOG) {
                let length = disk.length(&path)?;
                if length > 0 {
                    files.logs.push((base, length));
                }
            } else if let Some(offset) = names::offset_of(&path, names::PRODUCERS) {
                files.producers.push(offset);
            } else if let Some(offset) = names::offset_of(&path, names::SNAPSHOT) {
                files.snapshots.push(offset);
            }
        }
        Ok(files)
    }
}
