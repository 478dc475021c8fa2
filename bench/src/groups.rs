//! `bench groups`: many groups with many members on few connections, and what their heartbeats cost.
//!
//! First all members join. Then each sends a heartbeat every `--interval`, evenly spread, however long the answers take;
//! with an interval of zero every connection sends its next ones as soon as the last are answered. Every so many writes
//! one is timed from when it should have been sent to the answer of its last heartbeat.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use millstream_cli::{ClusterArgs, Output, Table, parse_duration};
use serde::Serialize;

use crate::group_members::Seat;
use crate::process::Usage;
use crate::report::{Latencies, Percentiles};

/// One write in so many is timed.
const TIMED_EVERY: usize = 20;
/// Answers that a broker may keep waiting for one connection: more members of a group could wait for each other.
const MEMBERS_OF_GROUP_MAX: usize = 60;

/// Arguments of `bench groups`.
#[derive(Debug, Args)]
pub struct GroupsArgs {
    /// Groups
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    groups: usize,
    /// Members of all groups together
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    members: usize,
    /// Connections that the groups are spread over
    #[arg(long, value_name = "N", default_value_t = 1000)]
    connections: usize,
    /// How often a member sends a heartbeat; 0s: as often as it is answered
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = parse_duration)]
    interval: Duration,
    /// Heartbeats that are written at once, of different members
    #[arg(long, value_name = "N", default_value_t = 1)]
    per_write: usize,
    /// How long it is measured
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = parse_duration)]
    duration: Duration,
    /// Session timeout of the members
    #[arg(long, value_name = "TIME", default_value = "45s", value_parser = parse_duration)]
    session: Duration,
    /// Beginning of the groups' names [default: one that is new]
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// Process id of the broker, to report its processor time and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Threads that make the load
    #[arg(long, value_name = "N", default_value_t = 4)]
    threads: usize,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    #[command(flatten)]
    cluster: ClusterArgs,
}

#[derive(Debug, Serialize)]
struct GroupsReport {
    benchmark: &'static str,
    groups: usize,
    members: usize,
    connections: usize,
    per_write: usize,
    /// Until all members had joined.
    join_seconds: f64,
    seconds: f64,
    heartbeats: u64,
    heartbeats_per_second: f64,
    /// From when a write should have been sent to the answer of its last heartbeat.
    answered: Percentiles,
    generator_cpu_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    broker: Option<BrokerShare>,
}

#[derive(Debug, Serialize)]
struct BrokerShare {
    /// While all members joined.
    join_cpu_seconds: f64,
    cpu_seconds: f64,
    cores: f64,
    cpu_microseconds_per_heartbeat: f64,
    /// With all members.
    resident_mib: f64,
    /// More than before they came.
    bytes_per_member: f64,
}

/// What a thread has done.
struct Done {
    heartbeats: u64,
    latencies: Latencies,
}

impl GroupsArgs {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        self.check()?;
        let usage = || self.pid.map(Usage::of).transpose();
        let before = usage()?;
        let began = Instant::now();
        let mut seats = self.take_seats()?;
        let join_seconds = began.elapsed().as_secs_f64();
        if began.elapsed() > self.session {
            bail!(
                "the members took {join_seconds:.0} s to join, so sessions have ended: raise --session"
            );
        }
        let (joined, own_before, began) = (usage()?, Usage::of_self()?, Instant::now());
        let done = self.beat(&mut seats)?;
        let (seconds, own, after) = (began.elapsed().as_secs_f64(), Usage::of_self()?, usage()?);

