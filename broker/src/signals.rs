//! SIGTERM and SIGINT: the first asks the broker to stop, the second ends the process at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The code of a process that was told to stop a second time before it was done.
const IMPATIENT: i32 = 1;

/// Takes over the signals. The answer turns true at the first one.
pub fn stop_on_signal() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::info!(signal = name, "stopping; a second signal ends at once");
        sender.send_replace(true);
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "ended before everything was drained");
        std::process::exit(IMPATIENT);
    });
    Ok(stop)
}

/// Both arms are cancel-safe: a signal not taken is seen the next time.
async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
