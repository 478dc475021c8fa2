//! `bench consume`: reads a topic from its first offset to the end it has at the start, and counts by batch headers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use millstream_cli::parse_size;
use millstream_client::{BrokerCode, Connection, OffsetSpec};
use millstream_protocol::ApiKey;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::{FetchRequest, FetchResponse};
use millstream_protocol::records::{batches, check_crc};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::common::{Common, Target};
use crate::process::{BrokerUse, Usage};
use crate::produce::LAST_VERSION_WITH_NAMES;
use crate::report::{Report, Throughput};

/// How long a broker waits when there is nothing to read.
const WAIT: Duration = Duration::from_millis(500);

/// Arguments of `bench consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Consumers, each with its own connections; partitions are dealt out among them
    #[arg(long, value_name = "N", default_value_t = 1)]
    consumers: usize,
    /// Bytes of a partition in one answer
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = parse_size)]
    partition_bytes: u64,
    /// Bytes of one answer
    #[arg(long, value_name = "SIZE", default_value = "50m", value_parser = parse_size)]
    fetch_bytes: u64,
    /// Read the topic this many times
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u32,
    /// Check the checksum of every batch
    #[arg(long)]
    check_crc: bool,
}

#[derive(Debug, Serialize)]
struct Settings {
    consumers: usize,
    partition_bytes: u64,
    fetch_bytes: u64,
    rounds: u32,
    check_crc: bool,
}

impl ConsumeArgs {
    /// How many threads make the load.
    pub(crate) fn threads(&self) -> usize {
        self.common.threads(self.consumers)
    }

    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if self.consumers == 0 {
            bail!("--consumers must be at least 1");
        }
        let target = self.common.target(None).await?;
        let readers = self.readers(&target).await?;
        if readers.iter().all(Reader::is_done) {
            bail!(
                "topic `{}` is empty; write something with `bench produce` first",
                self.common.topic
            );
        }
        let generator_before = Usage::of_self()?;
        let broker_before = self.common.pid.map(Usage::of).transpose()?;
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for reader in readers {
            tasks.spawn(reader.run(self.rounds));
        }
        let mut total = Counts::default();
        while let Some(finished) = tasks.join_next().await {
            let counts = finished.context("a consumer panicked")??;
            total.records += counts.records;
            total.bytes += counts.bytes;
            total.requests += counts.requests;
        }
        let elapsed = start.elapsed();
        let broker_after = self.common.pid.map(Usage::of).transpose()?;
        let generator = Usage::of_self()?.cpu_seconds - generator_before.cpu_seconds;
        let broker = broker_before.zip(broker_after).map(|(before, after)| {
            let seconds = elapsed.as_secs_f64();
            BrokerUse::between(before, after, seconds, total.bytes, total.requests)
        });
        let report = Report {
            benchmark: "consume",
            address: self.common.cluster.addresses(),
            settings: Settings {
                consumers: self.consumers,
                partition_bytes: self.partition_bytes,
                fetch_bytes: self.fetch_bytes,
                rounds: self.rounds,
                check_crc: self.check_crc,
            },
            throughput: Throughput::new(elapsed, total.records, total.requests, total.bytes),
            acknowledgement: None,
            end_to_end: None,
            send_lateness: None,
            generator_cpu_seconds: generator,
            broker,
        };
        report.print(self.common.output)
    }

    /// One reader per consumer and leader.
    async fn readers(&self, target: &Target) -> anyhow::Result<Vec<Reader>> {
        let first = target.offsets(OffsetSpec::Earliest).await?;
        let end = target.offsets(OffsetSpec::Latest).await?;
        let mut grouped: BTreeMap<(usize, String), Vec<Span>> = BTreeMap::new();
        for (partition, address) in target.leaders().await? {
            let consumer = partition as usize % self.consumers;
            grouped.entry((consumer, address)).or_default().push(Span {
                partition,
                first: first[&partition],
                next: first[&partition],
                end: end[&partition],
            });
        }
        let mut readers = Vec::new();
        for ((_, address), spans) in grouped {
            let connection = target.connect(&address).await?;
            let at_most = if target.topic.id == [0; 16] {
                LAST_VERSION_WITH_NAMES
            } else {
                i16::MAX
            };
            readers.push(Reader {
                version: connection.version_of(ApiKey::Fetch, at_most)?,
                connection,
                topic: target.topic.name.to_string(),
                topic_id: target.topic.id,
                partition_bytes: self.partition_bytes as i32,
                fetch_bytes: self.fetch_bytes as i32,
                check_crc: self.check_crc,
                spans,
                counts: Counts::default(),
            });
        }
        Ok(readers)
    }
}

/// What was read.
#[derive(Debug, Default)]
struct Counts {
    records: u64,
    bytes: u64,
    requests: u64,
}

/// What is to be read of a partition.
#[derive(Debug, Clone)]
struct Span {
    partition: i32,
    first: i64,
    next: i64,
    end: i64,
}

/// Reads partitions of one leader over one connection.
#[derive(Debug)]
struct Reader {
    connection: Connection,
    version: i16,
    topic: String,
    topic_id: [u8; 16],
    partition_bytes: i32,
    fetch_bytes: i32,
    check_crc: bool,
    spans: Vec<Span>,
    counts: Counts,
}

impl Reader {
    fn is_done(&self) -> bool {
        self.spans.iter().all(|span| span.next >= span.end)
    }

    async fn run(mut self, rounds: u32) -> anyhow::Result<Counts> {
        for _ in 0..rounds {
            for span in &mut self.spans {
                span.next = span.first;
            }
            while !self.is_done() {
                self.fetch().await?;
                // The first partition of a request is always served, so each gets its turn.
                self.spans.rotate_left(1);
            }
        }
        Ok(self.counts)
    }

    async fn fetch(&mut self) -> anyhow::Result<()> {
        let wanted = self.spans.iter().filter(|span| span.next < span.end);
        let request = FetchRequest {
            max_wait_ms: WAIT.as_millis() as i32,
            min_bytes: 1,
            max_bytes: self.fetch_bytes,
            topics: vec![FetchTopic {
                topic: Cow::Borrowed(&self.topic),
                topic_id: self.topic_id,
                partitions: wanted
                    .map(|span| FetchPartition {
                        partition: span.partition,
                        fetch_offset: span.next,
                        partition_max_bytes: self.partition_bytes,
                        ..Default::default()
                    })
                    .collect(),
            }],
            ..Default::default()
        };
        let pending = self.connection.submit(&request, self.version, WAIT).await?;
        let answer = pending.await?;
        let response: FetchResponse<'_> = answer.decode()?;
        if let Some(code) = BrokerCode::of(response.error_code) {
            bail!("a fetch failed: {code}");
        }
        self.counts.requests += 1;
        for partition in response.responses.into_iter().flat_map(|t| t.partitions) {
            let index = partition.partition_index;
            if let Some(code) = BrokerCode::of(partition.error_code) {
                bail!("partition {index} cannot be read: {code}");
            }
            let span = self.spans.iter_mut().find(|span| span.partition == index);
            let Some(span) = span else {
                bail!("the answer speaks of partition {index}, which was not asked for");
            };
            let records = partition.records.unwrap_or_default().to_bytes();
            for batch in batches(&records) {
                let (header, bytes) = batch.with_context(|| format!("partition {index}"))?;
                if self.check_crc {
                    check_crc(bytes).with_context(|| format!("partition {index}"))?;
                }
                self.counts.records += header.record_count.max(0) as u64;
                self.counts.bytes += bytes.len() as u64;
                span.next = span.next.max(header.next_offset());
            }
        }
        Ok(())
    }
}
