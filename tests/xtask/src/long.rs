//! `cargo xtask long`: runs that take too long for every change. Each ends in a summary line, which is
//! written down in `tests/RESULTS.md`.

use std::process::Command;
use std::time::Instant;

use crate::check::{crash_test, script};
use crate::mutants;
use crate::step;
use crate::tally::Tally;
use crate::tools::{cargo, root};

/// What can be run, with what each number means.
pub const USAGE: &str =
    "long sim SEEDS | long mutants SEEDS | long crash KILLS [SEED] | long fuzz MINUTES_PER_TARGET";

/// Runs one of them.
pub fn run(arguments: &[String]) -> Result<Tally, String> {
    let [what, number, rest @ ..] = arguments else {
        return Err(format!("usage: cargo xtask {USAGE}"));
    };
    let count: u64 = number
        .parse()
        .map_err(|_| format!("{number} is not a number; usage: cargo xtask {USAGE}"))?;
    let began = Instant::now();
    let tally = match what.as_str() {
        "sim" => step::run(simulation(number).args(["every_seed", "--", "--nocapture"])),
        "mutants" => mutants::run(number),
        "crash" => build() + crash_test(number, rest.first().map_or("1", String::as_str)),
        "fuzz" => step::run(script("tests/fuzz/run.sh").arg((count * 60).to_string())),
        _ => return Err(format!("usage: cargo xtask {USAGE}")),
    };
    println!(
        "long {what} {number}: {tally} in {:.0} s",
        began.elapsed().as_secs_f64()
    );
    Ok(tally)
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

fn build() -> Tally {
    let built = step::run_as_one(cargo().args([
        "build",
        "--quiet",
        "--locked",
        "--workspace",
        "--bins",
        "--profile",
        "ci",
    ]));
    // A build is no test, but one that fails is a failure.
    Tally { passed: 0, ..built }
}
