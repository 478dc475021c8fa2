//! The page of metrics, in OpenMetrics' text: made when it is asked for, from what is counted elsewhere.
//!
//! Names and units are told in the page itself. Series of partitions are many, so they are only for who asks
//! for them.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use millstream_api::{Asked, Histogram};
use millstream_replica::HostedPartition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use crate::net::Shared;
use crate::shell::Shell;

/// Linux counts the processor time of processes in hundredths of a second, whatever the kernel's own clock.
const TICKS_PER_SECOND: f64 = 100.0;

/// The page of a broker that serves.
pub fn page(shell: &Arc<Shell>, shared: &Shared, with_partitions: bool) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Broker {
        shell: Arc::clone(shell),
        shared: shared.clone(),
        with_partitions,
    }));
    let mut text = String::new();
    encode(&mut text, &registry).expect("a string takes what is written to it");
    text
}

struct Broker {
    shell: Arc<Shell>,
    shared: Shared,
    with_partitions: bool,
}

impl fmt::Debug for Broker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Collector for Broker {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page { encoder };
        self.write_requests(&mut page)?;
        self.write_connections(&mut page)?;
        self.write_contents(&mut page)?;
        self.write_directories(&mut page)?;
        write_process(&mut page)?;
        match self.with_partitions {
            true => self.write_partitions(&mut page),
            false => Ok(()),
        }
    }
}

impl Broker {
    fn write_requests(&self, page: &mut Page<'_>) -> fmt::Result {
        let counters = &self.shell.node.broker.counters;
        let asked: Vec<_> = counters.asked().collect();
        let labels: Vec<_> = asked
            .iter()
            .map(|one| (format!("{:?}", one.api_key), one.version.to_string()))
            .collect();
        let mut each = |name, help, value: &dyn Fn(&Asked) -> u64| {
            let series = asked.iter().zip(&labels);
            let series = series.map(|(one, (request, version))| {
                let labels = [("request", request.as_str()), ("version", version.as_str())];
                (labels, ConstCounter::new(value(one)))
            });
            page.family(name, help, MetricType::Counter, series)
        };
        let help = "Requests by kind and version.";
        each("millstream_requests", help, &|one| one.requests)?;
        let help = "Bytes of requests by kind and version, with their headers.";
        each("millstream_request_bytes", help, &|one| one.bytes)?;
        let took: Vec<_> = counters
            .took()
            .map(|(api_key, histogram)| (format!("{api_key:?}"), histogram))
            .collect();
        let took = took.iter().map(|(request, histogram)| {
            let labels = [("request", request.as_str())];
            (labels, Seconds(histogram))
        });
        let help = "Seconds from when a request was read to when its answer was ready, by kind; waiting is in it.";
        let (name, kind) = ("millstream_request_duration_seconds", MetricType::Histogram);
        page.family(name, help, kind, took)?;
        let help = "Requests whose connection was closed instead of an answer.";
        page.counter("millstream_requests_refused", help, counters.refused())?;
        let help = "Bytes of answers that sockets took.";
        page.counter("millstream_answer_bytes", help, self.shared.written_bytes())
    }

    fn write_connections(&self, page: &mut Page<'_>) -> fmt::Result {
        let (accepted, refused) = self.shared.accepted_and_refused();
        let help = "Connections of clients that are open.";
        page.gauge("millstream_connections", help, self.shared.open() as u64)?;
        let help = "Connections that were accepted.";
        page.counter("millstream_connections_accepted", help, accepted)?;
        let help = "Connections that were refused, for all places were taken.";
        page.counter("millstream_connections_refused", help, refused)?;
        let help = "Connections that ended by a panic: a bug.";
        let panics = self.shell.panics.load(Ordering::Relaxed);
        page.counter("millstream_connections_panicked", help, panics)?;
        let help = "Bytes of large requests that are being read.";
        let held = self.shared.request_bytes() as u64;
        page.gauge("millstream_queued_request_bytes", help, held)?;
        let help = "Bytes of answers that clients have not read yet.";
        let held = self.shell.node.broker.answers.held() as u64;
        page.gauge("millstream_queued_answer_bytes", help, held)
    }

    fn write_contents(&self, page: &mut Page<'_>) -> fmt::Result {
        let broker = &self.shell.node.broker;
        let view = broker.view();
        let partitions = || view.topics().flat_map(|topic| &topic.partitions);
        let offline = partitions().filter(|partition| partition.is_offline());
        let (topics, offline) = (view.topics().count() as u64, offline.count() as u64);
        page.gauge("millstream_topics", "Topics, internal ones too.", topics)?;
        let help = "Partitions that this broker has.";
        page.gauge("millstream_partitions", help, partitions().count() as u64)?;
        let help = "Partitions that are out of service until the next start.";
        page.gauge("millstream_partitions_offline", help, offline)?;
        let shards = broker.group_shards().iter();
        let groups: usize = shards.map(|shard| shard.group_count()).sum();
        let help = "Consumer groups, those without members too.";
        page.gauge("millstream_groups", help, groups as u64)?;
        let sessions = &broker.fetch_sessions;
        let help = "Fetch sessions that are kept.";
        page.gauge("millstream_fetch_sessions", help, sessions.count() as u64)?;
        let help = "Partitions of all fetch sessions.";
        let partitions = sessions.partitions() as u64;
        page.gauge("millstream_fetch_session_partitions", help, partitions)
    }

