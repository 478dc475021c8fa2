//! What the administrator changes: which settings to which values, the requests for it, and what their answers
//! say.

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use millstream_protocol::ErrorCode;
use millstream_protocol::messages::alter_client_quotas_request::{
    EntityData, EntryData as QuotaEntry, OpData,
};
use millstream_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use millstream_protocol::messages::alter_user_scram_credentials_request::{
    ScramCredentialDeletion, ScramCredentialUpsertion,
};
use millstream_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use millstream_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, AlterableConfig as IncrementalConfig,
};
use millstream_protocol::messages::update_features_request::FeatureUpdateKey;
use millstream_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterConfigsRequest, AlterConfigsResponse,
    AlterUserScramCredentialsRequest, AlterUserScramCredentialsResponse, CreatePartitionsRequest,
    CreatePartitionsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    UpdateFeaturesRequest, UpdateFeaturesResponse,
};

use crate::sim::checkers::{Change, Name, Place, Settings};
use crate::sim::wire::{code, decode, send};
use crate::sim::world::World;
use crate::sim::{Violation, violation};

pub(super) const TOPIC: &str = "administered";
/// The broker's id.
pub(super) const NODE: &str = "1";
pub(super) const COUNT: Name = (Place::Partitions, "count");
pub(super) const PARTITIONS_MAX: i32 = 3;
/// Kafka's numbers of resources with configs.
pub(super) const TOPIC_RESOURCE: i8 = 2;
pub(super) const BROKER_RESOURCE: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const UPGRADE: i8 = 1;
const SAFE_DOWNGRADE: i8 = 2;

const INCREMENTAL: i16 = 1;
const REPLACE: i16 = 2;
const CREATE_PARTITIONS: i16 = 3;
pub(super) const ALTER_QUOTAS: i16 = 1;
const ALTER_SCRAM: i16 = 0;
const UPDATE_FEATURES: i16 = 2;

/// A config and values for it. None of them deletes a record, or refuses one of another client.
type Config = (&'static str, &'static [&'static str]);

pub(super) const TOPIC_CONFIGS: &[Config] = &[
    ("cleanup.policy", &["delete", "compact"]),
    ("internal.segment.bytes", &["700", "1500"]),
    ("max.message.bytes", &["400", "2000"]),
    ("message.timestamp.after.max.ms", &["5000", "3600000"]),
    ("millstream.durability", &["fsync", "replicated"]),
    ("retention.bytes", &["-1", "100000000"]),
    ("retention.ms", &["-1", "86400000"]),
    ("segment.ms", &["1000", "604800000"]),
];
const DURABILITY: &[Config] = &[("millstream.durability", &["fsync", "replicated"])];
/// Of all brokers, and of the one.
pub(super) const BROKER_CONFIGS: &[Config] = &[
    ("log.message.timestamp.after.max.ms", &["6000", "3600000"]),
    ("log.retention.bytes", &["-1", "200000000"]),
    ("message.max.bytes", &["1000000", "2000000"]),
];
/// A client of the simulation with a quota, sometimes.
pub(super) const VISITOR: &str = "visitor";
/// Types and names. Of the first there is a client; its name comes with a user that nobody is in the second.
pub(super) const ENTITIES: &[&[(&str, &str)]] = &[
    &[("client-id", VISITOR)],
    &[("client-id", VISITOR), ("user", "alice")],
    &[("ip", "10.0.0.77")],
];
const CLIENT_QUOTAS: &[&str] = &["consumer_byte_rate", "producer_byte_rate"];
const IP_QUOTAS: &[&str] = &["connection_creation_rate"];
pub(super) const USERS: [&str; 2] = ["alice", "bob"];
/// Names and numbers.
pub(super) const MECHANISMS: [(&str, i8); 2] = [("SCRAM-SHA-256", 1), ("SCRAM-SHA-512", 2)];
const ITERATIONS: [&str; 3] = ["4096", "5000", "8192"];
/// Features that nothing here asks for, with their highest levels. A cluster begins with these.
pub(super) const FEATURES: [(&str, u64); 2] = [("share.version", 2), ("streams.version", 1)];

/// Which request brings a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Incremental,
    /// All of the topic's own configs at once.
    Replace,
    Partitions,
    Quotas,
    Credentials,
    Features,
}

/// The keys of an entity's quotas.
pub(super) fn quotas(entity: usize) -> &'static [&'static str] {
    match ENTITIES[entity][0].0 {
        "ip" => IP_QUOTAS,
        _ => CLIENT_QUOTAS,
    }
}

