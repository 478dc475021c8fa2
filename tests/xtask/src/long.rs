//! `cargo xtask long`: runs that take too long for every change. Each ends in a summary line, which is
//! written down in `tests/RESULTS.md`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use crate::check::{crash_test, script};
use crate::tally::Tally;
use crate::tools::{cargo, root, target};
use crate::{bounds, durability, faults, figures, mutants, recovery, step};

/// Faults of each kind where no number is given.
const FAULTS: &str = "10";
/// Seconds of each measurement beside crowds where no number is given.
const BOUNDS_SECONDS: &str = "10";

/// What can be run, with what each number means.
pub const USAGE: &str = "long sim SEEDS [FIRST] | long mutants SEEDS [NAME...] | long flips BYTES | long crash KILLS [SEED] \
    | long powercut CUTS [ext4|xfs] | long faults [COUNT] | long slowdisk SECONDS \
    | long fuzz MINUTES_PER_TARGET [TARGET...] | long figures ROUNDS \
    | long durability ROUNDS | long recovery GIGABYTES | long bounds [SECONDS]";

/// Runs one of them.
pub fn run(arguments: &[String]) -> Result<Tally, String> {
    let (what, number, rest) = match arguments {
        [what, number, rest @ ..] => (what, number.as_str(), rest),
        [what] if what == "faults" => (what, FAULTS, &[][..]),
        [what] if what == "bounds" => (what, BOUNDS_SECONDS, &[][..]),
        _ => return Err(format!("usage: cargo xtask {USAGE}")),
    };
    let count: u64 = number
        .parse()
        .map_err(|_| format!("{number} is not a number; usage: cargo xtask {USAGE}"))?;
    let began = Instant::now();
    let tally = match what.as_str() {
        "sim" => sim(number, rest.first()),
        "flips" => step::run(&mut flips(number)),
        "mutants" => mutants::run(number, rest),
        "figures" => release() + figures::run(count, &binary()),
        "durability" => release() + durability::run(count, &binary()),
        "recovery" => release() + recovery::run(count, &binary()),
        "powercut" => {
            let file_system = rest.first().map_or("ext4", String::as_str);
            with_load(|| faults::powercut(&binary(), number, file_system))
        }
        "faults" => with_load(|| faults::faults(&binary(), number)),
        "bounds" => with_load(|| bounds::long(&binary(), number)),
        "slowdisk" => with_load(|| faults::slow_disk(&binary(), number, "0")),
        "crash" => crash(number, rest.first().map_or("1", String::as_str)),
        "fuzz" => step::run(
            script("tests/fuzz/run.sh")
                .arg((count * 60).to_string())
                .args(rest),
        ),
        _ => return Err(format!("usage: cargo xtask {USAGE}")),
    };
    println!(
        "long {what} {number}: {tally} in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    Ok(tally)
}

/// So many seeds from the one given on, once each: that a seed is the same twice is for the check.
fn sim(seeds: &str, first: Option<&String>) -> Tally {
    let mut command = simulation(seeds);
    command.env("MILLSTREAM_SIM_ONCE", "1");
    if let Some(first) = first {
        command.env("MILLSTREAM_SIM_FIRST", first);
    }
    step::run(command.args(["every_seed", "--", "--nocapture"]))
}

/// The simulation of so many seeds, to be told which of its tests.
pub fn simulation(seeds: &str) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--quiet", "--locked", "--profile", "ci"])
        .args(["-p", "millstream-tests", "--test", "simulation"])
        .env("MILLSTREAM_SIM_SEEDS", seeds)
        .current_dir(root());
    command
}

/// A bit flipped at every byte of a directory with so many bytes of records.
fn flips(bytes: &str) -> Command {
    let mut command = cargo();
    command.args(["test", "--quiet", "--locked", "--profile", "ci"]);
    command.args(["-p", "millstream-tests", "--test", "bit_flips"]);
    command.args(["--", "--nocapture"]);
    command.env("MILLSTREAM_FLIP_BYTES", bytes);
    command.env("MILLSTREAM_FLIP_STEP", "1");
    command
}

fn crash(kills: &str, seed: &str) -> Tally {
    with_load(|| crash_test(&binary(), kills, seed))
}

/// The load of the `ci` profile on the broker that people run.
fn with_load(test: impl FnOnce() -> Tally) -> Tally {
    let load = [
        "-p",
        "millstream-tests",
        "--bin",
        "crash",
        "--bin",
        "slow_disk",
        "--bin",
        "bounds",
        "--profile",
        "ci",
    ];
    let built = build(&load) + release();
    if built.failed > 0 {
        return built;
    }
    built + test()
}

/// Builds the broker that people run.
fn release() -> Tally {
    build(&["-p", "millstream", "--bin", "millstream", "--release"])
}

fn binary() -> PathBuf {
    target().join("release/millstream")
}

/// Builds a program.
fn build(program: &[&str]) -> Tally {
    let built = step::run_as_one(cargo().args(["build", "--quiet", "--locked"]).args(program));
    // A build is no test, but one that fails is a failure.
    Tally { passed: 0, ..built }
}
