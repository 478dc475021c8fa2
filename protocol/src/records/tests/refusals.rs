//! Every reason to refuse a produced batch, at the limit and one past it.

use bytes::Bytes;

use super::golden::golden_batch;
use super::*;

/// The golden batch with other header fields and a right checksum.
fn edited(edit: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let mut batch = golden_batch();
    let mut header = BatchHeader::read(&batch).unwrap();
    edit(&mut header);
    batch[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    seal(&mut batch);
    batch
}

/// The golden batch's header before records of other bytes, `count` of them.
fn with_records(count: i32, records: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader::read(&golden_batch()).unwrap();
    header.record_count = count;
    header.last_offset_delta = count - 1;
    batch_around(header, Codec::None, records)
}

fn refusal(batch: &[u8]) -> BatchError {
    validate(batch, &rules()).unwrap_err().error
}

#[test]
fn the_envelope_is_checked_first() {
    let golden = golden_batch();
    let (len, crc) = (golden.len(), 0xce7a_4095);
    let with_length = |length: i32| {
        let mut batch = golden.clone();
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        batch
    };
    let with_magic = |magic: u8| {
        let mut batch = golden.clone();
        batch[16] = magic;
        batch
    };
    assert_eq!(refusal(&[]), BatchError::Missing);
    let incomplete = |declared, bytes| BatchError::Incomplete { declared, bytes };
    assert_eq!(refusal(&golden[..16]), incomplete(17, 16));
    assert_eq!(refusal(&golden[..60]), incomplete(len, 60));
    assert_eq!(refusal(&golden[..len - 1]), incomplete(len, len - 1));
    assert_eq!(refusal(&with_length(123)), incomplete(135, len));
    assert_eq!(refusal(&with_length(121)), BatchError::NotOne { bytes: 1 });
    for length in [-1, i32::MIN, 13, 48] {
        assert_eq!(refusal(&with_length(length)), BatchError::Length { length });
    }
    assert_eq!(refusal(&with_magic(0)), BatchError::OldMagic { magic: 0 });
    assert_eq!(refusal(&with_magic(1)), BatchError::OldMagic { magic: 1 });
    assert_eq!(refusal(&with_magic(3)), BatchError::Magic { magic: 3 });
    assert_eq!(refusal(&with_magic(255)), BatchError::Magic { magic: -1 });
    for at in [17, 20, 21, 60, 61, len - 1] {
        let mut batch = golden.clone();
        batch[at] ^= 0x10;
        assert_eq!(refusal(&batch).code().code(), 2, "bit flipped at {at}");
    }
    let mut batch = golden.clone();
    batch[20] ^= 1;
    let stored = crc ^ 1;
    let computed = crc;
    assert_eq!(refusal(&batch), BatchError::Crc { stored, computed });
}

#[test]
fn base_offset_comes_before_size_and_size_before_the_checksum() {
    let mut batch = golden_batch();
    batch[7] = 1;
    batch[20] ^= 1;
    let small = ValidationRules {
        max_message_bytes: 133,
        ..rules()
    };
    assert_eq!(code_of(&batch, &small), 87);
    batch[7] = 0;
    assert_eq!(code_of(&batch, &small), 10);
    assert_eq!(code_of(&batch, &rules()), 2);
    batch[20] ^= 1;
    assert_eq!(code_of(&batch, &small), 10);
    let exact = ValidationRules {
        max_message_bytes: 134,
        ..rules()
    };
    assert_eq!(code_of(&batch, &exact), 0);
}

#[test]
fn the_leader_epoch_is_not_covered_by_the_checksum() {
    let mut batch = golden_batch();
    batch[12..16].copy_from_slice(&77_i32.to_be_bytes());
    assert_eq!(code_of(&batch, &rules()), 0);
}

#[test]
fn count_and_offsets_agree() {
    for count in [0, -1, i32::MIN] {
        let batch = edited(|h| h.record_count = count);
        assert_eq!(refusal(&batch), BatchError::Count { count });
    }
    for (delta, count) in [(1, 3), (3, 3), (-1, 3), (0, 3), (i32::MAX, 3)] {
        let batch = edited(|h| h.last_offset_delta = delta);
        let last_offset_delta = delta;
        let range = BatchError::OffsetRange {
            last_offset_delta,
            count,
        };
        assert_eq!(refusal(&batch), range);
    }
    let batch = edited(|h| (h.record_count, h.last_offset_delta) = (4, 3));
    let missing = BatchError::Record {
        index: 3,
        problem: RecordProblem::Missing,
    };
    assert_eq!(refusal(&batch), missing);
    let batch = edited(|h| (h.record_count, h.last_offset_delta) = (2, 1));
    assert_eq!(refusal(&batch), BatchError::BytesRemain { count: 2 });
    let batch = edited(|h| (h.record_count, h.last_offset_delta) = (i32::MAX, i32::MAX - 1));
    assert_eq!(refusal(&batch), missing);
}

#[test]
fn the_same_is_asked_of_compressed_batches() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = batch_of(codec, &[b"a", b"b", b"c"]);
        let mut header = BatchHeader::read(&batch).unwrap();
        (header.record_count, header.last_offset_delta) = (4, 3);
        let more = batch_around(header, codec, &batch[HEADER_SIZE..]);
        let index = 3;
        let problem = RecordProblem::Missing;
        assert_eq!(refusal(&more), BatchError::Record { index, problem });
        (header.record_count, header.last_offset_delta) = (2, 1);
        let fewer = batch_around(header, codec, &batch[HEADER_SIZE..]);
        assert_eq!(refusal(&fewer), BatchError::BytesRemain { count: 2 });
    }
}

