//! HTTP: `/healthz` says whether clients are served, `/readyz` whether as they should be.
//!
//! Bounded: connections are counted, each lives for [`CONNECTION_LIFE`] at most however slowly it sends
//! or reads, and no handler reads a body.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep};

/// Connections open at once; the next waits to be accepted.
const CONNECTIONS_MAX: usize = 128;
/// How long a connection may live.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);
/// How long answers under way may take once the broker has stopped.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// How far the broker is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// It loads what it has.
    Starting = 0,
    /// It serves clients.
    Serving = 1,
    /// It drains.
    Stopping = 2,
}

/// What a broker that serves says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why it does not take all that it should, if so.
    pub unready: Option<String>,
    /// What is wrong besides, a line each.
    pub faults: Vec<String>,
}

/// Looks at a broker.
type Look = Box<dyn Fn() -> Condition + Send + Sync>;

/// The status, shared between the broker and its HTTP listener. Begins as [`Status::Starting`].
#[derive(Default)]
pub struct Health {
    status: AtomicU8,
    look: OnceLock<Look>,
}

impl Health {
    /// Says how far the broker is.
    pub fn set(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Says how to look at the broker, once it is there.
    pub fn look_by(&self, look: impl Fn() -> Condition + Send + Sync + 'static) {
        // There is one broker in a process.
        let _first_stays = self.look.set(Box::new(look));
    }

    fn condition(&self) -> Condition {
        self.look.get().map(|look| look()).unwrap_or_default()
    }

    /// How far the broker is.
    #[must_use]
    pub fn status(&self) -> Status {
        match self.status.load(Ordering::Acquire) {
            0 => Status::Starting,
            1 => Status::Serving,
            _ => Status::Stopping,
        }
    }
}

/// What is served.
pub fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(health)
}

/// Serves as [`serve`] does, on a thread of its own: whatever holds up the others, one can ask how the
/// broker is.
pub fn serve_apart(
    listener: TcpListener,
    health: Arc<Health>,
    stop: watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let run = move || {
        let served = runtime.block_on(async {
            serve(TcpListener::from_std(listener)?, health, stop).await;
            io::Result::Ok(())
        });
        if let Err(error) = served {
            tracing::error!(%error, "HTTP is not served");
        }
    };
    thread::Builder::new().name("http".to_owned()).spawn(run)
}

/// Serves until `stop` is true (or its sender gone), then lets answers under way end.
pub async fn serve<L>(listener: L, health: Arc<Health>, mut stop: watch::Receiver<bool>)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stopped = stop.clone();
    let server = axum::serve(BoundedListener { listener, room }, router(health))
        .with_graceful_shutdown(async move {
            let _ = stop.wait_for(|stop| *stop).await;
        });
    let drained = async {
        let _ = stopped.wait_for(|stop| *stop).await;
        sleep(DRAIN_MAX).await;
    };
    tokio::select! {
        _ = server => {}
        () = drained => {}
    }
}

