//! A client that administers: it changes configs of a topic, of the broker and of all brokers, quotas,
//! credentials and levels of features, adds partitions to the topic, and looks at all of it at any time, also
//! between a change and its answer. What is in force shows in what it writes to the topic.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::records::{BatchBuilder, Codec};

use super::Heard;
use super::administrator_changes::{COUNT, FEATURES, Kind, TOPIC, draw, outcome, send_change};
use super::administrator_looks::{LOOKS, look};
use super::plain::{
    Fetched, LIST_OFFSETS, create_topic, earliest, fetch, fetched, hear_refusal, listed, produce,
    produced,
};
use crate::sim::checkers::{Change, Place, Seen, Settings, State};
use crate::sim::wire::{FETCH_BY_NAME, PRODUCE_BY_NAME, call, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

/// States that may be, at most, before it waits for the next start.
const STATES_MAX: usize = 8;
const FETCH_BYTES_MAX: i32 = 4_000;
/// Sizes of values: one passes where the other is too large for some values of `max.message.bytes`.
const SMALL: usize = 40;
const LARGE: usize = 600;
/// How far a timestamp is ahead of the clock: too far for some values, and further than time passes in a seed.
const AHEAD_MS: i64 = 1_200_000;

/// A config as the broker obeys it: the topic's own, the broker's, that of all brokers, or the default.
type InForce = (&'static str, &'static str, usize);
const LARGEST: InForce = ("max.message.bytes", "message.max.bytes", 1_048_588);
const AHEAD: InForce = (
    "message.timestamp.after.max.ms",
    "log.message.timestamp.after.max.ms",
    3_600_000,
);
const SEGMENT: &str = "internal.segment.bytes";
const SEGMENT_BYTES: &str = "1500";

/// A record on its way.
#[derive(Debug)]
struct Written {
    partition: i32,
    number: i32,
    bytes: usize,
    is_ahead: bool,
}

/// What it waits for.
#[derive(Debug)]
enum Asked {
    Change(Kind),
    Write(Written),
}

/// The client.
#[derive(Debug)]
pub(crate) struct Administrator {
    connection: u64,
    /// Its second connection, for looking.
    looks: u64,
    asked: Option<Asked>,
    written: i32,
}

impl Administrator {
    pub(crate) fn new(world: &mut World, seen: &mut Seen) -> Result<Administrator, Violation> {
        create_topic(world, TOPIC, 1, &[(SEGMENT, SEGMENT_BYTES)])?;
        let levels = FEATURES.iter();
        let levels = levels.map(|(name, level)| ((Place::Features, *name), level.to_string()));
        let topic = [
            (COUNT, "1".to_owned()),
            ((Place::Topic, SEGMENT), SEGMENT_BYTES.to_owned()),
        ];
        let set = topic.into_iter().chain(levels);
        let change: Change = set.map(|(name, value)| (name, Some(value))).collect();
        seen.settings.begin(change);
        seen.settings.acknowledge();
        Ok(Administrator {
            connection: world.connect(),
            looks: world.connect(),
            asked: None,
            written: 0,
        })
    }

    /// The broker started again: what it was asked may have happened or not.
    pub(crate) fn reconnect(&mut self, world: &mut World, settings: &mut Settings) {
        self.connection = world.connect();
        self.looks = world.connect();
        self.asked = None;
        settings.restart();
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if world.random.chance(30) {
            let kind = world.random.below(LOOKS);
            look(world, self.looks, &mut seen.settings, kind)?;
            return Ok(Heard::Nothing);
        }
        if let Some(asked) = self.asked.take() {
            return self.hear(world, seen, asked);
        }
        let settings = &mut seen.settings;
        if world.random.chance(60) || settings.states().count() > STATES_MAX {
            let size = if world.random.chance(50) {
                LARGE
            } else {
                SMALL
            };
            let partition = world.random.below(present(settings) as u64) as i32;
            let (written, batch) = self.write(world, partition, size, world.random.chance(15));
            let request = produce((TOPIC, partition), batch);
            send(world, self.connection, PRODUCE_BY_NAME, &request)?;
            self.asked = Some(Asked::Write(written));
        } else {
            let (kind, change) = draw(world, settings);
            send_change(world, self.connection, settings, kind, &change)?;
            settings.begin(change);
            self.asked = Some(Asked::Change(kind));
        }
        Ok(Heard::Nothing)
    }

    fn write(
        &mut self,
        world: &World,
        partition: i32,
        size: usize,
        is_ahead: bool,
    ) -> (Written, Bytes) {
        let number = self.written;
        self.written += 1;
        let timestamp = world.now_ms() + if is_ahead { AHEAD_MS } else { 0 };
        let mut builder = BatchBuilder::new(Codec::None);
        // Each has a key of its own, so that compaction takes none.
        let (key, value) = (number.to_be_bytes(), vec![number as u8; size]);
        builder.push(timestamp, Some(&key), Some(&value), []);
        let batch = builder.build(0, -1);
        let written = Written {
            partition,
            number,
            bytes: batch.len(),
            is_ahead,
        };
        (written, batch)
    }

    fn hear(
        &mut self,
        world: &mut World,
        seen: &mut Seen,
        asked: Asked,
    ) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            self.asked = Some(asked);
            return Ok(Heard::Nothing);
        };
        match asked {
            Asked::Change(kind) => {
                let code = outcome(kind, &answer)?;
                world.note(code.code() as u64);
                match code {
                    ErrorCode::None => seen.settings.acknowledge(),
                    ErrorCode::KafkaStorageError => {
                        seen.settings.fail();
                        return Ok(Heard::DiskFailed);
                    }
                    code => return violation(format!("a change of {kind:?}: {code:?}")),
                }
                Ok(Heard::Nothing)
            }
            Asked::Write(written) => hear_write(world, seen, &answer, &written),
        }
    }

    /// Everything is as it may be, each partition takes records, and what was durable is there.
    pub(super) fn check_the_end(
        &mut self,
        world: &mut World,
        seen: &mut Seen,
    ) -> Result<(), Violation> {
        let connection = world.connect();
        for kind in 0..LOOKS {
            look(world, connection, &mut seen.settings, kind)?;
        }
        let mut found = BTreeMap::new();
        for partition in 0..present(&seen.settings) {
            let (written, batch) = self.write(world, partition, SMALL, false);
            let request = produce((TOPIC, partition), batch);
            let answer = call(world, connection, PRODUCE_BY_NAME, &request)?;
            if hear_write(world, seen, &answer, &written)? != Heard::Nothing {
                return violation(format!("partition {partition} takes no records"));
            }
            read_all(world, connection, partition, &mut found)?;
        }
        seen.entrusted.check_the_end(&found)
    }
}