/// A change that no possible state refuses.
pub(super) fn draw(world: &World, settings: &Settings) -> (Kind, Change) {
    let drawn = match world.random.below(100) {
        0..=9 => (Kind::Replace, configs_at_once(world)),
        10..=24 => (Kind::Partitions, more_partitions(world, settings)),
        25..=39 => (Kind::Quotas, some_quotas(world)),
        40..=54 => (Kind::Credentials, some_credentials(world, settings)),
        55..=64 => (Kind::Features, some_levels(world, settings)),
        _ => (Kind::Incremental, some_configs(world)),
    };
    match drawn.1.is_empty() {
        true => (Kind::Incremental, some_configs(world)),
        false => drawn,
    }
}

fn one_of<T: Copy>(world: &World, choices: &[T]) -> T {
    choices[world.random.below(choices.len() as u64) as usize]
}

/// A value, or none in some cases.
fn a_value(world: &World, values: &[&str], none_percent: u64) -> Option<String> {
    let value = one_of(world, values).to_owned();
    (!world.random.chance(none_percent)).then_some(value)
}

fn some_configs(world: &World) -> Change {
    let mut change = BTreeMap::new();
    for _ in 0..=world.random.below(3) {
        let (place, configs) = match world.random.below(6) {
            0 => (Place::Brokers, BROKER_CONFIGS),
            1 => (Place::Broker, BROKER_CONFIGS),
            // Most of what goes wrong with it shows by chance only, and seldom.
            2 | 3 => (Place::Topic, DURABILITY),
            _ => (Place::Topic, TOPIC_CONFIGS),
        };
        let (name, values) = one_of(world, configs);
        change.insert((place, name), a_value(world, values, 25));
    }
    change.into_iter().collect()
}

fn configs_at_once(world: &World) -> Change {
    let configs = TOPIC_CONFIGS.iter();
    configs
        .map(|(name, values)| ((Place::Topic, *name), a_value(world, values, 60)))
        .collect()
}

fn more_partitions(world: &World, settings: &Settings) -> Change {
    let counts = settings.values(COUNT).flatten();
    let most: Option<i32> = counts.filter_map(|count| count.parse().ok()).max();
    match most {
        Some(most) if most < PARTITIONS_MAX => {
            let more = 1 + world.random.below((PARTITIONS_MAX - most) as u64) as i32;
            vec![(COUNT, Some((most + more).to_string()))]
        }
        _ => Vec::new(),
    }
}

fn some_quotas(world: &World) -> Change {
    let mut change = BTreeMap::new();
    for _ in 0..=world.random.below(3) {
        let entity = world.random.below(ENTITIES.len() as u64) as usize;
        let key = one_of(world, quotas(entity));
        change.insert(
            (Place::Entity(entity), key),
            a_value(world, &["1000", "2000", "3000"], 30),
        );
    }
    change.into_iter().collect()
}

/// One credential of each user, at most.
fn some_credentials(world: &World, settings: &Settings) -> Change {
    let mut change = Change::new();
    for user in 0..USERS.len() {
        let name = (Place::User(user), one_of(world, &MECHANISMS).0);
        match settings.known(name) {
            Some(Some(_)) if world.random.chance(40) => change.push((name, None)),
            _ if world.random.chance(70) => {
                change.push((name, a_value(world, &ITERATIONS, 0)));
            }
            _ => {}
        }
    }
    change
}

