//! A data directory with one bit flipped (FAILURES.md S5 to S9).
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use millstream_tests::flips::{Directory, Outcome};

/// Bytes of records. `MILLSTREAM_FLIP_BYTES=1000000` is the long run.
const BYTES: usize = 60_000;
/// Every so many bytes get a flip. `MILLSTREAM_FLIP_STEP=1` is the long run.
const STEP: usize = 41;

fn number(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn one_flipped_bit_is_never_served_and_never_loses_a_record_unsaid() {
    let directory = Directory::fill(number("MILLSTREAM_FLIP_BYTES", BYTES)).unwrap();
    assert!(directory.batches() > 50);
    let step = number("MILLSTREAM_FLIP_STEP", STEP) as u64;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut flips, mut broken) = (0_u64, Vec::new());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    for (path, length) in directory.files() {
        for position in 0..length {
            // Small files get every byte.
            if length > 200 && !(position + flips).is_multiple_of(step) {
                continue;
            }
            flips += 1;
            let bit = (position % 8) as u8;
            match directory.check_flip(&path, position, bit) {
                Ok(outcome) => {
                    let name = match outcome {
                        Outcome::Unhurt => "unhurt",
                        Outcome::Contained => "contained",
                        Outcome::Refused => "refused",
                    };
                    *counts.entry(name).or_default() += 1;
                }
                Err(what) => broken.push(what),
            }
        }
    }
    std::panic::set_hook(hook);
    println!("bit flips: {flips}, {counts:?}, {} broken", broken.len());
    assert!(broken.is_empty(), "{:#?}", &broken[..broken.len().min(20)]);
    assert!(counts["contained"] > 0 && counts["refused"] > 0);
}
