//! A consumer without a group that reads everything, again and again.

use std::borrow::Cow;

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::{FetchRequest, FetchResponse};

use super::{Heard, PARTITIONS, TOPIC};
use crate::sim::checkers::Seen;
use crate::sim::wire::{FETCH_BY_NAME, batches_of, code, decode, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

/// The consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    connection: u64,
    waits: bool,
    next: Vec<i64>,
    high_watermarks: Vec<i64>,
}

impl Consumer {
    pub(crate) fn new(world: &mut World) -> Consumer {
        Consumer {
            connection: world.connect(),
            waits: false,
            next: vec![0; PARTITIONS as usize],
            high_watermarks: vec![-1; PARTITIONS as usize],
        }
    }

    /// The broker started again: what was seen once is read again.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        *self = Consumer::new(world);
    }

    /// The next offset of each partition.
    pub(crate) fn next(&self) -> &[i64] {
        &self.next
    }

    pub(crate) fn step(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        if self.waits {
            return self.hear(world, seen);
        }
        let positions = self.next.iter().enumerate();
        let positions = positions.map(|(partition, next)| (partition as i32, *next));
        let request = fetch(positions, 0);
        self.waits = true;
        send(world, self.connection, FETCH_BY_NAME, &request)?;
        Ok(Heard::Nothing)
    }

    fn hear(&mut self, world: &mut World, seen: &mut Seen) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(Heard::Nothing);
        };
        self.waits = false;
        let answer: FetchResponse<'_> = decode::<FetchRequest<'_>, _>(&answer, FETCH_BY_NAME)?;
        for data in &answer.responses[0].partitions {
            let partition = data.partition_index;
            match code(data.error_code)? {
                ErrorCode::None => {}
                ErrorCode::KafkaStorageError => return Ok(Heard::DiskFailed),
                code => return violation(format!("fetch of {partition}: {code:?}")),
            }
            let high_watermark = &mut self.high_watermarks[partition as usize];
            if data.high_watermark < *high_watermark {
                return violation(format!("the high watermark of {partition} went back"));
            }
            *high_watermark = data.high_watermark;
            for (header, _) in batches_of(data.records.as_ref())? {
                let name = (header.producer_id, header.base_sequence);
                seen.records.see(name, partition, header.base_offset)?;
                world.note(header.base_offset as u64);
                let next = &mut self.next[partition as usize];
                *next = (*next).max(header.next_offset());
            }
        }
        Ok(Heard::Nothing)
    }
}

/// A fetch of these partitions from these offsets, which waits so long for records.
pub(crate) fn fetch(
    positions: impl Iterator<Item = (i32, i64)>,
    max_wait_ms: i32,
) -> FetchRequest<'static> {
    let wanted = positions.map(|(partition, fetch_offset)| FetchPartition {
        partition,
        fetch_offset,
        partition_max_bytes: 1000,
        ..FetchPartition::default()
    });
    let topic = FetchTopic {
        topic: Cow::Borrowed(TOPIC),
        partitions: wanted.collect(),
        ..FetchTopic::default()
    };
    FetchRequest {
        max_wait_ms,
        min_bytes: 1,
        max_bytes: 4000,
        session_epoch: -1,
        topics: vec![topic],
        ..FetchRequest::default()
    }
}
