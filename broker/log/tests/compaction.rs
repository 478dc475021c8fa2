//! Compaction against a list of all that was ever appended.
//!
//! What must hold at any time: a record that is there is the one that was appended at its offset; below
//! the first dirty offset exactly the last record of each key is there, tombstones for their time; what
//! no pass has reached is untouched; producers go on with their sequences. A crash after any operation
//! of a pass leaves that so.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;
#[path = "common/failing_disk.rs"]
mod failing_disk;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Bench, DIRECTORY, NOW, append_in, flush};
use failing_disk::{FailingDisk, names};
use millstream_env::Disk;
use millstream_env::sim::SimRandom;
use millstream_log::{
    CacheBudget, CompactionError, CompactionPass, CompactionRules, Log, LogConfig, LogPlace, Noted,
    OffsetMap, PassStep, ReadError, Scrub, ScrubOutcome, ScrubStep,
};
use millstream_model::{LeaderEpoch, Offset, TopicId, WallTime};
use millstream_protocol::records::{BatchBuilder, Codec, batches, check_crc, records_of};

const KEYS: u64 = 9;
const TOMBSTONE_MS: i64 = 1000;
const RULES: CompactionRules = CompactionRules {
    min_dirty_ratio: 0.0,
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    delete_retention_ms: TOMBSTONE_MS,
};

#[derive(Clone, Debug, PartialEq)]
struct Written {
    offset: i64,
    timestamp: i64,
    epoch: i32,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

/// The last batch of a producer: what a retry of it needs, and where it stands.
#[derive(Clone)]
struct LastBatch {
    bytes: bytes::Bytes,
    base: i64,
    next_sequence: i32,
}

struct Model {
    bench: Bench,
    disk: FailingDisk,
    random: SimRandom,
    written: Vec<Written>,
    producers: BTreeMap<i64, LastBatch>,
    epoch: i32,
    now: i64,
    /// The furthest that a pass may have come, and that one may have come that was not ended.
    attempted: i64,
    failed: i64,
    /// When the first pass that may have kept a tombstone began, and when the first one that did ended.
    tombstones: BTreeMap<i64, (i64, Option<i64>)>,
    /// When the last pass began, and the last that was ended.
    last_pass: i64,
    last_ended: i64,
}

impl Model {
    fn new(seed: u64) -> Model {
        let random = SimRandom::new(seed);
        let config = LogConfig {
            segment_bytes: 700 + random.below(3000) as u32,
            index_interval_bytes: random.below(400) as u32,
            cache_bytes_max: if random.chance(50) { 0 } else { 3000 },
            ..LogConfig::default()
        };
        let bench = Bench {
            config,
            ..Bench::new()
        };
        Model {
            disk: FailingDisk::new(bench.disk.clone()),
            bench,
            random,
            written: Vec::new(),
            producers: BTreeMap::new(),
            epoch: 0,
            now: NOW.0,
            attempted: 0,
            failed: 0,
            tombstones: BTreeMap::new(),
            last_pass: 0,
            last_ended: 0,
        }
    }

    fn open(&self) -> Log {
        let place = LogPlace {
            disk: Arc::new(self.disk.clone()),
            directory: PathBuf::from(DIRECTORY),
            topic_id: TopicId([7; 16]),
            cache_budget: CacheBudget::default(),
        };
        let opened = Log::open(
            place,
            self.bench.config,
            self.bench.noted,
            None,
            WallTime(self.now),
        );
        let (log, _) = opened.unwrap_or_else(|error| {
            let files = names(&self.disk, Path::new(DIRECTORY));
            panic!("{error}\n{files:#?}")
        });
        log
    }

