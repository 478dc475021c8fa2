//! Kafka's own tool moves a partition between two log directories while another of its tools writes to it.
//!
//! A broker of its own, for it has two log directories.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::broker::{Broker, Kind};
use super::console::Console;
use super::toolbox::Toolbox;

const TOPIC: &str = "moving";
const RECORDS: u32 = 60_000;
const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";
const PERFORMANCE: &str = "org.apache.kafka.tools.ProducerPerformance";
const OFFSETS: &str = "org.apache.kafka.tools.GetOffsetShell";
const CONSUME: &str = "org.apache.kafka.tools.ConsumerPerformance";
const DONE: &str = "Reassignment of replica moving-0-1 completed successfully.";
const MOVE_MAX: Duration = Duration::from_secs(60);

/// Moves it there and back while records arrive, and looks whether all are there, also after a `kill -9`.
pub fn check(
    console: &Console,
    tools: &mut Toolbox,
    binary: &Path,
    folder: &Path,
) -> Result<(), String> {
    let kind = Kind::Millstream {
        binary: binary.to_owned(),
    };
    let mut broker = Broker::new(kind, &folder.join("moves"))?;
    broker.add_second_data();
    broker.start(&[])?;
    let bootstrap = broker.address();
    let arguments = ["--create", "--topic", TOPIC, "--partitions", "1"];
    let segments = ["--config", "segment.bytes=4194304"];
    console.topics(&bootstrap, &[&arguments[..], &segments].concat())?;
    let directories = [broker.data(), broker.second_data()];
    let began_in = directories
        .iter()
        .position(|directory| has_partition(directory));
    let began_in = began_in.ok_or("the partition is in no log directory")?;
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| write(console, &bootstrap));
        for there in [1 - began_in, began_in, 1 - began_in] {
            move_to(tools, &bootstrap, &directories[there], folder)?;
            if !has_partition(&directories[there]) || has_partition(&directories[1 - there]) {
                return Err("the partition is not where it was moved to".to_owned());
            }
        }
        writer
            .join()
            .map_err(|_| "the writer panicked".to_owned())?
    })?;
    let sent = format!("{RECORDS} records sent");
    if !written.contains(&sent) || written.contains("xception") {
        return Err(format!("the producer says {written}"));
    }
    check_records(tools, &bootstrap)?;
    broker.kill();
    broker.start(&[])?;
    check_records(tools, &broker.address())?;
    broker.stop()
}

fn write(console: &Console, bootstrap: &str) -> Result<String, String> {
    let records = RECORDS.to_string();
    let arguments = [
        "--topic",
        TOPIC,
        "--num-records",
        &records,
        "--record-size",
        "1000",
        "--throughput",
        "6000",
    ];
    console.tool(PERFORMANCE, bootstrap, &arguments)
}

fn move_to(
    tools: &mut Toolbox,
    bootstrap: &str,
    directory: &Path,
    folder: &Path,
) -> Result<(), String> {
    let file = folder.join("move.json");
    let plan = format!(
        r#"{{"version":1,"partitions":[{{"topic":"{TOPIC}","partition":0,"replicas":[1],"log_dirs":["{}"]}}]}}"#,
        directory.display()
    );
    std::fs::write(&file, plan).map_err(|e| format!("{}: {e}", file.display()))?;
    let file = file.display().to_string();
    let common = [
        "--bootstrap-server",
        bootstrap,
        "--reassignment-json-file",
        &file,
    ];
    let mut run = |what: &str| tools.run(REASSIGN, &[&common[..], &[what]].concat());
    let (is_begun, said) = run("--execute")?;
    if !is_begun {
        return Err(said);
    }
    let deadline = Instant::now() + MOVE_MAX;
    loop {
        let (_, said) = run("--verify")?;
        if said.contains(DONE) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("after {MOVE_MAX:?} it says {said}"));
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn check_records(tools: &mut Toolbox, bootstrap: &str) -> Result<(), String> {
    let server = ["--bootstrap-server", bootstrap, "--topic", TOPIC];
    let (_, said) = tools.run(OFFSETS, &server)?;
    let end = format!("{TOPIC}:0:{RECORDS}");
    if !said.contains(&end) {
        return Err(format!("its end is not {end}: {said}"));
    }
    let records = RECORDS.to_string();
    let more = ["--num-records", &records, "--hide-header"];
    let (ok, said) = tools.run(CONSUME, &[&server[..], &more].concat())?;
    match ok && said.contains(&format!(", {RECORDS}, ")) {
        true => Ok(()),
        false => Err(format!("reading it all: {said}")),
    }
}

fn has_partition(directory: &Path) -> bool {
    directory.join(format!("{TOPIC}-0")).is_dir()
}
