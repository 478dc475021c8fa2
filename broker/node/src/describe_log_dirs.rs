//! What lies in the log directories, for DescribeLogDirs.

use std::collections::{BTreeMap, BTreeSet};

use millstream_api::{
    ArrivingPartition, Effect, LogDirectoryDescription, LogDirectoryState, ProposalAnswer, View,
};
use millstream_model::{RequestToken, TopicPartition};

use crate::metadata::answered;
use crate::{LogDirectory, Node};

impl Node {
    /// Looks at every log directory and answers the request; `None` for all partitions. May wait for disks.
    pub fn describe_log_dirs(
        &self,
        token: RequestToken,
        wanted: Option<&BTreeSet<TopicPartition>>,
    ) -> Vec<Effect> {
        let view = self.broker.view();
        let contents = self.contents(&view, wanted);
        let directories = self.directories.iter();
        let found =
            directories
                .zip(contents)
                .map(|(directory, contents)| LogDirectoryDescription {
                    path: directory.path.display().to_string(),
                    state: self.state_of(directory, contents),
                });
        let answer = ProposalAnswer::LogDirsDescribed(found.collect());
        vec![answered(token, answer)]
    }

    /// What each directory holds. Every partition is looked at once, for it may be moved meanwhile.
    fn contents(&self, view: &View, wanted: Option<&BTreeSet<TopicPartition>>) -> Vec<Contents> {
        let is_wanted = |name: &TopicPartition| wanted.is_none_or(|wanted| wanted.contains(name));
        let moves = self.broker.moves.all().into_iter();
        let mut moves: BTreeMap<_, _> = moves
            .map(|one| ((one.topic_id, one.name.partition), one))
            .collect();
        let each = self.directories.iter();
        let mut all: Vec<Contents> = each.map(|_| Contents::default()).collect();
        for hosted in view.topics().flat_map(|topic| &topic.partitions) {
            if !is_wanted(&hosted.name) {
                continue;
            }
            // Of one that could not be opened nobody knows what is in it.
            let Ok(locked) = hosted.lock() else { continue };
            let (log, place) = (locked.log(), hosted.directory());
            let here = (hosted.name.clone(), log.size_in_bytes());
            all[place].partitions.push(here);
            let key = (hosted.topic_id, hosted.name.partition);
            let Some(one) = moves.remove(&key).filter(|one| one.directory != place) else {
                continue;
            };
            let lag = log.log_end_offset().0.saturating_sub(one.copied_end.0);
            all[one.directory].arriving.push(ArrivingPartition {
                name: one.name,
                bytes: one.copied_bytes,
                offset_lag: lag.max(0),
            });
        }
        all
    }

    /// `None` for a directory that is offline, or whose file system does not answer.
    fn state_of(&self, directory: &LogDirectory, contents: Contents) -> Option<LogDirectoryState> {
        if directory.has_failed() {
            return None;
        }
        let space = match self.disk.space(&directory.path) {
            Ok(space) => space,
            Err(error) => {
                let path = directory.path.display();
                tracing::warn!(directory = %path, %error, "how much room there is cannot be found out");
                return None;
            }
        };
        Some(LogDirectoryState {
            total_bytes: space.total,
            usable_bytes: space.free,
            partitions: contents.partitions,
            arriving: contents.arriving,
        })
    }
}

/// What a log directory holds.
#[derive(Default)]
struct Contents {
    /// Partitions with their sizes.
    partitions: Vec<(TopicPartition, u64)>,
    arriving: Vec<ArrivingPartition>,
}
