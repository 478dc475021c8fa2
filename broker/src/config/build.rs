//! From checked settings to the typed [`Config`], and what contradicts what.

use std::path::PathBuf;
use std::time::Duration;

use millstream_api::{HostPort, QuotaWindow};
use millstream_coordinator::GroupConfig;
use millstream_metadata::split_list;
use millstream_model::NodeId;
use millstream_node::{CompactionConfig, ScrubConfig};

use super::error::ConfigError;
use super::layered::Layered;
use super::listeners::{is_loopback, listeners};
use super::{Config, OffsetsTopic};
use crate::net::SocketSettings;

/// Longer durations mean the same: never.
const DURATION_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// The configuration, and what the operator should know about it.
pub(super) fn build(settings: &Layered) -> Result<(Config, Vec<String>), ConfigError> {
    check_contradictions(settings)?;
    let (listeners, left_out) = listeners(settings)?;
    let open = listeners.iter().map(|listener| listener.name.as_str());
    let names: Vec<&str> = open.chain(left_out.iter().map(String::as_str)).collect();
    settings.check_listeners(&names)?;
    let config = Config {
        node_id: NodeId(node_id(settings)),
        cluster_id: cluster_id(settings)?,
        rack: settings.optional_text("broker.rack"),
        listeners,
        http_listen: http_listen(settings)?,
        log_directories: log_directories(settings)?,
        directory_queue_bytes_max: usize::try_from(
            settings.number("millstream.log.dir.queue.bytes"),
        )
        .ok(),
        num_partitions: narrow(settings, "num.partitions"),
        default_replication_factor: replicas(settings, "default.replication.factor"),
        auto_create_topics: settings.is_on("auto.create.topics.enable"),
        delete_topics: settings.is_on("delete.topic.enable"),
        describe_partitions_max: settings.size("max.request.partition.size.limit"),
        given: settings.given_configs(),
        offsets_topic: OffsetsTopic {
            partitions: narrow(settings, "offsets.topic.num.partitions"),
            replication_factor: replicas(settings, "offsets.topic.replication.factor"),
            segment_bytes: settings.size("offsets.topic.segment.bytes"),
        },
        groups: groups(settings),
        group_expiry_interval: millis(settings, "offsets.retention.check.interval.ms"),
        request_bytes_max: settings.size("socket.request.max.bytes"),
        queued_answer_bytes_max: usize::try_from(settings.number("millstream.queued.answer.bytes"))
            .ok(),
        queued_request_bytes_max: usize::try_from(settings.number("queued.max.request.bytes")).ok(),
        connections_max: connections_max(settings),
        sockets: sockets(settings),
        connection_idle_max: millis(settings, "connections.max.idle.ms"),
        telemetry_bytes_max: settings.size("telemetry.max.bytes"),
        quota_window: QuotaWindow {
            samples: settings.size("quota.window.num") as u32,
            length: Duration::from_secs(settings.size("quota.window.size.seconds") as u64),
        },
        fetch_bytes_max: settings.size("fetch.max.bytes"),
        recovery_threads: settings.size("num.recovery.threads.per.data.dir"),
        fetch_sessions_max: settings.size("max.incremental.fetch.session.cache.slots"),
        fetch_wait_max: millis(settings, "millstream.fetch.wait.max.ms"),
        producer_expiration: millis(settings, "producer.id.expiration.ms"),
        retention_interval: millis(settings, "log.retention.check.interval.ms"),
        compaction: compaction(settings),
        safe_mode_crashes: settings.size("millstream.safe.mode.crashes"),
        reserve_bytes: u64::try_from(settings.number("millstream.log.dir.reserve.bytes")).ok(),
        scrub: scrub(settings),
    };
    let warnings = warnings(settings, &config, &left_out);
    Ok((config, warnings))
}

fn warnings(settings: &Layered, config: &Config, left_out: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    let without_effect = settings.without_effect();
    if !without_effect.is_empty() {
        warnings.push(format!(
            "settings without effect yet: {}",
            without_effect.join(", ")
        ));
    }
    if !left_out.is_empty() {
        let names = left_out.join(", ");
        warnings.push(format!("listeners for controllers are not opened: {names}"));
    }
    let kafka = config
        .listeners
        .iter()
        .map(|listener| ("listeners", &listener.address));
    let all = kafka.chain([("millstream.http.listen", &config.http_listen)]);
    for (setting, address) in all.filter(|(_, address)| !is_loopback(&address.host)) {
        warnings.push(format!(
            "{setting} opens {address} to other machines, and there is no encryption or \
             authentication yet"
        ));
    }
    warnings
}

