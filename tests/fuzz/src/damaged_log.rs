//! A partition's log is written, damaged on disk, and opened again.
//!
//! What must hold:
//!
//! 1. Nothing panics, and no read gives bytes that were not written there. (Damage is not hidden by
//!    checksums made right again, except where the input asks for that; then only the first half
//!    of this, and 3, hold.)
//! 2. A log whose `.log` files are whole gives the same answers as before, whatever was done to
//!    indexes and checkpoints: they cost time, never data.
//! 3. An opened log takes appends; one with whole data answers the same when opened once more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_env::Disk;
use millstream_env::sim::SimDisk;
use millstream_log::{
    CacheBudget, Checkpoint, CompactionRules, Log, LogConfig, LogPlace, Noted, OffsetMap,
    OpenError, PassStep, ScrubOutcome, ScrubStep,
};
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
use millstream_protocol::records::{
    BatchBuilder, BatchHeader, Codec, ValidationRules, batches, check_crc, crc32c, validate,
};

use crate::input::Input;

const NOW: i64 = 1_700_000_000_000;
const DIRECTORY: &str = "/data/topic-0";
const PRODUCER_ID: i64 = 77;
const EPOCHS_MAX: i32 = 8;
const EDITS_MAX: usize = 12;

/// A log with small segments and no cache, so that everything comes from the disk.
struct Bench {
    disk: SimDisk,
    config: LogConfig,
}

impl Bench {
    fn open(&self, noted: Noted) -> Result<Log, OpenError> {
        let place = LogPlace {
            disk: Arc::new(self.disk.clone()),
            directory: PathBuf::from(DIRECTORY),
            topic_id: TopicId([7; 16]),
            cache_budget: CacheBudget::new(0),
        };
        Log::open(place, self.config, noted, None, WallTime(NOW)).map(|(log, _)| log)
    }
}

/// Everything a log can be asked.
struct Answers {
    range: (Offset, Offset),
    reads: Vec<Option<Vec<u8>>>,
    by_timestamp: Vec<Option<Option<(Offset, WallTime)>>>,
    latest: Option<Option<(Offset, WallTime)>>,
    epochs: Vec<Option<(LeaderEpoch, Offset)>>,
    producers: usize,
}

impl Answers {
    fn of(log: &Log) -> Answers {
        let end = log.log_end_offset();
        let start = log.log_start_offset();
        let span = (end.0 - start.0).clamp(0, 300);
        let offsets = start.0..=start.0 + span;
        let timestamps = (0..20).map(|step| NOW + step - 2);
        Answers {
            range: (start, end),
            reads: offsets
                .map(|offset| {
                    let read = log.read(Offset(offset), 1, end, true).ok()?;
                    Some(read.parts.concat())
                })
                .collect(),
            by_timestamp: timestamps
                .map(|timestamp| log.offset_for_timestamp(WallTime(timestamp), end).ok())
                .collect(),
            latest: log.max_timestamp_record(end).ok(),
            epochs: (-1..=EPOCHS_MAX)
                .map(|epoch| log.epoch_end_offset(LeaderEpoch(epoch)))
                .collect(),
            producers: log.producer_count(),
        }
    }
}

impl Answers {
    /// One by one, so that a failure can be read.
    fn check_same(&self, before: &Answers, skipped: &Skipped) {
        assert_eq!(self.range, before.range, "offsets");
        assert!(self.reads == before.reads, "reads");
        if !skipped.times {
            assert_eq!(self.by_timestamp, before.by_timestamp, "by timestamp");
            assert_eq!(self.latest, before.latest, "latest timestamp");
        }
        if !skipped.epochs {
            assert_eq!(self.epochs, before.epochs, "epochs");
        }
        assert_eq!(self.producers, before.producers, "producers");
    }
}

