//! What a process has used, from `/proc`.

use anyhow::Context;
use serde::Serialize;

/// Clock ticks per second in `/proc/PID/stat`: 100 on every Linux that is in use, whatever the kernel's own rate.
const TICKS_PER_SECOND: f64 = 100.0;

/// Processor time and memory of a process at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
}

impl Usage {
    /// Reads it. *Errors*: there is no such process, or this is not Linux.
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).with_context(|| {
                format!("cannot read {path}: is --pid {pid} the broker's process id?")
            })
        };
        Self::parse(&read("stat")?, &read("status")?)
            .with_context(|| format!("/proc/{pid} does not look as expected"))
    }

    /// This process.
    pub(crate) fn of_self() -> anyhow::Result<Self> {
        Self::of(std::process::id())
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The name of the program stands in parentheses and may hold spaces; utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')')?;
        let mut fields = fields.split_ascii_whitespace().skip(11);
        let user: f64 = fields.next()?.parse().ok()?;
        let system: f64 = fields.next()?.parse().ok()?;
        let kib = |name: &str| -> Option<u64> {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_ascii_whitespace().nth(1)?.parse().ok()
        };
        Some(Self {
            cpu_seconds: (user + system) / TICKS_PER_SECOND,
            resident_kib: kib("VmRSS:")?,
            peak_kib: kib("VmHWM:")?,
        })
    }
}

/// What the broker used during a measurement.
#[derive(Debug, Serialize)]
pub(crate) struct BrokerUse {
    /// Processor seconds, user and system.
    pub(crate) cpu_seconds: f64,
    /// Of one core.
    pub(crate) cores: f64,
    /// Per 10⁹ bytes of record values.
    pub(crate) cpu_seconds_per_gb: f64,
    /// Per 10⁶ requests.
    pub(crate) cpu_seconds_per_million_requests: f64,
    /// Resident memory at the end, in MiB.
    pub(crate) resident_mib: f64,
    /// Largest resident memory since the broker's start, in MiB.
    pub(crate) peak_mib: f64,
}

impl BrokerUse {
    /// From two moments and what was done between them.
    pub(crate) fn between(
        before: Usage,
        after: Usage,
        seconds: f64,
        bytes: u64,
        requests: u64,
    ) -> Self {
        let cpu_seconds = after.cpu_seconds - before.cpu_seconds;
        let per = |amount: f64| {
            if amount > 0.0 {
                cpu_seconds / amount
            } else {
                0.0
            }
        };
        Self {
            cpu_seconds,
            cores: per(seconds),
            cpu_seconds_per_gb: per(bytes as f64 / 1e9),
            cpu_seconds_per_million_requests: per(requests as f64 / 1e6),
            resident_mib: after.resident_kib as f64 / 1024.0,
            peak_mib: after.peak_kib as f64 / 1024.0,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_confuse() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4 1 0 0 0 250 50 0 0 20 0 9 0 5 6 7";
        let status = "Name:\tx\nVmHWM:\t  2048 kB\nVmRSS:\t  1024 kB\n";
        let usage = Usage::parse(stat, status).unwrap();
        assert_eq!(usage.cpu_seconds, 3.0);
        assert_eq!((usage.peak_kib, usage.resident_kib), (2048, 1024));
    }

    #[test]
    fn this_process_can_be_read() {
        assert!(Usage::of_self().unwrap().resident_kib > 0);
    }
}
