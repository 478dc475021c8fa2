//! The clients that read each other's records, and the broker that they have for themselves.
//!
//! On each broker one client works at a time, so whatever the broker is asked meanwhile is asked by it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::broker::{Broker, Kind};
use super::carry::Written;
use super::client::Client;
use super::group::Position;
use super::meter::Meter;
use crate::tally::Report;

/// Who is in a ring.
pub struct Members {
    pub name: &'static str,
    /// In the order in which they run. Each reads what the next one wrote, and the last what the first did.
    pub clients: &'static [&'static str],
}

/// kcat and the console write text, so they read each other.
pub const RINGS: [Members; 3] = [
    Members {
        name: "text",
        clients: &["kcat", "console"],
    },
    Members {
        name: "long",
        clients: &["franz-go", "confluent-python", "kafkajs", "aiokafka"],
    },
    Members {
        name: "brief",
        clients: &["java", "sarama", "kafka-python"],
    },
];

/// Who carries all records of the large passage. The others take several times as long for them, or are of a
/// library that one of these is of, and carry [`FEWER`].
const MANY: [&str; 3] = ["kcat", "franz-go", "confluent-python"];
const FEWER: u64 = 100_000;

/// Records of a client's large passage, where `count` are asked for.
pub fn large(client: &str, count: u64) -> u64 {
    match MANY.contains(&client) {
        true => count,
        false => count.min(FEWER),
    }
}

/// All clients.
pub fn client_names() -> impl Iterator<Item = &'static str> {
    RINGS.iter().flat_map(|ring| ring.clients).copied()
}

/// The clients of a ring that are there, and their broker.
pub struct Ring {
    pub clients: Vec<Box<dyn Client>>,
    pub station: Station,
}

/// A broker, and what its clients left on it.
pub struct Station {
    pub members: &'static Members,
    pub broker: Broker,
    pub meter: Meter,
    /// The passages of records whose reading by others is still to come.
    pub written: BTreeMap<&'static str, Written>,
    /// Where the groups were when the broker's first life ended.
    pub positions: BTreeMap<&'static str, Position>,
}

impl Ring {
    /// Prepares a place for the broker below `folder`.
    pub fn new(
        members: &'static Members,
        clients: Vec<Box<dyn Client>>,
        kind: Kind,
        folder: &Path,
    ) -> Result<Ring, String> {
        let station = Station {
            members,
            broker: Broker::new(kind, &folder.join(members.name))?,
            meter: Meter::default(),
            written: BTreeMap::new(),
            positions: BTreeMap::new(),
        };
        Ok(Ring { clients, station })
    }

    pub fn has(&self, client: &str) -> bool {
        self.clients.iter().any(|there| there.name() == client)
    }
}

impl Station {
    /// Starts the broker; says what failed in the report.
    pub fn start(&mut self, settings: &[(&str, &str)], report: &mut Report) -> bool {
        self.meter.begin();
        let started = self.broker.start(settings);
        if let Ok(time) = &started {
            println!("     ready in {} ms", time.as_millis());
        }
        let what = format!("the broker of {} starts", self.members.name);
        report.check(&what, started.map(drop))
    }

    /// Stops the broker; says what failed in the report.
    pub fn stop(&mut self, report: &mut Report) {
        let what = format!("the broker of {} stops cleanly", self.members.name);
        report.check(&what, self.broker.stop());
    }

    /// Does a passage of `who`. What the broker is asked meanwhile is noted as its.
    pub fn drive<T>(
        &mut self,
        who: &'static str,
        what: &str,
        passage: impl FnOnce(&mut Station) -> T,
    ) -> T {
        let began = Instant::now();
        let outcome = passage(self);
        self.meter.note(who, &self.broker);
        println!("     {who}, {what}: {:.1} s", began.elapsed().as_secs_f64());
        outcome
    }
}

/// Does a passage for every client, those of one ring after the other, all rings at the same time: for
/// passages in which clients mostly wait.
pub fn together(
    rings: &mut [Ring],
    what: &str,
    report: &mut Report,
    passage: impl Fn(&mut Station, &dyn Client, &mut Report) + Sync,
) {
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for ring in rings {
            scope.spawn(|| {
                for client in &ring.clients {
                    let mut named = Report::new(client.name());
                    ring.station.drive(client.name(), what, |station| {
                        passage(station, client.as_ref(), &mut named);
                    });
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(named);
                }
            });
        }
    });
    for named in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        report.add(named);
    }
}

/// Does a passage for one client after the other: for passages that need the machine.
pub fn in_turn(
    rings: &mut [Ring],
    what: &str,
    report: &mut Report,
    passage: impl Fn(&mut Station, &dyn Client, &mut Report),
) {
    for ring in rings {
        for client in &ring.clients {
            let mut named = Report::new(client.name());
            ring.station.drive(client.name(), what, |station| {
                passage(station, client.as_ref(), &mut named);
            });
            report.add(named);
        }
    }
}
