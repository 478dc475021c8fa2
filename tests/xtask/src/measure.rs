//! What the figures have in common: `millstream bench` on a broker, and numbers out of its answer.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::process::{last_lines, output};

const BENCH_MAX: Duration = Duration::from_secs(600);

/// Runs `millstream bench` with these arguments and reads its JSON.
pub fn bench(millstream: &Path, arguments: &[&str]) -> Result<Value, String> {
    let mut command = Command::new(millstream);
    command.arg("bench").args(arguments).args(["-o", "json"]);
    let (ok, out, err) = output(&mut command, BENCH_MAX)?;
    if !ok {
        let end = last_lines(&format!("{out}\n{err}"), 2);
        return Err(format!("bench {}: {end}", arguments.join(" ")));
    }
    serde_json::from_str(&out).map_err(|e| format!("bench: {e}"))
}

/// The number at a path such as `/throughput/seconds`.
pub fn number(from: &Value, path: &str) -> Result<f64, String> {
    let found = from.pointer(path).and_then(Value::as_f64);
    found.ok_or_else(|| format!("bench: no number at {path}"))
}

/// What a process has resident.
pub fn resident_mib(id: u32) -> Result<f64, String> {
    let kib = kib(&format!("/proc/{id}/status"), "VmRSS:")?;
    Ok(kib as f64 / 1024.0)
}

/// What the kernel counts in KiB under a name in one of its files.
pub fn kib(path: &str, name: &str) -> Result<u64, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .ok_or_else(|| format!("{path} has no {name}"))
}

/// A figure with three digits.
pub fn shown(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// The middle one; of an even number the mean of the two in the middle. *Bounds*: at least one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() % 2 {
        1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0]), 3.0);
        assert_eq!(median(&[9.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 9.0, 2.0]), 3.0);
    }
}
