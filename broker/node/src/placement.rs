//! Which log directory a partition lives in.
//!
//! The metadata says so, from a partition's creation on, and by the directory's id: a directory that is not
//! there, or is there empty under the old path, takes its partitions out of service and nothing else. No
//! partition begins again somewhere because it was not found where it belongs.
//!
//! | the metadata says | it is found in | then |
//! | --- | --- | --- |
//! | a directory that is served | that one, or none | there |
//! | a directory that is served | that one, and the one that it says it was moved from | there, and the other is put away |
//! | a directory that is served | another one, or both | offline, and both are named |
//! | a directory that is not served | anywhere | offline; if it is found, where is said |
//! | nothing (written before it said so) | one | there, and that is noted |
//! | nothing | several | offline, and they are named |
//! | nothing | none, and all could be read | it was never begun: as a new one |
//! | nothing | none, and not all could be read | offline |
//!
//! A new partition goes where the fewest are, as with Kafka; of equals, to the first.

use std::collections::BTreeMap;
use std::path::PathBuf;

use millstream_log::{forget_moved_from, moved_from};
use millstream_metadata::{Image, PartitionImage, Record};
use millstream_model::{DirectoryId, TopicPartition};

use crate::{LogDirectory, Node};

/// Partitions as they lie in the log directories at the start: topic and index, and where. Later, when a
/// topic is created, there are none.
#[derive(Default)]
pub(crate) struct Found {
    places: BTreeMap<(String, i32), Vec<usize>>,
    pub is_start: bool,
    /// Whether a directory could not be read, or was new: what is not found may be elsewhere.
    pub is_incomplete: bool,
    /// Folders that were being removed.
    pub deleted: Vec<PathBuf>,
}

impl Found {
    pub(crate) fn at_start(is_incomplete: bool) -> Found {
        Found {
            is_start: true,
            is_incomplete,
            ..Found::default()
        }
    }

    pub(crate) fn note(&mut self, topic: &str, partition: i32, directory: usize) {
        let places = self.places.entry((topic.to_owned(), partition));
        places.or_default().push(directory);
    }

    fn of(&self, topic: &str, partition: i32) -> &[usize] {
        let key = (topic.to_owned(), partition);
        self.places.get(&key).map_or(&[], Vec::as_slice)
    }
}

/// A partition is nowhere that could be opened.
pub(crate) struct Displaced {
    /// Where it should be, if that directory is known.
    pub directory: Option<usize>,
    pub reason: String,
}

/// No log directory is in service.
#[derive(Debug, thiserror::Error)]
#[error("all log directories are offline: nothing can be created before the next start")]
pub(crate) struct NoDirectory;

impl Node {
    /// Where a partition lives.
    pub(crate) fn locate(
        &self,
        image: &Image,
        topic: &str,
        index: i32,
        partition: &PartitionImage,
        found: &Found,
    ) -> Result<usize, Displaced> {
        let assigned = partition.directory_of(self.config.node_id);
        let found_in = found.of(topic, index);
        match assigned.unwrap_or(DirectoryId::UNASSIGNED) {
            DirectoryId::UNASSIGNED => self.locate_unassigned(image, found_in, found.is_incomplete),
            assigned => {
                let name = TopicPartition {
                    topic: topic.into(),
                    partition: index,
                };
                self.locate_assigned(image, assigned, &name, found_in)
            }
        }
    }

    fn locate_assigned(
        &self,
        image: &Image,
        id: DirectoryId,
        name: &TopicPartition,
        found: &[usize],
    ) -> Result<usize, Displaced> {
        let position = self.directories.iter().position(|dir| dir.id == id);
        let displaced = |reason| Displaced {
            directory: position,
            reason,
        };
        let Some(index) = position else {
            let mut reason = format!(
                "it lives in the log directory with directory.id={id}, which is none of log.dirs, or could not be read"
            );
            if let Some(other) = found.first().map(|other| &self.directories[*other]) {
                let path = other.path.display();
                let hint = format!(
                    "; it was found in {path}, whose meta.properties says directory.id={}",
                    other.id
                );
                reason.push_str(&hint);
            }
            return Err(displaced(reason));
        };
        let directory = &self.directories[index];
        if directory.has_failed() {
            let path = directory.path.display();
            return Err(displaced(format!("its log directory {path} is offline")));
        }
        let mut elsewhere = found.iter().filter(|other| **other != index);
        let elsewhere = elsewhere.find(|other| !self.was_left_behind(image, name, index, **other));
        let Some(other) = elsewhere.map(|other| self.directories[*other].path.display()) else {
            return Ok(index);
        };
        let path = directory.path.display();
        Err(displaced(match found.contains(&index) {
            true => format!(
                "it lives in {path} and is in {other} as well: move the copy in {other} away"
            ),
            false => format!("it lives in {path} and was found in {other}: move it back"),
        }))
    }

