//! What holds for any records and any damage.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::records::validate::validate_in_window;

#[derive(Clone, Debug, PartialEq)]
struct Owned {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..20),
        1 => vec(0..4_u8, 0..3000),
    ]
}

fn record() -> impl Strategy<Value = Owned> {
    let header = (bytes(), proptest::option::of(bytes()));
    let timestamp = prop_oneof![-1..NOW + HOUR, NOW - 1000..NOW];
    (
        timestamp,
        proptest::option::of(bytes()),
        proptest::option::of(bytes()),
        vec(header, 0..4),
    )
        .prop_map(|(timestamp, key, value, headers)| Owned {
            timestamp,
            key,
            value,
            headers,
        })
}

fn codec() -> impl Strategy<Value = Codec> {
    proptest::sample::select(Codec::ALL.to_vec())
}

fn build(codec: Codec, records: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    for record in records {
        let headers = record.headers.iter().map(|(k, v)| (&k[..], v.as_deref()));
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.push(record.timestamp, key, value, headers);
    }
    builder.build(0, 0).to_vec()
}

fn read(batch: &[u8]) -> Result<Vec<Owned>, BatchError> {
    let header = BatchHeader::read(batch)?;
    let records = records_of(&header, batch)?;
    let mut out = Vec::new();
    for (index, record) in records.iter().enumerate() {
        let record = record?;
        assert_eq!(record.offset - header.base_offset, index as i64);
        let owned = |(k, v): (&[u8], Option<&[u8]>)| (k.to_vec(), v.map(<[u8]>::to_vec));
        out.push(Owned {
            timestamp: record.timestamp,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: record.headers.map(owned).collect(),
        });
    }
    Ok(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_built_is_valid_and_reads_the_same(codec in codec(), records in vec(record(), 1..30)) {
        let batch = build(codec, &records);
        let validated = validate(&batch, &rules()).unwrap();
        let max = records.iter().map(|r| r.timestamp).max().unwrap();
        let first = records.iter().position(|r| r.timestamp == max).unwrap();
        prop_assert_eq!(validated.max_timestamp, max);
        prop_assert_eq!(validated.offset_of_max_timestamp, first as i64);
        prop_assert_eq!(validated.header, BatchHeader::read(&batch).unwrap());
        prop_assert_eq!(read(&batch).unwrap(), records);
        let walked: Vec<_> = batches(&batch).map(|b| b.unwrap().1.to_vec()).collect();
        prop_assert_eq!(walked, [batch]);
    }

    /// Whole records in the window and records passed over in pieces are judged alike.
    #[test]
    fn the_window_does_not_matter(
        codec in codec(),
        mut records in vec(record(), 1..8),
        window in 1..600_usize,
        edits in vec((any::<proptest::sample::Index>(), any::<u8>()), 0..3),
    ) {
        records[0].value = Some(vec![9; 1000]);
        let plain = build(Codec::None, &records);
        let header = BatchHeader::read(&plain).unwrap();
        let mut bytes = plain[HEADER_SIZE..].to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let mut compressed = Vec::new();
        compress::compress_into(codec, &bytes, &mut compressed);
        let batch = batch_around(header, codec, &compressed);
        let narrow = validate_in_window(&batch, &rules(), window).is_ok();
        let wide = validate_in_window(&batch, &rules(), 1 << 20).is_ok();
        let in_memory = validate(&batch_around(header, Codec::None, &bytes), &rules());
        prop_assert_eq!(narrow, wide);
        prop_assert_eq!(wide, in_memory.is_ok());
    }

    /// A damaged batch whose checksum is right is refused or read, and both readers agree.
    #[test]
    fn no_damage_panics(
        codec in codec(),
        records in vec(record(), 1..6),
        edits in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
    ) {
        let mut batch = build(codec, &records);
        for (at, byte) in edits {
            // Not length and magic: those end the matter at once.
            let at = 17 + at.index(batch.len() - 17);
            batch[at] = byte;
        }
        if let Some(cut) = cut {
            batch.truncate(HEADER_SIZE + cut.index(batch.len() - HEADER_SIZE + 1));
            let length = (batch.len() - 12) as i32;
            batch[8..12].copy_from_slice(&length.to_be_bytes());
        }
        let _ = validate(&batch, &rules());
        seal(&mut batch);
        let verdict = validate(&batch, &rules());
        let read = read_leniently(&batch);
        if verdict.is_ok() {
            prop_assert!(read.is_ok(), "valid but unreadable: {:?}", read);
        }
    }

    #[test]
    fn any_bytes_are_walked_and_judged(bytes in vec(any::<u8>(), 0..300)) {
        for batch in batches(&bytes).flatten() {
            let _ = read_leniently(batch.1);
        }
        let _ = validate(&bytes, &rules());
        let _ = single_batch(&bytes::Bytes::from(bytes), true);
    }

    #[test]
    fn any_bytes_are_decompressed_or_refused(codec in codec(), bytes in vec(any::<u8>(), 0..300)) {
        let _ = decompress::decompress(codec, &bytes);
    }
}

/// Reads everything without a look at offsets.
fn read_leniently(batch: &[u8]) -> Result<usize, BatchError> {
    let header = BatchHeader::read(batch)?;
    let records = records_of(&header, batch)?;
    let mut size = 0;
    for record in &records {
        size += record?.headers.count();
    }
    Ok(size)
}
