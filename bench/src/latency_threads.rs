//! The threads of a latency run: one writes at the appointed times, one per broker reads acknowledgements, one per
//! broker consumes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use millstream_client::BrokerCode;
use millstream_protocol::ApiKey;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use millstream_protocol::records::{BatchBuilder, Codec, batches, records_of};

use crate::produce::{check, milliseconds_now};
use crate::report::Latencies;
use crate::template::sequence_after;
use crate::wire::{self, Receiver, Sender};

/// Marks values of this run, in front of the time.
const FETCH_WAIT_MS: i32 = 500;
/// How long the consumer waits for records after the last one was sent.
const GRACE: Duration = Duration::from_secs(30);

/// A broker and what it leads.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) address: String,
    pub(crate) produce_version: i16,
    pub(crate) fetch_version: i16,
    /// Partition and the offset from which it is read.
    pub(crate) partitions: Vec<(i32, i64)>,
}

/// What to send and when.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) topic: Arc<str>,
    pub(crate) topic_id: [u8; 16],
    pub(crate) routes: Vec<Route>,
    pub(crate) producer: Option<(i64, i16)>,
    pub(crate) acks: i16,
    pub(crate) interval: Duration,
    /// Requests sent before the measured ones.
    pub(crate) warmup: u64,
    /// Requests measured.
    pub(crate) requests: u64,
    pub(crate) record_size: usize,
    pub(crate) records_per_request: usize,
    pub(crate) consume: bool,
    pub(crate) spin: Duration,
    pub(crate) start: Instant,
}

impl Plan {
    /// When request `index` should be sent.
    fn due(&self, index: u64) -> Instant {
        self.start + Duration::from_secs_f64(self.interval.as_secs_f64() * index as f64)
    }

    fn total(&self) -> u64 {
        self.warmup + self.requests
    }

    fn is_measured(&self, index: u64) -> bool {
        index >= self.warmup
    }
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) acknowledged: Latencies,
    pub(crate) consumed: Option<Latencies>,
    pub(crate) late: Latencies,
    /// The measured part, from its first appointed time.
    pub(crate) elapsed: Duration,
}

/// Runs the plan.
pub(crate) fn run_threads(plan: Plan) -> anyhow::Result<Outcome> {
    let plan = &plan;
    let consumed_count = &AtomicU64::new(0);
    thread::scope(|scope| {
        let mut senders = Vec::new();
        let mut acknowledgers = Vec::new();
        let mut consumers = Vec::new();
        for route in &plan.routes {
            let (sender, receiver) = wire::connect(&route.address)?;
            let (tell, told) = mpsc::channel();
            senders.push((sender, tell));
            let version = route.produce_version;
            acknowledgers.push(scope.spawn(move || acknowledge(plan, version, receiver, &told)));
            if plan.consume {
                let ends = wire::connect(&route.address)?;
                consumers.push(scope.spawn(move || consume(plan, route, ends, consumed_count)));
            }
        }
        let written = write(plan, &mut senders);
        if written.is_err() {
            // Wakes the readers, which would wait for ever.
            senders.iter().for_each(|(sender, _)| sender.close());
        }
        drop(senders);
        let mut acknowledged = Latencies::new();
        let mut failure = None;
        for thread in acknowledgers {
            match thread.join().map_err(|_| anyhow!("a reader panicked"))? {
                Ok(latencies) => acknowledged.add(&latencies),
                Err(error) => failure = Some(error),
            }
        }
        let elapsed = plan.due(plan.warmup).elapsed();
        let mut consumed = plan.consume.then(Latencies::new);
        for thread in consumers {
            let latencies = thread.join().map_err(|_| anyhow!("a consumer panicked"))?;
            if let (Some(consumed), Ok(latencies)) = (&mut consumed, &latencies) {
                consumed.add(latencies);
            }
            failure = failure.or(latencies.err());
        }
        let late = written?;
        match failure {
            Some(error) => Err(error),
            None => Ok(Outcome {
                acknowledged,
                consumed,
                late,
                elapsed,
            }),
        }
    })
}

fn write(plan: &Plan, senders: &mut [(Sender, mpsc::Sender<u64>)]) -> anyhow::Result<Latencies> {
    wake_in_time();
    let mut late = Latencies::new();
    let mut lanes = Vec::new();
    for (at, route) in plan.routes.iter().enumerate() {
        lanes.extend(
            route
                .partitions
                .iter()
                .map(|&(partition, _)| (at, partition)),
        );
    }
    let mut sequences: HashMap<i32, i32> = HashMap::new();
    let mut value = vec![b'.'; plan.record_size];
    for index in 0..plan.total() {
        let (at, partition) = lanes[index as usize % lanes.len()];
        let sequence = sequences.entry(partition).or_insert(0);
        value[..8].copy_from_slice(&index.to_be_bytes());
        let request = request(plan, partition, *sequence, &value);
        *sequence = sequence_after(*sequence, plan.records_per_request as i32);
        let due = plan.due(index);
        wait_until(due, plan.spin);
        if plan.is_measured(index) {
            late.record(due.elapsed());
        }
        let (sender, tell) = &mut senders[at];
        // Told first: the answer must not come before its time is known.
        let _ = tell.send(index);
        sender
            .send(&request, plan.routes[at].produce_version)
            .context("cannot send")?;
    }
    Ok(late)
}

