//! A client of the topic whose files are damaged: it writes, reads what it wrote from any place, and at the
//! end everything.

use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchBuilder, Codec};

use super::Heard;
use super::plain::{
    Fetched, FetchedRecords, create_topic, fetch, fetched, hear_refusal, produce, produced,
};
use crate::sim::checkers::{Archive, Kept, Seen};
use crate::sim::damage::DAMAGED_TOPIC;
use crate::sim::wire::{FETCH_BY_NAME, PRODUCE_BY_NAME, call, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const PARTITIONS: i32 = 3;
const READ_BYTES_MAX: i32 = 2000;
/// Small segments, and an index entry for nearly every batch: the way past a damaged one.
const CONFIGS: [(&str, &str); 2] = [
    ("internal.segment.bytes", "3000"),
    ("index.interval.bytes", "100"),
];

/// What it waits for.
#[derive(Debug)]
enum Asked {
    /// The numbers of the records.
    Write(i32, Vec<i32>),
    Read(i32, i64),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Archivist {
    connection: u64,
    asked: Option<Asked>,
    written: i32,
    /// Reads that were refused because of damage.
    pub(super) refused: u32,
}

impl Archivist {
    pub(crate) fn new(world: &mut World) -> Result<Archivist, Violation> {
        let id = create_topic(world, DAMAGED_TOPIC, PARTITIONS, &CONFIGS)?;
        world.damage.topic_id = Some(id);
        Ok(Archivist {
            connection: world.connect(),
            asked: None,
            written: 0,
            refused: 0,
        })
    }

    /// The broker started again, and may have cut off what was damaged.
    pub(crate) fn reconnect(&mut self, world: &mut World, archive: &mut Archive) {
        self.connection = world.connect();
        self.asked = None;
        for mark in &mut world.damage.marks {
            if let Some(from) = mark.cut_from.take() {
                archive.may_be_cut(mark.partition, from);
            }
        }
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if let Some(asked) = self.asked.take() {
            return self.hear(world, &mut seen.archive, asked);
        }
        let partition = world.random.below(PARTITIONS as u64) as i32;
        let place = (DAMAGED_TOPIC, partition);
        let known = seen.archive.offsets(partition);
        if known.is_empty() || world.random.chance(50) {
            let count = 1 + world.random.below(3) as i32;
            let numbers: Vec<i32> = (self.written..self.written + count).collect();
            self.written += count;
            let mut builder = BatchBuilder::new(Codec::None);
            for number in &numbers {
                builder.push(world.now_ms(), None, Some(&value(partition, *number)), []);
            }
            let request = produce(place, builder.build(0, -1));
            send(world, self.connection, PRODUCE_BY_NAME, &request)?;
            self.asked = Some(Asked::Write(partition, numbers));
        } else {
            let chosen = world.random.below(known.len() as u64) as usize;
            let request = fetch(place, known[chosen], READ_BYTES_MAX);
            send(world, self.connection, FETCH_BY_NAME, &request)?;
            self.asked = Some(Asked::Read(partition, known[chosen]));
        }
        Ok(Heard::Nothing)
    }

    fn hear(
        &mut self,
        world: &mut World,
        archive: &mut Archive,
        asked: Asked,
    ) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            self.asked = Some(asked);
            return Ok(Heard::Nothing);
        };
        match asked {
            Asked::Write(partition, numbers) => {
                let (code, base) = produced(&answer)?;
                world.note(base as u64);
                match code {
                    ErrorCode::None => {
                        for (offset, number) in (base..).zip(numbers) {
                            archive.acknowledge(partition, offset, number)?;
                        }
                        Ok(Heard::Nothing)
                    }
                    code => self.hear_refusal(world, partition, code),
                }
            }
            Asked::Read(partition, offset) => {
                let fetched = fetched(&answer)?;
                match fetched.code {
                    ErrorCode::None => {
                        see(archive, partition, offset, &fetched)?;
                        Ok(Heard::Nothing)
                    }
                    code => self.hear_refusal(world, partition, code),
                }
            }
        }
    }

    fn hear_refusal(
        &mut self,
        world: &World,
        partition: i32,
        code: ErrorCode,
    ) -> Result<Heard, Violation> {
        match code {
            ErrorCode::KafkaStorageError if world.damage.is_in(partition) => {
                self.refused += 1;
                Ok(Heard::Nothing)
            }
            code => hear_refusal(world, (DAMAGED_TOPIC, partition), code),
        }
    }

    /// Reads everything, batch by batch. What is refused was damaged.
    pub(super) fn check_the_end(
        &mut self,
        world: &mut World,
        archive: &mut Archive,
    ) -> Result<(), Violation> {
        let connection = world.connect();
        for partition in 0..PARTITIONS {
            let mut refused = Vec::new();
            let offsets = archive.offsets(partition);
            for offset in &offsets {
                let request = fetch((DAMAGED_TOPIC, partition), *offset, 1);
                let answer = call(world, connection, FETCH_BY_NAME, &request)?;
                let fetched = fetched(&answer)?;
                match fetched.code {
                    ErrorCode::None => see(archive, partition, *offset, &fetched)?,
                    ErrorCode::KafkaStorageError => refused.push(*offset),
                    code => {
                        return violation(format!("{offset} of {partition} is lost: {code:?}"));
                    }
                }
            }
            if refused.len() == offsets.len() && world.damage.is_in(partition) {
                continue;
            }
            for offset in refused {
                self.refused += 1;
                if !world.damage.has_hit(partition, offset) {
                    return violation(format!(
                        "{offset} of {partition} is refused and was not damaged"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What a read from this offset showed. It must show the record there.
fn see(
    archive: &mut Archive,
    partition: i32,
    offset: i64,
    fetched: &FetchedRecords,
) -> Result<(), Violation> {
    for record in &fetched.records {
        let kept = Kept {
            number: number(partition, record)?,
            epoch: Some(record.epoch),
        };
        archive.see(partition, record.offset, kept)?;
    }
    let shows = |record: &Fetched| record.offset == offset;
    match archive.has(partition, offset) && !fetched.records.iter().any(shows) {
        true => violation(format!("{offset} of {partition} is not there")),
        false => Ok(()),
    }
}

/// The value of a record: its partition, its number, and bytes that follow from both.
fn value(partition: i32, number: i32) -> Vec<u8> {
    let seed = (partition * 31 + number) as u8;
    let rest = (0..20 + (number as usize * 37) % 300).map(|at| seed.wrapping_mul(at as u8 | 1));
    let head = [partition.to_be_bytes(), number.to_be_bytes()].concat();
    head.into_iter().chain(rest).collect()
}

fn number(partition: i32, record: &Fetched) -> Result<i32, Violation> {
    let found = record.value.as_deref().unwrap_or_default();
    let number = found.get(4..8).and_then(|number| number.try_into().ok());
    match number.map(i32::from_be_bytes) {
        Some(number) if value(partition, number) == found => Ok(number),
        _ => violation(format!("{partition} serves what nobody wrote: {record:?}")),
    }
}
