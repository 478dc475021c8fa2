//! HTTP: `/healthz` says whether clients are served, `/readyz` whether as they should be; `/metrics` is for
//! Prometheus, with `?partitions=true` for series of each partition; `/loglevel` shows what is logged, and sets it
//! (PUT).
//!
//! Bounded: connections are counted, each lives for [`CONNECTION_LIFE`] at most however slowly it sends
//! or reads, and no body is longer than [`BODY_MAX`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::header::{CONTENT_TYPE, ORIGIN};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Sleep, sleep};

/// The longest body of a request, in bytes.
const BODY_MAX: usize = 4096;
/// What Prometheus is told of the page's format.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
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

/// What is answered instead of what was asked for.
type Refusal = (StatusCode, String);

/// A broker that serves, as HTTP shows it.
pub trait Insight: Send + Sync {
    /// How it is.
    fn condition(&self) -> Condition;
    /// The page of metrics, with series of each partition if so asked.
    fn metrics(&self, with_partitions: bool) -> String;
    /// What is logged, as `--log` takes it.
    fn log_levels(&self) -> String;
    /// Changes what is logged. *Errors*: why the text is none that `--log` takes.
    fn set_log_levels(&self, text: &str) -> Result<(), String>;
}

/// The status, shared between the broker and its HTTP listener. Begins as [`Status::Starting`].
#[derive(Default)]
pub struct Health {
    status: AtomicU8,
    broker: OnceLock<Box<dyn Insight>>,
}

impl Health {
    /// Says how far the broker is.
    pub fn set(&self, status: Status) {
        self.status.store(status as u8, Ordering::Release);
    }

    /// Shows the broker, once it is there.
    pub fn show(&self, broker: impl Insight + 'static) {
        // There is one broker in a process.
        let _first_stays = self.broker.set(Box::new(broker));
    }

    fn condition(&self) -> Condition {
        let broker = self.broker.get();
        broker.map(|broker| broker.condition()).unwrap_or_default()
    }

    /// The broker, or what is answered before there is one.
    fn broker(&self) -> Result<&dyn Insight, Refusal> {
        let broker = self.broker.get();
        let starting = || (StatusCode::SERVICE_UNAVAILABLE, "starting\n".to_owned());
        broker.map(Box::as_ref).ok_or_else(starting)
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
        .route("/metrics", get(metrics))
        .route("/loglevel", get(log_levels).put(set_log_levels))
        .layer(DefaultBodyLimit::max(BODY_MAX))
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

/// What is asked of the page of metrics.
#[derive(serde::Deserialize)]
struct MetricsQuery {
    #[serde(default)]
    partitions: bool,
}

async fn metrics(
    State(health): State<Arc<Health>>,
    Query(query): Query<MetricsQuery>,
) -> Result<Response, Refusal> {
    let page = health.broker()?.metrics(query.partitions);
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], page).into_response())
}

async fn log_levels(State(health): State<Arc<Health>>) -> Result<String, Refusal> {
    Ok(health.broker()?.log_levels() + "\n")
}

async fn set_log_levels(
    State(health): State<Arc<Health>>,
    headers: HeaderMap,
    text: String,
) -> Result<String, Refusal> {
    // Browsers say where a page comes from; no page has business here, whatever name it reached us by.
    if headers.contains_key(ORIGIN) {
        return Err((StatusCode::FORBIDDEN, "not from a web page\n".to_owned()));
    }
    let broker = health.broker()?;
    let set = broker.set_log_levels(text.trim());
    set.map_err(|why| (StatusCode::BAD_REQUEST, why + "\n"))?;
    Ok(broker.log_levels() + "\n")
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

    use std::sync::Mutex;

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

    /// A broker that says what it was told.
    #[derive(Default)]
    struct Shown {
        condition: Arc<Mutex<Condition>>,
        levels: Mutex<String>,
    }

    impl Insight for Shown {
        fn condition(&self) -> Condition {
            self.condition.lock().unwrap().clone()
        }

        fn metrics(&self, with_partitions: bool) -> String {
            format!("with partitions: {with_partitions}\n")
        }

        fn log_levels(&self) -> String {
            self.levels.lock().unwrap().clone()
        }

        fn set_log_levels(&self, text: &str) -> Result<(), String> {
            if text == "loud" {
                return Err("loud is no level".to_owned());
            }
            text.clone_into(&mut self.levels.lock().unwrap());
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
            self.send(request, "", "").await
        }

        async fn send(&self, request: &str, headers: &str, body: &str) -> String {
            let mut connection = self.connect();
            let length = body.len();
            let text = format!(
                "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
            );
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
        let condition = Arc::new(Mutex::new(Condition {
            unready: None,
            faults: vec!["a disk is full".to_owned()],
        }));
        server.health.show(Shown {
            condition: Arc::clone(&condition),
            ..Shown::default()
        });
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
    async fn metrics_have_series_of_partitions_if_they_are_asked_for() {
        let server = Server::start();
        let starting = server.ask("GET /metrics").await;
        assert!(starting.starts_with("HTTP/1.1 503 "), "{starting}");
        server.health.show(Shown::default());
        let few = server.ask("GET /metrics").await;
        assert!(few.ends_with("with partitions: false\n"), "{few}");
        assert!(few.contains(OPEN_METRICS), "{few}");
        let all = server.ask("GET /metrics?partitions=true").await;
        assert!(all.ends_with("with partitions: true\n"), "{all}");
        let wrong = server.ask("GET /metrics?partitions=perhaps").await;
        assert!(wrong.starts_with("HTTP/1.1 400 "), "{wrong}");
    }

    #[tokio::test]
    async fn levels_of_the_log_are_shown_and_set() {
        let server = Server::start();
        server.health.show(Shown::default());
        let set = server.send("PUT /loglevel", "", "debug\n").await;
        assert!(
            set.starts_with("HTTP/1.1 200 ") && set.ends_with("debug\n"),
            "{set}"
        );
        let refused = server.send("PUT /loglevel", "", "loud").await;
        assert!(refused.starts_with("HTTP/1.1 400 ") && refused.ends_with("loud is no level\n"));
        let page = server
            .send("PUT /loglevel", "Origin: http://a\r\n", "off")
            .await;
        assert!(page.starts_with("HTTP/1.1 403 "), "{page}");
        let long = server
            .send("PUT /loglevel", "", &"x".repeat(BODY_MAX + 1))
            .await;
        assert!(long.starts_with("HTTP/1.1 413 "), "{long}");
        let shown = server.ask("GET /loglevel").await;
        assert!(shown.ends_with("debug\n"), "{shown}");
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
