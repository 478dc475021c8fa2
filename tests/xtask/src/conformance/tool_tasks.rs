//! Kafka's command-line tools at their everyday work, each with what it is to say. They run in the order of
//! the table, on one topic.

use std::path::Path;

use super::console::Console;
use crate::tally::Report;

const TOPIC: &str = "for-tools";
const GROUP: &str = "group-of-tools";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";

/// A tool, its arguments in words, and what its output must contain. `{file}` is a plan of reassignment.
struct Task(&'static str, &'static str, &'static [&'static str]);

const TASKS: [Task; 28] = [
    Task(
        TOPICS,
        "--create --topic for-tools --partitions 2 --replication-factor 1 --config retention.ms=86400000",
        &["Created topic for-tools."],
    ),
    Task(TOPICS, "--alter --topic for-tools --partitions 4", &[]),
    Task(
        TOPICS,
        "--describe --topic for-tools",
        &[
            "PartitionCount: 4",
            "Configs: retention.ms=86400000",
            "Partition: 3\tLeader: 1\tReplicas: 1\tIsr: 1",
        ],
    ),
    Task(
        CONFIGS,
        "--alter --entity-type topics --entity-name for-tools --add-config max.message.bytes=2000000",
        &["Completed updating config for topic for-tools."],
    ),
    Task(
        CONFIGS,
        "--describe --entity-type topics --entity-name for-tools",
        &[
            "DYNAMIC_TOPIC_CONFIG:max.message.bytes=2000000",
            "retention.ms=86400000",
        ],
    ),
    Task(
        CONFIGS,
        "--alter --entity-type topics --entity-name for-tools --delete-config max.message.bytes",
        &["Completed updating config"],
    ),
    Task(
        CONFIGS,
        "--alter --entity-type brokers --entity-default --add-config log.cleaner.backoff.ms=700",
        &["Completed updating default config"],
    ),
    Task(
        CONFIGS,
        "--describe --entity-type brokers --entity-name 1 --all",
        &[
            "DYNAMIC_DEFAULT_BROKER_CONFIG:log.cleaner.backoff.ms=700",
            "num.partitions=6",
        ],
    ),
    Task(
        CONFIGS,
        "--alter --entity-type brokers --entity-default --delete-config log.cleaner.backoff.ms",
        &["Completed updating default config"],
    ),
    Task(
        "org.apache.kafka.tools.ProducerPerformance",
        "--topic for-tools --num-records 1000 --record-size 100 --throughput -1",
        &["1000 records sent"],
    ),
    Task(
        "org.apache.kafka.tools.ConsumerPerformance",
        "--topic for-tools --num-records 1000 --group group-of-tools",
        &[", 1000, "],
    ),
    Task(
        "org.apache.kafka.tools.VerifiableProducer",
        "--topic for-tools --max-messages 10",
        &["\"sent\":10,\"acked\":10"],
    ),
    Task(
        "org.apache.kafka.tools.VerifiableConsumer",
        "--topic for-tools --max-messages 1010 --group-id verifying --reset-policy earliest",
        &[
            "\"name\":\"records_consumed\"",
            "\"name\":\"offsets_committed\"",
            "shutdown_complete",
        ],
    ),
    Task(
        "org.apache.kafka.tools.GetOffsetShell",
        "--topic for-tools",
        &["for-tools:3:"],
    ),
    Task(GROUPS, "--list", &[GROUP, "verifying"]),
    Task(
        GROUPS,
        "--describe --group group-of-tools",
        &["CURRENT-OFFSET", "for-tools       3"],
    ),
    Task(
        GROUPS,
        "--describe --group group-of-tools --state",
        &["Empty", "(1)"],
    ),
    Task(
        GROUPS,
        "--reset-offsets --to-earliest --group group-of-tools --topic for-tools --execute",
        &["NEW-OFFSET"],
    ),
    Task(
        GROUPS,
        "--delete-offsets --group group-of-tools --topic for-tools",
        &["Successful"],
    ),
    Task(
        GROUPS,
        "--delete --group group-of-tools",
        &["Deletion of requested consumer groups ('group-of-tools') was successful."],
    ),
    Task(
        "org.apache.kafka.tools.GroupsCommand",
        "--list",
        &["verifying", "Classic"],
    ),
    Task(
        "org.apache.kafka.tools.LogDirsCommand",
        "--describe --topic-list for-tools",
        &["\"partition\":\"for-tools-3\"", "\"isFuture\":false"],
    ),
    Task(
        "org.apache.kafka.tools.LeaderElectionCommand",
        "--election-type preferred --topic for-tools --partition 0",
        &["Valid replica already elected"],
    ),
    Task(
        REASSIGN,
        "--reassignment-json-file {file} --execute",
        &["Successfully started"],
    ),
    Task(
        REASSIGN,
        "--reassignment-json-file {file} --verify",
        &["for-tools-0 is completed"],
    ),
    Task(
        QUORUM,
        "describe --status",
        &["LeaderId:               1", "CurrentVoters:"],
    ),
    Task(
        "org.apache.kafka.tools.FeatureCommand",
        "describe",
        &["Feature: metadata.version"],
    ),
    Task(
        "org.apache.kafka.tools.BrokerApiVersionsCommand",
        "",
        &["Produce(0): 0 to 13 [usable: 13]", "DescribeCluster(60)"],
    ),
];

/// Runs all of them. `folder` is for the files that they read.
pub fn check(console: &Console, bootstrap: &str, folder: &Path, report: &mut Report) {
    let file = folder.join("reassignment.json");
    let plan = format!(
        r#"{{"version":1,"partitions":[{{"topic":"{TOPIC}","partition":0,"replicas":[1]}}]}}"#
    );
    let written = std::fs::write(&file, plan).map_err(|e| format!("{}: {e}", file.display()));
    if !report.check("tools: a plan of reassignment is written", written) {
        return;
    }
    let file = file.display().to_string();
    for Task(class, arguments, expected) in &TASKS {
        let words = arguments.split_whitespace();
        let words: Vec<&str> = words
            .map(|w| if w == "{file}" { &file } else { w })
            .collect();
        let name = class.rsplit('.').next().unwrap_or(class);
        let outcome = console.tool(class, bootstrap, &words).and_then(|said| {
            let missing = expected.iter().find(|text| !said.contains(**text));
            match missing {
                None => Ok(()),
                Some(text) => Err(format!("no {text:?} in what it said: {said}")),
            }
        });
        report.check(&format!("tools: {name} {arguments}"), outcome);
    }
}
