//! The simulated machine with the broker on it, and the connections to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use millstream_api::{
    AnswerLimits, AnswerQueue, Client, Completion, Context, Effect, HostPort, Proposal,
    handle_frame,
};
use millstream_coordinator::GroupConfig;
use millstream_env::Clock;
use millstream_env::sim::{SimClock, SimDisk, SimFaults, SimRandom};
use millstream_metadata::ControllerSettings;
use millstream_model::{NodeId, WallTime};
use millstream_node::{Node, NodeConfig};
use millstream_protocol::frame::Frame;

use super::{Violation, violation};

/// A defect planted on purpose, which the oracle must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None.
    Nothing,
    /// Syncs succeed and do nothing.
    NoFsync,
    /// Acknowledgements do not wait for the flush.
    AcknowledgeEarly,
}

const WALL_START: WallTime = WallTime(1_750_000_000_000);

struct Connection {
    answers: AnswerQueue,
    client: Client,
}

/// The machine.
pub(crate) struct World {
    pub random: SimRandom,
    pub trace: u64,
    pub crashes: u32,
    clock: Arc<SimClock>,
    disk: SimDisk,
    planted: Planted,
    node: Option<Node>,
    connections: BTreeMap<u64, Connection>,
    connections_made: u64,
    /// A sync was made to fail since the machine started.
    may_have_failed_sync: bool,
    /// Whether the flusher has something to do.
    has_flush: bool,
    proposals: VecDeque<Proposal>,
    loads: BTreeSet<usize>,
    news: VecDeque<Completion>,
}

impl World {
    pub(crate) fn new(seed: u64, planted: Planted) -> Result<World, Violation> {
        let mut world = World {
            random: SimRandom::new(seed),
            trace: seed,
            crashes: 0,
            clock: Arc::new(SimClock::new(WALL_START)),
            disk: SimDisk::default(),
            planted,
            node: None,
            connections: BTreeMap::new(),
            connections_made: 0,
            may_have_failed_sync: false,
            has_flush: false,
            proposals: VecDeque::new(),
            loads: BTreeSet::new(),
            news: VecDeque::new(),
        };
        world.heal();
        world.open()?;
        Ok(world)
    }

    fn open(&mut self) -> Result<(), Violation> {
        let mut controller = ControllerSettings::default();
        if self.planted == Planted::AcknowledgeEarly {
            let early = ("millstream.durability".into(), "replicated".into());
            controller.file_configs = [early].into_iter().collect();
        }
        let config = NodeConfig {
            node_id: NodeId(1),
            cluster_id: None,
            rack: None,
            log_directories: vec!["/data".into()],
            auto_create_topics: false,
            delete_topics: true,
            controller,
            fetch_bytes_max: 1 << 20,
            fetch_wait_max: Duration::from_secs(1),
            groups: GroupConfig::default(),
            group_shards: 2,
            producer_expiration: Duration::from_secs(86_400),
        };
        let bits = SimRandom::new(self.random.below(u64::MAX));
        let (disk, clock) = (Arc::new(self.disk.clone()), Arc::clone(&self.clock));
        match Node::open(disk, clock, Arc::new(bits), config) {
            Ok(node) => {
                self.node = Some(node);
                Ok(())
            }
            Err(error) => violation(format!("the broker does not start: {error}")),
        }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("open but for a moment")
    }

