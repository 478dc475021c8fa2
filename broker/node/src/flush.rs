//! Flush rounds: making a log directory's appends durable, many at a time.
//!
//! A round takes every dirty partition's end and the files that hold the bytes below it, syncs them,
//! and then publishes those ends, never newer ones. While a round syncs, appends gather for the
//! next: the group commit needs no timer.

use std::io;
use std::sync::Arc;

use millstream_api::Effect;
use millstream_log::FlushWork;
use millstream_replica::HostedPartition;

use crate::{LogDirectory, Node};

impl Node {
    /// Adds a partition with unflushed bytes to its directory's next round.
    pub fn queue_flush(&self, partition: Arc<HostedPartition>) {
        self.directories[partition.directory].queue(partition);
    }

    /// Runs one flush round of a directory.
    pub fn flush(&self, directory: usize) -> Vec<Effect> {
        let mut effects = Vec::new();
        let directory = &self.directories[directory];
        let round = self.begin(directory.take_dirty(), &mut effects);
        if round.is_empty() {
            return effects;
        }
        match self.sync(&round) {
            Ok(()) => self.publish_flushed(round, &mut effects),
            Err(error) => {
                tracing::error!(
                    directory = %directory.path.display(),
                    %error,
                    "sync failed: the log directory is offline until the next start"
                );
                self.fail_directory(directory, &mut effects);
            }
        }
        effects
    }

    fn sync(&self, round: &[(Arc<HostedPartition>, FlushWork)]) -> io::Result<()> {
        for (_, work) in round {
            for file in &work.files {
                file.sync_data()?;
            }
            for directory in &work.directories {
                self.disk.sync_directory(directory)?;
            }
        }
        Ok(())
    }

    fn publish_flushed(
        &self,
        round: Vec<(Arc<HostedPartition>, FlushWork)>,
        effects: &mut Vec<Effect>,
    ) {
        for (partition, work) in round {
            let released = match partition.lock() {
                Ok(mut locked) => locked.handle_flushed(work.end),
                Err(_) => continue,
            };
            self.broker.handle_released(&partition, released, effects);
        }
    }

    /// A failed sync leaves unknown what of the unflushed bytes is on disk, and the kernel may have
    /// marked them clean: nothing in this directory is believed or served any more.
    fn fail_directory(&self, directory: &LogDirectory, effects: &mut Vec<Effect>) {
        directory.mark_failed();
        let view = self.broker.view();
        for topic in view.topics() {
            for partition in &topic.partitions {
                if std::ptr::eq(&self.directories[partition.directory], directory) {
                    self.fail_partition(partition, effects);
                }
            }
        }
    }

    fn fail_partition(&self, partition: &HostedPartition, effects: &mut Vec<Effect>) {
        let released = match partition.lock() {
            Ok(mut locked) => locked.handle_storage_failure(),
            Err(_) => return,
        };
        self.broker.handle_released(partition, released, effects);
        self.broker.handle_partition_lost(partition, effects);
    }

    /// Takes each partition's end. The mark is cleared first, so that an append after this look
    /// queues the partition for the next round.
    fn begin(
        &self,
        partitions: Vec<Arc<HostedPartition>>,
        effects: &mut Vec<Effect>,
    ) -> Vec<(Arc<HostedPartition>, FlushWork)> {
        let mut round = Vec::with_capacity(partitions.len());
        for partition in partitions {
            partition.clear_awaits_flush();
            if partition.is_deleted() {
                continue;
            }
            let (work, is_offline) = match partition.lock() {
                Ok(mut locked) => (locked.begin_flush(), locked.log().is_offline()),
                Err(_) => continue,
            };
            if is_offline {
                self.fail_partition(&partition, effects);
            } else if let Some(work) = work {
                round.push((partition, work));
            }
        }
        round
    }
}
