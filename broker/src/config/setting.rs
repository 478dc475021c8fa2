//! What is known of a setting: type, default, range, meaning, and whether it changes anything.

use millstream_metadata::{
    BrokerConfigDef, ConfigRange, ConfigType, InvalidConfig, check_value, kafka_broker_config,
    kafka_broker_configs,
};

use super::live::LIVE;

const SECURITY: &str = "TLS, SASL and ACLs come later";
const PROVIDERS: &str = "values are taken as written, there are no config providers yet";

/// Settings that are refused unless they say the second, which is what holds anyway: who sets them believes
/// in a protection that is not there, or gives values that nobody would read. What TLS and SASL themselves
/// are set up with is taken without effect, for a listener that has them is refused.
#[rustfmt::skip] // one line per setting is a table
const REFUSED: &[(&str, Option<&str>, &str)] = &[
    ("allow.everyone.if.no.acl.found", Some("true"), SECURITY),
    ("authorizer.class.name", Some(""), SECURITY),
    ("config.providers", Some(""), PROVIDERS),
    ("security.inter.broker.protocol", Some("PLAINTEXT"), SECURITY),
    ("super.users", None, SECURITY),
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
    /// Kafka's, without effect yet.
    AcceptedWithoutEffect(&'static BrokerConfigDef),
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
    if let Some(setting) = live(name) {
        return Some(Known::Live(setting));
    }
    kafka_broker_config(name).map(Known::AcceptedWithoutEffect)
}

/// The setting of this name, when it changes something.
#[must_use]
pub fn live(name: &str) -> Option<&'static Setting> {
    LIVE.iter().find(|setting| setting.name == name)
}

/// All names that may be written, but those of single listeners.
pub fn names() -> impl Iterator<Item = &'static str> {
    let own = LIVE.iter().map(|setting| setting.name);
    let kafkas = kafka_broker_configs().map(|def| def.name);
    own.chain(kafkas.filter(|name| live(name).is_none()))
}

impl Setting {
    /// Checks a value and answers its canonical text.
    pub fn check(&self, value: &str) -> Result<String, InvalidConfig> {
        check_value(self.name, self.type_, self.range, value)
    }

    /// The setting as a config of the broker.
    pub(super) fn def(&self) -> BrokerConfigDef {
        BrokerConfigDef {
            name: self.name,
            type_: self.type_,
            default: Some(self.default).filter(|default| !default.is_empty()),
            range: self.range,
            doc: self.doc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sound() {
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
    fn protection_that_is_not_there_is_refused_and_its_setup_is_not() {
        let refused = |name| matches!(find(name), Some(Known::Refused { .. }));
        assert!(refused("authorizer.class.name"));
        assert!(refused("super.users"));
        for name in ["sasl.jaas.config", "ssl.keystore.location"] {
            let found = find(name);
            assert!(matches!(found, Some(Known::AcceptedWithoutEffect(_))));
        }
        assert!(find("ssl.not.yet.known").is_none());
        assert!(find("no.such.setting").is_none());
    }
}
