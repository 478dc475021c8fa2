//! An idempotent producer that knows of every batch what became of it.
//!
//! Up to [`IN_FLIGHT`] batches are on the way at a time, over all its partitions. They stay in
//! `unacked` until they are acknowledged. When the connection is lost, or the broker asks to try
//! again, the answers still on their way are waited for, and then everything in `unacked` is sent again
//! in order: the same bytes with the same sequence numbers.
//!
//! The first batch of a partition travels alone. A broker that does not know a producer takes any
//! first sequence number, so a second batch could be taken while the first is put off, and the first
//! would be refused for ever.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use millstream_env::sim::SimRandom;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::{ProduceRequest, ProduceResponse};
use millstream_protocol::records::{BatchBuilder, Codec};
use millstream_protocol::{ApiKey, ErrorCode};

use super::payload::RecordId;
use super::wire::{Connection, WireError, code_name, init_producer_id, read_answer};
use super::{Failure, Shared, TOPIC};

/// Requests on the way at a time: what brokers remember for idempotence (KIP-98).
const IN_FLIGHT: usize = 5;

/// A version that names topics and has nothing newer.
const VERSION: i16 = 9;

/// Acknowledgement takes no longer than this, however often the broker is killed meanwhile.
const ACKED_WITHIN: Duration = Duration::from_secs(180);

/// An acknowledged batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    /// Its first record.
    pub(crate) first: RecordId,
    /// Its records.
    pub(crate) count: u32,
    /// The offset of its first record; none when the broker only says that it has the batch.
    pub(crate) base_offset: Option<i64>,
}

/// A batch on its way.
struct Batch {
    first: RecordId,
    count: u32,
    bytes: Bytes,
    made: Instant,
}

/// A producer's life.
struct Producer<'a> {
    shared: &'a Shared,
    number: u32,
    random: SimRandom,
    producer_id: i64,
    epoch: i16,
    /// Records made so far, by partition.
    made: Vec<u64>,
    /// Whether a batch was acknowledged, by partition.
    is_known: Vec<bool>,
    unacked: VecDeque<Batch>,
    acked: Vec<Acked>,
    next_batch: Instant,
}

/// Produces until the run drains; answers what was acknowledged, which then is everything.
pub(crate) fn run(shared: &Shared, number: u32) -> Result<Vec<Acked>, Failure> {
    let seed = shared.options.seed.wrapping_mul(1_000_003);
    let mut producer = Producer {
        shared,
        number,
        random: SimRandom::new(seed ^ u64::from(number)),
        producer_id: -1,
        epoch: -1,
        made: vec![0; shared.options.partitions as usize],
        is_known: vec![false; shared.options.partitions as usize],
        unacked: VecDeque::new(),
        acked: Vec::new(),
        next_batch: Instant::now(),
    };
    while !shared.is_over() && !producer.is_done() {
        match producer.live_on_one_connection() {
            Ok(()) => {}
            Err(WireError::Gone) => shared.sleep(Duration::from_millis(10)),
            Err(WireError::Wrong(failure)) => return Err(format!("producer {number}: {failure}")),
        }
        producer.check_age()?;
    }
    Ok(producer.acked)
}

