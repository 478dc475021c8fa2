//! No frame makes the decoder hold more than the larger of 64 KiB and 16 times its size, counted by the
//! allocator, for every message in every version; and none makes it panic.

#![allow(clippy::unwrap_used)]

mod counting;
mod generator;

use std::path::Path;

use bytes::Bytes;
use counting::{held, peak_of};
use generator::message::message;
use generator::random::Random;
use generator::schema;
use millstream_protocol::dynamic;
use millstream_protocol::frame::decode_request_header;
use millstream_protocol::wire::Decoder;

/// Decodes a frame within its bound; tells whether it was taken.
fn decode_within_bound(name: &str, version: i16, frame: Vec<u8>) -> bool {
    // Without spare room, so that sharing the frame takes memory of its own.
    let frame = Bytes::from(frame.into_boxed_slice());
    let bound = (64 << 10).max(16 * frame.len());
    let mut is_taken = false;
    let peak = peak_of(|| is_taken = dynamic::decode(name, version, &frame).unwrap().is_ok());
    assert!(
        peak <= bound,
        "{name} version {version} held {peak} bytes for a frame of {}, over {bound}",
        frame.len()
    );
    is_taken
}

fn for_every_version(mut check: impl FnMut(&str, i16, &mut Random)) {
    let mut random = Random::new(7);
    for (name, first, last) in dynamic::all() {
        for version in *first..=*last {
            check(name, version, &mut random);
        }
    }
}

fn schemas() -> std::collections::HashMap<String, schema::Message> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema");
    schema::read_all(&folder).unwrap()
}

#[test]
fn the_counter_sees_what_is_reserved() {
    let before = held();
    assert_eq!(peak_of(|| Vec::<u8>::with_capacity(5000)), 5000);
    assert_eq!(held(), before);
}

#[test]
fn any_bytes_are_a_header_or_refused_without_memory() {
    let mut random = Random::new(1);
    let mut taken = 0;
    for _ in 0..100_000 {
        let length = 10 + random.below(30);
        let mut bytes = random.bytes(length);
        // Known keys, and short client ids now and then.
        put(
            &mut bytes,
            0,
            &[0, random.below(100) as u8, 0, random.below(20) as u8],
        );
        if random.one_in(2) {
            put(&mut bytes, 8, &[0, random.below(20) as u8]);
            bytes.iter_mut().skip(10).for_each(|byte| *byte &= 0x7f);
        }
        let frame = Bytes::from(bytes);
        let mut decoder = Decoder::new(&frame);
        let peak = peak_of(|| taken += u32::from(decode_request_header(&mut decoder).is_ok()));
        assert_eq!(peak, 0);
    }
    assert!(taken > 2_000, "only {taken} were taken");
}

#[test]
fn messages_and_damaged_messages_stay_within_the_bound() {
    let schemas = schemas();
    let mut taken = 0;
    for_every_version(|name, version, random| {
        for index in 0..12 {
            let whole = message(&schemas[name], version, index, random, index % 2 == 1);
            assert!(
                decode_within_bound(name, version, whole.clone()),
                "{name} version {version} refuses a message"
            );
            for _ in 0..8 {
                let frame = damaged(whole.clone(), random);
                taken += u32::from(decode_within_bound(name, version, frame));
            }
        }
    });
    assert!(taken > 10_000, "only {taken} damaged frames were taken");
}

/// The frame with a few bytes changed, cut off, or with a length of its own put somewhere.
fn damaged(mut frame: Vec<u8>, random: &mut Random) -> Vec<u8> {
    if frame.is_empty() {
        return vec![0xff];
    }
    for _ in 0..1 + random.below(3) {
        let place = random.below(frame.len());
        match random.below(5) {
            0 => frame[place] = random.next() as u8,
            1 => frame[place] ^= 1 << random.below(8),
            2 => frame.truncate(place + 1),
            3 => put(&mut frame, place, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            _ => put(&mut frame, place, &(random.number() as u32).to_be_bytes()),
        }
    }
    frame
}

fn put(frame: &mut [u8], place: usize, bytes: &[u8]) {
    for (to, from) in frame[place..].iter_mut().zip(bytes) {
        *to = *from;
    }
}

#[test]
fn frames_of_counts_stay_within_the_bound() {
    // Read as counts at whatever depth, these announce about as much as the rest of the frame can hold.
    for_every_version(|name, version, random| {
        for size in [0, 1, 7, 64, 1000, 20_000] {
            for byte in [0, 1, 2, 3, 0x7f, 0x80, 0xff, random.next() as u8] {
                decode_within_bound(name, version, vec![byte; size]);
            }
            for byte in [0, 1] {
                let mut frame = vec![byte; size];
                let count = random.below(size + 1) as u32;
                put(&mut frame, random.below(8).min(size), &count.to_be_bytes());
                decode_within_bound(name, version, frame);
            }
            decode_within_bound(name, version, random.bytes(size.min(300)));
        }
    });
}

#[test]
fn a_prefix_and_a_large_count_stay_within_the_bound() {
    // The start of a real message leads to its arrays; the count that follows is what the rest can hold.
    let schemas = schemas();
    for_every_version(|name, version, random| {
        for index in [0, 2, 5, 6] {
            let start = message(&schemas[name], version, index, random, false);
            for _ in 0..6 {
                let mut frame = start.clone();
                frame.truncate(random.below(64.min(frame.len()) + 1));
                let left = 1 + random.below(6000);
                let count = 1 + random.below(left) as u32;
                if random.one_in(2) {
                    frame.extend_from_slice(&count.to_be_bytes());
                } else {
                    frame.extend_from_slice(&[count as u8 | 0x80, (count >> 7) as u8 & 0x7f]);
                }
                frame.resize(frame.len() + left, random.below(2) as u8);
                decode_within_bound(name, version, frame);
            }
        }
    });
}

#[test]
fn what_sharing_the_frame_costs_is_within_the_bound_too() {
    // Topics without partitions take the most memory for their bytes; the last topic's partitions have a
    // batch of one byte each, which is a slice of the frame.
    let mut refused = 0;
    for topics in 990..1060_u16 {
        for partitions in 0..8_u8 {
            let mut frame = vec![0, 0, 1, 0, 0, 0, 0];
            frame.extend_from_slice(&[(topics + 1) as u8 | 0x80, ((topics + 1) >> 7) as u8]);
            for _ in 1..topics {
                frame.extend_from_slice(&[1, 1, 0]);
            }
            frame.extend_from_slice(&[1, partitions + 1]);
            for _ in 0..partitions {
                frame.extend_from_slice(&[0, 0, 0, 0, 2, 7, 0]);
            }
            frame.extend_from_slice(&[0, 0]);
            refused += u32::from(!decode_within_bound("ProduceRequest", 9, frame));
        }
    }
    assert!(refused > 0, "the bound was not reached");
    assert!(refused < 70 * 8, "nothing was taken");
}
