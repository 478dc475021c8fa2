//! What was administered is what is there: configs, quotas, credentials, levels of features, and numbers of
//! partitions.
//!
//! An acknowledged change is there for ever, until another is. A change without an answer is there as a whole
//! or not at all. What was shown once does not come undone, whatever fails afterwards. So there is a set of
//! possible states, each a whole one:
//!
//! ```text
//!   order      a := 1   a := 2, b := 2   look    crash   look
//!   fate       acked    no answer yet    a = 1           b = 2
//!   possible   {1-}     {1-, 22}         {1-, 22}        {22}: the change was made, and a is 2 from now on
//! ```
//!
//! A change that failed with the disk is settled by the next start only: until then the broker answers from what
//! it had, and afterwards from what is on the disk.

use std::collections::BTreeMap;

use crate::sim::{Violation, violation};

/// What a setting belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The administered topic: its own configs.
    Topic,
    /// All brokers: their dynamic configs.
    Brokers,
    /// The broker: its dynamic configs.
    Broker,
    /// An entity with quotas, by its number.
    Entity(usize),
    /// A user with credentials, by his number.
    User(usize),
    /// The cluster: levels of features.
    Features,
    /// The administered topic: how many partitions it has.
    Partitions,
}

/// Names a setting.
pub type Name = (Place, &'static str);

/// All that is set, and nothing else.
pub type State = BTreeMap<Name, String>;

/// A setting's value, or none.
pub type Setting = (Name, Option<String>);

/// What is to be set, or no longer.
pub type Change = Vec<Setting>;

/// A state that may be, and whether the change on its way is in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Possible {
    state: State,
    has_change: bool,
}

/// Settings as clients saw them.
#[derive(Debug)]
pub struct Settings {
    possible: Vec<Possible>,
    /// On its way.
    change: Option<Change>,
    is_unsettled: bool,
    /// Numbers that only rise, by what they count.
    versions: BTreeMap<String, i64>,
    /// Changes that were acknowledged.
    pub acknowledged: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        let nothing = Possible {
            state: State::new(),
            has_change: false,
        };
        Settings {
            possible: vec![nothing],
            change: None,
            is_unsettled: false,
            versions: BTreeMap::new(),
            acknowledged: 0,
        }
    }
}

impl Settings {
    /// A change is sent. One at a time.
    pub fn begin(&mut self, change: Change) {
        self.change = Some(change);
        self.suppose();
    }

    /// The change was acknowledged.
    pub fn acknowledge(&mut self) {
        self.acknowledged += 1;
        self.possible.retain(|possible| possible.has_change);
        self.end_change();
    }

    /// The change failed with the disk: it is made, or it is not.
    pub fn fail(&mut self) {
        self.is_unsettled = true;
        self.end_change();
    }

    /// The broker started again: what is possible no longer changes by itself.
    pub fn restart(&mut self) {
        self.is_unsettled = false;
        self.end_change();
    }

    /// The broker shows these settings. Those with none are not set.
    pub fn see(&mut self, shown: &[Setting]) -> Result<(), Violation> {
        let fits = |possible: &Possible| {
            let mut all = shown.iter();
            all.all(|(name, value)| possible.state.get(name) == value.as_ref())
        };
        if !self.possible.iter().any(fits) {
            let states = self.possible.iter().map(|possible| {
                let differs = |(name, value): &&Setting| possible.state.get(name) != value.as_ref();
                let differing = shown.iter().filter(differs);
                let differing = differing.map(|(name, value)| {
                    format!("{name:?} is {value:?}, not {:?}", possible.state.get(name))
                });
                differing.collect::<Vec<_>>()
            });
            return violation(format!(
                "settings that nobody made: {:?}",
                states.collect::<Vec<_>>()
            ));
        }
        if !self.is_unsettled {
            self.possible.retain(fits);
            self.suppose();
        }
        Ok(())
    }

    /// A number that never goes back, whatever happens in between.
    pub fn see_version(&mut self, what: &str, version: i64) -> Result<(), Violation> {
        let last = self.versions.entry(what.to_owned()).or_insert(version);
        if version < *last {
            return violation(format!("{what} goes back from {last} to {version}"));
        }
        *last = version;
        Ok(())
    }

    /// The value that a setting has in every possible state, or `None` where they differ.
    #[must_use]
    pub fn known(&self, name: Name) -> Option<Option<&str>> {
        let mut values = self.values(name);
        let first = values.next()?;
        values.all(|value| value == first).then_some(first)
    }

    /// The values that a setting may have.
    pub fn values(&self, name: Name) -> impl Iterator<Item = Option<&str>> {
        let states = self.states();
        states.map(move |state| state.get(&name).map(String::as_str))
    }

    /// The states that may be.
    pub fn states(&self) -> impl Iterator<Item = &State> {
        self.possible.iter().map(|possible| &possible.state)
    }

    /// The change may be made from any state that is possible without it.
    fn suppose(&mut self) {
        let Some(change) = &self.change else { return };
        let before: Vec<State> = self
            .possible
            .iter()
            .filter(|possible| !possible.has_change)
            .map(|possible| possible.state.clone())
            .collect();
        for mut state in before {
            for (name, value) in change {
                match value {
                    Some(value) => state.insert(*name, value.clone()),
                    None => state.remove(name),
                };
            }
            self.possible.push(Possible {
                state,
                has_change: true,
            });
        }
        self.possible.sort();
        self.possible.dedup();
    }

    fn end_change(&mut self) {
        self.change = None;
        for possible in &mut self.possible {
            possible.has_change = false;
        }
        self.possible.sort();
        self.possible.dedup();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: Name = (Place::Topic, "a");
    const B: Name = (Place::Topic, "b");

    fn both(value: &str) -> Change {
        [A, B].map(|name| (name, Some(value.to_owned()))).to_vec()
    }

    #[test]
    fn an_acknowledged_change_stays_until_another() {
        let mut settings = Settings::default();
        settings.begin(both("1"));
        settings.acknowledge();
        settings.restart();
        assert!(settings.see(&[(A, None)]).is_err());
        settings.see(&both("1")).unwrap();
        assert_eq!(settings.known(A), Some(Some("1")));
    }

    #[test]
    fn a_change_without_an_answer_is_there_as_a_whole_or_not_at_all() {
        let mut settings = Settings::default();
        settings.begin(both("1"));
        settings.see(&[(A, None)]).unwrap();
        settings.restart();
        settings.see(&[(A, Some("1".to_owned()))]).unwrap();
        assert!(settings.see(&[(B, None)]).is_err(), "half of it");
    }

    #[test]
    fn what_was_shown_does_not_come_undone() {
        let mut settings = Settings::default();
        settings.begin(both("1"));
        settings.see(&both("1")).unwrap();
        settings.restart();
        assert!(settings.see(&[(A, None)]).is_err());
    }

    #[test]
    fn a_change_that_failed_is_settled_by_the_next_start() {
        let mut settings = Settings::default();
        settings.begin(both("1"));
        settings.fail();
        settings.see(&[(A, None)]).unwrap();
        settings.restart();
        settings.see(&both("1")).unwrap();
        assert!(settings.see(&[(A, None)]).is_err());
    }

    #[test]
    fn versions_only_rise() {
        let mut settings = Settings::default();
        settings.see_version("epoch", 3).unwrap();
        settings.see_version("epoch", 3).unwrap();
        assert!(settings.see_version("epoch", 2).is_err());
    }
}
