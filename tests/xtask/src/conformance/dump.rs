//! Kafka's own reader over every file that the broker left.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::compaction::COMPACTED;
use super::console::java;
use crate::process::{Process, collect, last_lines, output};
use crate::tally::Report;

const DUMP: &str = "org.apache.kafka.tools.DumpLogSegments";
const DUMP_MAX: Duration = Duration::from_secs(300);
/// What Kafka's reader, which prints every record, gets more for each MiB of the files.
const DUMP_MAX_PER_MIB: Duration = Duration::from_secs(2);
/// Bytes of one `--files`: Linux takes 128 KiB as one argument (`MAX_ARG_STRLEN`).
const LIST_MAX: usize = 64 << 10;
/// What the reader says when something is wrong.
const COMPLAINTS: [&str; 7] = [
    "Mismatches in",
    "timestamp mismatch",
    "out of order timestamp",
    "invalid bytes",
    "isvalid: false",
    "Exception",
    "ERROR",
];
/// What it says of a gap between offsets, which is right only where compaction was. It begins every
/// segment at offset −1.
const GAP: &str = " is followed by ";
const BEGINNING: &str = "-1 is followed by ";

/// Has the broker's own `log verify` look at everything that it left.
pub fn verify(binary: &Path, data: &Path) -> Result<(), String> {
    let mut command = Command::new(binary);
    command.args(["log", "verify"]).arg(data);
    match output(&mut command, DUMP_MAX)? {
        (true, _, _) => Ok(()),
        (false, out, err) => Err(last_lines(&format!("{out}\n{err}"), 12)),
    }
}

/// Reads every partition folder below a broker's log directories; finding nothing to read in all of them is a failure.
///
/// `has_groups` says that consumers committed there.
pub fn check(jars: &Path, directories: &[PathBuf], has_groups: bool, report: &mut Report) {
    let found: Result<Vec<_>, _> = directories.iter().map(|one| files(one)).collect();
    let (offsets, others): (Vec<PathBuf>, Vec<PathBuf>) = match found {
        Ok(files) => files
            .into_iter()
            .flatten()
            .partition(|file| file.to_string_lossy().contains("__consumer_offsets-")),
        Err(reason) => {
            report.check("DumpLogSegments", Err(reason));
            return;
        }
    };
    let (compacted, others): (Vec<PathBuf>, Vec<PathBuf>) = others
        .into_iter()
        .partition(|file| file.to_string_lossy().contains(&format!("{COMPACTED}-")));
    report.check(
        "DumpLogSegments: logs, indexes and snapshots",
        dump(jars, &others, &["--deep-iteration"], false),
    );
    if !compacted.is_empty() {
        report.check(
            "DumpLogSegments: what compaction left",
            dump(jars, &compacted, &["--deep-iteration"], true),
        );
    }
    if has_groups {
        report.check(
            "DumpLogSegments: __consumer_offsets, decoded",
            dump(
                jars,
                &offsets,
                &["--deep-iteration", "--offsets-decoder"],
                false,
            ),
        );
    }
}

/// The codecs of the batches in the first segment of a partition's folder, as Kafka's reader names them.
pub fn codecs(jars: &Path, folder: &Path) -> Result<BTreeSet<String>, String> {
    let file = folder.join("00000000000000000000.log");
    let mut command = java(jars, DUMP);
    command.arg("--files").arg(&file);
    match output(&mut command, DUMP_MAX)? {
        (true, out, _) => Ok(out
            .lines()
            .filter_map(|line| line.split_once(" compresscodec: ")?.1.split(' ').next())
            .map(str::to_uppercase)
            .collect()),
        (false, out, err) => Err(last_lines(&format!("{out}\n{err}"), 3)),
    }
}

