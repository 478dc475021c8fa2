//! The project's own commands: `cargo xtask check`, `fix`, `conformance` and `long`.

mod arrows;
mod bounds;
mod check;
mod conformance;
mod durability;
mod faults;
mod figures;
mod hygiene;
mod long;
mod measure;
mod mutants;
mod process;
mod recovery;
mod step;
mod tally;
mod tools;

use std::env;
use std::process::ExitCode;

use crate::tally::Tally;

const USAGE: &str = "usage: cargo xtask COMMAND
  check [STEP…]    everything that must hold: fmt arrows hygiene clippy build test codec fuzz crash
                   powercut faults bounds conformance
  fix              format, and what clippy can mend by itself
  conformance [--against kafka] [--binary FILE] [--clients A,B] [--count N] [--record-requests]
                   foreign clients against a broker; --record-requests writes who drove what into README.md
  answers [--against kafka [--record]]
                   what batches and bad input are answered, against what Kafka said";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let outcome = match arguments.split_first() {
        Some((command, rest)) if command == "check" => check::run(rest),
        Some((command, rest)) if command == "conformance" => {
            conformance::Options::read(rest).map(|o| conformance::run(&o))
        }
        Some((command, rest)) if command == "answers" => conformance::answers::run(rest),
        Some((command, rest)) if command == "long" => long::run(rest),
        Some((command, [])) if command == "fix" => Ok(fix()),
        _ => Err(format!("{USAGE}\n  {}", long::USAGE)),
    };
    match outcome {
        Ok(tally) if tally.failed == 0 => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(2)
        }
    }
}

/// The only command that edits files.
fn fix() -> Tally {
    let mut tally = step::run_as_one(tools::cargo().args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--fix",
        "--allow-dirty",
    ]));
    tally += step::run_as_one(tools::cargo().args(["fmt", "--all"]));
    tally
}