fn request<'a>(plan: &'a Plan, partition: i32, sequence: i32, value: &[u8]) -> ProduceRequest<'a> {
    let mut builder = BatchBuilder::new(Codec::None);
    if let Some((id, epoch)) = plan.producer {
        builder.set_producer(id, epoch, sequence);
    }
    let timestamp = milliseconds_now();
    for _ in 0..plan.records_per_request {
        builder.push(timestamp, None, Some(value), []);
    }
    ProduceRequest {
        transactional_id: None,
        acks: plan.acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: Cow::Borrowed(&plan.topic),
            topic_id: plan.topic_id,
            partition_data: vec![PartitionProduceData {
                index: partition,
                records: Some(builder.build(0, -1).into()),
            }],
        }],
    }
}

/// Has the system wake this thread when it asks to be, and not when that suits others too: by default up to
/// 50 µs later, which would count as the broker's.
fn wake_in_time() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}

/// Sleeps until shortly before the time, then spins if asked to.
fn wait_until(due: Instant, spin: Duration) {
    let now = Instant::now();
    if let Some(sleep) = due.checked_duration_since(now + spin) {
        thread::sleep(sleep);
    }
    while Instant::now() < due {
        std::hint::spin_loop();
    }
}

fn acknowledge(
    plan: &Plan,
    version: i16,
    mut receiver: Receiver,
    told: &mpsc::Receiver<u64>,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new();
    // Ends when the writer has dropped its end.
    while let Ok(index) = told.recv() {
        let frame = receiver.receive()?;
        let now = Instant::now();
        let response: ProduceResponse<'_> = wire::decode(&frame, ApiKey::Produce, version)?;
        check(&response)?;
        if plan.is_measured(index) {
            latencies.record(now.saturating_duration_since(plan.due(index)));
        }
    }
    Ok(latencies)
}

fn consume(
    plan: &Plan,
    route: &Route,
    (mut sender, mut receiver): (Sender, Receiver),
    consumed: &AtomicU64,
) -> anyhow::Result<Latencies> {
    let mut latencies = Latencies::new();
    let mut positions = route.partitions.clone();
    let expected = plan.total() * plan.records_per_request as u64;
    let deadline = plan.due(plan.total()) + GRACE;
    while consumed.load(Ordering::Relaxed) < expected {
        if Instant::now() > deadline {
            bail!(
                "only {} of {expected} records came back within {GRACE:?} after the last was sent",
                consumed.load(Ordering::Relaxed)
            );
        }
        let partitions = positions.iter().map(|&(partition, offset)| FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        });
        let request = FetchRequest {
            max_wait_ms: FETCH_WAIT_MS,
            min_bytes: 1,
            max_bytes: 50 << 20,
            topics: vec![FetchTopic {
                topic: Cow::Borrowed(&plan.topic),
                topic_id: plan.topic_id,
                partitions: partitions.collect(),
            }],
            ..Default::default()
        };
        sender.send(&request, route.fetch_version)?;
        let frame = receiver.receive()?;
        let now = Instant::now();
        let response: FetchResponse<'_> = wire::decode(&frame, ApiKey::Fetch, route.fetch_version)?;
        for partition in response.responses.into_iter().flat_map(|t| t.partitions) {
            if let Some(code) = BrokerCode::of(partition.error_code) {
                bail!(
                    "partition {} cannot be read: {code}",
                    partition.partition_index
                );
            }
            let records = partition.records.unwrap_or_default().to_bytes();
            let position = positions
                .iter_mut()
                .find(|(index, _)| *index == partition.partition_index)
                .context("the answer speaks of a partition that was not asked for")?;
            let count = take(plan, &records, &mut position.1, now, &mut latencies)?;
            consumed.fetch_add(count, Ordering::Relaxed);
        }
    }
    Ok(latencies)
}

/// Times the records of an answer; returns how many there were.
fn take(
    plan: &Plan,
    records: &[u8],
    position: &mut i64,
    now: Instant,
    latencies: &mut Latencies,
) -> anyhow::Result<u64> {
    let mut count = 0;
    for batch in batches(records) {
        let (header, bytes) = batch?;
        for record in &records_of(&header, bytes)? {
            let record = record?;
            let index = record.value.and_then(|value| value.first_chunk::<8>());
            let index = index.map(|index| u64::from_be_bytes(*index));
            let Some(index) = index.filter(|index| *index < plan.total()) else {
                bail!("somebody else writes to this topic; name another --topic");
            };
            if record.offset < *position {
                continue;
            }
            count += 1;
            if plan.is_measured(index) {
                latencies.record(now.saturating_duration_since(plan.due(index)));
            }
        }
        *position = header.next_offset().max(*position);
    }
    Ok(count)
}
