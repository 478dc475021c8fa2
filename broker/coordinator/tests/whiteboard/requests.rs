//! The requests of a script, from its words.

use millstream_coordinator::{
    GroupAnswer, Outcome, ParkedAnswer, RequestContext, split_offset_fetch,
};
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use millstream_protocol::messages::leave_group_request::MemberIdentity;
use millstream_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use millstream_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use millstream_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use millstream_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use millstream_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, SyncGroupRequest,
};

use crate::script::{Board, Line, duration, topic_id, topic_partition};

impl Board {
    pub fn join(&mut self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let protocols = line
            .get("p")
            .unwrap_or("range:sub")
            .split(',')
            .filter(|p| !p.is_empty());
        let protocols = protocols.map(|protocol| {
            let (name, metadata) = protocol.split_once(':').unwrap_or((protocol, ""));
            JoinGroupRequestProtocol {
                name: name.into(),
                metadata: subscription(metadata).into(),
            }
        });
        let request = JoinGroupRequest {
            group_id: line.group().into(),
            session_timeout_ms: line.millis("s", "10s"),
            rebalance_timeout_ms: line.millis("r", "20s"),
            member_id: self.member(line).into(),
            group_instance_id: line.get("i").map(Into::into),
            protocol_type: line.get("type").unwrap_or("consumer").into(),
            protocols: protocols.collect(),
            ..JoinGroupRequest::default()
        };
        let (now, wall) = (self.now(), self.wall());
        let bits = u128::from(self.requests);
        let outcome = self
            .shard
            .handle_join_group(now, wall, context, &request, bits);
        // A new member has an id before an answer tells it.
        let is_refused = |answer: &ParkedAnswer| match &answer.body {
            GroupAnswer::Join(join) if answer.token == context.token => {
                join.error_code != 0 && join.error_code != ErrorCode::MemberIdRequired.code()
            }
            _ => false,
        };
        if request.member_id.is_empty() && !outcome.answers.iter().any(is_refused) {
            let name = line.get("i").unwrap_or(context.client_id);
            self.names
                .add(&format!("{name}-00000000-0000-4000-8000-{bits:012x}"));
        }
        outcome
    }

    pub fn sync(&mut self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let pairs = line.list("a");
        let pairs = pairs.iter().filter_map(|pair| pair.split_once(':'));
        let assignments = pairs.map(|(member, assignment)| SyncGroupRequestAssignment {
            member_id: self.names.full(member).into(),
            assignment: assignment.as_bytes().into(),
        });
        let request = SyncGroupRequest {
            group_id: line.group().into(),
            generation_id: line.number("gen", -1),
            member_id: self.member(line).into(),
            group_instance_id: line.get("i").map(Into::into),
            protocol_type: line.get("type").map(Into::into),
            protocol_name: line.get("name").map(Into::into),
            assignments: assignments.collect(),
        };
        let (now, wall) = (self.now(), self.wall());
        self.shard.handle_sync_group(now, wall, context, &request)
    }

    pub fn beat(&mut self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let request = HeartbeatRequest {
            group_id: line.group().into(),
            generation_id: line.number("gen", -1),
            member_id: self.member(line).into(),
            group_instance_id: line.get("i").map(Into::into),
        };
        let (now, wall) = (self.now(), self.wall());
        self.shard.handle_heartbeat(now, wall, context, &request)
    }

    pub fn leave(&mut self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let named = line.get("m").unwrap_or_default().split(',');
        let members = named.map(|name| {
            let (member, instance) = match name.split_once('/') {
                Some((member, instance)) => (member, Some(instance)),
                None => (name, None),
            };
            MemberIdentity {
                member_id: self.names.full(member).into(),
                group_instance_id: instance.map(Into::into),
                ..MemberIdentity::default()
            }
        });
        let mut request = LeaveGroupRequest {
            group_id: line.group().into(),
            members: members.collect(),
            ..LeaveGroupRequest::default()
        };
        if context.api_version < 3 {
            request.member_id = self.member(line).into();
            request.members.clear();
        }
        let (now, wall) = (self.now(), self.wall());
        self.shard.handle_leave_group(now, wall, context, &request)
    }