/// Runs one input.
pub fn check(data: &[u8]) {
    check_checkpoint(data);
    let mut input = Input(data);
    let bench = Bench {
        disk: SimDisk::default(),
        config: LogConfig {
            segment_bytes: 1200 + u32::from(input.byte()) * 8,
            index_interval_bytes: u32::from(input.byte()),
            segment_index_bytes: 1000,
            cache_bytes_max: 0,
            ..LogConfig::default()
        },
    };
    bench
        .disk
        .create_directory(Path::new("/data"))
        .expect("a new disk has room");
    let mut log = bench.open(Noted::default()).expect("a new log opens");
    let mut written = write(&mut log, &mut input);
    let after = input.byte();
    let is_compacted = after & 1 != 0 && compact(&mut log);
    let is_scrubbed = after & 2 != 0;
    if is_scrubbed {
        scrub(&mut log);
    }
    let before = Answers::of(&log);
    written.noted.push(log.checkpoint());
    let noted = written.noted[input.below(written.noted.len())];
    drop(log);
    let damage = damage(&bench.disk, &mut input);
    let skipped = Skipped {
        // A wrong entry of an index that nothing vouches for may fit all that is looked at.
        times: damage.forges_times
            && (damage.forges_active_times || !is_scrubbed || damage.touches_digests),
        // The batches with which epochs began may be compacted away.
        epochs: is_compacted && damage.touches_epochs,
    };
    let mut log = match bench.open(noted) {
        Ok(log) => log,
        Err(error) => {
            let excused = damage.touches_data || damage.is_hidden;
            assert!(excused, "whole data was refused: {error}");
            return;
        }
    };
    let after = Answers::of(&log);
    if !damage.touches_data && !damage.is_hidden {
        after.check_same(&before, &skipped);
        let again = append(&mut log, &written.last, written.epoch);
        assert!(
            again.is_some_and(|duplicate| duplicate),
            "the last batch is known"
        );
    } else if !damage.is_hidden && (!is_compacted || damage.edits == 1) {
        // Epochs are guarded below the recovery point, if what guards them is left alone.
        let guarded_end = match damage.touches_epochs {
            true => Offset(0),
            false => noted.recovery_point,
        };
        check_only_written(&before, &after, guarded_end);
    }
    let reopened = bench.open(log.checkpoint());
    if !damage.touches_data && !damage.is_hidden {
        let reopened = reopened.expect("whole data opens again");
        Answers::of(&reopened).check_same(&before, &skipped);
    }
    // A damaged epoch may be larger than any that this log was written in.
    let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0));
    let is_taken = append(&mut log, &batch(&mut Input(&[]), -1), epoch).is_some();
    let end = log.log_end_offset();
    let read = log.read(Offset(end.0 - 1), 1, end, true);
    if !damage.touches_data && !damage.is_hidden {
        assert!(is_taken, "whole data is appended to");
        read.expect("what was appended can be read");
    }
}

/// A batch as a producer sends it; sequence −1 is one without an identity.
fn batch(input: &mut Input<'_>, sequence: i32) -> Bytes {
    let shape = input.byte();
    let codec = Codec::ALL[usize::from(shape) % Codec::ALL.len()];
    let mut builder = BatchBuilder::new(codec);
    if sequence >= 0 {
        builder.set_producer(PRODUCER_ID, 0, sequence);
    }
    for _ in 0..=shape >> 6 {
        let timestamp = NOW + i64::from(input.byte() % 16);
        let value = vec![b'v'; usize::from(input.byte())];
        let key = [input.byte() % 4];
        builder.push(timestamp, Some(&key), Some(&value), []);
    }
    builder.build(0, 0)
}

/// Whether the batch was a duplicate; nothing if it was not taken.
fn append(log: &mut Log, batch: &Bytes, epoch: LeaderEpoch) -> Option<bool> {
    let rules = ValidationRules {
        after_max_ms: i64::MAX,
        now_ms: NOW,
        ..ValidationRules::default()
    };
    let validated = validate(batch, &rules).expect("it was built here");
    log.append(batch.clone(), usize::MAX, &validated, epoch, WallTime(NOW))
        .ok()
        .map(|appended| appended.duplicate)
}

/// What [`write`] wrote.
struct Written {
    /// What was noted after each flush, and before the first.
    noted: Vec<Noted>,
    last: Bytes,
    epoch: LeaderEpoch,
}

