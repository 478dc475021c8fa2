//! The client whose topic comes and goes: what it makes of the answers.

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
    FetchRequest, FetchResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, ProduceRequest, ProduceResponse,
};
use millstream_protocol::records::records_of;

use super::Heard;
use super::topic_owner::{
    Asked, COMMIT, CREATE, DELETE, FETCH, METADATA, OFFSETS_BY_ID, PRODUCE, Topic, TopicOwner,
};
use super::topic_requests::read_value;
use crate::sim::checkers::{Id, Lives, Sent};
use crate::sim::wire::{batches_of, code, decode};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

impl TopicOwner {
    /// Takes the answer it waits for, if it is there.
    pub(super) fn hear(
        &mut self,
        world: &mut World,
        lives: &mut Lives,
    ) -> Result<Heard, Violation> {
        let Some(answer) = world.receive(self.connection) else {
            return Ok(Heard::Nothing);
        };
        match self.asked.take() {
            None => violation("an answer to no request"),
            Some(Asked::Look) => self.hear_look(&answer, lives),
            Some(Asked::Create) => self.hear_create(&answer, lives),
            Some(Asked::Delete) => self.hear_delete(world, &answer, lives),
            Some(Asked::Write(id, sequence)) => hear_write(world, &answer, lives, id, sequence),
            Some(Asked::LastWrite(id, sequence)) => {
                self.asked = Some(Asked::Delete);
                match write_error(&answer)? {
                    // It was gone first.
                    ErrorCode::UnknownTopicOrPartition => Ok(Heard::Nothing),
                    _ => hear_write(world, &answer, lives, id, sequence),
                }
            }
            Some(Asked::Read(id)) => self.hear_read(&answer, lives, id),
            Some(Asked::Commit(id, sent)) => hear_commit(&answer, lives, id, sent),
            Some(Asked::Offsets(id, sent, version)) => {
                if let Some(offset) = offset_of(&answer, version)? {
                    world.note(offset as u64);
                    lives.life(id).commits.read(sent, 0, offset)?;
                }
                Ok(Heard::Nothing)
            }
            Some(Asked::RecordsOfDead) => {
                let answer: FetchResponse<'_> = decode::<FetchRequest<'_>, _>(&answer, FETCH)?;
                match code(answer.responses[0].partitions[0].error_code)? {
                    ErrorCode::UnknownTopicId => Ok(Heard::Nothing),
                    code => violation(format!("records of a deleted topic: {code:?}")),
                }
            }
            Some(Asked::OffsetsOfDead) => match offset_of(&answer, OFFSETS_BY_ID)? {
                None => Ok(Heard::Nothing),
                Some(offset) => violation(format!("a deleted topic's offset is {offset}")),
            },
        }
    }

    fn hear_look(&mut self, answer: &Bytes, lives: &mut Lives) -> Result<Heard, Violation> {
        let answer: MetadataResponse<'_> = decode::<MetadataRequest<'_>, _>(answer, METADATA)?;
        let topic = &answer.topics[0];
        match code(topic.error_code)? {
            ErrorCode::None => {
                lives.find(Some(topic.topic_id))?;
                self.is_there(topic.topic_id);
            }
            ErrorCode::UnknownTopicOrPartition => {
                lives.find(None)?;
                self.topic = Topic::Absent;
            }
            code => return violation(format!("Metadata: {code:?}")),
        }
        Ok(Heard::Nothing)
    }

    fn hear_create(&mut self, answer: &Bytes, lives: &mut Lives) -> Result<Heard, Violation> {
        let answer: CreateTopicsResponse<'_> =
            decode::<CreateTopicsRequest<'_>, _>(answer, CREATE)?;
        let topic = &answer.topics[0];
        match code(topic.error_code)? {
            ErrorCode::None => {
                lives.find(Some(topic.topic_id))?;
                self.is_there(topic.topic_id);
                Ok(Heard::Nothing)
            }
            code => self.hear_failed_change(lives, code),
        }
    }

    fn hear_delete(
        &mut self,
        world: &mut World,
        answer: &Bytes,
        lives: &mut Lives,
    ) -> Result<Heard, Violation> {
        let answer: DeleteTopicsResponse<'_> =
            decode::<DeleteTopicsRequest<'_>, _>(answer, DELETE)?;
        let topic = &answer.responses[0];
        world.note(topic.error_code as u64);
        match code(topic.error_code)? {
            ErrorCode::None => {
                lives.find(None)?;
                self.dead.push(topic.topic_id);
                self.topic = Topic::Absent;
                Ok(Heard::Nothing)
            }
            code => self.hear_failed_change(lives, code),
        }
    }

