//! Connections over real sockets, with a node whose disk and clock are simulated.

#![allow(clippy::unwrap_used)]

mod flushes;
mod hostile;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use millstream_api::{HostPort, Proposal, QuotaWindow};
use millstream_env::Clock;
use millstream_env::sim::{SimClock, SimDisk, SimRandom};
use millstream_metadata::QuotaAlteration;
use millstream_model::{RequestToken, WallTime};
use millstream_node::{Node, NodeConfig};
use millstream_protocol::frame::encode_request;
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::{FetchRequest, MetadataRequest, ProduceRequest};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

use super::charge::SharedBudget;
use super::frame_reader::ALLOWANCE;
use super::{Listener, NetLimits, Shared, SocketSettings};
use crate::metrics;
use crate::shell::Shell;

const SOCKETS: SocketSettings = SocketSettings {
    receive_buffer_bytes: None,
    send_buffer_bytes: None,
    backlog: 128,
};
const MIB: usize = 1 << 20;
/// Long enough for what should not happen to happen.
const QUIET: Duration = Duration::from_millis(100);

struct Server {
    address: SocketAddr,
    clock: Arc<SimClock>,
    node: Arc<Node>,
    shell: Arc<Shell>,
    budget: Arc<SharedBudget>,
    shared: Shared,
    _stop: watch::Sender<bool>,
}

impl Server {
    /// Takes requests of 1 MiB and holds as many bytes of unfinished ones as `queued_bytes_max` says.
    async fn start(queued_bytes_max: usize) -> Server {
        let clock = Arc::new(SimClock::new(WallTime(1_700_000_000_000)));
        let seen = Arc::clone(&clock) as _;
        Server::start_on(clock, seen, queued_bytes_max, node_config()).await
    }

    /// The node goes by the clock `seen`.
    async fn start_on(
        clock: Arc<SimClock>,
        seen: Arc<dyn Clock>,
        queued_bytes_max: usize,
        config: NodeConfig,
    ) -> Server {
        let random = Arc::new(SimRandom::new(1));
        let disk = Arc::new(SimDisk::default());
        let node = Node::open(disk, seen, random, config).unwrap();
        let node = Arc::new(node);
        let limits = NetLimits {
            frame_bytes_max: MIB,
            outgoing_bytes_max: MIB,
            idle_max: Duration::from_secs(3600),
            connections_bound: 100,
            quota_window: QuotaWindow::default(),
            queued_bytes_max,
            own_bytes_max: usize::MAX,
        };
        let shared = Shared::new(&limits);
        let budget = Arc::clone(&shared.budget);
        let any: HostPort = "127.0.0.1:0".parse().unwrap();
        let bound = Listener::bind("PLAINTEXT", &any, None, limits, SOCKETS);
        let listener = bound.await.unwrap();
        let address = listener.local_address().unwrap();
        let (stop, stopped) = watch::channel(false);
        let shell = Shell::new(Arc::clone(&node));
        tokio::spawn(listener.run(Arc::clone(&shell), shared.clone(), stopped));
        Server {
            address,
            clock,
            node,
            shell,
            budget,
            shared,
            _stop: stop,
        }
    }

