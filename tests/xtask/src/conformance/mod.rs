//! Foreign clients against running brokers: the story is in `tests/conformance/README.md`.
//!
//! ```text
//! start ── records in and out, codecs, groups (first life) ── stop
//! start, no auto-creation ── groups (second life), what one client wrote another reads, errors ── stop ── Kafka's DumpLogSegments
//! ```

pub mod answers;
mod broker;
mod carry;
mod client;
mod compaction;
mod compression;
mod console;
mod driver;
mod dump;
mod errors;
mod everyday;
mod frame;
mod group;
mod kcat;
mod kcat_everyday;
mod left_files;
mod membership;
mod meter;
mod moves;
mod options;
mod passages;
mod record;
mod requests;
mod retention;
mod ring;
mod setup;
mod streams;
mod talk;
mod tool_tasks;
mod toolbox;
mod verify;

use std::path::Path;

use self::meter::Driven;
use self::ring::{RINGS, Ring};
use crate::tally::{Report, Tally};
use crate::tools;

pub use self::broker::{Broker, Kind};
pub use self::left_files::dump_logs;
pub use self::options::Options;
pub use self::setup::{Absent, jars};

/// Runs everything and prints `conformance: N passed, …`.
pub fn run(options: &Options) -> Tally {
    let mut report = Report::new("conformance");
    let cache = tools::target().join("conformance");
    let jars = setup::jars(&cache);
    let kind = match (options.against_kafka, &jars) {
        (false, _) => Kind::Millstream {
            binary: options.binary.clone(),
        },
        (true, Ok(jars)) => Kind::Kafka { jars: jars.clone() },
        (true, Err(_)) => {
            let reason = "its jars could not be had".to_owned();
            report.check("Apache Kafka to run against", Err(reason));
            return report.finish();
        }
    };
    let mut rings = match prepare(options, &kind, &cache, &mut report) {
        Ok(rings) => rings,
        Err(reason) => {
            report.check("places for the brokers", Err(reason));
            return report.finish();
        }
    };
    let is_whole = passages::run(&mut rings, options, &cache, &mut report);
    for ring in &mut rings {
        ring.station.stop(&mut report);
    }
    left_files::check(&rings, options, jars, &mut report);
    if is_whole && !options.against_kafka {
        let driven = requests_of(rings);
        let outcome = driven.and_then(|driven| match options.record_requests {
            true => requests::record(&driven),
            false => requests::check(&driven, &mut report),
        });
        report.check("who drives which request", outcome);
    }
    report.finish()
}

/// Prepares the clients that are wanted and there, each ring with its broker.
fn prepare(
    options: &Options,
    kind: &Kind,
    cache: &Path,
    report: &mut Report,
) -> Result<Vec<Ring>, String> {
    let mut rings = Vec::new();
    for members in &RINGS {
        let wanted = members.clients.iter().filter(|name| options.wants(name));
        let mut clients = Vec::new();
        for name in wanted {
            match setup::client(name, cache) {
                Ok(client) => clients.push(client),
                Err(absent) => report_absent(name, absent, report),
            }
        }
        if !clients.is_empty() {
            let folder = cache.join("run");
            rings.push(Ring::new(members, clients, kind.clone(), &folder)?);
        }
    }
    Ok(rings)
}

fn requests_of(rings: Vec<Ring>) -> Result<Driven, String> {
    let mut all = Driven::new();
    for ring in rings {
        all.extend(ring.station.meter.finish()?);
    }
    Ok(all)
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
