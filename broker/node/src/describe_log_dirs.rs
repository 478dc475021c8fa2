//! What lies in the log directories, for DescribeLogDirs.

use std::collections::BTreeSet;

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
        let directories = self.directories.iter().enumerate();
        let found = directories.map(|(index, directory)| LogDirectoryDescription {
            path: directory.path.display().to_string(),
            state: self.describe_log_dir(&view, index, directory, wanted),
        });
        let answer = ProposalAnswer::LogDirsDescribed(found.collect());
        vec![answered(token, answer)]
    }

    fn arriving_in(
        &self,
        view: &View,
        index: usize,
        wanted: Option<&BTreeSet<TopicPartition>>,
    ) -> Vec<ArrivingPartition> {
        let moves = self.broker.moves.all().into_iter();
        let arriving = moves.filter(|one| {
            let is_wanted = wanted.is_none_or(|wanted| wanted.contains(&one.name));
            one.directory == index && is_wanted
        });
        let described = arriving.filter_map(|one| {
            let topic = view.topic_by_id(one.topic_id)?;
            let end = topic.partition(one.name.partition)?.lock().ok()?;
            let end = end.log().log_end_offset();
            Some(ArrivingPartition {
                name: one.name,
                bytes: one.copied_bytes,
                offset_lag: end.0.saturating_sub(one.copied_end.0).max(0),
            })
        });
        described.collect()
    }

    /// `None` for a directory that is offline, or whose file system does not answer.
    fn describe_log_dir(
        &self,
        view: &View,
        index: usize,
        directory: &LogDirectory,
        wanted: Option<&BTreeSet<TopicPartition>>,
    ) -> Option<LogDirectoryState> {
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
        let hosted = view.topics().flat_map(|topic| &topic.partitions);
        let here = hosted.filter(|hosted| {
            let is_wanted = wanted.is_none_or(|wanted| wanted.contains(&hosted.name));
            hosted.directory() == index && is_wanted
        });
        let sizes = here.filter_map(|hosted| {
            // Of one that could not be opened nobody knows what is in it.
            let locked = hosted.lock().ok()?;
            Some((hosted.name.clone(), locked.log().size_in_bytes()))
        });
        Some(LogDirectoryState {
            total_bytes: space.total,
            usable_bytes: space.free,
            partitions: sizes.collect(),
            arriving: self.arriving_in(view, index, wanted),
        })
    }
}
