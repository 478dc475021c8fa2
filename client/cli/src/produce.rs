//! `produce`: one record per line.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use millstream_client::{Acks, Delivery, Producer, ProducerConfig, Record};
use millstream_protocol::records::Codec;
use serde_json::json;

use crate::cluster::{ClusterArgs, find_topic};
use crate::lines::read_lines;
use crate::topic::key_value;
use crate::{Output, parse_duration, parse_size};

/// Deliveries kept while more lines are read.
const OUTSTANDING: usize = 100_000;

/// Arguments of `produce`.
#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic's name
    topic: String,
    /// Read lines from this file instead of standard input
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// The key stands before this text in each line, the value behind it
    #[arg(long, short = 'k', value_name = "TEXT")]
    key_separator: Option<String>,
    /// A header for every record; may be repeated
    #[arg(long = "header", short = 'H', value_name = "NAME=VALUE", value_parser = key_value)]
    headers: Vec<(String, String)>,
    /// Write an empty value as null, which deletes the key in compacted topics
    #[arg(long)]
    empty_as_null: bool,
    /// Write to this partition; otherwise the key decides, or records are spread
    #[arg(long, short, value_name = "N")]
    partition: Option<i32>,
    /// Who must have a record before it counts: all in-sync replicas, 1 (the leader), 0 (nobody)
    #[arg(long, value_name = "all|1|0", default_value = "all", value_parser = acks)]
    acks: Acks,
    /// Compression of batches: none, gzip, snappy, lz4, zstd
    #[arg(long, short = 'z', value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Codec,
    /// Bytes of one partition gathered before they are sent
    #[arg(long, value_name = "SIZE", default_value = "64k", value_parser = parse_size)]
    batch_bytes: u64,
    /// Longest wait for more records before a batch is sent
    #[arg(long, value_name = "TIME", default_value = "5ms", value_parser = parse_duration)]
    linger: Duration,
    /// Longest request, and so the largest record
    #[arg(long, value_name = "SIZE", default_value = "1m", value_parser = parse_size)]
    request_bytes_max: u64,
    /// Let the broker create the topic if it does not exist and auto.create.topics.enable is on
    #[arg(long)]
    create: bool,
    /// How to print the summary
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArgs,
}

fn acks(text: &str) -> Result<Acks, String> {
    match text {
        "all" | "-1" => Ok(Acks::All),
        "1" => Ok(Acks::Leader),
        "0" => Ok(Acks::None),
        _ => Err("write all, 1 or 0".to_owned()),
    }
}

fn codec(text: &str) -> Result<Codec, String> {
    Codec::from_name(text).ok_or_else(|| "write none, gzip, snappy, lz4 or zstd".to_owned())
}

impl ProduceArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let mut config = self.cluster.config();
        config.allow_auto_topic_creation = self.create;
        let cluster = self.cluster.connect_with(config).await?;
        // Found before anything is read, so that a wrong name is said at once.
        find_topic(&cluster, &self.topic).await?;
        let producer = Producer::new(cluster, self.producer_config())?;
        let summary = self.write(&producer).await?;
        producer.close().await;
        summary.print(&self.topic, self.output);
        Ok(())
    }

    fn producer_config(&self) -> ProducerConfig {
        let request_bytes_max = self.request_bytes_max as usize;
        let defaults = ProducerConfig::default();
        ProducerConfig {
            batch_bytes: self.batch_bytes as usize,
            linger: self.linger,
            compression: self.compression,
            acks: self.acks,
            idempotent: self.acks == Acks::All,
            request_bytes_max,
            buffer_bytes: defaults.buffer_bytes.max(2 * request_bytes_max),
            ..defaults
        }
    }

    async fn write(&self, producer: &Producer) -> anyhow::Result<Summary> {
        let mut lines = read_lines(self.file.as_deref(), self.request_bytes_max as usize)?;
        let mut outstanding: VecDeque<Delivery> = VecDeque::new();
        let mut summary = Summary::default();
        let mut number = 0u64;
        while let Some(group) = lines.recv().await {
            for line in group? {
                number += 1;
                let record = self.record(line, number)?;
                let delivery = producer
                    .enqueue(&self.topic, record)
                    .await
                    .with_context(|| format!("line {number}"))?;
                outstanding.push_back(delivery);
            }
            while outstanding.len() > OUTSTANDING {
                summary.count(outstanding.pop_front()).await?;
            }
        }
        producer.flush().await;
        while !outstanding.is_empty() {
            summary.count(outstanding.pop_front()).await?;
        }
        Ok(summary)
    }

    fn record(&self, line: Vec<u8>, number: u64) -> anyhow::Result<Record> {
        let line = Bytes::from(line);
        let (key, value) = match &self.key_separator {
            None => (None, line),
            Some(separator) => {
                let at = find(&line, separator.as_bytes()).with_context(|| {
                    format!("line {number} has no `{separator}` between key and value; leave out --key-separator to send lines without keys")
                })?;
                (Some(line.slice(..at)), line.slice(at + separator.len()..))
            }
        };
        Ok(Record {
            key,
            value: (!self.empty_as_null || !value.is_empty()).then_some(value),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Some(Bytes::from(value.clone()))))
                .collect(),
            timestamp: None,
            partition: self.partition,
        })
    }
}

fn find(line: &[u8], separator: &[u8]) -> Option<usize> {
    if separator.is_empty() {
        return None;
    }
    line.windows(separator.len())
        .position(|window| window == separator)
}

/// What was acknowledged.
#[derive(Debug, Default)]
struct Summary {
    records: u64,
    partitions: BTreeMap<i32, (u64, Option<i64>)>,
}

impl Summary {
    async fn count(&mut self, delivery: Option<Delivery>) -> anyhow::Result<()> {
        let Some(delivery) = delivery else {
            return Ok(());
        };
        let written = delivery.wait().await.with_context(|| {
            format!(
                "{} record(s) were acknowledged before this one",
                self.records
            )
        })?;
        self.records += 1;
        let partition = self.partitions.entry(written.partition).or_default();
        partition.0 += 1;
        partition.1 = partition.1.max(written.offset);
        Ok(())
    }

    fn print(&self, topic: &str, output: Output) {
        match output {
            Output::Text => eprintln!("wrote {} record(s) to `{topic}`", self.records),
            Output::Json => {
                let partitions: Vec<_> = self
                    .partitions
                    .iter()
                    .map(|(partition, (records, last))| {
                        json!({ "partition": partition, "records": records, "last_offset": last })
                    })
                    .collect();
                let summary =
                    json!({ "topic": topic, "records": self.records, "partitions": partitions });
                println!("{summary}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_separator_divides() {
        assert_eq!(find(b"k::v::w", b"::"), Some(1));
        assert_eq!(find(b"kv", b"::"), None);
        assert_eq!(find(b"kv", b""), None);
    }

    #[test]
    fn acks_are_named_as_kafka_does() {
        assert_eq!(acks("all"), Ok(Acks::All));
        assert_eq!(acks("0"), Ok(Acks::None));
        assert!(acks("2").is_err());
    }
}