    /// Whether what another directory has of a partition was left there when it was moved to the one that it
    /// lives in. It is put away then.
    fn was_left_behind(
        &self,
        image: &Image,
        name: &TopicPartition,
        index: usize,
        other: usize,
    ) -> bool {
        let place = self.directories[index].partition_path(&name.topic, name.partition);
        let old = &self.directories[other];
        let Some(topic) = image.topic(&name.topic) else {
            return false;
        };
        if !moved_from(&*self.disk, &place, old.id).is_ok_and(|moved| moved) {
            return false;
        }
        let path = old.path.display();
        match self.put_away(name, topic.id, other) {
            Ok(away) => {
                self.remove_unread(vec![away]);
                tracing::info!(partition = %name, directory = %path, "what a move left behind is put away");
                if let Err(error) = forget_moved_from(&*self.disk, &place) {
                    tracing::debug!(partition = %name, %error, "it is said still that the partition was moved");
                }
            }
            Err(error) => {
                // It is older all the same.
                tracing::warn!(partition = %name, directory = %path, %error, "what a move left behind could not be put away");
            }
        }
        true
    }

    fn locate_unassigned(
        &self,
        image: &Image,
        found: &[usize],
        is_incomplete: bool,
    ) -> Result<usize, Displaced> {
        let displaced = |reason| Displaced {
            directory: None,
            reason,
        };
        match found {
            [one] => Ok(*one),
            [] if is_incomplete => Err(displaced(
                "it is in no log directory that could be read".to_owned(),
            )),
            [] => self
                .emptiest(&self.partition_counts(image))
                .map_err(|error| displaced(error.to_string())),
            several => {
                let paths: Vec<_> = several
                    .iter()
                    .map(|index| self.directories[*index].path.display().to_string())
                    .collect();
                let paths = paths.join(" and ");
                Err(displaced(format!(
                    "it is in {paths}: move all but one away"
                )))
            }
        }
    }

    /// Chooses a directory for every replica of this broker that has none in these records.
    pub(crate) fn assign_directories(
        &self,
        image: &Image,
        records: &mut [Record],
    ) -> Result<(), NoDirectory> {
        let unassigned = records.iter_mut().filter_map(|record| match record {
            Record::Partition(partition) if partition.directories.is_empty() => Some(partition),
            _ => None,
        });
        let mut counts = None;
        for partition in unassigned {
            let counts = counts.get_or_insert_with(|| self.partition_counts(image));
            let chosen = self.emptiest(counts)?;
            counts[chosen] += 1;
            let directories = partition.replicas.iter().map(|replica| {
                let directory = match *replica == self.config.node_id.0 {
                    true => self.directories[chosen].id,
                    false => DirectoryId::UNASSIGNED,
                };
                directory.0.0.to_vec()
            });
            partition.directories = directories.collect();
        }
        Ok(())
    }

    /// How many partitions live in each directory.
    fn partition_counts(&self, image: &Image) -> Vec<usize> {
        let mut counts = vec![0; self.directories.len()];
        if counts.len() == 1 {
            return counts;
        }
        for partition in image.topics().flat_map(|topic| &topic.partitions) {
            let id = partition.directory_of(self.config.node_id);
            let index = self.directories.iter().position(|dir| Some(dir.id) == id);
            if let Some(index) = index {
                counts[index] += 1;
            }
        }
        counts
    }

    fn emptiest(&self, counts: &[usize]) -> Result<usize, NoDirectory> {
        let served = |index: &usize| {
            let directory: &LogDirectory = &self.directories[*index];
            !directory.has_failed()
        };
        (0..counts.len())
            .filter(served)
            .min_by_key(|index| counts[*index])
            .ok_or(NoDirectory)
    }
}
