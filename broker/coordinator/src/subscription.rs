//! Which topics the members of a group with protocol type `consumer` subscribe to. The members'
//! metadata is the clients' own business; this reads it where a rule depends on it, and knows
//! nothing where it cannot.

use std::collections::BTreeSet;

use bytes::Bytes;
use millstream_protocol::messages::ConsumerProtocolSubscription;
use millstream_protocol::wire::{Decoder, Message};

use crate::group::Group;

/// The newest version whose layout we know; later ones only append fields.
const NEWEST_VERSION: i16 = 3;

/// What is known of a group's subscriptions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Subscriptions {
    /// These topics and no others.
    Topics(BTreeSet<String>),
    /// Some member's metadata cannot be read: any topic may be among them.
    Unreadable,
}

impl Subscriptions {
    /// What the members of a group subscribe to under its protocol.
    pub(crate) fn of(group: &Group) -> Subscriptions {
        let Some(protocol) = &group.protocol else {
            return Subscriptions::Unreadable;
        };
        let mut topics = BTreeSet::new();
        for member in group.members.values() {
            match read_topics(&member.metadata_of(protocol)) {
                Some(own) => topics.extend(own),
                None => return Subscriptions::Unreadable,
            }
        }
        Subscriptions::Topics(topics)
    }

    /// Whether a member may read the topic.
    pub(crate) fn may_include(&self, topic: &str) -> bool {
        match self {
            Subscriptions::Topics(topics) => topics.contains(topic),
            Subscriptions::Unreadable => true,
        }
    }
}

fn read_topics(metadata: &Bytes) -> Option<Vec<String>> {
    let version = i16::from_be_bytes(*metadata.first_chunk::<2>()?);
    if version < 0 {
        return None;
    }
    let fields = metadata.slice(2..);
    let subscription = ConsumerProtocolSubscription::decode(
        &mut Decoder::new(&fields),
        version.min(NEWEST_VERSION),
    );
    Some(
        subscription
            .ok()?
            .topics
            .iter()
            .map(ToString::to_string)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_from_every_version() {
        let known: [&[u8]; 3] = [
            b"\x00\x00\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x09",
            b"\x00\x01\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff\x00\x00\x00\x00",
            b"\x00\x07\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00\x00\x05\xff\xffmore",
        ];
        for metadata in known {
            let read = read_topics(&Bytes::copy_from_slice(metadata));
            assert_eq!(read, Some(vec!["t".to_owned()]), "{metadata:?}");
        }
        for metadata in [
            &b""[..],
            b"\x00",
            b"\xff\xff\x00\x00",
            b"\x00\x00\x00\x00\x00\x09",
        ] {
            assert_eq!(
                read_topics(&Bytes::copy_from_slice(metadata)),
                None,
                "{metadata:?}"
            );
        }
    }
}
