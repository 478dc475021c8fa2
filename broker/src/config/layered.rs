//! Settings as given, checked one by one, the winning layer kept: defaults < file < environment <
//! `--set` < flags.

use std::collections::BTreeMap;

use millstream_metadata::{Configs, LISTENER_PREFIX, check_value};

use super::error::ConfigError;
use super::nearest::{Suggestion, suggest};
use super::of_listener::{self, ListenerSetting};
use super::origin::{Entry, Origin};
use super::setting::{self, Known};

/// Names for one thing. The first that is set counts, unless a later one was set in a higher layer.
const SAME_THING: &[&[&str]] = &[
    &["node.id", "broker.id"],
    &["log.dirs", "log.dir"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &[
        "log.retention.ms",
        "log.retention.minutes",
        "log.retention.hours",
    ],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// A setting that was given.
#[derive(Clone, Debug)]
pub(super) struct Given {
    /// Its checked value as canonical text.
    pub value: String,
    /// Where.
    pub origin: Origin,
}

/// All settings that were given, and the defaults of the others.
#[derive(Debug, Default)]
pub(super) struct Layered {
    given: BTreeMap<&'static str, Given>,
    /// Those of single listeners, with the listener, by their whole names.
    of_listeners: BTreeMap<String, (String, Given)>,
    without_effect: Vec<String>,
}

impl Layered {
    /// Takes the entries of all layers, lowest first.
    pub fn new(entries: Vec<Entry>) -> Result<Layered, ConfigError> {
        let mut layered = Layered::default();
        for entry in entries {
            layered.take(entry)?;
        }
        if layered.text("broker.id") == "-1" {
            layered.given.remove("broker.id");
        }
        layered.check_ids_agree()?;
        for names in SAME_THING {
            layered.keep_one(names);
        }
        Ok(layered)
    }

    fn take(&mut self, entry: Entry) -> Result<(), ConfigError> {
        let Entry {
            name,
            value,
            origin,
        } = entry;
        let value = value.trim();
        if let Some(rest) = name.strip_prefix(LISTENER_PREFIX) {
            return match of_listener::find(rest) {
                Ok(setting) => self.take_of_listener(setting, value, origin),
                Err(suggestion) => Err(unknown(&name, origin, suggestion)),
            };
        }
        let (name, checked) = match setting::find(&name) {
            None => return Err(unknown(&name, origin, suggest(&name))),
            // The value may be a password: it is not shown.
            Some(Known::Refused { off, .. }) if off == Some(value) => return Ok(()),
            Some(Known::Refused { reason, .. }) => {
                return Err(ConfigError::Refused {
                    name,
                    origin,
                    reason,
                });
            }
            Some(Known::Live(setting)) => (setting.name, setting.check(value)),
            Some(Known::AcceptedWithoutEffect(def)) => {
                self.without_effect.push(def.name.to_owned());
                (def.name, def.check(value))
            }
        };
        match checked {
            Ok(value) => self.given.insert(name, Given { value, origin }),
            Err(source) => return Err(ConfigError::Invalid { origin, source }),
        };
        Ok(())
    }

    fn take_of_listener(
        &mut self,
        setting: ListenerSetting,
        value: &str,
        origin: Origin,
    ) -> Result<(), ConfigError> {
        let ListenerSetting {
            listener,
            name,
            def,
            is_live,
        } = setting;
        if !is_live {
            self.without_effect.push(name.clone());
        }
        match check_value(&name, def.type_, def.range, value) {
            Ok(value) => {
                let given = Given { value, origin };
                self.of_listeners.insert(name, (listener, given));
                Ok(())
            }
            Err(source) => Err(ConfigError::Invalid { origin, source }),
        }
    }

    /// Settings of single listeners are for these, whose names may be in capitals.
    pub fn check_listeners(&self, names: &[&str]) -> Result<(), ConfigError> {
        let is_there = |listener: &str| names.iter().any(|name| name.to_lowercase() == listener);
        let mut settings = self.of_listeners.iter();
        match settings.find(|(_, (listener, _))| !is_there(listener)) {
            None => Ok(()),
            Some((name, (_, given))) => {
                let suggestion = Suggestion::NoSuchListener(names.join(", "));
                Err(unknown(name, given.origin.clone(), suggestion))
            }
        }
    }

    /// Kafka's rule: who sets both names of the broker's id sets them alike.
    fn check_ids_agree(&self) -> Result<(), ConfigError> {
        let (Some(new), Some(old)) = (self.given("node.id"), self.given("broker.id")) else {
            return Ok(());
        };
        if new.value == old.value || new.origin.layer() != old.origin.layer() {
            return Ok(());
        }
        let reason = format!(
            "differs from node.id={} at {}; set only node.id",
            new.value, new.origin
        );
        Err(self.error("broker.id", reason))
    }

    fn keep_one(&mut self, names: &[&'static str]) {
        let layer = |name: &&&str| self.given.get(**name).map(|given| given.origin.layer());
        // The last of equals is the first name, so the search goes backwards.
        let Some(winner) = names.iter().rev().max_by_key(layer).copied() else {
            return;
        };
        self.given
            .retain(|name, _| *name == winner || !names.contains(name));
    }

    /// The setting, when it was given.
    pub fn given(&self, name: &str) -> Option<&Given> {
        self.given.get(name)
    }

    /// The value of a setting of the table, given or by default.
    pub fn text(&self, name: &str) -> &str {
        match self.given.get(name) {
            Some(given) => &given.value,
            None => {
                setting::live(name)
                    .expect("asked only for names of the table")
                    .default
            }
        }
    }

    /// The value of a text that may be left open.
    pub fn optional_text(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|text| !text.is_empty())
    }

    /// The value of a number.
    pub fn number(&self, name: &str) -> i64 {
        self.text(name)
            .parse()
            .expect("values were checked and numbers have defaults")
    }

    /// The value of a number whose range begins at 0 or above.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).expect("the range of sizes begins at 0")
    }

    /// The value of a number that need not be whole.
    pub fn fraction(&self, name: &str) -> f64 {
        self.text(name)
            .parse()
            .expect("values were checked and numbers have defaults")
    }

    /// The value of a switch.
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name) == "true"
    }

    /// What is wrong with a setting that reads well by itself.
    pub fn error(&self, name: &'static str, reason: String) -> ConfigError {
        let origin = self.given(name).map(|given| given.origin.clone());
        ConfigError::Value {
            name,
            value: self.text(name).to_owned(),
            origin: origin.unwrap_or(Origin::Default),
            reason,
        }
    }

    /// All settings that were given.
    pub fn given_configs(&self) -> Configs {
        let given = self.given.iter();
        let given = given.map(|(name, given)| ((*name).to_owned(), given.value.clone()));
        let of_listeners = self.of_listeners.iter();
        let of_listeners =
            of_listeners.map(|(name, (_, given))| (name.clone(), given.value.clone()));
        given.chain(of_listeners).collect()
    }

    /// Names that were given and change nothing, each once.
    pub fn without_effect(&self) -> Vec<String> {
        let mut names = self.without_effect.clone();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn unknown(name: &str, origin: Origin, suggestion: Suggestion) -> ConfigError {
    ConfigError::Unknown {
        name: name.chars().take(200).collect(),
        origin,
        suggestion,
    }
}
