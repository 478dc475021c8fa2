//! Record batches: what ours read of Kafka's, and random ones for Kafka to read.

use bytes::{BufMut, Bytes};
use millstream_protocol::records::{
    BatchBuilder, BatchHeader, Codec, Record, TimestampType, ValidationRules, check_crc,
    records_of, validate,
};

use crate::generator::random::Random;
use crate::question::{Answer, Item};

/// A record that is not in a batch yet.
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Two items: the records of a batch one after another, and the batch built again from them.
pub fn listing_and_copy(batch: &Bytes) -> [Item; 2] {
    match read(batch) {
        Ok((listing, copy)) => [Item::Value(listing.into()), Item::Value(copy)],
        Err(reason) => [Item::refusal(&reason), Item::refusal(&reason)],
    }
}

fn read(batch: &Bytes) -> Result<(Vec<u8>, Bytes), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let header = BatchHeader::read(batch).map_err(|e| text(&e))?;
    if header.size_in_bytes() != batch.len() {
        return Err("a batch whose length is not its own".to_owned());
    }
    check_crc(batch).map_err(|e| text(&e))?;
    let is_sent_so = header.base_offset == 0
        && header.timestamp_type() == TimestampType::CreateTime
        && !header.is_control();
    if is_sent_so {
        let rules = ValidationRules {
            max_message_bytes: 100 << 20,
            after_max_ms: i64::MAX,
            now_ms: header.max_timestamp,
            ..ValidationRules::default()
        };
        let refused = validate(batch, &rules).map_err(|refusal| refusal.error.to_string());
        refused.map_err(|reason| format!("a good batch was refused: {reason}"))?;
    }
    let mut listing = Vec::new();
    let codec = header.codec().map_err(|e| text(&e))?;
    let mut builder = BatchBuilder::new(codec)
        .producer(
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
        )
        .transactional(header.is_transactional())
        .control(header.is_control());
    let records = records_of(&header, batch).map_err(|e| text(&e))?;
    for record in records.iter() {
        let record = record.map_err(|e| text(&e))?;
        list(&record, &mut listing);
        builder.push(record.timestamp, record.key, record.value, record.headers);
    }
    let copy = builder.build(header.base_offset, header.partition_leader_epoch);
    Ok((listing, copy))
}

/// offset i64, timestamp i64, key, value, header count i32, then name and value of each; bytes are a
/// length of four bytes, −1 for null, and themselves.
fn list(record: &Record<'_>, out: &mut Vec<u8>) {
    out.put_i64(record.offset);
    out.put_i64(record.timestamp);
    put_nullable(out, record.key);
    put_nullable(out, record.value);
    out.put_i32(record.headers.len() as i32);
    for (name, value) in record.headers.clone() {
        put_nullable(out, Some(name));
        put_nullable(out, value);
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => out.put_i32(-1),
        Some(bytes) => {
            out.put_i32(bytes.len() as i32);
            out.put_slice(bytes);
        }
    }
}

/// Pairs of batches of the same random records: compressed with the codec of this id, and not compressed.
pub fn random(seed: i64, count: usize, codec: i16) -> Option<Answer> {
    let codec = Codec::from_attributes(codec).ok()?;
    let mut random = Random::new(seed as u64);
    let mut items = Vec::new();
    for _ in 0..count {
        let records: Vec<Plain> = (0..=random.below(20))
            .map(|_| record(&mut random))
            .collect();
        let has_producer = random.one_in(2);
        let is_transactional = has_producer && random.one_in(2);
        let base_offset = (random.number() >> 2) as i64;
        let leader_epoch = random.below(1 << 30) as i32;
        for codec in [codec, Codec::None] {
            let mut builder = BatchBuilder::new(codec).transactional(is_transactional);
            if has_producer {
                builder.set_producer(base_offset, 7, i32::MAX - 3);
            }
            for record in &records {
                let headers = record.headers.iter();
                let headers = headers.map(|(name, value)| (name.as_slice(), value.as_deref()));
                let (key, value) = (record.key.as_deref(), record.value.as_deref());
                builder.push(record.timestamp, key, value, headers);
            }
            items.push(Item::Value(builder.build(base_offset, leader_epoch)));
        }
    }
    Some(Answer::of(items))
}

fn record(random: &mut Random) -> Plain {
    let name = |random: &mut Random| {
        let length = random.below(20);
        random.text(length).into_bytes()
    };
    Plain {
        timestamp: 1_700_000_000_000 + random.below(1 << 40) as i64 - (1 << 39),
        key: bytes_or_null(random),
        value: bytes_or_null(random),
        headers: match random.below(4) {
            0 => vec![
                (b"twice".to_vec(), None),
                (b"twice".to_vec(), Some(Vec::new())),
            ],
            1 => (0..random.below(5))
                .map(|_| (name(random), bytes_or_null(random)))
                .collect(),
            _ => Vec::new(),
        },
    }
}

fn bytes_or_null(random: &mut Random) -> Option<Vec<u8>> {
    let length = match random.below(6) {
        0 => return None,
        1 => 0,
        2 if random.one_in(10) => 100_000,
        3 => 64,
        _ => random.below(300),
    };
    // Half of them can be compressed.
    Some(match random.one_in(2) {
        true => vec![b'x'; length],
        false => random.bytes(length),
    })
}