/// How many partitions there are for certain.
fn present(settings: &Settings) -> i32 {
    let counts = settings.values(COUNT).flatten();
    let counts = counts.filter_map(|count| count.parse().ok());
    counts.min().unwrap_or(1)
}

fn hear_write(
    world: &mut World,
    seen: &mut Seen,
    answer: &Bytes,
    written: &Written,
) -> Result<Heard, Violation> {
    let place = (TOPIC, written.partition);
    let (code, base) = produced(answer)?;
    world.note(base as u64);
    match code {
        ErrorCode::None | ErrorCode::MessageTooLarge | ErrorCode::InvalidTimestamp => {}
        code => return hear_refusal(world, place, code),
    }
    let states = seen.settings.states();
    let possible: BTreeSet<i16> = states.flat_map(|state| judged(state, written)).collect();
    if !possible.contains(&code.code()) {
        return violation(format!(
            "{written:?} is answered with {code:?}, by its configs {possible:?} are possible"
        ));
    }
    if code == ErrorCode::None {
        let durability = seen
            .settings
            .values((Place::Topic, "millstream.durability"));
        let is_durable = durability
            .into_iter()
            .all(|value| value != Some("replicated"));
        let place = (written.partition, base);
        seen.entrusted
            .acknowledge(place, written.number, is_durable)?;
    }
    Ok(Heard::Nothing)
}

/// The codes that a record may be answered with where this is set.
fn judged(state: &State, written: &Written) -> Vec<i16> {
    let mut refused = Vec::new();
    if written.bytes > in_force(state, LARGEST) {
        refused.push(ErrorCode::MessageTooLarge.code());
    }
    if written.is_ahead && in_force(state, AHEAD) < AHEAD_MS as usize {
        refused.push(ErrorCode::InvalidTimestamp.code());
    }
    match refused.is_empty() {
        true => vec![ErrorCode::None.code()],
        false => refused,
    }
}

fn in_force(state: &State, (own, of_brokers, default): InForce) -> usize {
    let layers = [
        (Place::Topic, own),
        (Place::Broker, of_brokers),
        (Place::Brokers, of_brokers),
    ];
    let set = layers.iter().find_map(|name| state.get(name));
    set.and_then(|value| value.parse().ok()).unwrap_or(default)
}

fn read_all(
    world: &mut World,
    connection: u64,
    partition: i32,
    found: &mut BTreeMap<(i32, i64), i32>,
) -> Result<(), Violation> {
    let place = (TOPIC, partition);
    let answer = call(world, connection, LIST_OFFSETS, &earliest(place))?;
    let (_, mut next) = listed(&answer)?;
    loop {
        let request = fetch(place, next, FETCH_BYTES_MAX);
        let answer = call(world, connection, FETCH_BY_NAME, &request)?;
        let fetched = fetched(&answer)?;
        if fetched.code != ErrorCode::None {
            return violation(format!("{next} of {place:?}: {:?}", fetched.code));
        }
        for record in &fetched.records {
            found.insert((partition, record.offset), number(record)?);
        }
        match fetched.next {
            Some(after) => next = after,
            None => return Ok(()),
        }
    }
}

fn number(record: &Fetched) -> Result<i32, Violation> {
    let key = record.key.as_deref().and_then(<[u8]>::first_chunk);
    let number = key.map(|key| i32::from_be_bytes(*key));
    let is_own = |number: i32, value: &[u8]| value.iter().all(|byte| *byte == number as u8);
    match (number, &record.value) {
        (Some(number), Some(value)) if is_own(number, value) => Ok(number),
        _ => violation(format!(
            "the administered topic serves what nobody wrote: {record:?}"
        )),
    }
}
