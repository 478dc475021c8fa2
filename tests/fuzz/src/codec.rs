//! What must hold for every codec.

use millstream_protocol::records::Codec;
use millstream_protocol::records::compress::compress_into;
use millstream_protocol::records::decompress::{Decompressor, decompress};
use millstream_protocol::records::output_cap;

/// Any bytes are refused or decompressed, never past the cap, and the same as a whole and in
/// pieces; and any bytes that are compressed come back. So are compressed bytes with one of them
/// changed, which get deeper into a codec than bytes that never were of its form.
pub fn check(codec: Codec, data: &[u8]) {
    check_reading(codec, data);

    let mut compressed = Vec::new();
    compress_into(codec, data, &mut compressed);
    let back = decompress(codec, &compressed).expect("what was compressed can be read");
    assert!(back == data, "other bytes came back");

    if let [high, low, byte, ..] = *data {
        let at = usize::from(u16::from_be_bytes([high, low])) % compressed.len();
        compressed[at] = byte;
        check_reading(codec, &compressed);
    }
}

fn check_reading(codec: Codec, data: &[u8]) {
    let whole = decompress(codec, data);
    if let Ok(bytes) = &whole {
        assert!(bytes.len() <= output_cap(data.len()), "more than the cap");
    }
    assert!(in_pieces(codec, data) == whole.ok(), "pieces differ");
}

fn in_pieces(codec: Codec, data: &[u8]) -> Option<Vec<u8>> {
    let mut stream = Decompressor::new(codec, data).ok()?;
    let mut piece = vec![0; 1 + data.len() % 5000];
    let mut out = Vec::new();
    loop {
        match stream.read(&mut piece).ok()? {
            0 => return Some(out),
            count => out.extend_from_slice(&piece[..count]),
        }
    }
}
