//! Planted defects: each is written into a copy of the committed tree, and the simulation must find it.
//!
//! Every promise that the simulation checks has a defect at least, or the promise is not checked
//! (`tests/FAILURES.md` says which checker keeps it).

mod planted;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::long::simulation;
use crate::tally::{Report, Tally};
use crate::tools::{root, target};
use planted::MUTANTS;

/// A defect: one text of one file, and what stands in its place.
struct Mutant {
    name: &'static str,
    /// What it breaks.
    promise: Promise,
    file: &'static str,
    text: &'static str,
    planted: &'static str,
}

/// What the simulation checks. One without a defect does not compile: it would never be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    /// What was acknowledged is there.
    Records,
    /// Each producer's records are in its order.
    Order,
    /// What is sent again is there once.
    Duplicates,
    /// A committed offset never goes back and is never forgotten.
    Commits,
    /// Nobody owns what another member owns, and a generation that is over has no say.
    Owners,
    /// A static member has its partitions back, and the former one is fenced.
    StaticMembers,
    /// Deleted groups and offsets do not come back.
    GroupDeletion,
    /// A topic that is made again is another.
    Lives,
    /// Deleted records do not come back, and others do not go with them.
    DeletedRecords,
    /// Retention takes what it may and no more.
    Retention,
    /// The last value of each key stays.
    Compaction,
    /// Damage is refused where it is, and hides nothing else.
    Damage,
    /// A failed directory takes its own partitions only.
    Directories,
    /// Configs are as acknowledged, and in force.
    Configs,
    /// A topic never loses a partition, and new ones take records.
    Partitions,
    /// Quotas are as acknowledged, and in force.
    Quotas,
    /// Credentials are as acknowledged.
    Credentials,
    /// Levels of features are as acknowledged.
    Features,
    /// A change of metadata is made as a whole or not at all.
    Whole,
    /// Versions of the metadata never go back.
    Versions,
}

/// Plants each, or those of these names, and runs so many seeds; one that survives is a failed test.
pub fn run(seeds: &str, names: &[String]) -> Tally {
    let mut report = Report::new("mutants");
    let tree = target().join("mutants-tree");
    match copy(&tree).and_then(|()| simulate(&tree, seeds)) {
        Ok(Outcome::Holds) => {}
        Ok(Outcome::Broken) => {
            let reason = "the simulation fails without any planted defect".to_owned();
            report.check("nothing planted", Err(reason));
            return report.finish();
        }
        Err(reason) => {
            report.check("a copy of the tree", Err(reason));
            return report.finish();
        }
    }
    let is_wanted = |mutant: &&Mutant| {
        names.is_empty() || names.iter().any(|name| mutant.name.contains(name.as_str()))
    };
    for mutant in MUTANTS.iter().filter(is_wanted) {
        let outcome = plant(&tree, mutant).and_then(|original| {
            let outcome = simulate(&tree, seeds);
            let path = tree.join(mutant.file);
            fs::write(&path, original).map_err(|e| format!("{}: {e}", path.display()))?;
            match outcome? {
                Outcome::Broken => Ok(()),
                Outcome::Holds => Err(format!("survives {seeds} seeds")),
            }
        });
        let promise = mutant.promise;
        report.check(&format!("{} ({promise:?}) is caught", mutant.name), outcome);
    }
    report.finish()
}

enum Outcome {
    Holds,
    Broken,
}

fn copy(tree: &Path) -> Result<(), String> {
    if tree.exists() {
        fs::remove_dir_all(tree).map_err(|e| format!("{}: {e}", tree.display()))?;
    }
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--local"])
        .arg(root())
        .arg(tree);
    match git.status() {
        Ok(status) if status.success() => {
            println!("mutants: of the last commit; what is not committed is not in it");
            Ok(())
        }
        Ok(status) => Err(format!("git clone: {status}")),
        Err(e) => Err(format!("git: {e}")),
    }
}

/// Writes the defect and answers what stood in the file.
fn plant(tree: &Path, mutant: &Mutant) -> Result<String, String> {
    let path = tree.join(mutant.file);
    let original = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    check_text(mutant, &original)?;
    fs::write(&path, original.replace(mutant.text, mutant.planted))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(original)
}

/// Checks that the text which a defect takes the place of stands once in its file.
fn check_text(mutant: &Mutant, original: &str) -> Result<(), String> {
    match original.matches(mutant.text).count() {
        1 => Ok(()),
        count => Err(format!(
            "`{}` stands {count} times in {}",
            mutant.text, mutant.file
        )),
    }
}

/// Builds first, so that a defect that does not compile is not taken for one that was caught.
fn simulate(tree: &Path, seeds: &str) -> Result<Outcome, String> {
    let test = |what: &str| {
        simulation(seeds)
            .arg(what)
            .current_dir(tree)
            .env("CARGO_TARGET_DIR", target().join("mutants"))
            // One run finds a defect, and most of the time goes into building.
            .env("MILLSTREAM_SIM_ONCE", "1")
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_CI_OPT_LEVEL", "1")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|e| format!("cargo: {e}"))
    };
    if !test("--no-run")?.success() {
        return Err("does not compile".to_owned());
    }
    Ok(match test("every_seed")?.success() {
        true => Outcome::Holds,
        false => Outcome::Broken,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_defect_has_its_place() {
        for mutant in MUTANTS {
            let original = fs::read_to_string(root().join(mutant.file)).unwrap();
            assert_eq!(check_text(mutant, &original), Ok(()), "{}", mutant.name);
        }
    }
}
