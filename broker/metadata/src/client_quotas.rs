//! Changing quotas of clients: what is valid, and what is stored of it (KIP-546).
//!
//! Everything may be stored that Kafka takes; which of it a broker enforces is the broker's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use millstream_protocol::ErrorCode;

use crate::controller::{Controller, Decision};
use crate::image::Image;
use crate::quota_entity::{
    CONSUMER_BYTE_RATE, PRODUCER_BYTE_RATE, QuotaEntity, QuotaEntityType, QuotaValue, Quotas,
};
use crate::record::{ClientQuotaRecord, QuotaEntityRecord, Record};

/// Keys of users and client ids, and whether only whole numbers make sense.
const CLIENT_KEYS: &[(&str, bool)] = &[
    (CONSUMER_BYTE_RATE, true),
    ("controller_mutation_rate", false),
    (PRODUCER_BYTE_RATE, true),
    ("request_percentage", false),
];
/// The keys of addresses.
const IP_KEYS: &[(&str, bool)] = &[("connection_creation_rate", true)];

/// Entities that may have quotas.
const ENTITIES_MAX: usize = 100_000;

/// How far from a whole number a double may be that means one.
const WHOLE_EPSILON: f64 = 1e-6;

/// What a client wants of one entity.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaAlteration {
    /// By the type's name on the wire; `None`: the default.
    pub entity: BTreeMap<String, Option<String>>,
    /// By key; `None` removes the quota.
    pub operations: Vec<(String, Option<f64>)>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaAlterationResult {
    /// The entity as the client named it.
    pub entity: BTreeMap<String, Option<String>>,
    /// What came of it.
    pub result: Result<(), QuotaError>,
}

/// Why a quota is not altered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuotaError {
    /// The entity is nobody.
    #[error("invalid empty client quota entity")]
    Empty,
    /// No quota is for things of this type.
    #[error("unhandled client quota entity type: {0}")]
    UnknownType(String),
    /// A name must not be empty.
    #[error("empty {0} not supported")]
    EmptyName(&'static str),
    /// An address stands alone.
    #[error("invalid quota entity combination: ip stands alone")]
    Combination,
    /// It is no address.
    #[error("{0} is not a valid ip address")]
    InvalidIp(String),
    /// The entity has no quota of this name.
    #[error("invalid configuration key {0}")]
    UnknownKey(String),
    /// The limit is no limit.
    #[error("quota key {0} must be greater than 0, and finite")]
    NotPositive(String),
    /// The limit must be whole.
    #[error("configuration {0} must be a whole number")]
    NotWhole(String),
    /// There are too many entities.
    #[error("{ENTITIES_MAX} entities have quotas, which is the limit")]
    TooMany,
    /// The entity has the key twice, or the request the entity.
    #[error("the request alters this entity, or one of its keys, more than once")]
    Duplicate,
}

impl QuotaError {
    /// The code a client gets.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            QuotaError::TooMany => ErrorCode::PolicyViolation,
            _ => ErrorCode::InvalidRequest,
        }
    }
}

impl Controller {
    /// AlterClientQuotas: each entity on its own. Of one that is named twice the first alteration counts, and
    /// the answer is an error.
    pub fn decide_alter_client_quotas(
        &self,
        image: &Image,
        alterations: &[QuotaAlteration],
        validate_only: bool,
    ) -> Decision<Vec<QuotaAlterationResult>> {
        let mut records = Vec::new();
        let mut places: BTreeMap<&BTreeMap<_, _>, usize> = BTreeMap::new();
        let mut answer: Vec<QuotaAlterationResult> = Vec::new();
        for alteration in alterations {
            if let Some(place) = places.get(&alteration.entity) {
                answer[*place].result = Err(QuotaError::Duplicate);
                continue;
            }
            places.insert(&alteration.entity, answer.len());
            let altered = alter(image, alteration);
            answer.push(QuotaAlterationResult {
                entity: alteration.entity.clone(),
                result: altered.map(|new| records.extend(new.into_iter().map(Into::into))),
            });
        }
        if validate_only {
            records.clear();
        }
        Decision { records, answer }
    }
}

