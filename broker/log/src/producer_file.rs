//! The two files that keep producers over a restart.
//!
//! `<next offset>.producers` is ours and is what is loaded. It stands in the envelope of all our
//! formats, with magic `MSPS` and version 1, and its payload is:
//!
//! | size | field |
//! | --- | --- |
//! | 8 | the offset up to which batches are counted, exclusive |
//! | 4 | number of producers; then per producer: |
//! | 8 | producer id |
//! | 2 | epoch |
//! | 8 | when it last wrote, milliseconds by the broker's clock |
//! | 1 | number of batches, 0–5; then per batch, oldest first: |
//! | 4 | last sequence |
//! | 8 | last offset |
//! | 4 | last offset − first offset |
//! | 8 | largest timestamp |
//!
//! `<next offset>.snapshot` is Kafka's, for its tools. It holds only the last batch of a producer:
//! int16 version 1, uint32 CRC-32C of all from byte 6, int32 count, then 46 bytes each (int64 id,
//! int16 epoch, int32 last sequence, int64 last offset, int32 offset delta, int64 timestamp, int32
//! coordinator epoch, int64 first offset of the open transaction; −1 for none).

use millstream_model::{Offset, WallTime};
use millstream_protocol::records::crc32c;

use crate::envelope::{self, Fields};
use crate::producer_state::{BATCHES_MAX, Producer, ProducerBatch, ProducerState};

const MAGIC: [u8; 4] = *b"MSPS";
const VERSION: u16 = 1;
const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_ENTRY_BYTES: usize = 46;
/// Neither a coordinator nor an open transaction.
const NONE: i64 = -1;

/// Our file's bytes.
pub(crate) fn to_bytes(state: &ProducerState, end: Offset) -> Vec<u8> {
    let mut payload = Vec::with_capacity(12 + state.len() * 43);
    payload.extend_from_slice(&end.0.to_be_bytes());
    payload.extend_from_slice(&(state.len() as u32).to_be_bytes());
    for (id, producer) in state.iter() {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&producer.epoch.to_be_bytes());
        payload.extend_from_slice(&producer.seen.0.to_be_bytes());
        payload.push(producer.batches.len() as u8);
        for batch in &producer.batches {
            payload.extend_from_slice(&batch.last_sequence.to_be_bytes());
            payload.extend_from_slice(&batch.last_offset.0.to_be_bytes());
            payload.extend_from_slice(&batch.offset_delta.to_be_bytes());
            payload.extend_from_slice(&batch.timestamp.0.to_be_bytes());
        }
    }
    envelope::wrap(MAGIC, VERSION, &payload)
}

/// Reads our file. `None` when it is not whole.
pub(crate) fn parse(bytes: &[u8]) -> Option<(ProducerState, Offset)> {
    let (version, payload) = envelope::unwrap(MAGIC, bytes)?;
    if version != VERSION {
        return None;
    }
    let mut fields = Fields(payload);
    let end = Offset(fields.i64()?);
    let count = fields.u32()?;
    let mut state = ProducerState::default();
    for _ in 0..count {
        let id = fields.i64()?;
        let mut producer = Producer {
            epoch: fields.i16()?,
            seen: WallTime(fields.i64()?),
            batches: Vec::new(),
        };
        let batches = usize::from(fields.u8()?);
        if batches > BATCHES_MAX {
            return None;
        }
        for _ in 0..batches {
            producer.batches.push(ProducerBatch {
                last_sequence: fields.i32()?,
                last_offset: Offset(fields.i64()?),
                offset_delta: fields.i32()?,
                timestamp: WallTime(fields.i64()?),
            });
        }
        state.insert(id, producer);
    }
    (fields.0.is_empty()).then_some((state, end))
}

/// The bytes of Kafka's file.
pub(crate) fn to_snapshot(state: &ProducerState) -> Vec<u8> {
    let entries = state
        .iter()
        .filter_map(|(id, producer)| Some((id, producer.epoch, producer.batches.last()?)));
    let mut body = vec![0; 4];
    let mut count = 0_u32;
    for (id, epoch, batch) in entries {
        snapshot_entry(&mut body, id, epoch, batch, NONE);
        count += 1;
    }
    body[..4].copy_from_slice(&count.to_be_bytes());
    with_head(&body)
}

