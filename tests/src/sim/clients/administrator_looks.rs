//! What the administrator looks at: each kind of setting, as its request shows it. These are answered at once,
//! from what is durable.

use std::borrow::Cow;

use bytes::Bytes;
use millstream_protocol::Request;
use millstream_protocol::messages::describe_configs_request::DescribeConfigsResource;
use millstream_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    DescribeQuorumRequest, DescribeQuorumResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, MetadataRequest, MetadataResponse,
};
use millstream_protocol::wire::Message;

use super::administrator_changes::{
    BROKER_CONFIGS, BROKER_RESOURCE, COUNT, ENTITIES, FEATURES, MECHANISMS, NODE, TOPIC,
    TOPIC_CONFIGS, TOPIC_RESOURCE, USERS, quotas,
};
use crate::sim::checkers::{Change, Place, Settings};
use crate::sim::wire::{decode, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

const DESCRIBE_CONFIGS: i16 = 4;
const DESCRIBE_QUOTAS: i16 = 1;
const DESCRIBE_SCRAM: i16 = 0;
const API_VERSIONS: i16 = 4;
const METADATA: i16 = 13;
const DESCRIBE_QUORUM: i16 = 2;

/// A resource with configs: where they belong, its type and name, whose they are in an answer, and which.
type Resource = (
    Place,
    i8,
    &'static str,
    i8,
    &'static [(&'static str, &'static [&'static str])],
);

/// Kafka's numbers of sources: a topic's own configs, those of all brokers, those of one.
const RESOURCES: [Resource; 3] = [
    (Place::Topic, TOPIC_RESOURCE, TOPIC, 1, TOPIC_CONFIGS),
    (Place::Brokers, BROKER_RESOURCE, "", 3, BROKER_CONFIGS),
    (Place::Broker, BROKER_RESOURCE, NODE, 2, BROKER_CONFIGS),
];

/// What can be looked at.
pub(super) const LOOKS: u64 = 6;

/// Looks at one kind of setting.
pub(super) fn look(
    world: &mut World,
    connection: u64,
    settings: &mut Settings,
    kind: u64,
) -> Result<(), Violation> {
    let shown = match kind {
        0 => configs(world, connection)?,
        1 => quotas_shown(world, connection)?,
        2 => credentials(world, connection)?,
        3 => features(world, connection, settings)?,
        4 => partitions(world, connection, settings)?,
        _ => {
            quorum(world, connection, settings)?;
            Vec::new()
        }
    };
    for (_, value) in &shown {
        world.note(value.as_ref().map_or(0, String::len) as u64);
    }
    settings.see(&shown)
}

fn ask<'m, R: Request + Message<'m>>(
    world: &mut World,
    connection: u64,
    version: i16,
    request: &R,
) -> Result<Bytes, Violation> {
    send(world, connection, version, request)?;
    match world.receive(connection) {
        Some(answer) => Ok(answer),
        None => violation(format!("a {} is not answered at once", R::API_KEY.name())),
    }
}

fn check(what: &str, error: i16) -> Result<(), Violation> {
    match error {
        0 => Ok(()),
        error => violation(format!("{what}: error {error}")),
    }
}

fn configs(world: &mut World, connection: u64) -> Result<Change, Violation> {
    let resources = RESOURCES.iter().map(|(_, resource_type, name, _, known)| {
        let keys = known.iter().map(|(key, _)| Cow::Borrowed(*key));
        DescribeConfigsResource {
            resource_type: *resource_type,
            resource_name: Cow::Borrowed(*name),
            configuration_keys: Some(keys.collect()),
        }
    });
    let request = DescribeConfigsRequest {
        resources: resources.collect(),
        ..DescribeConfigsRequest::default()
    };
    let answer = ask(world, connection, DESCRIBE_CONFIGS, &request)?;
    let answer: DescribeConfigsResponse<'_> =
        decode::<DescribeConfigsRequest<'_>, _>(&answer, DESCRIBE_CONFIGS)?;
    let mut shown = Change::new();
    for (result, (place, _, name, source, known)) in answer.results.iter().zip(&RESOURCES) {
        check(&format!("configs of {name:?}"), result.error_code)?;
        for (key, _) in *known {
            let mut own = result.configs.iter();
            let own = own.find(|config| config.name == *key && config.config_source == *source);
            let value = own.and_then(|config| config.value.as_deref());
            shown.push(((*place, *key), value.map(str::to_owned)));
        }
    }
    Ok(shown)
}

