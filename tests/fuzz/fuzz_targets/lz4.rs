//! The codec lz4: see [`millstream_fuzz::codec::check`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use millstream_protocol::records::Codec;

fuzz_target!(|data: &[u8]| millstream_fuzz::codec::check(Codec::Lz4, data));
