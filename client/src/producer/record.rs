//! A record on its way in, and what is known of it afterwards.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;

use super::error::ProduceError;

/// Room for lengths, deltas and counts around key, value and headers, rounded up.
const RECORD_OVERHEAD: usize = 32;
const HEADER_OVERHEAD: usize = 10;

/// A record to be written.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// The key; records of one key go to one partition.
    pub key: Option<Bytes>,
    /// The value; none is a deletion in compacted topics.
    pub value: Option<Bytes>,
    /// Headers in order; a name may come twice.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Milliseconds since 1970; none is the time of the call.
    pub timestamp: Option<i64>,
    /// The partition; none lets key or load decide.
    pub partition: Option<i32>,
}

impl Record {
    /// A record with a value alone.
    pub fn value(value: impl Into<Bytes>) -> Self {
        Self {
            value: Some(value.into()),
            ..Self::default()
        }
    }

    /// The same record with a key.
    pub fn with_key(mut self, key: impl Into<Bytes>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same record with one more header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Bytes>) -> Self {
        self.headers.push((name.into(), Some(value.into())));
        self
    }

    /// The same record for one partition.
    pub fn with_partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// At least as many bytes as the record takes in a batch.
    pub fn size_bound(&self) -> usize {
        let part = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + part(value) + HEADER_OVERHEAD)
            .sum();
        part(&self.key) + part(&self.value) + headers + RECORD_OVERHEAD
    }
}

/// Where a record was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordMetadata {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset; none when the broker was not asked to answer, or no longer knew it.
    pub offset: Option<i64>,
    /// The timestamp it has in the log, in milliseconds.
    pub timestamp: i64,
}

/// What the broker said of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// −1 when unknown.
    pub(crate) base_offset: i64,
    /// −1 when the records keep their own timestamps.
    pub(crate) log_append_time: i64,
}

pub(crate) type BatchResult = Option<Result<Appended, ProduceError>>;

/// A record on its way: await it (or call [`Delivery::wait`]) for the acknowledgement. Dropping it takes nothing back.
#[derive(Debug)]
pub struct Delivery {
    pub(crate) result: watch::Receiver<BatchResult>,
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// The record's place in its batch.
    pub(crate) index: i64,
    pub(crate) timestamp: i64,
}

impl Delivery {
    /// The partition chosen for the record.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Waits until the record is acknowledged, or will not be.
    pub async fn wait(mut self) -> Result<RecordMetadata, ProduceError> {
        let appended = match self.result.wait_for(Option::is_some).await {
            Ok(result) => (*result).clone().unwrap_or(Err(ProduceError::Closed))?,
            Err(_) => return Err(ProduceError::Closed),
        };
        let log_append_time = appended.log_append_time;
        Ok(RecordMetadata {
            topic: self.topic,
            partition: self.partition,
            offset: (appended.base_offset >= 0)
                .then_some(appended.base_offset.saturating_add(self.index)),
            timestamp: if log_append_time >= 0 {
                log_append_time
            } else {
                self.timestamp
            },
        })
    }
}

impl IntoFuture for Delivery {
    type Output = Result<RecordMetadata, ProduceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}
