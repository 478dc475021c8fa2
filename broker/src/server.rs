//! The life of a broker: bind, load, say that it is ready, serve, drain.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use millstream_api::{GateLimits, HostPort};
use millstream_env::{RealClock, RealDisk, RealRandom};
use millstream_metadata::ControllerSettings;
use millstream_node::{Node, NodeConfig, OpenError};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::Config;
use crate::descriptors::connections_bound;
use crate::http::{self, Condition, Health, Insight, Status};
use crate::memory::{
    answer_bytes_max, connections_bytes_max, directory_queue_bytes_max, queued_bytes_max,
};
use crate::net::{Listener, NetLimits, Shared};
use crate::shell::Shell;
use crate::signals::stop_on_signal;
use crate::{logging, metrics};

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

/// How long connections may go on after the broker was told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Bytes that a step of a move between log directories copies.
const MOVE_BYTES_MAX: u64 = 1 << 20;

/// Runs a broker until a signal stops it.
pub async fn run(config: Config) -> Result<(), ServeError> {
    let failed = |what| move |source| ServeError::Failed { what, source };
    let stop = stop_on_signal().map_err(failed("cannot take over signals"))?;
    let (http, http_address) = bind(&config.http_listen, "millstream.http.listen").await?;
    let health = Arc::new(Health::default());
    let (http_stop, http_stopped) = watch::channel(false);
    let http = http::serve_apart(http, Arc::clone(&health), http_stopped)
        .map_err(failed("cannot serve HTTP"))?;
    let limits = NetLimits {
        frame_bytes_max: config.request_bytes_max,
        outgoing_bytes_max: 1 << 20,
        idle_max: config.connection_idle_max,
        connections_bound: connections_bound(config.connections_max),
        quota_window: config.quota_window,
        queued_bytes_max: queued_bytes_max(
            config.queued_request_bytes_max,
            config.request_bytes_max,
        ),
        own_bytes_max: connections_bytes_max(),
    };
    let shared = Shared::new(&limits);
    let mut listeners = Vec::new();
    for listener in &config.listeners {
        let bound = Listener::bind(
            &listener.name,
            &listener.address,
            listener.advertised.clone(),
            limits.clone(),
            config.sockets,
        );
        let bound = bound.await.map_err(|source| ServeError::Bind {
            address: listener.address.to_string(),
            setting: "listeners",
            source,
        })?;
        listeners.push(bound);
    }
    let kafka_address = listeners[0]
        .local_address()
        .map_err(failed("cannot read a bound address"))?;
    let threads = tokio::runtime::Handle::current().metrics().num_workers();
    let opened = tokio::task::spawn_blocking(move || open(config, threads)).await;
    let node = opened
        .map_err(io::Error::other)
        .map_err(failed("opening ended early"))??;
    let node = Arc::new(node);
    logging::hand_over(&node.broker.loggers);
    let shell = Shell::new(node);
    health.show(Served {
        shell: Arc::clone(&shell),
        shared: shared.clone(),
    });
    let threads = shell.start().map_err(failed("cannot start threads"))?;
    shell.carry_out(shell.node.group_shards_to_load());
    let serving: Vec<_> = listeners
        .into_iter()
        .map(|listener| {
            tokio::spawn(listener.run(Arc::clone(&shell), shared.clone(), stop.clone()))
        })
        .collect();
    health.set(Status::Serving);
    announce(kafka_address, http_address);
    let mut stopped = stop.clone();
    let _ = stopped.wait_for(|stop| *stop).await;
    health.set(Status::Stopping);
    let drain = async {
        for task in serving {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(DRAIN_MAX, drain).await.is_err() {
        tracing::warn!("some connections did not end in time and are cut off");
    }
    let closed = tokio::task::spawn_blocking(move || {
        shell.stop(threads);
        shell.node.close()
    });
    let closed = closed
        .await
        .map_err(io::Error::other)
        .and_then(|closed| closed);
    http_stop.send_replace(true);
    let ended = tokio::task::spawn_blocking(move || http.join());
    let _ = ended.await;
    closed.map_err(failed("closing the data directories failed"))
}

/// `threads`: how many serve connections.
fn open(config: Config, threads: usize) -> Result<Node, ServeError> {
    let mut file_configs = config.given;
    // One number under two names, which is always given.
    for name in ["node.id", "broker.id"] {
        file_configs.insert(name.to_owned(), config.node_id.to_string());
    }
    let mut controller = ControllerSettings {
        num_partitions: config.num_partitions,
        default_replication_factor: config.default_replication_factor,
        file_configs,
        known_configs: Arc::new(Config::known()),
        ..ControllerSettings::default()
    };
    controller.offsets_topic.partitions = config.offsets_topic.partitions;
    controller.offsets_topic.replication_factor = config.offsets_topic.replication_factor;
    for (name, value) in &mut controller.offsets_topic.configs {
        if *name == "segment.bytes" {
            *value = config.offsets_topic.segment_bytes.to_string();
        }
    }
    let directories = config.log_directories.iter();
    let log_directories = directories.map(|path| absolute(path));
    let log_directories = log_directories
        .collect::<io::Result<_>>()
        .map_err(|source| {
            let what = "cannot find out where the data directories are";
            ServeError::Failed { what, source }
        })?;
    let node = NodeConfig {
        node_id: config.node_id,
        cluster_id: config.cluster_id,
        rack: config.rack,
        log_directories,
        auto_create_topics: config.auto_create_topics,
        delete_topics: config.delete_topics,
        describe_partitions_max: config.describe_partitions_max,
        controller,
        telemetry_bytes_max: config.telemetry_bytes_max,
        quota_window: config.quota_window,
        fetch_bytes_max: config.fetch_bytes_max,
        answer_bytes_max: answer_bytes_max(config.queued_answer_bytes_max),
        recovery_threads: config.recovery_threads,
        fetch_sessions_max: config.fetch_sessions_max,
        fetch_wait_max: config.fetch_wait_max,
        groups: config.groups,
        group_shards: config.offsets_topic.partitions as usize,
        producer_expiration: config.producer_expiration,
        group_expiry_interval: config.group_expiry_interval,
        retention_interval: config.retention_interval,
        compaction: config.compaction,
        reserve_bytes: config.reserve_bytes,
        safe_mode_crashes: config.safe_mode_crashes,
        scrub: config.scrub,
        move_bytes_max: MOVE_BYTES_MAX,
        gates: GateLimits {
            queued_bytes_max: directory_queue_bytes_max(config.directory_queue_bytes_max),
            threads,
            ..GateLimits::default()
        },
    };
    let (clock, random) = (Arc::new(RealClock::default()), Arc::new(RealRandom));
    Node::open(Arc::new(RealDisk), clock, random, node).map_err(|error| match error {
        OpenError::Refused { path, reason } => ServeError::DirectoryRefused { path, reason },
        failed @ OpenError::Failed { .. } => ServeError::Failed {
            what: "cannot open the data directories",
            source: io::Error::other(failed.to_string()),
        },
    })
}

/// The path as clients name it: from the root, without `.` and a slash at the end.
fn absolute(path: &Path) -> io::Result<PathBuf> {
    Ok(std::path::absolute(path)?.components().collect())
}

/// The broker as HTTP shows it.
struct Served {
    shell: Arc<Shell>,
    shared: Shared,
}

impl Insight for Served {
    fn condition(&self) -> Condition {
        condition(&self.shell)
    }

    fn metrics(&self, with_partitions: bool) -> String {
        metrics::page(&self.shell, &self.shared, with_partitions)
    }

    fn log_levels(&self) -> String {
        logging::text_of(&self.shell.node.broker.loggers.levels())
    }

    fn set_log_levels(&self, text: &str) -> Result<(), String> {
        let levels = logging::parse_levels("the body", text).map_err(|error| error.to_string())?;
        self.shell.node.broker.loggers.replace(levels);
        Ok(())
    }
}

/// What there is to say of a broker that serves.
fn condition(shell: &Shell) -> Condition {
    let node = &shell.node;
    let offline = node.offline_directories();
    let all_are = offline.len() == node.directories();
    let all = "all log directories are offline: nothing is served until the next start";
    let safe_mode = || node.safe_mode().map(str::to_owned);
    let offline = offline
        .into_iter()
        .map(|(path, reason)| format!("log directory {} is offline: {reason}", path.display()));
    let short = node.short_directories().into_iter();
    let panics = shell.panics.load(Ordering::Relaxed);
    let panicked = (panics > 0)
        .then(|| format!("{panics} connection(s) ended by a panic: a bug, told in the log"));
    Condition {
        unready: all_are.then(|| all.to_owned()).or_else(safe_mode),
        faults: offline
            .chain(short.map(|short| short.to_string()))
            .chain(panicked)
            .collect(),
    }
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
