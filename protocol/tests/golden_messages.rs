//! Messages as bytes, written out by hand.

#![allow(clippy::unwrap_used)]

use std::borrow::Cow;

use bytes::Bytes;
use millstream_protocol::messages::api_versions_response::{
    ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
};
use millstream_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use millstream_protocol::messages::fetch_request::ReplicaState;
use millstream_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use millstream_protocol::messages::*;
use millstream_protocol::wire::{DecodeError, Decoder, EncodeError, Encoder, Message, Records};
use millstream_protocol::{ApiKey, frame};

/// The bytes of a text of hexadecimal digits.
fn bytes(hex: &str) -> Bytes {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|digit| !digit.is_ascii_whitespace())
        .collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

fn encode<'a>(message: &impl Message<'a>, version: i16) -> Result<Bytes, EncodeError> {
    let mut encoder = Encoder::default();
    message.encode(&mut encoder, version)?;
    Ok(Records::from(encoder.into_parts()).to_bytes())
}

/// `message` is these bytes, and these bytes are `message`, to the last one.
fn assert_is<'a, M>(message: &M, version: i16, wire: &'a Bytes)
where
    M: Message<'a> + PartialEq + std::fmt::Debug,
{
    let ours = encode(message, version).unwrap();
    assert_eq!(&ours[..], &wire[..], "{ours:02x?}");
    let mut decoder = Decoder::new(wire);
    assert_eq!(M::decode(&mut decoder, version).as_ref(), Ok(message));
    assert_eq!(decoder.trailing(), 0);
}

fn api_versions() -> ApiVersionsResponse<'static> {
    let key = |api_key, max_version| ApiVersion {
        api_key,
        min_version: 0,
        max_version,
    };
    ApiVersionsResponse {
        error_code: 35,
        api_keys: vec![key(0, 13), key(18, 4)],
        ..Default::default()
    }
}

#[test]
fn api_versions_response_0_has_an_error_and_an_array() {
    let error_and_count = "0023 00000002";
    let keys = "0000 0000 000d  0012 0000 0004";
    let wire = bytes(&[error_and_count, keys].concat());
    assert_is(&api_versions(), 0, &wire);
}

#[test]
fn api_versions_response_3_has_compact_arrays_and_tag_counts() {
    let message = ApiVersionsResponse {
        throttle_time_ms: 7,
        ..api_versions()
    };
    let error_and_count = "0023 03";
    let keys = "0000 0000 000d 00  0012 0000 0004 00";
    let throttle_and_tags = "00000007 00";
    let wire = bytes(&[error_and_count, keys, throttle_and_tags].concat());
    assert_is(&message, 3, &wire);
}

#[test]
fn api_versions_response_4_has_its_features_in_tagged_fields() {
    let message = ApiVersionsResponse {
        error_code: 0,
        api_keys: Vec::new(),
        supported_features: vec![SupportedFeatureKey {
            name: "ab".into(),
            min_version: 0,
            max_version: 2,
        }],
        finalized_features_epoch: 5,
        finalized_features: vec![FinalizedFeatureKey {
            name: "ab".into(),
            max_version_level: 2,
            min_version_level: 1,
        }],
        ..Default::default()
    };
    let error_keys_throttle = "0000 01 00000000";
    let count = "03";
    let supported = "00 09  02 03 6162 0000 0002 00";
    let epoch = "01 08  0000000000000005";
    let finalized = "02 09  02 03 6162 0002 0001 00";
    let wire = bytes(&[error_keys_throttle, count, supported, epoch, finalized].concat());
    assert_is(&message, 4, &wire);
}

#[test]
fn request_header_1_has_a_client_id_with_a_short_length() {
    let header = RequestHeader {
        request_api_key: 3,
        request_api_version: 1,
        correlation_id: 258,
        client_id: Some("é".into()),
    };
    assert_is(&header, 1, &bytes("0003 0001 00000102 0002 c3a9"));
    let anonymous = RequestHeader {
        client_id: None,
        ..header
    };
    assert_is(&anonymous, 1, &bytes("0003 0001 00000102 ffff"));
}

#[test]
fn request_header_2_keeps_the_short_length_and_adds_tags() {
    let header = RequestHeader {
        request_api_key: 3,
        request_api_version: 12,
        correlation_id: 1,
        client_id: Some("ab".into()),
    };
    assert_is(&header, 2, &bytes("0003 000c 00000001 0002 6162 00"));
}

