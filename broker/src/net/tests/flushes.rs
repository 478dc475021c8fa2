//! Which appends a connection syncs itself. No flusher runs here, so what it leaves to them is not answered.

use millstream_protocol::messages::ProduceRequest;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::records::{BatchBuilder, Codec};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::frame_reader::BUFFER_MIN;
use super::{MIB, QUIET, Server, answer, encode_request};

const TOPIC: &str = "topic";

async fn server() -> Server {
    let server = Server::start(MIB).await;
    server.create(TOPIC, 2);
    server
}

/// An append of a record to each of these partitions.
fn produce(correlation_id: i32, acks: i16, partitions: &[i32]) -> Vec<u8> {
    let mut batch = BatchBuilder::new(Codec::None);
    batch.push(1_700_000_000_000, None, Some(&[7; BUFFER_MIN / 8]), []);
    let records = batch.build(0, -1);
    let to = |index: &i32| PartitionProduceData {
        index: *index,
        records: Some(records.clone().into()),
    };
    let request = ProduceRequest {
        acks,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: TOPIC.into(),
            partition_data: partitions.iter().map(to).collect(),
            ..TopicProduceData::default()
        }],
        ..ProduceRequest::default()
    };
    let frame = encode_request(correlation_id, "test", 9, &request).unwrap();
    frame.parts.concat()
}

async fn is_unanswered(client: &mut TcpStream) -> bool {
    timeout(QUIET, answer(client)).await.is_err()
}

/// A client whose append was answered and waits for a flusher.
async fn client_with_unflushed(server: &Server) -> TcpStream {
    let mut client = server.connect().await;
    client.write_all(&produce(1, 1, &[0])).await.unwrap();
    assert_eq!(answer(&mut client).await.unwrap(), 1);
    assert!(server.node.awaits_flush(0));
    client
}

#[tokio::test]
async fn an_append_that_nothing_is_beside_is_synced_by_its_connection() {
    let server = server().await;
    let mut client = server.connect().await;
    for id in 0..3 {
        client.write_all(&produce(id, -1, &[0])).await.unwrap();
        assert_eq!(answer(&mut client).await.unwrap(), id);
        assert!(!server.node.awaits_flush(0));
    }
}

#[tokio::test]
async fn an_append_that_does_not_wait_is_left_to_the_flushers() {
    let _client = client_with_unflushed(&server().await).await;
}

#[tokio::test]
async fn an_append_with_another_behind_it_is_left_to_the_flushers() {
    let server = server().await;
    let mut client = server.connect().await;
    let both = [produce(1, -1, &[0]), produce(2, -1, &[0])].concat();
    assert!(both.len() < BUFFER_MIN, "they arrive together");
    client.write_all(&both).await.unwrap();
    assert!(is_unanswered(&mut client).await);
}

#[tokio::test]
async fn appends_to_two_partitions_are_left_to_the_flushers() {
    let server = server().await;
    let mut client = server.connect().await;
    client.write_all(&produce(1, -1, &[0, 1])).await.unwrap();
    assert!(is_unanswered(&mut client).await);
}

#[tokio::test]
async fn an_append_beside_a_round_is_left_to_the_flushers() {
    let server = server().await;
    let mut client = client_with_unflushed(&server).await;
    let next = server.node.next_flush(0).unwrap();
    let round = server.node.begin_flush(next, &mut Vec::new()).unwrap();
    client.write_all(&produce(2, -1, &[1])).await.unwrap();
    assert!(is_unanswered(&mut client).await);
    server.node.end_flush(round, Ok(()), &mut Vec::new());
}
