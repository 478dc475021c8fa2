//! Which assignment protocols the members of a group can all speak, and which one they choose.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millstream_protocol::messages::join_group_request::JoinGroupRequestProtocol;

/// One protocol of a member, with what the member tells its leader under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: Arc<str>,
    pub(crate) metadata: Bytes,
}

/// Reads a request's list. Of a name that stands twice the first counts.
pub(crate) fn read_protocols(list: &[JoinGroupRequestProtocol<'_>]) -> Vec<Protocol> {
    let mut seen = BTreeSet::new();
    let unique = list
        .iter()
        .filter(|protocol| seen.insert(protocol.name.as_ref()));
    let owned = unique.map(|protocol| Protocol {
        name: protocol.name.as_ref().into(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    owned.collect()
}

/// How many members have each protocol.
#[derive(Debug, Default)]
pub(crate) struct ProtocolCounts {
    counts: BTreeMap<Arc<str>, usize>,
}

impl ProtocolCounts {
    /// A member has these protocols from now on.
    pub(crate) fn add(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.counts.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    /// A member had these protocols until now.
    pub(crate) fn remove(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            let count = self
                .counts
                .get_mut(&protocol.name)
                .expect("the protocol was added");
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&protocol.name);
            }
        }
    }

    /// Whether all `members` members have the protocol.
    pub(crate) fn is_common(&self, name: &str, members: usize) -> bool {
        self.counts.get(name) == Some(&members)
    }

    /// The choice: every member votes for the first of its protocols that all have; most votes win,
    /// of equals the first by name. `None` when there are no members, or they have none in common.
    pub(crate) fn choose<'a>(
        &self,
        members: usize,
        lists: impl Iterator<Item = &'a [Protocol]>,
    ) -> Option<Arc<str>> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for list in lists {
            let first_common = list
                .iter()
                .find(|protocol| self.is_common(&protocol.name, members));
            *votes.entry(&first_common?.name).or_default() += 1;
        }
        let most = *votes.values().max()?;
        let (name, _) = votes.into_iter().find(|(_, count)| *count == most)?;
        Some(name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(members: &[&str]) -> Option<String> {
        let list = |text: &str| -> Vec<Protocol> {
            let protocol = |name: &str| Protocol {
                name: name.into(),
                metadata: Bytes::new(),
            };
            text.split(' ').map(protocol).collect()
        };
        let lists: Vec<Vec<Protocol>> = members.iter().map(|text| list(text)).collect();
        let mut counts = ProtocolCounts::default();
        for list in &lists {
            counts.add(list);
        }
        counts
            .choose(lists.len(), lists.iter().map(Vec::as_slice))
            .map(|name| name.to_string())
    }

    #[test]
    fn the_choice_is_common_to_all_and_has_most_votes() {
        let table: [(&[&str], Option<&str>); 7] = [
            (&[], None),
            (&["range"], Some("range")),
            (&["sticky range", "range"], Some("range")),
            (
                &["sticky range", "range sticky", "sticky range"],
                Some("sticky"),
            ),
            (&["sticky range", "range sticky"], Some("range")),
            (
                &["new sticky range", "range sticky", "sticky range"],
                Some("sticky"),
            ),
            (&["range", "sticky"], None),
        ];
        for (members, expected) in table {
            assert_eq!(choose(members).as_deref(), expected, "{members:?}");
        }
    }

    #[test]
    fn a_protocol_named_twice_counts_once() {
        let protocol = |name: &'static str| JoinGroupRequestProtocol {
            name: name.into(),
            ..JoinGroupRequestProtocol::default()
        };
        let read = read_protocols(&[protocol("a"), protocol("b"), protocol("a")]);
        assert_eq!(
            read.iter().map(|p| &*p.name).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }
}