    fn append(&mut self, log: &mut Log) {
        let codec = Codec::ALL[self.random.below(5) as usize];
        let producer = self.random.below(4) as i64;
        let sequence = self
            .producers
            .get(&producer)
            .map_or(0, |last| last.next_sequence);
        let mut builder = BatchBuilder::new(codec);
        // The last producer is not idempotent.
        if producer < 3 {
            builder = builder.producer(producer, 0, sequence);
        }
        let count = 1 + self.random.below(5) as i64;
        let base = log.log_end_offset().0;
        for number in 0..count {
            let key = vec![b'k'; 1 + self.random.below(KEYS) as usize];
            let value = vec![self.random.below(256) as u8; self.random.below(150) as usize];
            let value = (!self.random.chance(20)).then_some(value);
            let timestamp = NOW.0 + base * 10 + self.random.below(50) as i64;
            builder.push(timestamp, Some(&key), value.as_deref(), []);
            self.written.push(Written {
                offset: base + number,
                timestamp,
                epoch: self.epoch,
                key,
                value,
            });
        }
        let bytes = builder.build(0, -1);
        let appended = append_in(log, bytes.clone(), self.epoch).unwrap();
        assert_eq!((appended.base_offset.0, appended.duplicate), (base, false));
        let last = LastBatch {
            bytes,
            base,
            next_sequence: sequence + count as i32,
        };
        if producer < 3 {
            self.producers.insert(producer, last);
        }
    }

    fn append_many(&mut self, log: &mut Log) {
        for _ in 0..5 + self.random.below(40) {
            self.append(log);
            if self.random.chance(5) {
                self.epoch += 1;
            }
        }
        flush(log);
        if self.random.chance(60) {
            self.bench.noted = log.checkpoint();
        }
    }

    fn begin(&mut self, log: &Log) -> Option<CompactionPass> {
        let bytes = match self.random.below(3) {
            0 => 24 * (2 + self.random.below(8) as usize),
            _ => 4096,
        };
        let map = OffsetMap::new(bytes, [self.random.below(99), 5]);
        let now = WallTime(self.now);
        let pass = log.begin_compaction(&RULES, log.log_end_offset(), now, map);
        let pass = pass.unwrap()?;
        self.attempted = self.failed.max(log.flushed_offset().0);
        for record in self.written.iter().filter(|record| record.value.is_none()) {
            if record.offset < self.attempted {
                let noted = self.tombstones.entry(record.offset);
                noted.or_insert((self.now, None));
            }
        }
        self.last_pass = self.now;
        Some(pass)
    }

    fn note_ended(&mut self, log: &Log) {
        let end = log.first_dirty_offset().0;
        self.last_ended = self.last_pass;
        self.attempted = self.failed.max(end);
        for (_, noted) in self.tombstones.range_mut(..end) {
            noted.1.get_or_insert(self.now);
        }
    }