    pub(crate) fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.wall_time().0
    }

    /// The machine stops: what was not synced is kept, lost or torn. Then the broker starts again.
    pub(crate) fn crash(&mut self) -> Result<(), Violation> {
        self.note(1);
        self.crashes += 1;
        self.may_have_failed_sync = false;
        self.forget_process();
        self.disk.crash(&self.random);
        self.open()
    }

    /// The broker is told to stop, and starts again. After a failed sync the machine goes down with
    /// it: a new process would believe pages that the kernel has marked clean, and there is no
    /// defence against that yet.
    pub(crate) fn stop_cleanly(&mut self) -> Result<(), Violation> {
        if self.may_have_failed_sync {
            return self.crash();
        }
        self.note(2);
        // A sync that fails here is the broker's to report; what counts is the next start.
        let _closed = self.node().close();
        self.forget_process();
        self.disk.end_process();
        self.open()
    }

    fn forget_process(&mut self) {
        self.node = None;
        self.connections.clear();
        self.has_flush = false;
        self.proposals.clear();
        self.loads.clear();
        self.news.clear();
    }

    pub(crate) fn fail_a_sync(&mut self) {
        self.note(3);
        self.may_have_failed_sync = true;
        let faults = self.disk.faults();
        self.disk.set_faults(SimFaults {
            fail_next_sync: true,
            ..faults
        });
    }

    /// No more faults but the planted one.
    pub(crate) fn heal(&mut self) {
        self.disk.set_faults(SimFaults {
            syncs_do_nothing: self.planted == Planted::NoFsync,
            ..SimFaults::default()
        });
    }

    pub(crate) fn checkpoint(&mut self) {
        // May fail with the disk; it is tried again.
        let _written = self.node().checkpoint();
    }

    /// One of the threads does a piece of its work, if it has some.
    pub(crate) fn work(&mut self) -> Result<(), Violation> {
        self.clock
            .advance(Duration::from_millis(self.random.below(3)));
        match self.random.below(4) {
            0 if self.has_flush => {
                self.has_flush = false;
                let effects = self.node().flush(0);
                self.carry_out(effects);
            }
            1 => {
                if let Some(proposal) = self.proposals.pop_front() {
                    let effects = self.node().propose(proposal);
                    self.carry_out(effects);
                }
            }
            2 => {
                if let Some(shard) = self.loads.pop_first() {
                    let effects = self.node().load_groups(shard);
                    self.carry_out(effects);
                }
            }
            _ => {
                if let Some(news) = self.news.pop_front() {
                    self.deliver(news)?;
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Flush(partition) => {
                    self.node().queue_flush(partition);
                    self.has_flush = true;
                }
                Effect::Propose(proposal) => self.proposals.push_back(proposal),
                Effect::Complete(news) => self.news.push_back(news),
                Effect::ReloadGroups { shard } => {
                    self.loads.insert(shard);
                }
                // No group has members here.
                Effect::GroupTimer { .. } => {}
            }
        }
    }

    fn deliver(&mut self, news: Completion) -> Result<(), Violation> {
        let id = news.token.connection;
        self.on_connection(id, |node, connection, context| {
            connection
                .handle_completion(&node.broker, context, news)
                .map_err(|reason| Violation {
                    what: format!("a connection was closed: {reason}"),
                })
        })
    }

    pub(crate) fn connect(&mut self) -> u64 {
        self.connections_made += 1;
        let connection = Connection {
            answers: AnswerQueue::new(self.connections_made, AnswerLimits::default()),
            client: Client {
                host: "/10.0.0.1".to_owned(),
                advertised: HostPort {
                    host: "10.0.0.9".to_owned(),
                    port: 9092,
                },
            },
        };
        self.connections.insert(self.connections_made, connection);
        self.connections_made
    }

    /// A client's frame arrives.
    pub(crate) fn send(&mut self, connection: u64, frame: &Frame) -> Result<(), Violation> {
        let bytes = without_length(frame);
        self.on_connection(connection, |node, answers, context| {
            let handled = handle_frame(&node.broker, context, &bytes);
            answers.push(handled).map_err(|reason| Violation {
                what: format!("a request was refused: {reason}"),
            })
        })
    }

    fn on_connection(
        &mut self,
        id: u64,
        step: impl FnOnce(&Node, &mut AnswerQueue, &mut Context<'_>) -> Result<(), Violation>,
    ) -> Result<(), Violation> {
        let Some(mut connection) = self.connections.remove(&id) else {
            return Ok(());
        };
        let mut effects = Vec::new();
        let node = self.node();
        let mut context = Context {
            now: self.clock.now(),
            wall: self.clock.wall_time(),
            token: connection.answers.next_token(),
            client: &connection.client,
            effects: &mut effects,
        };
        let outcome = step(node, &mut connection.answers, &mut context);
        self.connections.insert(id, connection);
        self.carry_out(effects);
        outcome
    }

    /// The next answer on a connection, without its length.
    pub(crate) fn receive(&mut self, connection: u64) -> Option<Bytes> {
        let frame = self.connections.get_mut(&connection)?.answers.pop_ready()?;
        Some(without_length(&frame))
    }
}

/// What a frame holds behind its length prefix.
fn without_length(frame: &Frame) -> Bytes {
    let mut bytes = BytesMut::with_capacity(frame.len());
    for part in &frame.parts {
        bytes.extend_from_slice(part);
    }
    bytes.freeze().slice(4..)
}