/// Levels that are known to be others now. None is 0.
fn some_levels(world: &World, settings: &Settings) -> Change {
    let mut change = Change::new();
    for (feature, max) in FEATURES {
        let name = (Place::Features, feature);
        let level = world.random.below(max + 1);
        let level = (level > 0).then(|| level.to_string());
        let now = settings.known(name);
        if now.is_some_and(|now| now != level.as_deref()) {
            change.push((name, level));
        }
    }
    change
}

/// Sends the request that makes a change.
pub(super) fn send_change(
    world: &mut World,
    connection: u64,
    settings: &Settings,
    kind: Kind,
    change: &Change,
) -> Result<(), Violation> {
    match kind {
        Kind::Incremental => send(world, connection, INCREMENTAL, &incremental(change)),
        Kind::Replace => send(world, connection, REPLACE, &replace(change)),
        Kind::Partitions => send(world, connection, CREATE_PARTITIONS, &partitions(change)),
        Kind::Quotas => send(world, connection, ALTER_QUOTAS, &alter_quotas(change)),
        Kind::Credentials => send(world, connection, ALTER_SCRAM, &alter_scram(change)),
        Kind::Features => {
            let request = update_features(settings, change);
            send(world, connection, UPDATE_FEATURES, &request)
        }
    }
}

fn incremental(change: &Change) -> IncrementalAlterConfigsRequest<'_> {
    let mut resources: BTreeMap<Place, Vec<IncrementalConfig<'_>>> = BTreeMap::new();
    for ((place, name), value) in change {
        resources
            .entry(*place)
            .or_default()
            .push(IncrementalConfig {
                name: Cow::Borrowed(*name),
                config_operation: if value.is_some() { SET } else { DELETE },
                value: value.as_deref().map(Cow::Borrowed),
            });
    }
    let resources = resources.into_iter().map(|(place, configs)| {
        let (resource_type, resource_name) = match place {
            Place::Brokers => (BROKER_RESOURCE, ""),
            Place::Broker => (BROKER_RESOURCE, NODE),
            _ => (TOPIC_RESOURCE, TOPIC),
        };
        IncrementalResource {
            resource_type,
            resource_name: Cow::Borrowed(resource_name),
            configs,
        }
    });
    IncrementalAlterConfigsRequest {
        resources: resources.collect(),
        ..IncrementalAlterConfigsRequest::default()
    }
}

fn replace(change: &Change) -> AlterConfigsRequest<'_> {
    let set = change.iter().filter(|(_, value)| value.is_some());
    let configs = set.map(|((_, name), value)| AlterableConfig {
        name: Cow::Borrowed(*name),
        value: value.as_deref().map(Cow::Borrowed),
    });
    AlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: Cow::Borrowed(TOPIC),
            configs: configs.collect(),
        }],
        ..AlterConfigsRequest::default()
    }
}

fn partitions(change: &Change) -> CreatePartitionsRequest<'static> {
    let count = change.iter().find_map(|(_, value)| value.as_ref());
    let topic = CreatePartitionsTopic {
        name: Cow::Borrowed(TOPIC),
        count: count.and_then(|count| count.parse().ok()).unwrap_or(0),
        assignments: None,
    };
    CreatePartitionsRequest {
        topics: vec![topic],
        ..CreatePartitionsRequest::default()
    }
}

pub(super) fn alter_quotas(change: &Change) -> AlterClientQuotasRequest<'static> {
    let mut entries: BTreeMap<usize, Vec<OpData<'static>>> = BTreeMap::new();
    for ((place, key), value) in change {
        if let Place::Entity(entity) = place {
            entries.entry(*entity).or_default().push(OpData {
                key: Cow::Borrowed(*key),
                value: value
                    .as_ref()
                    .and_then(|value| value.parse().ok())
                    .unwrap_or(0.0),
                remove: value.is_none(),
            });
        }
    }
    let entries = entries.into_iter().map(|(entity, ops)| {
        let parts = ENTITIES[entity].iter().map(|(one, name)| EntityData {
            entity_type: Cow::Borrowed(*one),
            entity_name: Some(Cow::Borrowed(*name)),
        });
        QuotaEntry {
            entity: parts.collect(),
            ops,
        }
    });
    AlterClientQuotasRequest {
        entries: entries.collect(),
        ..AlterClientQuotasRequest::default()
    }
}

