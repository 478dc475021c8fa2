//! How much memory a hostile batch can cost, counted by the allocator.
//!
//! Memory that zstd's C code takes for its window is not seen here; it is bounded by the window
//! limit, which has a test of its own.

#![allow(clippy::unwrap_used)]

mod counting;

use counting::peak_of;
use millstream_protocol::records::*;
use proptest::prelude::*;
use proptest::sample::Index;

/// What validation may hold: its window, a codec's state, and one block of the codec.
fn validation_bound(batch: &[u8]) -> usize {
    let block = batch.len().saturating_mul(256).min(4 << 20);
    let raw_snappy = batch.len().saturating_mul(22);
    (320 << 10) + block.max(raw_snappy)
}

fn rules() -> ValidationRules {
    ValidationRules {
        max_message_bytes: 64 << 20,
        after_max_ms: i64::MAX,
        ..ValidationRules::default()
    }
}

fn seal(batch: &mut [u8]) {
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

fn batch_of(codec: Codec, value: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    builder.push(0, None, Some(value), []);
    builder.push(1, Some(b"k"), Some(b"v"), []);
    builder.build(0, 0).to_vec()
}

#[test]
fn validation_of_uncompressed_records_allocates_nothing() {
    let batch = batch_of(Codec::None, &[7; 1000]);
    assert_eq!(peak_of(|| validate(&batch, &rules()).unwrap()), 0);
    assert_eq!(peak_of(|| batches(&batch).count()), 0);
    let header = BatchHeader::read(&batch).unwrap();
    let count = peak_of(|| records_of(&header, &batch).unwrap().iter().count());
    assert_eq!(count, 0);
}

#[test]
fn a_bomb_costs_validation_no_more_than_its_window() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch_of(codec, &vec![0; 63 << 20]);
        let peak = peak_of(|| validate(&batch, &rules()).map(|_| ()));
        assert!(peak <= 512 << 10, "{codec}: {peak}");
    }
}

#[test]
fn compressing_a_bomb_anew_costs_what_may_be_stored_and_a_window() {
    const STORED_MAX: usize = 1 << 20;
    for from in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch_of(from, &vec![0; 15 << 20]);
        let valid = validate(&batch, &rules()).unwrap();
        for to in Codec::ALL {
            let peak = peak_of(|| recompress(&batch, &valid, to.into(), STORED_MAX).map(|_| ()));
            // A buffer that grows is twice there, and has room for as much again.
            assert!(peak <= 4 * STORED_MAX, "{from} to {to}: {peak}");
        }
    }
}

#[test]
fn reading_a_bomb_costs_at_most_twice_its_cap() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch_of(codec, &vec![0; 100 << 20]);
        let header = BatchHeader::read(&batch).unwrap();
        let peak = peak_of(|| records_of(&header, &batch).map(|_| ()));
        // The smaller buffer may still be held while the larger one is filled.
        let bound = output_cap(batch.len()) * 2 + (512 << 10);
        assert!(peak <= bound, "{codec}: {peak} > {bound}");
    }
}

#[test]
fn announced_lengths_are_not_reserved() {
    // Raw snappy that announces 16 MiB, an LZ4 frame of 4 MiB blocks, a zstd frame of 8 MiB windows.
    let raw_snappy = [0x80, 0x80, 0x80, 0x08, 0];
    let lz4 = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73, 1, 0, 0, 0, 0];
    let zstd = [0x28, 0xb5, 0x2f, 0xfd, 0, 0x68];
    let cases: [(Codec, &[u8]); 3] = [
        (Codec::Snappy, &raw_snappy),
        (Codec::Lz4, &lz4),
        (Codec::Zstd, &zstd),
    ];
    for (codec, bytes) in cases {
        let mut batch = batch_of(Codec::None, b"");
        batch.truncate(HEADER_SIZE);
        batch[22] = codec.id() as u8;
        batch.extend_from_slice(bytes);
        seal(&mut batch);
        let header = BatchHeader::read(&batch).unwrap();
        assert!(validate(&batch, &rules()).is_err(), "{codec}");
        let peak = peak_of(|| validate(&batch, &rules()).map(|_| ()));
        assert!(peak <= 160 << 10, "{codec}: {peak}");
        let peak = peak_of(|| records_of(&header, &batch).map(|_| ()));
        assert!(peak <= 160 << 10, "{codec}: {peak}");
    }
}

fn codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_damage_costs_more_than_the_bound(
        codec in codec(),
        value in proptest::collection::vec(0..3_u8, 0..3000),
        edits in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut batch = batch_of(codec, &value);
        for (at, byte) in edits {
            let at = 21 + at.index(batch.len() - 21);
            batch[at] = byte;
        }
        seal(&mut batch);
        let peak = peak_of(|| validate(&batch, &rules()).map(|_| ()));
        prop_assert!(peak <= validation_bound(&batch), "{codec}: {peak}");
        let header = BatchHeader::read(&batch).unwrap();
        let peak = peak_of(|| records_of(&header, &batch).map(|_| ()));
        let bound = output_cap(batch.len()) * 2 + validation_bound(&batch);
        prop_assert!(peak <= bound, "{codec}: {peak}");
    }
}
