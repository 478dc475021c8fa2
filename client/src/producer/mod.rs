//! The producer: records in, acknowledgements out.
//!
//! [`Producer::enqueue`] puts a record into the batch of its partition and returns a [`Delivery`] to wait on. Records
//! handed in one after another reach their partition in that order, once each, whatever fails on the way (see the rules in
//! `queue`); a delivery that fails says why. Calls share one core behind a lock that is held for the time of a copy; a
//! task sends and receives.

mod batch;
mod config;
mod core;
mod error;
#[cfg(test)]
mod fake_broker;
mod partitioner;
mod queue;
mod record;
mod task;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::backoff::Dice;
use crate::cluster::{Cluster, TopicMetadata, TopicPartition};
use crate::error::ClientError;
use core::Core;
use partitioner::Sticky;
use task::Task;

pub use config::{Acks, BadProducerConfig, ProducerConfig};
pub use error::ProduceError;
pub use partitioner::{murmur2, partition_of_key};
pub use record::{Delivery, Record, RecordMetadata};

/// Writes records to a cluster. Cheap to share behind an `Arc`; dropping it gives up what is not acknowledged, so
/// [`Producer::close`] it first.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    task: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    config: ProducerConfig,
    core: Mutex<Core>,
    sticky: Mutex<Sticky>,
    // Bytes of `buffer_bytes` not taken by records that wait.
    room: Semaphore,
    wake: Notify,
    closed: AtomicBool,
}

impl Shared {
    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Producer {
    /// A producer for this cluster. *Errors*: settings that contradict each other.
    pub fn new(cluster: Cluster, config: ProducerConfig) -> Result<Self, ProduceError> {
        config.check()?;
        let mut dice = Dice::from_entropy();
        let sticky = Sticky::new(config.batch_bytes, Dice::new(dice.roll()));
        let shared = Arc::new(Shared {
            core: Mutex::new(Core::new(&config, dice)),
            sticky: Mutex::new(sticky),
            room: Semaphore::new(config.buffer_bytes),
            wake: Notify::new(),
            closed: AtomicBool::new(false),
            cluster,
            config,
        });
        let task = tokio::spawn(Task::new(Arc::clone(&shared)).run());
        Ok(Self {
            shared,
            task: Mutex::new(Some(task)),
        })
    }

    /// Writes a record and waits for its acknowledgement.
    pub async fn send(&self, topic: &str, record: Record) -> Result<RecordMetadata, ProduceError> {
        self.enqueue(topic, record).await?.wait().await
    }

    /// Puts a record on its way; waits only for metadata and for room. The order of these calls is the order in the
    /// partition.
    pub async fn enqueue(&self, topic: &str, record: Record) -> Result<Delivery, ProduceError> {
        let shared = &self.shared;
        if shared.closed.load(Ordering::Acquire) {
            return Err(ProduceError::Closed);
        }
        let bytes = record.size_bound();
        self.check_size(bytes)?;
        let topic = match shared.cluster.metadata().topic(topic) {
            Some(topic) => Arc::clone(topic),
            None => self.find(topic).await?,
        };
        self.make_room(bytes).await?;
        let placed = self.choose_partition(&topic, &record, bytes);
        let partition = placed.inspect_err(|_| shared.room.add_permits(bytes))?;
        let timestamp = record.timestamp.unwrap_or_else(milliseconds_now);
        let target = TopicPartition {
            topic: Arc::clone(&topic.name),
            partition,
        };
        let (result, index, wake) =
            shared
                .core()
                .push(&target, &record, timestamp, bytes, Instant::now());
        if wake {
            shared.wake.notify_one();
        }
        Ok(Delivery {
            result,
            topic: target.topic,
            partition,
            index,
            timestamp,
        })
    }

    /// Sends everything handed in so far without waiting for more, and waits until all of it has a result. What failed is
    /// known from the deliveries.
    pub async fn flush(&self) {
        let outstanding = {
            let mut core = self.shared.core();
            core.begin_hurry();
            core.outstanding()
        };
        self.shared.wake.notify_one();
        for mut result in outstanding {
            let _ = result.wait_for(Option::is_some).await;
        }
        self.shared.core().end_hurry();
    }

    /// Flushes, then ends. Further records are refused.
    pub async fn close(&self) {
        self.shared.closed.store(true, Ordering::Release);
        self.flush().await;
        let task = {
            let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
            task.take()
        };
        if let Some(task) = task {
            task.abort();
            let _ = task.await;
        }
    }

    fn check_size(&self, bytes: usize) -> Result<(), ProduceError> {
        let config = &self.shared.config;
        let limits = [
            ("request_bytes_max", config.request_bytes_max),
            ("buffer_bytes", config.buffer_bytes),
        ];
        match limits.into_iter().find(|&(_, limit)| bytes > limit) {
            None => Ok(()),
            Some((setting, limit)) => Err(ProduceError::TooLarge {
                bytes,
                setting,
                limit,
            }),
        }
    }

    async fn find(&self, topic: &str) -> Result<Arc<TopicMetadata>, ProduceError> {
        let limit = self.shared.config.enqueue_timeout;
        match tokio::time::timeout(limit, self.shared.cluster.topic(topic)).await {
            Ok(found) => Ok(found?),
            Err(_) => Err(ProduceError::Client(ClientError::UnknownTopic {
                topic: topic.to_owned(),
            })),
        }
    }

    async fn make_room(&self, bytes: usize) -> Result<(), ProduceError> {
        let shared = &self.shared;
        // `check_size` bounds it by `buffer_bytes`, which fits.
        let permits = bytes as u32;
        let permit = match shared.room.try_acquire_many(permits) {
            Ok(permit) => permit,
            Err(_) => {
                // Batches go out at once while somebody waits for the room they take.
                let _hurry = Hurry::begin(shared);
                let limit = shared.config.enqueue_timeout;
                let acquired = tokio::time::timeout(limit, shared.room.acquire_many(permits));
                match acquired.await {
                    Ok(Ok(permit)) => permit,
                    _ => {
                        return Err(ProduceError::BufferFull {
                            limit: shared.config.buffer_bytes,
                            after: limit,
                        });
                    }
                }
            }
        };
        // Given back when the batch is done.
        permit.forget();
        Ok(())
    }

    fn choose_partition(
        &self,
        topic: &TopicMetadata,
        record: &Record,
        bytes: usize,
    ) -> Result<i32, ProduceError> {
        if let Some(partition) = record.partition {
            return match topic.partition(partition) {
                Some(_) => Ok(partition),
                None => Err(ProduceError::Client(ClientError::UnknownPartition {
                    topic: topic.name.to_string(),
                    partition,
                    count: topic.partitions.len(),
                })),
            };
        }
        if topic.partitions.is_empty() {
            return Err(ProduceError::Client(ClientError::UnknownTopic {
                topic: topic.name.to_string(),
            }));
        }
        if let Some(key) = &record.key {
            return Ok(partition_of_key(key, topic.partitions.len()));
        }
        let mut sticky = self
            .shared
            .sticky
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(sticky.next(topic, bytes))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.take() {
            task.abort();
        }
        self.shared.core().fail_all(&ProduceError::Closed);
    }
}

/// While it lives, batches do not wait for more records.
struct Hurry<'a>(&'a Shared);

impl<'a> Hurry<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.core().begin_hurry();
        shared.wake.notify_one();
        Self(shared)
    }
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.0.core().end_hurry();
    }
}

fn milliseconds_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
