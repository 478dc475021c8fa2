//! Every codec, both ways, and the forms other clients write.

use std::io::Write;

use super::*;
use crate::records::decompress::{Decompressor, decompress};

/// Bytes that compress a little.
fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"abcdefgh"[i * i / 7 % 8]).collect()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn every_codec_gives_back_what_it_took() {
    for codec in Codec::ALL {
        for len in [
            0,
            1,
            100,
            32 << 10,
            (32 << 10) + 1,
            64 << 10,
            (64 << 10) + 1,
            300_000,
        ] {
            for bytes in [text(len), noise(len), vec![0; len]] {
                let mut compressed = b"before".to_vec();
                compress::compress_into(codec, &bytes, &mut compressed);
                assert!(compressed.starts_with(b"before"), "{codec} appends");
                assert_eq!(
                    decompress(codec, &compressed[6..]),
                    Ok(bytes),
                    "{codec} {len}"
                );
            }
        }
    }
}

#[test]
fn a_stream_may_be_read_in_pieces_of_any_size() {
    let bytes = text(200_000);
    for codec in Codec::ALL {
        let mut compressed = Vec::new();
        compress::compress_into(codec, &bytes, &mut compressed);
        for piece in [1, 7, 4096, 1 << 20] {
            let mut stream = Decompressor::new(codec, &compressed).unwrap();
            let mut out = Vec::new();
            let mut buffer = vec![0; piece];
            loop {
                let read = stream.read(&mut buffer).unwrap();
                out.extend_from_slice(&buffer[..read]);
                if read == 0 {
                    break;
                }
            }
            assert!(out == bytes, "{codec} in pieces of {piece}");
            assert_eq!(stream.read(&mut buffer), Ok(0), "{codec} stays at its end");
        }
    }
}

#[test]
fn batches_of_every_codec_pass_validation() {
    let large = noise(500_000);
    let cases: [&[&[u8]]; 4] = [&[b""], &[b"a", b"", b"b"], &[&large], &[b"x", &large, b"y"]];
    for codec in Codec::ALL {
        for values in cases {
            let batch = batch_of(codec, values);
            assert_eq!(code_of(&batch, &rules()), 0, "{codec}");
            let read: Vec<_> = values_of(&batch).into_iter().flatten().collect();
            assert!(read == values, "{codec}");
        }
    }
}

#[test]
fn the_frames_are_those_kafka_writes() {
    let mut snappy = Vec::new();
    compress::compress_into(Codec::Snappy, b"value", &mut snappy);
    let xerial = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x07\x05\x10value";
    assert_eq!(snappy, xerial);

    let mut lz4 = Vec::new();
    compress::compress_into(Codec::Lz4, b"value", &mut lz4);
    let stored = b"\x04\x22\x4d\x18\x60\x40\x82\x05\x00\x00\x80value\x00\x00\x00\x00";
    assert_eq!(lz4, stored);

    let mut zstd = Vec::new();
    compress::compress_into(Codec::Zstd, &text(10_000), &mut zstd);
    assert_eq!(zstd[..5], [0x28, 0xb5, 0x2f, 0xfd, 0x00]);

    let mut gzip = Vec::new();
    compress::compress_into(Codec::Gzip, b"value", &mut gzip);
    assert_eq!(gzip[..3], [0x1f, 0x8b, 8]);
}

#[test]
fn raw_snappy_is_read() {
    let bytes = text(100_000);
    let raw = snap::raw::Encoder::new().compress_vec(&bytes).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw), Ok(bytes));
}

#[test]
fn a_gzip_stream_of_several_members_is_read() {
    let mut compressed = Vec::new();
    compress::compress_into(Codec::Gzip, b"one ", &mut compressed);
    compress::compress_into(Codec::Gzip, b"two", &mut compressed);
    assert_eq!(
        decompress(Codec::Gzip, &compressed),
        Ok(b"one two".to_vec())
    );
}

#[test]
fn zstd_frames_with_content_size_and_checksum_are_read() {
    let bytes = text(100_000);
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 19).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder
        .set_pledged_src_size(Some(bytes.len() as u64))
        .unwrap();
    encoder.write_all(&bytes).unwrap();
    let compressed = encoder.finish().unwrap();
    assert_eq!(decompress(Codec::Zstd, &compressed), Ok(bytes));
}

#[test]
fn every_lz4_frame_with_independent_blocks_is_read() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let bytes = [text(300_000), noise(300_000)].concat();
    let sizes = [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ];
    for size in sizes {
        for flags in 0..8 {
            let info = FrameInfo::new()
                .block_size(size)
                .block_mode(BlockMode::Independent)
                .block_checksums(flags & 1 != 0)
                .content_checksum(flags & 2 != 0)
                .content_size((flags & 4 != 0).then_some(bytes.len() as u64));
            let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
            encoder.write_all(&bytes).unwrap();
            let compressed = encoder.finish().unwrap();
            let read = decompress(Codec::Lz4, &compressed);
            assert!(read.as_ref() == Ok(&bytes), "{size:?} {flags}");
        }
    }
}

#[test]
fn lz4_frames_are_read_by_others() {
    let bytes = [text(100_000), noise(100_000)].concat();
    let mut compressed = Vec::new();
    compress::compress_into(Codec::Lz4, &bytes, &mut compressed);
    let mut read = Vec::new();
    let mut decoder = lz4_flex::frame::FrameDecoder::new(&compressed[..]);
    std::io::Read::read_to_end(&mut decoder, &mut read).unwrap();
    assert!(read == bytes);
}
