//! Topics that ask for another codec than the producer's (`compression.type`): what comes in any codec is
//! stored in theirs, and reads as it was sent.

use std::path::Path;

use super::client::Client;
use super::console::Console;
use super::dump;
use super::record::Plan;
use super::retention::create;
use super::verify::Verifier;
use crate::tally::Report;

const COUNT: u64 = 5_000;

/// A topic's setting, the codec it is written in, and the codec it is stored in as Kafka's reader names it.
const CASES: [(&[&str], &str, &str); 7] = [
    (
        &["compression.type=gzip", "compression.gzip.level=9"],
        "none",
        "GZIP",
    ),
    (&["compression.type=snappy"], "zstd", "SNAPPY"),
    (
        &["compression.type=lz4", "compression.lz4.level=17"],
        "gzip",
        "LZ4",
    ),
    (
        &["compression.type=zstd", "compression.zstd.level=19"],
        "none",
        "ZSTD",
    ),
    (&["compression.type=zstd"], "zstd", "ZSTD"),
    (&["compression.type=uncompressed"], "lz4", "NONE"),
    (&["compression.type=producer"], "snappy", "SNAPPY"),
];

fn topic(case: usize) -> String {
    format!("stored-anew-{case}")
}

/// Writes every case with Kafka's console producer and reads it back.
pub fn check_records(console: &Console, bootstrap: &str, now: fn() -> i64, report: &mut Report) {
    for (case, (settings, sent, _)) in CASES.iter().enumerate() {
        let topic = topic(case);
        let plan = Plan {
            shape: console.shape(),
            count: COUNT,
            partitions: 1,
            base_time: now(),
        };
        let what = format!("{sent} into {}", settings[0]);
        let written = create(console, bootstrap, &topic, settings)
            .and_then(|()| console.produce(bootstrap, &topic, plan, sent));
        if !report.check(&format!("{what}: all acknowledged"), written) {
            continue;
        }
        let mut verifier = Verifier::new(plan, (plan.base_time, now()));
        let ended = console.consume(bootstrap, &topic, COUNT, &mut |record| {
            verifier.accept(&record);
        });
        verifier.finish(report, &what, ended);
    }
}

/// On the disk every batch of a case is in its topic's codec.
pub fn check_files(jars: &Path, data: &Path) -> Result<(), String> {
    for (case, (settings, sent, stored)) in CASES.iter().enumerate() {
        let folder = data.join(format!("{}-0", topic(case)));
        let codecs = dump::codecs(jars, &folder)?;
        if !codecs.iter().eq([*stored]) {
            return Err(format!("{sent} into {}: stored as {codecs:?}", settings[0]));
        }
    }
    Ok(())
}
