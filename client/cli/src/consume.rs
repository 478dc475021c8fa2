//! `consume`: reads records and prints them.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use millstream_client::{
    Admin, Cluster, CommittedOffset, Consumer, ConsumerConfig, ConsumerRecord, Isolation,
    OffsetReset, OffsetSpec, TopicPartition,
};
use millstream_protocol::records::TimestampType;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::cluster::{ClusterArgs, find_topic};
use crate::encoding::put_bytes;
use crate::{Output, parse_duration};

/// Time between commits while records come.
const COMMIT_INTERVAL: Duration = Duration::from_secs(5);
/// Longest wait of one poll, and time between warnings.
const POLL: Duration = Duration::from_secs(1);

/// Arguments of `consume`.
#[derive(Debug, Args)]
pub struct ConsumeArgs {
    /// The topic's name
    topic: String,
    /// Where to begin: beginning, end, an offset, or @MILLISECONDS (a time since 1970)
    /// [default: the group's committed offset, else end]
    #[arg(long, value_name = "WHERE", value_parser = from)]
    from: Option<From>,
    /// Read only this partition; may be repeated
    #[arg(long = "partition", short, value_name = "N")]
    partitions: Vec<i32>,
    /// End after this many records; it is an error if --timeout passes first
    #[arg(long, short = 'n', value_name = "N")]
    count: Option<u64>,
    /// End when no record came for this long
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// End at the ends that the partitions have at the start
    #[arg(long)]
    exit_at_end: bool,
    /// Begin at this group's committed offsets, and commit what was printed
    #[arg(long, short, value_name = "GROUP")]
    group: Option<String>,
    /// Leave out records of transactions that are open or were aborted
    #[arg(long)]
    read_committed: bool,
    /// In text, print the key and this text before the value
    #[arg(long, short = 'k', value_name = "TEXT")]
    key_separator: Option<String>,
    /// In text, print partition, offset, timestamp and headers before each record
    #[arg(long, short)]
    long: bool,
    /// How to print: text is one value per line, json one object per line
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Spec(OffsetSpec),
    Offset(i64),
}

fn from(text: &str) -> Result<From, String> {
    match text {
        "beginning" => Ok(From::Spec(OffsetSpec::Earliest)),
        "end" => Ok(From::Spec(OffsetSpec::Latest)),
        _ => {
            let number = text.strip_prefix('@').unwrap_or(text);
            let value: i64 = number
                .parse()
                .ok()
                .filter(|value| *value >= 0)
                .ok_or("write beginning, end, an offset from 0, or @MILLISECONDS")?;
            Ok(if text.starts_with('@') {
                From::Spec(OffsetSpec::Timestamp(value))
            } else {
                From::Offset(value)
            })
        }
    }
}

