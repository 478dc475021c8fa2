//! Large record batches stand beside the encoder's buffer, and all lengths are right all the same.

#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use millstream_protocol::messages::fetch_response::{
    EpochEndOffset, FetchableTopicResponse, PartitionData,
};
use millstream_protocol::messages::*;
use millstream_protocol::wire::{Decoder, Message, Records};
use millstream_protocol::{ApiKey, frame};

/// Two partitions: records, then a tagged field in each.
fn response(records: [Records; 2]) -> FetchResponse<'static> {
    let partition = |records| PartitionData {
        records: Some(records),
        diverging_epoch: EpochEndOffset {
            epoch: 5,
            end_offset: 6,
        },
        ..Default::default()
    };
    FetchResponse {
        responses: vec![FetchableTopicResponse {
            partitions: records.into_iter().map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    }
}

#[test]
fn large_batches_are_shared_and_small_ones_copied() {
    let large = Bytes::from(vec![1; 5000]);
    let second = Bytes::from(vec![2; 3000]);
    let small = Bytes::from(vec![3; 100]);
    let parts = Records::Parts(vec![large.clone(), second.clone()]);
    let message = response([parts, Records::Whole(small)]);
    let frame = frame::encode_response(1, ApiKey::Fetch, 17, &message).unwrap();
    let places: Vec<bool> = frame
        .parts
        .iter()
        .map(|part| [large.as_ptr(), second.as_ptr()].contains(&part.as_ptr()))
        .collect();
    assert_eq!(places, [false, true, true, false]);

    let length = frame.len();
    let whole = Records::from(frame.parts).to_bytes();
    assert_eq!(whole.len(), length);
    assert_eq!(whole[..4], (length as u32 - 4).to_be_bytes());
    let body = whole.slice(4..);
    let mut decoder = Decoder::new(&body);
    assert_eq!(
        frame::decode_response_header(&mut decoder, ApiKey::Fetch, 17),
        Ok(1)
    );
    assert_eq!(FetchResponse::decode(&mut decoder, 17), Ok(message));
    assert_eq!(decoder.trailing(), 0);
}

#[test]
fn a_request_frame_reads_as_itself() {
    let request = HeartbeatRequest {
        group_id: "g".into(),
        generation_id: 4,
        member_id: "m".into(),
        group_instance_id: None,
    };
    for version in ApiKey::Heartbeat.versions() {
        let frame = frame::encode_request(77, "client", version, &request).unwrap();
        let body = Records::from(frame.parts).to_bytes().slice(4..);
        let mut decoder = Decoder::new(&body);
        let header = frame::decode_request_header(&mut decoder).unwrap();
        assert_eq!(header.request_api_key, ApiKey::Heartbeat.code());
        assert_eq!(header.request_api_version, version);
        assert_eq!(header.correlation_id, 77);
        assert_eq!(header.client_id.as_deref(), Some("client"));
        assert_eq!(
            HeartbeatRequest::decode(&mut decoder, version).as_ref(),
            Ok(&request)
        );
        assert_eq!(decoder.trailing(), 0);
    }
}
