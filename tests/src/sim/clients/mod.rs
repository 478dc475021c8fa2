//! The simulated clients.

mod administrator;
mod administrator_changes;
mod administrator_looks;
mod archivist;
mod assignment;
mod auditor;
mod consumer;
mod forgetter;
mod member;
mod member_answers;
mod member_requests;
mod plain;
mod probe;
mod producer;
mod static_return;
mod tabulator;
mod topic_answers;
mod topic_owner;
mod topic_requests;
mod trimmer;
mod visitor;

use std::borrow::Cow;

use millstream_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, OffsetFetchRequest, OffsetFetchResponse,
};

use super::checkers::Seen;
use super::wire::{OFFSETS_BY_NAME, call, decode};
use super::world::World;
use super::{Violation, violation};
use administrator::Administrator;
use archivist::Archivist;
use auditor::Auditor;
use consumer::Consumer;
use forgetter::Forgetter;
use member::Member;
use producer::Producer;
use tabulator::Tabulator;
use topic_owner::TopicOwner;
use trimmer::Trimmer;
use visitor::Visitor;

pub(crate) const TOPIC: &str = "simulated";
pub(crate) const PARTITIONS: i32 = 3;
const PRODUCERS: i32 = 4;
const MEMBERS: usize = 3;
const CREATE_TOPICS: i16 = 7;
/// Bytes of a segment in half of the seeds: a few batches, so that segments are rolled.
const SMALL_SEGMENT: &str = "3000";

/// What a client learned of the broker's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that concerns the operator.
    Nothing,
    /// KAFKA_STORAGE_ERROR.
    DiskFailed,
}

/// All of them, and what they saw.
pub(crate) struct Clients {
    pub seen: Seen,
    producers: Vec<Producer>,
    consumer: Consumer,
    members: Vec<Member>,
    topic_owner: TopicOwner,
    auditor: Auditor,
    archivist: Archivist,
    tabulator: Tabulator,
    trimmer: Trimmer,
    forgetter: Forgetter,
    administrator: Administrator,
    visitor: Visitor,
    /// Partitions that acknowledged while another log directory had failed.
    pub probed: u32,
    /// Whether a static member came back to a stable group at the end.
    pub has_returned: bool,
    is_calm: bool,
}

impl Clients {
    /// Makes the topic and gets the producer ids.
    pub(crate) fn new(world: &mut World) -> Result<Clients, Violation> {
        create_topic(world)?;
        probe::create(world)?;
        let mut seen = Seen::default();
        let mut producers = Vec::new();
        for number in 0..PRODUCERS {
            producers.push(Producer::new(world, number % PARTITIONS)?);
        }
        Ok(Clients {
            archivist: Archivist::new(world)?,
            tabulator: Tabulator::new(world)?,
            trimmer: Trimmer::new(world, &mut seen)?,
            administrator: Administrator::new(world, &mut seen)?,
            visitor: Visitor::new(world, &mut seen)?,
            forgetter: Forgetter::new(world),
            seen,
            probed: 0,
            has_returned: false,
            is_calm: false,
            producers,
            consumer: Consumer::new(world),
            members: (0..MEMBERS)
                .map(|number| Member::new(world, number))
                .collect(),
            topic_owner: TopicOwner::new(world),
            auditor: Auditor::new(world),
        })
    }

    /// The broker started again.
    pub(crate) fn reconnect(&mut self, world: &mut World) {
        for producer in &mut self.producers {
            producer.reconnect(world);
        }
        self.consumer.reconnect(world);
        for member in &mut self.members {
            member.reconnect(world);
        }
        self.topic_owner.reconnect(world, &mut self.seen.lives);
        self.auditor.reconnect(world);
        self.archivist.reconnect(world, &mut self.seen.archive);
        self.tabulator.reconnect(world, &mut self.seen.table);
        self.trimmer.reconnect(world);
        self.forgetter.reconnect(world);
        self.administrator.reconnect(world, &mut self.seen.settings);
        self.visitor.reconnect(world);
    }

    /// While a log directory has failed: the others acknowledge.
    pub(crate) fn check_the_healthy(&mut self, world: &mut World) -> Result<(), Violation> {
        self.probed += probe::check(world)?;
        Ok(())
    }

    /// Reads that were refused because of damage.
    pub(crate) fn refused(&self) -> u32 {
        self.archivist.refused
    }

    /// Deletions of the offsets of a group that were acknowledged.
    pub(crate) fn forgotten(&self) -> u32 {
        self.forgetter.deletions
    }

    /// How often a client with a quota was told to wait.
    pub(crate) fn throttled(&self) -> u32 {
        self.visitor.throttled
    }

    /// From now on no client dies, leaves, sleeps, deletes or administers. But one member may have gone for good, and
    /// the group must come to know.
    pub(crate) fn calm_down(&mut self, world: &World) {
        if world.random.chance(50) {
            self.members.pop();
        }
        self.is_calm = true;
        self.topic_owner.calm_down();
        self.tabulator.calm_down();
        for member in &mut self.members {
            member.calm_down();
        }
    }