impl ConsumeArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let cluster = self.cluster.connect().await?;
        let mut consumer = Consumer::new(cluster.clone(), self.consumer_config());
        consumer.assign(self.targets(&cluster).await?);
        let ends = if self.exit_at_end {
            Some(self.ends(&cluster, &consumer).await?)
        } else {
            None
        };
        let targets: Vec<TopicPartition> = consumer.assigned().cloned().collect();
        for target in &targets {
            match self.from {
                Some(From::Spec(spec)) => consumer.seek_to(target, spec),
                Some(From::Offset(offset)) => consumer.seek(target, offset),
                None => {}
            }
        }
        let mut printed = Printed::default();
        let interrupted = tokio::signal::ctrl_c();
        let result = tokio::select! {
            result = self.read(&mut consumer, ends.as_ref(), &mut printed) => result,
            _ = interrupted => Ok(()),
        };
        if self.group.is_some() {
            consumer
                .commit_offsets(&printed.offsets)
                .await
                .context("the last records were printed but not committed")?;
        }
        match result {
            Err(error) if is_broken_pipe(&error) => Ok(()),
            result => result,
        }
    }

    fn consumer_config(&self) -> ConsumerConfig {
        ConsumerConfig {
            group_id: self.group.clone(),
            // An explicit offset outside the log is an error, not a jump.
            offset_reset: match self.from {
                Some(From::Offset(_)) => OffsetReset::Fail,
                _ => OffsetReset::Latest,
            },
            isolation: if self.read_committed {
                Isolation::ReadCommitted
            } else {
                Isolation::ReadUncommitted
            },
            ..Default::default()
        }
    }

    async fn targets(&self, cluster: &Cluster) -> anyhow::Result<Vec<TopicPartition>> {
        let topic = find_topic(cluster, &self.topic).await?;
        if self.partitions.is_empty() {
            let all = topic.partitions.iter();
            return Ok(all
                .map(|p| TopicPartition::new(topic.name.clone(), p.index))
                .collect());
        }
        let mut targets = Vec::new();
        for &partition in &self.partitions {
            if topic.partition(partition).is_none() {
                bail!(millstream_client::ClientError::UnknownPartition {
                    topic: self.topic.clone(),
                    partition,
                    count: topic.partitions.len(),
                });
            }
            targets.push(TopicPartition::new(topic.name.clone(), partition));
        }
        Ok(targets)
    }

    async fn ends(
        &self,
        cluster: &Cluster,
        consumer: &Consumer,
    ) -> anyhow::Result<BTreeMap<TopicPartition, i64>> {
        let isolation = self.consumer_config().isolation;
        let wanted = consumer
            .assigned()
            .map(|target| (target.clone(), OffsetSpec::Latest))
            .collect();
        let listed = Admin::new(cluster.clone())
            .list_offsets(&wanted, isolation)
            .await?;
        Ok(listed
            .into_iter()
            .map(|(target, listed)| (target, listed.offset.unwrap_or(0)))
            .collect())
    }

    async fn read(
        &self,
        consumer: &mut Consumer,
        ends: Option<&BTreeMap<TopicPartition, i64>>,
        printed: &mut Printed,
    ) -> anyhow::Result<()> {
        let mut last_record = Instant::now();
        let mut last_commit = Instant::now();
        let mut last_warning = Instant::now();
        loop {
            if self.count.is_some_and(|count| printed.count >= count) {
                return Ok(());
            }
            if ends.is_some_and(|ends| is_at_end(consumer, ends)) {
                return self.check_count(printed, "at the end of the partitions");
            }
            let wait = self.timeout.map_or(POLL, |timeout| timeout.min(POLL));
            let records = consumer.poll(wait).await?;
            let now = Instant::now();
            if records.is_empty() {
                if self.timeout.is_some_and(|t| now - last_record >= t) {
                    return self.check_count(printed, "before --timeout");
                }
                if let Some(trouble) = consumer.trouble()
                    && now - last_warning >= POLL
                {
                    eprintln!("waiting: {trouble}");
                    last_warning = now;
                }
                continue;
            }
            last_record = now;
            printed.begin(&records, consumer);
            self.print(&records, ends, printed)?;
            if self.group.is_some() && now - last_commit >= COMMIT_INTERVAL {
                consumer.commit_offsets(&printed.offsets).await?;
                last_commit = now;
            }
        }
    }

    fn check_count(&self, printed: &Printed, when: &str) -> anyhow::Result<()> {
        match self.count {
            Some(count) if printed.count < count => {
                bail!("only {} of {count} records came {when}", printed.count)
            }
            _ => Ok(()),
        }
    }

    fn print(
        &self,
        records: &[ConsumerRecord],
        ends: Option<&BTreeMap<TopicPartition, i64>>,
        printed: &mut Printed,
    ) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        let mut lines = Vec::new();
        for record in records {
            if self.count.is_some_and(|count| printed.count >= count) {
                break;
            }
            let target = TopicPartition::new(record.topic.clone(), record.partition);
            let end = ends.and_then(|ends| ends.get(&target));
            if end.is_some_and(|end| record.offset >= *end) {
                continue;
            }
            match self.output {
                Output::Text => self.put_text(&mut lines, record),
                Output::Json => put_json(&mut lines, record)?,
            }
            printed.count += 1;
            let position = CommittedOffset {
                offset: record.offset + 1,
                leader_epoch: record.leader_epoch,
                metadata: String::new(),
            };
            printed.offsets.insert(target, position);
        }
        out.write_all(&lines)?;
        out.flush()?;
        Ok(())
    }

    fn put_text(&self, lines: &mut Vec<u8>, record: &ConsumerRecord) {
        if self.long {
            let headers: Vec<String> = record
                .headers
                .iter()
                .map(|(name, value)| {
                    let value = value.as_deref().unwrap_or(b"null");
                    format!(
                        "{}={}",
                        String::from_utf8_lossy(name),
                        String::from_utf8_lossy(value)
                    )
                })
                .collect();
            lines.extend(
                format!(
                    "{}\t{}\t{}\t{}\t",
                    record.partition,
                    record.offset,
                    record.timestamp,
                    headers.join(",")
                )
                .bytes(),
            );
        }
        if let Some(separator) = &self.key_separator {
            lines.extend(record.key.as_deref().unwrap_or(b"null"));
            lines.extend(separator.bytes());
        }
        lines.extend(record.value.as_deref().unwrap_or(b"null"));
        lines.push(b'\n');
    }
}

