//! Taking the log directories into service at the start, each by itself.
//!
//! ```text
//!   create ─► lock ─► read meta.properties ┃ check all of them ┃ ─► write meta.properties ─► checkpoint ─► sync
//!      └────────┴───────────┴── the disk fails: this directory is offline, the others are served ─┴──────────┘
//! ```
//!
//! A directory that says that it is somebody else's, or that another process has locked, is not one whose disk
//! failed: the broker does not start, for nobody knows what else is wrong then. The first directory holds the
//! metadata log, and without that there is no start either.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use millstream_env::{Disk, Random};
use millstream_log::{Checkpoint, Noted, Room};
use millstream_model::{DirectoryId, TopicId};
use millstream_quorum::{MetaProperties, MetaPropertiesError};

use crate::open::{failed, new_id, refused};
use crate::{LogDirectory, NodeConfig, OpenError};

/// A log directory on its way into service.
pub(crate) struct StartingDirectory {
    pub path: PathBuf,
    /// What it says it is. `None`: it is new, or could not be read.
    pub properties: Option<MetaProperties>,
    pub lock: Option<Box<dyn Send + Sync>>,
    /// Why it is offline.
    failure: Option<String>,
}

impl StartingDirectory {
    /// Creates a directory where there is none, locks it and reads whose it is.
    fn begin(disk: &dyn Disk, path: &Path) -> Result<StartingDirectory, OpenError> {
        let mut starting = StartingDirectory {
            path: path.to_owned(),
            properties: None,
            lock: None,
            failure: None,
        };
        if let Err(error) = create_directory(disk, path) {
            return Ok(starting.fail(&error));
        }
        match disk.lock(&path.join(".lock")) {
            Ok(lock) => starting.lock = Some(lock),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(refused(path, format!("in use: {error}")));
            }
            Err(error) => return Ok(starting.fail(&error)),
        }
        match MetaProperties::read(disk, path) {
            Ok(properties) => starting.properties = properties,
            Err(error @ MetaPropertiesError::Io { .. }) => return Ok(starting.fail(&error)),
            Err(error) => return Err(refused(path, error)),
        }
        Ok(starting)
    }

    fn fail(mut self, error: &dyn std::fmt::Display) -> StartingDirectory {
        self.failure = Some(error.to_string());
        self
    }

    /// Whether it was empty and could be used.
    pub(crate) fn is_new(&self) -> bool {
        self.properties.is_none() && self.failure.is_none()
    }

    /// Gives the directory its identity where it has none, and reads what the last run noted.
    pub(crate) fn finish(
        self,
        disk: &dyn Disk,
        config: &NodeConfig,
        cluster_id: &str,
        random: &dyn Random,
    ) -> LogDirectory {
        let known = self.properties.map(|properties| properties.directory_id);
        if let Some(reason) = &self.failure {
            let id = known.unwrap_or(DirectoryId::UNASSIGNED);
            return LogDirectory::offline(self.path, id, reason);
        }
        let id = known.unwrap_or_else(|| DirectoryId(new_id(random)));
        let properties = MetaProperties {
            cluster_id: cluster_id.to_owned(),
            node_id: config.node_id,
            directory_id: id,
        };
        let finish = || {
            if known.is_none() {
                let written = properties.write(disk, &self.path);
                written.map_err(|error| error.to_string())?;
            }
            let noted = read_noted(disk, &self.path).map_err(|error| error.to_string())?;
            let volume = disk.volume(&self.path).map_err(|error| error.to_string())?;
            let synced = disk.sync_directory(&self.path);
            synced.map_err(|error| format!("a sync failed: {error}"))?;
            let space = disk.space(&self.path).map_err(|error| error.to_string())?;
            let reserve = config.reserve_bytes;
            let reserve = reserve.unwrap_or_else(|| Room::default_reserve(space.total));
            let room = Room::new(&self.path, reserve);
            room.refresh(space.free);
            Ok::<_, String>((volume, noted, room))
        };
        match finish() {
            Ok((volume, noted, room)) => LogDirectory::new(self.path, id, volume, noted, room),
            Err(reason) => LogDirectory::offline(self.path, id, &reason),
        }
    }
}

/// Begins with all directories. Nothing but a lock file is written to any of them before all have been
/// checked. *Errors*: one is not this broker's to use, or the first has failed.
pub(crate) fn begin_all(
    disk: &dyn Disk,
    config: &NodeConfig,
) -> Result<Vec<StartingDirectory>, OpenError> {
    let begun = config.log_directories.iter();
    let begun: Vec<_> = begun
        .map(|path| StartingDirectory::begin(disk, path))
        .collect::<Result<_, _>>()?;
    if let Some(reason) = &begun[0].failure {
        return Err(without_metadata(&begun[0].path, reason));
    }
    check_identity(&begun, config)?;
    Ok(begun)
}

/// The broker cannot start, for the directory with the metadata log has failed.
pub(crate) fn without_metadata(path: &Path, reason: &str) -> OpenError {
    let reason = format!("the metadata log is there, and without it nothing is served: {reason}");
    failed(path, reason)
}

/// Compares every directory's identity with the broker's and with each other.
fn check_identity(begun: &[StartingDirectory], config: &NodeConfig) -> Result<(), OpenError> {
    let mut cluster = config.cluster_id.as_deref();
    let mut seen: BTreeMap<DirectoryId, &Path> = BTreeMap::new();
    for starting in begun {
        let Some(properties) = &starting.properties else {
            continue;
        };
        properties
            .check(&starting.path, cluster, config.node_id)
            .map_err(|error| refused(&starting.path, error))?;
        cluster = Some(&properties.cluster_id);
        if let Some(other) = seen.insert(properties.directory_id, &starting.path) {
            let reason = format!(
                "it has the directory.id of {}, so one is a copy of the other: take one out of log.dirs",
                other.display()
            );
            return Err(refused(&starting.path, reason));
        }
    }
    Ok(())
}

/// Creates a log directory where there is none, and makes its name and those above it durable.
fn create_directory(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.list(path) {
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    disk.create_directory(path)?;
    let mut above = path.ancestors().skip(1);
    above.try_for_each(|ancestor| match ancestor.as_os_str().is_empty() {
        true => disk.sync_directory(Path::new(".")),
        false => disk.sync_directory(ancestor),
    })
}

fn read_noted(disk: &dyn Disk, path: &Path) -> io::Result<Option<BTreeMap<(TopicId, i32), Noted>>> {
    let Some(checkpoint) = Checkpoint::read(disk, path)? else {
        return Ok(None);
    };
    let entries = checkpoint.entries.into_iter();
    let noted = entries.map(|entry| ((entry.topic_id, entry.partition), entry.noted));
    Ok(Some(noted.collect()))
}
