//! Frames, headers, lengths, counts and tags.

use millstream_protocol::ApiKey;
use millstream_protocol::messages::metadata_request::MetadataRequestTopic;
use millstream_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, SaslHandshakeRequest,
    SaslHandshakeResponse,
};

use super::wire::{answered, bare, framed, good, raw, read, uvarint};
use super::{Case, Tell};

pub(super) fn cases() -> Vec<Case> {
    [lengths(), headers(), versions(), counts(), tags(), sasl()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, sent: Vec<u8>) -> Case {
    Case {
        name,
        sent: vec![sent],
        tell: answered(),
    }
}

fn lengths() -> Vec<Case> {
    vec![
        case("frame of length -1", (-1_i32).to_be_bytes().to_vec()),
        case("frame of length -2^31", i32::MIN.to_be_bytes().to_vec()),
        case("frame of length 0", framed(&[])),
        case("frame shorter than a header", framed(&[0, 18, 0])),
        case(
            "frame of 100 MiB announced",
            104_857_600_i32.to_be_bytes().to_vec(),
        ),
        case(
            "frame of 100 MiB and one byte announced",
            104_857_601_i32.to_be_bytes().to_vec(),
        ),
        case("HTTP", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n".to_vec()),
        case("a TLS hello", vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
    ]
}

/// ApiVersions 0, which has no body.
fn with_client_id(client_id: &[u8]) -> Vec<u8> {
    bare(ApiKey::ApiVersions.code(), 0, &[client_id])
}

fn headers() -> Vec<Case> {
    vec![
        case("client id null", with_client_id(&[0xff, 0xff])),
        case("client id of length -2", with_client_id(&[0xff, 0xfe])),
        case(
            "client id longer than the frame",
            with_client_id(&[0, 9, b'x']),
        ),
        case("client id not UTF-8", with_client_id(&[0, 2, b'x', 0xff])),
        case("bytes after the body", with_client_id(b"\x00\x01xtrailing")),
    ]
}

fn versions() -> Vec<Case> {
    let told: fn(i16) -> Tell = |version| {
        Box::new(move |answer| {
            let answer: ApiVersionsResponse<'_> =
                read::<ApiVersionsRequest<'_>, _>(answer, version)?;
            let keys = match &answer.api_keys[..] {
                [only] => format!("only key {}", only.api_key),
                [] => "no keys".to_owned(),
                _ => "all keys".to_owned(),
            };
            Some(format!("error {}, {keys}", answer.error_code))
        })
    };
    let software = |name: &'static str, software: &'static str, version: &'static str| {
        let request = ApiVersionsRequest {
            client_software_name: software.into(),
            client_software_version: version.into(),
            ..ApiVersionsRequest::default()
        };
        Case {
            name,
            sent: vec![good(3, &request)],
            tell: told(3),
        }
    };
    vec![
        case("unknown request", bare(999, 0, &[b"\x00\x00"])),
        case("negative request", bare(-1, 0, &[b"\x00\x00"])),
        case("Metadata 99", bare(3, 99, &[b"\x00\x00\x00"])),
        case("Metadata -1", bare(3, -1, &[b"\x00\x00\x00"])),
        case("Fetch 3", bare(1, 3, &[b"\x00\x00", &[0; 16]])),
        Case {
            name: "ApiVersions 99",
            sent: vec![bare(18, 99, &[b"\x00\x00\x00", b"\x02a\x02b\x00"])],
            tell: told(0),
        },
        software("ApiVersions 3 of a software with a name", "a.b-c", "1"),
        software("ApiVersions 3 of a software without a name", "", "1"),
        software("ApiVersions 3 of a software without a version", "a", ""),
        software("ApiVersions 3 of a software with a space", "a b", "1"),
        software("ApiVersions 3 of a software that ends in a dot", "a.", "1"),
    ]
}

fn metadata(version: i16, body: &[&[u8]]) -> Vec<u8> {
    raw(ApiKey::Metadata, version, body)
}

fn counts() -> Vec<Case> {
    let count = |count: i32| metadata(1, &[&count.to_be_bytes()]);
    // Version 9: compact, with a boolean each for creation and operations behind the topics.
    let compact = |topics: &[u8]| metadata(9, &[topics, &[0, 0, 0, 0]]);
    let long_name = [&uvarint(2)[..], &uvarint(32_769), &[b'x'; 32_768], &[0]].concat();
    vec![
        case("array count -1, which is null", count(-1)),
        case("array count -2", count(-2)),
        case("array count -2^31", count(i32::MIN)),
        case("array count past the frame", count(1000)),
        case("array count 2^31 - 1", count(i32::MAX)),
        case(
            "string of length -2 in an array",
            metadata(1, &[&1_i32.to_be_bytes(), &[0xff, 0xfe]]),
        ),
        case(
            "string not UTF-8",
            metadata(1, &[&1_i32.to_be_bytes(), b"\x00\x02x\xff"]),
        ),
        case("compact array past the frame", compact(&uvarint(1000))),
        case("compact array count 2^32 - 2", compact(&uvarint(u32::MAX))),
        case("compact string of 32768 bytes", compact(&long_name)),
        case(
            "varint of six bytes",
            compact(&[0x80, 0x80, 0x80, 0x80, 0x80, 0]),
        ),
        case("varint padded with a zero", compact(&[0x80, 0])),
        case(
            "a million empty names",
            metadata(1, &[&1_000_000_i32.to_be_bytes(), &[0; 2_000_000]]),
        ),
    ]
}

/// Metadata 9 with these tagged fields in its header.
fn tagged(tags: &[u8]) -> Vec<u8> {
    bare(3, 9, &[b"\x00\x00", tags, &[1, 0, 0, 0, 0]])
}

/// Fetch 12 of nothing with these tagged fields at its end.
fn fetch_tagged(tags: &[u8]) -> Vec<u8> {
    let replica_wait_bytes = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    let isolation_session = [0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let topics_forgotten_rack = [1, 1, 1];
    let body = [
        &replica_wait_bytes[..],
        &isolation_session,
        &topics_forgotten_rack,
        tags,
    ];
    raw(ApiKey::Fetch, 12, &body)
}

fn tags() -> Vec<Case> {
    let many = |count: u32| {
        let each = (0..count).flat_map(|tag| [uvarint(tag + 1000), vec![0]].concat());
        [uvarint(count), each.collect()].concat()
    };
    vec![
        case("unknown tag", tagged(&[1, 99, 2, 7, 7])),
        case("64 unknown tags", tagged(&many(64))),
        case("65 unknown tags", tagged(&many(65))),
        case(
            "tag of more bytes than there are",
            tagged(&[1, 99, 120, 7, 7]),
        ),
        case("the same tag twice", tagged(&[2, 99, 0, 99, 0])),
        case("descending tags", tagged(&[2, 99, 0, 98, 0])),
        case("Fetch 12 without tags", fetch_tagged(&[0])),
        case(
            "Fetch 12 with a known tag",
            fetch_tagged(&[1, 0, 2, 2, b'c']),
        ),
        case(
            "known tag of another size",
            fetch_tagged(&[1, 0, 3, 2, b'c', 0]),
        ),
        case(
            "known tag of a later version",
            fetch_tagged(&[1, 1, 13, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
    ]
}

fn sasl() -> Vec<Case> {
    let request = SaslHandshakeRequest {
        mechanism: "PLAIN".into(),
    };
    let none = MetadataRequest {
        topics: Some(vec![MetadataRequestTopic {
            name: Some("".into()),
            ..MetadataRequestTopic::default()
        }]),
        ..MetadataRequest::default()
    };
    vec![
        Case {
            name: "SaslHandshake where nothing is authenticated",
            sent: vec![good(1, &request)],
            tell: Box::new(|answer| {
                let answer: SaslHandshakeResponse<'_> =
                    read::<SaslHandshakeRequest<'_>, _>(answer, 1)?;
                let mechanisms = answer.mechanisms.len();
                Some(format!(
                    "error {}, {mechanisms} mechanisms",
                    answer.error_code
                ))
            }),
        },
        Case {
            name: "a request after a SaslHandshake that was refused",
            sent: vec![good(1, &request), good(1, &none)],
            tell: answered(),
        },
    ]
}
