//! A broker that crashes again and again starts in safe mode, until it was stopped cleanly.

use millstream_protocol::ErrorCode;

use super::beside::{BESIDE, Beside, readyz};
use super::broker::Broker;
use super::ending::resume;
use super::{Failure, Shared, reader};

/// Crashes after which a start is one in safe mode, in these runs.
pub(crate) const CRASHES: usize = 5;

/// Crashes so often, and looks at what is left of the broker.
pub(crate) fn crash_in_a_loop(shared: &Shared, broker: &mut Broker) -> Result<(), Failure> {
    let options = &shared.options;
    for _ in 0..CRASHES {
        let (status, text) = readyz(options)?;
        if status != 200 {
            return Err(format!(
                "before so many crashes: /readyz says {status}, {text:?}"
            ));
        }
        broker.kill()?;
        *broker = Broker::start(options)?;
    }
    let (status, text) = readyz(options)?;
    if status != 503 || !text.contains("safe mode") {
        return Err(format!("in safe mode /readyz says {status}, {text:?}"));
    }
    let mut beside = Beside::open(options)?;
    let (code, message) = beside.produce(BESIDE, 0, 100)?;
    if code != ErrorCode::KafkaStorageError || !message.contains("safe mode") {
        return Err(format!("in safe mode: {code}, {message:?}"));
    }
    reader::read_all(options, &mut |_| {}).map_err(|failure| format!("in safe mode: {failure}"))?;
    broker.stop()?;
    *broker = Broker::start(options)?;
    resume(shared)
}
