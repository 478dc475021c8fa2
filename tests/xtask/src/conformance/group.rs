//! A group of three: they share the partitions, one is killed, the others go on from what was committed,
//! and after a restart of the broker three new members do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::client::{Client, Event, Tell};
use super::record::Plan;
use crate::process::Process;
use crate::tally::Report;

pub const PARTITIONS: i32 = 6;
/// Records of each stage.
pub const STAGE: u64 = 600;
const MEMBERS: usize = 3;
/// The session timeout is 6 s; a rebalance follows it. Clients of three kinds share a machine's processors, so
/// that is no measure; but whoever waited for a member that never joins again would wait for five minutes.
const SHARE_MAX: Duration = Duration::from_secs(120);
const READ_MAX: Duration = Duration::from_secs(120);

/// A group's place between its two lives: the next offset of each partition.
pub type Position = BTreeMap<i32, i64>;

/// What the members have told so far.
pub struct Watch {
    from: Receiver<(usize, Event)>,
    to: Sender<(usize, Event)>,
    members: Vec<Option<Process>>,
    pub held: Vec<BTreeSet<i32>>,
    /// What each was told to hold, in the order in which it was told.
    pub told: Vec<Vec<BTreeSet<i32>>>,
    next: Position,
    committed: Position,
    problems: Vec<String>,
}

impl Watch {
    pub fn new(next: Position) -> Watch {
        let (to, from) = mpsc::channel();
        Watch {
            from,
            to,
            members: Vec::new(),
            held: Vec::new(),
            told: Vec::new(),
            committed: next.clone(),
            next,
            problems: Vec::new(),
        }
    }

    pub fn add(
        &mut self,
        client: &dyn Client,
        bootstrap: &str,
        topic: &str,
        group: &str,
        how: &[&str],
    ) -> Result<(), String> {
        let tell = Tell {
            member: self.members.len(),
            to: self.to.clone(),
        };
        self.members
            .push(Some(client.member(bootstrap, topic, group, how, tell)?));
        self.held.push(BTreeSet::new());
        self.told.push(Vec::new());
        Ok(())
    }

    fn on(&mut self, member: usize, event: Event) {
        if self.members[member].is_none() {
            return; // The last words of a member that was killed.
        }
        match event {
            Event::Assigned(partitions) => {
                self.held[member] = partitions.into_iter().collect();
                self.told[member].push(self.held[member].clone());
            }
            Event::Records {
                partition,
                first,
                last,
            } => {
                let next = self.next.entry(partition).or_insert(0);
                if first != *next {
                    let what = if first > *next {
                        "left out"
                    } else {
                        "read again"
                    };
                    let place = format!("partition {partition}, offsets {first} to {next}");
                    self.problems
                        .push(format!("member {member} {what}: {place}"));
                }
                *next = last + 1;
            }
            Event::Committed { partition, next } => {
                self.committed.insert(partition, next);
            }
            Event::Problem(text) => self.problems.push(format!("member {member}: {text}")),
        }
    }

