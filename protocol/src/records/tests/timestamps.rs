//! Whose time the records have, what times are taken, and that the header tells the truth after.

use super::*;

fn batch_at(timestamps: &[i64]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    for timestamp in timestamps {
        builder.push(*timestamp, None, Some(b"v"), []);
    }
    builder.build(0, 0).to_vec()
}

/// The batch as it would be stored.
fn stored(batch: &[u8], rules: &ValidationRules) -> (ValidatedBatch, Vec<u8>) {
    let validated = validate(batch, rules).unwrap();
    let mut stored = batch.to_vec();
    stored[..HEADER_SIZE].copy_from_slice(&validated.stamped_header(1000, 7));
    check_crc(&stored).unwrap();
    let header = BatchHeader::read(&stored).unwrap();
    assert_eq!(
        (header.base_offset, header.partition_leader_epoch),
        (1000, 7)
    );
    (validated, stored)
}

fn timestamps_of(batch: &[u8]) -> Vec<i64> {
    let header = BatchHeader::read(batch).unwrap();
    let records = records_of(&header, batch).unwrap();
    records.iter().map(|r| r.unwrap().timestamp).collect()
}

fn bad_records(batch: &[u8], rules: &ValidationRules) -> Vec<i32> {
    match validate(batch, rules) {
        Ok(_) => Vec::new(),
        Err(refusal) => {
            assert_eq!(refusal.error_code().code(), 32);
            refusal.record_errors.iter().map(|e| e.0).collect()
        }
    }
}

#[test]
fn the_window_is_inclusive_on_both_sides() {
    let narrow = ValidationRules {
        before_max_ms: 10,
        ..rules()
    };
    let batch = batch_at(&[NOW - 11, NOW - 10, NOW, NOW + HOUR, NOW + HOUR + 1]);
    assert_eq!(bad_records(&batch, &narrow), [0, 4]);
    assert_eq!(bad_records(&batch, &rules()), [4]);
}

#[test]
fn a_record_may_have_no_timestamp_but_not_a_negative_one() {
    let batch = batch_at(&[-1, 0, -2, i64::MIN, NOW]);
    assert_eq!(bad_records(&batch, &rules()), [2, 3]);
    let none = batch_at(&[-1, -1]);
    let (validated, stored) = stored(&none, &rules());
    assert_eq!(validated.max_timestamp, -1);
    assert_eq!(timestamps_of(&stored), [-1, -1]);
}

#[test]
fn extreme_windows_do_not_overflow() {
    let open = ValidationRules {
        after_max_ms: i64::MAX,
        ..rules()
    };
    assert_eq!(code_of(&batch_at(&[0, i64::MAX]), &open), 0);
    assert_eq!(code_of(&batch_at(&[i64::MAX, 0]), &open), 0);
}

#[test]
fn a_wrong_max_timestamp_is_corrected() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        for timestamp in [5, 9, 3, 9] {
            builder.push(timestamp, None, Some(b"v"), []);
        }
        let right = builder.build(0, 0).to_vec();
        for lie in [4, 10, -1, i64::MAX, i64::MIN] {
            let mut batch = right.clone();
            batch[35..43].copy_from_slice(&lie.to_be_bytes());
            seal(&mut batch);
            let (validated, stored) = stored(&batch, &rules());
            assert_eq!(validated.max_timestamp, 9);
            assert_eq!(validated.offset_of_max_timestamp, 1);
            assert_eq!(validated.log_append_time, None);
            assert_eq!(BatchHeader::read(&stored).unwrap().max_timestamp, 9);
            assert_eq!(timestamps_of(&stored), [5, 9, 3, 9]);
        }
    }
}

#[test]
fn with_log_append_time_all_records_have_the_brokers() {
    let broker_time = ValidationRules {
        timestamp_type: TimestampType::LogAppendTime,
        ..rules()
    };
    // The client's are not even looked at.
    let batch = batch_at(&[5, i64::MIN, NOW + 2 * HOUR]);
    let (validated, stored) = stored(&batch, &broker_time);
    assert_eq!(validated.log_append_time, Some(NOW));
    assert_eq!(validated.offset_of_max_timestamp, 0);
    let header = BatchHeader::read(&stored).unwrap();
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, NOW));
    assert_eq!(timestamps_of(&stored), [NOW; 3]);
}

#[test]
fn log_append_time_can_be_set_in_a_header_alone() {
    let mut batch = batch_at(&[1, 2, 3]);
    let mut header = *batch.first_chunk::<HEADER_SIZE>().unwrap();
    set_log_append_time(&mut header, NOW);
    batch[..HEADER_SIZE].copy_from_slice(&header);
    check_crc(&batch).unwrap();
    assert_eq!(timestamps_of(&batch), [NOW; 3]);
}