        let heartbeats: u64 = done.iter().map(|done| done.heartbeats).sum();
        let mut latencies = Latencies::new();
        for one in &done {
            latencies.add(&one.latencies);
        }
        let members: usize = seats.iter().flatten().map(Seat::members).sum();
        let broker = match (before, joined, after) {
            (Some(before), Some(joined), Some(after)) => {
                let cpu_seconds = after.cpu_seconds - joined.cpu_seconds;
                let more_kib = joined.resident_kib.saturating_sub(before.resident_kib);
                Some(BrokerShare {
                    join_cpu_seconds: joined.cpu_seconds - before.cpu_seconds,
                    cpu_seconds,
                    cores: cpu_seconds / seconds,
                    cpu_microseconds_per_heartbeat: 1e6 * cpu_seconds / heartbeats.max(1) as f64,
                    resident_mib: joined.resident_kib as f64 / 1024.0,
                    bytes_per_member: 1024.0 * more_kib as f64 / members as f64,
                })
            }
            _ => None,
        };
        let report = GroupsReport {
            benchmark: "groups",
            groups: self.groups,
            members,
            connections: seats.iter().map(Vec::len).sum(),
            per_write: self.per_write,
            join_seconds,
            seconds,
            heartbeats,
            heartbeats_per_second: heartbeats as f64 / seconds,
            answered: latencies.percentiles(),
            generator_cpu_seconds: own.cpu_seconds - own_before.cpu_seconds,
            broker,
        };
        match self.output {
            Output::Json => println!("{}", serde_json::to_string(&report)?),
            Output::Text => print!("{}", report.text()),
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<()> {
        let positive = [self.groups, self.connections, self.per_write, self.threads];
        if positive.contains(&0) {
            bail!("--groups, --connections, --per-write and --threads must be at least 1");
        }
        if self.members == 0 || !self.members.is_multiple_of(self.groups) {
            bail!("--members must be a multiple of --groups");
        }
        if self.members / self.groups > MEMBERS_OF_GROUP_MAX {
            bail!(
                "a group may have {MEMBERS_OF_GROUP_MAX} members, for all are on one connection: raise --groups"
            );
        }
        Ok(())
    }

    /// All members join; the connections of each thread.
    fn take_seats(&self) -> anyhow::Result<Vec<Vec<Seat>>> {
        let addresses = self.cluster.addresses();
        let address = addresses
            .split(',')
            .next()
            .context("--bootstrap is empty")?;
        let prefix = match &self.prefix {
            Some(prefix) => prefix.clone(),
            None => format!("bench-{}-", std::process::id()),
        };
        let names: Vec<String> = (0..self.groups).map(|n| format!("{prefix}{n}")).collect();
        let per_connection = self.groups.div_ceil(self.connections);
        let shares: Vec<&[String]> = names.chunks(per_connection).collect();
        let session = i32::try_from(self.session.as_millis()).context("--session is too long")?;
        let members = self.members / self.groups;
        let per_thread = shares.len().div_ceil(self.threads);
        std::thread::scope(|scope| {
            let threads: Vec<_> = shares
                .chunks(per_thread)
                .map(|shares| {
                    scope.spawn(move || {
                        let seats = shares.iter();
                        seats
                            .map(|groups| Seat::take(address, groups, members, session))
                            .collect::<anyhow::Result<Vec<Seat>>>()
                    })
                })
                .collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(seats) => seats,
                Err(_) => bail!("a thread panicked"),
            });
            joined.collect()
        })
    }

    fn beat(&self, seats: &mut [Vec<Seat>]) -> anyhow::Result<Vec<Done>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = seats
                .iter_mut()
                .map(|seats| {
                    scope.spawn(move || match self.interval.is_zero() {
                        true => self.beat_at_once(seats),
                        false => self.beat_at_times(seats),
                    })
                })
                .collect();
            let joined = threads.into_iter().map(|thread| match thread.join() {
                Ok(done) => done,
                Err(_) => bail!("a thread panicked"),
            });
            joined.collect()
        })
    }

    /// Each write has its time, whatever became of those before it.
    fn beat_at_times(&self, seats: &mut [Seat]) -> anyhow::Result<Done> {
        let mut done = Done::new();
        let members: usize = seats.iter().map(Seat::members).sum();
        let gap = self
            .interval
            .mul_f64(self.per_write as f64 / members as f64);
        let began = Instant::now();
        let mut number: u32 = 0;
        loop {
            let due = gap * number;
            if due >= self.duration {
                break;
            }
            let index = number as usize % seats.len();
            if let Some(wait) = due.checked_sub(began.elapsed()) {
                std::thread::sleep(wait);
            }
            let seat = &mut seats[index];
            seat.drain()?;
            seat.beat(self.per_write)?;
            done.heartbeats += self.per_write as u64;
            if (number as usize).is_multiple_of(TIMED_EVERY) {
                seat.drain()?;
                done.latencies.record(began.elapsed().saturating_sub(due));
            }
            number += 1;
        }
        for seat in seats {
            seat.drain()?;
        }
        Ok(done)
    }

    /// Each connection writes its next when the last are answered.
    fn beat_at_once(&self, seats: &mut [Seat]) -> anyhow::Result<Done> {
        let mut done = Done::new();
        let began = Instant::now();
        while began.elapsed() < self.duration {
            let sent = Instant::now();
            for seat in seats.iter_mut() {
                seat.beat(self.per_write)?;
                done.heartbeats += self.per_write as u64;
            }
            for seat in seats.iter_mut() {
                seat.drain()?;
            }
            done.latencies.record(sent.elapsed());
        }
        Ok(done)
    }
}

impl Done {
    fn new() -> Done {
        Done {
            heartbeats: 0,
            latencies: Latencies::new(),
        }
    }
}

impl GroupsReport {
    fn text(&self) -> String {
        let mut text = format!(
            "{} groups, {} members on {} connections, joined in {:.2} s\n{} heartbeats in {:.2} s, {:.0}/s\n",
            self.groups,
            self.members,
            self.connections,
            self.join_seconds,
            self.heartbeats,
            self.seconds,
            self.heartbeats_per_second
        );
        let mut table = Table::new(&["MILLISECONDS", "P50", "P90", "P99", "P99.9", "MAX"]);
        let p = &self.answered;
        let values = [p.p50_ms, p.p90_ms, p.p99_ms, p.p999_ms, p.max_ms];
        let cells = values.iter().map(|value| format!("{value:.3}"));
        table.row(
            std::iter::once("to the answer".to_owned())
                .chain(cells)
                .collect(),
        );
        text.push_str(&table.to_string());
        if let Some(b) = &self.broker {
            text.push_str(&format!(
                "broker: {:.2} CPU s to join, then {:.2} CPU s ({:.2} cores), {:.2} CPU µs per heartbeat; {:.1} MiB resident, {:.0} bytes more per member\n",
                b.join_cpu_seconds,
                b.cpu_seconds,
                b.cores,
                b.cpu_microseconds_per_heartbeat,
                b.resident_mib,
                b.bytes_per_member
            ));
        }
        text.push_str(&format!(
            "this program: {:.2} CPU s\n",
            self.generator_cpu_seconds
        ));
        text
    }
}
