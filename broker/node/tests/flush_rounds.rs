//! Flush rounds beside what else happens to a partition meanwhile.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{NOW, TOKEN, append, batch, create_topic, node, partition};
use millstream_api::Proposal;
use millstream_metadata::TopicToDelete;
use millstream_node::{FlushRound, Node};
use millstream_protocol::records::{BatchHeader, ValidatedBatch};
use millstream_replica::{Acks, Waiter};

/// Appends to the first partition of a topic, and begins the round that makes it durable.
fn begin_round(node: &Node, topic: &str) -> FlushRound {
    let partition = partition(node, topic, 0);
    let waiter = Waiter {
        token: TOKEN,
        slot: 0,
    };
    let batch = batch(NOW.0, 100);
    let validated = ValidatedBatch::trusted(BatchHeader::read(&batch).unwrap());
    let mut locked = partition.lock().unwrap();
    locked
        .handle_append(batch, usize::MAX, &validated, Acks::All, waiter, NOW)
        .unwrap();
    drop(locked);
    assert!(partition.mark_awaits_flush());
    node.queue_flush(Arc::clone(&partition));
    let next = node.next_flush(0).unwrap();
    node.begin_flush(next, &mut Vec::new()).unwrap()
}

fn delete(node: &Node, name: &str) {
    let id = node.broker.view().topic(name).unwrap().id;
    node.propose(Proposal::DeleteTopics {
        token: TOKEN,
        topics: vec![TopicToDelete { name: None, id }],
    });
}

/// The first round of a partition syncs names too, and these may be gone by then.
#[test]
fn a_topic_that_is_deleted_during_its_first_round_takes_nothing_with_it() {
    let node = node(&[]);
    create_topic(&node, common::TOPIC, 1, &[]);
    create_topic(&node, "short", 1, &[]);
    let round = begin_round(&node, "short");
    delete(&node, "short");
    let synced = node.sync(&round);
    assert!(synced.is_ok(), "{synced:?}");
    node.end_flush(round, synced, &mut Vec::new());
    append(&node, batch(NOW.0, 100));
    let kept = partition(&node, common::TOPIC, 0);
    assert!(!kept.is_offline());
    assert_eq!(kept.lock().unwrap().high_watermark().0, 1);
}
