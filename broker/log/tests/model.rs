//! A log against a list of batches, through crashes that lose, tear and reorder unsynced writes.
//!
//! What must hold after every crash: nothing that was published as flushed is missing; what is there
//! is a prefix of what was appended; producers and epochs are those of that prefix.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Bench, NOW, append_in, batch_of, read_all, records_in};
use millstream_env::Disk;
use millstream_env::sim::{SimFaults, SimRandom};
use millstream_log::{Log, LogConfig, Retention};
use millstream_model::{LeaderEpoch, Offset};

/// A batch that was appended: its first offset, its records' count, producer, epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Written {
    base: i64,
    records: usize,
    size: usize,
    producer: (i64, i16, i32),
    epoch: i32,
}

impl Written {
    fn end(&self) -> i64 {
        self.base + self.records as i64
    }
}

struct Model {
    bench: Bench,
    random: SimRandom,
    written: Vec<Written>,
    flushed: i64,
    epoch: i32,
    sequences: [i32; 3],
}

impl Model {
    fn new(seed: u64) -> Model {
        let random = SimRandom::new(seed);
        let config = LogConfig {
            segment_bytes: 1000 + random.below(4000) as u32,
            index_interval_bytes: random.below(1000) as u32,
            cache_bytes_max: if random.chance(50) { 0 } else { 3000 },
            ..LogConfig::default()
        };
        let bench = Bench {
            config,
            ..Bench::new()
        };
        Model {
            bench,
            random,
            written: Vec::new(),
            flushed: 0,
            epoch: 0,
            sequences: [0; 3],
        }
    }

    fn append(&mut self, log: &mut Log) {
        let producer = self.random.below(3) as usize;
        let records = 1 + self.random.below(4) as usize;
        let size = self.random.below(300) as usize;
        let id = (producer as i64, 0, self.sequences[producer]);
        let batch = batch_of(id, records, size);
        if self.random.chance(5) {
            // A batch ends with a zero. One that lacks nothing else may come back whole after a crash,
            // although its producer was told that it failed.
            let room = self.random.below(400);
            let room = Some(room - u64::from(room + 1 == batch.len() as u64));
            self.bench.disk.set_faults(SimFaults {
                room,
                ..SimFaults::default()
            });
        }
        let before = (log.log_end_offset(), log.size_in_bytes());
        let outcome = append_in(log, batch, self.epoch);
        self.bench.disk.set_faults(SimFaults::default());
        let Ok(appended) = outcome else {
            assert_eq!((log.log_end_offset(), log.size_in_bytes()), before);
            return;
        };
        assert!(!appended.duplicate);
        assert_eq!(appended.base_offset, before.0);
        self.sequences[producer] += records as i32;
        let base = appended.base_offset.0;
        self.written.push(Written {
            base,
            records,
            size,
            producer: id,
            epoch: self.epoch,
        });
    }

    /// A retry of one of the last batches of a producer finds the old one.
    fn retry(&mut self, log: &mut Log) {
        let producer = self.random.below(3) as i64;
        let of_producer = self
            .written
            .iter()
            .rev()
            .filter(|batch| batch.producer.0 == producer);
        let last: Vec<Written> = of_producer.take(5).copied().collect();
        if last.is_empty() {
            return;
        }
        let old = last[self.random.below(last.len() as u64) as usize];
        let again = append_in(
            log,
            batch_of(old.producer, old.records, old.size),
            self.epoch,
        )
        .unwrap();
        assert!(again.duplicate);
        assert_eq!(
            (again.base_offset.0, again.last_offset.next().0),
            (old.base, old.end())
        );
    }

    /// One run of the process: appends, flushes, then the power goes.
    fn run(&mut self) {
        let mut log = self.open();
        self.check(&log);
        self.epoch += 1;
        for _ in 0..self.random.below(60) {
            match self.random.below(10) {
                0..=5 => self.append(&mut log),
                6 => self.retry(&mut log),
                7 => {
                    let Some(work) = log.begin_flush() else {
                        continue;
                    };
                    if self.random.chance(30) {
                        self.append(&mut log);
                    }
                    work.sync.carry_out(&*log.place().disk).unwrap();
                    log.complete_flush(work.end);
                    self.flushed = work.end.offset.0;
                    assert_eq!(log.flushed_offset().0, self.flushed);
                }
                8 => {
                    let noted = log.checkpoint();
                    if self.random.chance(70) {
                        self.bench.noted = noted;
                    }
                }
                9 if self.random.chance(30) => self.retain(&mut log),
                _ => self.check(&log),
            }
        }
        if self.random.chance(20) {
            log.prepare_close().unwrap();
            if let Some(work) = log.begin_flush() {
                work.sync.carry_out(&*log.place().disk).unwrap();
                log.complete_flush(work.end);
                self.flushed = work.end.offset.0;
            }
            self.bench.noted = log.checkpoint();
        }
        drop(log);
        if self.random.chance(20) {
            self.bench.disk.end_process();
        } else {
            self.bench.disk.crash(&self.random);
        }
    }