    pub fn commit(&mut self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        const OWN: [&str; 7] = ["m", "gen", "i", "v", "keep", "client", "id"];
        let offsets = line.settings.iter().filter(|(key, _)| !OWN.contains(key));
        let topics = offsets.map(|(key, value)| {
            let (topic, partition) = topic_partition(key);
            let (offset, note) = value.split_once(':').unwrap_or((value, ""));
            let topic_id = topic_id(line.number("id", 0)).0;
            let partition = OffsetCommitRequestPartition {
                partition_index: partition,
                committed_offset: offset.parse().expect("an offset"),
                committed_metadata: Some(note.into()),
                ..OffsetCommitRequestPartition::default()
            };
            OffsetCommitRequestTopic {
                name: topic.into(),
                topic_id,
                partitions: vec![partition],
            }
        });
        let request = OffsetCommitRequest {
            group_id: line.group().into(),
            generation_id_or_member_epoch: line.number("gen", -1),
            member_id: self.member(line).into(),
            group_instance_id: line.get("i").map(Into::into),
            retention_time_ms: line.get("keep").map_or(-1, |keep| {
                i64::try_from(duration(keep).as_millis()).expect("a short time")
            }),
            topics: topics.collect(),
        };
        let (now, wall) = (self.now(), self.wall());
        self.shard
            .handle_offset_commit(now, wall, context, &request, &self.topics)
    }

    pub fn fetch(&mut self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let asked: Vec<(&str, i32)> = line.words[1..]
            .iter()
            .filter(|w| **w != "all")
            .map(|w| topic_partition(w))
            .collect();
        let all = line.words.contains(&"all");
        let id = topic_id(line.number("id", 0)).0;
        let request = if context.api_version < 8 {
            let topics = asked
                .iter()
                .map(|(topic, partition)| OffsetFetchRequestTopic {
                    name: (*topic).into(),
                    partition_indexes: vec![*partition],
                });
            OffsetFetchRequest {
                group_id: line.group().into(),
                topics: (!all).then(|| topics.collect()),
                ..OffsetFetchRequest::default()
            }
        } else {
            let topics = asked
                .iter()
                .map(|(topic, partition)| OffsetFetchRequestTopics {
                    name: (*topic).into(),
                    topic_id: id,
                    partition_indexes: vec![*partition],
                });
            let group = OffsetFetchRequestGroup {
                group_id: line.group().into(),
                topics: (!all).then(|| topics.collect()),
                ..OffsetFetchRequestGroup::default()
            };
            OffsetFetchRequest {
                groups: vec![group],
                ..OffsetFetchRequest::default()
            }
        };
        let group = split_offset_fetch(context.api_version, &request).remove(0);
        self.shard
            .handle_offset_fetch(context, &group, &self.topics)
    }

    pub fn list(&self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let filter = |name| line.list(name).into_iter().map(Into::into).collect();
        let request = ListGroupsRequest {
            states_filter: filter("states"),
            types_filter: filter("types"),
        };
        self.shard.handle_list_groups(context, &request)
    }

    pub fn offset_delete(&self, line: &Line<'_>, context: &RequestContext<'_>) -> Outcome {
        let topics = line.words[1..].iter().map(|word| {
            let (topic, partition) = topic_partition(word);
            let partition = OffsetDeleteRequestPartition {
                partition_index: partition,
            };
            OffsetDeleteRequestTopic {
                name: topic.into(),
                partitions: vec![partition],
            }
        });
        let request = OffsetDeleteRequest {
            group_id: line.group().into(),
            topics: topics.collect(),
        };
        self.shard
            .handle_offset_delete(context, &request, &self.topics)
    }

    fn member(&self, line: &Line<'_>) -> String {
        self.names.full(line.get("m").unwrap_or_default())
    }
}

/// `reads-t` is a consumer's subscription to t; anything else stands for itself and is none.
fn subscription(metadata: &str) -> Vec<u8> {
    let Some(topic) = metadata.strip_prefix("reads-") else {
        return metadata.as_bytes().to_vec();
    };
    let length = u8::try_from(topic.len()).expect("a short name");
    let head = [0, 0, 0, 0, 0, 1, 0, length];
    [&head, topic.as_bytes(), &[0, 0, 0, 0]].concat()
}