/// Writes some batches, flushes them, and closes the log or not.
fn write(log: &mut Log, input: &mut Input<'_>) -> Written {
    let shape = input.byte();
    let mut sequence = 0;
    let mut written = Written {
        noted: vec![Noted::default()],
        last: Bytes::new(),
        epoch: LeaderEpoch(0),
    };
    for _ in 0..=shape % 12 {
        written.last = batch(input, sequence);
        let header = BatchHeader::read(&written.last).expect("it was built here");
        sequence += header.record_count;
        let epoch = written.epoch.0 + i32::from(input.byte() % 4 == 0);
        written.epoch = LeaderEpoch(epoch.min(EPOCHS_MAX - 1));
        let duplicate = append(log, &written.last, written.epoch);
        assert_eq!(duplicate, Some(false), "a healthy log takes it");
        if input.byte() % 4 == 0 {
            flush(log);
            written.noted.push(log.checkpoint());
        }
    }
    if shape & 0x80 != 0 {
        log.prepare_close().expect("the disk is whole");
    }
    flush(log);
    written
}

fn flush(log: &mut Log) {
    if let Some(work) = log.begin_flush() {
        let synced = work.sync.carry_out(&*log.place().disk);
        synced.expect("the disk is whole");
        log.complete_flush(work.end);
    }
}

/// Compacts a log. Answers whether there was something to compact.
fn compact(log: &mut Log) -> bool {
    let rules = CompactionRules {
        min_dirty_ratio: 0.0,
        min_lag_ms: 0,
        max_lag_ms: i64::MAX,
        delete_retention_ms: 0,
    };
    let map = OffsetMap::new(4096, [1, 2]);
    let begun = log.begin_compaction(&rules, log.log_end_offset(), WallTime(NOW), map);
    let Some(mut pass) = begun.expect("the disk is whole") else {
        return false;
    };
    loop {
        match pass.step().expect("the disk is whole") {
            PassStep::Worked { .. } => {}
            PassStep::Install => log.install_cleaned(&mut pass).expect("nothing was taken out"),
            PassStep::PutAway => {
                log.put_away_replaced(&mut pass).expect("the disk is whole");
            }
            PassStep::Finished => {
                log.complete_compaction(&pass);
                return true;
            }
        }
    }
}

/// Gives every sealed segment a digest.
fn scrub(log: &mut Log) {
    let mut last = None;
    while let Some(mut scrub) = log.begin_scrub(last, false) {
        last = Some(scrub.base());
        while scrub.step().expect("the disk is whole") != ScrubStep::Finished {}
        let outcome = log.complete_scrub(scrub);
        assert!(
            matches!(outcome, ScrubOutcome::Whole { .. }),
            "whole data is damaged: {outcome:?}"
        );
    }
}

/// What need not be the same.
struct Skipped {
    times: bool,
    epochs: bool,
}

/// What was done to the files.
#[derive(Default)]
struct Damage {
    /// How often.
    edits: usize,
    /// A `.log` file, the topic's id or how far a log is compacted was changed.
    touches_data: bool,
    /// A time index was changed other than by cutting it or removing it.
    forges_times: bool,
    /// So was that of the last segment.
    forges_active_times: bool,
    touches_digests: bool,
    touches_epochs: bool,
    /// Checksums were made right after a change.
    is_hidden: bool,
}

fn damage(disk: &SimDisk, input: &mut Input<'_>) -> Damage {
    let mut damage = Damage::default();
    for _ in 0..EDITS_MAX {
        if input.is_empty() {
            break;
        }
        let mut files = disk.list(Path::new(DIRECTORY)).expect("the disk is whole");
        if files.is_empty() {
            break;
        }
        let path = files.swap_remove(input.below(files.len())).path;
        let is_log = path.extension().is_some_and(|extension| extension == "log");
        let is_data =
            is_log || path.ends_with("partition.metadata") || path.ends_with("compaction");
        let is_time_index = path.extension().is_some_and(|end| end == "timeindex");
        let is_active = files.iter().all(|other| {
            let is_time_index = other.path.extension().is_some_and(|end| end == "timeindex");
            !is_time_index || other.path < path
        });
        damage.edits += 1;
        damage.touches_digests |= path.extension().is_some_and(|end| end == "digest");
        damage.touches_epochs |= path.ends_with("leader-epoch-checkpoint");
        let file = disk.open(&path, false).expect("it was listed");
        let length = file.length().expect("the disk is whole") as usize;
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, 0)
            .expect("the disk is whole");
        let old = bytes.clone();
        let kind = input.byte();
        let at = input.below(length.max(1));
        match kind % 6 {
            0 => {
                disk.remove_file(&path).expect("it was listed");
                damage.touches_data |= is_data;
                continue;
            }
            1 => bytes.truncate(at),
            2 => bytes.extend_from_slice(&input.bytes(64)),
            3 => {
                let count = usize::from(input.byte());
                bytes = input.bytes(count);
            }
            4 => bytes.extend_from_slice(&old[..at]),
            _ => {
                let new = input.bytes(4);
                for (place, byte) in bytes[at..].iter_mut().zip(new) {
                    *place = byte;
                }
            }
        }
        if kind & 0x80 != 0 {
            damage.is_hidden |= hide(&mut bytes, is_log);
        }
        if bytes != old {
            damage.touches_data |= is_data;
            if is_time_index && !old.starts_with(&bytes) {
                damage.forges_times = true;
                damage.forges_active_times |= is_active;
            }
            file.truncate(0).expect("the disk is whole");
            file.write_all_at(&bytes, 0).expect("the disk is whole");
        }
    }
    damage
}

