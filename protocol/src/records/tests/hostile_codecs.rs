//! Compressed bytes that lie: about their size, about their form, about their checksums.

use std::io::Write;

use super::*;
use crate::records::codec::{OUTPUT_CAP_MAX, OUTPUT_CAP_MIN};
use crate::records::decompress::decompress;

const TOO_LARGE: DecompressError = DecompressError::TooLarge {
    cap: OUTPUT_CAP_MIN,
};

/// `len` zeros, compressed.
fn zeros(codec: Codec, len: usize) -> Vec<u8> {
    let mut out = Vec::new();
    compress::compress_into(codec, &vec![0; len], &mut out);
    out
}

#[test]
fn the_cap_has_a_floor_a_ratio_and_a_ceiling() {
    assert_eq!(output_cap(0), 16 << 20);
    assert_eq!(output_cap(512 << 10), 16 << 20);
    assert_eq!(output_cap((512 << 10) + 1), (16 << 20) + 32);
    assert_eq!(output_cap(2 << 20), 64 << 20);
    assert_eq!(output_cap(usize::MAX), OUTPUT_CAP_MAX);
}

#[test]
fn output_ends_at_the_cap() {
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let at = zeros(codec, OUTPUT_CAP_MIN);
        assert!(at.len() < 512 << 10);
        assert_eq!(decompress(codec, &at).map(|v| v.len()), Ok(OUTPUT_CAP_MIN));
        let past = zeros(codec, OUTPUT_CAP_MIN + 1);
        assert_eq!(decompress(codec, &past), Err(TOO_LARGE), "{codec}");
    }
}

#[test]
fn snappy_grows_too_little_for_the_floor_to_matter() {
    let at = zeros(Codec::Snappy, OUTPUT_CAP_MIN + 1);
    assert!(at.len() > (OUTPUT_CAP_MIN + 1) / 32);
    let read = decompress(Codec::Snappy, &at).map(|v| v.len());
    assert_eq!(read, Ok(OUTPUT_CAP_MIN + 1));
    let past = zeros(Codec::Snappy, OUTPUT_CAP_MAX + 1);
    let cap = OUTPUT_CAP_MAX;
    let too_large = Err(DecompressError::TooLarge { cap });
    assert_eq!(decompress(Codec::Snappy, &past), too_large);
}

#[test]
fn a_bomb_is_refused_as_too_large() {
    let header = BatchHeader::read(&batch_of(Codec::None, &[b"x"])).unwrap();
    // One record that says it is 100 MiB long, and is.
    let mut records = Vec::new();
    varint::put_varint(&mut records, 100 << 20);
    records.resize(100 << 20, 0);
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let mut bomb = Vec::new();
        compress::compress_into(codec, &records, &mut bomb);
        let batch = batch_around(header, codec, &bomb);
        assert!(batch.len() < 1 << 20, "{codec} {}", batch.len());
        assert_eq!(
            code_of(&batch, &rules()),
            87,
            "a length is believed as far as a field needs it"
        );
    }
    // Small records without end.
    let record = &batch_of(Codec::None, &[b"x"])[HEADER_SIZE..];
    let endless = record.repeat((OUTPUT_CAP_MIN / record.len()) + 1);
    let mut bomb = Vec::new();
    compress::compress_into(Codec::Zstd, &endless, &mut bomb);
    let batch = batch_around(header, Codec::Zstd, &bomb);
    let read = records_of(&BatchHeader::read(&batch).unwrap(), &batch);
    assert_eq!(read.unwrap_err().code().code(), 10);
}

#[test]
fn a_record_larger_than_the_cap_is_refused_as_too_large() {
    let mut builder = BatchBuilder::new(Codec::Zstd);
    builder.push(NOW, None, Some(&vec![0; OUTPUT_CAP_MIN]), []);
    let batch = builder.build(0, 0);
    assert!(batch.len() < 10_000);
    assert_eq!(code_of(&batch, &rules()), 10);

    let mut builder = BatchBuilder::new(Codec::Zstd);
    builder.push(NOW, None, Some(&vec![0; OUTPUT_CAP_MIN - 16]), []);
    let batch = builder.build(0, 0);
    assert_eq!(code_of(&batch, &rules()), 0);
}

#[test]
fn a_zstd_window_is_bounded() {
    for (window_log, passes) in [(23, true), (24, false)] {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(window_log).unwrap();
        // Written in two steps, so that the size is not known and the window stays as it is.
        encoder.write_all(b"some").unwrap();
        encoder.flush().unwrap();
        encoder.write_all(b" bytes").unwrap();
        let compressed = encoder.finish().unwrap();
        let read = decompress(Codec::Zstd, &compressed);
        assert_eq!(read.is_ok(), passes, "{window_log}");
    }
}

