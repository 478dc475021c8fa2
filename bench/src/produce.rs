//! `bench produce`: prebuilt batches, as many on their way as allowed, until enough are acknowledged.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::Args;
use millstream_cli::parse_size;
use millstream_client::{BrokerCode, Connection, Pending};
use millstream_protocol::ApiKey;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{ProduceRequest, ProduceResponse};
use millstream_protocol::records::Codec;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::common::{Common, Target};
use crate::process::{BrokerUse, Usage};
use crate::report::{Latencies, Report, Throughput};
use crate::template::{Shape, Template, records_in, sequence_after};

/// The last version of Produce that names topics instead of giving their ids.
pub(crate) const LAST_VERSION_WITH_NAMES: i16 = 12;
/// How long the broker may wait for replicas.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Arguments of `bench produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Partitions of the topic
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions: i32,
    /// How many records [default: as --bytes says]
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// How many bytes of record values
    #[arg(long, value_name = "SIZE", default_value = "1g", value_parser = parse_size)]
    bytes: u64,
    /// Bytes of a record's value
    #[arg(long, value_name = "SIZE", default_value = "1024", value_parser = parse_size)]
    record_size: u64,
    /// Largest batch; 1 sends one record at a time
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = parse_size)]
    batch_bytes: u64,
    /// Records per batch, in place of --batch-bytes
    #[arg(long, value_name = "N")]
    records_per_batch: Option<u64>,
    /// Producers, each with its own connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    producers: usize,
    /// Requests that each producer has on their way
    #[arg(long, value_name = "N", default_value_t = 5)]
    in_flight: usize,
    /// Partitions that a request has a batch for, as a producer with more than one to send does (Java's sends up to 1 MiB)
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions_per_request: usize,
    /// Who must have a batch before it counts: all, 1, 0
    #[arg(long, value_name = "all|1|0", default_value = "all", value_parser = acks)]
    acks: i16,
    /// Compression of batches: none, gzip, snappy, lz4, zstd
    #[arg(long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Codec,
    /// Send without producer id and sequence
    #[arg(long)]
    no_idempotence: bool,
    /// A directory on the broker's disk: end with a sync of its file system (syncfs), inside the time
    #[arg(long, value_name = "DIR")]
    sync_directory: Option<PathBuf>,
}

