//! A client of a compacted topic: it writes keys and deletes them, and reads the whole table again and
//! again.

use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchBuilder, Codec};

use super::Heard;
use super::plain::{
    Fetched, LIST_OFFSETS, Place, create_topic, earliest, fetch, fetched, hear_refusal, listed,
    produce, produced,
};
use crate::sim::checkers::{Row, Scan, Seen, Table};
use crate::sim::wire::{FETCH_BY_NAME, PRODUCE_BY_NAME, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const TOPIC: &str = "table";
const PARTITIONS: i32 = 2;
const KEYS: u64 = 6;
const FETCH_BYTES_MAX: i32 = 1500;
/// Short enough for tombstones to go within a seed.
const DELETE_RETENTION_MS: i64 = 2_000;
/// Small segments, compacted whenever there is something to compact; where old ones are deleted as well,
/// a few stay.
const CONFIGS: [(&str, &str); 6] = [
    ("cleanup.policy", "compact"),
    ("internal.segment.bytes", "700"),
    ("min.cleanable.dirty.ratio", "0.1"),
    ("delete.retention.ms", "2000"),
    ("file.delete.delay.ms", "100"),
    ("retention.bytes", "2500"),
];
const COMPACT_AND_DELETE: &str = "compact,delete";

/// What it waits for.
#[derive(Debug)]
enum Asked {
    Write(Vec<Row>),
    Start,
    Read(i64),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Tabulator {
    place: Place,
    connection: u64,
    asked: Option<Asked>,
    written: i32,
    scan: Option<Scan>,
    next: i64,
    is_calm: bool,
    /// Scans since no faults happen any more.
    calm_scans: u32,
}

impl Tabulator {
    pub(crate) fn new(world: &mut World) -> Result<Tabulator, Violation> {
        let mut configs = CONFIGS;
        if world.random.chance(40) {
            configs[0].1 = COMPACT_AND_DELETE;
        }
        create_topic(world, TOPIC, PARTITIONS, &configs)?;
        Ok(Tabulator {
            place: (TOPIC, world.random.below(PARTITIONS as u64) as i32),
            connection: world.connect(),
            asked: None,
            written: 0,
            scan: None,
            next: 0,
            is_calm: false,
            calm_scans: 0,
        })
    }

    /// The broker started again: a walk that was begun is not one walk any more.
    pub(crate) fn reconnect(&mut self, world: &mut World, table: &mut Table) {
        self.connection = world.connect();
        if let Some(Asked::Write(rows)) = self.asked.take() {
            table.doubt(rows);
        }
        self.scan = None;
    }

    /// From now on it only reads.
    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
    }

    /// Whether it has read everything once since.
    pub(crate) fn is_done(&self) -> bool {
        self.calm_scans > 0
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if let Some(asked) = self.asked.take() {
            return self.hear(world, &mut seen.table, asked);
        }
        if !self.is_calm && world.random.chance(50) {
            let rows = self.draw_rows(world);
            let codec = match world.random.chance(30) {
                true => Codec::Lz4,
                false => Codec::None,
            };
            let mut builder = BatchBuilder::new(codec);
            for row in &rows {
                let value = row.value.map(value);
                builder.push(row.timestamp, Some(&[row.key]), value.as_deref(), []);
            }
            let request = produce(self.place, builder.build(0, -1));
            send(world, self.connection, PRODUCE_BY_NAME, &request)?;
            self.asked = Some(Asked::Write(rows));
        } else if self.scan.is_none() {
            send(world, self.connection, LIST_OFFSETS, &earliest(self.place))?;
            self.asked = Some(Asked::Start);
        } else {
            let request = fetch(self.place, self.next, FETCH_BYTES_MAX);
            send(world, self.connection, FETCH_BY_NAME, &request)?;
            self.asked = Some(Asked::Read(self.next));
        }
        Ok(Heard::Nothing)
    }

    fn draw_rows(&mut self, world: &World) -> Vec<Row> {
        let rows = 0..1 + world.random.below(3);
        let rows = rows.map(|_| {
            self.written += 1;
            Row {
                key: world.random.below(KEYS) as u8,
                value: (!world.random.chance(25)).then_some(self.written),
                timestamp: world.now_ms(),
            }
        });
        rows.collect()
    }

    fn hear(
        &mut self,
        world: &mut World,
        table: &mut Table,
        asked: Asked,
    ) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            self.asked = Some(asked);
            return Ok(Heard::Nothing);
        };
        match asked {
            Asked::Write(rows) => {
                let (code, base) = produced(&answer)?;
                world.note(base as u64);
                if code != ErrorCode::None {
                    table.doubt(rows);
                    return hear_refusal(world, self.place, code);
                }
                for (offset, row) in (base..).zip(rows) {
                    table.learn(offset, row)?;
                }
            }
            Asked::Start => {
                let (code, start) = listed(&answer)?;
                if code != ErrorCode::None {
                    return hear_refusal(world, self.place, code);
                }
                self.next = start;
                self.scan = Some(Scan::from(start, world.now_ms()));
            }
            Asked::Read(offset) => {
                let fetched = fetched(&answer)?;
                match fetched.code {
                    ErrorCode::None => {}
                    // Retention has overtaken the walk.
                    ErrorCode::OffsetOutOfRange => {
                        self.scan = None;
                        return Ok(Heard::Nothing);
                    }
                    code => return hear_refusal(world, self.place, code),
                }
                let Some(mut scan) = self.scan.take() else {
                    return Ok(Heard::Nothing);
                };
                // To where the log ends now: what compaction took since was replaced by then.
                scan.end = fetched.high_watermark;
                scan.start = scan.start.max(fetched.log_start_offset);
                for record in &fetched.records {
                    let row = row(record)?;
                    table.learn(record.offset, row)?;
                    // The first batch may begin before the offset that was asked for.
                    if record.offset >= offset && record.offset < scan.end {
                        scan.meet(record.offset, row)?;
                    }
                    world.note(record.offset as u64);
                }
                self.next = fetched.next.unwrap_or(self.next);
                if self.next < scan.end {
                    self.scan = Some(scan);
                    return Ok(Heard::Nothing);
                }
                table.judge(&scan, world.now_ms(), DELETE_RETENTION_MS)?;
                self.calm_scans += u32::from(self.is_calm);
            }
        }
        Ok(Heard::Nothing)
    }
}

fn value(number: i32) -> Vec<u8> {
    let head = number.to_be_bytes().into_iter();
    let rest = (0..(number as usize * 29) % 120).map(|at| (number as usize * at) as u8);
    head.chain(rest).collect()
}

fn row(record: &Fetched) -> Result<Row, Violation> {
    let number = match record.value.as_deref() {
        None => None,
        Some(found) => {
            let number = found.first_chunk().map(|head| i32::from_be_bytes(*head));
            match number {
                Some(number) if value(number) == found => Some(number),
                _ => return violation(format!("the table serves what nobody wrote: {record:?}")),
            }
        }
    };
    match record.key.as_deref() {
        Some([key]) => Ok(Row {
            key: *key,
            value: number,
            timestamp: record.timestamp,
        }),
        key => violation(format!("the table has a record of key {key:?}")),
    }
}