#[test]
fn producers_have_sequences_and_clients_no_control_batches() {
    assert_eq!(
        refusal(&edited(|h| h.attributes = 0x20)),
        BatchError::Control
    );
    assert_eq!(
        refusal(&edited(|h| h.attributes = 0x30)),
        BatchError::Control
    );
    let transactional = edited(|h| h.attributes = 0x10);
    assert_eq!(
        refusal(&transactional),
        BatchError::TransactionalWithoutProducer
    );
    let producer = |id, epoch, sequence, attributes| {
        edited(|h| {
            (h.producer_id, h.producer_epoch, h.base_sequence) = (id, epoch, sequence);
            h.attributes = attributes;
        })
    };
    for sequence in [-1, i32::MIN] {
        let (producer_id, base_sequence) = (0, sequence);
        assert_eq!(
            refusal(&producer(0, 0, sequence, 0)),
            BatchError::Sequence {
                producer_id,
                base_sequence
            }
        );
    }
    assert_eq!(code_of(&producer(0, 0, 0, 0), &rules()), 0);
    assert_eq!(code_of(&producer(0, -1, 0, 0), &rules()), 0);
    assert_eq!(code_of(&producer(-1, -1, -1, 0), &rules()), 0);
    assert_eq!(code_of(&producer(5, 3, i32::MAX, 0x10), &rules()), 0);
}

#[test]
fn codecs_that_do_not_exist_are_unsupported() {
    for id in 5..8 {
        let batch = edited(|h| h.attributes = id);
        assert_eq!(refusal(&batch), BatchError::Codec { id });
        assert_eq!(code_of(&batch, &rules()), 76);
    }
}

#[test]
fn bits_without_a_meaning_for_a_client_are_stored() {
    for attributes in [0x40, 0x80, 0x7f00, i16::MIN] {
        let batch = edited(|h| h.attributes = attributes);
        let validated = validate(&batch, &rules()).unwrap();
        assert_eq!(validated.header.attributes, attributes);
    }
}

#[test]
fn every_length_inside_a_record_is_bounded() {
    use RecordProblem::*;
    let max = i64::from(i32::MAX);
    let cases: [(&[u8], RecordProblem); 21] = [
        (&[], Missing),
        // Record length: −1, one more than there is, 2³¹−1, six bytes long.
        (&[0x01, 0], Length { length: -1 }),
        (&[0x04, 0], Length { length: 2 }),
        (&[0xfe, 0xff, 0xff, 0xff, 0x0f], Length { length: max }),
        (&[0x80, 0x80, 0x80, 0x80, 0x80, 0], Varint),
        (&[0x80, 0x80, 0x80, 0x80, 0x10], Varint),
        (&[0x80], FieldPastEnd),
        // Length 0, and a record that ends in its timestamp.
        (&[0x00], FieldPastEnd),
        (&[0x04, 0, 0x80], FieldPastEnd),
        // A timestamp of eleven bytes, and one with too many bits.
        (
            &[0x18, 0, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 0],
            Varint,
        ),
        (
            &[0x16, 0, 128, 128, 128, 128, 128, 128, 128, 128, 128, 2],
            Varint,
        ),
        // Key length: −2, one past the record, 2³¹−1.
        (&[0x0c, 0, 0, 0, 0x03, 1, 0], FieldLength { length: -2 }),
        (&[0x0c, 0, 0, 0, 0x06, 1, 0], FieldLength { length: 3 }),
        (
            &[0x10, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 0x0f],
            FieldLength { length: max },
        ),
        // Value length: −2, one past the record.
        (&[0x0c, 0, 0, 0, 1, 0x03, 0], FieldLength { length: -2 }),
        (&[0x0c, 0, 0, 0, 1, 0x04, 0], FieldLength { length: 2 }),
        // Header count: −1, more than bytes allow.
        (&[0x0c, 0, 0, 0, 1, 1, 0x01], HeaderCount { count: -1 }),
        (&[0x10, 0, 0, 0, 1, 1, 0x04, 0, 1], HeaderCount { count: 2 }),
        // Header key length: null, past the record.
        (
            &[0x10, 0, 0, 0, 1, 1, 0x02, 1, 1],
            HeaderKeyLength { length: -1 },
        ),
        (
            &[0x10, 0, 0, 0, 1, 1, 0x02, 4, 1],
            HeaderKeyLength { length: 2 },
        ),
        // Bytes behind the fields.
        (&[0x0e, 0, 0, 0, 1, 1, 0, 9], BytesRemain { bytes: 1 }),
    ];
    for (records, problem) in cases {
        let index = 0;
        let expected = BatchError::Record { index, problem };
        assert_eq!(refusal(&with_records(1, records)), expected, "{records:x?}");
        assert_eq!(expected.code().code(), 87);
        let mut header = BatchHeader::read(&golden_batch()).unwrap();
        (header.record_count, header.last_offset_delta) = (1, 0);
        let mut compressed = Vec::new();
        compress::compress_into(Codec::Zstd, records, &mut compressed);
        let batch = batch_around(header, Codec::Zstd, &compressed);
        assert_eq!(code_of(&batch, &rules()), 87, "{records:x?}");
        let header = BatchHeader::read(&batch).unwrap();
        let read = records_of(&header, &batch).unwrap();
        let errors: Vec<_> = read.iter().map(Result::unwrap_err).collect();
        assert_eq!(errors, [expected], "{records:x?}");
    }
    assert_eq!(
        code_of(&with_records(1, &[0x0c, 0, 0, 0, 1, 1, 0]), &rules()),
        0
    );
    // Null is −1 also in a longer form.
    let padded = [0x10, 0, 0, 0, 0x81, 0x80, 0, 1, 0];
    assert_eq!(code_of(&with_records(1, &padded), &rules()), 0);
}

