//! `cargo xtask long durability ROUNDS`: what it costs that acknowledged means durable, beside what the
//! machine can do at best (`millstream bench floor`) and beside `millstream.durability=replicated`.
//!
//! Every throughput is measured with both durabilities in turn and ends with a `syncfs` inside its time. Without a
//! delay each is measured twice, once before the other and once after it, for the order makes a difference. Before
//! each measurement what was removed is synced and the disk rests: a file system still frees blocks then, and
//! ext4 without a journal is slow to make a file where one was removed in the last seconds.
//! On a virtual machine memory is slow at its first touch: page faults of the host under writes to the page
//! cache, 1.7 CPU s/GB. The first of two runs met them, and the other took what that had freed. So all free
//! memory is touched first.
//!
//! What is wanted holds for the median of the rounds, which is printed at the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::conformance::{Broker, Kind};
use crate::measure::{bench, kib, median, number, shown};
use crate::process::output;
use crate::tally::{Report, Tally};
use crate::tools::{first_missing, target};

/// How long the disk rests before a measurement.
const REST: Duration = Duration::from_secs(7);
/// How long the machine rests when all memory was touched: until then single syncs take 300 ms and more.
const REST_OF_MEMORY: Duration = Duration::from_secs(30);
/// What is added to each sync in the runs on a slow disk.
const SYNC_DELAY: Duration = Duration::from_millis(5);
const LATENCY: [&str; 5] = [
    "latency",
    "--rate=1000",
    "--duration=20s",
    "--no-consumer",
    "--topic=rate",
];
/// Each durability once before the other and once after it.
const IN_TURNS: [&str; 4] = ["fsync", "replicated", "replicated", "fsync"];

/// A load at saturation: 1 KiB records, batches of 64 KiB, 4 producers.
struct Load {
    name: &'static str,
    arguments: &'static [&'static str],
}

const LOADS: [Load; 4] = [
    Load {
        name: "1 partition",
        arguments: &["--partitions=1"],
    },
    Load {
        name: "500 partitions, a batch in a request",
        arguments: &["--partitions=500"],
    },
    Load {
        name: "500 partitions, 16 batches in a request",
        arguments: &["--partitions=500", "--partitions-per-request=16"],
    },
    Load {
        name: "500 partitions, 16 batches in a request, 20 in flight",
        arguments: &[
            "--partitions=500",
            "--partitions-per-request=16",
            "--in-flight=20",
        ],
    },
];

/// What a ratio must be.
#[derive(Clone, Copy)]
enum Wanted {
    AtMost(f64),
    AtLeast(f64),
}

struct Durability<'a> {
    millstream: &'a Path,
    folder: PathBuf,
    report: Report,
    /// What was measured in each round.
    ratios: BTreeMap<String, (Wanted, Vec<f64>)>,
}

/// Measures so many rounds and prints a table for each.
pub fn run(rounds: u64, millstream: &Path) -> Tally {
    let mut durability = Durability {
        millstream,
        folder: target().join("durability"),
        report: Report::new("durability"),
        ratios: BTreeMap::new(),
    };
    for round in 1..=rounds {
        let ready = fs::create_dir_all(&durability.folder)
            .map_err(|e| format!("{}: {e}", durability.folder.display()));
        let warm = ready.and_then(|()| touch_memory());
        durability.report.check("warm-up", warm);
        let latency = durability.latency();
        durability
            .report
            .check(&format!("latency, round {round}"), latency);
        let throughput = durability.throughputs(Duration::ZERO);
        durability
            .report
            .check(&format!("throughput, round {round}"), throughput);
        if let Some(program) = first_missing(&["strace"]) {
            durability
                .report
                .skip("throughput with slow syncs", program);
            continue;
        }
        let throughput = durability.throughputs(SYNC_DELAY);
        durability.report.check(
            &format!("throughput with slow syncs, round {round}"),
            throughput,
        );
    }
    durability.judge();
    if let Err(e) = fs::remove_dir_all(&durability.folder) {
        println!("{}: {e}", durability.folder.display());
    }
    durability.report.finish()
}