fn check_contradictions(settings: &Layered) -> Result<(), ConfigError> {
    let shortest = settings.number("group.min.session.timeout.ms");
    if settings.number("group.max.session.timeout.ms") < shortest {
        let reason = format!("is below group.min.session.timeout.ms={shortest}");
        return Err(settings.error("group.max.session.timeout.ms", reason));
    }
    let queued = settings.number("queued.max.request.bytes");
    let longest = settings.number("socket.request.max.bytes");
    if queued != -1 && queued < longest {
        let reason = format!(
            "is below socket.request.max.bytes={longest}, so the longest request would never fit"
        );
        return Err(settings.error("queued.max.request.bytes", reason));
    }
    if settings.number("max.connections.per.ip") == 0
        && settings.text("max.connections.per.ip.overrides").is_empty()
    {
        let reason = "lets nobody in; max.connections.per.ip.overrides would say whom";
        return Err(settings.error("max.connections.per.ip", reason.to_owned()));
    }
    let roles = settings
        .given("process.roles")
        .map(|given| given.value.as_str());
    if let Some(roles) = roles
        && !split_list(roles).any(|role| role == "broker")
    {
        let reason = "lacks broker; every Millstream node is a broker with its controller inside";
        return Err(settings.error("process.roles", reason.to_owned()));
    }
    Ok(())
}

fn cluster_id(settings: &Layered) -> Result<Option<String>, ConfigError> {
    let id = settings.optional_text("millstream.cluster.id");
    let is_legal = |id: &String| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        id.len() <= 64 && id.bytes().all(is_word)
    };
    if id.as_ref().is_some_and(|id| !is_legal(id)) {
        let reason = "must be at most 64 of A-Z, a-z, 0-9, - and _".to_owned();
        return Err(settings.error("millstream.cluster.id", reason));
    }
    Ok(id)
}

fn http_listen(settings: &Layered) -> Result<HostPort, ConfigError> {
    const NAME: &str = "millstream.http.listen";
    let address: Option<HostPort> = settings.text(NAME).parse().ok();
    address
        .filter(|address| !address.host.is_empty())
        .ok_or_else(|| {
            let reason = "is not HOST:PORT with a port from 0 to 65535; 0.0.0.0 is every interface";
            settings.error(NAME, reason.to_owned())
        })
}

fn log_directories(settings: &Layered) -> Result<Vec<PathBuf>, ConfigError> {
    let name = if settings.given("log.dir").is_some() {
        "log.dir"
    } else {
        "log.dirs"
    };
    let directories: Vec<PathBuf> = split_list(settings.text(name)).map(PathBuf::from).collect();
    match directories.is_empty() {
        true => Err(settings.error(name, "must name a directory".to_owned())),
        false => Ok(directories),
    }
}

fn compaction(settings: &Layered) -> CompactionConfig {
    CompactionConfig {
        is_enabled: settings.is_on("log.cleaner.enable"),
        map_bytes: settings.size("log.cleaner.dedupe.buffer.size"),
        backoff: millis(settings, "log.cleaner.backoff.ms"),
        bytes_per_second_max: settings.fraction("log.cleaner.io.max.bytes.per.second"),
    }
}

fn scrub(settings: &Layered) -> ScrubConfig {
    ScrubConfig {
        bytes_per_second_max: settings.size("millstream.scrub.bytes.per.second") as u64,
        interval: millis(settings, "millstream.scrub.interval.ms"),
    }
}

fn groups(settings: &Layered) -> GroupConfig {
    GroupConfig {
        min_session_timeout: millis(settings, "group.min.session.timeout.ms"),
        max_session_timeout: millis(settings, "group.max.session.timeout.ms"),
        initial_rebalance_delay: millis(settings, "group.initial.rebalance.delay.ms"),
        group_max_size: settings.size("group.max.size"),
        members_max: settings.size("millstream.group.members.per.shard.max"),
        groups_max: settings.size("millstream.group.count.per.shard.max"),
        offset_metadata_max_bytes: settings.size("offset.metadata.max.bytes"),
        offsets_retention: Duration::from_secs(
            60 * settings.size("offsets.retention.minutes") as u64,
        )
        .min(DURATION_MAX),
        ..GroupConfig::default()
    }
}

/// `keep_one` leaves only one of the two names.
fn node_id(settings: &Layered) -> i32 {
    let name = if settings.given("broker.id").is_some() {
        "broker.id"
    } else {
        "node.id"
    };
    narrow(settings, name)
}

fn sockets(settings: &Layered) -> SocketSettings {
    let given = |name| u32::try_from(settings.number(name)).ok();
    SocketSettings {
        receive_buffer_bytes: given("socket.receive.buffer.bytes"),
        send_buffer_bytes: given("socket.send.buffer.bytes"),
        backlog: given("socket.listen.backlog.size").unwrap_or(1),
    }
}

/// Kafka's default, the largest number, means that nobody asked for a bound.
fn connections_max(settings: &Layered) -> Option<usize> {
    Some(settings.size("max.connections")).filter(|count| *count != i32::MAX as usize)
}

fn narrow(settings: &Layered, name: &str) -> i32 {
    i32::try_from(settings.number(name)).expect("the setting's type is Int")
}

fn replicas(settings: &Layered, name: &str) -> i16 {
    i16::try_from(settings.number(name)).expect("the setting's range ends there")
}

fn millis(settings: &Layered, name: &str) -> Duration {
    Duration::from_millis(settings.size(name) as u64).min(DURATION_MAX)
}
