//! Foreign clients against a running broker: the story is in `tests/conformance/README.md`.
//!
//! ```text
//! start ── records in and out, codecs, groups (first life) ── stop
//! start, no auto-creation ── groups (second life), what one client wrote another reads, errors ── stop ── Kafka's DumpLogSegments
//! ```

pub mod answers;
mod broker;
mod client;
mod compaction;
mod compression;
mod console;
mod driver;
mod dump;
mod everyday;
mod frame;
mod group;
mod kcat;
mod kcat_everyday;
mod membership;
mod record;
mod retention;
mod setup;
mod streams;
mod talk;
mod tool_tasks;
mod toolbox;
mod verify;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::client::Client;
use self::console::Console;
use self::record::Plan;
use self::toolbox::Toolbox;
use self::verify::Verifier;
use crate::tally::{Report, Tally};
use crate::{check, tools};

pub use self::broker::{Broker, Kind};
pub use self::setup::{Absent, jars};

const PARTITIONS: i32 = 6;
/// Records of the smaller passages, one for each codec.
const CODEC_COUNT: u64 = 20_000;
/// The clients that carry fewer records, and how many at most: one client of each library does it at full size.
const BRIEF: [&str; 3] = ["java", "sarama", "kafka-python"];
const BRIEF_COUNT: u64 = 100_000;
/// How many clients do their passages at the same time where they mostly wait.
const TOGETHER: usize = 3;
/// Whose records each client reads besides its own. kcat and the console write text, so they read each other.
const READS_FROM: [(&str, &str); 9] = [
    ("kcat", "console"),
    ("console", "kcat"),
    ("franz-go", "confluent-python"),
    ("confluent-python", "kafkajs"),
    ("kafkajs", "aiokafka"),
    ("aiokafka", "franz-go"),
    ("java", "sarama"),
    ("sarama", "kafka-python"),
    ("kafka-python", "java"),
];

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Apache Kafka in place of our broker, to prove the tests.
    pub against_kafka: bool,
    /// Our broker's binary.
    pub binary: PathBuf,
    /// Which clients; empty: all.
    pub clients: Vec<String>,
    /// Records of the large passage.
    pub count: u64,
}

impl Options {
    /// All clients, at full size, against this broker.
    pub fn new(binary: PathBuf) -> Options {
        Options {
            against_kafka: false,
            binary,
            clients: Vec::new(),
            count: 1_000_000,
        }
    }

    /// Reads the command line.
    pub fn read(arguments: &[String]) -> Result<Options, String> {
        let mut options = Options::new(check::built("millstream"));
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if name == "--against" && value == "kafka" => {
                    options.against_kafka = true
                }
                [name, value] if name == "--binary" => {
                    options.binary =
                        std::path::absolute(value).map_err(|e| format!("{value}: {e}"))?;
                }
                [name, value] if name == "--clients" => {
                    options.clients = value.split(',').map(str::to_owned).collect()
                }
                [name, value] if name == "--count" => {
                    options.count = value
                        .parse()
                        .map_err(|_| format!("--count {value}: not a number"))?;
                }
                other => return Err(format!("not understood: {}", other.join(" "))),
            }
        }
        Ok(options)
    }
}

/// Has Kafka's own reader look at every file below `data`.
pub fn dump_logs(data: &std::path::Path, report: &mut Report) {
    match setup::jars(&tools::target().join("conformance")) {
        Ok(jars) => dump::check(&jars, data, false, report),
        Err(absent) => report_absent("DumpLogSegments", absent, report),
    }
}

/// A passage of records whose reading is still to be judged: what was sent, and when.
#[derive(Clone, Copy)]
struct Written {
    plan: Plan,
    times: (i64, i64),
}

