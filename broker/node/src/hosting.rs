//! Opening the partitions of topics.
//!
//! ```text
//!  image ─► what is not open yet ─► located ─┬─► opened, several at a time ─┬─► hosted topics
//!                                            └─► no directory: offline ─────┘
//! ```
//!
//! Most of the time of an opening after a crash is waiting for syncs, so several are opened side by side.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use millstream_api::HostedTopic;
use millstream_env::is_disk_failure;
use millstream_log::{Log, LogConfig, LogPlace, Noted};
use millstream_metadata::{Image, TopicConfig, TopicImage};
use millstream_model::{LeaderEpoch, Offset, TopicId, TopicPartition};
use millstream_replica::{Durability, HostedPartition, Partition};

use crate::Node;
use crate::metadata::durability;
use crate::placement::{Displaced, Found};
use crate::sweep::set_aside;

/// A partition on its way.
enum Begun {
    /// It is open already, or cannot be.
    Hosted(Arc<HostedPartition>),
    /// The index of what is to be opened.
    ToOpen(usize),
}

/// A log that is to be opened, and whose it is.
struct ToOpen {
    name: TopicPartition,
    topic_id: TopicId,
    directory: usize,
    leader_epoch: LeaderEpoch,
    durability: Durability,
    config: LogConfig,
    noted: Noted,
}

impl Node {
    /// Opens the partitions of topics that are not open yet. One that cannot be opened is offline:
    /// it exists all the same, and the others are served.
    pub(crate) fn host(
        &self,
        image: &Image,
        topics: &[&Arc<TopicImage>],
        found: &Found,
    ) -> Vec<Arc<HostedTopic>> {
        let layers = self.layers(image);
        let mut to_open = Vec::new();
        let begin = |topic: &&Arc<TopicImage>| {
            let config = TopicConfig::resolve(Some(topic), &layers);
            let partitions = self.begin_hosting(image, topic, &config, found, &mut to_open);
            (config, partitions)
        };
        let begun: Vec<_> = topics.iter().map(begin).collect();
        let opened = self.open_logs(&to_open, found);
        let finish =
            |(topic, (config, partitions)): (&&Arc<TopicImage>, (TopicConfig, Vec<Begun>))| {
                let partitions = partitions.into_iter().map(|partition| match partition {
                    Begun::Hosted(hosted) => hosted,
                    Begun::ToOpen(index) => Arc::clone(&opened[index]),
                });
                Arc::new(HostedTopic {
                    name: topic.name.clone(),
                    id: topic.id,
                    is_internal: topic.is_internal(),
                    config,
                    partitions: partitions.collect(),
                })
            };
        topics.iter().zip(begun).map(finish).collect()
    }

    /// Finds the directories of a topic's partitions.
    fn begin_hosting(
        &self,
        image: &Image,
        topic: &TopicImage,
        config: &TopicConfig,
        found: &Found,
        to_open: &mut Vec<ToOpen>,
    ) -> Vec<Begun> {
        let view = self.broker.view();
        let present = view.topic_by_id(topic.id);
        let begin = |(index, partition): (i32, _)| {
            if let Some(open) = present.and_then(|topic| topic.partition(index)) {
                return Begun::Hosted(Arc::clone(open));
            }
            let name = TopicPartition {
                topic: topic.name.clone(),
                partition: index,
            };
            let directory = match self.locate(image, &topic.name, index, partition, found) {
                Ok(directory) => directory,
                Err(Displaced { directory, reason }) => {
                    tracing::error!(partition = %name, %reason, "partition is offline until the next start");
                    let directory = directory.unwrap_or(usize::MAX);
                    let hosted = HostedPartition::offline(name, topic.id, directory);
                    return Begun::Hosted(Arc::new(hosted));
                }
            };
            to_open.push(ToOpen {
                name,
                topic_id: topic.id,
                directory,
                leader_epoch: partition.leader_epoch,
                durability: durability(config),
                config: LogConfig {
                    segment_jitter_seed: self.random.next_u64(),
                    ..self.log_config(image, config, topic.is_internal())
                },
                noted: self.directories[directory].noted(topic.id, index),
            });
            Begun::ToOpen(to_open.len() - 1)
        };
        (0..).zip(&topic.partitions).map(begin).collect()
    }

