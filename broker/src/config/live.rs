//! The table of the settings that change something, in the order of `config/millstream.toml`.
//!
//! Kafka's name, type and range wherever Kafka has the setting. Defaults are Kafka's too, except where
//! the text says why not. An empty default means: not set.

use ConfigRange::{
    AddressCounts, Any, AtLeast, Between, BetweenOr, OneOf, Positive, Ratio, SubsetOf,
};
use ConfigType::{Boolean, Double, Int, List, Long, String as Text};
use millstream_log::RecentStarts;
use millstream_metadata::{ConfigRange, ConfigType, TOPIC_PARTITIONS_MAX};

use super::setting::Setting;

const PARTITIONS: ConfigRange = Between(1, TOPIC_PARTITIONS_MAX as i64);
const REPLICAS: ConfigRange = Between(1, i16::MAX as i64);

const fn of(
    name: &'static str,
    type_: ConfigType,
    default: &'static str,
    range: ConfigRange,
    doc: &'static str,
) -> Setting {
    Setting {
        name,
        type_,
        default,
        range,
        doc,
    }
}

#[rustfmt::skip] // one line per setting is a table
pub(super) static LIVE: &[Setting] = &[
    // Who this broker is.
    of("node.id", Int, "1", AtLeast(0), "This broker's id, for ever: a data directory of another id is refused."),
    of("broker.id", Int, "", AtLeast(-1), "The older name of node.id; -1: not set."),
    of("broker.rack", Text, "", Any, "This broker's rack."),
    of("millstream.cluster.id", Text, "", Any, "The cluster this broker belongs to; not set: the one its data directories name, or a new one."),

    // Where it listens.
    of("listeners", List, "PLAINTEXT://127.0.0.1:9092", Any, "Addresses for Kafka's protocol, NAME://HOST:PORT each; no host means every IPv4 interface. Loopback by default, because nothing is authenticated yet."),
    of("advertised.listeners", List, "", Any, "Addresses told to clients, one per listener; not set: the address the client has connected to."),
    of("listener.security.protocol.map", List, "", Any, "The protocol of each listener, NAME:PROTOCOL each; only PLAINTEXT is there. Not set: a listener's name is its protocol."),
    of("controller.listener.names", List, "", Any, "Names among the listeners that are for controllers: these are not opened, the controller is inside."),
    of("millstream.http.listen", Text, "127.0.0.1:9644", Any, "HOST:PORT of the HTTP listener, which answers /healthz (serving or not) and /readyz (and what is wrong)."),

    // Connections and requests.
    of("max.connections", Int, "2147483647", AtLeast(1), "Connections open at once over all listeners; one more is closed. At most three of four descriptors that the process may open, the rest being for files."),
    of("max.connections.per.ip", Int, "2147483647", AtLeast(0), "Connections open at once from one address; one more is closed. 0: only from those in max.connections.per.ip.overrides."),
    of("max.connections.per.ip.overrides", Text, "", AddressCounts, "Other limits for single addresses. Names of hosts are not looked up."),
    of("max.connection.creation.rate", Int, "2147483647", AtLeast(0), "New connections in a second over all listeners; faster ones are accepted later. Measured as the byte rates of clients are."),
    of("connections.max.idle.ms", Long, "600000", AtLeast(1), "A connection silent for this long is closed."),
    of("socket.request.max.bytes", Int, "104857600", AtLeast(1), "The longest request; a longer one closes its connection."),
    of("queued.max.request.bytes", Long, "-1", AtLeast(-1), "Bytes of unfinished requests held at once, over all connections, beyond the 65 KiB (less where there are thousands) that each has for its own; past that, large requests are read one after another. -1: an eighth of the memory, or more so that four of the largest requests fit."),
    of("millstream.queued.answer.bytes", Long, "-1", AtLeast(-1), "Bytes of answers held for clients that have not read them, over all connections, beyond the 64 KiB that each has for its own; past that, fetches wait for room, and past twice that, whoever is owed a large answer is closed. -1: an eighth of the memory."),
    of("socket.listen.backlog.size", Int, "4096", AtLeast(1), "Connections that wait to be accepted; net.core.somaxconn is the system's bound on it. Kafka's default of 50 resets some of many that come at once."),
    of("socket.receive.buffer.bytes", Int, "262144", BetweenOr(1024, 1 << 30, -1), "Bytes that a connection may have received before they are read (SO_RCVBUF). It bounds what thousands of producers hold, and what one sends in a round trip. A connection that comes when all would have more than a 64th of the memory gets less, down to 100 KiB; -1: the system decides."),
    of("socket.send.buffer.bytes", Int, "-1", BetweenOr(1024, 1 << 30, -1), "Bytes of answers that the system holds for a connection's peer (SO_SNDBUF); -1: the system decides."),
    of("telemetry.max.bytes", Int, "1048576", AtLeast(1), "Bytes of metrics that a client may push at once, as clients are told. No client is asked for metrics; what comes all the same is dropped."),
    of("quota.window.num", Int, "11", AtLeast(1), "Samples over which the byte rates of clients with quotas are measured."),
    of("quota.window.size.seconds", Int, "1", AtLeast(1), "The length of such a sample."),
    of("fetch.max.bytes", Int, "57671680", AtLeast(1024), "Most bytes of records in one fetch answer, whatever the client asks for; a single larger batch is still returned."),
    of("max.incremental.fetch.session.cache.slots", Int, "1000", AtLeast(0), "Fetch sessions that are kept at once; consumers beyond go on with full requests. All together have at most 262144 partitions."),
    of("num.recovery.threads.per.data.dir", Int, "8", AtLeast(1), "Threads that open the logs of each log directory at a start. Most of that is waiting for syncs, so more threads than processors help."),
    of("millstream.fetch.wait.max.ms", Int, "60000", AtLeast(0), "The longest a fetch may wait for records, whatever the client asks for."),

    // Where data is, and how it is stored.
    of("log.dirs", List, "./millstream-data", Any, "Data directories; the metadata log lives in the first."),
    of("log.dir", List, "", Any, "The older name of log.dirs."),
    of("millstream.log.dir.reserve.bytes", Long, "-1", AtLeast(-1), "Bytes that records of clients leave free in each log directory, for committed offsets, metadata and recovery; past that they are refused with KAFKA_STORAGE_ERROR until there is room. -1: 1 GiB, or a twentieth of a smaller file system's size; 0: none."),
    of("millstream.safe.mode.crashes", Int, "5", Between(0, RecentStarts::MAX as i64), "After so many crashes within ten minutes the broker starts in safe mode: everything is read and groups work, records are refused, and logs are left as they are, until it was stopped cleanly and started again. 0: never."),
    of("millstream.durability", Text, "fsync", OneOf(&["fsync", "replicated"]), "When acks=all is answered: fsync, once every in-sync replica has it on stable storage; replicated, once it is in their memory (Kafka's rule)."),
    of("millstream.log.dir.queue.bytes", Long, "-1", AtLeast(-1), "Bytes of appends that wait for one data directory while its disk is slow; past that, producers are told to try again (REQUEST_TIMED_OUT). Other requests that wait for it have as much. -1: a sixteenth of the memory, at least 32 MiB."),
    of("log.segment.bytes", Int, "1073741824", AtLeast(1_048_576), "Largest size of a segment file."),
    of("log.roll.ms", Long, "", AtLeast(1), "Longest span of record time in a segment; wins over log.roll.hours."),
    of("log.roll.hours", Int, "168", AtLeast(1), "Longest span of record time in a segment, in hours."),
    of("log.roll.jitter.ms", Long, "", AtLeast(0), "At most this is taken off the span of a segment, at random; wins over log.roll.jitter.hours."),
    of("log.roll.jitter.hours", Int, "0", AtLeast(0), "At most this is taken off the span of a segment, at random, in hours."),
    of("log.cleanup.policy", List, "delete", SubsetOf(&["delete", "compact"]), "What happens to old records of a topic: delete, by log.retention.*; compact, of each key the last record stays (log.cleaner.*); or both."),
    of("log.retention.ms", Long, "", AtLeast(-1), "How long records are kept; -1: for ever. Wins over minutes and hours."),
    of("log.retention.minutes", Int, "", Any, "How long records are kept, in minutes; wins over hours."),
    of("log.retention.hours", Int, "168", Any, "How long records are kept, in hours."),
    of("log.retention.bytes", Long, "-1", Any, "The oldest segments of a partition go while the others hold at least so many bytes; -1: without limit."),
    of("log.retention.check.interval.ms", Long, "300000", AtLeast(1), "How often retention runs."),
    of("log.segment.delete.delay.ms", Long, "60000", AtLeast(0), "How long the files of a segment stay, renamed, after retention took it out."),
    of("log.cleaner.enable", Boolean, "true", Any, "Whether topics with compact in their cleanup.policy are compacted; __consumer_offsets is one."),
    of("log.cleaner.backoff.ms", Long, "15000", AtLeast(0), "How long to wait when no log is worth a pass."),
    of("log.cleaner.min.cleanable.ratio", Double, "0.5", Ratio, "A log is compacted when more than this part of its sealed segments was not compacted before."),
    of("log.cleaner.min.compaction.lag.ms", Long, "0", AtLeast(0), "Records younger than this are not compacted."),
    of("log.cleaner.max.compaction.lag.ms", Long, "9223372036854775807", AtLeast(1), "A log with older records is compacted whatever the ratio; a segment spans no longer time."),
    of("log.cleaner.delete.retention.ms", Long, "86400000", AtLeast(0), "How long a tombstone, a record without value, stays after the first pass over it."),
    of("log.cleaner.dedupe.buffer.size", Long, "16777216", AtLeast(1_048_576), "Memory for the last offsets of keys, 24 bytes each and nine tenths full at most; a log with more new keys takes several passes. Kafka takes 134217728; here it is small, as there is one thread and it is taken only during a pass."),
    of("log.cleaner.io.max.bytes.per.second", Double, "1.7976931348623157e308", Positive, "Bytes that compaction reads and writes in a second, together, at most."),
    of("millstream.scrub.bytes.per.second", Long, "10485760", AtLeast(0), "Bytes of sealed segments that are read in the background in a second, to find what a disk has lost; 0: none."),
    of("millstream.scrub.interval.ms", Long, "604800000", AtLeast(0), "From the beginning of one pass over all sealed segments to that of the next. New segments are read beside it, once."),
    of("log.index.interval.bytes", Int, "4096", AtLeast(0), "Bytes of a segment between two index entries."),
    of("log.index.size.max.bytes", Int, "10485760", AtLeast(4), "Largest size of an index file."),

    // Topics and their records.
    of("auto.create.topics.enable", Boolean, "true", Any, "Whether asking for an unknown topic creates it."),
    of("delete.topic.enable", Boolean, "true", Any, "Whether topics can be deleted."),
    of("max.request.partition.size.limit", Int, "2000", AtLeast(1), "Partitions in one answer to DescribeTopicPartitions; a client asks for the rest."),
    of("num.partitions", Int, "1", PARTITIONS, "Partitions of a topic whose creator leaves it open."),
    of("default.replication.factor", Int, "1", REPLICAS, "Replicas of a topic whose creator leaves it open."),
    of("message.max.bytes", Int, "1048588", AtLeast(0), "The largest record batch, compressed as it comes, that a topic takes."),
    of("compression.type", Text, "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "What batches are stored as: as the producer compressed them, or, if they come in another codec, compressed anew by the broker."),
    of("compression.gzip.level", Int, "-1", BetweenOr(1, 9, -1), "How hard the broker compresses with gzip; -1: the codec's default, 6."),
    of("compression.zstd.level", Int, "3", Between(-131_072, 22), "How hard the broker compresses with zstd. A megabyte takes milliseconds up to level 3, and up to a second at 22."),
    of("millstream.produce.validation", Text, "strict", OneOf(&["strict", "relaxed"]), "Whether the records of a compressed batch are looked at when it arrives: strict, one by one, as Kafka does; relaxed, not if its checksum is right and its largest timestamp plausible, so that what a faulty producer sends is found by its readers. Batches of topics that are compacted or have a compression.type are always looked at."),
    of("log.message.timestamp.type", Text, "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), "Whose time records carry: the producer's, or the broker's at append."),
    of("log.message.timestamp.before.max.ms", Long, "9223372036854775807", AtLeast(0), "How far a record's timestamp may be behind the broker's clock."),
    of("log.message.timestamp.after.max.ms", Long, "3600000", AtLeast(0), "How far a record's timestamp may be ahead of the broker's clock."),
    of("producer.id.expiration.ms", Int, "86400000", AtLeast(1), "How long the sequence of an idle idempotent producer is remembered."),

    // Consumer groups.
    of("group.initial.rebalance.delay.ms", Int, "0", AtLeast(0), "How long the first rebalance of an empty group waits for more members. Kafka waits 3000; here nobody waits unasked."),
    of("group.min.session.timeout.ms", Int, "6000", AtLeast(0), "Shortest session timeout a member may ask for."),
    of("group.max.session.timeout.ms", Int, "1800000", AtLeast(0), "Longest session timeout a member may ask for."),
    of("group.max.size", Int, "2147483647", AtLeast(1), "Most members of one group."),
    of("millstream.group.count.per.shard.max", Int, "100000", AtLeast(1), "Most groups in one partition of __consumer_offsets."),
    of("millstream.group.members.per.shard.max", Int, "200000", AtLeast(1), "Most members of all groups in one partition of __consumer_offsets."),
    of("offset.metadata.max.bytes", Int, "4096", AtLeast(0), "Longest metadata string of a committed offset."),
    of("offsets.retention.minutes", Int, "10080", AtLeast(1), "How long the offsets of an empty group are kept."),
    of("offsets.retention.check.interval.ms", Long, "600000", AtLeast(1), "How often expired offsets are looked for."),
    of("offsets.topic.num.partitions", Int, "50", PARTITIONS, "Partitions of __consumer_offsets, fixed when it is created."),
    of("offsets.topic.replication.factor", Int, "3", REPLICAS, "Replicas of __consumer_offsets, cut to the number of live brokers."),
    of("offsets.topic.segment.bytes", Int, "104857600", AtLeast(1_048_576), "Largest size of a segment of __consumer_offsets."),
];