fn put_json(lines: &mut Vec<u8>, record: &ConsumerRecord) -> anyhow::Result<()> {
    let mut object = Map::new();
    object.insert("topic".into(), json!(&*record.topic));
    object.insert("partition".into(), json!(record.partition));
    object.insert("offset".into(), json!(record.offset));
    object.insert("timestamp".into(), json!(record.timestamp));
    let timestamp_type = match record.timestamp_type {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    object.insert("timestamp_type".into(), json!(timestamp_type));
    put_bytes(&mut object, "key", record.key.as_deref());
    put_bytes(&mut object, "value", record.value.as_deref());
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = Map::new();
        put_bytes(&mut header, "name", Some(name));
        put_bytes(&mut header, "value", value.as_deref());
        Value::from(header)
    });
    object.insert("headers".into(), headers.collect());
    serde_json::to_writer(&mut *lines, &object)?;
    lines.push(b'\n');
    Ok(())
}

/// How much was printed, and where to go on.
#[derive(Debug, Default)]
struct Printed {
    count: u64,
    offsets: BTreeMap<TopicPartition, CommittedOffset>,
}

impl Printed {
    /// Notes where each partition begins before anything of it is printed, so that a commit covers all of them: one
    /// without a printed record would else begin at its end the next time.
    fn begin(&mut self, records: &[ConsumerRecord], consumer: &Consumer) {
        for target in consumer.assigned() {
            if self.offsets.contains_key(target) {
                continue;
            }
            let first = records
                .iter()
                .find(|record| record.partition == target.partition)
                .map(|record| record.offset);
            if let Some(offset) = first.or_else(|| consumer.position(target)) {
                self.offsets
                    .insert(target.clone(), CommittedOffset::at(offset));
            }
        }
    }
}

fn is_at_end(consumer: &Consumer, ends: &BTreeMap<TopicPartition, i64>) -> bool {
    ends.iter().all(|(target, end)| {
        consumer
            .position(target)
            .is_some_and(|position| position >= *end)
    })
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        assert_eq!(from("beginning"), Ok(From::Spec(OffsetSpec::Earliest)));
        assert_eq!(from("end"), Ok(From::Spec(OffsetSpec::Latest)));
        assert_eq!(from("42"), Ok(From::Offset(42)));
        assert_eq!(from("@1000"), Ok(From::Spec(OffsetSpec::Timestamp(1000))));
        assert!(from("-1").is_err());
        assert!(from("begin").is_err());
    }
}
