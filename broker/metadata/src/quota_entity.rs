//! Whom quotas are for, and which applies to a client (KIP-13, KIP-55, KIP-546).
//!
//! An entity is a user, a client id, both together, or an address; each is named, or is the default, which
//! stands for all that have no quota of their own.

use std::collections::BTreeMap;
use std::fmt;

use crate::image::Image;

/// What a quota can be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuotaEntityType {
    /// Clients of this id.
    ClientId,
    /// Connections from this address.
    Ip,
    /// Clients of this user.
    User,
}

impl QuotaEntityType {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            QuotaEntityType::ClientId => "client-id",
            QuotaEntityType::Ip => "ip",
            QuotaEntityType::User => "user",
        }
    }

    /// The type of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<QuotaEntityType> {
        use QuotaEntityType::{ClientId, Ip, User};
        [ClientId, Ip, User]
            .into_iter()
            .find(|one| one.name() == name)
    }
}

/// Whom a quota is for: by type its name, or `None` for the default. *Bounds*: not empty; an address alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuotaEntity(pub BTreeMap<QuotaEntityType, Option<String>>);

impl QuotaEntity {
    /// The entity of a user and a client id.
    #[must_use]
    pub fn of(user: Option<Option<&str>>, client_id: Option<Option<&str>>) -> QuotaEntity {
        let parts = [
            (QuotaEntityType::User, user),
            (QuotaEntityType::ClientId, client_id),
        ];
        let given = parts.into_iter().filter_map(|(one, name)| {
            let name = name?;
            Some((one, name.map(str::to_owned)))
        });
        QuotaEntity(given.collect())
    }
}

impl fmt::Display for QuotaEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (one, name)) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let name = name.as_deref().unwrap_or("<default>");
            write!(f, "{separator}{} {name}", one.name())?;
        }
        Ok(())
    }
}

/// A limit. *Bounds*: finite and above 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct QuotaValue(f64);

/// It is never NaN.
impl Eq for QuotaValue {}

impl QuotaValue {
    /// The limit, if it is one.
    #[must_use]
    pub fn new(value: f64) -> Option<QuotaValue> {
        (value.is_finite() && value > 0.0).then_some(QuotaValue(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The quotas of one entity, by key.
pub type Quotas = BTreeMap<String, QuotaValue>;

/// Bytes a second that producers may send.
pub const PRODUCER_BYTE_RATE: &str = "producer_byte_rate";
/// Bytes a second that consumers may get.
pub const CONSUMER_BYTE_RATE: &str = "consumer_byte_rate";

/// A part of a question for quotas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotaMatch {
    /// Those of this name; `None`: those of the default.
    Exact(Option<String>),
    /// Those that have any name, or the default.
    Any,
}

/// A question for quotas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaFilter {
    /// By type what must match.
    pub components: BTreeMap<QuotaEntityType, QuotaMatch>,
    /// Whether an entity with other types does not match.
    pub is_strict: bool,
}

impl QuotaFilter {
    /// Whether an entity is among those asked for.
    #[must_use]
    pub fn matches(&self, entity: &QuotaEntity) -> bool {
        if self.is_strict && entity.0.len() != self.components.len() {
            return false;
        }
        self.components.iter().all(|(one, wanted)| {
            let name = entity.0.get(one);
            name.is_some_and(|name| match wanted {
                QuotaMatch::Any => true,
                QuotaMatch::Exact(wanted) => name == wanted,
            })
        })
    }
}

/// A quota that applies to a client, and who shares it.
#[derive(Clone, Debug, PartialEq)]
pub struct AppliedQuota {
    /// The limit.
    pub limit: f64,
    /// Whether each user has it alone.
    pub is_by_user: bool,
    /// Whether each client id has it alone.
    pub is_by_client_id: bool,
}

impl Image {
    /// The one quota of this key that applies to a client, if there is one: the first in Kafka's order, from
    /// its user together with its client id down to the default client id.
    #[must_use]
    pub fn quota_of(&self, key: &str, user: &str, client_id: &str) -> Option<AppliedQuota> {
        let quotas = self.client_quotas();
        if quotas.is_empty() {
            return None;
        }
        let (user, client_id) = (Some(Some(user)), Some(Some(client_id)));
        let default = Some(None);
        let order = [
            (user, client_id),
            (user, default),
            (user, None),
            (default, client_id),
            (default, default),
            (default, None),
            (None, client_id),
            (None, default),
        ];
        order.into_iter().find_map(|(user, client_id)| {
            let limit = quotas.get(&QuotaEntity::of(user, client_id))?.get(key)?;
            Some(AppliedQuota {
                limit: limit.get(),
                is_by_user: user.is_some(),
                is_by_client_id: client_id.is_some(),
            })
        })
    }
}