    fn write_directories(&self, page: &mut Page<'_>) -> fmt::Result {
        let states = self.shell.node.directory_states().into_iter();
        let states: Vec<_> = states
            .map(|state| (state.path.display().to_string(), state))
            .collect();
        let mut each = |name, help, value: &dyn Fn(&millstream_node::DirectoryState) -> u64| {
            let series = states.iter();
            let series = series.map(|(path, state)| {
                let labels = [("directory", path.as_str())];
                (labels, ConstGauge::new(value(state)))
            });
            page.family(name, help, MetricType::Gauge, series)
        };
        let help = "Bytes free in the file system of a log directory, looked at every few seconds.";
        each("millstream_log_directory_free_bytes", help, &|state| {
            state.free_bytes
        })?;
        let help =
            "1 for a log directory that has failed and is out of service until the next start.";
        each("millstream_log_directory_offline", help, &|state| {
            u64::from(state.is_offline)
        })?;
        let help = "1 for a log directory whose syncs are slow, so that writes to it wait in a queue of its own.";
        each("millstream_log_directory_slow", help, &|state| {
            u64::from(state.is_slow)
        })
    }

    fn write_partitions(&self, page: &mut Page<'_>) -> fmt::Result {
        let view = self.shell.node.broker.view();
        let partitions = view.topics().flat_map(|topic| &topic.partitions);
        let looked_at: Vec<_> = partitions
            .filter_map(|one| PartitionLook::at(one))
            .collect();
        let mut each = |name, help, value: &dyn Fn(&PartitionLook) -> u64| {
            let series = looked_at.iter().map(|look| {
                let labels = [
                    ("topic", look.topic.as_str()),
                    ("partition", look.partition.as_str()),
                ];
                (labels, ConstGauge::new(value(look)))
            });
            page.family(name, help, MetricType::Gauge, series)
        };
        let help = "The first offset of a partition.";
        each("millstream_partition_log_start_offset", help, &|look| {
            look.start
        })?;
        let help = "The offset behind the last record that consumers see.";
        each("millstream_partition_high_watermark", help, &|look| {
            look.high_watermark
        })?;
        let help = "The offset behind the last record.";
        each("millstream_partition_log_end_offset", help, &|look| {
            look.end
        })?;
        let help = "Bytes of a partition's records.";
        each("millstream_partition_size_bytes", help, &|look| look.bytes)
    }
}

/// What a partition's series tell.
struct PartitionLook {
    topic: String,
    partition: String,
    start: u64,
    high_watermark: u64,
    end: u64,
    bytes: u64,
}

impl PartitionLook {
    /// `None` for one that is offline.
    fn at(partition: &HostedPartition) -> Option<PartitionLook> {
        let number = |offset: millstream_model::Offset| u64::try_from(offset.0).unwrap_or(0);
        let locked = partition.lock().ok()?;
        Some(PartitionLook {
            start: number(locked.log().log_start_offset()),
            high_watermark: number(locked.high_watermark()),
            end: number(locked.log().log_end_offset()),
            bytes: locked.log().size_in_bytes(),
            topic: partition.name.topic.to_string(),
            partition: partition.name.partition.to_string(),
        })
    }
}

/// The names that every exporter of Prometheus gives a process.
fn write_process(page: &mut Page<'_>) -> fmt::Result {
    // In `/proc/self/stat` the name of the program may hold anything, up to the last bracket.
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let fields: Vec<_> = fields.split_whitespace().collect();
    let field = |index: usize| fields.get(index).and_then(|text| text.parse::<u64>().ok());
    if let (Some(user), Some(system)) = (field(11), field(12)) {
        let seconds = (user + system) as f64 / TICKS_PER_SECOND;
        let help = "Processor time of the broker, in seconds.";
        page.single("process_cpu_seconds", help, &ConstCounter::new(seconds))?;
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    if let Some(kib) = resident {
        let help = "Memory of the broker that is resident.";
        page.gauge("process_resident_memory_bytes", help, kib * 1024)?;
    }
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    page.gauge("process_open_fds", "Descriptors that are open.", open)
}

/// Durations as the page tells them.
struct Seconds<'a>(&'a Histogram);

impl EncodeMetric for Seconds<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let buckets = self.0.buckets.iter().map(|(bound, count)| {
            let bound = bound.map_or(f64::INFINITY, |bound| bound.as_secs_f64());
            (bound, *count)
        });
        let buckets: Vec<_> = buckets.collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = self.0.sum.as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// What is written so far.
struct Page<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl Page<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.single(name, help, &ConstCounter::new(value))
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.single(name, help, &ConstGauge::new(value))
    }

    fn single(&mut self, name: &str, help: &str, metric: &impl EncodeMetric) -> fmt::Result {
        let encoder = &mut self.encoder;
        metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
    }

    /// One metric with a series for each of `series`, which all have the type `kind`.
    fn family<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl Iterator<Item = ([(&'l str, &'l str); N], impl EncodeMetric)>,
    ) -> fmt::Result {
        let encoder = &mut self.encoder;
        let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in series {
            metric.encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
