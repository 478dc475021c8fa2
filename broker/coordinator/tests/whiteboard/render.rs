//! Records and answers as lines of text.

use bytes::Bytes;
use millstream_coordinator::{
    After, CoordinatorRecord, GroupAnswer, ParkedAnswer, join_offset_fetch,
};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, GroupMetadataKey, GroupMetadataValue,
    ListGroupsResponse, OffsetCommitKey, OffsetCommitValue,
};
use millstream_protocol::wire::{Decoder, Encoder, Message};

/// Short names of member ids.
#[derive(Default)]
pub struct Names {
    ids: Vec<String>,
}

impl Names {
    /// The id behind a short name; what is none stands for itself.
    pub fn full(&self, name: &str) -> String {
        let number = name
            .strip_prefix('m')
            .and_then(|number| number.parse::<usize>().ok());
        let id = number.and_then(|number| self.ids.get(number.checked_sub(1)?));
        id.cloned().unwrap_or_else(|| name.to_owned())
    }

    /// Names an id if it has no name yet.
    pub fn add(&mut self, id: &str) {
        if !self.ids.iter().any(|known| known == id) {
            self.ids.push(id.to_owned());
        }
    }

    /// Replaces every id in a line. Ids end in a 36-character UUID.
    pub fn shorten(&mut self, line: &str) -> String {
        let is_separator = |c: char| " ,:=[]/>@".contains(c);
        for word in line.split(is_separator) {
            let is_id = word.len() > 36 && word[word.len() - 36..].matches('-').count() == 4;
            if is_id {
                self.add(word);
            }
        }
        let mut short = line.to_owned();
        for (number, id) in self.ids.iter().enumerate() {
            short = short.replace(id, &format!("m{}", number + 1));
        }
        short
    }
}