    /// Opens logs, in the order of the list with one thread, otherwise several at a time.
    fn open_logs(&self, to_open: &[ToOpen], found: &Found) -> Vec<Arc<HostedPartition>> {
        let opened: Vec<OnceLock<_>> = to_open.iter().map(|_| OnceLock::new()).collect();
        let next = AtomicUsize::new(0);
        let open = || {
            while let Some((index, to_open)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                to_open.get(index).map(|to_open| (index, to_open))
            } {
                opened[index].get_or_init(|| self.open_log(to_open, found));
            }
        };
        let threads = match self.config.recovery_threads {
            0 | 1 => 1,
            each => each * self.directories.len(),
        };
        thread::scope(|scope| {
            for _ in 1..threads.min(to_open.len()) {
                // With fewer threads it takes longer.
                let builder = thread::Builder::new().name("recovery".to_owned());
                if let Err(error) = builder.spawn_scoped(scope, open) {
                    tracing::warn!(%error, "logs are opened by fewer threads");
                    break;
                }
            }
            open();
        });
        let opened = opened.into_iter();
        let opened = opened.map(|log| log.into_inner().expect("each was opened by one thread"));
        opened.collect()
    }

    fn open_log(&self, to_open: &ToOpen, found: &Found) -> Arc<HostedPartition> {
        let directory = &self.directories[to_open.directory];
        let name = to_open.name.clone();
        let place = LogPlace {
            disk: Arc::clone(&self.disk),
            directory: directory.partition_path(&name.topic, name.partition),
            topic_id: to_open.topic_id,
            cache_budget: self.cache_budget.clone(),
        };
        let path = place.directory.clone();
        let leads_in = Some(to_open.leader_epoch);
        let open = |place| {
            Log::open(
                place,
                to_open.config,
                to_open.noted,
                leads_in,
                self.wall_time(),
            )
        };
        let mut opened = open(place.clone());
        // A log that the checkpoint knows was durable here: whatever took its place is looked at by somebody.
        let is_free = found.is_start && to_open.noted.recovery_point == Offset::ZERO;
        if let (Err(millstream_log::OpenError::OtherTopic { found: owner, .. }), true) =
            (&opened, is_free)
        {
            // A topic of this name was deleted, and a crash left its files.
            let disk = &*self.disk;
            let is_aside = set_aside(
                disk,
                &path,
                (&to_open.name.topic, to_open.name.partition),
                Some(*owner),
            )
            .and_then(|()| disk.sync_directory(&directory.path));
            opened = match is_aside {
                Ok(()) => open(place),
                Err(source) => Err(millstream_log::OpenError::Io { path, source }),
            };
        }
        match opened {
            Ok((mut log, _recovery)) => {
                log.set_room(Arc::clone(&directory.room.room));
                let awaits_cut = log.awaits_cut();
                let partition = Partition::new(log, to_open.leader_epoch, to_open.durability);
                let hosted =
                    HostedPartition::new(name, to_open.topic_id, to_open.directory, partition);
                let hosted = Arc::new(hosted);
                if awaits_cut {
                    self.awaiting_cut.push(Arc::clone(&hosted));
                }
                hosted
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "partition is offline until the next start");
                if let millstream_log::OpenError::Io { source, .. } = &error
                    && !found.is_start
                    && is_disk_failure(source)
                {
                    // There was nothing to read in a new partition: it could not be written.
                    directory.fail(&error);
                }
                let hosted = HostedPartition::offline(name, to_open.topic_id, to_open.directory);
                Arc::new(hosted)
            }
        }
    }
}
