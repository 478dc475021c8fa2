//! `cargo xtask long figures`: Millstream beside Apache Kafka 4.3.1 on this machine, in turns.
//!
//! Every round starts each broker on an empty directory, warms it up, and has `millstream bench` load
//! it. The table holds the median of the rounds and, in brackets, the least and the most. All
//! directories stay until the end: removing one would free page cache, and on a virtual machine
//! memory that was given back is slow at its next first touch.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::conformance::{Absent, Broker, Kind, jars};
use crate::measure::{self, number, resident_mib, shown};
use crate::tally::{Report, Tally};
use crate::{step, tools};

/// How long a broker is left alone before its memory at rest is read.
const REST: Duration = Duration::from_secs(5);
const WARM_UP: [&[&str]; 3] = [
    &["produce", "--topic", "warm", "--bytes", "512m"],
    &["consume", "--topic", "warm"],
    &["latency", "--topic", "warm-rate", "--duration", "10s"],
];
const SMALL: [&str; 7] = [
    "produce",
    "--topic",
    "small",
    "--records=100000",
    "--record-size=100",
    "--records-per-batch=1",
    "--in-flight=5",
];

/// A broker with its settings.
struct Contender {
    name: &'static str,
    kind: Kind,
    settings: &'static [(&'static str, &'static str)],
}

/// What was measured, in the order of the table.
type Sample = Vec<(&'static str, f64)>;

/// Measures so many rounds and prints the table.
pub fn run(rounds: u64, millstream: &Path) -> Tally {
    let jars = match jars(&tools::target().join("conformance")) {
        Ok(jars) => jars,
        Err(Absent::Missing(program)) => return step::missing("figures", program),
        Err(Absent::Broken(reason)) => {
            return Tally::failure(format!("figures: {reason}"));
        }
    };
    let contenders = [
        Contender {
            name: "Millstream",
            kind: Kind::Millstream {
                binary: millstream.to_owned(),
            },
            settings: &[],
        },
        Contender {
            name: "Kafka 4.3.1",
            kind: Kind::Kafka { jars: jars.clone() },
            settings: &[],
        },
        Contender {
            name: "Kafka 4.3.1, syncing",
            kind: Kind::Kafka { jars },
            settings: &[("log.flush.interval.messages", "1")],
        },
    ];
    let mut report = Report::new("figures");
    let folder = tools::target().join("figures");
    let mut samples: Vec<Vec<Sample>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..rounds {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            let name = contender.name.replace([' ', ','], "-");
            let place = folder.join(format!("{round}-{name}"));
            let outcome = measure(contender, place, millstream).map(|sample| samples.push(sample));
            report.check(&format!("{}, round {}", contender.name, round + 1), outcome);
        }
    }
    if let Err(e) = fs::remove_dir_all(&folder) {
        println!("{}: {e}", folder.display());
    }
    print_table(&contenders, &samples);
    report.finish()
}

fn measure(contender: &Contender, place: PathBuf, millstream: &Path) -> Result<Sample, String> {
    let mut broker = Broker::new(contender.kind.clone(), &place)?;
    // The first start makes and formats the directory.
    broker.start(contender.settings)?;
    broker.stop()?;
    let ready = broker.start(contender.settings)?;
    thread::sleep(REST);
    let id = broker.id().ok_or("the broker does not run")?;
    let rest = resident_mib(id)?;
    let bench = |arguments: &[&str]| {
        let (address, id) = (broker.address(), id.to_string());
        let at = ["--bootstrap", &address, "--pid", &id];
        measure::bench(millstream, &[arguments, &at].concat())
    };
    // Kafka answers COORDINATOR_LOAD_IN_PROGRESS for a while after it said that it has started, and does
    // not know a topic at once that it has just made. Neither has measured anything yet.
    let bench = |arguments: &[&str]| {
        bench(arguments).or_else(|_| {
            thread::sleep(REST);
            bench(arguments)
        })
    };
    for arguments in WARM_UP {
        bench(arguments)?;
    }
    let produce = bench(&["produce", "--bytes", "1g"])?;
    let consume = bench(&["consume"])?;
    let small = bench(&SMALL)?;
    let rate = bench(&["latency", "--topic", "rate", "--duration", "20s"])?;
    broker.stop()?;
    Ok(vec![
        ("ready, s", ready.as_secs_f64()),
        ("resident at rest, MiB", rest),
        ("resident at most, MiB", number(&rate, "/broker/peak_mib")?),
        (
            "produce, CPU s/GB",
            number(&produce, "/broker/cpu_seconds_per_gb")?,
        ),
        (
            "produce, MB/s",
            number(&produce, "/throughput/megabytes_per_second")?,
        ),
        (
            "produce, acknowledgement p50, ms",
            number(&produce, "/acknowledgement/p50_ms")?,
        ),
        (
            "produce, acknowledgement p99, ms",
            number(&produce, "/acknowledgement/p99_ms")?,
        ),
        (
            "consume, CPU s/GB",
            number(&consume, "/broker/cpu_seconds_per_gb")?,
        ),
        (
            "consume, MB/s",
            number(&consume, "/throughput/megabytes_per_second")?,
        ),
        (
            "small produce request, CPU µs",
            number(&small, "/broker/cpu_seconds_per_million_requests")?,
        ),
        (
            "small produce requests/s",
            number(&small, "/throughput/requests_per_second")?,
        ),
        ("1,000/s: cores", number(&rate, "/broker/cores")?),
        (
            "1,000/s: acknowledgement p50, ms",
            number(&rate, "/acknowledgement/p50_ms")?,
        ),
        (
            "1,000/s: acknowledgement p99, ms",
            number(&rate, "/acknowledgement/p99_ms")?,
        ),
        (
            "1,000/s: end to end p50, ms",
            number(&rate, "/end_to_end/p50_ms")?,
        ),
        (
            "1,000/s: end to end p99, ms",
            number(&rate, "/end_to_end/p99_ms")?,
        ),
    ])
}

fn print_table(contenders: &[Contender], samples: &[Vec<Sample>]) {
    let names: Vec<&str> = contenders.iter().map(|contender| contender.name).collect();
    println!("| figure | {} |", names.join(" | "));
    println!("| --- |{}", " --- |".repeat(names.len()));
    let Some(first) = samples.iter().flatten().next() else {
        return;
    };
    for (row, (figure, _)) in first.iter().enumerate() {
        let cells: Vec<String> = samples
            .iter()
            .map(|rounds| cell(rounds.iter().map(|sample| sample[row].1).collect()))
            .collect();
        println!("| {figure} | {} |", cells.join(" | "));
    }
}

/// The median, and what it lies between.
fn cell(mut values: Vec<f64>) -> String {
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else {
        return "none".to_owned();
    };
    let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
    format!("{} ({}–{})", shown(median), shown(*least), shown(*most))
}
