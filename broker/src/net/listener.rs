//! Accepts connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use millstream_api::{Client, HostPort};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::Connection;
use crate::shell::Shell;

/// How long accepting pauses after it failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bounds of the network.
#[derive(Clone, Debug)]
pub struct NetLimits {
    /// The longest request (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// Bytes of answers taken from the answer queue and not yet written, beyond one answer.
    pub outgoing_bytes_max: usize,
    /// How long a connection may be silent (`connections.max.idle.ms`).
    pub idle_max: Duration,
    /// Connections open at once (`max.connections`).
    pub connections_max: usize,
}

/// A bound address that accepts connections.
pub struct Listener {
    listener: TcpListener,
    /// What clients are told, where it is not the address they came to.
    advertised: Option<HostPort>,
    limits: NetLimits,
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);

impl Listener {
    /// Binds an address (`HOST:PORT`).
    pub async fn bind(
        address: &HostPort,
        advertised: Option<HostPort>,
        limits: NetLimits,
    ) -> io::Result<Listener> {
        let listener = TcpListener::bind((address.host.as_str(), address.port)).await?;
        Ok(Listener {
            listener,
            advertised,
            limits,
        })
    }

    /// The address it is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until told to stop, then waits until every connection has ended.
    pub async fn run(self, shell: Arc<Shell>, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let room = Arc::new(Semaphore::new(self.limits.connections_max));
        while !*stop.borrow() {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.changed() => break,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => match Arc::clone(&room).try_acquire_owned() {
                    Ok(place) => match self.connection(stream, peer, &shell) {
                        Ok(connection) => {
                            let stop = stop.clone();
                            connections.spawn(async move {
                                connection.run(stop).await;
                                drop(place);
                            });
                        }
                        Err(error) => tracing::debug!(%peer, %error, "connection lost at once"),
                    },
                    Err(_) => tracing::warn!(
                        %peer,
                        max.connections = self.limits.connections_max,
                        "connection refused: all are taken"
                    ),
                },
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; pausing");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shell: &Arc<Shell>,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let advertised = match &self.advertised {
            Some(configured) => configured.clone(),
            None => stream.local_addr()?.into(),
        };
        let client = Client {
            host: format!("/{}", peer.ip().to_canonical()),
            advertised,
        };
        let id = NEXT_CONNECTION.fetch_add(1, Ordering::Relaxed);
        Ok(Connection::new(
            id,
            stream,
            peer,
            client,
            Arc::clone(shell),
            self.limits.clone(),
        ))
    }
}