    fn create(&self, topic: &str, partitions: i32) {
        let topic = millstream_metadata::NewTopic {
            name: topic.to_owned(),
            partitions,
            replication_factor: 1,
            ..millstream_metadata::NewTopic::default()
        };
        let _effects = self.node.propose(Proposal::CreateTopics {
            token: RequestToken {
                connection: u64::MAX,
                request: 0,
            },
            topics: vec![topic],
            validate_only: false,
        });
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Lets the connections run until so many bytes are charged and so many frames wait.
    async fn settle(&self, charged: usize, waiting: usize) {
        while self.budget.state() != (charged, waiting) {
            tokio::task::yield_now().await;
        }
    }
}

fn node_config() -> NodeConfig {
    NodeConfig {
        log_directories: vec!["/data".into()],
        auto_create_topics: false,
        fetch_bytes_max: MIB,
        fetch_wait_max: Duration::from_secs(1),
        group_shards: 1,
        ..NodeConfig::default()
    }
}

/// A request for the metadata of topics that nobody can have, with its prefix.
fn request(names: usize, name_bytes: usize) -> Vec<u8> {
    let name = "x".repeat(name_bytes);
    let topic = || MetadataRequestTopic {
        name: Some(name.as_str().into()),
        ..MetadataRequestTopic::default()
    };
    let body = MetadataRequest {
        topics: Some((0..names).map(|_| topic()).collect()),
        ..MetadataRequest::default()
    };
    encode_request(7, "test", 1, &body).unwrap().parts.concat()
}

/// Nearly as long as a request may be.
fn large() -> Vec<u8> {
    let bytes = request(32, 32_700);
    assert!((MIB - 4000..MIB).contains(&bytes.len()), "{}", bytes.len());
    bytes
}

/// Reads one answer and its correlation id.
async fn answer(stream: &mut TcpStream) -> std::io::Result<i32> {
    let length = stream.read_u32().await?;
    let mut answer = vec![0; length as usize];
    stream.read_exact(&mut answer).await?;
    Ok(i32::from_be_bytes(answer[..4].try_into().unwrap()))
}

#[tokio::test]
async fn metrics_tell_what_went_through_sockets() {
    let server = Server::start(MIB).await;
    server.create("orders", 2);
    let mut client = server.connect().await;
    let asked = request(1, 3);
    for _ in 0..3 {
        client.write_all(&asked).await.unwrap();
        answer(&mut client).await.unwrap();
    }
    let mut stranger = server.connect().await;
    stranger
        .write_all(b"\0\0\0\x0a\x7f\0\0\0\0\0\0\0\0\0")
        .await
        .unwrap();
    assert_eq!(stranger.read(&mut [0; 8]).await.unwrap(), 0);
    let page = metrics::page(&server.shell, &server.shared, true);
    let bytes = 3 * (asked.len() - 4);
    for line in [
        "millstream_requests_total{request=\"Metadata\",version=\"1\"} 3",
        &format!("millstream_request_bytes_total{{request=\"Metadata\",version=\"1\"}} {bytes}"),
        "millstream_requests_refused_total 1",
        "millstream_connections_accepted_total 2",
        "millstream_topics 1",
        "millstream_partitions 2",
        "millstream_log_directory_offline{directory=\"/data\"} 0",
        "millstream_partition_log_end_offset{topic=\"orders\",partition=\"1\"} 0",
        "# EOF",
    ] {
        assert!(
            page.lines().any(|found| found == line),
            "{line} is not in:\n{page}"
        );
    }
    let taken = page
        .lines()
        .find_map(|line| line.strip_prefix("millstream_answer_bytes_total "));
    assert!(taken.unwrap().parse::<u64>().unwrap() > 3 * 20);
    let short = metrics::page(&server.shell, &server.shared, false);
    assert!(!short.contains("millstream_partition_"), "{short}");
}

#[tokio::test]
async fn metrics_tell_how_long_answers_took() {
    let server = Server::start(MIB).await;
    server.create("orders", 1);
    let mut client = server.connect().await;
    client.write_all(&request(1, 3)).await.unwrap();
    answer(&mut client).await.unwrap();
    let fetch = FetchRequest {
        max_wait_ms: 50,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: "orders".into(),
            partitions: vec![FetchPartition {
                partition_max_bytes: 1000,
                ..FetchPartition::default()
            }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let fetch = encode_request(8, "test", 4, &fetch).unwrap();
    client.write_all(&fetch.parts.concat()).await.unwrap();
    let page = || metrics::page(&server.shell, &server.shared, false);
    while !page().contains("millstream_requests_total{request=\"Fetch\",version=\"4\"} 1\n") {
        tokio::task::yield_now().await;
    }
    server.clock.advance(Duration::from_millis(700));
    answer(&mut client).await.unwrap();
    let page = page();
    for (request, (le, count)) in [
        ("Metadata", ("0.0001", 1)),
        ("Metadata", ("+Inf", 1)),
        ("Fetch", ("0.3", 0)),
        ("Fetch", ("1.0", 1)),
        ("Fetch", ("+Inf", 1)),
    ] {
        let name = "millstream_request_duration_seconds_bucket";
        let line = format!("{name}{{le=\"{le}\",request=\"{request}\"}} {count}");
        assert!(page.lines().any(|found| found == line), "{line}:\n{page}");
    }
    let sum = "millstream_request_duration_seconds_sum{request=\"Fetch\"} 0.7";
    assert!(page.lines().any(|found| found == sum), "{sum}:\n{page}");
}

#[tokio::test]
async fn large_requests_wait_for_the_budget_and_small_ones_pass() {
    // Nothing but the reserve: one large request at a time.
    let server = Server::start(MIB).await;
    let bytes = large();
    let (most, last) = bytes.split_at(bytes.len() - 1);
    let whole = bytes.len() - ALLOWANCE;
    let [mut first, mut second] = [server.connect().await, server.connect().await];
    first.write_all(most).await.unwrap();
    server.settle(whole, 0).await;
    second.write_all(&bytes).await.unwrap();
    server.settle(whole, 1).await;
    let mut small = server.connect().await;
    for _ in 0..3 {
        small.write_all(&request(2, 30_000)).await.unwrap();
        assert_eq!(answer(&mut small).await.unwrap(), 7);
    }
    assert!(timeout(QUIET, answer(&mut second)).await.is_err());
    first.write_all(last).await.unwrap();
    assert_eq!(answer(&mut first).await.unwrap(), 7);
    assert_eq!(answer(&mut second).await.unwrap(), 7);
    server.settle(0, 0).await;
}

#[tokio::test]
async fn waiting_for_the_budget_does_not_count_against_the_frames_deadline() {
    let server = Server::start(MIB).await;
    let bytes = large();
    let (most, last) = bytes.split_at(bytes.len() - 1);
    let whole = bytes.len() - ALLOWANCE;
    let [mut first, mut second] = [server.connect().await, server.connect().await];
    first.write_all(most).await.unwrap();
    server.settle(whole, 0).await;
    second.write_all(most).await.unwrap();
    server.settle(whole, 1).await;
    server.clock.advance(Duration::from_secs(60));
    drop(first);
    server.settle(whole, 0).await;
    let unanswered = timeout(QUIET, answer(&mut second)).await;
    assert!(unanswered.is_err(), "closed: {unanswered:?}");
    second.write_all(last).await.unwrap();
    assert_eq!(answer(&mut second).await.unwrap(), 7);
}

#[tokio::test]
async fn whoever_leaves_gives_back_what_was_charged() {
    let server = Server::start(2 * MIB).await;
    let bytes = large();
    let most = &bytes[..bytes.len() - 1];
    let whole = bytes.len() - ALLOWANCE;
    let mut crowd = Vec::new();
    for _ in 0..4 {
        let mut stream = server.connect().await;
        stream.write_all(most).await.unwrap();
        crowd.push(stream);
    }
    // Two at most have their buffers, for all but the oldest share one MiB.
    while server.budget.state().1 < 2 {
        tokio::task::yield_now().await;
    }
    assert!(server.budget.state().0 >= whole);
    assert!(server.budget.state().0 <= 2 * MIB);
    drop(crowd);
    server.settle(0, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_large_requests_is_answered_within_a_budget_of_two() {
    let server = Arc::new(Server::start(2 * MIB).await);
    let bytes = Arc::new(large());
    let clients: Vec<_> = (0..30)
        .map(|_| {
            let (server, bytes) = (Arc::clone(&server), Arc::clone(&bytes));
            tokio::spawn(async move {
                let mut stream = server.connect().await;
                for _ in 0..3 {
                    stream.write_all(&bytes).await.unwrap();
                    assert_eq!(answer(&mut stream).await.unwrap(), 7);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    server.settle(0, 0).await;
}

#[tokio::test]
async fn a_producer_over_its_quota_is_answered_and_not_read_until_its_time_is_over() {
    let server = Server::start(MIB).await;
    let request_to_nobody = ProduceRequest {
        acks: 1,
        transactional_id: Some("x".repeat(20_000).into()),
        ..ProduceRequest::default()
    };
    let produce = encode_request(8, "test", 9, &request_to_nobody).unwrap();
    let produce = produce.parts.concat();
    // Fifty milliseconds more than the ten seconds that every client has.
    let limit = (produce.len() - 4) as f64 / 10.05;
    let client_id = ("client-id".to_owned(), Some("test".to_owned()));
    let _answered = server.node.propose(Proposal::AlterClientQuotas {
        token: RequestToken {
            connection: 0,
            request: 0,
        },
        alterations: vec![QuotaAlteration {
            entity: [client_id].into(),
            operations: vec![("producer_byte_rate".to_owned(), Some(limit.floor()))],
        }],
        validate_only: false,
    });
    let mut client = server.connect().await;
    let mut both = produce.clone();
    both.extend(request(1, 10));
    client.write_all(&both).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), 8);
    let early = timeout(QUIET, answer(&mut client)).await;
    assert!(early.is_err(), "read although it is muted: {early:?}");
    server.clock.advance(Duration::from_secs(60));
    assert_eq!(answer(&mut client).await.unwrap(), 7);
}
