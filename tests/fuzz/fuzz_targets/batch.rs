//! Record batches: any bytes as they are, then as a batch whose length and checksum are right, so
//! that what lies behind them is reached. What validation takes, every reader must be able to read.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use millstream_protocol::records::{
    BatchBuilder, BatchError, BatchHeader, Codec, HEADER_SIZE, TimestampType, ValidationRules,
    batches, check_crc, crc32c, recompress, records_of, set_log_append_time, single_batch,
    validate,
};

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else {
        return;
    };
    let rules = ValidationRules {
        max_message_bytes: 1 << 20,
        compacted: choice & 1 != 0,
        timestamp_type: if choice & 2 != 0 {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        after_max_ms: if choice & 4 != 0 { i64::MAX } else { 3_600_000 },
        now_ms: 1_700_000_000_000,
        ..ValidationRules::default()
    };
    let mut walk = batches(bytes);
    let walked: usize = walk.by_ref().flatten().map(|(_, batch)| batch.len()).sum();
    assert_eq!(walked + walk.leftover().len(), bytes.len());
    if let Ok(batch) = single_batch(&Bytes::copy_from_slice(bytes), true) {
        let _ = validate(&batch, &rules);
        judge(&batch, &rules);
    }
    if bytes.len() >= HEADER_SIZE {
        judge(&sealed(bytes), &rules);
    }
});

/// The bytes as a batch of format 2 with base offset 0 and a right length and checksum.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut batch = bytes.to_vec();
    batch[..8].fill(0);
    let length = i32::try_from(batch.len() - 12).expect("inputs are small");
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[16] = 2;
    let crc = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}

fn judge(batch: &[u8], rules: &ValidationRules) {
    let header = BatchHeader::read(batch).expect("length and magic were checked");
    let read = records_of(&header, batch).and_then(|records| {
        let mut builder = BatchBuilder::new(header.codec()?);
        for record in &records {
            let record = record?;
            builder.push(record.timestamp, record.key, record.value, record.headers);
        }
        Ok(builder.build(header.base_offset, header.partition_leader_epoch))
    });
    let Ok(validated) = validate(batch, rules) else {
        return;
    };
    let mut stored = batch.to_vec();
    stored[..HEADER_SIZE].copy_from_slice(&validated.stamped_header(1 << 40, 3));
    check_crc(&stored).expect("the stored header has a right checksum");
    let mut broker_time = validated.stamped_header(0, 0);
    set_log_append_time(&mut broker_time, 5);
    stored[..HEADER_SIZE].copy_from_slice(&broker_time);
    check_crc(&stored).expect("so it has with the broker's time");

    let target = Codec::ALL[usize::from(batch[HEADER_SIZE - 1]) % Codec::ALL.len()];
    match recompress(batch, &validated, target.into(), rules.max_message_bytes) {
        Ok((anew, stored)) if rules.timestamp_type == TimestampType::CreateTime => {
            assert_eq!(validate(&anew, rules), Ok(stored));
        }
        Ok((anew, _)) => check_crc(&anew).expect("a batch compressed anew has a right checksum"),
        Err(error) => assert!(matches!(error, BatchError::TooLarge { .. })),
    }

    let rebuilt = read.expect("a valid batch can be read");
    let again = BatchHeader::read(&rebuilt).expect("a built batch has a header");
    assert_eq!(again.record_count, header.record_count);
    assert_eq!(again.last_offset_delta, header.last_offset_delta);
}
