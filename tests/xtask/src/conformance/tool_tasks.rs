//! Kafka's command-line tools at their everyday work, each with what it is to say. They run in the order of
//! the table, on one topic.

use std::path::Path;

use super::console::Console;
use super::toolbox::Toolbox;
use crate::tally::Report;

const TOPIC: &str = "for-tools";
const GROUP: &str = "group-of-tools";
const TOPICS: &str = "org.apache.kafka.tools.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const ACLS: &str = "org.apache.kafka.tools.AclCommand";
/// It says what it did when its process ends, so it has one of its own.
const VERIFIABLE_PRODUCER: &str = "org.apache.kafka.tools.VerifiableProducer";
const QUORUM: &str = "org.apache.kafka.tools.MetadataQuorumCommand";

/// A tool, its arguments in words, and what its output must contain. `{file}` is a plan of reassignment.
struct Task(&'static str, &'static str, &'static [&'static str]);

/// What must succeed.
const TASKS: [Task; 33] = [
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
        VERIFIABLE_PRODUCER,
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
        &[
            "Successfully started partition reassignment",
            "Successfully started moving log directory",
        ],
    ),
    Task(
        REASSIGN,
        "--reassignment-json-file {file} --verify",
        &[
            "for-tools-0 is completed",
            "Reassignment of replica for-tools-0-1 completed successfully.",
        ],
    ),
    Task(REASSIGN, "--list", &["No partition reassignments found."]),
    Task(
        CONFIGS,
        "--alter --entity-type clients --entity-name of-tools --add-config producer_byte_rate=1000000,consumer_byte_rate=2000000",
        &["Completed updating config for client of-tools."],
    ),
    Task(
        CONFIGS,
        "--describe --entity-type clients --entity-name of-tools",
        &[
            "Quota configs for client-id 'of-tools' are",
            "producer_byte_rate=1000000",
            "consumer_byte_rate=2000000",
        ],
    ),
    Task(
        CONFIGS,
        "--alter --entity-type clients --entity-name of-tools --delete-config producer_byte_rate,consumer_byte_rate",
        &["Completed updating config for client of-tools."],
    ),
    Task(CONFIGS, "--describe --entity-type clients", &[]),
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

/// What must be refused: nobody is authorized here, as in a Kafka without an authorizer.
const REFUSED: [Task; 2] = [
    Task(ACLS, "--list", &["SecurityDisabledException: "]),
    Task(
        ACLS,
        "--add --allow-principal User:someone --operation Read --topic for-tools",
        &["SecurityDisabledException: "],
    ),
];

/// Runs all of them. `data` is the broker's log directory, `folder` is for the files that they read.
pub fn check(
    console: &Console,
    tools: &mut Toolbox,
    bootstrap: &str,
    data: &Path,
    folder: &Path,
    report: &mut Report,
) {
    let file = folder.join("reassignment.json");
    let plan = format!(
        r#"{{"version":1,"partitions":[{{"topic":"{TOPIC}","partition":0,"replicas":[1],"log_dirs":["{}"]}}]}}"#,
        data.display()
    );
    let written = std::fs::write(&file, plan).map_err(|e| format!("{}: {e}", file.display()));
    if !report.check("tools: a plan of reassignment is written", written) {
        return;
    }
    let file = file.display().to_string();
    let all = TASKS.iter().map(|task| (task, true));
    for (Task(class, arguments, expected), succeeds) in
        all.chain(REFUSED.iter().map(|task| (task, false)))
    {
        let words = arguments.split_whitespace();
        let words = words.map(|w| if w == "{file}" { &file } else { w });
        let words: Vec<&str> = words.collect();
        let said = if *class == VERIFIABLE_PRODUCER {
            console
                .tool(class, bootstrap, &words)
                .map(|said| (true, said))
        } else {
            let bootstrap = ["--bootstrap-server", bootstrap];
            tools.run(class, &[&bootstrap, &words[..]].concat())
        };
        let outcome = said.and_then(|(ok, said)| {
            let missing = expected.iter().find(|text| !said.contains(**text));
            match missing {
                None if ok == succeeds => Ok(()),
                None => Err(format!("success {ok}, expected {succeeds}: {said}")),
                Some(text) => Err(format!("no {text:?} in what it said: {said}")),
            }
        });
        let name = class.rsplit('.').next().unwrap_or(class);
        report.check(&format!("tools: {name} {arguments}"), outcome);
    }
}
