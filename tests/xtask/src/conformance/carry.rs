//! Records in and out: what one client writes it reads back, and so does another.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::client::Client;
use super::record::Plan;
use super::ring::{Members, Station, large};
use super::verify::Verifier;
use crate::tally::Report;

pub const PARTITIONS: i32 = 6;
/// Records of the smaller passages, one for each codec.
const CODEC_COUNT: u64 = 20_000;

/// A passage of records whose reading is still to be judged: what was sent, and when.
#[derive(Clone, Copy)]
pub struct Written {
    pub plan: Plan,
    times: (i64, i64),
}

/// The large passage, and a smaller one with each codec.
pub fn in_and_out(station: &mut Station, client: &dyn Client, count: u64, report: &mut Report) {
    let bootstrap = station.broker.address();
    let passage = Passage {
        client,
        bootstrap: &bootstrap,
    };
    let count = large(client.name(), count);
    if let Some(written) = passage.carry(&topic(client.name()), count, "none", "records", report) {
        station.written.insert(client.name(), written);
    }
    for codec in client.codecs() {
        let name = format!("{}-{codec}", topic(client.name()));
        passage.carry(&name, CODEC_COUNT, codec, codec, report);
    }
}

/// Has a client read what the next one of its ring wrote.
pub fn read_next(station: &mut Station, client: &dyn Client, report: &mut Report) {
    let next = next_of(station.members, client.name());
    let Some(written) = next.and_then(|next| station.written.get(next)) else {
        return;
    };
    let next = next.unwrap_or_default();
    let bootstrap = station.broker.address();
    let passage = Passage {
        client,
        bootstrap: &bootstrap,
    };
    let what = format!("what {next} wrote");
    passage.read(&topic(next), *written, &what, report);
}

fn next_of(members: &Members, client: &str) -> Option<&'static str> {
    let clients = members.clients;
    let place = clients.iter().position(|one| *one == client)?;
    Some(clients[(place + 1) % clients.len()])
}

/// The topic of a client's large passage.
pub fn topic(client: &str) -> String {
    format!("by-{client}")
}

/// The time of day in milliseconds.
pub fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as i64)
}

struct Passage<'a> {
    client: &'a dyn Client,
    bootstrap: &'a str,
}

impl Passage<'_> {
    /// Writes records to a topic of their own and reads them back.
    fn carry(
        &self,
        topic: &str,
        count: u64,
        codec: &str,
        what: &str,
        report: &mut Report,
    ) -> Option<Written> {
        let Passage { client, bootstrap } = self;
        let began = now();
        let plan = Plan {
            shape: client.shape(),
            count,
            partitions: PARTITIONS,
            base_time: began,
        };
        let clock = Instant::now();
        let sent = client
            .create(bootstrap, topic, PARTITIONS)
            .and_then(|()| client.produce(bootstrap, topic, plan, codec));
        let (sending, times) = (clock.elapsed(), (began, now()));
        if !report.check(&format!("{what}: all acknowledged"), sent) {
            return None;
        }
        let written = Written { plan, times };
        let reading = self.read(topic, written, what, report);
        if count > CODEC_COUNT {
            let rate = |time: Duration| count as f64 / time.as_secs_f64().max(0.001);
            let (sent, read) = (rate(sending), rate(reading));
            println!(
                "     {}: {sent:.0} records/s in, {read:.0} out",
                client.name()
            );
        }
        Some(written)
    }

    fn read(&self, topic: &str, written: Written, what: &str, report: &mut Report) -> Duration {
        let clock = Instant::now();
        let mut verifier = Verifier::new(written.plan, written.times);
        let count = written.plan.count;
        let ended = self
            .client
            .consume(self.bootstrap, topic, count, &mut |record| {
                verifier.accept(&record);
            });
        verifier.finish(report, what, ended);
        clock.elapsed()
    }
}
