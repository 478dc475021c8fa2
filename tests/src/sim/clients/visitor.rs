//! A client with a quota, which the administrator sets and takes away. It does not wait when it is told to: its
//! connection is not read meanwhile.

use std::collections::VecDeque;

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use millstream_protocol::records::{BatchBuilder, Codec};

use super::Heard;
use super::administrator_changes::{ALTER_QUOTAS, VISITOR, alter_quotas};
use super::plain::{Place, create_topic, fetch, hear_refusal, produce};
use crate::sim::checkers::{Change, Pace, Place as Setting, Seen, Settings};
use crate::sim::wire::{FETCH_BY_NAME, PRODUCE_BY_NAME, call, code, decode, send_as};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const TOPIC: &str = "visited";
const PLACE: Place = (TOPIC, 0);
/// What entity the administrator knows it by.
const ENTITY: Setting = Setting::Entity(0);
const RATES: [&str; 2] = ["producer_byte_rate", "consumer_byte_rate"];
/// So low that some requests are too much: a broker does not live long here.
const QUOTA: &str = "300";
/// Bytes of its records, at most. A request that is worth more than the time over which rates are measured waits less
/// than its bytes, as with Kafka.
const VALUE_MAX: u64 = 500;
const FETCH_BYTES_MAX: i32 = 600;
const IN_FLIGHT_MAX: usize = 8;

/// What it waits for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// So many bytes.
    Write(usize),
    Read,
}

/// The client.
#[derive(Debug)]
pub(crate) struct Visitor {
    connection: u64,
    /// What, and when.
    asked: VecDeque<(Asked, i64)>,
    /// When it last heard that it has to wait, and until when what it sends after that is not read.
    told_to_wait: i64,
    muted_until: i64,
    next: i64,
    /// Both directions.
    paces: [Pace; 2],
    /// How often it was told to wait.
    pub throttled: u32,
}

impl Visitor {
    pub(crate) fn new(world: &mut World, seen: &mut Seen) -> Result<Visitor, Violation> {
        create_topic(world, TOPIC, 1, &[])?;
        let connection = world.connect();
        // The administrator alone would do it too seldom.
        for name in RATES {
            if world.random.chance(40) {
                let change: Change = vec![((ENTITY, name), Some(QUOTA.to_owned()))];
                let request = alter_quotas(&change);
                seen.settings.begin(change);
                call(world, connection, ALTER_QUOTAS, &request)?;
                seen.settings.acknowledge();
            }
        }
        Ok(Visitor {
            connection,
            asked: VecDeque::new(),
            told_to_wait: 0,
            muted_until: 0,
            next: 0,
            paces: Default::default(),
            throttled: 0,
        })
    }

    /// The broker started again, and has forgotten how fast everybody was.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.connection = world.connect();
        self.asked.clear();
        self.told_to_wait = 0;
        self.muted_until = 0;
        self.next = 0;
        self.paces.iter_mut().for_each(Pace::forget);
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &Seen) -> Result<Heard, Violation> {
        self.know(world, &seen.settings);
        if world.random.chance(50) {
            while self.asked.len() < IN_FLIGHT_MAX && world.random.chance(80) {
                self.ask(world)?;
            }
            return Ok(Heard::Nothing);
        }
        while let Some((asked, at)) = self.asked.front().copied() {
            let Some(answer) = world.receive(self.connection) else {
                break;
            };
            self.asked.pop_front();
            if self.hear(world, &answer, asked, at)? == Heard::DiskFailed {
                return Ok(Heard::DiskFailed);
            }
        }
        Ok(Heard::Nothing)
    }

    fn ask(&mut self, world: &mut World) -> Result<(), Violation> {
        let asked = match world.random.chance(50) {
            true => self.write(world)?,
            false => {
                let request = fetch(PLACE, self.next, FETCH_BYTES_MAX);
                send_as(world, self.connection, VISITOR, FETCH_BY_NAME, &request)?;
                Asked::Read
            }
        };
        self.asked.push_back((asked, world.now_ms()));
        Ok(())
    }

    fn know(&mut self, world: &World, settings: &Settings) {
        for (name, pace) in RATES.into_iter().zip(&mut self.paces) {
            let known = settings.known((ENTITY, name)).flatten();
            pace.know(known.and_then(|quota| quota.parse().ok()), world.now_ms());
        }
    }

    fn write(&mut self, world: &mut World) -> Result<Asked, Violation> {
        let mut builder = BatchBuilder::new(Codec::None);
        let value = vec![b'v'; world.random.below(VALUE_MAX) as usize];
        builder.push(world.now_ms(), None, Some(&value), []);
        let batch = builder.build(0, -1);
        let bytes = batch.len();
        let request = produce(PLACE, batch);
        send_as(world, self.connection, VISITOR, PRODUCE_BY_NAME, &request)?;
        Ok(Asked::Write(bytes))
    }

    fn hear(
        &mut self,
        world: &mut World,
        answer: &Bytes,
        asked: Asked,
        at: i64,
    ) -> Result<Heard, Violation> {
        let now = world.now_ms();
        // What the broker had taken in before it knew, it answers: a write may have waited for a slow disk.
        if at > self.told_to_wait && now < self.muted_until {
            return violation(format!(
                "a client that is to wait until {} is answered at {now}",
                self.muted_until
            ));
        }
        let [produced, fetched] = &mut self.paces;
        let (throttle_ms, error) = match asked {
            Asked::Write(bytes) => {
                let answer: ProduceResponse<'_> =
                    decode::<ProduceRequest<'_>, _>(answer, PRODUCE_BY_NAME)?;
                produced.moved(bytes, at, now)?;
                let partition = &answer.responses[0].partition_responses[0];
                (answer.throttle_time_ms, code(partition.error_code)?)
            }
            Asked::Read => {
                let bytes = answer.len();
                let answer: FetchResponse<'_> =
                    decode::<FetchRequest<'_>, _>(answer, FETCH_BY_NAME)?;
                match answer.responses.first() {
                    // It gets the same later.
                    None if answer.throttle_time_ms > 0 => {
                        (answer.throttle_time_ms, ErrorCode::None)
                    }
                    None => return violation("a fetch is answered with nothing"),
                    Some(topic) => {
                        fetched.moved(bytes, at, now)?;
                        let partition = &topic.partitions[0];
                        let error = code(partition.error_code)?;
                        let is_at_the_end = partition.records.is_none()
                            || self.next + 1 >= partition.high_watermark;
                        self.next = if is_at_the_end { 0 } else { self.next + 1 };
                        (answer.throttle_time_ms, error)
                    }
                }
            }
        };
        world.note(throttle_ms as u64);
        if throttle_ms > 0 {
            self.throttled += 1;
            self.told_to_wait = now;
            self.muted_until = at + i64::from(throttle_ms);
        }
        match error {
            ErrorCode::None => Ok(Heard::Nothing),
            error => hear_refusal(world, PLACE, error),
        }
    }
}