fn text(bytes: &[u8]) -> String {
    // A consumer's subscription to one topic.
    let topic = bytes.strip_prefix(&[0, 0, 0, 0, 0, 1, 0]);
    let topic = topic.and_then(|rest| rest.get(1..)?.strip_suffix(&[0, 0, 0, 0]));
    match topic {
        Some(topic) => format!("reads-{}", String::from_utf8_lossy(topic)),
        None => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn error(code: i16) -> String {
    ErrorCode::from_code(code).map_or_else(|| code.to_string(), |code| code.name().to_owned())
}

fn split(bytes: &Bytes) -> (i16, Bytes) {
    let head = bytes.first_chunk::<2>().expect("a leading number");
    (i16::from_be_bytes(*head), bytes.slice(2..))
}

pub fn render_record(record: &CoordinatorRecord) -> String {
    let (kind, key) = split(&record.key);
    match kind {
        1 => render_offset_record(&key, record.value.as_ref()),
        2 => render_group_record(&key, record.value.as_ref()),
        _ => format!("record of kind {kind}"),
    }
}

fn render_offset_record(key: &Bytes, value: Option<&Bytes>) -> String {
    let key = OffsetCommitKey::decode(&mut Decoder::new(key), 0).expect("a key");
    let place = format!(
        "record offset {} {}-{}",
        key.group, key.topic, key.partition
    );
    let Some(value) = value else {
        return format!("{place} deleted");
    };
    let (version, fields) = split(value);
    let value = OffsetCommitValue::decode(&mut Decoder::new(&fields), version).expect("a value");
    let note = if value.metadata.is_empty() {
        String::new()
    } else {
        format!(":{}", value.metadata)
    };
    let expiry = match value.expire_timestamp {
        -1 => String::new(),
        at => format!(" expires={at}"),
    };
    let id = value.topic_id[15];
    format!(
        "{place}={}{note} at={}{expiry} topic={id} v{version}",
        value.offset, value.commit_timestamp
    )
}

fn render_group_record(key: &Bytes, value: Option<&Bytes>) -> String {
    let key = GroupMetadataKey::decode(&mut Decoder::new(key), 0).expect("a key");
    let Some(value) = value else {
        return format!("record group {} deleted", key.group);
    };
    let (version, fields) = split(value);
    let value = GroupMetadataValue::decode(&mut Decoder::new(&fields), version).expect("a value");
    let members = value.members.iter().map(|member| {
        let instance = member
            .group_instance_id
            .as_deref()
            .map_or(String::new(), |i| format!("/{i}"));
        let (subscription, assignment) = (text(&member.subscription), text(&member.assignment));
        format!("{}{instance}:{subscription}>{assignment}", member.member_id)
    });
    let members: Vec<String> = members.collect();
    format!(
        "record group {} gen={} protocol={} leader={} members=[{}] v{version}",
        key.group,
        value.generation,
        value.protocol.as_deref().unwrap_or("-"),
        value.leader.as_deref().unwrap_or("-"),
        members.join(" "),
    )
}

/// Whether the answer has a form in the request's version.
pub fn check_encodes(body: &GroupAnswer, version: i16) {
    let mut encoder = Encoder::with_capacity(64);
    let encoded = match body {
        GroupAnswer::Join(join) => join.encode(&mut encoder, version),
        GroupAnswer::Sync(sync) => sync.encode(&mut encoder, version),
        GroupAnswer::Heartbeat(beat) => beat.encode(&mut encoder, version),
        GroupAnswer::Leave(leave) => leave.encode(&mut encoder, version),
        GroupAnswer::Commit(commit) => commit.encode(&mut encoder, version),
        GroupAnswer::OffsetFetch(fetch) => {
            join_offset_fetch(version, vec![fetch.clone()]).encode(&mut encoder, version)
        }
        GroupAnswer::OffsetDelete(delete) => delete.encode(&mut encoder, 0),
        GroupAnswer::Delete(delete) => {
            let response = DeleteGroupsResponse {
                results: vec![delete.clone()],
                ..Default::default()
            };
            response.encode(&mut encoder, 2)
        }
        GroupAnswer::Describe(group) => {
            let response = DescribeGroupsResponse {
                groups: vec![group.clone()],
                ..Default::default()
            };
            response.encode(&mut encoder, version)
        }
        GroupAnswer::List(groups) => {
            let response = ListGroupsResponse {
                groups: groups.clone().unwrap_or_default(),
                ..Default::default()
            };
            response.encode(&mut encoder, version)
        }
    };
    encoded.unwrap_or_else(|error| panic!("{body:?} in version {version}: {error}"));
}

pub fn render_answer(answer: &ParkedAnswer) -> String {
    let after = match answer.after {
        After::Immediate => String::new(),
        After::Records => " after its records".to_owned(),
        After::Committed(end) => format!(" after end {end}"),
    };
    format!(
        "#{} {}{after}",
        answer.token.request,
        render_body(&answer.body)
    )
}

fn render_body(body: &GroupAnswer) -> String {
    match body {
        GroupAnswer::Join(join) if join.error_code != 0 => {
            let name = join
                .protocol_name
                .as_deref()
                .map_or("null", |name| if name.is_empty() { "\"\"" } else { name });
            format!(
                "join {} member={} gen={} protocol={name}",
                error(join.error_code),
                join.member_id,
                join.generation_id
            )
        }
        GroupAnswer::Join(join) => {
            let members = join.members.iter().map(|member| {
                let instance = member
                    .group_instance_id
                    .as_deref()
                    .map_or(String::new(), |i| format!("/{i}"));
                format!("{}{instance}:{}", member.member_id, text(&member.metadata))
            });
            let members: Vec<String> = members.collect();
            let skip = if join.skip_assignment { " skip" } else { "" };
            format!(
                "join member={} gen={} {}:{} leader={} members=[{}]{skip}",
                join.member_id,
                join.generation_id,
                join.protocol_type.as_deref().unwrap_or("-"),
                join.protocol_name.as_deref().unwrap_or("-"),
                join.leader,
                members.join(" "),
            )
        }
        GroupAnswer::Sync(sync) if sync.error_code != 0 => {
            format!("sync {}", error(sync.error_code))
        }
        GroupAnswer::Sync(sync) => format!(
            "sync {}:{} assignment={}",
            sync.protocol_type.as_deref().unwrap_or("-"),
            sync.protocol_name.as_deref().unwrap_or("-"),
            text(&sync.assignment),
        ),
        GroupAnswer::Heartbeat(beat) => format!("beat {}", error(beat.error_code)),
        GroupAnswer::Leave(leave) => {
            let members = leave
                .members
                .iter()
                .map(|member| format!(" {}={}", member.member_id, error(member.error_code)));
            format!(
                "leave {}{}",
                error(leave.error_code),
                members.collect::<String>()
            )
        }
        GroupAnswer::Commit(commit) => {
            let partitions = commit.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| {
                    format!(
                        " {}-{}={}",
                        topic.name,
                        partition.partition_index,
                        error(partition.error_code)
                    )
                })
            });
            format!("commit{}", partitions.collect::<String>())
        }
        GroupAnswer::OffsetFetch(fetch) => {
            let partitions = fetch.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| {
                    let code = match partition.error_code {
                        0 => String::new(),
                        code => format!("!{}", error(code)),
                    };
                    let note = match partition.metadata.as_deref() {
                        Some("") => String::new(),
                        note => format!(":{}", note.unwrap_or("null")),
                    };
                    let (index, offset) = (partition.partition_index, partition.committed_offset);
                    format!(" {}-{index}={offset}{note}{code}", topic.name)
                })
            });
            format!(
                "fetch {}{}",
                error(fetch.error_code),
                partitions.collect::<String>()
            )
        }
        GroupAnswer::OffsetDelete(delete) => {
            let partitions = delete.topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| {
                    format!(
                        " {}-{}={}",
                        topic.name,
                        partition.partition_index,
                        error(partition.error_code)
                    )
                })
            });
            format!(
                "offsetdelete {}{}",
                error(delete.error_code),
                partitions.collect::<String>()
            )
        }
        GroupAnswer::Delete(delete) => {
            format!("delete {}={}", delete.group_id, error(delete.error_code))
        }
        GroupAnswer::Describe(group) => {
            let members = group.members.iter().map(|member| {
                let instance = member
                    .group_instance_id
                    .as_deref()
                    .map_or(String::new(), |i| format!("/{i}"));
                let (metadata, assignment) = (
                    text(&member.member_metadata),
                    text(&member.member_assignment),
                );
                format!(
                    "{}{instance}@{}:{metadata}>{assignment}",
                    member.member_id, member.client_host
                )
            });
            let members: Vec<String> = members.collect();
            format!(
                "describe {} {} {} type={} protocol={} members=[{}]",
                error(group.error_code),
                group.group_id,
                group.group_state,
                group.protocol_type,
                group.protocol_data,
                members.join(" "),
            )
        }
        GroupAnswer::List(Err(code)) => format!("list {}", code.name()),
        GroupAnswer::List(Ok(groups)) => {
            let groups = groups.iter().map(|group| {
                format!(
                    " {}:{}:{}:{}",
                    group.group_id, group.protocol_type, group.group_state, group.group_type
                )
            });
            format!("list{}", groups.collect::<String>())
        }
    }
}