impl Producer<'_> {
    fn is_done(&self) -> bool {
        self.shared.is_draining() && self.unacked.is_empty()
    }

    fn live_on_one_connection(&mut self) -> Result<(), WireError> {
        let mut connection = Connection::open(self.shared.options.port)?;
        if self.producer_id < 0 {
            (self.producer_id, self.epoch) = init_producer_id(&mut connection)?;
        }
        // Correlation ids of what is on the way: the first so many of `unacked`, in order.
        let mut on_the_way: VecDeque<i32> = VecDeque::new();
        while !self.shared.is_over() && !self.is_done() {
            self.fill(&mut connection, &mut on_the_way)?;
            if on_the_way.is_empty() {
                self.shared.sleep(Duration::from_millis(1));
                continue;
            }
            let is_acked = self.receive(&mut connection, &mut on_the_way)?;
            if !is_acked {
                self.forget_the_rest(&mut connection, &mut on_the_way)?;
            }
        }
        Ok(())
    }

    /// Sends until the window is full: first what must be sent again, then new batches.
    fn fill(
        &mut self,
        connection: &mut Connection,
        on_the_way: &mut VecDeque<i32>,
    ) -> Result<(), WireError> {
        while on_the_way.len() < IN_FLIGHT {
            if on_the_way.len() == self.unacked.len() {
                let is_time = Instant::now() >= self.next_batch;
                if self.shared.is_draining() || !is_time {
                    return Ok(());
                }
                let Some(partition) = self.choose_partition() else {
                    return Ok(());
                };
                let batch = self.make_batch(partition);
                self.unacked.push_back(batch);
            }
            let batch = &self.unacked[on_the_way.len()];
            on_the_way.push_back(connection.send(VERSION, &request(batch))?);
        }
        Ok(())
    }

    /// Takes the next answer. Whether it acknowledges the oldest batch.
    fn receive(
        &mut self,
        connection: &mut Connection,
        on_the_way: &mut VecDeque<i32>,
    ) -> Result<bool, WireError> {
        let frame = connection.receive()?;
        let id = on_the_way.pop_front().expect("something is on the way");
        let (code, base_offset) = read_produce_answer(&frame, id)?;
        let base_offset = match code {
            ErrorCode::None if base_offset >= 0 => Some(base_offset),
            // The broker has the batch, and does not remember where.
            ErrorCode::None | ErrorCode::DuplicateSequenceNumber => None,
            code if code.is_retriable() => {
                let is_refusal = code == ErrorCode::KafkaStorageError;
                let refused = &self.shared.refused;
                refused.fetch_add(u64::from(is_refusal), Ordering::SeqCst);
                return Ok(false);
            }
            code => {
                let first = self.unacked.front().map(|batch| batch.first);
                let of_partition = |acked: &&Acked| {
                    first.is_some_and(|first| first.partition == acked.first.partition)
                };
                let before = self.acked.iter().rfind(of_partition);
                return Err(format!(
                    "{first:?} is refused with {code}; acknowledged before it: {before:?}"
                )
                .into());
            }
        };
        let batch = self.unacked.pop_front().expect("it was on the way");
        self.is_known[batch.first.partition as usize] = true;
        self.acked.push(Acked {
            first: batch.first,
            count: batch.count,
            base_offset,
        });
        self.shared.acked.fetch_add(1, Ordering::SeqCst);
        Ok(true)
    }

    /// After a batch was put off: waits for the answers to those behind it, which cannot be judged on
    /// their own. Those that were taken will be answered as duplicates when they are sent again.
    fn forget_the_rest(
        &mut self,
        connection: &mut Connection,
        on_the_way: &mut VecDeque<i32>,
    ) -> Result<(), WireError> {
        while let Some(id) = on_the_way.pop_front() {
            let frame = connection.receive()?;
            read_produce_answer(&frame, id)?;
        }
        self.shared.sleep(Duration::from_millis(5));
        Ok(())
    }

    /// A partition that may get another batch; none while the one drawn waits for its first.
    fn choose_partition(&self) -> Option<usize> {
        let partition = self.random.below(self.made.len() as u64) as usize;
        let is_begun = self.made[partition] > 0;
        (self.is_known[partition] || !is_begun).then_some(partition)
    }

    fn make_batch(&mut self, partition: usize) -> Batch {
        let count = 1 + self.random.below(20) as u32;
        let first = RecordId {
            producer: self.number,
            partition: partition as i32,
            number: self.made[partition],
        };
        let codec = match self.random.below(8) {
            0 => Codec::Gzip,
            1 => Codec::Snappy,
            2 => Codec::Lz4,
            3 => Codec::Zstd,
            _ => Codec::None,
        };
        // Numbers count the records of a partition, as sequences do.
        let sequence = (first.number & 0x7fff_ffff) as i32;
        let mut batch = BatchBuilder::new(codec).producer(self.producer_id, self.epoch, sequence);
        for number in first.number..first.number + u64::from(count) {
            let id = RecordId { number, ..first };
            let value = id.value(self.shared.options.seed);
            let timestamp = id.timestamp(self.shared.options.base_timestamp);
            batch.push(timestamp, Some(&id.key()), Some(&value), []);
        }
        self.made[partition] += u64::from(count);
        let pause = Duration::from_secs(1) / self.shared.options.rate.max(1);
        self.next_batch = (self.next_batch + pause).max(Instant::now());
        Batch {
            first,
            count,
            bytes: batch.build(0, -1),
            made: Instant::now(),
        }
    }

    /// Everything must be acknowledged some day.
    fn check_age(&self) -> Result<(), Failure> {
        match self.unacked.front() {
            Some(batch) if batch.made.elapsed() > ACKED_WITHIN => Err(format!(
                "{:?} is not acknowledged after {ACKED_WITHIN:?}",
                batch.first
            )),
            _ => Ok(()),
        }
    }
}

fn request(batch: &Batch) -> ProduceRequest<'static> {
    let partition = PartitionProduceData {
        index: batch.first.partition,
        records: Some(batch.bytes.clone().into()),
    };
    ProduceRequest {
        transactional_id: None,
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![partition],
            ..TopicProduceData::default()
        }],
    }
}

fn read_produce_answer(frame: &Bytes, id: i32) -> Result<(ErrorCode, i64), Failure> {
    let answer: ProduceResponse<'_> = read_answer(frame, ApiKey::Produce, VERSION, id)?;
    let topic = answer.responses.first();
    let partition = topic.and_then(|topic| topic.partition_responses.first());
    let partition = partition.ok_or("a Produce answer without a partition")?;
    let code = ErrorCode::from_code(partition.error_code)
        .ok_or_else(|| format!("unknown error {}", code_name(partition.error_code)))?;
    Ok((code, partition.base_offset))
}
