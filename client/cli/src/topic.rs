//! `topic create|list|describe|delete`.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use millstream_client::{
    Admin, Isolation, ListedOffset, NewTopic, OffsetSpec, TopicMetadata, TopicPartition,
};
use millstream_protocol::ErrorCode;
use serde_json::json;

use crate::cluster::ClusterArgs;
use crate::encoding::topic_id;
use crate::{Output, Table};

/// Arguments of `topic`.
#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create a topic
    Create(CreateArgs),
    /// List topics
    List(ListArgs),
    /// Show a topic's partitions, their leaders, replicas and offsets
    Describe(DescribeArgs),
    /// Delete topics and all their records
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
struct CreateArgs {
    /// The topic's name
    name: String,
    /// How many partitions [default: the broker's]
    #[arg(long, short, value_name = "N")]
    partitions: Option<i32>,
    /// How many replicas each [default: the broker's]
    #[arg(long, short, value_name = "N")]
    replication_factor: Option<i16>,
    /// A setting of the topic, for example retention.ms=3600000; may be repeated
    #[arg(long = "config", short, value_name = "KEY=VALUE", value_parser = key_value)]
    config: Vec<(String, String)>,
    /// Succeed if the topic exists
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it could be created
    #[arg(long)]
    validate_only: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// Show the broker's own topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct DescribeArgs {
    /// The topic's name
    name: String,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct DeleteArgs {
    /// The topics' names
    #[arg(required = true)]
    names: Vec<String>,
    /// Succeed if a topic does not exist
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    cluster: ClusterArgs,
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not of the form KEY=VALUE")),
    }
}

impl TopicArgs {
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        match self.command {
            TopicCommand::Create(args) => create(args).await,
            TopicCommand::List(args) => list(args).await,
            TopicCommand::Describe(args) => describe(args).await,
            TopicCommand::Delete(args) => delete(args).await,
        }
    }
}

async fn create(args: CreateArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args.common.cluster.connect().await?);
    let topic = NewTopic {
        name: args.name,
        partitions: args.partitions,
        replication_factor: args.replication_factor,
        config: args.config.into_iter().collect(),
    };
    let created = match admin.create_topic(&topic, args.validate_only).await {
        Ok(created) => Some(created),
        Err(error) => {
            let exists = error
                .code()
                .is_some_and(|code| code.is(ErrorCode::TopicAlreadyExists));
            if !(exists && args.if_not_exists) {
                return Err(error.into());
            }
            None
        }
    };
    let name = &topic.name;
    match (args.common.output, created) {
        (Output::Json, created) => println!(
            "{}",
            json!({
                "topic": name,
                "created": created.is_some() && !args.validate_only,
                "id": created.as_ref().and_then(|c| c.id).map(|id| topic_id(&id)),
                "partitions": created.as_ref().and_then(|c| c.partitions),
                "replication_factor": created.as_ref().and_then(|c| c.replication_factor),
            })
        ),
        (Output::Text, None) => println!("topic `{name}` exists"),
        (Output::Text, Some(_)) if args.validate_only => {
            println!("topic `{name}` could be created");
        }
        (Output::Text, Some(created)) => match created.partitions {
            Some(count) => println!("created topic `{name}` with {count} partition(s)"),
            None => println!("created topic `{name}`"),
        },
    }
    Ok(())
}

async fn list(args: ListArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args.common.cluster.connect().await?);
    let mut topics = admin.list_topics().await?;
    topics.retain(|topic| args.internal || !topic.is_internal);
    if args.common.output == Output::Json {
        let list: Vec<_> = topics.iter().map(|topic| summary(topic)).collect();
        println!("{}", json!(list));
        return Ok(());
    }
    let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
    for topic in &topics {
        let mut name = topic.name.to_string();
        if topic.is_internal {
            name.push_str(" (internal)");
        }
        table.row(vec![
            name,
            topic.partitions.len().to_string(),
            replicas(topic).to_string(),
        ]);
    }
    print!("{table}");
    Ok(())
}

fn replicas(topic: &TopicMetadata) -> usize {
    topic.partitions.first().map_or(0, |p| p.replicas.len())
}

