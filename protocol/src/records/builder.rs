//! Builds a batch: records are written once, straight behind the room kept for the header.

use bytes::Bytes;

use super::codec::Codec;
use super::compress::compress_into;
use super::header::{BatchHeader, HEADER_SIZE, LENGTH_OVERHEAD, MAGIC, crc_of};
use super::varint::{put_varint, varint_len};

/// No batch is built larger, so that no length overflows.
pub const BUILT_BYTES_MAX: usize = 1 << 30;

/// Collects the records of one batch.
///
/// Limits on size are the caller's: it asks [`BatchBuilder::estimated_size_with`] before a push. The
/// builder itself refuses to pass [`BUILT_BYTES_MAX`] by panicking.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// The header's room, then the records, never compressed.
    buffer: Vec<u8>,
    codec: Codec,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    transactional: bool,
    control: bool,
    base_timestamp: i64,
    max_timestamp: i64,
    record_count: i32,
}

impl BatchBuilder {
    /// An empty batch.
    #[must_use]
    pub fn new(codec: Codec) -> Self {
        Self::with_capacity(codec, 0)
    }

    /// An empty batch with room for `bytes` of header and records.
    #[must_use]
    pub fn with_capacity(codec: Codec, bytes: usize) -> Self {
        let mut buffer = Vec::with_capacity(bytes.max(HEADER_SIZE));
        buffer.resize(HEADER_SIZE, 0);
        BatchBuilder {
            buffer,
            codec,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            transactional: false,
            control: false,
            base_timestamp: -1,
            max_timestamp: -1,
            record_count: 0,
        }
    }

    /// Names the idempotent producer and the sequence of the first record.
    #[must_use]
    pub fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.set_producer(id, epoch, base_sequence);
        self
    }

    /// As [`BatchBuilder::producer`]; a client learns the sequence only when it sends.
    pub fn set_producer(&mut self, id: i64, epoch: i16, base_sequence: i32) {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
    }

    /// Makes the batch part of a transaction.
    #[must_use]
    pub fn transactional(mut self, transactional: bool) -> Self {
        self.transactional = transactional;
        self
    }

    /// Makes it a control batch.
    #[must_use]
    pub fn control(mut self, control: bool) -> Self {
        self.control = control;
        self
    }

    /// Appends a record. `headers` is walked twice: once for the length, once to write.
    ///
    /// # Panics
    /// When the batch would pass [`BUILT_BYTES_MAX`].
    pub fn push<'h, H>(
        &mut self,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: H,
    ) where
        H: IntoIterator<Item = (&'h [u8], Option<&'h [u8]>)>,
        H::IntoIter: Clone,
    {
        let headers = headers.into_iter();
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
            self.max_timestamp = timestamp;
        }
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);
        let offset_delta = i64::from(self.record_count);
        let mut header_count = 0_i64;
        let mut header_bytes = 0;
        for (name, value) in headers.clone() {
            header_count += 1;
            header_bytes += nullable_len(Some(name.len())) + nullable_len(value.map(<[u8]>::len));
        }
        let length = 1
            + varint_len(timestamp_delta)
            + varint_len(offset_delta)
            + nullable_len(key.map(<[u8]>::len))
            + nullable_len(value.map(<[u8]>::len))
            + varint_len(header_count)
            + header_bytes;
        assert!(
            length < BUILT_BYTES_MAX && self.buffer.len() < BUILT_BYTES_MAX - length,
            "a batch is kept below {BUILT_BYTES_MAX} bytes by its caller"
        );
        let out = &mut self.buffer;
        out.reserve(length + varint_len(length as i64));
        put_varint(out, length as i64);
        out.push(0);
        put_varint(out, timestamp_delta);
        put_varint(out, offset_delta);
        put_nullable(out, key);
        put_nullable(out, value);
        put_varint(out, header_count);
        for (name, value) in headers {
            put_nullable(out, Some(name));
            put_nullable(out, value);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.record_count += 1;
    }

    /// Bytes of the batch so far, before compression.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// At most the bytes of the batch, before compression, after one more record whose headers have
    /// `header_bytes` of keys and values together.
    #[must_use]
    pub fn estimated_size_with(
        &self,
        key_len: usize,
        value_len: usize,
        header_count: usize,
        header_bytes: usize,
    ) -> usize {
        // Length 5, attributes 1, timestamp 10, offset 5, key 5, value 5, header count 5.
        const RECORD_OVERHEAD_MAX: usize = 36;
        const HEADER_OVERHEAD_MAX: usize = 10;
        header_count
            .saturating_mul(HEADER_OVERHEAD_MAX)
            .saturating_add(self.buffer.len() + RECORD_OVERHEAD_MAX)
            .saturating_add(key_len)
            .saturating_add(value_len)
            .saturating_add(header_bytes)
    }

    /// Records pushed.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.record_count
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.record_count == 0
    }

    /// The codec it will be compressed with.
    #[must_use]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// Compresses the records and completes the header.
    #[must_use]
    pub fn build(self, base_offset: i64, leader_epoch: i32) -> Bytes {
        let mut header = BatchHeader {
            base_offset,
            batch_length: 0,
            partition_leader_epoch: leader_epoch,
            magic: MAGIC,
            crc: 0,
            attributes: BatchHeader::attributes_of(self.codec, self.transactional, self.control),
            last_offset_delta: self.record_count - 1,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.max_timestamp,
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.record_count,
        };
        let mut batch = match self.codec {
            Codec::None => self.buffer,
            codec => {
                let records = &self.buffer[HEADER_SIZE..];
                let mut out = Vec::with_capacity(HEADER_SIZE + records.len() / 2);
                out.resize(HEADER_SIZE, 0);
                compress_into(codec, records, &mut out);
                out
            }
        };
        header.batch_length = i32::try_from(batch.len() - LENGTH_OVERHEAD)
            .expect("a batch is smaller than BUILT_BYTES_MAX");
        batch[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
        header.crc = crc_of(&batch);
        batch[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
        Bytes::from(batch)
    }
}

fn nullable_len(bytes: Option<usize>) -> usize {
    match bytes {
        Some(bytes) => varint_len(bytes as i64) + bytes,
        None => 1,
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => out.push(1),
    }
}
