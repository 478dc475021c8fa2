//! Settings of single listeners: `listener.name.NAME.SETTING`, where Kafka has such.

use std::borrow::Cow;

use millstream_metadata::{
    BrokerConfigDef, ConfigRange, ConfigType, LISTENER_PREFIX, kafka_broker_config,
};

use super::nearest::{Suggestion, nearest};
use super::setting::{self, Setting};

const fn of(name: &'static str, doc: &'static str) -> Setting {
    Setting {
        name,
        type_: ConfigType::Int,
        default: "2147483647",
        range: ConfigRange::AtLeast(0),
        doc,
    }
}

/// The settings of a listener that change something.
#[rustfmt::skip] // one line per setting is a table
pub(super) static LIVE: &[Setting] = &[
    of("max.connections", "Connections of this listener that are open at once; one more is closed."),
    of("max.connection.creation.rate", "New connections of this listener in a second; faster ones are accepted later."),
];

/// What Kafka has for single listeners beside TLS and SASL.
const WITHOUT_EFFECT: &[&str] = &[
    "connections.max.reauth.ms",
    "num.network.threads",
    "principal.builder.class",
];

/// A setting of one listener.
pub(super) struct ListenerSetting {
    /// The listener, in small letters.
    pub listener: String,
    /// The whole name, the listener's in small letters.
    pub name: String,
    /// Its type and range.
    pub def: BrokerConfigDef,
    /// Whether it changes anything.
    pub is_live: bool,
}

/// Looks up what follows the prefix. *Errors*: what may have been meant.
pub(super) fn find(rest: &str) -> Result<ListenerSetting, Suggestion> {
    let parts = rest.split_once('.');
    let (listener, setting) = parts
        .filter(|(listener, _)| !listener.is_empty())
        .ok_or(Suggestion::None)?;
    let listener = listener.to_lowercase();
    let live = LIVE.iter().find(|live| live.name == setting);
    let is_live = live.is_some();
    let def = live.map(Setting::def);
    match def.or_else(|| without_effect(setting).copied()) {
        Some(def) => Ok(ListenerSetting {
            name: format!("{LISTENER_PREFIX}{listener}.{setting}"),
            listener,
            def,
            is_live,
        }),
        None => Err(suggest(&listener, setting)),
    }
}

fn without_effect(setting: &str) -> Option<&'static BrokerConfigDef> {
    let is_security = |name: &str| name.starts_with("ssl.") || name.starts_with("sasl.");
    // Each mechanism may have settings of its own: plain.sasl.jaas.config.
    let base = match setting.split_once('.') {
        Some((_mechanism, base)) if base.starts_with("sasl.") => base,
        _ => setting,
    };
    kafka_broker_config(base)
        .filter(|def| is_security(def.name) || WITHOUT_EFFECT.contains(&def.name))
}

fn suggest(listener: &str, setting: &str) -> Suggestion {
    if let Some(whole) = setting::names().find(|name| *name == setting) {
        return Suggestion::OfTheBroker(whole);
    }
    let without_effect = setting::names().filter(|name| without_effect(name).is_some());
    let names = LIVE.iter().map(|live| live.name).chain(without_effect);
    match nearest(setting, names) {
        Some(near) => {
            Suggestion::Similar(Cow::Owned(format!("{LISTENER_PREFIX}{listener}.{near}")))
        }
        None => Suggestion::None,
    }
}