/// Runs everything and prints `conformance: N passed, …`.
pub fn run(options: &Options) -> Tally {
    let mut report = Report::new("conformance");
    let cache = tools::target().join("conformance");
    let clients = prepare(options, &cache, &mut report);
    let jars = setup::jars(&cache);
    let kind = match (options.against_kafka, &jars) {
        (false, _) => Kind::Millstream {
            binary: options.binary.clone(),
        },
        (true, Ok(jars)) => Kind::Kafka { jars: jars.clone() },
        (true, Err(_)) => {
            report.check(
                "Apache Kafka to run against",
                Err("its jars could not be had".to_owned()),
            );
            return report.finish();
        }
    };
    if clients.is_empty() {
        return report.finish();
    }
    match Broker::new(kind, &cache.join("run")) {
        Ok(mut broker) => {
            with_broker(options, &clients, &mut broker, &cache, &mut report);
            if let Err(reason) = broker.stop() {
                report.check("the broker stops cleanly", Err(reason));
            }
            if !options.against_kafka {
                report.check(
                    "log verify finds nothing wrong",
                    dump::verify(&options.binary, &broker.data()),
                );
            }
            match jars {
                Ok(jars) => {
                    dump::check(&jars, &broker.data(), true, &mut report);
                    if clients.iter().any(|client| client.name() == "console") {
                        report.check(
                            "DumpLogSegments: batches are in the codec of their topic",
                            compression::check_files(&jars, &broker.data()),
                        );
                    }
                }
                Err(absent) => report_absent("DumpLogSegments", absent, &mut report),
            }
        }
        Err(reason) => {
            report.check("a place for the broker", Err(reason));
        }
    }
    report.finish()
}

fn prepare(
    options: &Options,
    cache: &std::path::Path,
    report: &mut Report,
) -> Vec<Box<dyn Client>> {
    let mut clients = Vec::new();
    for name in setup::NAMES {
        if !options.clients.is_empty() && !options.clients.iter().any(|wanted| wanted == name) {
            continue;
        }
        match setup::client(name, cache) {
            Ok(client) => clients.push(client),
            Err(absent) => report_absent(name, absent, report),
        }
    }
    clients
}