pub(crate) fn acks(text: &str) -> Result<i16, String> {
    match text {
        "all" | "-1" => Ok(-1),
        "1" => Ok(1),
        "0" => Ok(0),
        _ => Err("write all, 1 or 0".to_owned()),
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    Codec::from_name(text).ok_or_else(|| "write none, gzip, snappy, lz4 or zstd".to_owned())
}

#[derive(Debug, Serialize)]
struct Settings {
    partitions: i32,
    record_size: u64,
    partitions_per_request: usize,
    records_per_batch: usize,
    producers: usize,
    in_flight: usize,
    acks: i16,
    compression: &'static str,
    idempotent: bool,
}

impl ProduceArgs {
    /// How many threads make the load.
    pub(crate) fn threads(&self) -> usize {
        self.common.threads(self.producers)
    }

    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.producers == 0 || self.in_flight == 0 || self.record_size == 0 {
            bail!("--producers, --in-flight and --record-size must be at least 1");
        }
        let target = self.common.target(Some(self.partitions)).await?;
        if !(1..=self.partitions as usize).contains(&self.partitions_per_request) {
            bail!("--partitions-per-request must be from 1 to --partitions");
        }
        let idempotent = !self.no_idempotence && self.acks == -1;
        let in_flight_max = 5 * self.partitions as usize / self.partitions_per_request;
        if idempotent && self.in_flight > in_flight_max {
            bail!(
                "an idempotent producer may have 5 batches of a partition on their way: lower --in-flight to {in_flight_max}, or say --no-idempotence",
            );
        }
        let per_batch = match self.records_per_batch {
            Some(records) => (records as usize).max(1),
            None => records_in(self.batch_bytes as usize, self.record_size as usize),
        };
        let records = self.records.unwrap_or(self.bytes / self.record_size).max(1);
        let per_request = (per_batch * self.partitions_per_request) as u64;
        let requests = records.div_ceil(per_request);
        let mut loads = Vec::new();
        for producer in 0..self.producers {
            loads.push(self.load(&target, producer, per_batch, idempotent).await?);
        }

        let remaining = Arc::new(AtomicU64::new(requests));
        let generator_before = Usage::of_self()?;
        let broker_before = self.common.pid.map(Usage::of).transpose()?;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for load in loads {
            tasks.spawn(load.run(Arc::clone(&remaining)));
        }
        let mut latencies = Latencies::new();
        while let Some(finished) = tasks.join_next().await {
            latencies.add(&finished.context("a producer panicked")??);
        }
        if let Some(directory) = &self.sync_directory {
            sync_file_system(directory)?;
        }
        let elapsed = start.elapsed();
        let broker_after = self.common.pid.map(Usage::of).transpose()?;
        let generator = Usage::of_self()?.cpu_seconds - generator_before.cpu_seconds;

        let records = requests * per_request;
        let bytes = records * self.record_size;
        let broker = broker_before.zip(broker_after).map(|(before, after)| {
            BrokerUse::between(before, after, elapsed.as_secs_f64(), bytes, requests)
        });
        let report = Report {
            benchmark: "produce",
            address: self.common.cluster.addresses(),
            settings: Settings {
                partitions: self.partitions,
                record_size: self.record_size,
                partitions_per_request: self.partitions_per_request,
                records_per_batch: per_batch,
                producers: self.producers,
                in_flight: self.in_flight,
                acks: self.acks,
                compression: self.compression.name(),
                idempotent,
            },
            throughput: Throughput::new(elapsed, records, requests, bytes),
            acknowledgement: (self.acks != 0).then(|| latencies.percentiles()),
            end_to_end: None,
            send_lateness: None,
            generator_cpu_seconds: generator,
            broker,
        };
        report.print(self.common.output)
    }

    async fn load(
        &self,
        target: &Target,
        number: usize,
        records: usize,
        idempotent: bool,
    ) -> anyhow::Result<Load> {
        let producer = if idempotent {
            Some(target.producer_id().await?)
        } else {
            None
        };
        let template = Template::new(&Shape {
            records,
            record_size: self.record_size as usize,
            codec: self.compression,
            producer,
            timestamp: milliseconds_now(),
        });
        let mut connections: HashMap<String, Connection> = HashMap::new();
        let mut lanes = Vec::new();
        let leaders: BTreeMap<i32, String> = target.leaders().await?;
        for (partition, address) in leaders {
            let connection = match connections.get(&address) {
                Some(connection) => connection.clone(),
                None => {
                    let connection = target.connect(&address).await?;
                    connections.insert(address, connection.clone());
                    connection
                }
            };
            let at_most = if target.topic.id == [0; 16] {
                LAST_VERSION_WITH_NAMES
            } else {
                i16::MAX
            };
            lanes.push(Lane {
                version: connection.version_of(ApiKey::Produce, at_most)?,
                connection,
                partition,
                sequence: 0,
            });
        }
        if self.partitions_per_request > 1 && connections.len() > 1 {
            bail!(
                "--partitions-per-request above 1 needs a topic whose partitions all have one leader"
            );
        }
        // Producers begin at different partitions, so that a few of them do not move in step.
        let count = lanes.len();
        lanes.rotate_left(number % count);
        Ok(Load {
            template,
            topic: target.topic.name.to_string(),
            topic_id: target.topic.id,
            acks: self.acks,
            in_flight: self.in_flight,
            per_request: self.partitions_per_request,
            lanes,
        })
    }
}

/// One partition of one producer.
#[derive(Debug)]
struct Lane {
    connection: Connection,
    version: i16,
    partition: i32,
    sequence: i32,
}

