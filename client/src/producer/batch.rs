//! A batch on its way from the first record to the acknowledgement.

use bytes::{Bytes, BytesMut};
use millstream_protocol::records::{BatchBuilder, Codec, crc32c};
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::ProduceError;
use super::record::{Appended, BatchResult, Record};

/// What a broker knows a producer by, per partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProducerIdentity {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

/// Identity and first sequence of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer: ProducerIdentity,
    pub(crate) base_sequence: i32,
}

/// Whether a batch waits here or for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Here,
    OnWire,
}

#[derive(Debug)]
enum Content {
    Open(BatchBuilder),
    Sealed(Bytes, Option<Stamp>),
}

/// Records of one partition that live and die together.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) id: u64,
    pub(crate) created: Instant,
    pub(crate) whereabouts: Whereabouts,
    /// Set when it is first sent by an idempotent producer; records and stamp then stay as they are through all
    /// attempts, so that the broker recognises it.
    pub(crate) stamp: Option<Stamp>,
    /// Its number among the stamped batches of the partition.
    pub(crate) ordinal: u64,
    pub(crate) attempts: u32,
    /// Whether an attempt ended without telling if the batch was written.
    pub(crate) uncertain: bool,
    pub(crate) last_error: Option<String>,
    /// Bytes of buffer memory given back when it is done.
    pub(crate) reserved: usize,
    closed: bool,
    record_count: i32,
    content: Content,
    result: watch::Sender<BatchResult>,
}

impl Batch {
    pub(crate) fn new(id: u64, codec: Codec, now: Instant) -> Self {
        Self {
            id,
            created: now,
            whereabouts: Whereabouts::Here,
            stamp: None,
            ordinal: 0,
            attempts: 0,
            uncertain: false,
            last_error: None,
            reserved: 0,
            closed: false,
            record_count: 0,
            content: Content::Open(BatchBuilder::new(codec)),
            result: watch::Sender::new(None),
        }
    }

    /// Whether no more records may join.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(crate) fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Adds a record if it fits into `batch_bytes`; the first always fits. Returns its place in the batch.
    pub(crate) fn push(
        &mut self,
        record: &Record,
        timestamp: i64,
        reserved: usize,
        batch_bytes: usize,
    ) -> Option<i64> {
        let Content::Open(builder) = &mut self.content else {
            return None;
        };
        let size = builder.len_bytes() + record.size_bound();
        if self.closed || (self.record_count > 0 && size > batch_bytes) {
            self.closed = true;
            return None;
        }
        push_record(builder, record, timestamp);
        self.closed = size >= batch_bytes;
        self.reserved += reserved;
        self.record_count += 1;
        Some(i64::from(self.record_count) - 1)
    }

    /// The batch as it goes on the wire, with its stamp; built on the first call.
    pub(crate) fn bytes(&mut self) -> Bytes {
        self.closed = true;
        let sealed = match std::mem::replace(&mut self.content, Content::Sealed(Bytes::new(), None))
        {
            Content::Open(mut builder) => {
                if let Some(stamp) = self.stamp {
                    let ProducerIdentity { id, epoch } = stamp.producer;
                    builder.set_producer(id, epoch, stamp.base_sequence);
                }
                builder.build(0, -1)
            }
            Content::Sealed(bytes, stamp) if stamp == self.stamp => bytes,
            Content::Sealed(bytes, _) => match self.stamp {
                Some(stamp) => restamped(&bytes, stamp),
                None => bytes,
            },
        };
        self.content = Content::Sealed(sealed.clone(), self.stamp);
        sealed
    }

    /// Lets others wait for the result.
    pub(crate) fn subscribe(&self) -> watch::Receiver<BatchResult> {
        self.result.subscribe()
    }

    /// Tells everybody who waits.
    pub(crate) fn resolve(self, result: Result<Appended, ProduceError>) {
        self.result.send_replace(Some(result));
    }
}

fn push_record(builder: &mut BatchBuilder, record: &Record, timestamp: i64) {
    let headers = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_deref()));
    builder.push(
        timestamp,
        record.key.as_deref(),
        record.value.as_deref(),
        headers,
    );
}

/// The same records under another producer identity or sequence: producer id at 43, epoch at 51, base sequence at 53,
/// and the checksum at 17 of everything from 21 on.
fn restamped(batch: &Bytes, stamp: Stamp) -> Bytes {
    let mut copy = BytesMut::from(&batch[..]);
    copy[43..51].copy_from_slice(&stamp.producer.id.to_be_bytes());
    copy[51..53].copy_from_slice(&stamp.producer.epoch.to_be_bytes());
    copy[53..57].copy_from_slice(&stamp.base_sequence.to_be_bytes());
    let crc = crc32c(&copy[21..]);
    copy[17..21].copy_from_slice(&crc.to_be_bytes());
    copy.freeze()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use millstream_protocol::records::{BatchHeader, check_crc};

    fn stamp(id: i64, epoch: i16, base_sequence: i32) -> Option<Stamp> {
        Some(Stamp {
            producer: ProducerIdentity { id, epoch },
            base_sequence,
        })
    }

    #[test]
    fn a_batch_takes_records_up_to_its_size_and_one_at_least() {
        let mut batch = Batch::new(1, Codec::None, Instant::now());
        let large = Record::value(vec![0; 1000]);
        assert_eq!(batch.push(&large, 0, 1, 500), Some(0));
        assert!(batch.is_closed());
        let mut batch = Batch::new(2, Codec::None, Instant::now());
        let small = Record::value("x");
        let mut count = 0;
        while batch.push(&small, 0, 7, 500).is_some() {
            count += 1;
        }
        assert!(count > 5, "{count}");
        assert_eq!(batch.record_count(), count);
        assert_eq!(batch.reserved, 7 * count as usize);
        assert!(batch.bytes().len() <= 500);
    }

    #[test]
    fn retries_send_the_same_bytes_and_a_new_stamp_changes_only_the_header() {
        let mut batch = Batch::new(1, Codec::Lz4, Instant::now());
        let record = Record::value("v").with_key("k").with_header("h", "1");
        batch.push(&record, 1_700_000_000_000, 1, 500).unwrap();
        batch.stamp = stamp(7, 0, 41);
        let first = batch.bytes();
        assert_eq!(batch.bytes(), first);
        batch.stamp = stamp(7, 1, 0);
        let second = batch.bytes();
        check_crc(&second).unwrap();
        let header = BatchHeader::read(&second).unwrap();
        assert_eq!(
            (
                header.producer_id,
                header.producer_epoch,
                header.base_sequence
            ),
            (7, 1, 0)
        );
        assert_eq!(first[57..], second[57..]);
        assert_eq!(first[..17], second[..17]);
    }
}