/// 200 while clients are served, 503 before and after.
async fn healthz(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    match health.status() {
        Status::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Status::Serving => (StatusCode::OK, "ok\n"),
        Status::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}

/// 200 while clients are served as they should be, 503 otherwise; then what is wrong, a line each.
async fn readyz(State(health): State<Arc<Health>>) -> (StatusCode, String) {
    if health.status() != Status::Serving {
        let (code, text) = healthz(State(health)).await;
        return (code, text.to_owned());
    }
    let Condition { unready, faults } = health.condition();
    let (code, first) = match unready {
        None => (StatusCode::OK, "ready".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    };
    let lines = std::iter::once(first).chain(faults);
    (code, lines.map(|line| line + "\n").collect())
}

/// Accepts as long as there is room.
struct BoundedListener<L> {
    listener: L,
    room: Arc<Semaphore>,
}

impl<L: Listener> Listener for BoundedListener<L> {
    type Io = BoundedIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.room).acquire_owned().await;
        let place = place.expect("the semaphore is never closed");
        let (io, address) = self.listener.accept().await;
        (
            BoundedIo {
                io,
                life: Box::pin(sleep(CONNECTION_LIFE)),
                _place: place,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// A connection that fails when its life is over.
struct BoundedIo<T> {
    io: T,
    life: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl<T> BoundedIo<T> {
    fn check_life(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.life.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::TimedOut.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for BoundedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_life(context)?;
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for BoundedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_life(context)?;
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_life(context)?;
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_life(context)?;
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;

    /// Connections in memory.
    struct Dialled(mpsc::UnboundedReceiver<DuplexStream>);

    impl Listener for Dialled {
        type Io = DuplexStream;
        type Addr = ();

        async fn accept(&mut self) -> (DuplexStream, ()) {
            match self.0.recv().await {
                Some(io) => (io, ()),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Server {
        dial: mpsc::UnboundedSender<DuplexStream>,
        health: Arc<Health>,
        stop: watch::Sender<bool>,
        task: tokio::task::JoinHandle<()>,
    }

    impl Server {
        fn start() -> Server {
            let (dial, dialled) = mpsc::unbounded_channel();
            let health = Arc::new(Health::default());
            let (stop, stopped) = watch::channel(false);
            let task = tokio::spawn(serve(Dialled(dialled), Arc::clone(&health), stopped));
            Server {
                dial,
                health,
                stop,
                task,
            }
        }

        fn connect(&self) -> DuplexStream {
            let (near, far) = duplex(4096);
            self.dial.send(far).unwrap();
            near
        }

        async fn ask(&self, request: &str) -> String {
            let mut connection = self.connect();
            let text = format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            connection.write_all(text.as_bytes()).await.unwrap();
            let mut answer = String::new();
            connection.read_to_string(&mut answer).await.unwrap();
            answer
        }
    }

    #[tokio::test]
    async fn healthz_tells_the_status() {
        let server = Server::start();
        let starting = server.ask("GET /healthz").await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("starting\n"));
        server.health.set(Status::Serving);
        let serving = server.ask("GET /healthz").await;
        assert!(
            serving.starts_with("HTTP/1.1 200 ") && serving.ends_with("ok\n"),
            "{serving}"
        );
        server.health.set(Status::Stopping);
        let stopping = server.ask("GET /healthz").await;
        assert!(stopping.starts_with("HTTP/1.1 503 ") && stopping.ends_with("stopping\n"));
    }

    #[tokio::test]
    async fn readyz_tells_what_is_wrong() {
        let server = Server::start();
        let starting = server.ask("GET /readyz").await;
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.ends_with("starting\n"));
        server.health.set(Status::Serving);
        let ready = server.ask("GET /readyz").await;
        assert!(
            ready.starts_with("HTTP/1.1 200 ") && ready.ends_with("\r\n\r\nready\n"),
            "{ready}"
        );
        let condition = Arc::new(std::sync::Mutex::new(Condition {
            unready: None,
            faults: vec!["a disk is full".to_owned()],
        }));
        let shared = Arc::clone(&condition);
        server
            .health
            .look_by(move || shared.lock().unwrap().clone());
        let faulty = server.ask("GET /readyz").await;
        assert!(
            faulty.starts_with("HTTP/1.1 200 ") && faulty.ends_with("ready\na disk is full\n"),
            "{faulty}"
        );
        condition.lock().unwrap().unready = Some("safe mode".to_owned());
        let unready = server.ask("GET /readyz").await;
        assert!(
            unready.starts_with("HTTP/1.1 503 ")
                && unready.ends_with("safe mode\na disk is full\n"),
            "{unready}"
        );
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let server = Server::start();
        assert!(server.ask("GET /").await.starts_with("HTTP/1.1 404 "));
        assert!(
            server
                .ask("POST /healthz")
                .await
                .starts_with("HTTP/1.1 405 ")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_sends_slowly_is_cut() {
        let server = Server::start();
        let began = Instant::now();
        let mut slow = server.connect();
        slow.write_all(b"GET /healthz HT").await.unwrap();
        let mut answer = Vec::new();
        slow.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"");
        assert_eq!(began.elapsed().as_secs(), CONNECTION_LIFE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn crowd_of_silent_connections_delays_the_next_and_no_more() {
        let server = Server::start();
        let silent: Vec<DuplexStream> = (0..CONNECTIONS_MAX).map(|_| server.connect()).collect();
        let began = Instant::now();
        assert!(
            server
                .ask("GET /healthz")
                .await
                .starts_with("HTTP/1.1 503 ")
        );
        assert_eq!(began.elapsed().as_secs(), CONNECTION_LIFE.as_secs());
        drop(silent);
    }

    #[tokio::test(start_paused = true)]
    async fn stops_though_a_connection_lingers() {
        let server = Server::start();
        let mut lingering = server.connect();
        lingering.write_all(b"GET /hea").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        let began = Instant::now();
        server.stop.send_replace(true);
        server.task.await.unwrap();
        assert!(began.elapsed() <= DRAIN_MAX + Duration::from_millis(10));
    }
}