/// One producer.
#[derive(Debug)]
struct Load {
    template: Template,
    topic: String,
    topic_id: [u8; 16],
    acks: i16,
    in_flight: usize,
    per_request: usize,
    lanes: Vec<Lane>,
}

impl Load {
    async fn run(mut self, remaining: Arc<AtomicU64>) -> anyhow::Result<Latencies> {
        let mut latencies = Latencies::new();
        let mut waiting: VecDeque<(Instant, Pending)> = VecDeque::with_capacity(self.in_flight);
        let mut turn = 0;
        while take_one(&remaining) {
            if waiting.len() >= self.in_flight {
                finish(waiting.pop_front(), &mut latencies).await?;
            }
            let sent = Instant::now();
            if let Some(pending) = self.send(turn).await? {
                waiting.push_back((sent, pending));
            }
            turn = (turn + self.per_request) % self.lanes.len();
        }
        while !waiting.is_empty() {
            finish(waiting.pop_front(), &mut latencies).await?;
        }
        if self.acks == 0 {
            self.wait_until_read().await?;
        }
        Ok(latencies)
    }

    async fn send(&mut self, turn: usize) -> anyhow::Result<Option<Pending>> {
        let count = self.lanes.len();
        let partition_data = (0..self.per_request)
            .map(|step| {
                let lane = &mut self.lanes[(turn + step) % count];
                let records = self.template.stamped(lane.sequence);
                lane.sequence = sequence_after(lane.sequence, self.template.record_count());
                PartitionProduceData {
                    index: lane.partition,
                    records: Some(records.into()),
                }
            })
            .collect();
        let request = ProduceRequest {
            transactional_id: None,
            acks: self.acks,
            timeout_ms: TIMEOUT.as_millis() as i32,
            topic_data: vec![TopicProduceData {
                name: Cow::Borrowed(&self.topic),
                topic_id: self.topic_id,
                partition_data,
            }],
        };
        let lane = &self.lanes[turn];
        if self.acks == 0 {
            lane.connection
                .submit_unanswered(&request, lane.version)
                .await?;
            return Ok(None);
        }
        let pending = lane.connection.submit(&request, lane.version, TIMEOUT);
        Ok(Some(pending.await?))
    }

    /// Requests without answers are done when a later request on the same connection is answered.
    async fn wait_until_read(&self) -> anyhow::Result<()> {
        for lane in &self.lanes {
            let request = millstream_protocol::messages::ApiVersionsRequest {
                client_software_name: "millstream-bench".into(),
                client_software_version: env!("CARGO_PKG_VERSION").into(),
                ..Default::default()
            };
            lane.connection.call(&request).await?;
        }
        Ok(())
    }
}

/// What a broker that does not sync has left to the kernel is part of the work.
fn sync_file_system(directory: &Path) -> anyhow::Result<()> {
    let synced = File::open(directory).and_then(|opened| Ok(rustix::fs::syncfs(opened)?));
    synced.with_context(|| format!("cannot sync --sync-directory {}", directory.display()))
}

fn take_one(remaining: &AtomicU64) -> bool {
    remaining
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        })
        .is_ok()
}

async fn finish(
    waiting: Option<(Instant, Pending)>,
    latencies: &mut Latencies,
) -> anyhow::Result<()> {
    let Some((sent, pending)) = waiting else {
        return Ok(());
    };
    let answer = pending.await?;
    latencies.record(sent.elapsed());
    check(&answer.decode()?)
}

/// *Errors*: a partition refused its batch. A measurement with errors is none, so nothing is tried again.
pub(crate) fn check(response: &ProduceResponse<'_>) -> anyhow::Result<()> {
    for topic in &response.responses {
        for partition in &topic.partition_responses {
            if let Some(code) = BrokerCode::of(partition.error_code) {
                let message = partition.error_message.as_deref().unwrap_or_default();
                bail!(
                    "partition {} refused a batch: {code} {message}",
                    partition.index
                );
            }
        }
    }
    Ok(())
}

pub(crate) fn milliseconds_now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as i64)
}