/// Makes the checksums of a changed file right again, if it has any.
fn hide(bytes: &mut [u8], is_log: bool) -> bool {
    if !is_log {
        return seal_envelope(bytes);
    }
    let mut at = 0;
    while let Some(Ok((_, batch))) = batches(&bytes[at..]).next() {
        let size = batch.len();
        let crc = crc32c(&batch[21..]);
        bytes[at + 17..at + 21].copy_from_slice(&crc.to_be_bytes());
        at += size;
    }
    true
}

/// Makes length and checksum of a file format of our own right: magic `MS..`, version, zero, length,
/// CRC-32 of the 12 bytes before it and of the payload.
fn seal_envelope(bytes: &mut [u8]) -> bool {
    if bytes.len() < 16 || !bytes.starts_with(b"MS") {
        return false;
    }
    let (head, payload) = bytes.split_at_mut(16);
    head[8..12].copy_from_slice(&(payload.len() as u32).to_be_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..12]);
    hasher.update(payload);
    head[12..].copy_from_slice(&hasher.finalize().to_be_bytes());
    true
}

/// A directory's checkpoint of any content is read or not, and what is read is written the same.
fn check_checkpoint(data: &[u8]) {
    let disk = SimDisk::default();
    let directory = Path::new("/data");
    let path = directory.join("millstream-checkpoint");
    let mut bytes = [b"MSCP\0\x01\0\0\0\0\0\0\0\0\0\0", data].concat();
    seal_envelope(&mut bytes);
    disk.create_directory(directory)
        .and_then(|()| disk.open(&path, true))
        .and_then(|file| file.write_all_at(&bytes, 0))
        .expect("a new disk has room");
    let read = Checkpoint::read(&disk, directory).expect("the disk is whole");
    if let Some(checkpoint) = read {
        checkpoint
            .write(&disk, directory)
            .expect("the disk has room");
        let again = Checkpoint::read(&disk, directory).expect("the disk is whole");
        assert_eq!(again, Some(checkpoint), "a checkpoint is read as written");
    }
}

/// No read gives what was not written at its offset.
fn check_only_written(before: &Answers, after: &Answers, guarded_end: Offset) {
    let first = before.range.0.0;
    for (index, read) in after.reads.iter().enumerate() {
        let Some(bytes) = read.as_ref().filter(|bytes| !bytes.is_empty()) else {
            continue;
        };
        check_crc(bytes).expect("what is read has a right checksum");
        let offset = after.range.0.0 + index as i64;
        let written = usize::try_from(offset - first)
            .ok()
            .and_then(|index| before.reads.get(index));
        let written = written.and_then(Option::as_ref);
        // What was not noted to be durable may be of any epoch, bytes 12–15, that fits its neighbours.
        let guarded = |bytes: &Vec<u8>| match offset < guarded_end.0 {
            true => (bytes.clone(), Vec::new()),
            false => (bytes[..12].to_vec(), bytes[16..].to_vec()),
        };
        assert_eq!(
            Some(guarded(bytes)),
            written.map(guarded),
            "at {offset} other bytes were written"
        );
    }
}
