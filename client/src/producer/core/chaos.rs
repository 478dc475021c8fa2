#![allow(clippy::unwrap_used)]
//! The producer against a broker and a network that fail at random, from a seed: whatever happens, no record is written
//! twice, none overtakes another of its partition, every acknowledged one is there, and with enough time all are.

use std::collections::{BTreeMap, HashMap, VecDeque};

use millstream_protocol::ErrorCode;
use millstream_protocol::messages::MetadataResponse;
use millstream_protocol::messages::metadata_response::{
    MetadataResponsePartition, MetadataResponseTopic,
};

use super::*;
use crate::producer::error::ProduceError;
use crate::producer::fake_broker::{FakeBroker, refusal};
use crate::producer::queue::PartitionAnswer;

const PARTITIONS: i32 = 3;
const RECORDS: usize = 120;
const NODES: [i32; 2] = [1, 2];

/// What may happen besides lost connections, refusals and changes of leadership.
#[derive(Clone, Copy)]
struct Faults {
    /// Requests of a closed connection are carried out later, if at all.
    late_requests: bool,
    /// Batches are refused for good, and time runs out.
    give_up: bool,
}

#[derive(Default)]
struct Link {
    session: u64,
    requests: VecDeque<Order>,
    answers: VecDeque<(u64, HashMap<TopicPartition, PartitionAnswer>)>,
}

struct World {
    faults: Faults,
    dice: Dice,
    core: Core,
    now: Instant,
    metadata: Metadata,
    broker: FakeBroker,
    links: BTreeMap<i32, Link>,
    connecting: Vec<i32>,
    refreshes: usize,
    late: Vec<(i32, Order)>,
    sessions: u64,
    pushed: Vec<(i32, String, watch::Receiver<BatchResult>, i64)>,
    is_healed: bool,
}