    fn hear_failed_change(
        &mut self,
        lives: &mut Lives,
        code: ErrorCode,
    ) -> Result<Heard, Violation> {
        if code != ErrorCode::KafkaStorageError {
            return violation(format!("a change of the topic: {code:?}"));
        }
        lives.unsettle();
        self.topic = Topic::Unknown;
        Ok(Heard::DiskFailed)
    }

    fn hear_read(&mut self, answer: &Bytes, lives: &mut Lives, id: Id) -> Result<Heard, Violation> {
        let answer: FetchResponse<'_> = decode::<FetchRequest<'_>, _>(answer, FETCH)?;
        let data = &answer.responses[0].partitions[0];
        match code(data.error_code)? {
            ErrorCode::None => {}
            ErrorCode::KafkaStorageError => return Ok(Heard::DiskFailed),
            code => return violation(format!("the topic's records: {code:?}")),
        }
        for (header, batch) in batches_of(data.records.as_ref())? {
            let damaged = |_| Violation {
                what: "the topic's records are damaged".to_owned(),
            };
            let records = records_of(&header, &batch).map_err(damaged)?;
            for record in records.iter() {
                let record = record.map_err(damaged)?;
                let value = record.value.and_then(read_value);
                match value {
                    Some((of, sequence)) if of == id => {
                        lives.life(id).see(record.offset, sequence)?;
                    }
                    _ => return violation(format!("{id:?} holds a record of {value:?}")),
                }
            }
            self.next = self.next.max(header.next_offset());
        }
        Ok(Heard::Nothing)
    }
}

fn write_error(answer: &Bytes) -> Result<ErrorCode, Violation> {
    let answer: ProduceResponse<'_> = decode::<ProduceRequest<'_>, _>(answer, PRODUCE)?;
    code(answer.responses[0].partition_responses[0].error_code)
}

fn hear_write(
    world: &World,
    answer: &Bytes,
    lives: &mut Lives,
    id: Id,
    sequence: i32,
) -> Result<Heard, Violation> {
    let answer: ProduceResponse<'_> = decode::<ProduceRequest<'_>, _>(answer, PRODUCE)?;
    let answer = &answer.responses[0].partition_responses[0];
    match code(answer.error_code)? {
        ErrorCode::None => {
            let life = lives.life(id);
            life.acknowledge(answer.base_offset, sequence)?;
            Ok(Heard::Nothing)
        }
        // The queue of the slow disk is full: that has a message.
        ErrorCode::RequestTimedOut if answer.error_message.is_some() => Ok(Heard::Nothing),
        // It was queued for one, and the topic went to another.
        ErrorCode::NotLeaderOrFollower if world.has_moved => Ok(Heard::Nothing),
        ErrorCode::KafkaStorageError | ErrorCode::RequestTimedOut => Ok(Heard::DiskFailed),
        code => violation(format!("a record for the topic: {code:?}")),
    }
}

fn hear_commit(answer: &Bytes, lives: &mut Lives, id: Id, sent: Sent) -> Result<Heard, Violation> {
    let answer: OffsetCommitResponse<'_> = decode::<OffsetCommitRequest<'_>, _>(answer, COMMIT)?;
    match code(answer.topics[0].partitions[0].error_code)? {
        ErrorCode::None => lives.life(id).commits.acknowledge(sent, 0)?,
        ErrorCode::CoordinatorLoadInProgress => lives.life(id).commits.refuse(sent, 0)?,
        ErrorCode::NotCoordinator => {}
        code => return violation(format!("a commit for the topic: {code:?}")),
    }
    Ok(Heard::Nothing)
}

/// The committed offset of an answer, where it says one.
fn offset_of(answer: &Bytes, version: i16) -> Result<Option<i64>, Violation> {
    let answer: OffsetFetchResponse<'_> = decode::<OffsetFetchRequest<'_>, _>(answer, version)?;
    let group = &answer.groups[0];
    match code(group.error_code)? {
        ErrorCode::None => {}
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => return Ok(None),
        code => return violation(format!("the topic's offsets: {code:?}")),
    }
    let fetched = &group.topics[0].partitions[0];
    match code(fetched.error_code)? {
        ErrorCode::None => Ok(Some(fetched.committed_offset)),
        ErrorCode::UnknownTopicId => Ok(None),
        code => violation(format!("the topic's offset: {code:?}")),
    }
}
