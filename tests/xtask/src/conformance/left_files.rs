//! What a broker leaves on its disk, as its own `log verify` and Kafka's reader see it.

use std::path::PathBuf;

use super::ring::Ring;
use super::setup::{self, Absent};
use super::{Options, compression, dump, report_absent};
use crate::tally::Report;
use crate::tools;

/// Reads every file of every broker; they are stopped.
pub fn check(
    rings: &[Ring],
    options: &Options,
    jars: Result<PathBuf, Absent>,
    report: &mut Report,
) {
    if !options.against_kafka {
        for ring in rings {
            let station = &ring.station;
            report.check(
                &format!("log verify finds nothing wrong ({})", station.members.name),
                dump::verify(&options.binary, &station.broker.data()),
            );
        }
    }
    let jars = match jars {
        Ok(jars) => jars,
        Err(absent) => return report_absent("DumpLogSegments", absent, report),
    };
    for ring in rings {
        let data = ring.station.broker.data();
        let mut named = Report::new(ring.station.members.name);
        dump::check(&jars, std::slice::from_ref(&data), true, &mut named);
        if ring.has("console") {
            named.check(
                "DumpLogSegments: batches are in the codec of their topic",
                compression::check_files(&jars, &data),
            );
        }
        report.add(named);
    }
}

/// Has Kafka's own reader look at every file below a broker's log directories.
pub fn dump_logs(directories: &[PathBuf], report: &mut Report) {
    match setup::jars(&tools::target().join("conformance")) {
        Ok(jars) => dump::check(&jars, directories, false, report),
        Err(absent) => report_absent("DumpLogSegments", absent, report),
    }
}
