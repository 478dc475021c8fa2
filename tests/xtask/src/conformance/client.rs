//! What the harness asks of every client.

use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::record::{Plan, Record, Shape};
use super::talk::Talk;
use crate::process::Process;

/// Longest time for one passage of records in or out.
pub const CARRY_MAX: Duration = Duration::from_secs(240);
/// Longest time for a short command.
pub const COMMAND_MAX: Duration = Duration::from_secs(90);
/// Longest life of a group member.
pub const MEMBER_MAX: Duration = Duration::from_secs(240);

/// A foreign client, whatever language it is in.
pub trait Client: Send + Sync {
    fn name(&self) -> &'static str;

    /// What it can say of a record.
    fn shape(&self) -> Shape;

    /// The compression codecs it can write, without `none`.
    fn codecs(&self) -> &'static [&'static str];

    /// Makes a topic. A client without that command leaves it to auto-creation.
    fn create(&self, bootstrap: &str, topic: &str, partitions: i32) -> Result<(), String>;

    /// Writes all records of a plan and sees each acknowledged.
    fn produce(&self, bootstrap: &str, topic: &str, plan: Plan, codec: &str) -> Result<(), String>;

    /// Reads `count` records, or to the end, from the beginning.
    fn consume(
        &self,
        bootstrap: &str,
        topic: &str,
        count: u64,
        each: &mut dyn FnMut(Record),
    ) -> Result<(), String>;

    /// Starts a member of a group, which tells what happens to it. `how` is for a driver's command line.
    fn member(
        &self,
        bootstrap: &str,
        topic: &str,
        group: &str,
        how: &[&str],
        tell: Tell,
    ) -> Result<Process, String>;

    /// Within what time members commit by a timer of their own; none if they commit at once and say so.
    fn silent_commit(&self) -> Option<Duration>;

    /// Starts a driver that carries out orders on a topic; none for a client without one.
    fn talk(&self, _bootstrap: &str, _topic: &str) -> Option<Result<Talk, String>> {
        None
    }

    /// Does what must fail; returns Kafka's error number for each attempt's name.
    fn errors(&self, bootstrap: &str, topic: &str) -> Result<BTreeMap<String, String>, String>;
}

/// What happens to a group member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// All that it holds now.
    Assigned(Vec<i32>),
    /// It read these offsets, both inclusive.
    Records {
        partition: i32,
        first: i64,
        last: i64,
    },
    /// Its commit was accepted: the offset to go on at.
    Committed {
        partition: i32,
        next: i64,
    },
    Problem(String),
}

/// Where a member's events go.
#[derive(Clone)]
pub struct Tell {
    pub member: usize,
    pub to: Sender<(usize, Event)>,
}

impl Tell {
    pub fn event(&self, event: Event) {
        // Nobody listens any more when the check has ended.
        let _ = self.to.send((self.member, event));
    }
}
