//! `meta.properties`: whose data directory this is.
//!
//! The form is Kafka's, with one key of ours:
//!
//! ```text
//! version=1
//! node.id=1
//! cluster.id=MkU3OEVBNTcwNTJENDM2Qg
//! directory.id=0A-wXhH3Sl2rXHQxhBhgsQ
//! millstream.format=1
//! ```
//!
//! It is read and compared before anything else in the directory is touched. Unknown keys and comments
//! are passed over; a directory without `millstream.format` is Kafka's own and is refused.

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::{DirectoryId, NodeId, TopicId};

use crate::files::write_whole;

/// The file's name in each data directory.
pub const META_PROPERTIES: &str = "meta.properties";

/// The format of data directories that this release writes and reads.
pub const DIRECTORY_FORMAT: u32 = 1;

/// Bytes that are read of the file at most.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    /// The cluster's id.
    pub cluster_id: String,
    /// The broker's id.
    pub node_id: NodeId,
    /// Tells this directory from the broker's others.
    pub directory_id: DirectoryId,
}

/// Why a data directory is refused. Nothing in it has been changed.
#[derive(Debug, thiserror::Error)]
pub enum MetaPropertiesError {
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file has another form.
    #[error("{}: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The directory is another program's.
    #[error(
        "{}: no millstream.format, so the directory belongs to Apache Kafka: choose another data directory",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer release wrote the directory.
    #[error(
        "{}: the directory has format {format}, and this release reads {DIRECTORY_FORMAT}: start the release that wrote it, or a later one",
        path.display()
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The directory's format.
        format: u32,
    },
    /// Another cluster's directory.
    #[error("{}: the directory belongs to cluster {found}, not to {expected}", path.display())]
    WrongCluster {
        /// The file.
        path: PathBuf,
        /// The directory's cluster.
        found: String,
        /// The cluster that is being started.
        expected: String,
    },
    /// Another broker's directory.
    #[error("{}: the directory belongs to node {found}, not to node.id={expected}", path.display())]
    WrongNode {
        /// The file.
        path: PathBuf,
        /// The directory's node.
        found: NodeId,
        /// The node that is being started.
        expected: NodeId,
    },
}

impl MetaProperties {
    /// Reads the file of a data directory. `None` when there is none.
    pub fn read(
        disk: &dyn Disk,
        directory: &Path,
    ) -> Result<Option<MetaProperties>, MetaPropertiesError> {
        let path = directory.join(META_PROPERTIES);
        let io = |source| MetaPropertiesError::Io {
            path: path.clone(),
            source,
        };
        let file = match disk.open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        let length = file.length().map_err(io)?;
        if length > FILE_BYTES_MAX {
            let reason = format!("{length} bytes, at most {FILE_BYTES_MAX} are read");
            return Err(MetaPropertiesError::Malformed { path, reason });
        }
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).map_err(io)?;
        let text = String::from_utf8_lossy(&bytes);
        MetaProperties::parse(&text, &path).map(Some)
    }

    /// Reads the file's text. `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<MetaProperties, MetaPropertiesError> {
        let value_of = |key| value_of(text, key);
        let malformed = |reason: String| MetaPropertiesError::Malformed {
            path: path.to_path_buf(),
            reason,
        };
        let required = |key| value_of(key).ok_or_else(|| malformed(format!("{key} is missing")));
        // A newer format may change all other keys, so it is looked at first.
        if let Some(format) = value_of("millstream.format") {
            let format = format.parse::<u32>();
            let format =
                format.map_err(|_| malformed("millstream.format is not a number".into()))?;
            if format > DIRECTORY_FORMAT {
                let path = path.to_path_buf();
                return Err(MetaPropertiesError::NewerFormat { path, format });
            }
        }
        let version = required("version")?;
        if version != "1" {
            return Err(malformed(format!("version is {version}, not 1")));
        }
        if value_of("millstream.format").is_none() {
            let path = path.to_path_buf();
            return Err(MetaPropertiesError::Foreign { path });
        }
        let cluster_id = required("cluster.id")?;
        let is_legal = |c: char| c.is_ascii_graphic();
        if cluster_id.is_empty() || cluster_id.len() > 255 || !cluster_id.chars().all(is_legal) {
            return Err(malformed(
                "cluster.id is not 1 to 255 printable characters".into(),
            ));
        }
        let node_id = required("node.id")?.parse::<i32>();
        let node_id = node_id.ok().filter(|id| *id >= 0);
        let node_id =
            node_id.ok_or_else(|| malformed("node.id is not a number from 0 on".into()))?;
        let directory_id = TopicId::parse(&required("directory.id")?);
        let directory_id = directory_id
            .ok_or_else(|| malformed("directory.id is not 22 characters of base64".into()))?;
        Ok(MetaProperties {
            cluster_id,
            node_id: NodeId(node_id),
            directory_id: DirectoryId(directory_id),
        })
    }

    /// Compares with what is being started. `cluster_id` is none where it is not configured.
    pub fn check(
        &self,
        directory: &Path,
        cluster_id: Option<&str>,
        node_id: NodeId,
    ) -> Result<(), MetaPropertiesError> {
        let path = directory.join(META_PROPERTIES);
        if let Some(expected) = cluster_id.filter(|id| *id != self.cluster_id) {
            return Err(MetaPropertiesError::WrongCluster {
                path,
                found: self.cluster_id.clone(),
                expected: expected.to_string(),
            });
        }
        if node_id != self.node_id {
            return Err(MetaPropertiesError::WrongNode {
                path,
                found: self.node_id,
                expected: node_id,
            });
        }
        Ok(())
    }

    /// The file's text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let escaped = escape(&self.cluster_id);
        format!(
            "version=1\nnode.id={}\ncluster.id={escaped}\ndirectory.id={}\nmillstream.format={DIRECTORY_FORMAT}\n",
            self.node_id, self.directory_id
        )
    }

    /// Puts the file in place, durably and whole. The directory exists.
    pub fn write(&self, disk: &dyn Disk, directory: &Path) -> Result<(), MetaPropertiesError> {
        let path = directory.join(META_PROPERTIES);
        let text = self.to_text();
        write_whole(disk, &path, &[text.as_bytes()]).map_err(|error| MetaPropertiesError::Io {
            path,
            source: error.source,
        })
    }
}

/// The value of a key, the last one where it stands twice. Lines are `key=value` or `key:value`,
/// comments begin with `#` or `!`, and a backslash takes the next character as it is.
fn value_of(text: &str, key: &str) -> Option<String> {
    let lines = text.lines().map(str::trim);
    let pairs = lines
        .filter(|line| !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once(['=', ':']));
    let mut values = pairs.filter(|(name, _)| name.trim() == key);
    values.next_back().map(|(_, value)| unescape(value.trim()))
}

fn unescape(value: &str) -> String {
    let mut is_escaped = false;
    let kept = value.chars().filter(|&c| {
        is_escaped = c == '\\' && !is_escaped;
        !is_escaped
    });
    kept.collect()
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\")
}
