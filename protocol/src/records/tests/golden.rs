//! A batch that Apache Kafka wrote, byte for byte.

use crate::records::*;

/// Three records of Kafka's console producer's kind.
pub(super) fn golden_batch() -> Vec<u8> {
    let hex = "0000000000000000 0000007a 00000000 02 ce7a4095 0000 00000002 0000018bcfe56800 \
        0000018bcfe56802 ffffffffffffffff ffff ffffffff 00000003 \
        36 00 00 00 04 6b30 26 76616c75652d76616c75652d76616c75652d30 00 \
        46 00 02 02 04 6b31 26 76616c75652d76616c75652d76616c75652d31 04 02 68 04 0102 02 68 01 \
        10 00 04 04 04 6b32 01 00";
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |d: u8| (d as char).to_digit(16).unwrap() as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

const BASE: i64 = 1_700_000_000_000;

#[test]
fn is_read() {
    let batch = golden_batch();
    assert_eq!(batch.len(), 134);
    check_crc(&batch).unwrap();
    let header = BatchHeader::read(&batch).unwrap();
    assert_eq!(header.to_bytes()[..], batch[..HEADER_SIZE]);
    assert_eq!(header.size_in_bytes(), 134);
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (BASE, BASE + 2)
    );
    let records = records_of(&header, &batch).unwrap();
    let text: Vec<String> = records
        .iter()
        .map(|record| {
            let r = record.unwrap();
            let headers: Vec<_> = r.headers.map(|(k, v)| format!("{k:?}={v:?}")).collect();
            let key = r.key.map(String::from_utf8_lossy);
            let value = r.value.map(String::from_utf8_lossy);
            format!(
                "{} {} {key:?} {value:?} {headers:?}",
                r.offset,
                r.timestamp - BASE
            )
        })
        .collect();
    assert_eq!(
        text,
        [
            r#"0 0 Some("k0") Some("value-value-value-0") []"#,
            r#"1 1 Some("k1") Some("value-value-value-1") ["[104]=Some([1, 2])", "[104]=None"]"#,
            r#"2 2 Some("k2") None []"#,
        ]
    );
}

#[test]
fn is_built() {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(BASE, Some(b"k0"), Some(b"value-value-value-0"), []);
    let headers: [(&[u8], Option<&[u8]>); 2] = [(b"h", Some(&[1, 2])), (b"h", None)];
    builder.push(BASE + 1, Some(b"k1"), Some(b"value-value-value-1"), headers);
    builder.push(BASE + 2, Some(b"k2"), None, []);
    assert_eq!(builder.build(0, 0)[..], golden_batch()[..]);
}

#[test]
fn is_valid() {
    let rules = ValidationRules {
        max_message_bytes: 134,
        compacted: true,
        before_max_ms: 0,
        after_max_ms: 2,
        now_ms: BASE,
        ..ValidationRules::default()
    };
    let batch = golden_batch();
    let validated = validate(&batch, &rules).unwrap();
    assert_eq!(validated.header, BatchHeader::read(&batch).unwrap());
    assert_eq!(validated.max_timestamp, BASE + 2);
    assert_eq!(validated.offset_of_max_timestamp, 2);
}
