//! A client's connection to a node. What the shell's threads would do happens when a test says so.

use bytes::{Bytes, BytesMut};
use millstream_api::{
    AnswerLimits, AnswerQueue, Client, CloseReason, Completion, Context, Effect, HostPort,
    handle_frame,
};
use millstream_node::{Node, QueueRest};
use millstream_protocol::Request;
use millstream_protocol::frame::{decode_response_header, encode_request};
use millstream_protocol::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use millstream_protocol::messages::produce_response::ProduceResponse;
use millstream_protocol::wire::{Decoder, Message, Records};

use super::TOPIC;

/// The newest Produce that names topics.
pub const PRODUCE: i16 = 12;

pub struct Connection<'n> {
    node: &'n Node,
    number: u64,
    answers: AnswerQueue,
    client: Client,
    /// News for requests of other connections, for tests that read on those.
    pub for_others: Vec<Completion>,
}

/// What one partition of a Produce was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Produced {
    pub error: i16,
    pub base_offset: i64,
    pub log_append_time: i64,
    pub log_start: i64,
    /// Index in the batch and text.
    pub record_errors: Vec<(i32, String)>,
    pub message: Option<String>,
}

impl<'n> Connection<'n> {
    pub fn new(node: &'n Node, number: u64) -> Connection<'n> {
        let host = "10.0.0.9".to_owned();
        Connection {
            node,
            number,
            answers: AnswerQueue::new(number, AnswerLimits::default()),
            client: Client {
                host: "/10.0.0.1".to_owned(),
                advertised: HostPort { host, port: 9092 },
            },
            for_others: Vec::new(),
        }
    }

    /// Sends a request. *Errors*: the connection is closed for it.
    pub fn send<'m, R: Request + Message<'m>>(
        &mut self,
        version: i16,
        request: &R,
    ) -> Result<(), CloseReason> {
        let frame = encode_request(0, "test", version, request).unwrap();
        let mut bytes = BytesMut::new();
        for part in &frame.parts {
            bytes.extend_from_slice(part);
        }
        let bytes = bytes.freeze().slice(4..);
        self.step(|node, answers, context| {
            answers.push(handle_frame(&node.broker, context, &bytes))
        })
    }

    /// Whether another request would be read.
    pub fn may_send(&self) -> bool {
        self.answers.has_room()
    }

    /// The next answer, if it is ready.
    pub fn receive(&mut self) -> Option<Bytes> {
        let frame = self.answers.pop_ready()?;
        let mut bytes = BytesMut::new();
        for part in &frame.parts {
            bytes.extend_from_slice(part);
        }
        Some(bytes.freeze().slice(4..))
    }

    /// The answer to a request that waits for nothing but a flush.
    pub fn ask<'m, R: Request + Message<'m>>(&mut self, version: i16, request: &R) -> Bytes {
        self.send(version, request).unwrap();
        if let Some(answer) = self.receive() {
            return answer;
        }
        self.flush();
        self.receive().expect("an answer")
    }

    /// Sends a batch to a partition of the topic.
    pub fn produce(&mut self, acks: i16, partition: i32, batch: &[u8]) {
        self.send(PRODUCE, &produce_request(acks, partition, batch))
            .unwrap();
    }

    /// The next answer, that to a produce request of one partition.
    pub fn produced(&mut self) -> Option<Produced> {
        let bytes = self.receive()?;
        let answer: ProduceResponse<'_> = read::<ProduceRequest<'_>, _>(&bytes, PRODUCE);
        let partition = &answer.responses[0].partition_responses[0];
        let errors = partition.record_errors.iter();
        let text = |text: &Option<std::borrow::Cow<'_, str>>| text.as_ref().map(|t| t.to_string());
        Some(Produced {
            error: partition.error_code,
            base_offset: partition.base_offset,
            log_append_time: partition.log_append_time_ms,
            log_start: partition.log_start_offset,
            record_errors: errors
                .map(|e| (e.batch_index, text(&e.batch_index_error_message).unwrap()))
                .collect(),
            message: text(&partition.error_message),
        })
    }

    /// The flusher runs.
    pub fn flush(&mut self) {
        let effects = self.node.flush(0);
        self.carry_out(effects);
    }

    /// The client is gone.
    pub fn close(&mut self) {
        self.step(|node, answers, context| {
            answers.close(&node.broker, context);
            Ok(())
        })
        .unwrap();
    }

    /// So much time is over on the node's clock.
    pub fn time_out(&mut self) {
        self.step(|node, answers, context| answers.handle_timeout(&node.broker, context))
            .unwrap();
    }

    /// Does what a step asked for. A flush is only asked for; changes of metadata happen at once.
    pub fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Flush(partition) => {
                    self.node.queue_flush(partition);
                }
                Effect::Complete(news) if news.token.connection != self.number => {
                    self.for_others.push(news);
                }
                Effect::Complete(news) => {
                    let step = self.step(|node, answers, context| {
                        answers.handle_completion(&node.broker, context, news)
                    });
                    step.unwrap();
                }
                Effect::Propose(proposal) => {
                    let effects = self.node.propose(proposal);
                    self.carry_out(effects);
                }
                Effect::DescribeLogDirs { token, wanted } => {
                    let effects = self.node.describe_log_dirs(token, wanted.as_ref());
                    self.carry_out(effects);
                }
                Effect::RunQueue(directory) => {
                    let mut effects = Vec::new();
                    while self.node.run_queue(directory, &mut effects) == QueueRest::None {}
                    self.carry_out(effects);
                }
                // Tests of groups run the timers themselves, those of moves the steps.
                Effect::GroupTimer { .. } | Effect::MovePartitions => {}
                Effect::ReloadGroups { shard } => {
                    let effects = self.node.load_groups(shard);
                    self.carry_out(effects);
                }
                _ => panic!("no test needs this"),
            }
        }
    }

    fn step(
        &mut self,
        step: impl FnOnce(&Node, &mut AnswerQueue, &mut Context<'_>) -> Result<(), CloseReason>,
    ) -> Result<(), CloseReason> {
        let mut effects = Vec::new();
        let mut context = Context {
            now: self.node.now(),
            wall: self.node.wall_time(),
            token: self.answers.next_token(),
            client: &self.client,
            effects: &mut effects,
            may_wait: false,
        };
        let outcome = step(self.node, &mut self.answers, &mut context);
        self.carry_out(effects);
        outcome
    }
}

/// Reads the answer to a request of this version.
pub fn read<'a, R: Request, M: Message<'a>>(answer: &'a Bytes, version: i16) -> M {
    let mut decoder = Decoder::new(answer);
    decode_response_header(&mut decoder, R::API_KEY, version).unwrap();
    M::decode(&mut decoder, version).unwrap()
}

pub fn produce_request(acks: i16, partition: i32, batch: &[u8]) -> ProduceRequest<'static> {
    let records = Some(Records::from(Bytes::copy_from_slice(batch)));
    ProduceRequest {
        acks,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![PartitionProduceData {
                index: partition,
                records,
            }],
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    }
}