fn with_broker(
    options: &Options,
    clients: &[Box<dyn Client>],
    broker: &mut Broker,
    cache: &std::path::Path,
    report: &mut Report,
) {
    let partitions = PARTITIONS.to_string();
    let retention = ("log.retention.check.interval.ms", "1000");
    let backoff = ("log.cleaner.backoff.ms", "500");
    let first = [("num.partitions", partitions.as_str()), retention, backoff];
    let second = [
        ("num.partitions", partitions.as_str()),
        retention,
        ("auto.create.topics.enable", "false"),
    ];
    if !start(broker, &first, "the broker starts", report) {
        return;
    }
    let bootstrap = broker.address();
    let mut written = BTreeMap::new();
    for client in clients {
        let client = client.as_ref();
        timed(client.name(), "records in and out", || {
            if let Some(passage) = carry(
                client,
                &bootstrap,
                &topic(client),
                count(client, options),
                "none",
                "records",
                report,
            ) {
                written.insert(client.name(), passage);
            }
            for codec in client.codecs() {
                let name = format!("{}-{codec}", topic(client));
                carry(client, &bootstrap, &name, CODEC_COUNT, codec, codec, report);
            }
        });
    }
    let positions = together(clients, report, |client, named| {
        timed(client.name(), "group", || {
            let name = format!("{}-group", topic(client));
            let position = group::before_restart(client, &bootstrap, &name, named);
            if client.name() == "java" {
                membership::check(client, &bootstrap, &name, named);
            }
            position
        })
    });
    let tools = clients
        .iter()
        .any(|c| c.name() == "console")
        .then(|| setup::jars(cache))
        .and_then(|jars| jars.ok().map(|jars| Console { jars }));
    if let Some(tools) = &tools {
        report.check(
            "console: TopicCommand creates, lists and deletes",
            console::check_topic_command(tools, &bootstrap),
        );
        report.check(
            "console: DeleteRecordsCommand moves the beginning of a log",
            retention::check_delete_records(tools, &bootstrap, cache),
        );
        report.check(
            "console: retention removes the oldest segments",
            retention::check_retention(tools, &bootstrap),
        );
        report.check(
            "console: of a compacted topic the last value of each key is left",
            compaction::check_compaction(tools, &bootstrap),
        );
        report.check(
            "produce answers as Kafka does",
            answers::PRODUCE.check(&bootstrap, broker.is_kafka()),
        );
        report.check(
            "bad input is answered as recorded",
            answers::BAD_INPUT.check(&bootstrap, broker.is_kafka()),
        );
        let mut named = Report::new("console");
        compression::check_records(tools, &bootstrap, now, &mut named);
        report.add(named);
        timed("console", "Kafka's tools", || {
            let mut named = Report::new("console");
            match setup::toolbox(cache) {
                Ok(path) => match Toolbox::start(&path) {
                    Ok(mut toolbox) => {
                        tool_tasks::check(tools, &mut toolbox, &bootstrap, cache, &mut named)
                    }
                    Err(reason) => {
                        named.check("tools: a place to run them", Err(reason));
                    }
                },
                Err(absent) => report_absent("Kafka's tools", absent, &mut named),
            }
            report.add(named);
        });
    }
    if clients.iter().any(|client| client.name() == "java")
        && let (Ok(java), Ok(jars)) = (setup::java(cache), setup::jars(cache))
    {
        timed("java", "Streams", || {
            let mut named = Report::new("java");
            streams::check(&java, &Console { jars }, &bootstrap, cache, &mut named);
            report.add(named);
        });
    }
    report.check("the broker stops cleanly", broker.stop());
    if !start(broker, &second, "the broker starts again", report) {
        return;
    }
    if let Some(tools) = &tools {
        report.check(
            "console: deleted records stay deleted after a restart",
            retention::check_deleted_records(tools, &bootstrap),
        );
        report.check(
            "console: what compaction left is there after a restart",
            compaction::check_compacted(tools, &bootstrap),
        );
    }
    together(clients, report, |client, named| {
        if let Some(position) = positions.get(client.name()).cloned().flatten() {
            timed(client.name(), "group after a restart", || {
                let name = format!("{}-group", topic(client));
                group::after_restart(client, &bootstrap, &name, position, named);
            });
        }
    });
    for client in clients {
        let client = client.as_ref();
        let mut named = Report::new(client.name());
        timed(client.name(), "reading what another wrote", || {
            read_other(client, &bootstrap, &written, &mut named)
        });
        report.add(named);
    }
    together(clients, report, |client, named| {
        timed(client.name(), "everyday work", || {
            if client.name() == "kcat" {
                if let Some(passage) = written.get("kcat") {
                    kcat_everyday::check(&bootstrap, &topic(client), passage.plan, named);
                }
                return;
            }
            let topic = format!("{}-everyday", topic(client));
            everyday::check(client, &bootstrap, &topic, now() - 3_600_000, named);
        });
    });
    // Last, for it adds records of its own.
    together(clients, report, |client, named| {
        timed(client.name(), "errors", || {
            check_errors(client, &bootstrap, named)
        });
    });
}

/// Does a passage for every client, some at the same time; returns what came of it by the client's name.
fn together<T: Send>(
    clients: &[Box<dyn Client>],
    report: &mut Report,
    passage: impl Fn(&dyn Client, &mut Report) -> T + Sync,
) -> BTreeMap<&'static str, T> {
    let turn = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(client) = clients.get(turn.fetch_add(1, Ordering::Relaxed)) {
                    let mut named = Report::new(client.name());
                    let outcome = passage(client.as_ref(), &mut named);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    done.push((client.name(), named, outcome));
                }
            });
        }
    });
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let outcomes = done.into_iter().map(|(name, named, outcome)| {
        report.add(named);
        (name, outcome)
    });
    outcomes.collect()
}

fn start(broker: &mut Broker, settings: &[(&str, &str)], what: &str, report: &mut Report) -> bool {
    let started = broker.start(settings);
    if let Ok(time) = &started {
        println!("     ready in {} ms", time.as_millis());
    }
    report.check(what, started.map(|_| ()))
}

fn topic(client: &dyn Client) -> String {
    format!("by-{}", client.name())
}