    pub fn wait(
        &mut self,
        limit: Duration,
        what: &str,
        done: impl Fn(&Watch) -> bool,
    ) -> Result<(), String> {
        let end = Instant::now() + limit;
        while !done(self) {
            let left = end.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left) {
                Ok((member, event)) => self.on(member, event),
                Err(_) => return Err(format!("not within {limit:?}: {what}; {}", self.describe())),
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let problems = self.problems.join("; ");
        format!(
            "held {:?}, read to {:?}, committed {:?}; {problems}",
            self.held, self.next, self.committed
        )
    }

    /// All partitions are held, each once, and every living member has some.
    fn is_shared(&self) -> bool {
        let living: Vec<&BTreeSet<i32>> = self
            .members
            .iter()
            .zip(&self.held)
            .filter(|(member, _)| member.is_some())
            .map(|(_, held)| held)
            .collect();
        let all: BTreeSet<i32> = living.iter().copied().flatten().copied().collect();
        let sum: usize = living.iter().map(|held| held.len()).sum();
        all.len() == PARTITIONS as usize
            && sum == all.len()
            && living.iter().all(|held| !held.is_empty())
    }

    pub fn wait_shared(&mut self) -> Result<(), String> {
        self.wait(
            SHARE_MAX,
            "the living members share all partitions",
            Watch::is_shared,
        )
    }

    pub fn wait_read(&mut self, total: u64) -> Result<(), String> {
        self.wait(READ_MAX, &format!("{total} records read"), |w| {
            w.next.values().sum::<i64>() >= total as i64
        })?;
        match self.problems.first() {
            Some(_) => Err(self.problems.join("; ")),
            None if self.next.values().sum::<i64>() > total as i64 => {
                Err("more was read than written".to_owned())
            }
            None => Ok(()),
        }
    }

    pub fn wait_committed(&mut self, silent: Option<Duration>) -> Result<(), String> {
        if let Some(time) = silent {
            thread::sleep(time);
            return Ok(());
        }
        self.wait(READ_MAX, "what was read is committed", |w| {
            w.committed == w.next
        })
    }

    pub fn kill(&mut self, member: usize) {
        if let Some(process) = self.members[member].take() {
            process.kill();
        }
        self.held[member].clear();
    }

    /// Lets every member leave in good order.
    pub fn close(&mut self, silent: Option<Duration>) -> Result<(), String> {
        let members: Vec<Process> = self.members.iter_mut().filter_map(Option::take).collect();
        for mut member in members {
            drop(member.take_stdin());
            if silent.is_some() {
                member.terminate();
            }
            let status = member.wait(Duration::from_secs(20))?;
            // A JVM that was asked to end says 143.
            if !status.success() && status.code() != Some(143) {
                return Err(format!("a member ended with {status}"));
            }
        }
        Ok(())
    }
}

/// The records of one stage.
pub fn stage(client: &dyn Client) -> Plan {
    let base_time = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as i64);
    Plan {
        shape: client.shape(),
        count: STAGE,
        partitions: PARTITIONS,
        base_time,
    }
}

/// The first life: sharing, a death, and what was committed at its end.
pub fn before_restart(
    client: &dyn Client,
    bootstrap: &str,
    topic: &str,
    report: &mut Report,
) -> Option<Position> {
    let silent = client.silent_commit();
    let mut watch = Watch::new(Position::new());
    let shared = client
        .create(bootstrap, topic, PARTITIONS)
        .and_then(|()| {
            (0..MEMBERS).try_for_each(|_| watch.add(client, bootstrap, topic, topic, &[]))
        })
        .and_then(|()| watch.wait_shared());
    let go_on = report.check("group: three members share the partitions", shared)
        && report.check(
            "group: each record is read once",
            client
                .produce(bootstrap, topic, stage(client), "none")
                .and_then(|()| watch.wait_read(STAGE)),
        )
        && report.check("group: commits are accepted", watch.wait_committed(silent));
    if !go_on {
        return None;
    }
    watch.kill(0);
    // Written while the dead member still holds its partitions.
    let written = client.produce(bootstrap, topic, stage(client), "none");
    report.check(
        "group: two members take over from a dead one",
        written.and_then(|()| watch.wait_shared()),
    );
    report.check(
        "group: they go on where the dead one had committed",
        watch.wait_read(2 * STAGE),
    );
    report.check(
        "group: they commit and leave",
        watch
            .wait_committed(silent)
            .and_then(|()| watch.close(silent)),
    );
    Some(watch.next)
}

/// The second life: `position` is where the first one ended.
pub fn after_restart(
    client: &dyn Client,
    bootstrap: &str,
    topic: &str,
    position: Position,
    report: &mut Report,
) {
    let silent = client.silent_commit();
    let mut watch = Watch::new(position);
    let shared = (0..MEMBERS)
        .try_for_each(|_| watch.add(client, bootstrap, topic, topic, &[]))
        .and_then(|()| watch.wait_shared());
    report.check(
        "group after a restart: three members share the partitions",
        shared,
    );
    let written = client.produce(bootstrap, topic, stage(client), "none");
    report.check(
        "group after a restart: they go on at the committed offsets",
        written
            .and_then(|()| watch.wait_read(3 * STAGE))
            .and_then(|()| watch.close(silent)),
    );
}