fn image(leaders: &BTreeMap<i32, i32>) -> Metadata {
    let partitions = leaders
        .iter()
        .map(|(&index, &leader)| MetadataResponsePartition {
            partition_index: index,
            leader_id: leader,
            leader_epoch: -1,
            ..Default::default()
        });
    let topic = MetadataResponseTopic {
        name: Some("t".into()),
        topic_id: [1; 16],
        partitions: partitions.collect(),
        ..Default::default()
    };
    Metadata::default().with(&MetadataResponse {
        topics: vec![topic],
        ..Default::default()
    })
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut broker = FakeBroker::default();
        for partition in 0..PARTITIONS {
            broker.leaders.insert(partition, NODES[0]);
        }
        let config = ProducerConfig {
            linger: Duration::from_millis(3),
            batch_bytes: 250,
            delivery_timeout: if faults.give_up {
                Duration::from_secs(3)
            } else {
                Duration::from_secs(100_000)
            },
            ..Default::default()
        };
        Self {
            faults,
            dice: Dice::new(seed),
            core: Core::new(&config, Dice::new(seed + 1)),
            now: Instant::now(),
            metadata: image(&broker.leaders),
            broker,
            links: BTreeMap::new(),
            connecting: Vec::new(),
            refreshes: 0,
            late: Vec::new(),
            sessions: 0,
            pushed: Vec::new(),
            is_healed: false,
        }
    }

    fn roll(&mut self, sides: u64) -> usize {
        (self.dice.roll() % sides) as usize
    }

    fn poll(&mut self) {
        let mut effects = Vec::new();
        self.core.poll(self.now, &self.metadata, &mut effects);
        for effect in effects {
            match effect {
                Effect::Connect(node) => self.connecting.push(node),
                Effect::AskProducerId => self
                    .core
                    .handle_producer_id(ProducerIdentity { id: 40, epoch: 0 }),
                Effect::RefreshMetadata(_) => self.refreshes += 1,
                Effect::Send(order) => match self.links.get_mut(&order.node) {
                    Some(link) => link.requests.push_back(order),
                    None => self.core.handle_lost(order.request, self.now, "gone"),
                },
            }
        }
    }

    fn step(&mut self) {
        let chosen = if self.is_healed {
            self.roll(6)
        } else {
            self.roll(10)
        };
        match chosen {
            0 | 1 => self.carry_out(),
            2 => self.deliver(),
            3 => {
                if let Some(node) = self.connecting.pop() {
                    self.sessions += 1;
                    let link = Link {
                        session: self.sessions,
                        ..Default::default()
                    };
                    self.core.handle_connected(node, link.session);
                    self.links.insert(node, link);
                }
            }
            4 => {
                let step = 1 + self.roll(40) as u64;
                self.now += Duration::from_millis(step);
            }
            5 if self.refreshes > 0 => {
                self.refreshes = 0;
                self.metadata = image(&self.broker.leaders);
                self.core.handle_metadata(self.now);
            }
            6 => self.push(),
            7 if self.roll(4) == 0 => self.disconnect(),
            8 if self.roll(8) == 0 => {
                let partition = self.roll(PARTITIONS as u64) as i32;
                let node = NODES[self.roll(2)];
                self.broker.leaders.insert(partition, node);
            }
            9 if !self.late.is_empty() => {
                let at = self.roll(self.late.len() as u64);
                let (node, order) = self.late.remove(at);
                for (target, batch) in &order.batches {
                    self.broker.produce(node, target.partition, batch);
                }
            }
            _ => {}
        }
        self.poll();
    }

    fn push(&mut self) {
        if self.pushed.len() >= RECORDS {
            return;
        }
        let partition = self.roll(PARTITIONS as u64) as i32;
        let value = format!("{:04}-{}", self.pushed.len(), "x".repeat(self.roll(90)));
        let target = TopicPartition::new("t", partition);
        let record = Record::value(value.clone());
        let (result, index, _) = self.core.push(&target, &record, 5, 10, self.now);
        self.pushed.push((partition, value, result, index));
    }

    /// The broker takes the next request of a connection.
    fn carry_out(&mut self) {
        let node = NODES[self.roll(2)];
        let Some(order) = self
            .links
            .get_mut(&node)
            .and_then(|l| l.requests.pop_front())
        else {
            return;
        };
        let mut answers = HashMap::new();
        for (target, batch) in &order.batches {
            let mut fate = self.roll(40);
            if self.is_healed {
                fate = 39;
            }
            let answer = match fate {
                0 => refusal(ErrorCode::NotEnoughReplicas),
                1 => refusal(ErrorCode::NotLeaderOrFollower),
                2 | 3 => {
                    let written = self.broker.produce(node, target.partition, batch);
                    match (written.code, fate) {
                        (0, 2) => refusal(ErrorCode::NotEnoughReplicasAfterAppend),
                        (0, _) => refusal(ErrorCode::RequestTimedOut),
                        _ => written,
                    }
                }
                4 if self.faults.give_up => refusal(ErrorCode::MessageTooLarge),
                _ => self.broker.produce(node, target.partition, batch),
            };
            answers.insert(target.clone(), answer);
        }
        if let Some(link) = self.links.get_mut(&node) {
            link.answers.push_back((order.request, answers));
        }
    }

    fn deliver(&mut self) {
        let node = NODES[self.roll(2)];
        let answer = self
            .links
            .get_mut(&node)
            .and_then(|l| l.answers.pop_front());
        if let Some((request, answers)) = answer {
            let find = |target: &TopicPartition| answers.get(target).cloned();
            self.core.handle_answer(request, self.now, find);
        }
    }

    fn disconnect(&mut self) {
        let node = NODES[self.roll(2)];
        let Some(link) = self.links.remove(&node) else {
            return;
        };
        self.core.handle_disconnected(node, self.now);
        for (request, _) in link.answers {
            self.core.handle_lost(request, self.now, "closed");
        }
        for order in link.requests {
            self.core.handle_lost(order.request, self.now, "closed");
            if self.faults.late_requests {
                self.late.push((node, order));
            }
        }
    }

    fn run(&mut self) {
        while self.pushed.len() < RECORDS {
            self.step();
        }
        for _ in 0..500 {
            self.step();
        }
        self.is_healed = true;
        self.core.begin_hurry();
        for _ in 0..200_000 {
            if self
                .pushed
                .iter()
                .all(|(_, _, result, _)| result.borrow().is_some())
            {
                return;
            }
            self.step();
        }
        panic!("not every record has a result");
    }

    fn check(&self, seed: u64) {
        for partition in 0..PARTITIONS {
            let empty = Default::default();
            let log = self.broker.logs.get(&partition).unwrap_or(&empty);
            let pushed = self.pushed.iter().filter(|record| record.0 == partition);
            let mut behind = 0;
            for (_, value, result, index) in pushed {
                let at = log.values.iter().position(|written| written == value);
                let result = result.borrow();
                match result.as_ref().unwrap() {
                    Ok(appended) => {
                        let at = at.unwrap_or_else(|| panic!("seed {seed}: {value} is lost"));
                        if appended.base_offset >= 0 {
                            assert_eq!(
                                appended.base_offset + index,
                                at as i64,
                                "seed {seed}: {partition} {value} {:?}",
                                log.values
                            );
                        }
                    }
                    Err(ProduceError::Refused { .. }) if !self.faults.late_requests => {
                        assert!(self.faults.give_up, "seed {seed}: {result:?}");
                    }
                    Err(_) => assert!(self.faults.give_up, "seed {seed}: {result:?}"),
                }
                if let Some(at) = at {
                    assert!(at >= behind, "seed {seed}: {value} was overtaken");
                    behind = at + 1;
                }
            }
            let mut unique = log.values.clone();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), log.values.len(), "seed {seed}: duplicates");
        }
    }
}

fn run(seeds: std::ops::Range<u64>, faults: Faults) {
    for seed in seeds {
        let mut world = World::new(seed, faults);
        world.run();
        world.check(seed);
    }
}

#[test]
fn with_enough_time_every_record_is_written_once_in_order() {
    let faults = Faults {
        late_requests: true,
        give_up: false,
    };
    run(0..300, faults);
}

#[test]
fn giving_up_neither_doubles_nor_reorders() {
    let faults = Faults {
        late_requests: false,
        give_up: true,
    };
    run(1000..1300, faults);
}
