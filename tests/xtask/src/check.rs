//! `cargo xtask check`: everything that must hold before a change lands, in one command that edits nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::tally::{Report, Tally};
use crate::tools::{cargo, find, first_missing, root, target};
use crate::{arrows, bounds, conformance, faults, hygiene, step};

/// Seconds for each fuzz target.
const FUZZ_SECONDS: &str = "10";
/// Kills of the short crash test.
const CRASH_KILLS: &str = "5";
const CRASH_SEED: &str = "1";
/// Rolls are killed too. And Kafka's DumpLogSegments reads a segment anew for each entry of its time index: 240 s
/// for a tenth of the entries of one with 350 MB.
const CRASH_SEGMENTS: [&str; 2] = [
    "--serve-argument=--set",
    "--serve-argument=log.segment.bytes=4194304",
];
/// Seconds of the short run beside a slow disk, and a p99 that shows no stall: machines that check are busy.
const SLOW_DISK_SECONDS: &str = "3";
const GOOD_ENOUGH_MS: &str = "250";
/// Power cuts on each file system, and faults of each kind, of the short tests.
const FAULTS: &str = "3";

/// A name and what is done under it.
type Step = (&'static str, fn() -> Tally);

/// In the order in which they run: what fails soonest comes first.
const STEPS: [Step; 13] = [
    ("fmt", format),
    ("arrows", arrows::check),
    ("hygiene", hygiene::check),
    ("clippy", clippy),
    ("build", build),
    ("test", test),
    ("codec", codec),
    ("fuzz", fuzz),
    ("crash", crash),
    ("powercut", powercut),
    ("faults", faults),
    ("bounds", bounds),
    ("conformance", conform),
];

/// Runs the steps of these names, or all; returns the sum.
pub fn run(names: &[String]) -> Result<Tally, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| !STEPS.iter().any(|(step, _)| step == name))
    {
        return Err(format!(
            "no step {unknown}; there are {}",
            STEPS.map(|(name, _)| name).join(", ")
        ));
    }
    let mut sum = Tally::default();
    let mut times = Vec::new();
    for (name, work) in STEPS {
        if !names.is_empty() && !names.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("== {name}");
        let began = Instant::now();
        let tally = work();
        times.push(format!(
            "{name:<12} {:>6.0} s  {tally}",
            began.elapsed().as_secs_f64()
        ));
        sum += tally;
        println!("== {name}: {:.0} s", began.elapsed().as_secs_f64());
    }
    println!();
    for failure in &sum.failures {
        println!("{failure}");
    }
    println!("{}", times.join("\n"));
    println!(
        "tests: {} passed, {} failed, {} skipped",
        sum.passed, sum.failed, sum.skipped
    );
    Ok(sum)
}

/// Where the `ci` profile puts a program.
pub fn built(name: &str) -> PathBuf {
    let folder = target().join("ci");
    let (program, example) = (folder.join(name), folder.join("examples").join(name));
    if !program.exists() && example.exists() {
        example
    } else {
        program
    }
}

fn format() -> Tally {
    // The names of the files are enough: `cargo xtask fix` shows the rest.
    step::run_as_one(cargo().args(["fmt", "--all", "--", "--check", "-l"]))
}

fn clippy() -> Tally {
    step::run_as_one(
        cargo()
            .args([
                "clippy",
                "--quiet",
                "--locked",
                "--workspace",
                "--all-targets",
                "--profile",
                "ci",
            ])
            .args(["--", "-D", "warnings"]),
    )
}

fn build() -> Tally {
    step::run_as_one(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--workspace",
        "--bins",
        "--examples",
        "--profile",
        "ci",
    ]))
}

fn test() -> Tally {
    step::run(cargo().args([
        "test",
        "--quiet",
        "--locked",
        "--workspace",
        "--no-fail-fast",
        "--profile",
        "ci",
    ]))
}

fn codec() -> Tally {
    match first_missing(&["java", "javac", "mvn"]) {
        Some(program) => step::missing("codec", program),
        None => step::run(script("tests/conformance/codec/run.sh").arg(built("codec-peer"))),
    }
}

fn fuzz() -> Tally {
    match first_missing(&["c++"]) {
        Some(program) => step::missing("fuzz", program),
        None => step::run(script("tests/fuzz/run.sh").arg(FUZZ_SECONDS)),
    }
}

/// A script of the tree, with its caches below the target directory.
pub fn script(path: &str) -> Command {
    let mut command = Command::new("bash");
    let name = path.trim_start_matches("tests/").replace(['/', '.'], "-");
    command
        .arg(root().join(path))
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target().join(name));
    command
}

fn crash() -> Tally {
    crash_test(&built("millstream"), CRASH_KILLS, CRASH_SEED)
}

/// Kills this broker under load, then has Kafka read the files that it left.
pub fn crash_test(broker: &Path, kills: &str, seed: &str) -> Tally {
    let data = target().join("crash-data");
    let directories = [data.clone(), data.with_extension("second")];
    for directory in &directories {
        if directory.exists()
            && let Err(e) = std::fs::remove_dir_all(directory)
        {
            return Tally::failure(format!("crash: {}: {e}", directory.display()));
        }
    }
    let mut command = Command::new(built("crash"));
    command.arg("--millstream").arg(broker);
    command
        .args(["--kills", kills, "--seed", seed, "--data-dir"])
        .arg(&data)
        .arg("--moves")
        .args(CRASH_SEGMENTS);
    let mut tally = step::run_as_one(command.current_dir(root()));
    let mut report = Report::new("crash");
    conformance::dump_logs(&directories, &mut report);
    tally += report.finish();
    tally
}

fn powercut() -> Tally {
    let cut = |file_system| faults::powercut(&built("millstream"), FAULTS, file_system);
    cut("ext4") + cut("xfs")
}

fn faults() -> Tally {
    let broker = built("millstream");
    faults::faults(&broker, FAULTS) + faults::slow_disk(&broker, SLOW_DISK_SECONDS, GOOD_ENOUGH_MS)
}

/// What bad input is answered, and what a broker holds for crowds.
fn bounds() -> Tally {
    let answers = conformance::answers::run(&[])
        .unwrap_or_else(|reason| Tally::failure(format!("answers: {reason}")));
    answers + bounds::short(&built("millstream"))
}

fn conform() -> Tally {
    if find("kill").is_none() {
        return step::missing("conformance", "kill");
    }
    conformance::run(&conformance::Options::new(built("millstream")))
}
