//! Walking batches, offsets and sequences, and what a builder says of itself.

use super::*;

#[test]
fn a_walk_ends_before_an_incomplete_batch() {
    let first = batch_of(Codec::None, &[b"a", b"b"]);
    let second = batch_of(Codec::Gzip, &[b"c"]);
    let bytes = [&first[..], &second].concat();
    for cut in 0..=second.len() {
        let mut walk = batches(&bytes[..first.len() + cut]);
        let (header, batch) = walk.next().unwrap().unwrap();
        assert_eq!((header.record_count, batch), (2, &first[..]));
        assert_eq!(walk.next().is_some(), cut == second.len(), "cut at {cut}");
        if cut < second.len() {
            assert_eq!(walk.position(), first.len());
            assert_eq!(walk.leftover(), &second[..cut]);
        }
        assert_eq!(walk.next(), None);
    }
}

#[test]
fn a_walk_stops_at_what_is_no_batch() {
    let first = batch_of(Codec::None, &[b"a"]);
    let mut second = first.clone();
    second[16] = 1;
    let bytes = [&first[..], &second, &first].concat();
    let mut walk = batches(&bytes);
    assert!(walk.next().unwrap().is_ok());
    assert_eq!(walk.next(), Some(Err(BatchError::OldMagic { magic: 1 })));
    assert_eq!(walk.next(), None);
    assert_eq!(walk.position(), first.len());
    let zeros = [0; 100];
    let error = BatchError::OldMagic { magic: 0 };
    assert_eq!(batches(&zeros).next(), Some(Err(error)));
}

#[test]
fn offsets_and_sequences_count_on() {
    let mut builder = BatchBuilder::new(Codec::None).producer(9, 2, i32::MAX - 1);
    for _ in 0..3 {
        builder.push(NOW, None, None, []);
    }
    let batch = builder.build(100, 5);
    let header = BatchHeader::read(&batch).unwrap();
    assert_eq!((header.last_offset(), header.next_offset()), (102, 103));
    assert_eq!((header.producer_id, header.producer_epoch), (9, 2));
    assert_eq!(header.partition_leader_epoch, 5);
    // 2147483646, 2147483647, 0.
    assert_eq!(header.last_sequence(), 0);
    let without = BatchHeader::read(&batch_of(Codec::None, &[b"a", b"b"])).unwrap();
    assert_eq!(without.last_sequence(), -1);
    assert!(!without.has_producer_id());
}

#[test]
fn a_stamp_leaves_the_checksum_right() {
    let mut batch = batch_of(Codec::Zstd, &[b"a", b"b"]);
    stamp(&mut batch, 1 << 40, 12);
    check_crc(&batch).unwrap();
    let header = BatchHeader::read(&batch).unwrap();
    assert_eq!(
        (header.base_offset, header.partition_leader_epoch),
        (1 << 40, 12)
    );
    let records = records_of(&header, &batch).unwrap();
    let offsets: Vec<_> = records.iter().map(|r| r.unwrap().offset).collect();
    assert_eq!(offsets, [1 << 40, (1 << 40) + 1]);
}

#[test]
fn nulls_and_duplicate_headers_keep_their_place() {
    let headers: [(&[u8], Option<&[u8]>); 4] = [
        (b"b", Some(b"1")),
        (b"a", None),
        (b"b", Some(b"")),
        (b"", Some(b"2")),
    ];
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec);
        builder.push(NOW, None, Some(b""), headers);
        builder.push(NOW, Some(b""), None, []);
        let batch = builder.build(0, 0);
        let header = BatchHeader::read(&batch).unwrap();
        let records = records_of(&header, &batch).unwrap();
        let records: Vec<_> = (&records).into_iter().map(Result::unwrap).collect();
        let (first, second) = (&records[0], &records[1]);
        assert_eq!((first.key, first.value), (None, Some(&b""[..])));
        assert_eq!(first.headers.len(), 4);
        assert_eq!(first.headers.clone().collect::<Vec<_>>(), headers);
        assert_eq!((second.key, second.value), (Some(&b""[..]), None));
        assert_eq!(second.headers.clone().next(), None);
    }
}

#[test]
fn a_transaction_marker_is_the_one_kafka_writes() {
    let mut builder = BatchBuilder::new(Codec::None)
        .producer(4000, 1, -1)
        .transactional(true)
        .control(true);
    let commit_of_epoch_0 = [0, 0, 0, 0, 0, 0];
    builder.push(NOW, Some(&[0, 0, 0, 1]), Some(&commit_of_epoch_0), []);
    let batch = builder.build(0, 0);
    assert_eq!(batch.len(), 78);
    let record = b"\x20\0\0\0\x08\0\0\0\x01\x0c\0\0\0\0\0\0\0";
    assert_eq!(batch[HEADER_SIZE..], record[..]);
    let header = BatchHeader::read(&batch).unwrap();
    assert_eq!(header.attributes, 0x30);
    assert!(header.is_control());
    assert!(header.is_transactional());
    assert_eq!(code_of(&batch, &rules()), 87, "not from a client");
    assert_eq!(ValidatedBatch::trusted(header).header, header);
}

#[test]
fn a_builder_knows_its_size_and_an_upper_bound_of_the_next() {
    let key = vec![1; 300];
    let value = vec![2; 70_000];
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"name", Some(b"value")), (b"n", None)];
    let mut builder = BatchBuilder::new(Codec::None);
    assert!(builder.is_empty());
    assert_eq!(builder.len_bytes(), HEADER_SIZE);
    for timestamp in [NOW, i64::MIN, i64::MAX, 0] {
        let bound = builder.estimated_size_with(300, 70_000, 2, 10);
        builder.push(timestamp, Some(&key), Some(&value), headers);
        assert!(builder.len_bytes() <= bound);
        assert!(builder.len_bytes() + 56 > bound);
    }
    assert_eq!(builder.record_count(), 4);
    let size = builder.len_bytes();
    assert_eq!(builder.build(0, 0).len(), size);
}

#[test]
fn codecs_have_names() {
    for codec in Codec::ALL {
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
        assert_eq!(Codec::from_attributes(codec.id() | 0x78), Ok(codec));
    }
    assert_eq!(Codec::from_name("uncompressed"), Some(Codec::None));
    assert_eq!(Codec::from_name("brotli"), None);
}

#[test]
fn records_may_be_decompressed_beforehand() {
    let batch = batch_of(Codec::Zstd, &[b"a", b"b"]);
    let header = BatchHeader::read(&batch).unwrap();
    let plain = decompress::decompress(Codec::Zstd, &batch[HEADER_SIZE..]).unwrap();
    let records = RecordsOf::of_plain(&header, &plain);
    let values: Vec<_> = records.iter().map(|r| r.unwrap().value.unwrap()).collect();
    assert_eq!(values, [b"a", b"b"]);
}
