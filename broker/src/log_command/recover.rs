//! `log recover`.

use std::io::Write;

use millstream_cli::{Output, Table};
use millstream_env::{Clock, RealClock};
use millstream_log::Cut;
use millstream_log::inspect::{Outcome, Recovered, recover};
use serde_json::{Value, json};

use super::progress::Progress;
use super::{DirectoryArgs, LogCommandError, counted, written};

pub(super) fn run(args: &DirectoryArgs, out: &mut dyn Write) -> Result<(), LogCommandError> {
    let mut directory = args.open_to_write()?;
    let mut progress = Progress::new();
    let count = directory.partitions.len();
    let mut all: Vec<Recovered> = Vec::with_capacity(count);
    let now = RealClock::default().wall_time();
    let recovered = recover(&mut directory, now, &mut |one| {
        let bytes = one
            .outcome
            .as_ref()
            .map_or(0, |outcome| outcome.recovery.scanned_bytes);
        progress.add(
            &format!("recover {}", one.name),
            all.len() + 1,
            count,
            bytes,
        );
        all.push(one);
    });
    progress.clear();
    written(match args.output {
        Output::Text => print(&all, out),
        Output::Json => {
            let partitions: Value = all.iter().map(partition).collect();
            let root = directory.root.display().to_string();
            writeln!(
                out,
                "{}",
                json!({"directory": root, "partitions": partitions})
            )
        }
    })?;
    recovered.map_err(|source| LogCommandError::Write {
        path: directory.root.clone(),
        source,
    })?;
    let left = all.iter().filter(|one| match &one.outcome {
        Ok(outcome) => outcome.damage_count > 0,
        Err(_) => true,
    });
    match left.count() as u64 {
        0 => Ok(()),
        left => Err(LogCommandError::Damaged(format!(
            "{} of {count} cannot be mended from what is there; `millstream log verify` names each place",
            counted(left, "partition")
        ))),
    }
}

fn print(all: &[Recovered], out: &mut dyn Write) -> std::io::Result<()> {
    let mut table = Table::new(&["PARTITION", "START", "END", "SCANNED", "DONE"]);
    for one in all {
        let row = match &one.outcome {
            Ok(outcome) => vec![
                one.name.clone(),
                outcome.noted.log_start_offset.to_string(),
                outcome.noted.recovery_point.to_string(),
                outcome.recovery.scanned_bytes.to_string(),
                what_was_done(outcome),
            ],
            Err(error) => {
                let mut row = vec![one.name.clone()];
                row.extend(["-", "-", "-"].map(str::to_owned));
                row.push(format!("nothing: {error}"));
                row
            }
        };
        table.row(row);
    }
    write!(out, "{table}")
}

fn what_was_done(outcome: &Outcome) -> String {
    let mut done = Vec::new();
    if let Some(cut) = &outcome.recovery.cut {
        let kept: Vec<String> = cut
            .kept_aside
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let aside = match kept.is_empty() {
            true => "no whole batch among them".to_owned(),
            false => format!("kept aside in {}", kept.join(", ")),
        };
        let bytes = counted(cut.bytes, "byte");
        let (path, position) = (cut.path.display(), cut.position);
        done.push(format!(
            "cut {bytes} off {path} at byte {position}, {aside}: {}",
            cut.why
        ));
    }
    if outcome.recovery.epochs_rebuilt {
        done.push("leader epochs gathered".to_owned());
    }
    if outcome.recovery.producers_rebuilt {
        done.push("producers gathered".to_owned());
    }
    if outcome.indexes_rebuilt > 0 {
        done.push(format!(
            "{} of indexes built again",
            counted(outcome.indexes_rebuilt, "file")
        ));
    }
    if outcome.damage_count > 0 {
        done.push(format!(
            "{} left damaged",
            counted(outcome.damage_count, "place")
        ));
    }
    match done.is_empty() {
        true => "nothing to do".to_owned(),
        false => done.join("; "),
    }
}

fn partition(one: &Recovered) -> Value {
    match &one.outcome {
        Err(error) => json!({"partition": one.name, "error": error.to_string()}),
        Ok(outcome) => json!({
            "partition": one.name,
            "log_start_offset": outcome.noted.log_start_offset.0,
            "log_end_offset": outcome.noted.recovery_point.0,
            "scanned_bytes": outcome.recovery.scanned_bytes,
            "cut": outcome.recovery.cut.as_ref().map(cut),
            "epochs_rebuilt": outcome.recovery.epochs_rebuilt,
            "producers_rebuilt": outcome.recovery.producers_rebuilt,
            "indexes_rebuilt": outcome.indexes_rebuilt,
            "damage_count": outcome.damage_count,
        }),
    }
}

fn cut(cut: &Cut) -> Value {
    json!({
        "file": cut.path.display().to_string(),
        "position": cut.position,
        "offset": cut.offset.0,
        "bytes": cut.bytes,
        "why": cut.why,
        "kept_aside": cut.kept_aside.iter().map(|path| path.display().to_string()).collect::<Value>(),
    })
}
