//! Planted defects: each is written into a copy of the committed tree, and the simulation must find it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::long::simulation;
use crate::tally::{Report, Tally};
use crate::tools::{root, target};

/// A defect: one text of one file, and what stands in its place.
struct Mutant {
    name: &'static str,
    file: &'static str,
    text: &'static str,
    planted: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "no fsync",
        file: "broker/node/src/flush.rs",
        text: "directory.sync(&round.files, &round.directories)",
        planted: "directory.sync(&[], &round.directories)",
    },
    Mutant {
        name: "names are not synced",
        file: "broker/node/src/flush.rs",
        text: "directory.sync(&round.files, &round.directories)",
        planted: "directory.sync(&round.files, &[])",
    },
    Mutant {
        name: "no CRC check",
        file: "broker/log/src/scan.rs",
        text: "checks_crc: true,",
        planted: "checks_crc: false,",
    },
    Mutant {
        name: "acknowledge early",
        file: "broker/replica/src/partition.rs",
        text: "Durability::Fsync => self.log.flushed_offset(),",
        planted: "Durability::Fsync => self.log.log_end_offset(),",
    },
    Mutant {
        name: "drop producer state",
        file: "broker/log/src/open.rs",
        text: "producers: producers.0,",
        planted: "producers: crate::producer_state::ProducerState::default(),",
    },
    Mutant {
        name: "publish a newer end",
        file: "broker/node/src/flush.rs",
        text: "Ok(mut locked) => locked.handle_flushed(end),",
        planted: "Ok(mut locked) => {
                let mut newer = end;
                newer.offset = locked.log().log_end_offset();
                locked.handle_flushed(newer)
            }",
    },
    Mutant {
        name: "believe the page cache",
        file: "broker/log/src/recovery.rs",
        text: "file.forget_cached(start).map_err(|error| self.io(error))?;",
        planted: "",
    },
    Mutant {
        name: "offset commit answered before it is durable",
        file: "broker/coordinator/src/commit.rs",
        text: "outcome.answer(context.token, after, GroupAnswer::Commit(body));",
        planted: "let _ = after;
        outcome.answer(context.token, After::Immediate, GroupAnswer::Commit(body));",
    },
    Mutant {
        name: "commit of a fenced generation accepted",
        file: "broker/coordinator/src/commit.rs",
        text: "self.check_generation(&request.member_id, instance_id, generation_id)?;",
        planted: "self.check_member(&request.member_id, instance_id)?;",
    },
    Mutant {
        name: "loaded group forgets offsets",
        file: "broker/coordinator/src/shard.rs",
        text: "self.is_loading = false;",
        planted: "self.is_loading = false;
        for group in self.groups.values_mut() {
            group.offsets = crate::offsets::Offsets::default();
        }",
    },
    Mutant {
        name: "offsets shown while they load",
        file: "broker/coordinator/src/fetch.rs",
        text: "if let Err(code) = self.check_loaded() {",
        planted: "if let Err(code) = Ok::<(), ErrorCode>(()) {",
    },
    Mutant {
        name: "offsets shown before they are durable",
        file: "broker/coordinator/src/fetch.rs",
        text: "let after = self.after_reading(group);",
        planted: "let after = After::Immediate;",
    },
    Mutant {
        name: "partitions given before it is durable",
        file: "broker/coordinator/src/sync.rs",
        text: ".answer(call.token, after, GroupAnswer::Sync(response));",
        planted: ".answer(call.token, After::Immediate, GroupAnswer::Sync(response));
        let _ = after;",
    },
    Mutant {
        name: "dead member keeps its partitions",
        file: "broker/coordinator/src/shard.rs",
        text: "if member.handle_session_timer(&self.id, step.timers, step.now) {",
        planted: "if member.handle_session_timer(&self.id, step.timers, step.now) && step.now.0 == 0 {",
    },
    Mutant {
        name: "new topic has its namesake's offsets",
        file: "broker/coordinator/src/offsets.rs",
        text: "known && present.is_some_and(",
        planted: "known && false && present.is_some_and(",
    },
    Mutant {
        name: "a failed sync is tried again",
        file: "broker/node/src/flush.rs",
        text: "directory.sync(&round.files, &round.directories)",
        planted: "directory
            .sync(&round.files, &round.directories)
            .or_else(|_| directory.sync(&round.files, &round.directories))",
    },
    Mutant {
        name: "one failed directory fails all",
        file: "broker/node/src/flush.rs",
        text: "if failed.get(partition.directory) == Some(&true) {",
        planted: "if failed.contains(&true) {",
    },
    Mutant {
        name: "recovery does not sync the names of what it publishes",
        file: "broker/log/src/open.rs",
        text: "place.disk.sync_directory(&place.directory)?;
        if is_new && let Some(parent) = place.directory.parent() {",
        planted: "if is_new && let Some(parent) = place.directory.parent() {",
    },
    Mutant {
        name: "damage below the recovery point is cut",
        file: "broker/log/src/open.rs",
        text: "let point = noted.recovery_point.max(self.gaps_end);",
        planted: "let point = Offset::ZERO;",
    },
    Mutant {
        name: "serve without checking CRC",
        file: "broker/log/src/read.rs",
        text: "check_crc(batch).map_err(|error| error.to_string())?;",
        planted: "",
    },
    Mutant {
        name: "the epoch does not rise",
        file: "broker/metadata/src/controller.rs",
        text: "let broker_epoch = last + 1;",
        planted: "let broker_epoch = last.max(1);",
    },
    Mutant {
        name: "forget one batch of each producer",
        file: "broker/log/src/producer_state.rs",
        text: "pub(crate) const BATCHES_MAX: usize = 5;",
        planted: "pub(crate) const BATCHES_MAX: usize = 4;",
    },
    Mutant {
        name: "metadata is not synced",
        file: "broker/quorum/src/quorum.rs",
        text: "        if let Err(source) = log.file.sync_data() {
            return Err(self.fail(&log.path, source));
        }
        log.end += frame.len() as u64;",
        planted: "        log.end += frame.len() as u64;",
    },
    Mutant {
        name: "the checkpoint is not synced",
        file: "broker/log/src/checkpoint.rs",
        text: "        file.sync_data()?;
        disk.rename(&temporary, &path)?;",
        planted: "        disk.rename(&temporary, &path)?;",
    },
    Mutant {
        name: "segments go before the new start is durable",
        file: "broker/node/src/retention.rs",
        text: "let noted = self.write_checkpoints(&[], effects);",
        planted: "let noted: Vec<std::io::Result<bool>> =
            self.directories.iter().map(|_| Ok(true)).collect();",
    },
    Mutant {
        name: "DeleteRecords answered before it is durable",
        file: "broker/node/src/retention.rs",
        text: "noted = self.write_checkpoints(&[], &mut effects);",
        planted: "noted = self.directories.iter().map(|_| Ok::<_, std::io::Error>(true)).collect();",
    },
    Mutant {
        name: "compaction drops a key",
        file: "broker/log/src/compaction/cleaned_batch.rs",
        text: "is_none_or(|last| last.0 <= record.offset)",
        planted: "is_none_or(|last| last.0 < record.offset)",
    },
    Mutant {
        name: "tombstones go at once",
        file: "broker/log/src/compaction/cleaned_batch.rs",
        text: "header.has_delete_horizon() && self.now.0 >= header.base_timestamp;",
        planted: "header.base_timestamp > 0;",
    },
    Mutant {
        name: "a replacement is not synced",
        file: "broker/log/src/compaction/cleaned_segment.rs",
        text: "self.file.sync_data()?;",
        planted: "",
    },
    Mutant {
        name: "retention keeps a segment too few",
        file: "broker/log/src/retention.rs",
        text: ".is_some_and(|max| size - segment.size >= max);",
        planted: ".is_some_and(|max| size >= max);",
    },
];

/// Plants each and runs so many seeds; one that survives is a failed test.
pub fn run(seeds: &str) -> Tally {
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
    for mutant in MUTANTS {
        let outcome = plant(&tree, mutant).and_then(|original| {
            let outcome = simulate(&tree, seeds);
            let path = tree.join(mutant.file);
            fs::write(&path, original).map_err(|e| format!("{}: {e}", path.display()))?;
            match outcome? {
                Outcome::Broken => Ok(()),
                Outcome::Holds => Err(format!("survives {seeds} seeds")),
            }
        });
        report.check(&format!("{} is caught", mutant.name), outcome);
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
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("git clone: {status}")),
        Err(e) => Err(format!("git: {e}")),
    }
}

/// Writes the defect and answers what stood in the file.
fn plant(tree: &Path, mutant: &Mutant) -> Result<String, String> {
    let path = tree.join(mutant.file);
    let original = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    match original.matches(mutant.text).count() {
        1 => {}
        count => {
            return Err(format!(
                "`{}` stands {count} times in {}",
                mutant.text, mutant.file
            ));
        }
    }
    fs::write(&path, original.replace(mutant.text, mutant.planted))
        .map_err(|e| format!("{}: {e}", path.display()))?;
    Ok(original)
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
