//! The life of a broker: bind, load, say that it is ready, serve, drain.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use millstream_api::HostPort;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::http::{self, Health, Status};
use crate::signals::stop_on_signal;

/// Why a broker does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address} ({setting}): {source}")]
    Bind {
        /// The address.
        address: String,
        /// The setting that says it.
        setting: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A data directory is not this broker's to use. Nothing in it was touched.
    #[error("data directory {} is refused: {reason}", path.display())]
    DirectoryRefused {
        /// The directory.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Something the broker cannot do without failed.
    #[error("{what}: {source}")]
    Failed {
        /// What the broker tried.
        what: &'static str,
        /// How it failed.
        source: io::Error,
    },
}

impl ServeError {
    /// Whether the data directory was refused, which has an exit code of its own.
    #[must_use]
    pub fn is_directory_refused(&self) -> bool {
        matches!(self, ServeError::DirectoryRefused { .. })
    }
}

/// Runs a broker until a signal stops it.
pub async fn run(config: Config) -> Result<(), ServeError> {
    let failed = |what| move |source| ServeError::Failed { what, source };
    let mut stop = stop_on_signal().map_err(failed("cannot take over signals"))?;
    let mut kafka = Vec::new();
    for listener in &config.listeners {
        kafka.push(bind(&listener.address, "listeners").await?);
    }
    let (http, http_address) = bind(&config.http_listen, "millstream.http.listen").await?;
    let health = Arc::new(Health::default());
    let (http_stop, http_stopped) = watch::channel(false);
    let http = tokio::spawn(http::serve(http, Arc::clone(&health), http_stopped));
    health.set(Status::Serving);
    announce(kafka[0].1, http_address);
    let _ = stop.wait_for(|stop| *stop).await;
    health.set(Status::Stopping);
    http_stop.send_replace(true);
    let _ = http.await;
    Ok(())
}

async fn bind(
    address: &HostPort,
    setting: &'static str,
) -> Result<(TcpListener, SocketAddr), ServeError> {
    let failed = |source| ServeError::Bind {
        address: address.to_string(),
        setting,
        source,
    };
    let listener = TcpListener::bind((address.host.as_str(), address.port))
        .await
        .map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// The line that whoever started the broker waits for.
fn announce(kafka: SocketAddr, http: SocketAddr) {
    let mut out = io::stdout();
    let line = format!("millstream ready kafka={kafka} http={http}\n");
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    if let Err(error) = written {
        tracing::warn!(%error, "nobody could be told that the broker is ready");
    }
    tracing::info!(%kafka, %http, "ready");
}
