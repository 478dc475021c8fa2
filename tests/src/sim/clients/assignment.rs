//! What members tell each other through the broker: subscriptions, and the leader's assignment. The
//! broker passes the bytes on; only the rule for expired offsets reads a subscription.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use millstream_protocol::messages::consumer_protocol_assignment::TopicPartition;
use millstream_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use millstream_protocol::wire::{Decoder, Encoder, Message};

use super::{PARTITIONS, TOPIC};
use crate::sim::Violation;

/// Version 0 of both, written as two bytes before them.
const VERSION: i16 = 0;

/// A member's subscription to the topic.
pub(crate) fn subscription() -> Result<Bytes, Violation> {
    to_bytes(&ConsumerProtocolSubscription {
        topics: vec![Cow::Borrowed(TOPIC)],
        ..ConsumerProtocolSubscription::default()
    })
}

/// The assignment of these partitions.
pub(crate) fn assignment(partitions: &[i32]) -> Result<Bytes, Violation> {
    to_bytes(&ConsumerProtocolAssignment {
        assigned_partitions: vec![TopicPartition {
            topic: Cow::Borrowed(TOPIC),
            partitions: partitions.to_vec(),
        }],
        ..ConsumerProtocolAssignment::default()
    })
}

/// The partitions of an assignment. Empty bytes, for a member that the leader did not know, are none.
pub(crate) fn partitions(assignment: &[u8]) -> Result<Vec<i32>, Violation> {
    let bytes = Bytes::copy_from_slice(assignment);
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let fields = bytes.slice(2.min(bytes.len())..);
    let read = ConsumerProtocolAssignment::decode(&mut Decoder::new(&fields), VERSION);
    let assignment = read.map_err(|error| Violation {
        what: format!("an assignment came back changed: {error}"),
    })?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics.flat_map(|topic| topic.partitions.clone()).collect())
}

/// Runs of partitions, the longer ones first: the assignor "range".
pub(crate) fn range(members: usize) -> Vec<Vec<i32>> {
    let (count, members) = (PARTITIONS as usize, members.max(1));
    let mut next = 0;
    let mut runs = Vec::new();
    for member in 0..members {
        let length = count / members + usize::from(member < count % members);
        runs.push((next..next + length as i32).collect());
        next += length as i32;
    }
    runs
}

fn to_bytes<'m>(message: &impl Message<'m>) -> Result<Bytes, Violation> {
    let mut encoder = Encoder::with_capacity(64);
    message
        .encode(&mut encoder, VERSION)
        .map_err(|error| Violation {
            what: format!("a member's bytes cannot be encoded: {error}"),
        })?;
    let mut bytes = BytesMut::from(&VERSION.to_be_bytes()[..]);
    for part in encoder.into_parts() {
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.freeze())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_range_covers_all_partitions_once() {
        assert_eq!(range(1), [[0, 1, 2]]);
        assert_eq!(range(2), [vec![0, 1], vec![2]]);
        assert_eq!(range(4), [vec![0], vec![1], vec![2], vec![]]);
    }

    #[test]
    fn an_assignment_is_read_as_it_was_written() {
        assert_eq!(partitions(&assignment(&[2, 0]).unwrap()).unwrap(), [2, 0]);
        assert_eq!(partitions(&[]).unwrap(), []);
    }
}
