//! The tests of the whole module.

#![allow(clippy::unwrap_used)]

mod codecs;
mod golden;
mod hostile_codecs;
mod properties;
mod recompressing;
mod refusals;
mod timestamps;
mod walking;

use super::header::CRC_START;
use super::*;

pub(super) const NOW: i64 = 1_700_000_000_000;
pub(super) const HOUR: i64 = 3_600_000;

/// A topic with Kafka's defaults.
pub(super) fn rules() -> ValidationRules {
    ValidationRules {
        now_ms: NOW,
        ..ValidationRules::default()
    }
}

/// Records with these values, no keys, one millisecond apart.
pub(super) fn batch_of(codec: Codec, values: &[&[u8]]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for (index, value) in values.iter().enumerate() {
        builder.push(NOW + index as i64, None, Some(value), []);
    }
    builder.build(0, 0).to_vec()
}

/// Makes the checksum right again.
pub(super) fn seal(batch: &mut [u8]) {
    let crc = crc32c(&batch[CRC_START..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
}

/// A batch whose header is `header`'s and whose records are these bytes, as they are.
pub(super) fn batch_around(mut header: BatchHeader, codec: Codec, bytes: &[u8]) -> Vec<u8> {
    header.attributes = header.attributes & !7 | codec.id();
    header.batch_length = (bytes.len() + header::LENGTH_MIN) as i32;
    let mut batch = header.to_bytes().to_vec();
    batch.extend_from_slice(bytes);
    seal(&mut batch);
    batch
}

/// What validation says in one word: the error's code, 0 when it passes.
pub(super) fn code_of(batch: &[u8], rules: &ValidationRules) -> i16 {
    validate(batch, rules).map_or_else(|refusal| refusal.error_code().code(), |_| 0)
}

/// The values of a batch's records.
pub(super) fn values_of(batch: &[u8]) -> Vec<Option<Vec<u8>>> {
    let header = BatchHeader::read(batch).unwrap();
    let records = records_of(&header, batch).unwrap();
    let value = |r: Result<Record<'_>, _>| r.unwrap().value.map(<[u8]>::to_vec);
    records.iter().map(value).collect()
}