#[test]
fn a_response_header_is_1_where_the_request_is_flexible_except_for_api_versions() {
    let metadata = MetadataResponse::default();
    let frame = frame::encode_response(9, ApiKey::Metadata, 12, &metadata).unwrap();
    let metadata = Records::from(frame.parts).to_bytes();
    assert_eq!(&metadata[4..9], &bytes("00000009 00")[..]);
    let frame = frame::encode_response(9, ApiKey::ApiVersions, 4, &api_versions()).unwrap();
    let api_versions = Records::from(frame.parts).to_bytes();
    assert_eq!(&api_versions[4..10], &bytes("00000009 0023")[..]);
    for whole in [metadata, api_versions] {
        let length = (whole.len() - 4) as u32;
        assert_eq!(whole[..4], length.to_be_bytes());
    }
}

#[test]
fn produce_request_9_holds_its_batch_as_it_is() {
    let request = |records: Option<Records>| ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            partition_data: vec![PartitionProduceData { index: 2, records }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let records = Records::Whole(Bytes::from_static(b"batch"));
    let head = "00 ffff 00007530 02 02 74 02 00000002";
    let wire = bytes(&[head, "06 6261746368", "00 00 00"].concat());
    assert_is(&request(Some(records)), 9, &wire);
    let wire = bytes(&[head, "00", "00 00 00"].concat());
    assert_is(&request(None), 9, &wire);
}

#[test]
fn a_nullable_struct_is_led_by_a_marker() {
    let request = |cursor| DescribeTopicPartitionsRequest {
        topics: vec![TopicRequest { name: "t".into() }],
        response_partition_limit: 1,
        cursor,
    };
    let head = "02 02 74 00 00000001";
    assert_is(&request(None), 0, &bytes(&[head, "ff", "00"].concat()));
    let cursor = Cursor {
        topic_name: "t".into(),
        partition_index: 3,
    };
    let wire = bytes(&[head, "01 02 74 00000003 00", "00"].concat());
    assert_is(&request(Some(cursor)), 0, &wire);
    let other = bytes(&[head, "02 02 74 00000003 00", "00"].concat());
    let error = DescribeTopicPartitionsRequest::decode(&mut Decoder::new(&other), 0);
    let marker = DecodeError::BadMarker {
        position: 8,
        value: 2,
    };
    assert_eq!(error, Err(marker));
}

#[test]
fn a_tagged_struct_has_no_marker_and_is_absent_when_it_is_its_default() {
    let request = |replica_state| FetchRequest {
        replica_state,
        ..Default::default()
    };
    let body = "00000000 00000000 7fffffff 00 00000000 ffffffff 01 01 01";
    let wire = bytes(&[body, "00"].concat());
    assert_is(&request(ReplicaState::default()), 15, &wire);
    let state = ReplicaState {
        replica_id: 2,
        replica_epoch: 3,
    };
    let wire = bytes(&[body, "01 01 0d 00000002 0000000000000003 00"].concat());
    assert_is(&request(state), 15, &wire);
}

#[test]
fn a_value_that_a_version_cannot_carry_is_refused_unless_it_may_be_ignored() {
    let named = |name| TopicProduceData {
        name,
        ..Default::default()
    };
    // The name is ignorable: from version 13 on the id stands for it.
    let request = ProduceRequest {
        topic_data: vec![named(Cow::Borrowed("t"))],
        ..Default::default()
    };
    let with_id = encode(&request, 13).unwrap();
    let decoded = ProduceRequest::decode(&mut Decoder::new(&with_id), 13).unwrap();
    assert_eq!(decoded.topic_data, [named(Cow::Borrowed(""))]);
    // A replica's state is not.
    let request = FetchRequest {
        replica_state: ReplicaState {
            replica_id: 1,
            ..Default::default()
        },
        ..Default::default()
    };
    let error = EncodeError::NotInVersion {
        field: "FetchRequest.ReplicaState",
        version: 14,
    };
    assert_eq!(encode(&request, 14), Err(error));
    assert!(encode(&request, 15).is_ok());
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    // All topics: null since version 1, an empty array before.
    let request = MetadataRequest {
        topics: None,
        ..Default::default()
    };
    assert!(encode(&request, 1).is_ok());
    let error = EncodeError::NotNullable {
        field: "MetadataRequest.Topics",
        version: 0,
    };
    assert_eq!(encode(&request, 0), Err(error));
    let null = bytes("ffffffff");
    let error = MetadataRequest::decode(&mut Decoder::new(&null), 0);
    assert!(matches!(
        error,
        Err(DecodeError::BadLength { length: -1, .. })
    ));
}