    /// Moves the log's start, in one of its ways, and takes segments out once that is noted.
    fn retain(&mut self, log: &mut Log) {
        let before = log.log_start_offset();
        if self.random.chance(50) {
            let room = (self.flushed - before.0) as u64;
            log.advance_start(before.plus(self.random.below(room + 1) as i64));
        } else {
            let retention = Retention {
                ms: self.random.chance(20).then_some(-1),
                bytes: Some(self.random.below(20_000)),
            };
            log.retain(retention, Offset(self.flushed), NOW).unwrap();
        }
        let start = log.log_start_offset();
        assert!(start >= before);
        assert!(start.0 <= self.flushed, "nothing goes that is not durable");
        if self.random.chance(70) {
            self.bench.noted = log.checkpoint();
            let is_flushed = self.random.chance(80);
            if is_flushed && let Some(work) = log.begin_flush() {
                work.sync.carry_out(&*log.place().disk).unwrap();
                log.complete_flush(work.end);
                self.flushed = work.end.offset.0;
            }
            for path in log.take_out_segments(start).unwrap() {
                if self.random.chance(50) {
                    self.bench.disk.remove_file(&path).unwrap();
                }
            }
            assert!(!is_flushed || !log.has_surplus_segments());
        }
        self.check(log);
    }

    fn open(&mut self) -> Log {
        let log = self.bench.open();
        let end = log.log_end_offset().0;
        assert_eq!(log.log_start_offset(), self.bench.noted.log_start_offset);
        assert!(
            end >= self.flushed,
            "flushed {} but only {end} are there",
            self.flushed
        );
        self.written.retain(|batch| batch.end() <= end);
        let written = self.written.last().map_or(0, Written::end);
        assert_eq!(written, end, "a prefix of what was appended");
        self.flushed = end;
        for (producer, sequence) in self.sequences.iter_mut().enumerate() {
            let mut batches = self.written.iter().rev();
            let last = batches.find(|batch| batch.producer.0 == producer as i64);
            *sequence = last.map_or(0, |batch| batch.producer.2 + batch.records as i32);
        }
        log
    }

    fn check(&self, log: &Log) {
        let start = log.log_start_offset();
        let found = records_in(&read_all(log, start));
        let expected: Vec<(i64, i32, Vec<u8>)> = self
            .written
            .iter()
            .filter(|batch| batch.end() > start.0)
            .flat_map(|batch| {
                (0..batch.records).map(|number| {
                    let value = vec![b'a' + number as u8; batch.size];
                    (batch.base + number as i64, batch.epoch, value)
                })
            })
            .collect();
        assert_eq!(found, expected);
        for epoch in 1..=self.epoch {
            let until = |batch: &&Written| batch.epoch <= epoch;
            let Some(last) = self.written.iter().rev().find(until) else {
                continue;
            };
            if last.end() <= start.0 {
                continue;
            }
            let end = log
                .epoch_end_offset(LeaderEpoch(epoch))
                .map(|(_, end)| end.0);
            let newest = self.written.last().unwrap().epoch;
            assert_eq!(
                end,
                (epoch <= newest).then_some(last.end()),
                "end of epoch {epoch}"
            );
        }
    }
}

#[test]
fn crashes_lose_nothing_flushed_and_leave_a_prefix() {
    let seeds = std::env::var("LOG_SEEDS").map_or(400, |seeds| seeds.parse().unwrap());
    for seed in 0..seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            for _ in 0..6 {
                model.run();
            }
            let log = model.open();
            model.check(&log);
        });
        assert!(outcome.is_ok(), "seed {seed}");
    }
}

#[test]
fn a_seed_gives_the_same_disk_twice() {
    let disk = |seed| {
        let mut model = Model::new(seed);
        for _ in 0..4 {
            model.run();
        }
        drop(model.open());
        (model.bench.files(), model.bench.disk.operations())
    };
    for seed in 1000..1010 {
        assert!(disk(seed) == disk(seed), "seed {seed}");
    }
}

#[test]
fn a_disk_that_lies_about_syncing_is_noticed() {
    // The model itself is tested: without syncs, flushed batches are lost.
    let loses = |seed| {
        let quiet = std::panic::catch_unwind(|| {
            let mut model = Model::new(seed);
            let lying = SimFaults {
                syncs_do_nothing: true,
                ..SimFaults::default()
            };
            for _ in 0..6 {
                let mut log = model.open();
                model.bench.disk.set_faults(lying);
                for _ in 0..10 {
                    let id = (0, 0, model.sequences[0]);
                    let appended = append_in(&mut log, batch_of(id, 1, 50), 1).unwrap();
                    model.sequences[0] += 1;
                    let base = appended.base_offset.0;
                    let written = Written {
                        base,
                        records: 1,
                        size: 50,
                        producer: id,
                        epoch: 1,
                    };
                    model.written.push(written);
                }
                let work = log.begin_flush().unwrap();
                work.sync.carry_out(&*log.place().disk).unwrap();
                log.complete_flush(work.end);
                model.flushed = work.end.offset.0;
                model.bench.noted = log.checkpoint();
                drop(log);
                model.bench.disk.crash(&model.random);
            }
            model.open();
        });
        quiet.is_err()
    };
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let noticed = (0..20).filter(|seed| loses(*seed)).count();
    std::panic::set_hook(hook);
    assert!(noticed > 10, "{noticed} of 20");
}
