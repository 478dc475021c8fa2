//! Which broker configs may be changed while brokers run, and for whom (KIP-226).

use crate::topic_config_def::TOPIC_CONFIGS;

/// How a broker config is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// By a restart.
    ReadOnly,
    /// For one broker at a time.
    PerBroker,
    /// For one broker, or for all.
    ClusterWide,
}

/// How a name begins that is given for a single listener: `listener.name.NAME.CONFIG`.
pub const LISTENER_PREFIX: &str = "listener.name.";

/// Configs of single listeners that all brokers may have alike, and that are obeyed here.
const OF_LISTENERS: &[&str] = &["max.connection.creation.rate", "max.connections"];

/// The mode of the config of this name. That of a name nobody knows is read-only, though it may be set.
#[must_use]
pub fn update_mode(name: &str) -> UpdateMode {
    // Kafka counts the name of highest precedence behind each topic config.
    let is_behind_topics = || {
        let first = TOPIC_CONFIGS.iter().filter_map(|def| def.synonyms.first());
        first.into_iter().any(|synonym| synonym.name == name)
    };
    if is_obeyed_by_listeners(name) {
        UpdateMode::ClusterWide
    } else if PER_BROKER.contains(&name) || name.starts_with(LISTENER_PREFIX) {
        UpdateMode::PerBroker
    } else if CLUSTER_WIDE.contains(&name) || is_behind_topics() {
        UpdateMode::ClusterWide
    } else {
        UpdateMode::ReadOnly
    }
}

/// The config that a name gives for a single listener.
pub(crate) fn config_of_listener(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(LISTENER_PREFIX)?;
    let (_listener, config) = rest.split_once('.')?;
    Some(config)
}

/// Whether a name gives a single listener what listeners obey.
pub(crate) fn is_obeyed_by_listeners(name: &str) -> bool {
    config_of_listener(name).is_some_and(|config| OF_LISTENERS.contains(&config))
}

/// Beside those behind configs of topics.
const CLUSTER_WIDE: &[&str] = &[
    "background.threads",
    "config.providers",
    "cordoned.log.dirs",
    "errors.deadletterqueue.auto.create.topics.enable",
    "errors.deadletterqueue.topic.name.prefix",
    "follower.fetch.last.tiered.offset.enable",
    "group.consumer.assignment.interval.ms",
    "group.coordinator.cached.buffer.max.bytes",
    "group.share.assignment.interval.ms",
    "group.streams.assignment.interval.ms",
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.buffer.size",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    "max.connection.creation.rate",
    "max.connections",
    "max.connections.per.ip",
    "max.connections.per.ip.overrides",
    "metric.reporters",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
    "producer.id.expiration.ms",
    "remote.fetch.max.wait.ms",
    "remote.list.offsets.request.timeout.ms",
    "remote.log.index.file.cache.total.size.bytes",
    "remote.log.manager.copier.thread.pool.size",
    "remote.log.manager.copy.max.bytes.per.second",
    "remote.log.manager.expiration.thread.pool.size",
    "remote.log.manager.fetch.max.bytes.per.second",
    "remote.log.manager.follower.thread.pool.size",
    "remote.log.reader.threads",
    "share.coordinator.cached.buffer.max.bytes",
    "transaction.partition.verification.enable",
];

const PER_BROKER: &[&str] = &[
    "listener.security.protocol.map",
    "listeners",
    "principal.builder.class",
    "sasl.enabled.mechanisms",
    "sasl.jaas.config",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal.to.local.rules",
    "sasl.kerberos.service.name",
    "sasl.kerberos.ticket.renew.jitter",
    "sasl.kerberos.ticket.renew.window.factor",
    "sasl.login.refresh.buffer.seconds",
    "sasl.login.refresh.min.period.seconds",
    "sasl.login.refresh.window.factor",
    "sasl.login.refresh.window.jitter",
    "sasl.mechanism.inter.broker.protocol",
    "ssl.cipher.suites",
    "ssl.client.auth",
    "ssl.enabled.protocols",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.factory.class",
    "ssl.key.password",
    "ssl.keymanager.algorithm",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.protocol",
    "ssl.provider",
    "ssl.secure.random.implementation",
    "ssl.trustmanager.algorithm",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker_config::kafka_broker_configs;

    #[test]
    fn what_may_be_changed_is_sorted_and_known() {
        for list in [CLUSTER_WIDE, PER_BROKER] {
            assert!(list.is_sorted());
            for name in list {
                assert!(
                    kafka_broker_configs().any(|def| def.name == *name),
                    "{name}"
                );
            }
        }
        // 99 in Kafka 4.3.1; five are newer, among them three behind configs of topics.
        let changeable =
            kafka_broker_configs().filter(|def| update_mode(def.name) != UpdateMode::ReadOnly);
        assert_eq!(changeable.count(), 104);
    }

    #[test]
    fn modes() {
        assert_eq!(update_mode("log.retention.ms"), UpdateMode::ClusterWide);
        assert_eq!(update_mode("log.retention.hours"), UpdateMode::ReadOnly);
        assert_eq!(
            update_mode("millstream.durability"),
            UpdateMode::ClusterWide
        );
        assert_eq!(update_mode("listeners"), UpdateMode::PerBroker);
        let of_a_listener = "listener.name.a.ssl.keystore.location";
        assert_eq!(update_mode(of_a_listener), UpdateMode::PerBroker);
        let limit = "listener.name.a.max.connections";
        assert_eq!(update_mode(limit), UpdateMode::ClusterWide);
        assert_eq!(update_mode("no.such"), UpdateMode::ReadOnly);
    }
}