fn quotas_shown(world: &mut World, connection: u64) -> Result<Change, Violation> {
    let request = DescribeClientQuotasRequest::default();
    let answer = ask(world, connection, DESCRIBE_QUOTAS, &request)?;
    let answer: DescribeClientQuotasResponse<'_> =
        decode::<DescribeClientQuotasRequest<'_>, _>(&answer, DESCRIBE_QUOTAS)?;
    check("quotas", answer.error_code)?;
    let entries = answer.entries.unwrap_or_default();
    let mut shown = Change::new();
    for (entity, parts) in ENTITIES.iter().enumerate() {
        let found = entries.iter().find(|entry| {
            entry.entity.len() == parts.len()
                && entry.entity.iter().all(|part| {
                    let name = part.entity_name.as_deref().unwrap_or_default();
                    parts.contains(&(&*part.entity_type, name))
                })
        });
        for key in quotas(entity) {
            let mut values = found.iter().flat_map(|entry| &entry.values);
            let value = values.find(|value| value.key == *key);
            let value = value.map(|value| value.value.to_string());
            shown.push(((Place::Entity(entity), *key), value));
        }
    }
    Ok(shown)
}

fn credentials(world: &mut World, connection: u64) -> Result<Change, Violation> {
    let request = DescribeUserScramCredentialsRequest::default();
    let answer = ask(world, connection, DESCRIBE_SCRAM, &request)?;
    let answer: DescribeUserScramCredentialsResponse<'_> =
        decode::<DescribeUserScramCredentialsRequest<'_>, _>(&answer, DESCRIBE_SCRAM)?;
    check("credentials", answer.error_code)?;
    let mut shown = Change::new();
    for (number, user) in USERS.iter().enumerate() {
        let found = answer.results.iter().find(|result| result.user == *user);
        for (name, mechanism) in MECHANISMS {
            let mut infos = found.iter().flat_map(|result| &result.credential_infos);
            let info = infos.find(|info| info.mechanism == mechanism);
            let iterations = info.map(|info| info.iterations.to_string());
            shown.push(((Place::User(number), name), iterations));
        }
    }
    Ok(shown)
}

fn features(
    world: &mut World,
    connection: u64,
    settings: &mut Settings,
) -> Result<Change, Violation> {
    let request = ApiVersionsRequest {
        client_software_name: Cow::Borrowed("simulated"),
        client_software_version: Cow::Borrowed("1"),
        ..ApiVersionsRequest::default()
    };
    let answer = ask(world, connection, API_VERSIONS, &request)?;
    let answer: ApiVersionsResponse<'_> =
        decode::<ApiVersionsRequest<'_>, _>(&answer, API_VERSIONS)?;
    check("features", answer.error_code)?;
    settings.see_version("the epoch of features", answer.finalized_features_epoch)?;
    let shown = FEATURES.iter().map(|(feature, _)| {
        let mut finalized = answer.finalized_features.iter();
        let found = finalized.find(|finalized| finalized.name == *feature);
        let level = found.map(|finalized| finalized.max_version_level.to_string());
        ((Place::Features, *feature), level)
    });
    Ok(shown.collect())
}

fn partitions(
    world: &mut World,
    connection: u64,
    settings: &mut Settings,
) -> Result<Change, Violation> {
    let topic = MetadataRequestTopic {
        name: Some(Cow::Borrowed(TOPIC)),
        ..MetadataRequestTopic::default()
    };
    let request = MetadataRequest {
        topics: Some(vec![topic]),
        ..MetadataRequest::default()
    };
    let answer = ask(world, connection, METADATA, &request)?;
    let answer: MetadataResponse<'_> = decode::<MetadataRequest<'_>, _>(&answer, METADATA)?;
    let topic = &answer.topics[0];
    check("the administered topic", topic.error_code)?;
    for partition in &topic.partitions {
        let what = format!(
            "the leader epoch of partition {}",
            partition.partition_index
        );
        settings.see_version(&what, i64::from(partition.leader_epoch))?;
    }
    Ok(vec![(COUNT, Some(topic.partitions.len().to_string()))])
}

fn quorum(world: &mut World, connection: u64, settings: &mut Settings) -> Result<(), Violation> {
    let topic = TopicData {
        topic_name: Cow::Borrowed("__cluster_metadata"),
        partitions: vec![PartitionData::default()],
    };
    let request = DescribeQuorumRequest {
        topics: vec![topic],
    };
    let answer = ask(world, connection, DESCRIBE_QUORUM, &request)?;
    let answer: DescribeQuorumResponse<'_> =
        decode::<DescribeQuorumRequest<'_>, _>(&answer, DESCRIBE_QUORUM)?;
    let log = &answer.topics[0].partitions[0];
    check("the quorum", log.error_code)?;
    settings.see_version("the quorum's epoch", i64::from(log.leader_epoch))?;
    settings.see_version("the metadata log's end", log.high_watermark)
}
