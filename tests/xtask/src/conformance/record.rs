//! The records that go through the broker: each a function of its number, so that whoever reads it can be
//! judged without knowing who wrote it when.
//!
//! ```text
//! number n   key     none where n mod 10 = 7, else "key-n"
//!            value   none where n mod 1000 = 999, empty where n mod 1000 = 501, else "n/" and a piece of a fixed pattern:
//!                    up to 200 bytes, 30,000 where n mod 10,000 = 5,000
//!            headers none, one, or several with a repeated name, by n mod 3
//!            time    the start of the run + n milliseconds
//! ```
//! What a client cannot express (kcat's headers are one list for all records; the console producer gives no
//! timestamps) is left out by its [`Shape`].

use std::sync::OnceLock;

/// A record as it is sent and as it comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// −1 on the way in.
    pub offset: i64,
    pub partition: i32,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Which headers a writer can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Headers {
    /// Any bytes; `nulls` says whether a header may have no value.
    Binary { nulls: bool },
    /// Printable text, a null written by a marker.
    Text,
    /// The same for every record.
    Fixed,
}

/// What a writer can say of a record.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub chooses_partition: bool,
    pub gives_timestamps: bool,
    /// Whether values may be any bytes, or only letters.
    pub binary: bool,
    /// Whether an empty value differs from none.
    pub empty_values: bool,
    pub headers: Headers,
}

/// One run's set of records: numbers 0 to `count`, over `partitions`.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub shape: Shape,
    pub count: u64,
    pub partitions: i32,
    /// Timestamp of record 0, where the writer gives timestamps.
    pub base_time: i64,
}

impl Plan {
    /// The records in the order of their numbers. The partition is −1 where the writer does not choose it.
    pub fn records(self) -> impl Iterator<Item = Record> {
        (0..self.count).map(move |n| self.record(n))
    }

    /// The record with number `n`.
    pub fn record(&self, n: u64) -> Record {
        let partition = (n % self.partitions as u64) as i32;
        Record {
            offset: -1,
            partition: if self.shape.chooses_partition {
                partition
            } else {
                -1
            },
            timestamp: self.base_time + n as i64,
            key: (n % 10 != 7).then(|| format!("key-{n}").into_bytes()),
            value: self.value(n),
            headers: self.headers(n),
        }
    }

    fn value(&self, n: u64) -> Option<Vec<u8>> {
        match n % 1000 {
            999 => return None,
            501 if self.shape.empty_values => return Some(Vec::new()),
            _ => {}
        }
        let length = if n % 10_000 == 5_000 {
            30_000
        } else {
            (n % 200) as usize
        };
        let start = (n * 7 % 10_007) as usize;
        let mut value = format!("{n}/").into_bytes();
        value.extend_from_slice(&pattern(self.shape.binary)[start..start + length]);
        Some(value)
    }

    fn headers(&self, n: u64) -> Vec<(String, Option<Vec<u8>>)> {
        let header = |name: &str, value: &[u8]| (name.to_owned(), Some(value.to_vec()));
        let number = n.to_string();
        if self.shape.headers == Headers::Fixed {
            return fixed_headers();
        }
        match n % 3 {
            0 => Vec::new(),
            1 => vec![header("n", number.as_bytes())],
            _ => {
                let mut all = vec![
                    header("twice", b"1"),
                    header("twice", number.as_bytes()),
                    header("empty", b""),
                ];
                match self.shape.headers {
                    Headers::Binary { nulls } => {
                        all.push(header("байты", &pattern(true)[..(n % 300) as usize]));
                        if nulls {
                            all.push(("none".to_owned(), None));
                        }
                    }
                    Headers::Text | Headers::Fixed => all.push(("none".to_owned(), None)),
                }
                all
            }
        }
    }
}

/// The headers of a writer that has one list for all its records.
pub fn fixed_headers() -> Vec<(String, Option<Vec<u8>>)> {
    [
        ("writer", Some("kcat")),
        ("twice", Some("1")),
        ("twice", Some("2")),
        ("empty", Some("")),
        ("none", None),
    ]
    .map(|(name, value)| (name.to_owned(), value.map(|v| v.as_bytes().to_vec())))
    .to_vec()
}

/// The number of a record, read from its key or value.
pub fn number_of(record: &Record) -> Option<u64> {
    let text = match (&record.key, &record.value) {
        (Some(key), _) => key.strip_prefix(b"key-")?,
        (None, Some(value)) => value.split(|byte| *byte == b'/').next()?,
        (None, None) => return None,
    };
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Forty thousand bytes without a short period: all byte values, or letters only.
fn pattern(binary: bool) -> &'static [u8] {
    static BINARY: OnceLock<Vec<u8>> = OnceLock::new();
    static TEXT: OnceLock<Vec<u8>> = OnceLock::new();
    let byte = |i: usize| ((i * 167 + (i >> 8) * 13) % 256) as u8;
    if binary {
        BINARY.get_or_init(|| (0..40_100).map(byte).collect())
    } else {
        TEXT.get_or_init(|| (0..40_100).map(|i| b'a' + byte(i) % 26).collect())
    }
}