fn summary(topic: &TopicMetadata) -> serde_json::Value {
    json!({
        "topic": &*topic.name,
        "id": topic_id(&topic.id),
        "internal": topic.is_internal,
        "partitions": topic.partitions.len(),
        "replication_factor": replicas(topic),
    })
}

async fn describe(args: DescribeArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args.common.cluster.connect().await?);
    let topic = admin.describe_topic(&args.name).await?;
    let (earliest, latest) = offsets(&admin, &topic)
        .await
        .with_context(|| format!("cannot list the offsets of `{}`", args.name))?;
    let of = |all: &BTreeMap<TopicPartition, ListedOffset>, partition: i32| {
        let target = TopicPartition::new(topic.name.clone(), partition);
        all.get(&target).and_then(|listed| listed.offset)
    };
    if args.common.output == Output::Json {
        let mut value = summary(&topic);
        let partitions: Vec<_> = topic
            .partitions
            .iter()
            .map(|p| {
                json!({
                    "partition": p.index,
                    "leader": p.leader,
                    "leader_epoch": p.leader_epoch,
                    "replicas": p.replicas,
                    "in_sync_replicas": p.in_sync_replicas,
                    "log_start_offset": of(&earliest, p.index),
                    "high_watermark": of(&latest, p.index),
                })
            })
            .collect();
        value["partitions"] = json!(partitions);
        println!("{value}");
        return Ok(());
    }
    println!("topic {}  id {}", topic.name, topic_id(&topic.id));
    let headings = [
        "PARTITION",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "IN SYNC",
        "FIRST",
        "NEXT",
    ];
    let mut table = Table::new(&headings);
    let nodes = |ids: &[i32]| ids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
    let number = |offset: Option<i64>| offset.map_or_else(|| "-".to_owned(), |o| o.to_string());
    for p in &topic.partitions {
        table.row(vec![
            p.index.to_string(),
            p.leader
                .map_or_else(|| "none".to_owned(), |id| id.to_string()),
            p.leader_epoch.to_string(),
            nodes(&p.replicas),
            nodes(&p.in_sync_replicas),
            number(of(&earliest, p.index)),
            number(of(&latest, p.index)),
        ]);
    }
    print!("{table}");
    Ok(())
}

type Offsets = BTreeMap<TopicPartition, ListedOffset>;

/// First and next offset of each partition that has a leader.
async fn offsets(admin: &Admin, topic: &TopicMetadata) -> anyhow::Result<(Offsets, Offsets)> {
    let wanted = |spec: OffsetSpec| -> BTreeMap<TopicPartition, OffsetSpec> {
        let led = topic.partitions.iter().filter(|p| p.leader.is_some());
        led.map(|p| (TopicPartition::new(topic.name.clone(), p.index), spec))
            .collect()
    };
    let isolation = Isolation::ReadUncommitted;
    let earliest = wanted(OffsetSpec::Earliest);
    let earliest = admin.list_offsets(&earliest, isolation).await?;
    let latest = wanted(OffsetSpec::Latest);
    let latest = admin.list_offsets(&latest, isolation).await?;
    Ok((earliest, latest))
}

async fn delete(args: DeleteArgs) -> anyhow::Result<()> {
    let admin = Admin::new(args.common.cluster.connect().await?);
    let mut failures = Vec::new();
    let mut results = Vec::new();
    for name in &args.names {
        let deleted = match admin.delete_topic(name).await {
            Ok(()) => true,
            Err(millstream_client::ClientError::UnknownTopic { .. }) if args.if_exists => false,
            Err(error) => {
                failures.push(error.to_string());
                continue;
            }
        };
        results.push(json!({ "topic": name, "deleted": deleted }));
        if args.common.output == Output::Text {
            let what = if deleted { "deleted" } else { "there is no" };
            println!("{what} topic `{name}`");
        }
    }
    if args.common.output == Output::Json {
        println!("{}", json!(results));
    }
    if !failures.is_empty() {
        bail!(failures.join("\n"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_key_and_value() {
        assert_eq!(
            key_value("a.b=c=d"),
            Ok(("a.b".to_owned(), "c=d".to_owned()))
        );
        assert_eq!(key_value("a="), Ok(("a".to_owned(), String::new())));
        assert!(key_value("=a").is_err());
        assert!(key_value("a").is_err());
    }
}