    /// A whole pass, with appends, deletions and retention beside it.
    fn compact(&mut self, log: &mut Log, is_disturbed: bool) {
        let Some(mut pass) = self.begin(log) else {
            return;
        };
        let mut scrub = None;
        loop {
            if is_disturbed {
                scrub = self.scrub_on(log, scrub);
            }
            if is_disturbed && self.random.chance(10) {
                self.append(log);
            }
            if is_disturbed && self.random.chance(8) {
                self.delete(log);
            }
            match drive(log, &mut pass) {
                Ok(PassStep::Finished) => break,
                Ok(_) => {}
                Err(CompactionError::TakenOut { .. }) if is_disturbed => {
                    pass.abandon();
                    self.failed = self.attempted;
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.note_ended(log);
        flush(log);
    }

    /// Begins, goes on with or ends the scrub of a segment that may be replaced or gone by then.
    fn scrub_on(&self, log: &mut Log, scrub: Option<Scrub>) -> Option<Scrub> {
        let Some(mut scrub) = scrub else {
            let after = Offset(self.random.below(log.log_end_offset().0 as u64) as i64);
            let after = self.random.chance(70).then_some(after);
            return log.begin_scrub(after, self.random.chance(30));
        };
        if self.random.chance(40) {
            return Some(scrub);
        }
        match scrub.step() {
            Ok(ScrubStep::Worked { .. }) => return Some(scrub),
            Ok(ScrubStep::Finished) => {
                let outcome = log.complete_scrub(scrub);
                assert!(!matches!(outcome, ScrubOutcome::Damaged(_)), "{outcome:?}");
            }
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
                scrub.abandon();
            }
        }
        None
    }

    /// What was not damaged is whole, and no digest is that of a segment which is no more.
    fn scrub_all(&self, log: &mut Log, only_new: bool) {
        let mut after = None;
        while let Some(mut scrub) = log.begin_scrub(after, only_new) {
            after = Some(scrub.base());
            while scrub.step().unwrap() != ScrubStep::Finished {}
            let outcome = log.complete_scrub(scrub);
            assert!(matches!(outcome, ScrubOutcome::Whole { .. }), "{outcome:?}");
        }
    }

    /// Deletes records, and takes segments out.
    fn delete(&mut self, log: &mut Log) {
        flush(log);
        let start = log.log_start_offset();
        let room = (log.log_end_offset().0 - start.0) as u64;
        log.advance_start(start.plus(self.random.below(room / 2 + 1) as i64));
        let start = log.log_start_offset();
        self.bench.noted = log.checkpoint();
        flush(log);
        for path in log.take_out_segments(start).unwrap() {
            match self.random.below(3) {
                0 => {}
                1 => self.disk.remove_file(&path).unwrap(),
                // What is removed goes in pieces.
                _ => {
                    let length = self.disk.length(&path).unwrap();
                    let file = self.disk.open(&path, false).unwrap();
                    file.truncate(length / 3).unwrap();
                }
            }
        }
    }

    fn restart(&mut self, log: Log, is_crash: bool) -> Log {
        let mut log = log;
        flush(&mut log);
        drop(log);
        match is_crash {
            true => self.bench.disk.crash(&self.random),
            false => self.bench.disk.end_process(),
        }
        self.epoch += 1;
        self.open()
    }

    /// Every record of the log, walked batch by batch from its start as a consumer does.
    fn read_all(&self, log: &Log) -> Vec<Written> {
        let start = log.log_start_offset();
        let (mut next, mut found) = (start, Vec::new());
        while next < log.log_end_offset() {
            let read = log.read(next, 600, log.log_end_offset(), true).unwrap();
            let range = read.range.expect("there is more");
            let bytes: Vec<u8> = read.parts.concat();
            for batch in batches(&bytes) {
                let (header, batch) = batch.unwrap();
                check_crc(batch).unwrap();
                assert!(header.base_offset >= found.last().map_or(0, |last: &Written| last.offset));
                for record in &records_of(&header, batch).unwrap() {
                    let record = record.unwrap();
                    if record.offset >= start.0 {
                        found.push(Written {
                            offset: record.offset,
                            timestamp: record.timestamp,
                            epoch: header.partition_leader_epoch,
                            key: record.key.unwrap().to_vec(),
                            value: record.value.map(Vec::from),
                        });
                    }
                }
            }
            assert!(range.end > next);
            next = range.end;
        }
        found
    }

    fn check(&self, log: &mut Log) {
        assert_eq!(log.log_end_offset().0, self.written.len() as i64);
        let start = log.log_start_offset().0;
        let found = self.read_all(log);
        for record in &found {
            assert_eq!(*record, self.written[record.offset as usize]);
            let epoch = log.epoch_for_offset(Offset(record.offset));
            assert_eq!(epoch, Some(LeaderEpoch(record.epoch)));
        }
        let is_there: BTreeMap<i64, &Written> =
            found.iter().map(|record| (record.offset, record)).collect();
        assert_eq!(is_there.len(), found.len(), "nothing twice");
        let clean = log.first_dirty_offset().0;
        let last_clean = self.last_of_each_key(clean);
        let last_attempted = self.last_of_each_key(self.attempted);
        for record in &self.written[start as usize..] {
            let offset = record.offset;
            let there = is_there.contains_key(&offset);
            let is_last = last_clean.get(&record.key) == Some(&offset);
            // A pass that was not ended may have taken out what is not the last for it.
            let is_needed = last_attempted.get(&record.key) == Some(&offset);
            let must_be = offset >= self.attempted || (is_needed && record.value.is_some());
            let may_be = offset >= clean || is_last;
            assert!(there || !must_be, "{offset} is missing, clean to {clean}");
            assert!(!there || may_be, "{offset} is there, clean to {clean}");
            if is_last && is_needed && record.value.is_none() {
                self.check_tombstone(offset, there);
            }
        }
        self.check_look_ups(log, &found);
        if self.random.chance(60) {
            self.scrub_all(log, self.random.chance(30));
        }
    }

    fn check_tombstone(&self, offset: i64, there: bool) {
        let (first, ended) = self.tombstones[&offset];
        let may_be_gone = self.last_pass >= first + TOMBSTONE_MS;
        assert!(there || may_be_gone, "tombstone {offset} went too early");
        let must_be_gone = ended.is_some_and(|ended| self.last_ended >= ended + TOMBSTONE_MS);
        assert!(!there || !must_be_gone, "tombstone {offset} is still there");
    }

    fn last_of_each_key(&self, end: i64) -> BTreeMap<Vec<u8>, i64> {
        let before = self.written.iter().filter(|record| record.offset < end);
        before
            .map(|record| (record.key.clone(), record.offset))
            .collect()
    }

    fn check_look_ups(&self, log: &Log, found: &[Written]) {
        let end = log.log_end_offset();
        if log.log_start_offset() == Offset(0) {
            let newest = found.iter().map(|record| record.timestamp).max();
            let first = found
                .iter()
                .find(|record| Some(record.timestamp) == newest)
                .map(|record| (Offset(record.offset), WallTime(record.timestamp)));
            assert_eq!(log.max_timestamp_record(end).unwrap(), first);
        }
        for _ in 0..5 {
            let timestamp = NOW.0 + self.random.below(self.written.len() as u64 * 10 + 60) as i64;
            let expected = found.iter().find(|record| record.timestamp >= timestamp);
            assert_eq!(
                log.offset_for_timestamp(WallTime(timestamp), end).unwrap(),
                expected.map(|record| (Offset(record.offset), WallTime(record.timestamp)))
            );
            let start = log.log_start_offset().0;
            let offset = start + self.random.below((end.0 - start) as u64 + 1) as i64;
            let read = log.read(Offset(offset), 1, end, true).unwrap();
            assert_eq!(read.range.is_none(), offset == end.0);
            assert!(read.range.is_none_or(|range| range.end.0 > offset));
        }
    }

    /// A retry of the last batch is known as such, and the next sequence is taken.
    fn check_producers(&mut self, log: &mut Log) {
        for (id, last) in self.producers.clone() {
            let again = append_in(log, last.bytes, self.epoch).unwrap();
            assert_eq!(
                (again.duplicate, again.base_offset.0),
                (true, last.base),
                "{id}"
            );
        }
    }
}

/// One step of a pass, with what it asks of the log.
fn drive(log: &mut Log, pass: &mut CompactionPass) -> Result<PassStep, CompactionError> {
    let step = pass.step()?;
    match step {
        PassStep::Worked { .. } => {}
        PassStep::Install => log.install_cleaned(pass)?,
        PassStep::PutAway => {
            for path in log.put_away_replaced(pass)? {
                let disk = Arc::clone(&log.place().disk);
                // What is removed goes in pieces.
                let removed = disk.length(&path).and_then(|length| {
                    disk.open(&path, false)?.truncate(length / 3)?;
                    disk.remove_file(&path)
                });
                removed.map_err(|source| CompactionError::Write { path, source })?;
            }
        }
        PassStep::Finished => log.complete_compaction(pass),
    }
    Ok(step)
}

#[test]
fn passes_leave_the_last_of_each_key_whatever_happens_beside_them() {
    for seed in 0..400 {
        let mut model = Model::new(seed);
        let mut log = model.open();
        for _ in 0..6 {
            model.append_many(&mut log);
            let is_disturbed = model.random.chance(50);
            model.compact(&mut log, is_disturbed);
            model.check(&mut log);
            model.now += model.random.below(2 * TOMBSTONE_MS as u64) as i64;
            if model.random.chance(40) {
                let is_crash = model.random.chance(60);
                log = model.restart(log, is_crash);
                model.check(&mut log);
            }
            model.check_producers(&mut log);
        }
    }
}

#[test]
fn a_crash_after_any_operation_of_a_pass_leaves_old_or_new() {
    for seed in 0..40 {
        let mut operations = 0;
        while crash_after(seed, operations) {
            operations += 1;
        }
        assert!(operations > 10, "a pass has more operations");
    }
}

/// A crash after so many operations of a second pass. `false` when the pass has fewer.
fn crash_after(seed: u64, operations: u64) -> bool {
    let mut model = Model::new(seed);
    let mut log = model.open();
    model.append_many(&mut log);
    model.compact(&mut log, false);
    model.append_many(&mut log);
    let Some(mut pass) = model.begin(&log) else {
        return operations < 20;
    };
    model.disk.fail_after(operations);
    let ended = loop {
        match drive(&mut log, &mut pass) {
            Ok(PassStep::Finished) => break true,
            Ok(_) => {}
            Err(_) => break false,
        }
    };
    match ended {
        true => model.note_ended(&log),
        false => model.failed = model.attempted,
    }
    model.disk.fail_after(u64::MAX);
    drop(log);
    // What a crash does is drawn anew for each operation.
    let fate = SimRandom::new(seed * 1000 + operations);
    match fate.chance(20) {
        true => model.bench.disk.end_process(),
        false => model.bench.disk.crash(&fate),
    }
    if fate.chance(30) {
        model.bench.noted = Noted::UNKNOWN;
    }
    if fate.chance(50) {
        forget_producers(&model);
    }
    model.epoch += 1;
    let mut log = model.open();
    model.check(&mut log);
    model.check_producers(&mut log);
    let left = names(&model.disk, Path::new(DIRECTORY));
    let is_left = |path: &PathBuf| path.to_string_lossy().contains("cleaned");
    assert!(!left.iter().any(is_left), "{left:?}");
    model.compact(&mut log, false);
    model.check(&mut log);
    let mut log = model.restart(log, true);
    model.check(&mut log);
    !ended
}

/// Removes all that is known of producers beside the batches.
fn forget_producers(model: &Model) {
    for path in names(&model.disk, Path::new(DIRECTORY)) {
        let name = path.to_string_lossy();
        if name.ends_with(".producers") || name.ends_with(".snapshot") {
            model.disk.remove_file(&path).unwrap();
        }
    }
}

#[test]
fn sequences_are_known_from_the_compacted_batches_alone() {
    for seed in 1000..1100 {
        let mut model = Model::new(seed);
        let mut log = model.open();
        for _ in 0..3 {
            model.append_many(&mut log);
            model.compact(&mut log, false);
            forget_producers(&model);
            log = model.restart(log, false);
            model.check(&mut log);
            model.check_producers(&mut log);
        }
    }
}

#[test]
fn a_damaged_batch_ends_the_pass_and_nothing_changes() {
    for seed in 0..100 {
        let mut model = Model::new(seed);
        model.bench.config.cache_bytes_max = 0;
        let mut log = model.open();
        for _ in 0..3 {
            model.append_many(&mut log);
        }
        if log.segment_count() < 3 {
            continue;
        }
        let first = Path::new(DIRECTORY).join(format!("{:020}.log", 0));
        let size = model.disk.open(&first, false).unwrap().length().unwrap();
        let position = model.random.below(size);
        let bit = model.random.below(8) as u8;
        model.bench.disk.flip_bit(&first, position, bit);
        let before = model.bench.files();
        let mut pass = model.begin(&log).unwrap();
        let error = loop {
            match drive(&mut log, &mut pass) {
                Ok(PassStep::Finished) => break None,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        match error {
            Some(CompactionError::Read(ReadError::Damaged { path, .. })) => {
                assert_eq!(path, first);
            }
            None => {
                // Only reading checks the leader epoch, against what the log knows.
                let at = header_field(&before, position);
                assert!(
                    (12..16).contains(&at),
                    "damage at {at} of a batch was not seen"
                );
                continue;
            }
            other => panic!("{other:?}"),
        }
        pass.abandon();
        let logs = |files: Vec<(String, Vec<u8>)>| -> Vec<(String, Vec<u8>)> {
            let kept = |(name, _): &(String, Vec<u8>)| name != "compaction";
            files.into_iter().filter(kept).collect()
        };
        assert_eq!(logs(model.bench.files()), logs(before));
        assert_eq!(log.first_dirty_offset(), Offset(0));
    }
}

/// Where in its batch a position of the first segment is.
fn header_field(files: &[(String, Vec<u8>)], position: u64) -> u64 {
    let (_, bytes) = files
        .iter()
        .find(|(name, _)| name.ends_with("0000.log"))
        .unwrap();
    let mut start = 0;
    for batch in batches(bytes) {
        let end = start + batch.unwrap().1.len() as u64;
        if position < end {
            return position - start;
        }
        start = end;
    }
    panic!("no batch there");
}

#[test]
fn what_is_replaced_stays_until_its_owner_removes_it() {
    let mut model = Model::new(5);
    let mut log = model.open();
    let first = Path::new(DIRECTORY).join(format!("{:020}.log", 0));
    let mut kept = Vec::new();
    for _ in 0..2 {
        for _ in 0..4 {
            model.append_many(&mut log);
        }
        let old = model.bench.disk.read(&first);
        let mut pass = model.begin(&log).unwrap();
        loop {
            match pass.step().unwrap() {
                PassStep::Worked { .. } => {}
                PassStep::Install => log.install_cleaned(&mut pass).unwrap(),
                PassStep::PutAway => {
                    let files = log.put_away_replaced(&mut pass).unwrap();
                    let of_first = files.into_iter().filter(|path| {
                        path.to_string_lossy()
                            .starts_with(&*first.to_string_lossy())
                    });
                    kept.extend(of_first.map(|path| (path, old.clone())));
                }
                PassStep::Finished => break log.complete_compaction(&pass),
            }
        }
        assert_ne!(model.bench.disk.read(&first), old);
        // The second pass finds the file of the first, which is not removed yet: what it replaces goes at once.
        let [(path, replaced)] = &kept[..] else {
            panic!("{} files", kept.len());
        };
        assert_eq!(model.bench.disk.read(path), *replaced);
    }
}

#[test]
fn a_small_map_takes_several_passes() {
    let mut model = Model::new(5);
    let mut log = model.open();
    for _ in 0..4 {
        model.append_many(&mut log);
    }
    let mut ends = Vec::new();
    for _ in 0..200 {
        let map = OffsetMap::new(5 * 24, [1, 1]);
        let now = WallTime(model.now);
        let end = log.log_end_offset();
        let dirtiness = log.dirtiness(&RULES, end, now).unwrap();
        if dirtiness.is_none_or(|dirtiness| !dirtiness.is_due) {
            break;
        }
        let mut pass = log
            .begin_compaction(&RULES, end, now, map)
            .unwrap()
            .unwrap();
        while drive(&mut log, &mut pass).unwrap() != PassStep::Finished {}
        ends.push(log.first_dirty_offset().0);
    }
    assert!(
        ends.len() > 5 && ends.is_sorted_by(|a, b| a < b),
        "{ends:?}"
    );
    model.attempted = *ends.last().unwrap();
    for offset in 0..model.attempted {
        model
            .tombstones
            .insert(offset, (model.now, Some(model.now)));
    }
    model.last_pass = model.now;
    model.check(&mut log);
}

#[test]
fn lags_and_the_ratio_decide_what_is_worth_a_pass() {
    let mut model = Model::new(8);
    let mut log = model.open();
    for _ in 0..4 {
        model.append_many(&mut log);
    }
    let (end, now) = (log.log_end_offset(), WallTime(model.now + 1_000_000));
    let dirtiness =
        |log: &Log, rules: CompactionRules, upper| log.dirtiness(&rules, upper, now).unwrap();
    let all = dirtiness(&log, RULES, end).unwrap();
    assert_eq!((all.ratio, all.is_due), (1.0, true));
    assert_eq!(
        dirtiness(&log, RULES, Offset(0)),
        None,
        "nothing is visible"
    );
    let young = CompactionRules {
        min_lag_ms: 10_000_000,
        ..RULES
    };
    assert_eq!(dirtiness(&log, young, end), None);
    model.compact(&mut log, false);
    model.compact(&mut log, false);
    for _ in 0..3 {
        model.append_many(&mut log);
    }
    let end = log.log_end_offset();
    let some = dirtiness(&log, RULES, end).unwrap();
    assert!(some.ratio > 0.1 && some.ratio < 1.0, "{some:?}");
    let rules = |min_dirty_ratio, max_lag_ms| CompactionRules {
        min_dirty_ratio,
        max_lag_ms,
        ..RULES
    };
    let is_due = |rules| dirtiness(&log, rules, end).unwrap().is_due;
    assert!(is_due(rules(some.ratio - 0.01, i64::MAX)));
    assert!(!is_due(rules(some.ratio, i64::MAX)), "more than the ratio");
    assert!(is_due(rules(1.0, 1000)), "the oldest is older than that");
    assert!(!is_due(rules(1.0, 100_000_000)));
}
