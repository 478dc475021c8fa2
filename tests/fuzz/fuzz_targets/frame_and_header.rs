//! A frame as it comes from a socket: header, then the body of the request it names. An answer's
//! header is read from the same bytes.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_protocol::wire::Decoder;
use millstream_protocol::{ApiKey, dynamic, frame};

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    for api_key in [ApiKey::ApiVersions, ApiKey::Fetch] {
        for version in [0, *api_key.versions().end()] {
            let mut decoder = Decoder::new(&bytes);
            let _ = frame::decode_response_header(&mut decoder, api_key, version);
        }
    }
    let mut decoder = Decoder::new(&bytes);
    let Ok(header) = frame::decode_request_header(&mut decoder) else {
        return;
    };
    let Some(api_key) = ApiKey::from_i16(header.request_api_key) else {
        return;
    };
    let version = header.request_api_version;
    if api_key.versions().contains(&version) {
        let body = bytes.slice(bytes.len() - decoder.trailing()..);
        millstream_fuzz::message::check(&body, |body| {
            dynamic::reencode_request(api_key, version, body)
        });
    }
});
