//! `log verify`.

use std::io::Write;
use std::sync::Arc;

use millstream_cli::{Output, Table};
use millstream_log::inspect::{
    Finding, FindingKind, PartitionReport, StoppedDirectory, Tail, verify,
};
use millstream_node::check_metadata;
use serde_json::{Value, json};

use super::progress::Progress;
use super::{DirectoryArgs, LogCommandError, counted, written};

pub(super) fn run(args: &DirectoryArgs, out: &mut dyn Write) -> Result<(), LogCommandError> {
    let mut directory = args.open()?;
    // One partition says nothing of the metadata.
    if args.partition.is_none() {
        let found = check_metadata(Arc::clone(directory.disk()), &directory.root);
        if let Some((path, Some(what))) = found {
            directory.damage.push(Finding {
                kind: FindingKind::Log,
                path,
                position: None,
                offset: None,
                what,
            });
        }
    }
    let mut progress = Progress::new();
    let count = directory.partitions.len();
    let mut reports = Vec::with_capacity(count);
    for (number, folder) in directory.partitions.iter().enumerate() {
        let mut tell =
            |bytes| progress.add(&format!("verify {}", folder.name), number + 1, count, bytes);
        reports.push(verify(&**directory.disk(), folder, &mut tell));
    }
    progress.clear();
    written(match args.output {
        Output::Text => print(&directory, &reports, out),
        Output::Json => writeln!(out, "{}", document(&directory, &reports)),
    })?;
    let in_partitions: u64 = reports.iter().map(|report| report.damage_count).sum();
    let damage = in_partitions + directory.damage.len() as u64;
    match damage {
        0 => Ok(()),
        _ => Err(LogCommandError::Damaged(format!(
            "{} damaged in {}; what is wrong with an index or another derived file `millstream log recover` mends, \
             records only a copy can",
            counted(damage, "place"),
            directory.root.display()
        ))),
    }
}

fn print(
    directory: &StoppedDirectory,
    reports: &[PartitionReport],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let headings = [
        "PARTITION",
        "START",
        "DURABLE",
        "END",
        "SEGMENTS",
        "BATCHES",
        "RECORDS",
        "BYTES",
        "DAMAGE",
    ];
    let mut table = Table::new(&headings);
    for report in reports {
        let numbers = [
            report.log_start_offset.0,
            report.recovery_point.0,
            report.log_end_offset.0,
        ];
        let counts = [
            report.segments,
            report.batches,
            report.records,
            report.bytes,
            report.damage_count,
        ];
        let mut row = vec![report.name.clone()];
        row.extend(numbers.iter().map(i64::to_string));
        row.extend(counts.iter().map(u64::to_string));
        table.row(row);
    }
    write!(out, "{table}")?;
    for finding in &directory.damage {
        writeln!(out, "damage: {}", sentence(finding))?;
    }
    for report in reports {
        for finding in &report.damage {
            writeln!(out, "damage: {}", sentence(finding))?;
        }
        let untold = report.damage_count - report.damage.len() as u64;
        if untold > 0 {
            writeln!(
                out,
                "damage: {} more in {}",
                counted(untold, "place"),
                report.name
            )?;
        }
        for finding in &report.notes {
            writeln!(out, "the next start mends: {}", sentence(finding))?;
        }
        if let Some(tail) = &report.tail {
            writeln!(
                out,
                "unfinished tail that recovery will cut: {}, byte {}, offset {}: {}; {}",
                tail.path.display(),
                tail.position,
                tail.offset,
                tail.what,
                counted(tail.bytes, "byte")
            )?;
        }
    }
    for folder in &directory.skipped {
        writeln!(out, "not looked at, no topic owns it: {}", folder.display())?;
    }
    Ok(())
}

/// File, byte, offset, what is wrong.
fn sentence(finding: &Finding) -> String {
    let mut text = finding.path.display().to_string();
    if let Some(position) = finding.position {
        text.push_str(&format!(", byte {position}"));
    }
    if let Some(offset) = finding.offset {
        text.push_str(&format!(", offset {offset}"));
    }
    format!("{text}: {}", finding.what)
}

fn document(directory: &StoppedDirectory, reports: &[PartitionReport]) -> Value {
    json!({
        "directory": directory.root.display().to_string(),
        "damage": directory.damage.iter().map(finding).collect::<Value>(),
        "skipped": directory.skipped.iter().map(|path| path.display().to_string()).collect::<Value>(),
        "partitions": reports.iter().map(partition).collect::<Value>(),
    })
}

fn partition(report: &PartitionReport) -> Value {
    json!({
        "partition": report.name,
        "log_start_offset": report.log_start_offset.0,
        "recovery_point": report.recovery_point.0,
        "log_end_offset": report.log_end_offset.0,
        "segments": report.segments,
        "batches": report.batches,
        "records": report.records,
        "bytes": report.bytes,
        "damage_count": report.damage_count,
        "damage": report.damage.iter().map(finding).collect::<Value>(),
        "notes": report.notes.iter().map(finding).collect::<Value>(),
        "tail": report.tail.as_ref().map(tail),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "kind": finding.kind.name(),
        "file": finding.path.display().to_string(),
        "position": finding.position,
        "offset": finding.offset.map(|offset| offset.0),
        "what": finding.what,
    })
}

fn tail(tail: &Tail) -> Value {
    json!({
        "file": tail.path.display().to_string(),
        "position": tail.position,
        "offset": tail.offset.0,
        "bytes": tail.bytes,
        "what": tail.what,
    })
}
