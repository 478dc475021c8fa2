//! Configs of client metrics subscriptions (KIP-714): which metrics clients are asked to push, how often, and
//! which clients. They are kept and described; nobody is asked for metrics yet.

use ConfigRange::{Any, Between};
use ConfigType::{Int, List};

use crate::config_value::{ConfigRange, ConfigType, check_value, split_list};

/// One config of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientMetricsConfigDef {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub type_: ConfigType,
    /// Its default, as canonical text.
    pub default: &'static str,
    /// The values it takes.
    pub range: ConfigRange,
    /// A sentence of meaning.
    pub doc: &'static str,
}

const fn def(
    name: &'static str,
    type_: ConfigType,
    default: &'static str,
    range: ConfigRange,
    doc: &'static str,
) -> ClientMetricsConfigDef {
    ClientMetricsConfigDef {
        name,
        type_,
        default,
        range,
        doc,
    }
}

/// All of them, by name.
#[rustfmt::skip] // one line per config is a table
pub static CLIENT_METRICS_CONFIGS: &[ClientMetricsConfigDef] = &[
    def("interval.ms", Int, "300000", Between(100, 3_600_000), "How often a client pushes its metrics."),
    def("match", List, "", Any, "Which clients are asked, KEY=PATTERN each; empty: all."),
    def("metrics", List, "", Any, "What the names of the metrics begin with; * means all of them."),
];

/// What clients are told apart by.
const KEYS: &[&str] = &[
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// Why a config of a subscription is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubscription {
    /// No config has this name.
    #[error("unknown config {0} of client metrics: there are interval.ms, match and metrics")]
    Unknown(String),
    /// The interval is out of its range.
    #[error("config interval.ms has the value {0:?}, but must be between 100 and 3600000")]
    Interval(String),
    /// The interval is no number.
    #[error("config interval.ms has the value {0:?}, which is not a whole number of 32 bits")]
    NotANumber(String),
    /// A pattern does not say which clients.
    #[error("config match has the element {0:?}, which is not KEY=PATTERN with a key of {keys}", keys = KEYS.join(", "))]
    Pattern(String),
}

/// The config of this name.
#[must_use]
pub fn client_metrics_config_def(name: &str) -> Option<&'static ClientMetricsConfigDef> {
    CLIENT_METRICS_CONFIGS.iter().find(|def| def.name == name)
}

/// Checks one config and answers its canonical text. Of a pattern only the form is checked, for nothing
/// here matches by it yet.
pub(crate) fn check(name: &str, value: &str) -> Result<String, InvalidSubscription> {
    let shown = |text: &str| text.chars().take(200).collect();
    let def =
        client_metrics_config_def(name).ok_or_else(|| InvalidSubscription::Unknown(shown(name)))?;
    let checked = check_value(def.name, def.type_, def.range, value).map_err(|_| {
        match value.trim().parse::<i32>() {
            Ok(_) => InvalidSubscription::Interval(shown(value)),
            Err(_) => InvalidSubscription::NotANumber(shown(value)),
        }
    })?;
    if def.name == "match" {
        let mut elements = split_list(&checked);
        if let Some(bad) = elements.find(|element| !is_pattern(element)) {
            return Err(InvalidSubscription::Pattern(shown(bad)));
        }
    }
    Ok(checked)
}

fn is_pattern(element: &str) -> bool {
    let mut parts = element.split('=');
    let (key, pattern, rest) = (parts.next(), parts.next(), parts.next());
    let has_key = key.is_some_and(|key| KEYS.contains(&key.trim()));
    has_key && pattern.is_some_and(|pattern| !pattern.is_empty()) && rest.is_none()
}
