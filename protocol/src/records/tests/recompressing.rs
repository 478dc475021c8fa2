//! Batches in another codec than the producer's.

use super::*;
use crate::records::compress::PIECE_BYTES;
use crate::records::decompress::decompress;

/// Values that compress a little, of `len` bytes together with the records around them.
fn batch_with_records_of(codec: Codec, len: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec)
        .producer(7, 3, 100)
        .transactional(true);
    let rest = |builder: &BatchBuilder| len + HEADER_SIZE - builder.len_bytes();
    while rest(&builder) > 1000 {
        let at = builder.record_count();
        let value: Vec<u8> = (0..400)
            .map(|i| b"abcdefgh"[(i * i + at) as usize / 7 % 8])
            .collect();
        builder.push(NOW - i64::from(at % 5), Some(b"key"), Some(&value), []);
    }
    let overhead = 9 + usize::from(builder.record_count() > 63);
    let last = rest(&builder) - overhead;
    builder.push(NOW, None, Some(&vec![b'x'; last]), []);
    assert_eq!(builder.len_bytes(), HEADER_SIZE + len);
    builder.build(0, -1).to_vec()
}

fn records_bytes(batch: &[u8]) -> Vec<u8> {
    let header = BatchHeader::read(batch).unwrap();
    decompress(header.codec().unwrap(), &batch[HEADER_SIZE..]).unwrap()
}

#[test]
fn only_codec_length_and_checksum_change() {
    for len in [
        500,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        5 * PIECE_BYTES,
    ] {
        for from in Codec::ALL {
            let batch = batch_with_records_of(from, len);
            let valid = validate(&batch, &rules()).unwrap();
            for to in Codec::ALL {
                let (after, stored) = recompress(&batch, &valid, to.into(), 1 << 20).unwrap();
                check_crc(&after).unwrap();
                assert!(
                    records_bytes(&after) == records_bytes(&batch),
                    "{from} {to} {len}"
                );
                let header = BatchHeader::read(&after).unwrap();
                assert_eq!(stored.header, header);
                let expected = BatchHeader {
                    crc: header.crc,
                    batch_length: (after.len() - 12) as i32,
                    attributes: BatchHeader::attributes_of(to, true, false),
                    ..valid.header
                };
                assert_eq!(header, expected);
                // It is what the validation of the new batch would have answered.
                assert_eq!(validate(&after, &rules()).unwrap(), stored);
            }
        }
    }
}

#[test]
fn bits_that_are_the_broker_s_are_cleared_and_its_time_stays() {
    let mut batch = batch_of(Codec::Gzip, &[b"a", b"b"]);
    batch[21] = 0xff; // None of these has a meaning.
    batch[22] |= 0xc0; // A delete horizon, and one without a meaning.
    seal(&mut batch);
    let broker_time = ValidationRules {
        timestamp_type: TimestampType::LogAppendTime,
        now_ms: NOW + 77,
        ..rules()
    };
    let valid = validate(&batch, &broker_time).unwrap();
    let (after, stored) = recompress(&batch, &valid, Codec::Lz4.into(), 1 << 20).unwrap();
    assert_eq!(after[21..23], [0, 3 | 8]);
    assert_eq!(stored.log_append_time, Some(NOW + 77));
    let header = BatchHeader::read(&after).unwrap();
    let records = records_of(&header, &after).unwrap();
    let times: Vec<i64> = records.iter().map(|r| r.unwrap().timestamp).collect();
    assert_eq!(times, [NOW + 77; 2]);
}

#[test]
fn the_size_is_limited_after_as_before() {
    for to in Codec::ALL {
        let batch = batch_with_records_of(Codec::Zstd, 3 * PIECE_BYTES);
        let valid = validate(&batch, &rules()).unwrap();
        let (after, _) = recompress(&batch, &valid, to.into(), 1 << 20).unwrap();
        let exact = recompress(&batch, &valid, to.into(), after.len());
        assert_eq!(exact.unwrap().0, after, "{to}");
        let refused = recompress(&batch, &valid, to.into(), after.len() - 1).unwrap_err();
        assert_eq!(refused.code().code(), 10, "{to}");
    }
    // What would grow to 16 MiB ends where it passes the limit.
    let bomb = batch_of(Codec::Zstd, &[&vec![0; (16 << 20) - 100]]);
    let valid = validate(&bomb, &rules()).unwrap();
    let refused = recompress(&bomb, &valid, Codec::None.into(), 1 << 20).unwrap_err();
    let bytes = (1 << 20) + HEADER_SIZE;
    assert_eq!(
        refused,
        BatchError::TooLarge {
            bytes,
            max: 1 << 20
        }
    );
}

#[test]
fn levels_are_those_asked_for() {
    let batch = batch_with_records_of(Codec::None, 300_000);
    let valid = validate(&batch, &rules()).unwrap();
    let size = |codec, level| {
        let target = Compression { codec, level };
        let (after, _) = recompress(&batch, &valid, target, 1 << 20).unwrap();
        assert!(records_bytes(&after) == records_bytes(&batch));
        after.len()
    };
    for (codec, weak, default, strong) in [(Codec::Gzip, 1, 6, 9), (Codec::Zstd, -1000, 3, 19)] {
        assert_eq!(size(codec, None), size(codec, Some(default)), "{codec}");
        assert!(
            size(codec, Some(weak)) > size(codec, Some(default)),
            "{codec}"
        );
        assert!(
            size(codec, Some(strong)) < size(codec, Some(weak)),
            "{codec}"
        );
    }
    // The lowest and the highest work, and the next one gets a context of its own level.
    for level in [-131_072, 22] {
        size(Codec::Zstd, Some(level));
    }
    assert_eq!(size(Codec::Zstd, None), size(Codec::Zstd, Some(3)));
}

#[test]
fn what_cannot_be_decompressed_is_not_stored() {
    let batch = batch_of(Codec::Gzip, &[b"a"]);
    let valid = validate(&batch, &rules()).unwrap();
    let mut damaged = batch;
    damaged[HEADER_SIZE + 12] ^= 1;
    let refused = recompress(&damaged, &valid, Codec::None.into(), 1 << 20);
    assert!(matches!(refused, Err(BatchError::Decompress { .. })));
}
