//! What a record costs: built, validated, read, in each codec.
//!
//! `cargo run --release -p millstream-protocol --example records_bench`

use std::hint::black_box;
use std::time::Instant;

use millstream_protocol::records::{
    BatchBuilder, BatchHeader, Codec, Compression, ValidationRules, crc32c, recompress, records_of,
    validate,
};

const NOW: i64 = 1_700_000_000_000;

fn build(codec: Codec, records: i32, value: &[u8]) -> bytes::Bytes {
    let mut builder = BatchBuilder::with_capacity(codec, 1 << 20);
    for index in 0..records {
        builder.push(NOW + i64::from(index % 50), None, Some(value), []);
    }
    builder.build(0, 0)
}

/// How long it takes to compress a batch of a megabyte of records anew, whatever it was compressed
/// with before.
fn compress_anew(rules: &ValidationRules) {
    // Numbers and words, which compress to a third or so.
    let value = |index: i32| {
        let words = [
            "offset",
            "record",
            "partition",
            "segment",
            "leader",
            "epoch",
        ];
        let mut seed = index as usize;
        let mut text = String::new();
        while text.len() < 980 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text += words[(seed >> 40) % words.len()];
            text += &(seed >> 50).to_string();
        }
        text
    };
    println!("compressed anew, 1 MiB of records: milliseconds, bytes");
    let levels = |codec| -> &[Option<i32>] {
        match codec {
            Codec::Gzip => &[Some(1), Some(6), Some(9)],
            Codec::Zstd => &[Some(1), Some(3), Some(9), Some(15), Some(22)],
            _ => &[None],
        }
    };
    for from in [Codec::None, Codec::Gzip] {
        let mut builder = BatchBuilder::new(from);
        for index in 0..1050 {
            builder.push(NOW, None, Some(value(index).as_bytes()), []);
        }
        let batch = builder.build(0, 0);
        let validated = validate(&batch, rules).expect("the batch is valid");
        for codec in Codec::ALL {
            for level in levels(codec) {
                let target = Compression {
                    codec,
                    level: *level,
                };
                let mut bytes = 0;
                let time = nanos(|| {
                    let (after, _) =
                        recompress(&batch, &validated, target, 1 << 24).expect("there is room");
                    bytes = after.len();
                });
                let level = level.map_or(String::new(), |level| level.to_string());
                println!(
                    "{from:7} to {codec:7} {level:>3} {:8.2} {bytes:9}",
                    time / 1e6
                );
            }
        }
    }
}

/// Nanoseconds per round of `work`, the best of several runs.
fn nanos(mut work: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..7 {
        let start = Instant::now();
        let mut rounds = 0_u32;
        while start.elapsed().as_millis() < 60 {
            work();
            rounds += 1;
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(rounds));
    }
    best
}

fn main() {
    let rules = ValidationRules {
        max_message_bytes: 1 << 24,
        now_ms: NOW,
        ..ValidationRules::default()
    };
    compress_anew(&rules);
    println!("codec   records × bytes   batch bytes   build   validate   read   (ns per record)");
    for (records, bytes) in [(10_000, 10), (5_000, 100), (900, 1000)] {
        let value: Vec<u8> = (0..bytes).map(|i| b"abcdefgh"[i * i / 7 % 8]).collect();
        for codec in Codec::ALL {
            let batch = build(codec, records, &value);
            let per_record = |total: f64| total / f64::from(records);
            let built = per_record(nanos(|| {
                black_box(build(codec, records, &value));
            }));
            let validated = per_record(nanos(|| {
                black_box(validate(&batch, &rules)).expect("the batch is valid");
            }));
            let read = per_record(nanos(|| {
                let header = BatchHeader::read(&batch).expect("the batch is valid");
                let records = records_of(&header, &batch).expect("the batch is valid");
                for record in &records {
                    black_box(record).expect("the batch is valid");
                }
            }));
            let name = codec.name();
            println!(
                "{name:7} {records:7} × {bytes:<5} {:13} {built:7.1} {validated:10.1} {read:6.1}",
                batch.len()
            );
        }
        let batch = build(Codec::None, records, &value);
        let crc = nanos(|| {
            black_box(crc32c(&batch));
        });
        println!(
            "        CRC-32C alone: {:.2} ns per record, {:.1} GB/s",
            crc / f64::from(records),
            batch.len() as f64 / crc
        );
    }
}
