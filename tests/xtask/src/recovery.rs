//! `cargo xtask long recovery GIGABYTES`: how long a start takes, after a clean stop and after kill -9,
//! with many partitions and with many bytes; and what partitions cost at rest.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::conformance::{Broker, Kind};
use crate::measure::{bench, resident_mib, shown};
use crate::process::{Process, output};
use crate::tally::{Report, Tally};
use crate::tools::target;

/// How long a broker is left alone before its memory at rest is read.
const REST: Duration = Duration::from_secs(12);
/// How long it is under load before it is killed.
const LOAD: Duration = Duration::from_secs(4);
const LIMIT: Duration = Duration::from_secs(600);
const IDLE_PARTITIONS: u32 = 10_000;
/// Partitions under load when it is killed.
const DIRTY_PARTITIONS: u32 = 500;

/// Measures both and prints the table.
pub fn run(gigabytes: u64, millstream: &Path) -> Tally {
    let mut report = Report::new("recovery");
    let folder = target().join("recovery");
    println!("| figure | |");
    println!("| --- | --- |");
    report.check("many partitions", many_partitions(millstream, &folder));
    report.check("many bytes", many_bytes(gigabytes, millstream, &folder));
    if let Err(e) = fs::remove_dir_all(&folder) {
        println!("{}: {e}", folder.display());
    }
    report.finish()
}

fn start(millstream: &Path, folder: &Path) -> Result<Broker, String> {
    let kind = Kind::Millstream {
        binary: millstream.to_owned(),
    };
    let mut broker = Broker::new(kind, folder)?;
    broker.start(&[])?;
    Ok(broker)
}

fn at_rest(broker: &Broker) -> Result<f64, String> {
    thread::sleep(REST);
    resident_mib(broker.id().ok_or("the broker does not run")?)
}

fn seconds(what: &str, time: Duration) {
    println!("| {what} | {:.2} s |", time.as_secs_f64());
}

fn many_partitions(millstream: &Path, folder: &Path) -> Result<(), String> {
    let mut broker = start(millstream, folder)?;
    let empty = at_rest(&broker)?;
    let mut create = std::process::Command::new(millstream);
    create.args(["topic", "create", "idle", "--partitions"]);
    create.arg(IDLE_PARTITIONS.to_string());
    create.args(["--bootstrap", &broker.address()]);
    let (ok, out, err) = output(&mut create, LIMIT)?;
    if !ok {
        return Err(format!("topic create: {out}{err}"));
    }
    let created = at_rest(&broker)?;
    broker.stop()?;
    let ready = broker.start(&[])?;
    seconds("10,000 partitions: ready after a clean stop", ready);
    let started = at_rest(&broker)?;
    println!(
        "| 10,000 partitions at rest: after they were made, after a start; empty | {}, {}; {} MiB |",
        shown(created),
        shown(started),
        shown(empty)
    );
    kill_under_load(&mut broker, millstream, DIRTY_PARTITIONS)?;
    let ready = broker.start(&[])?;
    seconds(
        "10,000 partitions and 500 under load: ready after kill -9",
        ready,
    );
    broker.stop()
}

fn many_bytes(gigabytes: u64, millstream: &Path, folder: &Path) -> Result<(), String> {
    let mut broker = start(millstream, folder)?;
    let address = broker.address();
    let bytes = format!("--bytes={gigabytes}g");
    let fill = [
        "produce",
        "--topic=full",
        "--partitions=20",
        "--producers=4",
        &bytes,
        "--bootstrap",
        &address,
    ];
    bench(millstream, &fill)?;
    kill_under_load(&mut broker, millstream, 1)?;
    let ready = broker.start(&[])?;
    seconds(
        &format!("{gigabytes} GiB in 21 partitions, one under load: ready after kill -9"),
        ready,
    );
    broker.stop()
}

/// Kills it while producers write to so many partitions.
fn kill_under_load(broker: &mut Broker, millstream: &Path, partitions: u32) -> Result<(), String> {
    let mut load = std::process::Command::new(millstream);
    load.args([
        "bench",
        "produce",
        "--topic=load",
        "--producers=4",
        "--bytes=1000g",
    ]);
    load.args([
        &format!("--partitions={partitions}"),
        "--bootstrap",
        &broker.address(),
    ]);
    let load = Process::start(&mut load, LIMIT).map_err(|e| e.to_string())?;
    thread::sleep(LOAD);
    broker.kill();
    load.kill();
    Ok(())
}
