//! The body of any request in any version: one byte chooses the key, one the version.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_protocol::{ApiKey, dynamic};

fuzz_target!(|data: &[u8]| {
    let [key, version, body @ ..] = data else {
        return;
    };
    let api_key = ApiKey::ALL[usize::from(*key) % ApiKey::ALL.len()];
    let versions = api_key.versions();
    let count = versions.end() - versions.start() + 1;
    let version = versions.start() + i16::from(*version) % count;
    let body = Bytes::copy_from_slice(body);
    millstream_fuzz::message::check(&body, |body| {
        dynamic::reencode_request(api_key, version, body)
    });
});