#[test]
fn a_snappy_length_is_checked_before_it_is_reserved() {
    // Raw: 2³²−1 bytes out of six.
    let raw = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert_eq!(decompress(Codec::Snappy, &raw), Err(TOO_LARGE));
    // Raw: 16 MiB out of five, which no snappy can be.
    let raw = [0x80, 0x80, 0x80, 0x08, 0];
    let unreachable = DecompressError::Corrupt("snappy length cannot be reached");
    assert_eq!(decompress(Codec::Snappy, &raw), Err(unreachable));
    // Framed: a chunk of 2³¹−1 bytes, of −1, and one byte more than there is.
    let frame = zeros(Codec::Snappy, 10);
    let past_end = Err(DecompressError::Corrupt("snappy chunk runs past the data"));
    for length in [i32::MAX, -1, (frame.len() - 20) as i32 + 1] {
        let mut lying = frame.clone();
        lying[16..20].copy_from_slice(&length.to_be_bytes());
        assert_eq!(decompress(Codec::Snappy, &lying), past_end, "{length}");
    }
}

#[test]
fn lz4_frames_of_other_kinds_are_refused() {
    let frame = zeros(Codec::Lz4, 100);
    type Edit<'a> = &'a dyn Fn(&mut Vec<u8>);
    let refusal = |edit: Edit<'_>| {
        let mut frame = frame.clone();
        edit(&mut frame);
        match decompress(Codec::Lz4, &frame) {
            Err(DecompressError::Corrupt(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let cases: [(Edit<'_>, &str); 11] = [
        (&|f| f[0] = 5, "not an lz4 frame"),
        (&|f| f[4] = 0x40, "lz4 blocks are linked"),
        (&|f| f[4] = 0xa0, "lz4 frame of an unknown version"),
        (&|f| f[4] = 0x61, "lz4 frame of an unknown version"),
        (&|f| f[5] = 0x30, "lz4 block size does not exist"),
        (&|f| f[5] = 0xc0, "lz4 frame of an unknown version"),
        (&|f| f[6] = 0x83, "lz4 header checksum is wrong"),
        (&|f| f[9] = 1, "lz4 block is larger than allowed"),
        (&|f| f[7] += 1, "not lz4 data"),
        (&|f| f.truncate(f.len() - 1), "lz4 frame is incomplete"),
        (&|f| f.push(0), "bytes follow the lz4 frame"),
    ];
    for (edit, text) in cases {
        assert_eq!(refusal(edit), text);
    }
}

#[test]
fn a_block_may_be_as_large_as_the_frame_says() {
    // Stored blocks of 64 KiB and one byte more.
    for (len, expected) in [
        (64 << 10, Ok(vec![7; 64 << 10])),
        (
            (64 << 10) + 1,
            Err(DecompressError::Corrupt("lz4 block is larger than allowed")),
        ),
    ] {
        let mut frame = b"\x04\x22\x4d\x18\x60\x40\x82".to_vec();
        frame.extend_from_slice(&(len as u32 | 1 << 31).to_le_bytes());
        frame.resize(frame.len() + len, 7);
        frame.extend_from_slice(&[0; 4]);
        assert!(decompress(Codec::Lz4, &frame) == expected);
    }
}

#[test]
fn garbage_is_corrupt() {
    let header = BatchHeader::read(&batch_of(Codec::None, &[b"x"])).unwrap();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        for garbage in [&b""[..], b"\x01", &[0xff; 100]] {
            let batch = batch_around(header, codec, garbage);
            assert_eq!(code_of(&batch, &rules()), 2, "{codec} {garbage:?}");
        }
    }
}

#[test]
fn no_codec_is_read_past_its_data() {
    let values: [&[u8]; 2] = [b"some value", b"another"];
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let whole = batch_of(codec, &values);
        let header = BatchHeader::read(&whole).unwrap();
        for len in 0..whole.len() - HEADER_SIZE {
            let cut = batch_around(header, codec, &whole[HEADER_SIZE..HEADER_SIZE + len]);
            let code = code_of(&cut, &rules());
            assert!(code == 2 || code == 87, "{codec} cut to {len}: {code}");
        }
    }
}

#[test]
fn a_wrong_checksum_of_the_codec_is_seen() {
    let mut gzip = zeros(Codec::Gzip, 1000);
    let at = gzip.len() - 8;
    gzip[at] ^= 1;
    assert!(decompress(Codec::Gzip, &gzip).is_err());
}

/// Found by fuzzing: the library looks at the size only of frames that it meets whole.
#[test]
fn a_zstd_frame_is_as_large_as_it_says() {
    // An empty last block in a frame that announces 256 bytes, behind a frame of 2710.
    let frames = [
        0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x10, 0xb3, 0x54, 0x00, 0xff, //
        0x28, 0xb5, 0x2f, 0xfd, 0x41, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
    ];
    for piece in [1, 100, 256, 2710, 1 << 16] {
        let mut stream = decompress::Decompressor::new(Codec::Zstd, &frames).unwrap();
        let mut out = vec![0; piece];
        let ended = loop {
            match stream.read(&mut out) {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error),
            }
        };
        assert!(ended.is_err(), "in pieces of {piece}");
    }
    assert!(decompress(Codec::Zstd, &frames).is_err());
    assert!(decompress(Codec::Zstd, &frames[..10]).is_ok());
}
