//! A data directory with one bit flipped (FAILURES.md S5 to S9).
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use millstream_tests::flips::Directory;

/// Bytes of records. `MILLSTREAM_FLIP_BYTES=1000000` is the long run.
const BYTES: usize = 240_000;
/// Every so many bytes get a flip. `MILLSTREAM_FLIP_STEP=1` is the long run.
const STEP: usize = 61;
/// Of so many flips in partitions, one is tried with a whole start too.
const STARTS: u64 = 97;
/// Bytes of a file that are one piece of work.
const PIECE: u64 = 1000;

fn number(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[derive(Default)]
struct Found {
    flips: u64,
    counts: BTreeMap<String, usize>,
    broken: Vec<String>,
}

/// What is flipped of a file: its first byte, the end, and every which one.
struct Piece {
    path: PathBuf,
    start: u64,
    end: u64,
    step: u64,
}

fn pieces(directory: &Directory, step: u64) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (path, length) in directory.files() {
        // Small files get every byte.
        let step = if length > 200 { step } else { 1 };
        let first = (pieces.len() as u64 * 17) % step;
        for start in (first..length).step_by((PIECE * step) as usize) {
            pieces.push(Piece {
                path: path.clone(),
                start,
                end: length.min(start + PIECE * step),
                step,
            });
        }
    }
    pieces
}

fn check(directory: &Directory, piece: &Piece) -> Found {
    let mut found = Found::default();
    for position in (piece.start..piece.end).step_by(piece.step as usize) {
        found.flips += 1;
        let bit = (position % 8) as u8;
        let mut outcomes = vec![directory.check_flip(&piece.path, position, bit)];
        if found.flips % STARTS == 1 {
            outcomes.push(directory.check_start(&piece.path, position, bit));
        }
        if let [Ok(alone), Ok(whole)] = &outcomes[..]
            && alone != whole
        {
            let path = piece.path.display();
            found
                .broken
                .push(format!("{path} byte {position}: {alone:?}, but {whole:?}"));
        }
        for outcome in outcomes {
            match outcome {
                Ok(outcome) => *found.counts.entry(format!("{outcome:?}")).or_default() += 1,
                Err(what) => found.broken.push(what),
            }
        }
    }
    found
}

#[test]
fn one_flipped_bit_is_never_served_and_never_loses_a_record_unsaid() {
    let directory = Directory::fill(number("MILLSTREAM_FLIP_BYTES", BYTES)).unwrap();
    assert!(directory.batches() > 50);
    let pieces = pieces(&directory, number("MILLSTREAM_FLIP_STEP", STEP) as u64);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let threads = number("MILLSTREAM_FLIP_THREADS", threads);
    let next = AtomicUsize::new(0);
    let all = Mutex::new(Found::default());
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let found = check(&directory, piece);
                    let mut all = all.lock().unwrap();
                    all.flips += found.flips;
                    all.broken.extend(found.broken);
                    for (name, count) in found.counts {
                        *all.counts.entry(name).or_default() += count;
                    }
                }
            });
        }
    });
    std::panic::set_hook(hook);
    let Found {
        flips,
        counts,
        mut broken,
    } = all.into_inner().unwrap();
    broken.sort();
    println!("bit flips: {flips}, {counts:?}, {} broken", broken.len());
    assert!(broken.is_empty(), "{:#?}", &broken[..broken.len().min(20)]);
    for outcome in ["Unhurt", "Contained", "Refused"] {
        assert!(counts.contains_key(outcome), "{counts:?}");
    }
}
