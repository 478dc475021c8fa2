//! Rebalances that move as little as they can: a cooperative assignor, and a static member that comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::client::Client;
use super::group::{PARTITIONS, Position, STAGE, Watch, stage};
use crate::tally::Report;

/// The session timeout of the drivers' members: a static member has so long to come back.
const SESSION: Duration = Duration::from_secs(6);

/// Both, one after the other, on topics of their own.
pub fn check(client: &dyn Client, bootstrap: &str, name: &str, report: &mut Report) {
    report.check(
        "group: a cooperative rebalance takes only what moves",
        cooperative(client, bootstrap, &format!("{name}-cooperative")),
    );
    report.check(
        "group: a static member that comes back keeps its partitions",
        returning(client, bootstrap, &format!("{name}-static")),
    );
}

/// Two members share; a third one comes, and the two go on with what they keep.
fn cooperative(client: &dyn Client, bootstrap: &str, topic: &str) -> Result<(), String> {
    let how = ["--assignor", "cooperative-sticky"];
    let mut watch = Watch::new(Position::new());
    client.create(bootstrap, topic, PARTITIONS)?;
    for _ in 0..2 {
        watch.add(client, bootstrap, topic, topic, &how)?;
    }
    watch.wait_shared()?;
    client.produce(bootstrap, topic, stage(client), "none")?;
    watch.wait_read(STAGE)?;
    watch.wait_committed(None)?;

    let before = watch.held.clone();
    watch.told.iter_mut().for_each(Vec::clear);
    watch.add(client, bootstrap, topic, topic, &how)?;
    watch.wait_shared()?;
    for (member, had) in before.iter().enumerate() {
        let has = &watch.held[member];
        if !has.is_subset(had) || watch.told[member].iter().any(BTreeSet::is_empty) {
            return Err(format!(
                "member {member} held {had:?}, then was told {:?}",
                watch.told[member]
            ));
        }
    }
    client.produce(bootstrap, topic, stage(client), "none")?;
    watch.wait_read(2 * STAGE)?;
    watch.wait_committed(None)?;
    watch.close(None)
}

/// Three static members share; one is killed and started again in time, and nobody else hears of it.
fn returning(client: &dyn Client, bootstrap: &str, topic: &str) -> Result<(), String> {
    let names = ["one", "two", "three"];
    let mut watch = Watch::new(Position::new());
    client.create(bootstrap, topic, PARTITIONS)?;
    for name in names {
        watch.add(client, bootstrap, topic, topic, &["--instance", name])?;
    }
    watch.wait_shared()?;
    client.produce(bootstrap, topic, stage(client), "none")?;
    watch.wait_read(STAGE)?;
    watch.wait_committed(None)?;

    let before = watch.held.clone();
    watch.told.iter_mut().for_each(Vec::clear);
    watch.kill(0);
    watch.add(client, bootstrap, topic, topic, &["--instance", names[0]])?;
    let returned = names.len();
    watch.wait(SESSION, "the killed member's partitions are back", |w| {
        w.held[returned] == before[0]
    })?;
    client.produce(bootstrap, topic, stage(client), "none")?;
    watch.wait_read(2 * STAGE)?;
    watch.wait_committed(None)?;
    for (member, had) in before.iter().enumerate().skip(1) {
        if !watch.told[member].is_empty() {
            return Err(format!(
                "member {member} held {had:?} and was told {:?} when another came back",
                watch.told[member]
            ));
        }
    }
    watch.close(None)
}
