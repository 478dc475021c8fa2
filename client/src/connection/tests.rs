#![allow(clippy::unwrap_used)]
//! A connection against a scripted peer on an in-memory pipe, with the clock under control.

use bytes::BytesMut;
use millstream_protocol::frame::encode_response;
use millstream_protocol::messages::api_versions_response::ApiVersion;
use millstream_protocol::messages::{MetadataRequest, MetadataResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex};
use tokio::time::Instant;

use super::*;

/// The broker's end of the pipe.
struct Peer {
    stream: DuplexStream,
}

/// A request as the peer sees it.
struct Seen {
    api_key: i16,
    version: i16,
    correlation_id: i32,
}

impl Peer {
    async fn receive(&mut self) -> Seen {
        let length = self.stream.read_i32().await.unwrap();
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.unwrap();
        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        Seen {
            api_key: number(0),
            version: number(2),
            correlation_id: i32::from_be_bytes(frame[4..8].try_into().unwrap()),
        }
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn answer<'a>(&mut self, seen: &Seen, body: &impl Message<'a>) {
        let api = ApiKey::from_i16(seen.api_key).unwrap();
        let frame = encode_response(seen.correlation_id, api, seen.version, body).unwrap();
        self.send(&frame.parts.concat()).await;
    }

    /// Answers the first request of every connection.
    async fn offer(&mut self) {
        let seen = self.receive().await;
        assert_eq!(seen.api_key, ApiKey::ApiVersions.code());
        self.answer(&seen, &offering()).await;
    }
}

fn offering() -> ApiVersionsResponse<'static> {
    ApiVersionsResponse {
        api_keys: [ApiKey::ApiVersions, ApiKey::Metadata]
            .map(|api| ApiVersion {
                api_key: api.code(),
                min_version: 0,
                max_version: 3,
            })
            .to_vec(),
        ..Default::default()
    }
}

type Ends = (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>);

fn pipe() -> (Ends, Peer) {
    let (ours, theirs) = duplex(1 << 16);
    (tokio::io::split(ours), Peer { stream: theirs })
}

async fn open(config: &ConnectionConfig) -> (Connection, Peer) {
    let ((reader, writer), mut peer) = pipe();
    let connecting = Connection::negotiated(reader, writer, "test:1", config);
    let (connection, ()) = tokio::join!(connecting, peer.offer());
    (connection.unwrap(), peer)
}

fn metadata(controller_id: i32) -> MetadataResponse<'static> {
    MetadataResponse {
        controller_id,
        ..Default::default()
    }
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_its_own_version() {
    let ((reader, writer), mut peer) = pipe();
    let config = ConnectionConfig::default();
    let connecting = Connection::negotiated(reader, writer, "test:1", &config);
    let script = async {
        let seen = peer.receive().await;
        assert_eq!(seen.version, *ApiKey::ApiVersions.versions().end());
        // Error 35 and one entry, ApiVersions 0 to 2, in the layout of version 0.
        let mut frame = BytesMut::from(&[0, 0, 0, 16][..]);
        frame.extend_from_slice(&seen.correlation_id.to_be_bytes());
        frame.extend_from_slice(&[0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 2]);
        peer.send(&frame).await;
        let seen = peer.receive().await;
        assert_eq!(seen.version, 2);
        peer.answer(&seen, &offering()).await;
    };
    let (connection, ()) = tokio::join!(connecting, script);
    let connection = connection.unwrap();
    assert_eq!(
        connection.version_of(ApiKey::Metadata, i16::MAX).unwrap(),
        3
    );
    let missing = connection.version_of(ApiKey::Fetch, i16::MAX).unwrap_err();
    assert!(
        missing.to_string().contains("does not offer Fetch"),
        "{missing}"
    );
}

#[tokio::test]
async fn pipelined_requests_get_their_own_answers() {
    let (connection, mut peer) = open(&ConnectionConfig::default()).await;
    let request = MetadataRequest::default();
    let mut pending = Vec::new();
    for _ in 0..3 {
        pending.push(
            connection
                .submit(&request, 1, Duration::ZERO)
                .await
                .unwrap(),
        );
    }
    for controller in 10..13 {
        let seen = peer.receive().await;
        peer.answer(&seen, &metadata(controller)).await;
    }
    for (controller, pending) in (10..).zip(pending) {
        let answer = pending.await.unwrap();
        let response: MetadataResponse<'_> = answer.decode().unwrap();
        assert_eq!(response.controller_id, controller);
    }
}

