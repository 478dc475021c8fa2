//! What is known of a setting: type, default, range, meaning, and whether it changes anything.

use millstream_metadata::{
    ConfigRange, ConfigType, InvalidConfig, check_broker_synonym, check_value,
};

use super::accepted::ACCEPTED;
use super::live::LIVE;

const SECURITY: &str = "TLS, SASL and ACLs come later";
const PROVIDERS: &str = "values are taken as written, there are no config providers yet";
const PER_LISTENER: &str = "settings of single listeners come later";

/// Settings that are refused unless they say the second, which is what holds anyway.
#[rustfmt::skip] // one line per setting is a table
const REFUSED: &[(&str, Option<&str>, &str)] = &[
    ("authorizer.class.name", Some(""), SECURITY),
    ("config.providers", Some(""), PROVIDERS),
    ("connections.max.reauth.ms", Some("0"), SECURITY),
    ("delegation.token.expiry.check.interval.ms", None, SECURITY),
    ("delegation.token.expiry.time.ms", None, SECURITY),
    ("delegation.token.max.lifetime.ms", None, SECURITY),
    ("delegation.token.secret.key", None, SECURITY),
    ("principal.builder.class", None, SECURITY),
    ("security.inter.broker.protocol", Some("PLAINTEXT"), SECURITY),
    ("security.providers", None, SECURITY),
    ("ssl.client.auth", Some("none"), SECURITY),
    ("super.users", None, SECURITY),
];

/// Every name that begins so is refused, known to Kafka or not.
const REFUSED_PREFIXES: &[(&str, &str)] = &[
    ("listener.name.", PER_LISTENER),
    ("sasl.", SECURITY),
    ("ssl.", SECURITY),
];

/// A setting that changes something.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name: Kafka's, or `millstream.…`.
    pub name: &'static str,
    /// Its type.
    pub type_: ConfigType,
    /// Its default, as canonical text. Empty: not set.
    pub default: &'static str,
    /// The values it takes.
    pub range: ConfigRange,
    /// One sentence of meaning.
    pub doc: &'static str,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub enum Known {
    /// It changes something.
    Live(&'static Setting),
    /// Kafka's, of this type, without effect yet.
    AcceptedWithoutEffect(&'static str, ConfigType),
    /// Refused for this reason, unless its value is the one given.
    Refused {
        /// Why.
        reason: &'static str,
        /// The value that means the same as not setting it.
        off: Option<&'static str>,
    },
}

/// Looks a name up.
#[must_use]
pub fn find(name: &str) -> Option<Known> {
    if let Some((_, off, reason)) = REFUSED.iter().find(|(refused, ..)| *refused == name) {
        return Some(Known::Refused { reason, off: *off });
    }
    let prefix = REFUSED_PREFIXES
        .iter()
        .find(|(prefix, _)| name.starts_with(prefix));
    if let Some((_, reason)) = prefix {
        return Some(Known::Refused { reason, off: None });
    }
    if let Some(setting) = live(name) {
        return Some(Known::Live(setting));
    }
    let position = ACCEPTED.binary_search_by(|(known, _)| (*known).cmp(name));
    let (name, type_) = ACCEPTED[position.ok()?];
    Some(Known::AcceptedWithoutEffect(name, type_))
}

/// The setting of this name, when it changes something.
#[must_use]
pub fn live(name: &str) -> Option<&'static Setting> {
    LIVE.iter().find(|setting| setting.name == name)
}

/// All names that may be written.
pub fn names() -> impl Iterator<Item = &'static str> {
    let live = LIVE.iter().map(|setting| setting.name);
    live.chain(ACCEPTED.iter().map(|(name, _)| *name))
}

impl Setting {
    /// Checks a value and answers its canonical text.
    pub fn check(&self, value: &str) -> Result<String, InvalidConfig> {
        check_value(self.name, self.type_, self.range, value)
    }
}

/// Checks the value of a setting without effect: it must be one that Kafka takes.
pub(super) fn check_accepted(
    name: &str,
    type_: ConfigType,
    value: &str,
) -> Result<String, InvalidConfig> {
    check_broker_synonym(name, value)
        .unwrap_or_else(|| check_value(name, type_, ConfigRange::Any, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
        assert!(ACCEPTED.is_sorted_by(|a, b| a.0 < b.0));
        for setting in LIVE {
            let is_default_legal = setting.default.is_empty()
                || setting.check(setting.default) == Ok(setting.default.to_owned());
            assert!(is_default_legal, "{}", setting.name);
            assert!(setting.doc.ends_with('.'), "{}", setting.name);
            let found = find(setting.name);
            assert!(matches!(found, Some(Known::Live(_))), "{}", setting.name);
        }
        let mut all: Vec<&str> = names().collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a name stands in two tables");
    }

    #[test]
    fn security_is_refused_whatever_its_name() {
        for name in [
            "sasl.jaas.config",
            "ssl.keystore.location",
            "ssl.not.yet.known",
        ] {
            assert!(matches!(
                find(name),
                Some(Known::Refused {
                    reason: SECURITY,
                    off: None
                })
            ));
        }
        assert!(find("no.such.setting").is_none());
    }
}
