//! A cluster whose records go the whole way: decided, encoded, decoded, applied.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

use millstream_metadata::{
    Controller, CreateTopicError, CreatedTopic, Delta, Image, NewTopic, Record,
};
use millstream_model::NodeId;

/// A controller with its image and a counter for random bits.
pub struct Cluster {
    pub controller: Controller,
    pub image: Image,
    random: u128,
}

impl Cluster {
    /// A cluster in which brokers 1 to `brokers` have started.
    pub fn of(brokers: i32) -> Cluster {
        let mut cluster = Cluster {
            controller: Controller::default(),
            image: Image::default(),
            random: 0,
        };
        for node in 1..=brokers {
            cluster.start(node);
        }
        cluster
    }

    pub fn start(&mut self, node: i32) -> Delta {
        let start = self
            .controller
            .decide_broker_start(&self.image, NodeId(node), "c")
            .unwrap();
        self.apply(&start.records)
    }

    /// Sends records through their encoding, as the log does.
    pub fn apply(&mut self, records: &[Record]) -> Delta {
        let read: Vec<Record> = records
            .iter()
            .map(|record| {
                let (type_, payload) = record.encode();
                Record::decode(type_, &payload).unwrap().unwrap()
            })
            .collect();
        assert_eq!(read, records);
        let (image, delta) = self.image.apply(&read).unwrap();
        self.image = image;
        delta
    }

    pub fn random(&mut self) -> u128 {
        self.random += 1;
        // Spread over all bits: ids are made of it.
        self.random
            .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
    }

    /// Creates topics and answers the code of each, 0 for success, with its name.
    pub fn create(&mut self, topics: &[NewTopic]) -> Vec<(String, i16)> {
        let decision = {
            let mut random = self.random;
            let mut next = || {
                random += 1;
                random.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
            };
            let decision =
                self.controller
                    .decide_create_topics(&self.image, topics, false, &mut next);
            self.random = random;
            decision
        };
        self.apply(&decision.records);
        let answer = decision.answer.into_iter();
        answer
            .map(|topic| (topic.name, topic.result.map_or_else(code, |_| 0)))
            .collect()
    }

    /// Creates one topic on its own.
    pub fn create_one(&mut self, topic: NewTopic) -> Result<CreatedTopic, CreateTopicError> {
        let bits = self.random();
        let decision =
            self.controller
                .decide_create_topics(&self.image, &[topic], false, &mut || bits);
        self.apply(&decision.records);
        decision.answer.into_iter().next().unwrap().result
    }

    /// Creates one topic on its own and answers the code.
    pub fn code_of(&mut self, topic: NewTopic) -> i16 {
        self.create_one(topic).map_or_else(code, |_| 0)
    }
}

fn code(error: CreateTopicError) -> i16 {
    assert!(!error.to_string().is_empty());
    error.code().code()
}

/// A topic with `partitions` partitions and one replica each.
pub fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        name: name.to_string(),
        partitions,
        replication_factor: 1,
        ..NewTopic::default()
    }
}

/// A topic with assignments.
pub fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    NewTopic {
        name: name.to_string(),
        partitions: -1,
        replication_factor: -1,
        assignments: assignments
            .iter()
            .map(|(index, nodes)| (*index, nodes.to_vec()))
            .collect(),
        configs: Vec::new(),
    }
}

/// The topic with one config more.
pub fn with_config(mut topic: NewTopic, key: &str, value: &str) -> NewTopic {
    topic
        .configs
        .push((key.to_string(), Some(value.to_string())));
    topic
}
