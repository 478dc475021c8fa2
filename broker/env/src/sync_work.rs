//! What is made durable in one go: bytes first, then the names that stand for them.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{Disk, File, is_disk_failure};

/// What to make durable, in the order of the fields. The owners of several may put theirs together.
#[derive(Default)]
pub struct SyncWork {
    /// Files whose bytes are synced.
    pub files: Vec<Arc<dyn File>>,
    /// Names that files of these take over from older ones, once their bytes are synced: before, a crash
    /// could keep the name and lose the bytes.
    pub renames: Vec<Rename>,
    /// Directories whose names are synced.
    pub directories: BTreeSet<PathBuf>,
}

/// A new name of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rename {
    /// What it is called until then.
    pub from: PathBuf,
    /// What it is called from then on.
    pub to: PathBuf,
}

impl SyncWork {
    /// Takes over what another has to do.
    pub fn append(&mut self, mut other: SyncWork) {
        self.files.append(&mut other.files);
        self.renames.append(&mut other.renames);
        self.directories.append(&mut other.directories);
    }

    /// All of it, one after the other. After an error none of it may be believed.
    pub fn carry_out(&self, disk: &dyn Disk) -> io::Result<()> {
        self.sync_files()?;
        self.sync_names(disk)
    }

    /// The first step.
    pub fn sync_files(&self) -> io::Result<()> {
        self.files.iter().try_for_each(|file| file.sync_data())
    }

    /// What follows once the files are synced, however they were. A directory that is gone was removed
    /// meanwhile, with its topic: whoever did that syncs the directory it was in.
    pub fn sync_names(&self, disk: &dyn Disk) -> io::Result<()> {
        for Rename { from, to } in &self.renames {
            match disk.rename(from, to) {
                Err(error) if is_disk_failure(&error) => return Err(error),
                // There may be no room for a name. The old file stays, and its owner knows old ones.
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %to.display(), %error, "file not replaced");
                }
                _ => {}
            }
        }
        for directory in &self.directories {
            match disk.sync_directory(directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}
