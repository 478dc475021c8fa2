//! Compresses the records of a batch the way Kafka's own producer does.

use std::io::Write;

use super::codec::Codec;
use super::{lz4, snappy, zstandard};

/// Appends `records` to `out`, compressed.
pub fn compress_into(codec: Codec, records: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(records),
        Codec::Gzip => gzip(records, out),
        Codec::Snappy => snappy::compress_into(records, out),
        Codec::Lz4 => lz4::compress_into(records, out),
        Codec::Zstd => zstandard::compress_into(records, out),
    }
}

fn gzip(records: &[u8], out: &mut Vec<u8>) {
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
    encoder
        .write_all(records)
        .and_then(|()| encoder.try_finish())
        .expect("writing to memory does not fail");
}
