//! Connections that say who they are and are silent then, and connections that come and go beside them (row O1).

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use millstream_protocol::messages::ApiVersionsRequest;

use crate::crash::{Connection, Failure};
use crate::slow_disk::Latencies;

const VERSION: i16 = 3;

/// Connections that are idle.
pub(super) struct Crowd(Vec<Connection>);

impl Crowd {
    pub(super) fn open(port: u16, count: usize) -> Result<Crowd, Failure> {
        let mut all = Vec::with_capacity(count);
        for number in 0..count {
            all.push(connect(port).map_err(|error| format!("connection {number}: {error}"))?);
        }
        Ok(Crowd(all))
    }

    /// Ends it. Answers how many there were. *Errors*: one of them is not served any more.
    pub(super) fn close(mut self) -> Result<usize, Failure> {
        for connection in self.0.iter_mut().step_by(100) {
            ask(connection).map_err(|error| format!("an idle connection: {error}"))?;
        }
        Ok(self.0.len())
    }
}

fn connect(port: u16) -> Result<Connection, Failure> {
    let mut connection = Connection::open(port).map_err(|error| format!("{error:?}"))?;
    ask(&mut connection)?;
    Ok(connection)
}

fn ask(connection: &mut Connection) -> Result<(), Failure> {
    let request = ApiVersionsRequest {
        client_software_name: "bounds".into(),
        client_software_version: "1".into(),
        ..ApiVersionsRequest::default()
    };
    let answered = connection.call(VERSION, &request);
    answered.map(drop).map_err(|error| format!("{error:?}"))
}

/// Makes and ends so many connections a second while something is measured.
pub(super) fn beside_churn(
    port: u16,
    per_second: u32,
    measure: impl FnOnce() -> Result<Latencies, Failure>,
) -> Result<Latencies, Failure> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| churn(port, per_second, &stop));
        let measured = measure();
        stop.store(true, Ordering::Relaxed);
        let made = churn.join().map_err(|_| "a thread ended by a panic")??;
        println!("     {made:.0} connections a second came and went");
        measured
    })
}

/// Answers how many there were in a second.
fn churn(port: u16, per_second: u32, stop: &AtomicBool) -> Result<f64, Failure> {
    let (began, mut count) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        let due = began + Duration::from_secs(1) * count / per_second;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        connect(port)?;
        count += 1;
    }
    Ok(f64::from(count) / began.elapsed().as_secs_f64())
}