fn files(data: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for folder in fs::read_dir(data)
        .map_err(|e| format!("{}: {e}", data.display()))?
        .flatten()
    {
        // Topic partitions only: the metadata log is each broker's own.
        let name = folder.file_name().to_string_lossy().into_owned();
        let is_partition = name
            .rsplit_once('-')
            .is_some_and(|(_, number)| number.parse::<u32>().is_ok());
        if !is_partition || name.starts_with("__cluster_metadata") {
            continue;
        }
        for file in fs::read_dir(folder.path())
            .map_err(|e| e.to_string())?
            .flatten()
        {
            let path = file.path();
            let suffix = path
                .extension()
                .and_then(|end| end.to_str())
                .unwrap_or_default()
                .to_owned();
            if ["log", "index", "timeindex", "snapshot", "txnindex"].contains(&suffix.as_str()) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads all of `files`, with as many calls as the lengths of their names ask for.
fn dump(
    jars: &Path,
    files: &[PathBuf],
    options: &[&str],
    may_have_gaps: bool,
) -> Result<(), String> {
    if !files
        .iter()
        .any(|file| file.extension().is_some_and(|end| end == "log"))
    {
        return Err("there are no log files to read".to_owned());
    }
    let mut records = 0;
    for list in lists(files, LIST_MAX) {
        records += dump_list(jars, list, options, may_have_gaps)?;
    }
    if records == 0 {
        return Err("found no record".to_owned());
    }
    println!(
        "     DumpLogSegments read {} files, {records} records",
        files.len()
    );
    Ok(())
}

/// `files` in runs whose names, joined by commas, take at most `max` bytes; a longer name is its own run.
fn lists(files: &[PathBuf], max: usize) -> Vec<&[PathBuf]> {
    let (mut lists, mut from, mut length) = (Vec::new(), 0, 0);
    for (i, file) in files.iter().enumerate() {
        let name = file.as_os_str().len() + 1;
        if i > from && length + name > max {
            lists.push(&files[from..i]);
            (from, length) = (i, 0);
        }
        length += name;
    }
    lists.push(&files[from..]);
    lists
}

/// The records that the tool found in `files`, which fit one call.
fn dump_list(
    jars: &Path,
    files: &[PathBuf],
    options: &[&str],
    may_have_gaps: bool,
) -> Result<u64, String> {
    let list: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    let mut command = java(jars, DUMP);
    command.args(options).args(["--files", &list.join(",")]);
    let bytes: u64 = files
        .iter()
        .filter_map(|file| Some(file.metadata().ok()?.len()))
        .sum();
    let limit = DUMP_MAX + DUMP_MAX_PER_MIB * (bytes >> 20) as u32;
    let mut process = Process::start(&mut command, limit).map_err(|e| e.to_string())?;
    let err = collect(process.take_stderr());
    let out = BufReader::with_capacity(1 << 18, process.take_stdout().ok_or("no standard output")?);
    let (mut read, mut records, mut complaint, mut about) = (0, 0u64, None, String::new());
    for line in out.split(b'\n') {
        let line = line.map_err(|e| e.to_string())?;
        let line = String::from_utf8_lossy(&line);
        if let Some(file) = line.strip_prefix("Dumping ") {
            read += 1;
            about = file.to_owned();
        } else if line.starts_with("| offset: ") {
            records += 1;
            continue; // A record's own text may hold anything.
        }
        if complaint.is_none() && COMPLAINTS.iter().any(|words| line.contains(words)) {
            complaint = Some(format!("{line} (while reading {about})"));
        }
    }
    let status = process.wait(DUMP_MAX)?;
    let err = err.join().unwrap_or_default();
    let is_gap = |line: &str| line.contains(GAP) && !line.trim_start().starts_with(BEGINNING);
    // Most of what is wrong is said there.
    let complaint = complaint.or(err
        .lines()
        .find(|line| {
            (!may_have_gaps && is_gap(line)) || COMPLAINTS.iter().any(|words| line.contains(words))
        })
        .map(str::to_owned));
    match complaint {
        Some(complaint) => Err(complaint),
        None if !status.success() => Err(format!("{status}: {}", last_lines(&err, 3))),
        None if read != files.len() => Err(format!("read {read} of {} files", files.len())),
        None => Ok(records),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_every_file_once_and_stay_within_their_bytes() {
        let files: Vec<PathBuf> = (0..1_000)
            .map(|i| PathBuf::from(format!("/data/topic-{i}/00000000000000000000.log")))
            .collect();
        let lists = lists(&files, 1_000);
        assert_eq!(lists.concat(), files);
        for list in &lists {
            let bytes: usize = list.iter().map(|file| file.as_os_str().len() + 1).sum();
            assert!(bytes <= 1_000, "{bytes} bytes in one list");
        }
        assert!(lists.len() < 60, "{} lists", lists.len());
    }

    #[test]
    fn a_name_longer_than_a_list_is_read_by_itself() {
        let files = ["a", "a long name", "b"].map(PathBuf::from);
        assert_eq!(lists(&files, 4).len(), 3);
    }
}
