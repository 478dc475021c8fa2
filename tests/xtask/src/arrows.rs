//! Which crate may know which: the table of ARCHITECTURE.md, compared with what cargo sees.
//!
//! Two rules. A crate depends on no other crate of the workspace than the table allows. And no core reaches
//! tokio, not even through a third crate: that keeps the cores testable without a clock or a socket.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::tally::{Report, Tally};
use crate::tools::cargo;

/// Crate → the crates of the workspace it may depend on, all without `millstream-`; the broker itself is "".
const ALLOWED: [(&str, &[&str]); 14] = [
    ("protocol", &[]),
    ("model", &[]),
    ("env", &["model"]),
    ("log", &["env", "protocol", "model"]),
    ("replica", &["log", "protocol", "model"]),
    ("metadata", &["protocol", "model"]),
    ("quorum", &["env", "model"]),
    ("coordinator", &["protocol", "model"]),
    (
        "api",
        &[
            "replica",
            "log",
            "coordinator",
            "metadata",
            "protocol",
            "model",
        ],
    ),
    (
        "node",
        &[
            "api",
            "replica",
            "coordinator",
            "metadata",
            "quorum",
            "log",
            "env",
            "protocol",
            "model",
        ],
    ),
    ("client", &["protocol"]),
    ("cli", &["client", "protocol"]),
    ("bench", &["cli", "client", "protocol"]),
    (
        "",
        &[
            "node",
            "api",
            "replica",
            "coordinator",
            "metadata",
            "quorum",
            "log",
            "env",
            "protocol",
            "model",
            "client",
            "cli",
            "bench",
        ],
    ),
];
/// May know everything.
const FREE: [&str; 2] = ["millstream-tests", "xtask"];
/// May use tokio.
const TOKIO: [&str; 6] = [
    "millstream",
    "millstream-client",
    "millstream-cli",
    "millstream-bench",
    "millstream-tests",
    "xtask",
];

/// One check for each crate and rule.
pub fn check() -> Tally {
    let mut report = Report::new("arrows");
    match metadata() {
        Ok(metadata) => compare(&metadata, &mut report),
        Err(reason) => {
            report.check("cargo metadata", Err(reason));
        }
    }
    report.finish()
}

fn metadata() -> Result<Value, String> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())
}

fn compare(metadata: &Value, report: &mut Report) {
    let members: BTreeSet<&str> = list(&metadata["workspace_members"])
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let packages: Vec<&Value> = list(&metadata["packages"])
        .iter()
        .filter(|package| {
            package["id"]
                .as_str()
                .is_some_and(|id| members.contains(id))
        })
        .collect();
    let names: BTreeSet<&str> = packages
        .iter()
        .filter_map(|package| package["name"].as_str())
        .collect();
    let edges = edges(metadata);
    for package in &packages {
        let (Some(name), Some(id)) = (package["name"].as_str(), package["id"].as_str()) else {
            continue;
        };
        if !FREE.contains(&name) {
            report.check(
                &format!("{name} depends on what it may know"),
                check_arrows(package, name, &names),
            );
        }
        if !TOKIO.contains(&name) {
            let reached = path_to(id, "tokio", &edges);
            report.check(
                &format!("{name} does not reach tokio"),
                reached.map_or(Ok(()), |path| Err(format!("by {}", path.join(" → ")))),
            );
        }
    }
}

fn check_arrows(package: &Value, name: &str, names: &BTreeSet<&str>) -> Result<(), String> {
    let short = name
        .strip_prefix("millstream")
        .map_or(name, |rest| rest.trim_start_matches('-'));
    let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == short) else {
        return Err(
            "the table of xtask's arrows.rs does not know this crate: decide what it may know"
                .to_owned(),
        );
    };
    let wrong: Vec<&str> = list(&package["dependencies"])
        .iter()
        .filter_map(|dependency| dependency["name"].as_str())
        .filter(|dependency| names.contains(dependency))
        .filter(|dependency| {
            !allowed
                .iter()
                .any(|may| **dependency == format!("millstream-{may}"))
        })
        .collect();
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("it must not know {}", wrong.join(", ")))
    }
}

/// Package id → the ids it is built or run with (what only its tests use is not followed).
fn edges(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let mut edges = BTreeMap::new();
    for node in list(&metadata["resolve"]["nodes"]) {
        let needed = list(&node["deps"])
            .iter()
            .filter(|dependency| {
                list(&dependency["dep_kinds"])
                    .iter()
                    .any(|kind| kind["kind"].as_str() != Some("dev"))
            })
            .filter_map(|dependency| dependency["pkg"].as_str())
            .collect();
        if let Some(id) = node["id"].as_str() {
            edges.insert(id, needed);
        }
    }
    edges
}

/// How `from` reaches the package called `name`, if it does.
fn path_to(from: &str, name: &str, edges: &BTreeMap<&str, Vec<&str>>) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from]);
    let mut waiting = vec![vec![from]];
    while let Some(path) = waiting.pop() {
        for next in edges.get(path[path.len() - 1]).into_iter().flatten() {
            let mut longer = path.clone();
            longer.push(next);
            if package_name(next) == name {
                return Some(
                    longer
                        .iter()
                        .map(|id| package_name(id).to_owned())
                        .collect(),
                );
            }
            if seen.insert(next) {
                waiting.push(longer);
            }
        }
    }
    None
}

/// The name in a package id, `…#name@version` or `…/folder#version`.
fn package_name(id: &str) -> &str {
    let after = id.rsplit('#').next().unwrap_or(id);
    match after.split_once('@') {
        Some((name, _)) => name,
        None => id
            .split('#')
            .next()
            .and_then(|path| path.rsplit('/').next())
            .unwrap_or(id),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_forbidden_package_is_named() {
        let (a, b, t) = ("path+file:///x/a#0.1.0", "reg#b@1.0.0", "reg#tokio@1.54.0");
        let edges = BTreeMap::from([(a, vec![b]), (b, vec![t]), (t, vec![])]);
        let path = path_to(a, "tokio", &edges);
        assert_eq!(
            path,
            Some(vec!["a".to_owned(), "b".to_owned(), "tokio".to_owned()])
        );
        assert_eq!(path_to(t, "tokio", &edges), None);
    }
}