fn count(client: &dyn Client, options: &Options) -> u64 {
    if BRIEF.contains(&client.name()) {
        options.count.min(BRIEF_COUNT)
    } else {
        options.count
    }
}

fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as i64)
}

fn timed<T>(client: &str, what: &str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = work();
    println!(
        "     {client}, {what}: {:.1} s",
        began.elapsed().as_secs_f64()
    );
    outcome
}

/// Writes records to a topic of their own and reads them back.
fn carry(
    client: &dyn Client,
    bootstrap: &str,
    topic: &str,
    count: u64,
    codec: &str,
    what: &str,
    report: &mut Report,
) -> Option<Written> {
    let mut named = Report::new(client.name());
    let began = now();
    let plan = Plan {
        shape: client.shape(),
        count,
        partitions: PARTITIONS,
        base_time: began,
    };
    let clock = Instant::now();
    let sent = client
        .create(bootstrap, topic, PARTITIONS)
        .and_then(|()| client.produce(bootstrap, topic, plan, codec));
    let (sending, times) = (clock.elapsed(), (began, now()));
    let passage = named
        .check(&format!("{what}: all acknowledged"), sent)
        .then_some(Written { plan, times });
    if let Some(passage) = passage {
        let reading = read(client, bootstrap, topic, passage, what, &mut named);
        if count > CODEC_COUNT {
            let rate = |time: Duration| count as f64 / time.as_secs_f64().max(0.001);
            println!(
                "     {}: {:.0} records/s in, {:.0} out",
                client.name(),
                rate(sending),
                rate(reading)
            );
        }
    }
    report.add(named);
    passage
}

fn read(
    client: &dyn Client,
    bootstrap: &str,
    topic: &str,
    passage: Written,
    what: &str,
    report: &mut Report,
) -> Duration {
    let clock = Instant::now();
    let mut verifier = Verifier::new(passage.plan, passage.times);
    let ended = client.consume(bootstrap, topic, passage.plan.count, &mut |record| {
        verifier.accept(&record)
    });
    verifier.finish(report, what, ended);
    clock.elapsed()
}

fn read_other(
    client: &dyn Client,
    bootstrap: &str,
    written: &BTreeMap<&str, Written>,
    report: &mut Report,
) {
    let other = READS_FROM
        .iter()
        .find(|(reader, _)| *reader == client.name());
    if let Some((name, passage)) =
        other.and_then(|(_, writer)| Some((writer, written.get(writer)?)))
    {
        read(
            client,
            bootstrap,
            &format!("by-{name}"),
            *passage,
            &format!("what {name} wrote"),
            report,
        );
    }
}

/// A part that is not there: skipped, or failed where nothing may be left out.
fn report_absent(what: &str, absent: Absent, report: &mut Report) {
    match absent {
        Absent::Missing(program) if !tools::is_ci() => {
            report.skip(what, &format!("{program} is not installed"))
        }
        Absent::Missing(program) => {
            report.check(
                what,
                Err(format!(
                    "{program} is not installed, and CI=true leaves nothing out"
                )),
            );
        }
        Absent::Broken(reason) => {
            report.check(what, Err(reason));
        }
    }
}

/// Kafka's numbers: UNKNOWN_TOPIC_OR_PARTITION is 3, MESSAGE_TOO_LARGE is 10.
const ERRORS: [(&str, &str); 4] = [
    ("unknown-topic-produce", "3"),
    ("too-large", "10"),
    ("after-too-large", "0"),
    ("unknown-topic-consume", "3"),
];

fn check_errors(client: &dyn Client, bootstrap: &str, report: &mut Report) {
    let seen = client.errors(bootstrap, &topic(client));
    for (name, expected) in ERRORS {
        let outcome = match &seen {
            Err(reason) => Err(reason.clone()),
            Ok(seen) => match seen.get(name) {
                Some(code) if code == expected => Ok(()),
                other => Err(format!("{other:?}, expected error {expected}")),
            },
        };
        report.check(
            &format!("errors: {name} is answered with {expected}"),
            outcome,
        );
    }
}
