//! A client that writes, deletes the first records of its log, and looks whether they are gone and the
//! others are not. In some seeds retention by size deletes as well.

use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchBuilder, Codec};

use super::Heard;
use super::plain::{
    DELETE_RECORDS, Fetched, FetchedRecords, LIST_OFFSETS, Place, create_topic, delete_before,
    deleted, earliest, fetch, fetched, hear_refusal, listed, produce, produced,
};
use crate::sim::checkers::{BATCH_BYTES_MAX, Seen, Trimmed};
use crate::sim::wire::{FETCH_BY_NAME, PRODUCE_BY_NAME, call, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const TOPIC: &str = "trimmed";
const PARTITIONS: i32 = 2;
const FETCH_BYTES_MAX: i32 = 1500;
const RETENTION_BYTES: usize = 4_000;
const CONFIGS: [(&str, &str); 3] = [
    ("internal.segment.bytes", "1200"),
    ("file.delete.delay.ms", "100"),
    ("retention.bytes", "-1"),
];

/// What it waits for.
#[derive(Debug)]
enum Asked {
    /// The record's number and the bytes of its batch.
    Write(i32, usize),
    Delete(i64),
    Start,
    Read(i64),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Trimmer {
    place: Place,
    connection: u64,
    asked: Option<Asked>,
    written: i32,
}

impl Trimmer {
    pub(crate) fn new(world: &mut World, seen: &mut Seen) -> Result<Trimmer, Violation> {
        let mut configs = CONFIGS;
        if world.random.chance(40) {
            configs[2].1 = "4000";
            seen.trimmed.retention_bytes = Some(RETENTION_BYTES);
        }
        create_topic(world, TOPIC, PARTITIONS, &configs)?;
        Ok(Trimmer {
            place: (TOPIC, world.random.below(PARTITIONS as u64) as i32),
            connection: world.connect(),
            asked: None,
            written: 0,
        })
    }

    /// The broker started again: what it was asked may have happened or not.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.connection = world.connect();
        self.asked = None;
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if let Some(asked) = self.asked.take() {
            return self.hear(world, &mut seen.trimmed, asked);
        }
        let end = seen.trimmed.end();
        let asked = match world.random.below(100) {
            0..=44 => self.write(world)?,
            45..=54 => {
                // Seldom all of them.
                let far = end.min(seen.trimmed.deleted_to() + 12);
                let bound = if world.random.chance(10) { end } else { far };
                let offset = world.random.below(bound as u64 + 1) as i64;
                seen.trimmed.ask(offset);
                let request = delete_before(self.place, offset);
                send(world, self.connection, DELETE_RECORDS, &request)?;
                Asked::Delete(offset)
            }
            55..=69 => {
                send(world, self.connection, LIST_OFFSETS, &earliest(self.place))?;
                Asked::Start
            }
            _ => {
                let offset = world.random.below(end as u64 + 1) as i64;
                let request = fetch(self.place, offset, FETCH_BYTES_MAX);
                send(world, self.connection, FETCH_BY_NAME, &request)?;
                Asked::Read(offset)
            }
        };
        self.asked = Some(asked);
        Ok(Heard::Nothing)
    }

    fn write(&mut self, world: &mut World) -> Result<Asked, Violation> {
        let number = self.written;
        self.written += 1;
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(world.now_ms(), None, Some(&value(number)), []);
        let batch = builder.build(0, -1);
        let bytes = batch.len();
        debug_assert!(bytes <= BATCH_BYTES_MAX);
        send(
            world,
            self.connection,
            PRODUCE_BY_NAME,
            &produce(self.place, batch),
        )?;
        Ok(Asked::Write(number, bytes))
    }

    fn hear(
        &mut self,
        world: &mut World,
        trimmed: &mut Trimmed,
        asked: Asked,
    ) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            self.asked = Some(asked);
            return Ok(Heard::Nothing);
        };
        match asked {
            Asked::Write(number, bytes) => {
                let (code, base) = produced(&answer)?;
                world.note(base as u64);
                match code {
                    ErrorCode::None => trimmed.learn(base, number, bytes)?,
                    code => return hear_refusal(world, self.place, code),
                }
            }
            Asked::Delete(offset) => match deleted(&answer)? {
                (ErrorCode::None, start) => trimmed.delete(offset, start)?,
                // A start is durable when its log directory's checkpoint is, which may have failed.
                (ErrorCode::KafkaStorageError, _)
                    if world.may_be_offline(self.place.0, self.place.1) =>
                {
                    return Ok(Heard::DiskFailed);
                }
                (code, _) => return violation(format!("DeleteRecords: {code:?}")),
            },
            Asked::Start => match listed(&answer)? {
                (ErrorCode::None, start) => {
                    world.note(start as u64);
                    trimmed.begins_at(start)?;
                }
                (code, _) => return hear_refusal(world, self.place, code),
            },
            Asked::Read(offset) => {
                let fetched = fetched(&answer)?;
                match fetched.code {
                    ErrorCode::None => {
                        trimmed.finds(offset)?;
                        learn(trimmed, &fetched)?;
                    }
                    ErrorCode::OffsetOutOfRange => trimmed.misses(offset)?,
                    code => return hear_refusal(world, self.place, code),
                }
            }
        }
        Ok(Heard::Nothing)
    }

    /// Reads everything from the log's start on.
    pub(super) fn check_the_end(
        &mut self,
        world: &mut World,
        trimmed: &mut Trimmed,
    ) -> Result<(), Violation> {
        world.retain();
        let connection = world.connect();
        let answer = call(world, connection, LIST_OFFSETS, &earliest(self.place))?;
        let (_, start) = listed(&answer)?;
        trimmed.begins_at(start)?;
        let (mut next, mut found) = (start, Vec::new());
        loop {
            let request = fetch(self.place, next, FETCH_BYTES_MAX);
            let answer = call(world, connection, FETCH_BY_NAME, &request)?;
            let fetched = fetched(&answer)?;
            if fetched.code != ErrorCode::None {
                return violation(format!("{next} of the trimmed log: {:?}", fetched.code));
            }
            learn(trimmed, &fetched)?;
            found.extend(fetched.records.iter().map(|record| record.offset));
            match fetched.next {
                Some(after) => next = after,
                None => return trimmed.check_the_end(start, &found),
            }
        }
    }
}

/// Batches hold one record each.
fn learn(trimmed: &mut Trimmed, fetched: &FetchedRecords) -> Result<(), Violation> {
    for (record, (_, bytes)) in fetched.records.iter().zip(&fetched.sizes) {
        trimmed.learn(record.offset, number(record)?, *bytes)?;
    }
    Ok(())
}

fn value(number: i32) -> Vec<u8> {
    let head = number.to_be_bytes().into_iter();
    let rest = (0..(number as usize * 53) % 400).map(|at| (number as usize + at) as u8);
    head.chain(rest).collect()
}

fn number(record: &Fetched) -> Result<i32, Violation> {
    let found = record.value.as_deref().unwrap_or_default();
    let number = found.first_chunk().map(|head| i32::from_be_bytes(*head));
    match number {
        Some(number) if value(number) == found => Ok(number),
        _ => violation(format!(
            "the trimmed log serves what nobody wrote: {record:?}"
        )),
    }
}