fn alter(
    image: &Image,
    alteration: &QuotaAlteration,
) -> Result<Vec<ClientQuotaRecord>, QuotaError> {
    let mut seen = BTreeSet::new();
    if !alteration
        .operations
        .iter()
        .all(|(key, _)| seen.insert(key))
    {
        return Err(QuotaError::Duplicate);
    }
    let (entity, keys) = check_entity(&alteration.entity)?;
    let present = image.client_quotas().get(&entity);
    if present.is_none() && image.client_quotas().len() >= ENTITIES_MAX {
        return Err(QuotaError::TooMany);
    }
    let mut records = Vec::new();
    for (key, value) in &alteration.operations {
        let value = match value {
            None => None,
            Some(value) => Some(check_value(keys, key, *value)?),
        };
        if present.and_then(|quotas| quotas.get(key)).copied() != value {
            records.push(ClientQuotaRecord {
                entity: entity_record(&entity),
                key: key.clone(),
                value_bits: value.map(|value| value.get().to_bits()),
            });
        }
    }
    Ok(records)
}

/// The records that lead to an entity's quotas.
pub(crate) fn records<'a>(
    entity: &'a QuotaEntity,
    quotas: &'a Quotas,
) -> impl Iterator<Item = Record> + 'a {
    quotas.iter().map(|(key, value)| {
        Record::from(ClientQuotaRecord {
            entity: entity_record(entity),
            key: key.clone(),
            value_bits: Some(value.get().to_bits()),
        })
    })
}

/// Applies a record. *Errors*: why it makes no sense.
pub(crate) fn replay(
    all: &mut BTreeMap<QuotaEntity, Quotas>,
    record: &ClientQuotaRecord,
) -> Result<(), String> {
    let mut entity = QuotaEntity::default();
    for part in &record.entity {
        let one = QuotaEntityType::from_name(&part.entity_type)
            .ok_or_else(|| format!("unknown entity type {}", part.entity_type))?;
        entity.0.insert(one, part.name.clone());
    }
    if entity.0.is_empty() {
        return Err("a quota for nobody".into());
    }
    match record.value_bits.map(f64::from_bits) {
        Some(value) => {
            let value = QuotaValue::new(value).ok_or_else(|| format!("{value} is no quota"))?;
            let quotas = all.entry(entity).or_default();
            quotas.insert(record.key.clone(), value);
        }
        None => {
            let Some(quotas) = all.get_mut(&entity) else {
                return Ok(());
            };
            quotas.remove(&record.key);
            if quotas.is_empty() {
                all.remove(&entity);
            }
        }
    }
    Ok(())
}

fn entity_record(entity: &QuotaEntity) -> Vec<QuotaEntityRecord> {
    let parts = entity.0.iter().map(|(one, name)| QuotaEntityRecord {
        entity_type: one.name().to_owned(),
        name: name.clone(),
    });
    parts.collect()
}

/// Whom it is for, and the keys of such.
type CheckedEntity = (QuotaEntity, &'static [(&'static str, bool)]);

fn check_entity(given: &BTreeMap<String, Option<String>>) -> Result<CheckedEntity, QuotaError> {
    if given.is_empty() {
        return Err(QuotaError::Empty);
    }
    let mut entity = QuotaEntity::default();
    for (type_name, name) in given {
        let one = QuotaEntityType::from_name(type_name)
            .ok_or_else(|| QuotaError::UnknownType(type_name.clone()))?;
        if name.as_ref().is_some_and(String::is_empty) {
            return Err(QuotaError::EmptyName(one.name()));
        }
        entity.0.insert(one, name.clone());
    }
    let Some(ip) = entity.0.get(&QuotaEntityType::Ip) else {
        return Ok((entity, CLIENT_KEYS));
    };
    if entity.0.len() > 1 {
        return Err(QuotaError::Combination);
    }
    // Kafka would ask the name service; a quota for whatever a name stands for today is none.
    match ip {
        Some(ip) if ip.parse::<IpAddr>().is_err() => Err(QuotaError::InvalidIp(ip.clone())),
        _ => Ok((entity, IP_KEYS)),
    }
}

fn check_value(keys: &[(&str, bool)], key: &str, value: f64) -> Result<QuotaValue, QuotaError> {
    let known = keys.iter().find(|(name, _)| *name == key);
    let (_, is_whole) = known.ok_or_else(|| QuotaError::UnknownKey(key.to_owned()))?;
    let limit = QuotaValue::new(value).ok_or_else(|| QuotaError::NotPositive(key.to_owned()))?;
    match *is_whole && (value.round() - value).abs() > WHOLE_EPSILON {
        true => Err(QuotaError::NotWhole(key.to_owned())),
        false => Ok(limit),
    }
}