#[tokio::test]
async fn past_the_bound_a_request_waits_for_an_answer() {
    let config = ConnectionConfig {
        in_flight_max: 1,
        ..Default::default()
    };
    let (connection, mut peer) = open(&config).await;
    let request = MetadataRequest::default();
    let first = connection
        .submit(&request, 1, Duration::ZERO)
        .await
        .unwrap();
    let mut second = Box::pin(connection.submit(&request, 1, Duration::ZERO));
    tokio::select! {
        biased;
        _ = &mut second => panic!("there is no room"),
        seen = peer.receive() => peer.answer(&seen, &metadata(1)).await,
    }
    first.await.unwrap();
    second.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_ends_the_connection() {
    let (connection, mut peer) = open(&ConnectionConfig::default()).await;
    let request = MetadataRequest::default();
    let pending = connection
        .submit(&request, 1, Duration::ZERO)
        .await
        .unwrap();
    let mut seen = peer.receive().await;
    seen.correlation_id += 1;
    peer.answer(&seen, &metadata(1)).await;
    let error = pending.await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::Malformed { .. }),
        "{error}"
    );
    assert!(!connection.is_open());
}

#[tokio::test]
async fn an_answer_past_the_limit_is_refused_by_its_length() {
    let config = ConnectionConfig {
        answer_bytes_max: 1000,
        ..Default::default()
    };
    let (connection, mut peer) = open(&config).await;
    let request = MetadataRequest::default();
    let pending = connection
        .submit(&request, 1, Duration::ZERO)
        .await
        .unwrap();
    peer.receive().await;
    peer.send(&1001i32.to_be_bytes()).await;
    let error = pending.await.unwrap_err();
    let ConnectionError::AnswerTooLarge { length, limit, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((length, limit), (1001, 1000));
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_is_an_error_of_its_request_alone() {
    let (connection, mut peer) = open(&ConnectionConfig::default()).await;
    let request = MetadataRequest::default();
    let pending = connection
        .submit(&request, 1, Duration::ZERO)
        .await
        .unwrap();
    let seen = peer.receive().await;
    // A count of 2³¹−1 brokers and nothing behind it.
    let mut frame = vec![0, 0, 0, 8];
    frame.extend_from_slice(&seen.correlation_id.to_be_bytes());
    frame.extend_from_slice(&i32::MAX.to_be_bytes());
    peer.send(&frame).await;
    let answer = pending.await.unwrap();
    let error = answer.decode::<MetadataResponse<'_>>().unwrap_err();
    assert!(matches!(error, ConnectionError::Decode { .. }), "{error}");
    assert!(connection.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_ends_the_connection_and_everything_on_it() {
    let config = ConnectionConfig {
        request_timeout: Duration::from_secs(5),
        ..Default::default()
    };
    let (connection, mut peer) = open(&config).await;
    let request = MetadataRequest::default();
    let start = Instant::now();
    let patient = connection
        .submit(&request, 1, Duration::from_secs(60))
        .await
        .unwrap();
    let pending = connection
        .submit(&request, 1, Duration::from_secs(1))
        .await
        .unwrap();
    peer.receive().await;
    let error = pending.await.unwrap_err();
    let ConnectionError::RequestTimeout { after, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(after, Duration::from_secs(6));
    assert!(start.elapsed() < Duration::from_secs(7));
    assert!(patient.await.is_err());
    let closed = connection.call(&request).await.unwrap_err();
    assert!(closed.is_retriable(), "{closed}");
}

#[tokio::test]
async fn a_closed_connection_names_each_request_that_waited() {
    let (connection, mut peer) = open(&ConnectionConfig::default()).await;
    let request = MetadataRequest::default();
    let pending = connection
        .submit(&request, 1, Duration::ZERO)
        .await
        .unwrap();
    peer.receive().await;
    drop(peer);
    let error = pending.await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "test:1 closed the connection before it answered Metadata"
    );
}