/// Whether Kafka's file is whole.
pub(crate) fn is_whole_snapshot(bytes: &[u8]) -> bool {
    let mut fields = Fields(bytes);
    let head = (fields.i16(), fields.u32());
    let body = fields.0;
    let count = fields.u32();
    head == (Some(SNAPSHOT_VERSION), Some(crc32c(body)))
        && count.and_then(|count| (count as usize).checked_mul(SNAPSHOT_ENTRY_BYTES))
            == Some(fields.0.len())
}

fn with_head(body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(6 + body.len());
    bytes.extend_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
    bytes.extend_from_slice(&crc32c(body).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn snapshot_entry(
    out: &mut Vec<u8>,
    id: i64,
    epoch: i16,
    batch: &ProducerBatch,
    transaction_start: i64,
) {
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&epoch.to_be_bytes());
    out.extend_from_slice(&batch.last_sequence.to_be_bytes());
    out.extend_from_slice(&batch.last_offset.0.to_be_bytes());
    out.extend_from_slice(&batch.offset_delta.to_be_bytes());
    out.extend_from_slice(&batch.timestamp.0.to_be_bytes());
    out.extend_from_slice(&(NONE as i32).to_be_bytes());
    out.extend_from_slice(&transaction_start.to_be_bytes());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn batch(last_sequence: i32, last_offset: i64) -> ProducerBatch {
        ProducerBatch {
            last_sequence,
            last_offset: Offset(last_offset),
            offset_delta: 1,
            timestamp: WallTime(0x018b_cfe5_6801),
        }
    }

    fn state() -> ProducerState {
        let mut state = ProducerState::default();
        let batches = vec![batch(1, 1), batch(3, 0x0102_0304_0506)];
        let producer = Producer {
            epoch: 7,
            seen: WallTime(9),
            batches,
        };
        state.insert(2, producer);
        state
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn our_golden_bytes() {
        let bytes = to_bytes(&state(), Offset(0x0102_0304_0507));
        let golden = concat!(
            "4d535053",
            "0001",
            "0000",
            "0000004f",
            "9fcd5cdd",
            "0000010203040507",
            "00000001",
            "0000000000000002",
            "0007",
            "0000000000000009",
            "02",
            "00000001",
            "0000000000000001",
            "00000001",
            "0000018bcfe56801",
            "00000003",
            "0000010203040506",
            "00000001",
            "0000018bcfe56801",
        );
        assert_eq!(hex(&bytes), golden);
        assert_eq!(parse(&bytes), Some((state(), Offset(0x0102_0304_0507))));
        assert_eq!(parse(&bytes[..bytes.len() - 1]), None);
    }

    #[test]
    fn kafkas_golden_bytes() {
        // What a Kafka broker wrote for one producer with an open transaction.
        let mut body = vec![0, 0, 0, 1];
        snapshot_entry(&mut body, 2, 0, &batch(1, 1), 0);
        let golden = concat!(
            "0001",
            "11b5dd81",
            "00000001",
            "0000000000000002",
            "0000",
            "00000001",
            "0000000000000001",
            "00000001",
            "0000018bcfe56801",
            "ffffffff",
            "0000000000000000",
        );
        assert_eq!(hex(&with_head(&body)), golden);
        let snapshot = to_snapshot(&state());
        assert_eq!(snapshot.len(), 10 + SNAPSHOT_ENTRY_BYTES);
        assert!(is_whole_snapshot(&snapshot));
        assert!(!is_whole_snapshot(&snapshot[..snapshot.len() - 1]));
        assert!(!is_whole_snapshot(b""));
        assert_eq!(snapshot[6..10], [0, 0, 0, 1]);
        assert!(hex(&snapshot).ends_with("ffffffffffffffffffffffff"));
    }
}
