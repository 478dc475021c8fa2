//! What the decoder takes and what it refuses: see `wire::Decoder`.

#![allow(clippy::unwrap_used)]

use bytes::{BufMut, Bytes};
use millstream_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::*;
use millstream_protocol::wire::{
    DecodeError, Decoder, EncodeError, Encoder, Message, Records, STRING_BYTES_MAX,
    TAGS_UNKNOWN_MAX,
};

fn encode<'a>(message: &impl Message<'a>, version: i16) -> Bytes {
    let mut encoder = Encoder::default();
    message.encode(&mut encoder, version).unwrap();
    Records::from(encoder.into_parts()).to_bytes()
}

fn decode<'a, M: Message<'a>>(wire: &'a Bytes, version: i16) -> Result<M, DecodeError> {
    M::decode(&mut Decoder::new(wire), version)
}

/// The versions of a message.
fn versions<'a, M: Message<'a>>() -> std::ops::RangeInclusive<i16> {
    M::VERSIONS
}

#[test]
fn metadata_of_100_000_ten_letter_names_fits_in_every_version() {
    let topic = |number| MetadataRequestTopic {
        name: Some(format!("topic{number:05}").into()),
        ..Default::default()
    };
    let request = MetadataRequest {
        topics: Some((0..100_000).map(topic).collect()),
        ..Default::default()
    };
    for version in versions::<MetadataRequest<'_>>() {
        let wire = encode(&request, version);
        let decoded: MetadataRequest<'_> = decode(&wire, version).unwrap();
        assert_eq!(decoded.topics.unwrap().len(), 100_000, "version {version}");
    }
}

#[test]
fn fetch_of_100_000_partitions_fits_in_every_version() {
    let partition = |partition| FetchPartition {
        partition,
        ..Default::default()
    };
    let topic = |partitions| FetchTopic {
        topic: "topic".into(),
        partitions,
        ..Default::default()
    };
    let in_one_topic = vec![topic((0..100_000).map(partition).collect())];
    let in_a_topic_each = (0..100_000).map(|_| topic(vec![partition(0)])).collect();
    for topics in [in_one_topic, in_a_topic_each] {
        let request = FetchRequest {
            topics,
            ..Default::default()
        };
        for version in versions::<FetchRequest<'_>>() {
            let wire = encode(&request, version);
            let decoded: FetchRequest<'_> = decode(&wire, version).unwrap();
            let count: usize = decoded
                .topics
                .iter()
                .map(|topic| topic.partitions.len())
                .sum();
            assert_eq!(count, 100_000, "version {version}");
        }
    }
}

#[test]
fn ten_million_empty_names_are_over_the_budget_and_the_error_names_it() {
    let mut wire = Vec::new();
    wire.put_i32(10_000_000);
    wire.resize(4 + 20_000_000, 0);
    let wire = Bytes::from(wire);
    let error = decode::<MetadataRequest<'_>>(&wire, 0).unwrap_err();
    assert!(matches!(error, DecodeError::OverBudget { .. }), "{error}");
    let text = error.to_string();
    let budget = 64 << 20;
    assert!(16 * wire.len() > budget);
    assert!(
        text.contains(&format!("heap budget of {budget} ")),
        "{text}"
    );
    assert!(text.contains("send less in one request"), "{text}");
}

#[test]
fn a_count_is_compared_with_what_remains_before_the_budget() {
    // Three names of at least two bytes do not fit into five bytes.
    let wire = Bytes::from_static(&[0, 0, 0, 3, 0, 0, 0, 0, 0]);
    let error = decode::<MetadataRequest<'_>>(&wire, 0).unwrap_err();
    let too_many = DecodeError::TooManyElements {
        position: 0,
        count: 3,
        remaining: 5,
    };
    assert_eq!(error, too_many);
    let wire = Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0]);
    let error = decode::<MetadataRequest<'_>>(&wire, 0).unwrap_err();
    assert!(matches!(
        error,
        DecodeError::TooManyElements {
            count: 0x7fff_ffff,
            ..
        }
    ));
}

#[test]
fn of_the_negative_lengths_only_minus_one_is_null() {
    let lengths = [-1, -2, i32::MIN];
    let results = lengths.map(|length| {
        let wire = Bytes::copy_from_slice(&length.to_be_bytes());
        decode::<MetadataRequest<'_>>(&wire, 1).map(|request| request.topics.is_none())
    });
    let refused = |length| DecodeError::BadLength {
        position: 4,
        length,
    };
    let min = i64::from(i32::MIN);
    assert_eq!(results, [Ok(true), Err(refused(-2)), Err(refused(min))]);
    let wire = Bytes::from_static(&[0xff, 0xfe]);
    let error = Decoder::new(&wire).nullable_string(false).unwrap_err();
    assert_eq!(
        error,
        DecodeError::BadLength {
            position: 2,
            length: -2
        }
    );
}

#[test]
fn a_string_has_at_most_32767_bytes_in_both_forms() {
    let longest = "x".repeat(STRING_BYTES_MAX);
    let longer = "x".repeat(STRING_BYTES_MAX + 1);
    for flexible in [false, true] {
        let mut encoder = Encoder::default();
        let refused = encoder.string(&longer, flexible).unwrap_err();
        assert_eq!(refused, EncodeError::StringTooLong(32768));
        encoder.string(&longest, flexible).unwrap();
        let wire = Records::from(encoder.into_parts()).to_bytes();
        assert_eq!(Decoder::new(&wire).string(flexible).unwrap(), longest);
    }
    let mut encoder = Encoder::default();
    encoder.bytes(longer.as_bytes(), true).unwrap();
    let wire = Records::from(encoder.into_parts()).to_bytes();
    let refused = Decoder::new(&wire).string(true).unwrap_err();
    let too_long = DecodeError::StringTooLong {
        position: 0,
        length: 32768,
    };
    assert_eq!(refused, too_long);
}