    /// One client sends or hears something.
    pub(crate) fn step(&mut self, world: &mut World) -> Result<Heard, Violation> {
        // A member, and whoever owns a topic, has more to say than a producer.
        let (producers, members) = (self.producers.len(), self.members.len());
        let others = 9 + usize::from(!self.is_calm) + 2 * members;
        let who = world.random.below((producers + others) as u64) as usize;
        let seen = &mut self.seen;
        if let Some(producer) = self.producers.get_mut(who) {
            return producer.step(world, seen);
        }
        match who - producers {
            0 => self.consumer.step(world, seen),
            1 => self.auditor.step(world, seen),
            2 | 3 => self.topic_owner.step(world, seen),
            4 => self.archivist.step(world, seen),
            5 | 6 => self.tabulator.step(world, seen),
            7 => self.trimmer.step(world, seen),
            8 => self.visitor.step(world, seen),
            9 if !self.is_calm => match world.random.chance(50) {
                true => self.forgetter.step(world, seen),
                false => self.administrator.step(world, seen),
            },
            who => self.members[who % members].step(world, seen),
        }
    }

    /// Whether every batch is acknowledged, everything has been read, and the group is stable with all
    /// its members and has committed the end.
    pub(crate) fn are_done(&mut self) -> bool {
        self.producers.iter().all(Producer::is_done)
            && self.consumer.next().iter().sum::<i64>() >= self.seen.records.acknowledged() as i64
            && self.is_group_done()
            && self.topic_owner.is_done(&mut self.seen.lives)
            && self.tabulator.is_done()
    }

    fn is_group_done(&self) -> bool {
        let ends = self.consumer.next();
        let generation_id = self.members[0].generation_id();
        let owned = self
            .members
            .iter()
            .map(|member| member.owned().len())
            .sum::<usize>();
        let settled = |member: &Member| {
            member.generation_id() == generation_id
                && member.is_consuming()
                && member.owned().iter().all(|(partition, position)| {
                    position.committed == ends[*partition as usize]
                        && position.next == position.committed
                })
        };
        owned == ends.len() && self.members.iter().all(settled)
    }

    /// For whoever looks for the reason.
    pub(crate) fn where_they_stand(&self) -> String {
        format!(
            "{:?} {:?} {:?}",
            self.producers, self.consumer, self.members
        )
    }

    /// Everything has come to its end: what was promised is there.
    pub(crate) fn check_the_end(&mut self, world: &mut World) -> Result<(), Violation> {
        self.seen.records.check_the_end()?;
        self.archivist
            .check_the_end(world, &mut self.seen.archive)?;
        self.trimmer.check_the_end(world, &mut self.seen.trimmed)?;
        self.forgetter
            .check_the_end(world, &mut self.seen.forgotten)?;
        self.administrator.check_the_end(world, &mut self.seen)?;
        self.has_returned = static_return::check(world, &self.members)?;
        let connection = world.connect();
        let sent = self.seen.commits.send();
        let request = member_requests::offsets(0..PARTITIONS);
        let answer = call(world, connection, OFFSETS_BY_NAME, &request)?;
        let answer: OffsetFetchResponse<'_> =
            decode::<OffsetFetchRequest<'_>, _>(&answer, OFFSETS_BY_NAME)?;
        for fetched in &answer.groups[0].topics[0].partitions {
            let partition = fetched.partition_index;
            let committed = fetched.committed_offset;
            self.seen.commits.read(sent, partition, committed)?;
            let end = self.consumer.next()[partition as usize];
            if committed != end || self.seen.progress.end(partition) != end {
                return violation(format!(
                    "{partition} ends at {end}, committed is {committed}"
                ));
            }
        }
        Ok(())
    }
}

fn create_topic(world: &mut World) -> Result<(), Violation> {
    let connection = world.connect();
    let mut configs = Vec::new();
    if world.random.chance(50) {
        configs.push(CreatableTopicConfig {
            name: Cow::Borrowed("internal.segment.bytes"),
            value: Some(Cow::Borrowed(SMALL_SEGMENT)),
        });
    }
    let mut request = CreateTopicsRequest::default();
    request.topics.push(CreatableTopic {
        name: Cow::Borrowed(TOPIC),
        num_partitions: PARTITIONS,
        replication_factor: 1,
        configs,
        ..CreatableTopic::default()
    });
    let answer = call(world, connection, CREATE_TOPICS, &request)?;
    let created: CreateTopicsResponse<'_> =
        decode::<CreateTopicsRequest<'_>, _>(&answer, CREATE_TOPICS)?;
    if created.topics.iter().any(|topic| topic.error_code != 0) {
        return violation("the topic is not created");
    }
    Ok(())
}
