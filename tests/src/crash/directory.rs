//! One of two log directories fails under the broker: its partitions go, and no others.

use super::beside::{BESIDE, Beside, readyz};
use super::broker::Broker;
use super::ending::{resume, wait_until};
use super::{Failure, Shared, TOPIC};
use millstream_protocol::ErrorCode;

/// Fails one sync of a partition in the second directory.
pub(crate) fn fail_directory(shared: &Shared, broker: &mut Broker) -> Result<(), Failure> {
    let options = &shared.options;
    let second = options.second_data_dir.as_ref();
    let second = second.ok_or("there is no second log directory")?;
    // Its topic gets a partition in each directory only while both are served.
    Beside::open(options)?;
    // A start after a kill syncs what it keeps, by the thread that opens: one after a clean stop does not.
    broker.stop()?;
    let file = second.join(format!("{TOPIC}-1/00000000000000000000.log"));
    let path = file.display().to_string();
    let strace = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-P", &path];
    let inject = [
        "-e",
        "trace=fdatasync",
        "-e",
        "inject=fdatasync:error=EIO:when=1",
    ];
    *broker = Broker::start_under(options, &[&strace[..], &inject].concat())?;
    let mut beside = Beside::open(options)?;
    let offline = (ErrorCode::LeaderNotAvailable, -1);
    let topics = [(TOPIC, options.partitions as usize), (BESIDE, 2)];
    let mut described = Ok(Vec::new());
    wait_until(shared, || {
        described = beside.describe(BESIDE);
        !described.as_ref().is_ok_and(|all| all[1] != offline)
    })
    .ok_or("a directory whose sync failed is not offline")?;
    described?;
    for (topic, count) in topics {
        let described = beside.describe(topic)?;
        let is_as_expected = |(index, found): (usize, &(ErrorCode, i32))| match index % 2 {
            0 => found.0 == ErrorCode::None && found.1 >= 0,
            _ => *found == offline,
        };
        if described.len() != count || !described.iter().enumerate().all(is_as_expected) {
            return Err(format!("{topic} is described as {described:?}"));
        }
    }
    for _ in 0..20 {
        let (served, message) = beside.produce(BESIDE, 0, 100)?;
        if served != ErrorCode::None {
            return Err(format!("the other directory: {served}, {message:?}"));
        }
        let (lost, _) = beside.produce(BESIDE, 1, 100)?;
        if lost != ErrorCode::KafkaStorageError {
            return Err(format!("the directory that failed: {lost}"));
        }
    }
    let (status, text) = readyz(options)?;
    if status != 200 || !text.contains("a sync failed") {
        return Err(format!("/readyz says {status}, {text:?}"));
    }
    broker.kill()?;
    *broker = Broker::start(options)?;
    let (code, message) = Beside::open(options)?.produce(BESIDE, 1, 100)?;
    if code != ErrorCode::None {
        return Err(format!("after a restart: {code}, {message:?}"));
    }
    resume(shared)
}
