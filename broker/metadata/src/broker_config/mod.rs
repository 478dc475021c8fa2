//! Configs of a broker: Kafka's names with type and default, and whether each may be changed while the
//! broker runs (KIP-226).
//!
//! The tables are Kafka's. What a broker does differently (other defaults, its own ranges, `millstream.*`)
//! it lays over them ([`BrokerConfigTable::with`]).

mod cluster;
mod groups;
mod logs;
mod security;
mod update;

use std::collections::BTreeMap;

use crate::config_value::{ConfigRange, ConfigType, InvalidConfig, check_value};
use crate::topic_config_def::check_broker_synonym;

pub use update::{LISTENER_PREFIX, UpdateMode, update_mode};
pub(crate) use update::{config_of_listener, is_obeyed_by_listeners};

/// One broker config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub type_: ConfigType,
    /// Its default, as canonical text. `None`: not set.
    pub default: Option<&'static str>,
    /// The values it takes.
    pub range: ConfigRange,
    /// A sentence or two of meaning. Empty where whoever obeys the config says it.
    pub doc: &'static str,
}

impl BrokerConfigDef {
    /// Checks a value and answers its canonical text.
    pub fn check(&self, value: &str) -> Result<String, InvalidConfig> {
        check_broker_synonym(self.name, value)
            .unwrap_or_else(|| check_value(self.name, self.type_, self.range, value))
    }
}

/// A config of Kafka's that changes nothing here unless somebody says so.
const fn def(
    name: &'static str,
    type_: ConfigType,
    default: Option<&'static str>,
    doc: &'static str,
) -> BrokerConfigDef {
    BrokerConfigDef {
        name,
        type_,
        default,
        range: ConfigRange::Any,
        doc,
    }
}

/// A config of Kafka's that is documented where it has its effect.
const fn live(
    name: &'static str,
    type_: ConfigType,
    default: Option<&'static str>,
) -> BrokerConfigDef {
    def(name, type_, default, "")
}

/// Kafka's broker config of this name.
#[must_use]
pub fn kafka_broker_config(name: &str) -> Option<&'static BrokerConfigDef> {
    let find = |table: &'static [BrokerConfigDef]| {
        let position = table.binary_search_by(|def| def.name.cmp(name)).ok()?;
        table.get(position)
    };
    TABLES.into_iter().find_map(find)
}

/// All of Kafka's broker configs.
pub fn kafka_broker_configs() -> impl Iterator<Item = &'static BrokerConfigDef> {
    TABLES.into_iter().flatten()
}

static TABLES: [&[BrokerConfigDef]; 4] = [
    cluster::CONFIGS,
    groups::CONFIGS,
    logs::CONFIGS,
    security::CONFIGS,
];

/// The configs that a broker knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfigTable(BTreeMap<&'static str, BrokerConfigDef>);

impl BrokerConfigTable {
    /// Lays what a broker does differently over its configs.
    #[must_use]
    pub fn with(mut self, own: impl IntoIterator<Item = BrokerConfigDef>) -> BrokerConfigTable {
        self.0.extend(own.into_iter().map(|def| (def.name, def)));
        self
    }

    /// The config of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&BrokerConfigDef> {
        self.0.get(name)
    }

    /// The config of this name, or the one that a name gives for a single listener.
    pub(crate) fn meaning_of(&self, name: &str) -> Option<&BrokerConfigDef> {
        let of_listener = || self.get(config_of_listener(name)?);
        self.get(name).or_else(of_listener)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &BrokerConfigDef> {
        self.0.values()
    }
}

/// Kafka's.
impl Default for BrokerConfigTable {
    fn default() -> BrokerConfigTable {
        let defs = kafka_broker_configs();
        BrokerConfigTable(defs.map(|def| (def.name, *def)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_kafkas_350() {
        for table in TABLES {
            assert!(table.is_sorted_by(|a, b| a.name < b.name));
        }
        for def in kafka_broker_configs() {
            let canonical = def.default.map(|default| (def.check(default), default));
            if let Some((checked, default)) = canonical
                // Java writes the largest one in its own way.
                && def.type_ != ConfigType::Double
            {
                assert_eq!(checked.as_deref(), Ok(default), "{}", def.name);
            }
            assert!(def.doc.is_empty() || def.doc.ends_with('.'), "{}", def.name);
            assert_eq!(kafka_broker_config(def.name), Some(def));
        }
        assert_eq!(kafka_broker_configs().count(), 350);
    }
}