#[test]
fn records_are_numbered_without_gaps() {
    let record = |delta: u8| [0x0c, 0, 0, delta << 1, 1, 1, 0];
    let batch = with_records(2, &[record(0), record(1)].concat());
    assert_eq!(code_of(&batch, &rules()), 0);
    for (first, second, index, offset_delta) in [(0, 2, 1, 2), (0, 0, 1, 0), (1, 2, 0, 1)] {
        let batch = with_records(2, &[record(first), record(second)].concat());
        let problem = RecordProblem::OffsetDelta { offset_delta };
        assert_eq!(refusal(&batch), BatchError::Record { index, problem });
    }
}

#[test]
fn a_compacted_topic_needs_keys_and_says_which_are_missing() {
    let mut builder = BatchBuilder::new(Codec::Lz4);
    builder.push(NOW, Some(b"k"), None, []);
    builder.push(NOW, None, Some(b"v"), []);
    builder.push(NOW, Some(b""), Some(b"v"), []);
    builder.push(NOW, None, None, []);
    let batch = builder.build(0, 0);
    assert_eq!(code_of(&batch, &rules()), 0);
    let compacted = ValidationRules {
        compacted: true,
        ..rules()
    };
    let refusal = validate(&batch, &compacted).unwrap_err();
    assert_eq!(refusal.error_code().code(), 87);
    let indexes: Vec<_> = refusal.record_errors.iter().map(|e| e.0).collect();
    assert_eq!(indexes, [1, 3]);
    assert!(refusal.message().is_some());
}

#[test]
fn the_list_of_bad_records_is_bounded() {
    let mut builder = BatchBuilder::new(Codec::None);
    for _ in 0..error::RECORD_ERRORS_MAX + 1 {
        builder.push(NOW, None, None, []);
    }
    let compacted = ValidationRules {
        compacted: true,
        ..rules()
    };
    let refusal = validate(&builder.build(0, 0), &compacted).unwrap_err();
    assert_eq!(refusal.record_errors.len(), error::RECORD_ERRORS_MAX);
}

#[test]
fn exactly_one_batch_is_taken() {
    let golden = golden_batch();
    let single = |parts: &[&[u8]]| single_batch(&Bytes::from(parts.concat()), true);
    let code = |parts: &[&[u8]]| single(parts).unwrap_err().error_code().code();
    assert_eq!(single(&[&golden]).unwrap(), golden);
    assert_eq!(code(&[]), 87);
    assert_eq!(code(&[&golden, &golden]), 87);
    assert_eq!(code(&[&golden[..133]]), 87);
    assert_eq!(code(&[&golden[..11]]), 87);
    let mut old = golden.clone();
    old[16] = 1;
    assert_eq!(code(&[&golden, &old]), 87);
    assert_eq!(code(&[&old]), 87);
    old[16] = 3;
    assert_eq!(code(&[&old]), 2);
    // What does not form a batch is dropped.
    for tail in [
        &b"x"[..],
        &[0; 11],
        &[0; 100],
        &[0xff; 100],
        &golden[..133],
        &old,
    ] {
        assert_eq!(single(&[&golden, tail]).unwrap(), golden, "{tail:x?}");
    }
}

#[test]
fn zstd_needs_a_request_that_knows_it() {
    let zstd = Bytes::from(batch_of(Codec::Zstd, &[b"v"]));
    let refusal = single_batch(&zstd, false).unwrap_err();
    assert_eq!(refusal.error_code().code(), 76);
    assert_eq!(single_batch(&zstd, true).unwrap(), zstd);
    let gzip = Bytes::from(batch_of(Codec::Gzip, &[b"v"]));
    assert_eq!(single_batch(&gzip, false).unwrap(), gzip);
}
