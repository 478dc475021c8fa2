//! What the tests of the log share: a simulated disk, and batches to append.
#![allow(clippy::unwrap_used, dead_code)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_env::Disk;
use millstream_env::sim::SimDisk;
use millstream_log::{
    AppendError, Appended, CacheBudget, Log, LogConfig, LogPlace, Noted, Recovery,
};
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
use millstream_protocol::records::{
    BatchBuilder, BatchHeader, Codec, ValidatedBatch, batches, records_of,
};

pub const NOW: WallTime = WallTime(1_700_000_000_000);
pub const DIRECTORY: &str = "/data/topic-0";

/// A disk and the settings to open the one log on it.
pub struct Bench {
    pub disk: SimDisk,
    pub config: LogConfig,
    pub noted: Noted,
    pub now: WallTime,
}

impl Bench {
    pub fn new() -> Bench {
        let disk = SimDisk::default();
        disk.create_directory(Path::new("/data")).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let config = LogConfig {
            cache_bytes_max: 0,
            ..LogConfig::default()
        };
        Bench {
            disk,
            config,
            noted: Noted::default(),
            now: NOW,
        }
    }

    pub fn place(&self) -> LogPlace {
        LogPlace {
            disk: Arc::new(self.disk.clone()),
            directory: PathBuf::from(DIRECTORY),
            topic_id: TopicId([7; 16]),
            cache_budget: CacheBudget::default(),
        }
    }

    pub fn open(&self) -> Log {
        self.open_with_recovery().0
    }

    pub fn open_with_recovery(&self) -> (Log, Recovery) {
        Log::open(self.place(), self.config, self.noted, None, self.now).unwrap()
    }

    /// Everything in the directory, as name and content.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let entries = self.disk.list(Path::new(DIRECTORY)).unwrap();
        let content = |path: &Path| {
            let file = self.disk.open(path, false).unwrap();
            let mut bytes = vec![0; file.length().unwrap() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        entries
            .iter()
            .map(|entry| (name(&entry.path), content(&entry.path)))
            .collect()
    }

    pub fn file(&self, name: &str) -> Vec<u8> {
        let found = self.files().into_iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no file {name}")).1
    }
}

/// A batch of records with these timestamps and values of `size` bytes.
pub fn batch(timestamps: &[i64], size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    push(&mut builder, timestamps, size);
    builder.build(0, -1)
}

/// A batch of an idempotent producer.
pub fn batch_of(producer: (i64, i16, i32), records: usize, size: usize) -> Bytes {
    let (id, epoch, sequence) = producer;
    let mut builder = BatchBuilder::new(Codec::None).producer(id, epoch, sequence);
    push(&mut builder, &vec![NOW.0; records], size);
    builder.build(0, -1)
}

fn push(builder: &mut BatchBuilder, timestamps: &[i64], size: usize) {
    for (number, timestamp) in timestamps.iter().enumerate() {
        let value = vec![b'a' + (number % 26) as u8; size];
        builder.push(*timestamp, None, Some(&value), []);
    }
}

pub fn append(log: &mut Log, batch: Bytes) -> Result<Appended, AppendError> {
    append_in(log, batch, 0)
}

pub fn append_in(log: &mut Log, batch: Bytes, epoch: i32) -> Result<Appended, AppendError> {
    let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
    log.append(batch, usize::MAX, &validated, LeaderEpoch(epoch), NOW)
}

/// One flush, all of it.
pub fn flush(log: &mut Log) {
    let Some(work) = log.begin_flush() else {
        return;
    };
    work.sync.carry_out(&*log.place().disk).unwrap();
    log.complete_flush(work.end);
}

/// A clean stop. Answers what the directory's checkpoint would hold.
pub fn close(mut log: Log) -> Noted {
    log.prepare_close().unwrap();
    flush(&mut log);
    log.checkpoint()
}

/// All batches from `offset` on, as one run of bytes, read a few kilobytes at a time.
pub fn read_all(log: &Log, offset: Offset) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut next = offset;
    while next < log.log_end_offset() {
        let read = log.read(next, 4000, log.log_end_offset(), true).unwrap();
        for part in &read.parts {
            bytes.extend_from_slice(part);
        }
        next = read.range.expect("there is more to read").end;
    }
    bytes
}

/// Offsets, epochs and values of all records in these batches.
pub fn records_in(bytes: &[u8]) -> Vec<(i64, i32, Vec<u8>)> {
    let mut records = Vec::new();
    for found in batches(bytes) {
        let (header, batch) = found.unwrap();
        for record in records_of(&header, batch).unwrap().iter() {
            let record = record.unwrap();
            let value = record.value.unwrap().to_vec();
            records.push((record.offset, header.partition_leader_epoch, value));
        }
    }
    records
}