#[test]
fn a_string_is_utf_8() {
    for invalid in [
        &[1, 0xff][..],
        &[2, 0xc0, 0x80],
        &[3, 0xed, 0xa0, 0x80],
        &[1, 0xc3],
    ] {
        let mut wire = invalid.to_vec();
        wire[0] += 1;
        let refused = Decoder::new(&Bytes::from(wire)).string(true).unwrap_err();
        assert_eq!(refused, DecodeError::NotUtf8 { position: 0 });
    }
}

#[test]
fn a_varint_has_its_shortest_form() {
    let read = |bytes: &[u8]| Decoder::new(&Bytes::copy_from_slice(bytes)).uvarint();
    assert_eq!(read(&[0]), Ok(0));
    assert_eq!(read(&[0x80, 0x01]), Ok(128));
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Ok(u32::MAX));
    let too_long = Err(DecodeError::VarintTooLong { position: 0 });
    assert_eq!(read(&[0x80, 0x00]), too_long);
    assert_eq!(read(&[0x81, 0x80, 0x00]), too_long);
    assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x10]), too_long);
    assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), too_long);
    assert!(matches!(read(&[0x80]), Err(DecodeError::Truncated { .. })));
}

/// A FetchRequest of version 12 or later that ends in these tagged fields.
fn fetch_with_tags(tags: &[u8]) -> Bytes {
    let mut wire = encode(&FetchRequest::default(), 15).to_vec();
    assert_eq!(wire.pop(), Some(0));
    wire.extend_from_slice(tags);
    Bytes::from(wire)
}

#[test]
fn a_known_tag_must_be_valid_in_its_version() {
    let state = [1, 1, 13, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0];
    let wire = fetch_with_tags(&state);
    let request: FetchRequest<'_> = decode(&wire, 15).unwrap();
    assert_eq!(request.replica_state.replica_id, 2);
    // Version 14 has a replica id at the front instead.
    let mut older = vec![0xff; 4];
    older.extend_from_slice(&wire);
    let error = decode::<FetchRequest<'_>>(&Bytes::from(older), 14).unwrap_err();
    let not_valid = DecodeError::TagNotInVersion {
        tag: 1,
        version: 14,
    };
    assert_eq!(error, not_valid);
}

#[test]
fn a_tagged_field_has_the_size_it_says() {
    for (size, difference) in [(12, -1), (14, 1)] {
        let mut tags = vec![1, 1, size];
        tags.extend_from_slice(&[0; 20]);
        let wire = fetch_with_tags(&tags);
        let error = decode::<FetchRequest<'_>>(&wire, 15).unwrap_err();
        let DecodeError::TagSize {
            difference: off, ..
        } = error
        else {
            panic!("{error}");
        };
        assert_eq!(off, difference);
    }
    let wire = fetch_with_tags(&[1, 1, 100]);
    let error = decode::<FetchRequest<'_>>(&wire, 15).unwrap_err();
    assert!(matches!(error, DecodeError::Truncated { missing: 100, .. }));
}

#[test]
fn unknown_tags_are_read_past_up_to_a_limit() {
    for count in [TAGS_UNKNOWN_MAX, TAGS_UNKNOWN_MAX + 1] {
        let mut tags = vec![count as u8];
        for tag in 0..count {
            tags.extend_from_slice(&[50 + tag as u8, 2, 0xff, 0xff]);
        }
        let wire = fetch_with_tags(&tags);
        let result = decode::<FetchRequest<'_>>(&wire, 15);
        match count {
            TAGS_UNKNOWN_MAX => assert_eq!(result, Ok(FetchRequest::default())),
            _ => assert!(matches!(result, Err(DecodeError::TooManyTags { .. }))),
        }
    }
}

#[test]
fn repeated_and_descending_tags_and_trailing_bytes_are_counted_not_refused() {
    let wire = fetch_with_tags(&[3, 60, 0, 60, 0, 50, 0, 0xaa, 0xbb]);
    let mut decoder = Decoder::new(&wire);
    let request = FetchRequest::decode(&mut decoder, 15);
    assert_eq!(request, Ok(FetchRequest::default()));
    assert_eq!(decoder.tags_out_of_order(), 2);
    assert_eq!(decoder.trailing(), 2);
}

#[test]
fn strings_bytes_and_records_are_slices_of_the_frame() {
    let mut encoder = Encoder::default();
    encoder.string("name", true).unwrap();
    encoder.bytes(b"bytes", true).unwrap();
    encoder.bytes(b"records", true).unwrap();
    let wire = Records::from(encoder.into_parts()).to_bytes();
    let mut decoder = Decoder::new(&wire);
    let name = decoder.string(true).unwrap();
    let bytes = decoder.bytes(true).unwrap();
    let records = decoder.records(true).unwrap().to_bytes();
    let frame = wire.as_ptr_range();
    for inside in [name.as_ptr(), bytes.as_ptr(), records.as_ptr()] {
        assert!(frame.contains(&inside));
    }
}