#[test]
fn the_timestamp_type_is_the_topics() {
    let mut batch = batch_at(&[1, 3, 2]);
    batch[22] |= 8;
    seal(&mut batch);
    // With CreateTime the client's bit is taken away again.
    let (validated, stored) = stored(&batch, &rules());
    assert_eq!(validated.header.timestamp_type(), TimestampType::CreateTime);
    assert_eq!(timestamps_of(&stored), [1, 3, 2]);
    // With LogAppendTime only the broker may set it.
    let broker_time = ValidationRules {
        timestamp_type: TimestampType::LogAppendTime,
        ..rules()
    };
    let refusal = validate(&batch, &broker_time).unwrap_err();
    assert_eq!(refusal.error, BatchError::TimestampType);
    assert_eq!(refusal.error_code().code(), 32);
}

#[test]
fn a_bad_timestamp_outweighs_a_missing_key() {
    let compacted = ValidationRules {
        compacted: true,
        ..rules()
    };
    let mut builder = BatchBuilder::new(Codec::Gzip);
    builder.push(NOW, None, None, []);
    builder.push(NOW + 2 * HOUR, Some(b"k"), None, []);
    let refusal = validate(&builder.build(0, 0), &compacted).unwrap_err();
    assert_eq!(refusal.error, BatchError::Timestamps);
    assert_eq!(refusal.record_errors.len(), 2);
}

#[test]
fn a_delete_horizon_is_read() {
    let mut batch = batch_at(&[7]);
    batch[22] |= 0x40;
    seal(&mut batch);
    let header = BatchHeader::read(&batch).unwrap();
    assert!(header.has_delete_horizon());
    assert_eq!(timestamps_of(&batch), [7]);
    let without = BatchHeader::read(&batch_at(&[7])).unwrap();
    assert!(!without.has_delete_horizon());
}

/// Bytes that are no records, in a batch whose header and checksum are right.
fn unreadable(codec: Codec, base_timestamp: i64, max_timestamp: i64) -> Vec<u8> {
    let header = BatchHeader {
        base_timestamp,
        max_timestamp,
        ..BatchHeader::read(&batch_of(Codec::None, &[b"a", b"b"])).unwrap()
    };
    batch_around(header, codec, b"not of any codec")
}

#[test]
fn relaxed_believes_compressed_records_on_the_checksum_and_a_plausible_time() {
    let relaxed = ValidationRules {
        relaxed: true,
        before_max_ms: HOUR,
        ..rules()
    };
    let strict = ValidationRules {
        relaxed: false,
        ..relaxed
    };
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let batch = unreadable(codec, NOW - HOUR, NOW + HOUR);
        let validated = validate(&batch, &relaxed).unwrap();
        assert_eq!(validated.header, BatchHeader::read(&batch).unwrap());
        assert_eq!(validated.max_timestamp, NOW + HOUR);
        assert_eq!(validated.offset_of_max_timestamp, 1);
        assert_eq!(code_of(&batch, &strict), 2, "{codec}");
        // A bit of it flips, and it is not believed.
        let mut damaged = batch.clone();
        damaged[HEADER_SIZE + 3] ^= 1;
        assert_eq!(code_of(&damaged, &relaxed), 2);
        // Times that no record of the topic may have, or not with that base.
        for (base, max) in [
            (NOW, NOW + HOUR + 1),
            (NOW - 2 * HOUR, NOW - HOUR - 1),
            (NOW, NOW - 1),
            (-1, -1),
        ] {
            assert_eq!(code_of(&unreadable(codec, base, max), &relaxed), 2);
        }
    }
    assert_ne!(code_of(&unreadable(Codec::None, NOW, NOW), &relaxed), 0);
}

#[test]
fn relaxed_needs_no_time_where_the_broker_sets_it_but_keys_where_they_are_needed() {
    let broker_time = ValidationRules {
        relaxed: true,
        timestamp_type: TimestampType::LogAppendTime,
        ..rules()
    };
    let batch = unreadable(Codec::Zstd, NOW, i64::MAX);
    let validated = validate(&batch, &broker_time).unwrap();
    assert_eq!(validated.log_append_time, Some(NOW));
    assert_eq!(validated.header.max_timestamp, NOW);
    let compacted = ValidationRules {
        compacted: true,
        ..broker_time
    };
    let keyless = batch_of(Codec::Zstd, &[b"v"]);
    assert_eq!(code_of(&keyless, &broker_time), 0);
    assert_eq!(code_of(&keyless, &compacted), 87);
}
