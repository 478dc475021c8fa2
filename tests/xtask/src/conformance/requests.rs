//! The README's table of requests: which client or tool drives each version, and what only the codec's proof
//! covers.
//!
//! ```text
//! | request | versions | driven by |
//! | --- | --- | --- |
//! | Heartbeat | 0 – 4 | 3: kafkajs; 4: franz-go, java; 0 – 2: codec |
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use super::meter::Driven;
use crate::tally::Report;
use crate::tools::root;

const HEADING: &str = "| request | versions | driven by |\n| --- | --- | --- |\n";
/// No client sends it: the codec's proof, byte for byte against Kafka's own classes, covers it.
const CODEC: &str = "codec";
/// It is advertised and has no codec.
const REFUSED: &str = "refused";

type Names = BTreeSet<String>;

/// A row of the table.
struct Row {
    request: String,
    /// The text of its versions.
    versions: String,
    /// Who drives each of them.
    by: BTreeMap<i16, Names>,
}

/// Everything that the README says of those who ran must have been seen. What was seen besides is told.
pub fn check(driven: &Driven, report: &mut Report) -> Result<(), String> {
    let text = read()?;
    let (_, rows, _) = parts(&text)?;
    for (who, seen) in driven {
        let (mut said, mut missing) = (BTreeSet::new(), Vec::new());
        for row in &rows {
            for (version, names) in &row.by {
                if names.contains(*who) {
                    let request = (row.request.clone(), *version);
                    if !seen.contains(&request) {
                        missing.push(format!("{} {version}", row.request));
                    }
                    said.insert(request);
                }
            }
        }
        for (request, version) in seen.difference(&said) {
            println!("     {who} drove {request} {version}, which README.md does not say");
        }
        let outcome = match missing.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "README.md says that {who} drives {}, and it did not",
                missing.join(", ")
            )),
        };
        report.check(&format!("{who} drives what README.md says"), outcome);
    }
    Ok(())
}

/// Writes down what was seen of those who ran. What is said of others stays.
pub fn record(driven: &Driven) -> Result<(), String> {
    let text = read()?;
    let (before, mut rows, after) = parts(&text)?;
    for row in &mut rows {
        for (version, names) in &mut row.by {
            if names.contains(REFUSED) {
                continue;
            }
            let request = (row.request.clone(), *version);
            names.retain(|name| name != CODEC && !driven.contains_key(name.as_str()));
            let seen = driven.iter().filter(|(_, seen)| seen.contains(&request));
            names.extend(seen.map(|(who, _)| (*who).to_owned()));
            if names.is_empty() {
                names.insert(CODEC.to_owned());
            }
        }
    }
    let rows: String = rows.iter().map(Row::line).collect();
    let text = format!("{before}{HEADING}{rows}{after}");
    fs::write(path(), text).map_err(|e| format!("README.md: {e}"))
}

fn path() -> PathBuf {
    root().join("README.md")
}

fn read() -> Result<String, String> {
    fs::read_to_string(path()).map_err(|e| format!("README.md: {e}"))
}

/// What is before the table, its rows, and what is after it.
fn parts(text: &str) -> Result<(&str, Vec<Row>, &str), String> {
    let (before, rest) = text
        .split_once(HEADING)
        .ok_or("README.md has no table of requests")?;
    let end = rest.find("\n\n").map_or(rest.len(), |end| end + 1);
    let (table, after) = rest.split_at(end);
    let rows = table.lines().map(Row::read).collect::<Result<_, _>>()?;
    Ok((before, rows, after))
}

impl Row {
    fn read(line: &str) -> Result<Row, String> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", request, versions, driven, ""] = cells[..] else {
            return Err(format!("README.md: not understood: {line}"));
        };
        let mut by: BTreeMap<i16, Names> = BTreeMap::new();
        for entry in driven.split(';') {
            let entry = entry.split_once(':');
            let entry = entry.and_then(|(of, names)| Some((read_versions(of)?, names)));
            let (of, names) = entry.ok_or(format!("README.md: not understood: {line}"))?;
            for version in of {
                let names = names.split(',').map(|name| name.trim().to_owned());
                by.entry(version).or_default().extend(names);
            }
        }
        Ok(Row {
            request: request.to_owned(),
            versions: versions.to_owned(),
            by,
        })
    }

    fn line(&self) -> String {
        let mut groups: BTreeMap<&Names, Vec<i16>> = BTreeMap::new();
        for (version, names) in &self.by {
            groups.entry(names).or_default().push(*version);
        }
        let mut groups: Vec<_> = groups.into_iter().collect();
        // What somebody drives comes first.
        groups.sort_by_key(|(names, of)| (names.contains(CODEC), of[0]));
        let entries = groups.iter().map(|(names, of)| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            format!("{}: {}", write_versions(of), names.join(", "))
        });
        let entries: Vec<String> = entries.collect();
        let (request, versions) = (&self.request, &self.versions);
        format!("| {request} | {versions} | {} |\n", entries.join("; "))
    }
}

/// `0 – 3, 5`.
fn read_versions(text: &str) -> Option<Vec<i16>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('–').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<i16>().ok();
        all.extend(number(first)?..=number(last)?);
    }
    Some(all)
}

/// `versions` rise.
fn write_versions(versions: &[i16]) -> String {
    let mut runs: Vec<(i16, i16)> = Vec::new();
    for version in versions {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *version => *last = *version,
            _ => runs.push((*version, *version)),
        }
    }
    let runs = runs.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first} – {last}"),
    });
    runs.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_row_is_written_as_it_is_read() {
        let line = "| Produce | 0 – 13 | 0 – 2: refused; 3, 8: kafkajs; 13: franz-go, java; 4 – 7, 9 – 12: codec |";
        let row = Row::read(line).unwrap();
        assert_eq!(row.by.len(), 14);
        assert_eq!(row.line(), format!("{line}\n"));
    }

    #[test]
    fn every_row_of_the_readme_is_read() {
        let text = read().unwrap();
        let (before, rows, after) = parts(&text).unwrap();
        let rows: String = rows.iter().map(Row::line).collect();
        assert_eq!(format!("{before}{HEADING}{rows}{after}"), text);
    }
}
