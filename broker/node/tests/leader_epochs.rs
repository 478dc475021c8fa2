//! OffsetForLeaderEpoch, through starts that each lead in a new epoch.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::connection::{Connection, read};
use common::{append, batch, create, node_on};
use millstream_env::sim::{SimClock, SimDisk};
use millstream_model::WallTime;
use millstream_node::Node;
use millstream_protocol::messages::OffsetForLeaderEpochResponse;
use millstream_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

const NOW: WallTime = WallTime(1_700_000_000_000);

/// Error, epoch and end for a question in the newest version; `current` is −1 for any.
fn ask(node: &Node, partition: i32, current: i32, epoch: i32) -> (i16, i32, i64) {
    let mut answers = Vec::new();
    for version in 2..=4 {
        let mut client = Connection::new(node, 1);
        let asked = OffsetForLeaderPartition {
            partition,
            current_leader_epoch: current,
            leader_epoch: epoch,
        };
        let request = OffsetForLeaderEpochRequest {
            replica_id: -1,
            topics: vec![OffsetForLeaderTopic {
                topic: common::TOPIC.into(),
                partitions: vec![asked],
            }],
        };
        client.send(version, &request).unwrap();
        let bytes = client.receive().unwrap();
        let answer: OffsetForLeaderEpochResponse<'_> =
            read::<OffsetForLeaderEpochRequest<'_>, _>(&bytes, version);
        let found = &answer.topics[0].partitions[0];
        assert_eq!(
            (&*answer.topics[0].topic, found.partition),
            (common::TOPIC, partition)
        );
        answers.push((found.error_code, found.leader_epoch, found.end_offset));
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0]),
        "{answers:?}"
    );
    answers[0]
}

fn epoch_of(node: &Node) -> i32 {
    let view = node.broker.view();
    let partition = view.topic(common::TOPIC).unwrap().partitions[0]
        .lock()
        .unwrap();
    partition.leader_epoch().0
}

#[test]
fn epochs_end_where_the_next_one_s_records_begin() {
    let (disk, clock) = (SimDisk::default(), Arc::new(SimClock::new(NOW)));
    // Records of each life of the broker; the second and the last write none.
    let mut epochs = Vec::new();
    for records in [3, 0, 2, 0] {
        let node = node_on(&disk, &clock, &[]);
        if epochs.is_empty() {
            create(&node, &[]);
            let new = epoch_of(&node);
            assert_eq!(
                ask(&node, 0, new, new),
                (0, new, 0),
                "nothing was written yet"
            );
        }
        for _ in 0..records {
            append(&node, batch(NOW.0, 10));
        }
        epochs.push(epoch_of(&node));
        node.close().unwrap();
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    let node = node_on(&disk, &clock, &[]);
    let now = epoch_of(&node);
    let [first, empty, second, last] = epochs[..] else {
        panic!("four lives")
    };
    for (asked, answer) in [
        (first, (0, first, 3)),
        (empty, (0, first, 3)),
        (second, (0, second, 5)),
        // A position at the end that was learnt in a life without records is still right.
        (last, (0, second, 5)),
        (now, (0, now, 5)),
        (now + 1, (0, -1, -1)),
        (-1, (0, -1, -1)),
    ] {
        assert_eq!(
            ask(&node, 0, now, asked),
            answer,
            "{asked} of {epochs:?}, {now}"
        );
        assert_eq!(ask(&node, 0, -1, asked), answer);
    }
    assert_eq!(ask(&node, 0, last, first), (74, -1, -1), "fenced");
    assert_eq!(ask(&node, 0, now + 1, first), (75, -1, -1), "unknown");
    assert_eq!(ask(&node, 9, now, first), (3, -1, -1));
    // Deleted records take their epochs with them.
    let view = node.broker.view();
    let mut partition = view.topic(common::TOPIC).unwrap().partitions[0]
        .lock()
        .unwrap();
    partition.handle_delete_records(4).unwrap();
    drop(partition);
    assert_eq!(ask(&node, 0, now, first), (0, first, 4));
    assert_eq!(ask(&node, 0, now, second), (0, second, 5));
}
