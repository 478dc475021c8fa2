//! The passages, in their order: two lives of each broker.

use std::path::Path;

use super::broker::Kind;
use super::carry::{self, PARTITIONS, now, topic};
use super::client::Client;
use super::console::Console;
use super::ring::{Ring, Station, in_turn, together};
use super::toolbox::Toolbox;
use super::{
    Options, answers, compaction, compression, errors, everyday, group, kcat_everyday, membership,
    moves, report_absent, retention, setup, streams, tool_tasks,
};
use crate::tally::Report;

/// Runs all of them. Answers whether both lives began.
pub fn run(rings: &mut [Ring], options: &Options, cache: &Path, report: &mut Report) -> bool {
    let partitions = PARTITIONS.to_string();
    let partitions = ("num.partitions", partitions.as_str());
    let retention = ("log.retention.check.interval.ms", "1000");
    let backoff = ("log.cleaner.backoff.ms", "500");
    let no_creation = ("auto.create.topics.enable", "false");
    if !start(rings, &[partitions, retention, backoff], report) {
        return false;
    }
    first_life(rings, options, cache, report);
    for ring in rings.iter_mut() {
        ring.station.stop(report);
    }
    if !start(rings, &[partitions, retention, no_creation], report) {
        return false;
    }
    second_life(rings, cache, report);
    true
}

fn start(rings: &mut [Ring], settings: &[(&str, &str)], report: &mut Report) -> bool {
    rings
        .iter_mut()
        .all(|ring| ring.station.start(settings, report))
}

fn first_life(rings: &mut [Ring], options: &Options, cache: &Path, report: &mut Report) {
    in_turn(
        rings,
        "records in and out",
        report,
        |station, client, named| {
            carry::in_and_out(station, client, options.count, named);
        },
    );
    together(rings, "group", report, |station, client, named| {
        let bootstrap = station.broker.address();
        let name = group_of(client);
        if let Some(position) = group::before_restart(client, &bootstrap, &name, named) {
            station.positions.insert(client.name(), position);
        }
        if client.name() == "java" {
            membership::check(client, &bootstrap, &name, named);
        }
    });
    if let Some((station, tools)) = with_console(rings, cache) {
        kafkas_tools(station, &tools, cache, report);
    }
    if let Some(ring) = rings.iter_mut().find(|ring| ring.has("java"))
        && let (Ok(java), Ok(jars)) = (setup::java(cache), setup::jars(cache))
    {
        let console = Console { jars };
        let mut named = Report::new("java");
        ring.station.drive("streams", "counting words", |station| {
            let bootstrap = station.broker.address();
            streams::check(&java, &console, &bootstrap, cache, &mut named);
        });
        report.add(named);
    }
}

/// The console's broker, with Kafka's jars.
fn with_console<'a>(rings: &'a mut [Ring], cache: &Path) -> Option<(&'a mut Station, Console)> {
    let ring = rings.iter_mut().find(|ring| ring.has("console"))?;
    let jars = setup::jars(cache).ok()?;
    Some((&mut ring.station, Console { jars }))
}

fn kafkas_tools(station: &mut Station, tools: &Console, cache: &Path, report: &mut Report) {
    let bootstrap = station.broker.address();
    let mut named = Report::new("console");
    station.drive("tools", "logs that begin later", |_| {
        named.check(
            "TopicCommand creates, lists and deletes",
            super::console::check_topic_command(tools, &bootstrap),
        );
        named.check(
            "DeleteRecordsCommand moves the beginning of a log",
            retention::check_delete_records(tools, &bootstrap, cache),
        );
        named.check(
            "retention removes the oldest segments",
            retention::check_retention(tools, &bootstrap),
        );
        named.check(
            "of a compacted topic the last value of each key is left",
            compaction::check_compaction(tools, &bootstrap),
        );
    });
    let is_kafka = station.broker.is_kafka();
    report.check(
        "produce answers as Kafka does",
        answers::PRODUCE.check(&bootstrap, is_kafka),
    );
    report.check(
        "bad input is answered as recorded",
        answers::BAD_INPUT.check(&bootstrap, is_kafka),
    );
    station.meter.skip(&station.broker);
    station.drive("console", "codecs of topics", |_| {
        compression::check_records(tools, &bootstrap, now, &mut named);
    });
    station.drive(
        "tools",
        "their everyday work",
        |station| match setup::toolbox(cache) {
            Ok(path) => match Toolbox::start(&path) {
                Ok(mut toolbox) => {
                    let data = station.broker.data();
                    tool_tasks::check(tools, &mut toolbox, &bootstrap, &data, cache, &mut named);
                    if let Kind::Millstream { binary } = station.broker.kind() {
                        named.check(
                            "ReassignPartitionsCommand moves a partition between log directories",
                            moves::check(tools, &mut toolbox, binary, cache),
                        );
                    }
                }
                Err(reason) => {
                    named.check("tools: a place to run them", Err(reason));
                }
            },
            Err(absent) => report_absent("Kafka's tools", absent, &mut named),
        },
    );
    report.add(named);
}

fn second_life(rings: &mut [Ring], cache: &Path, report: &mut Report) {
    if let Some((station, tools)) = with_console(rings, cache) {
        let bootstrap = station.broker.address();
        let mut named = Report::new("console");
        station.drive("tools", "logs after a restart", |_| {
            named.check(
                "deleted records stay deleted after a restart",
                retention::check_deleted_records(&tools, &bootstrap),
            );
            named.check(
                "what compaction left is there after a restart",
                compaction::check_compacted(&tools, &bootstrap),
            );
        });
        report.add(named);
    }
    together(
        rings,
        "group after a restart",
        report,
        |station, client, named| {
            if let Some(position) = station.positions.remove(client.name()) {
                let (bootstrap, name) = (station.broker.address(), group_of(client));
                group::after_restart(client, &bootstrap, &name, position, named);
            }
        },
    );
    in_turn(
        rings,
        "reading what another wrote",
        report,
        carry::read_next,
    );
    together(rings, "everyday work", report, |station, client, named| {
        let bootstrap = station.broker.address();
        if client.name() == "kcat" {
            if let Some(written) = station.written.get("kcat") {
                kcat_everyday::check(&bootstrap, &topic("kcat"), written.plan, named);
            }
            return;
        }
        let topic = format!("{}-everyday", topic(client.name()));
        everyday::check(client, &bootstrap, &topic, now() - 3_600_000, named);
    });
    // Last, for it adds records of its own.
    together(rings, "errors", report, |station, client, named| {
        errors::check(
            client,
            &station.broker.address(),
            &topic(client.name()),
            named,
        );
    });
}

fn group_of(client: &dyn Client) -> String {
    format!("{}-group", topic(client.name()))
}