fn alter_scram(change: &Change) -> AlterUserScramCredentialsRequest<'static> {
    let mut request = AlterUserScramCredentialsRequest::default();
    for ((place, mechanism), value) in change {
        let Place::User(user) = place else { continue };
        let name = Cow::Borrowed(USERS[*user]);
        let mechanism = MECHANISMS.iter().find(|(name, _)| name == mechanism);
        let mechanism = mechanism.map_or(0, |(_, number)| *number);
        match value.as_ref().and_then(|value| value.parse().ok()) {
            Some(iterations) => request.upsertions.push(ScramCredentialUpsertion {
                name,
                mechanism,
                iterations,
                salt: Cow::Borrowed(b"salt"),
                salted_password: Cow::Borrowed(&[7; 32]),
            }),
            None => request
                .deletions
                .push(ScramCredentialDeletion { name, mechanism }),
        }
    }
    request
}

fn update_features(settings: &Settings, change: &Change) -> UpdateFeaturesRequest<'static> {
    let level = |value: Option<&str>| value.and_then(|value| value.parse().ok()).unwrap_or(0);
    let updates = change.iter().map(|((place, feature), value)| {
        let now: i16 = level(settings.known((*place, *feature)).flatten());
        let max_version_level = level(value.as_deref());
        FeatureUpdateKey {
            feature: Cow::Borrowed(*feature),
            max_version_level,
            upgrade_type: match max_version_level > now {
                true => UPGRADE,
                false => SAFE_DOWNGRADE,
            },
            ..FeatureUpdateKey::default()
        }
    });
    UpdateFeaturesRequest {
        feature_updates: updates.collect(),
        ..UpdateFeaturesRequest::default()
    }
}

/// The one code that a change was answered with. Its parts are made together, or none is.
pub(super) fn outcome(kind: Kind, answer: &Bytes) -> Result<ErrorCode, Violation> {
    let codes: Vec<i16> = match kind {
        Kind::Incremental => {
            let answer: IncrementalAlterConfigsResponse<'_> =
                decode::<IncrementalAlterConfigsRequest<'_>, _>(answer, INCREMENTAL)?;
            let responses = answer.responses.iter();
            responses.map(|response| response.error_code).collect()
        }
        Kind::Replace => {
            let answer: AlterConfigsResponse<'_> =
                decode::<AlterConfigsRequest<'_>, _>(answer, REPLACE)?;
            let responses = answer.responses.iter();
            responses.map(|response| response.error_code).collect()
        }
        Kind::Partitions => {
            let answer: CreatePartitionsResponse<'_> =
                decode::<CreatePartitionsRequest<'_>, _>(answer, CREATE_PARTITIONS)?;
            answer.results.iter().map(|one| one.error_code).collect()
        }
        Kind::Quotas => {
            let answer: AlterClientQuotasResponse<'_> =
                decode::<AlterClientQuotasRequest<'_>, _>(answer, ALTER_QUOTAS)?;
            answer.entries.iter().map(|one| one.error_code).collect()
        }
        Kind::Credentials => {
            let answer: AlterUserScramCredentialsResponse<'_> =
                decode::<AlterUserScramCredentialsRequest<'_>, _>(answer, ALTER_SCRAM)?;
            answer.results.iter().map(|one| one.error_code).collect()
        }
        Kind::Features => {
            let answer: UpdateFeaturesResponse<'_> =
                decode::<UpdateFeaturesRequest<'_>, _>(answer, UPDATE_FEATURES)?;
            vec![answer.error_code]
        }
    };
    match codes.split_first() {
        Some((first, rest)) if rest.iter().all(|other| other == first) => code(*first),
        _ => violation(format!("{kind:?} is answered with {codes:?}")),
    }
}
