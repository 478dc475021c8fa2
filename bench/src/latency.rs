//! `bench latency`: records at a fixed rate, each timed from when it *should* have been sent.
//!
//! A load that waits for answers slows down with the broker and hides the wait of everything it did not send
//! (coordinated omission). Here the times of sending are fixed before the run: record *i* belongs to `start + i / rate`,
//! and both latencies count from there, also when this program or the socket was late. How late it was is reported too.
//! The record carries its time, so that the consumer needs nothing but the record.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use millstream_cli::{parse_duration, parse_size};
use millstream_client::OffsetSpec;
use millstream_protocol::ApiKey;
use serde::Serialize;

use crate::common::{Common, Target};
use crate::latency_threads::{Plan, Route, run_threads};
use crate::process::{BrokerUse, Usage};
use crate::produce::{LAST_VERSION_WITH_NAMES, acks};
use crate::report::{Report, Throughput};

/// Arguments of `bench latency`.
#[derive(Debug, Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    pub(crate) common: Common,
    /// Partitions of the topic, written in turn
    #[arg(long, value_name = "N", default_value_t = 1)]
    partitions: i32,
    /// Requests per second
    #[arg(long, value_name = "N", default_value_t = 1000.0)]
    rate: f64,
    /// How long it is measured
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// How long the same load runs before it is measured
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    warmup: Duration,
    /// Bytes of a record's value, at least 8
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_size)]
    record_size: u64,
    /// Records per request
    #[arg(long, value_name = "N", default_value_t = 1)]
    records_per_request: u64,
    /// Who must have a record before it is acknowledged: all, 1
    #[arg(long, value_name = "all|1", default_value = "all", value_parser = acks)]
    acks: i16,
    /// Send without producer id and sequence
    #[arg(long)]
    no_idempotence: bool,
    /// Only time the acknowledgement
    #[arg(long)]
    no_consumer: bool,
    /// Spin this long before each time of sending, for less lateness and more processor time
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = parse_duration)]
    spin: Duration,
}

#[derive(Debug, Serialize)]
struct Settings {
    partitions: i32,
    rate: f64,
    duration_seconds: f64,
    record_size: u64,
    records_per_request: u64,
    acks: i16,
    idempotent: bool,
}

impl LatencyArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        if !(self.rate > 0.0 && self.rate <= 1e6) {
            bail!("--rate must be above 0 and at most 1000000 per second");
        }
        if self.acks == 0 {
            bail!("without acknowledgements there is nothing to time: use --acks all or 1");
        }
        let target = self.common.target(Some(self.partitions)).await?;
        let idempotent = !self.no_idempotence && self.acks == -1;
        let plan = self.plan(&target, idempotent).await?;
        let warmup = self.warmup;
        let pid = self.common.pid;
        // Both processes are looked at when the measured part begins.
        let before = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            std::thread::sleep(warmup);
            Ok((Usage::of_self()?, pid.map(Usage::of).transpose()?))
        });
        let threads = tokio::task::spawn_blocking(move || run_threads(plan));
        let outcome = threads.await.context("the measurement panicked")??;
        let (generator_before, broker_before) = before.await.context("cannot read /proc")??;
        let broker_after = pid.map(Usage::of).transpose()?;
        let generator = Usage::of_self()?.cpu_seconds - generator_before.cpu_seconds;

        let requests = outcome.acknowledged.count();
        let records = requests * self.records_per_request;
        let bytes = records * self.record_size;
        let broker = broker_before.zip(broker_after).map(|(before, after)| {
            let seconds = outcome.elapsed.as_secs_f64();
            BrokerUse::between(before, after, seconds, bytes, requests)
        });
        let report = Report {
            benchmark: "latency",
            address: self.common.cluster.addresses(),
            settings: Settings {
                partitions: self.partitions,
                rate: self.rate,
                duration_seconds: self.duration.as_secs_f64(),
                record_size: self.record_size,
                records_per_request: self.records_per_request,
                acks: self.acks,
                idempotent,
            },
            throughput: Throughput::new(outcome.elapsed, records, requests, bytes),
            acknowledgement: Some(outcome.acknowledged.percentiles()),
            end_to_end: outcome.consumed.map(|consumed| consumed.percentiles()),
            send_lateness: Some(outcome.late.percentiles()),
            generator_cpu_seconds: generator,
            broker,
        };
        report.print(self.common.output)
    }

    async fn plan(&self, target: &Target, idempotent: bool) -> anyhow::Result<Plan> {
        let ends = target.offsets(OffsetSpec::Latest).await?;
        let mut routes: BTreeMap<String, Route> = BTreeMap::new();
        let at_most = if target.topic.id == [0; 16] {
            LAST_VERSION_WITH_NAMES
        } else {
            i16::MAX
        };
        for (partition, address) in target.leaders().await? {
            if !routes.contains_key(&address) {
                let connection = target.connect(&address).await?;
                let route = Route {
                    address: address.clone(),
                    produce_version: connection.version_of(ApiKey::Produce, at_most)?,
                    fetch_version: connection.version_of(ApiKey::Fetch, at_most)?,
                    partitions: Vec::new(),
                };
                routes.insert(address.clone(), route);
            }
            if let Some(route) = routes.get_mut(&address) {
                route.partitions.push((partition, ends[&partition]));
            }
        }
        let producer = if idempotent {
            Some(target.producer_id().await?)
        } else {
            None
        };
        let requests = |time: Duration| (time.as_secs_f64() * self.rate).round() as u64;
        Ok(Plan {
            topic: Arc::clone(&target.topic.name),
            topic_id: target.topic.id,
            routes: routes.into_values().collect(),
            producer,
            acks: self.acks,
            interval: Duration::from_secs_f64(1.0 / self.rate),
            warmup: requests(self.warmup),
            requests: requests(self.duration).max(1),
            record_size: self.record_size.max(8) as usize,
            records_per_request: self.records_per_request.max(1) as usize,
            consume: !self.no_consumer,
            spin: self.spin,
            // Connections are made before the first record is due.
            start: Instant::now() + Duration::from_millis(200),
        })
    }
}
