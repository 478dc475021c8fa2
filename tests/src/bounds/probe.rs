//! What others notice: producers at a fixed rate, from the moment at which each request was due.

use std::thread;
use std::time::{Duration, Instant};

use millstream_protocol::ApiKey;
use millstream_protocol::messages::ProduceResponse;
use millstream_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_protocol::records::{BatchBuilder, Codec};

use super::TOPIC;
use crate::crash::Failure;
use crate::crash::wire::{Connection, WireError, code_name, read_answer};
use crate::slow_disk::Latencies;

const PROBES: usize = 4;
/// Batches a second of each.
const RATE: u32 = 200;
const VERSION: i16 = 9;

/// Produces for so long.
pub(super) fn measure(port: u16, duration: Duration) -> Result<Latencies, Failure> {
    let each: Vec<Vec<Duration>> = thread::scope(|scope| {
        let probes: Vec<_> = (0..PROBES)
            .map(|_| scope.spawn(move || probe(port, duration)))
            .collect();
        let joined = probes.into_iter().map(|probe| probe.join());
        joined
            .map(|probe| probe.map_err(|_| "a thread ended by a panic".to_owned())?)
            .collect::<Result<_, Failure>>()
    })?;
    Ok(Latencies::of(each.concat()))
}

fn probe(port: u16, duration: Duration) -> Result<Vec<Duration>, Failure> {
    let failed = |error: WireError| format!("a probe: {error:?}");
    let mut connection = Connection::open(port).map_err(failed)?;
    let began = Instant::now();
    let mut latencies = Vec::new();
    let mut due = began;
    while due < began + duration {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let request = produce(0, 100, 1);
        let (id, frame) = connection.call(VERSION, &request).map_err(failed)?;
        let answer: ProduceResponse<'_> = read_answer(&frame, ApiKey::Produce, VERSION, id)?;
        let code = answer.responses[0].partition_responses[0].error_code;
        if code != 0 {
            return Err(format!("a probe: {}", code_name(code)));
        }
        latencies.push(due.elapsed());
        due += Duration::from_secs(1) / RATE;
    }
    Ok(latencies)
}

/// A batch of one record of so many bytes.
pub(super) fn produce(partition: i32, bytes: usize, acks: i16) -> ProduceRequest<'static> {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(-1, None, Some(&vec![7; bytes]), []);
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 60_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(builder.build(0, -1).into()),
            }],
            ..TopicProduceData::default()
        }],
    }
}
