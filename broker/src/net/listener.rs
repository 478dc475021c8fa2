//! Accepts connections.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream_api::{Client, ConnectionLimits, Connections, HostPort, QuotaWindow};
use millstream_env::notice_lost_peers;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::charge::SharedBudget;
use super::complaints::Complaints;
use super::connection::Connection;
use super::sockets::{SocketSettings, listen};
use crate::shell::Shell;

/// How long accepting pauses after it failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// After so much silence a peer is asked whether it is there still.
const PEER_SILENCE: Duration = Duration::from_secs(60);
/// A peer that has not answered for so long is not there any more.
const PEER_UNREACHABLE: Duration = Duration::from_secs(60);

/// Bounds of the network.
#[derive(Clone, Debug)]
pub struct NetLimits {
    /// The longest request (`socket.request.max.bytes`).
    pub frame_bytes_max: usize,
    /// Bytes of answers taken from the answer queue and not yet written, beyond one answer.
    pub outgoing_bytes_max: usize,
    /// How long a connection may be silent (`connections.max.idle.ms`).
    pub idle_max: Duration,
    /// Connections that the descriptors allow, whatever is configured.
    pub connections_bound: usize,
    /// How long the rates of new connections are measured (`quota.window.*`).
    pub quota_window: QuotaWindow,
    /// Bytes of unfinished requests held at once, beyond what is every connection's own
    /// (`queued.max.request.bytes`).
    pub queued_bytes_max: usize,
    /// What is every connection's own, all together.
    pub own_bytes_max: usize,
}

/// What the connections of all listeners share.
#[derive(Clone)]
pub struct Shared {
    connections: Arc<Mutex<Connections>>,
    /// The bytes of unfinished requests.
    pub(super) budget: Arc<SharedBudget>,
    /// What was said of peers.
    pub(super) complaints: Arc<Complaints>,
    pub(super) counters: Arc<ConnectionCounters>,
}

/// What is counted of all connections since the start.
#[derive(Default)]
pub struct ConnectionCounters {
    accepted: AtomicU64,
    refused: AtomicU64,
    pub(super) written_bytes: AtomicU64,
}

impl Shared {
    /// What there is at the start: everything.
    #[must_use]
    pub fn new(limits: &NetLimits) -> Shared {
        Shared {
            connections: Arc::default(),
            budget: SharedBudget::new(
                limits.queued_bytes_max,
                limits.frame_bytes_max,
                limits.own_bytes_max,
            ),
            complaints: Arc::default(),
            counters: Arc::default(),
        }
    }
}

impl Shared {
    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.connections().open()
    }

    /// Connections that were accepted since the start, and those that were refused for want of a place.
    #[must_use]
    pub fn accepted_and_refused(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.counters.accepted), of(&self.counters.refused))
    }

    /// Bytes that sockets took since the start.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.counters.written_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of requests that are being read, beyond what is each connection's own.
    #[must_use]
    pub fn request_bytes(&self) -> usize {
        self.budget.state().0
    }

    fn connections(&self) -> MutexGuard<'_, Connections> {
        let guard = self.connections.lock();
        guard.unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection, given back at its end.
struct Place {
    connections: Arc<Mutex<Connections>>,
    listener: Arc<str>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let guard = self.connections.lock();
        let mut connections = guard.unwrap_or_else(PoisonError::into_inner);
        connections.leave(&self.listener, self.address);
    }
}

/// A bound address that accepts connections.
pub struct Listener {
    listener: TcpListener,
    /// Its name in small letters, as settings have it.
    name: Arc<str>,
    /// What clients are told, where it is not the address they came to.
    advertised: Option<HostPort>,
    limits: NetLimits,
    sockets: SocketSettings,
}

static NEXT_CONNECTION: AtomicU64 = AtomicU64::new(0);

impl Listener {
    /// Binds an address (`HOST:PORT`) for the listener of this name.
    pub async fn bind(
        name: &str,
        address: &HostPort,
        advertised: Option<HostPort>,
        limits: NetLimits,
        sockets: SocketSettings,
    ) -> io::Result<Listener> {
        let listener = listen(address, sockets).await?;
        // Connections have it from their listener.
        notice_lost_peers(&listener, PEER_SILENCE, PEER_UNREACHABLE)?;
        Ok(Listener {
            listener,
            name: name.to_lowercase().into(),
            advertised,
            limits,
            sockets,
        })
    }

    /// The address it is bound to.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts until told to stop, then waits until every connection has ended.
    pub async fn run(self, shell: Arc<Shell>, shared: Shared, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        let mut has_failed = false;
        while !*stop.borrow() {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = stop.changed() => break,
                Some(_) = connections.join_next() => continue,
            };
            match accepted {
                Ok((stream, peer)) => {
                    has_failed = false;
                    let wait = self.count(peer, &shell, &shared);
                    if !wait.is_zero() {
                        tracing::debug!(%peer, ?wait, "connections come too fast: served later");
                        tokio::select! {
                            () = tokio::time::sleep(wait) => {}
                            _ = stop.changed() => break,
                        }
                    }
                    self.admit(stream, peer, &shell, &shared, &stop, &mut connections);
                }
                Err(error) if is_of_the_peer(&error) => {
                    tracing::debug!(%error, "connection lost before it was accepted");
                }
                Err(error) => {
                    // The peer stays in the queue, so accepting again at once would fail for ever.
                    if !std::mem::replace(&mut has_failed, true) {
                        tracing::warn!(%error, "cannot accept connections; pausing");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }

    /// Counts a new connection. Answers how long it is held up, with those behind it.
    fn count(&self, peer: SocketAddr, shell: &Shell, shared: &Shared) -> Duration {
        let (limits, now) = (self.limits_of(peer, shell), shell.node.now());
        let window = &self.limits.quota_window;
        let mut connections = shared.connections();
        connections.handle_accepted(&self.name, &limits, now, window)
    }

    /// Serves a new connection if there is room for it.
    fn admit(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shell: &Arc<Shell>,
        shared: &Shared,
        stop: &watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) {
        let limits = self.limits_of(peer, shell);
        let entered = shared.connections().enter(&self.name, peer.ip(), &limits);
        if let Err(reason) = entered {
            shared.counters.refused.fetch_add(1, Ordering::Relaxed);
            let (host, now) = (peer.ip().to_string(), shell.node.now());
            if let Some(unsaid) = shared.complaints.begin(&host, now) {
                let listener = &*self.name;
                tracing::warn!(%peer, listener, %reason, unsaid, "connection refused");
            }
            return;
        }
        let place = Place {
            connections: Arc::clone(&shared.connections),
            listener: Arc::clone(&self.name),
            address: peer.ip(),
        };
        match self.connection(stream, peer, shell, shared) {
            Ok(connection) => {
                shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
                let stop = stop.clone();
                connections.spawn(async move {
                    connection.run(stop).await;
                    drop(place);
                });
            }
            Err(error) => tracing::debug!(%peer, %error, "connection lost at once"),
        }
    }

    /// What holds for a new connection, as configured now.
    fn limits_of(&self, peer: SocketAddr, shell: &Shell) -> ConnectionLimits {
        let limits = shell.node.connection_limits(&self.name, peer.ip());
        ConnectionLimits {
            all: limits.all.min(self.limits.connections_bound),
            ..limits
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        shell: &Arc<Shell>,
        shared: &Shared,
    ) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        let share = shared.budget.receive_share();
        self.sockets.set_received(&stream, share)?;
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
            shared,
        ))
    }
}

/// Whether accepting failed because the peer has gone, which says nothing of the next one.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