impl Durability<'_> {
    /// Runs `millstream bench` on a broker of its own.
    fn measure(
        &self,
        place: &str,
        durability: &str,
        delay: Duration,
        arguments: &[&str],
    ) -> Result<Value, String> {
        let kind = Kind::Millstream {
            binary: self.millstream.to_owned(),
        };
        let mut broker = Broker::new(kind, &self.folder.join(place))?;
        settle()?;
        broker.delay_syncs(delay);
        broker.start(&[("millstream.durability", durability)])?;
        let id = broker.id().ok_or("the broker does not run")?.to_string();
        let address = broker.address();
        let at = ["--bootstrap", &address, "--pid", &id];
        let data = broker.data().display().to_string();
        let end = ["--sync-directory", &data];
        let end = if arguments[0] == "produce" {
            &end[..]
        } else {
            &[]
        };
        let measured = bench(self.millstream, &[arguments, &at, end].concat())?;
        broker.stop()?;
        Ok(measured)
    }

    fn note(&mut self, what: &str, wanted: Wanted, ratio: f64) {
        let noted = self.ratios.entry(what.to_owned());
        noted.or_insert((wanted, Vec::new())).1.push(ratio);
    }

    /// Whether the medians are what is wanted.
    fn judge(&mut self) {
        for (what, (wanted, ratios)) in std::mem::take(&mut self.ratios) {
            let median = median(&ratios);
            let (is_met, bound) = match wanted {
                Wanted::AtMost(bound) => (median <= bound, format!("at most {bound}")),
                Wanted::AtLeast(bound) => (median >= bound, format!("at least {bound}")),
            };
            let all: Vec<String> = ratios.into_iter().map(shown).collect();
            let found = format!("{} ({}), {bound}", shown(median), all.join(", "));
            let outcome = match is_met {
                true => Ok(()),
                false => Err("not met".to_owned()),
            };
            self.report.check(&format!("{what}: {found}"), outcome);
        }
    }

    fn latency(&mut self) -> Result<(), String> {
        let folder = self.folder.display().to_string();
        settle()?;
        let floor = [
            "floor",
            "--rate=1000",
            "--duration=20s",
            "--bytes=64m",
            "--directory",
            &folder,
        ];
        let floor = bench(self.millstream, &floor)?;
        let measured = self.measure("broker", "fsync", Duration::ZERO, &LATENCY)?;
        let (round_trip, sync) = (
            number(&floor, "/round_trip/p50_ms")?,
            number(&floor, "/append_and_sync/p50_ms")?,
        );
        let sync_p99 = number(&floor, "/append_and_sync/p99_ms")?;
        let (p50, p99) = (
            number(&measured, "/acknowledgement/p50_ms")?,
            number(&measured, "/acknowledgement/p99_ms")?,
        );
        println!("| at 1,000/s | floor, ms | measured, ms | ratio |");
        println!("| --- | --- | --- | --- |");
        let floor_p50 = round_trip + sync;
        println!(
            "| acknowledgement p50; round trip {} + append and sync {} | {} | {} | {} |",
            shown(round_trip),
            shown(sync),
            shown(floor_p50),
            shown(p50),
            shown(p50 / floor_p50)
        );
        println!(
            "| acknowledgement p99; append and sync p99 | {} | {} | {} |",
            shown(sync_p99),
            shown(p99),
            shown(p99 / sync_p99)
        );
        self.note(
            "acknowledgement p50 to the floor",
            Wanted::AtMost(1.5),
            p50 / floor_p50,
        );
        self.note(
            "acknowledgement p99 to the floor",
            Wanted::AtMost(10.0),
            p99 / sync_p99,
        );
        Ok(())
    }

    /// What the disk can do, beside the throughputs.
    fn disk(&self) -> Result<(), String> {
        let folder = self.folder.display().to_string();
        settle()?;
        let floor = ["floor", "--duration=1s", "--directory", &folder];
        let floor = bench(self.millstream, &floor)?;
        println!(
            "the disk: {} MB/s in sequence, {} MB/s in batches of 64 KiB to 500 files by 20 writers, each synced",
            shown(number(&floor, "/sequential_write/megabytes_per_second")?),
            shown(number(&floor, "/many_files/megabytes_per_second")?)
        );
        Ok(())
    }

    fn throughputs(&mut self, delay: Duration) -> Result<(), String> {
        let wanted = Wanted::AtLeast(if delay.is_zero() { 0.8 } else { 0.5 });
        self.disk()?;
        println!(
            "| {} ms more for each sync | fsync, MB/s | replicated, MB/s | share | fsync: CPU s/GB, p50, p99 ms |",
            delay.as_millis()
        );
        println!("| --- | --- | --- | --- | --- |");
        for load in &LOADS {
            let common = ["produce", "--bytes=2g", "--producers=4"];
            let arguments = [&common, load.arguments].concat();
            let turns = match delay.is_zero() {
                true => &IN_TURNS[..],
                false => &IN_TURNS[..2],
            };
            let (mut fsync, mut replicated) = (Vec::new(), Vec::new());
            for durability in turns {
                let measured = self.measure("broker", durability, delay, &arguments)?;
                match *durability {
                    "fsync" => fsync.push(measured),
                    _ => replicated.push(measured),
                }
            }
            let rate = |of| mean(of, "/throughput/megabytes_per_second");
            let share = rate(&fsync)? / rate(&replicated)?;
            let what = format!("{} ms more, {}", delay.as_millis(), load.name);
            self.note(&what, wanted, share);
            println!(
                "| {} | {} | {} | {:.0} % | {}, {}, {} |",
                load.name,
                shown(rate(&fsync)?),
                shown(rate(&replicated)?),
                100.0 * share,
                shown(mean(&fsync, "/broker/cpu_seconds_per_gb")?),
                shown(mean(&fsync, "/acknowledgement/p50_ms")?),
                shown(mean(&fsync, "/acknowledgement/p99_ms")?)
            );
        }
        Ok(())
    }
}

/// The mean of a number in several measurements.
fn mean(measured: &[Value], pointer: &str) -> Result<f64, String> {
    let found: Result<Vec<f64>, String> = measured.iter().map(|of| number(of, pointer)).collect();
    let found = found?;
    Ok(found.iter().sum::<f64>() / found.len() as f64)
}

/// Touches nearly all memory that is free or holds what can be read again.
fn touch_memory() -> Result<(), String> {
    let available = kib("/proc/meminfo", "MemAvailable:")? << 10;
    let touched = vec![1u8; (available / 100 * 93) as usize];
    std::hint::black_box(&touched);
    drop(touched);
    thread::sleep(REST_OF_MEMORY);
    Ok(())
}

/// What was removed is removed from the disk too, and the disk has rested.
fn settle() -> Result<(), String> {
    let (ok, out, err) = output(&mut Command::new("sync"), Duration::from_secs(300))?;
    if !ok {
        return Err(format!("sync: {out}{err}"));
    }
    thread::sleep(REST);
    Ok(())
}
